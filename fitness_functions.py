"""What a set of coefficients is worth: `lifetime` is the only episode loop there is."""

import functools
import math
import random
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import environments
import seeds
from hebbian_weights_update import NORMALISATIONS, RULES, kernel
from policies import CNN_heb, MLP_heb
from tasks import Interface, interface


class Outcome(NamedTuple):
    """What is left of a lifetime. A failed one has fitness −inf and says why."""

    fitness: float
    steps: int
    failure: str | None = None


def lifetime(
    env,
    body: Interface,
    policy,
    update: Callable,
    planes: np.ndarray,
    seed: int | None = None,
    max_steps: int | None = None,
    on_step: Callable | None = None,
) -> Outcome:
    """One episode of a network whose weights its rule rewrites at every step.

    policy: with its initial weights; planes: (K, S) float32 coefficients; update: the kernel of
    the rule. on_step(t, activations, weights, reward) is called at the end of every step with
    views of the layers, which it may read or change. The order of things is the reference's
    (fitness_functions.py): no update after the last step.
    """
    task = body.task
    normalisation = NORMALISATIONS[task.normalise]
    observation, _ = env.reset(seed=seed)
    for _ in range(task.burn_in):
        env.step(body.rest())  # the first real action still sees the observation of the reset
    fitness, negative = 0.0, 0
    for t in range(max_steps or environments.MAX_STEPS):
        if not policy.forward(body.encode(observation)):
            return Outcome(-math.inf, t, "a non-finite observation or activation")
        action = body.act(policy.output)
        observation, reward, terminated, truncated, _ = env.step(action)
        reward = float(task.reward(env, reward))
        if not math.isfinite(reward):
            return Outcome(-math.inf, t + 1, f"a reward of {reward}")
        fitness += reward
        stop = False
        if t > task.grace:
            negative = negative + 1 if reward < 0 else 0
            stop = terminated or truncated or negative > task.patience
        if not stop:
            update(policy.weights, planes, policy.activations, policy.sizes, normalisation)
        if on_step is not None:
            on_step(t, policy.activation_layers(), policy.layers(), reward)
        if stop:
            break
    return Outcome(fitness, t + 1)


def describe(environment: str) -> Interface:
    """The spaces and the task of an environment, made for this question alone."""
    env = environments.make(environment)
    try:
        return interface(env, environment)
    finally:
        env.close()


class Agent:
    """What evolves, and how it lives: the layout of θ and one policy network per environment.

    θ = coefficients (S·K), then what is evolved beside them: conv weights of pixel networks;
    with `coevolve` conv and dense weights. A static network's θ is conv and dense weights alone.
    """

    def __init__(
        self,
        hebb_rule: str,
        body: Interface,
        init_weights: str,
        max_steps: int | None = None,
        env=None,
        render_mode: str | None = None,
    ):
        self.rule, self.body, self.init_weights = hebb_rule, body, init_weights
        self.max_steps, self.render_mode = max_steps, render_mode
        self.static = hebb_rule == "static"
        self.update = kernel(hebb_rule)
        if body.pixels:
            self.policy = CNN_heb(body.n_inputs, body.n_outputs, level=body.level)
        else:
            self.policy = MLP_heb(body.n_inputs, body.n_outputs)
        evolves_dense = self.static or init_weights == "coevolve"
        self.n_evolved = self.policy.n_conv + (self.policy.n_plastic if evolves_dense else 0)
        columns = len(RULES[hebb_rule])
        self.shape = (self.policy.n_plastic, columns) if columns != 1 else (self.policy.n_plastic,)
        self.n_coefficients = self.policy.n_plastic * columns
        self._given, self._kept = env, None

    @property
    def n(self) -> int:
        """Length of θ."""
        return self.n_coefficients + self.n_evolved

    def blocks(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """θ as it is written to files, by the label in the file's name."""
        if self.static:
            return {"weights": theta}
        result = {"coeffs": theta[: self.n_coefficients].reshape(self.shape)}
        if self.n_evolved:
            coevolved = self.init_weights == "coevolve"
            label = "coevolved_initial_weights" if coevolved else "CNN_parameters"
            result[label] = theta[self.n_coefficients :]
        return result

    def join(self, *evolved_parameters: np.ndarray) -> np.ndarray:
        """θ from its blocks; ValueError where their sizes are not those of this network."""
        sizes = [size for size in (self.n_coefficients, self.n_evolved) if size]
        given = [np.size(block) for block in evolved_parameters]
        if given != sizes:
            raise ValueError(
                f"{self.rule} on {self.body.environment} with {self.init_weights} weights takes "
                f"{' and '.join(map(str, sizes))} numbers, not {' and '.join(map(str, given))}"
            )
        return np.concatenate([np.ravel(block).astype(np.float32) for block in evolved_parameters])

    def first_theta(self, seed: int, distribution: str) -> np.ndarray:
        """θ₀ ~ N(0, 1) or U(-1, 1), (n,) float32; a static network's from `default`."""
        rng = seeds.stream(seed, seeds.START)
        if self.static:
            return self.policy.draw(rng)
        if distribution == "uniform":
            return rng.uniform(-1, 1, self.n).astype(np.float32)
        return rng.standard_normal(self.n, dtype=np.float32)

    def penalised(self, theta: np.ndarray) -> float:
        """Mean of the squared coefficients (static: weights), for the penalty on fitness."""
        part = theta if self.static else theta[: self.n_coefficients]
        return float(np.dot(part, part)) / part.size

    def warm_up(self) -> None:
        """Compile what a lifetime runs, so that the workers forked from here find it ready."""
        observations = self.body.observations
        blank = 0 if observations.shape == () else np.zeros(observations.shape, observations.dtype)
        planes = np.zeros((len(RULES[self.rule]), self.policy.n_plastic), np.float32)
        self.policy.forward(self.body.encode(blank))
        self.update(self.policy.weights, planes, self.policy.activations, self.policy.sizes, 0)

    def live(self, theta: np.ndarray, seed: int | None, on_step: Callable | None = None) -> Outcome:
        """One lifetime of θ: a pure function of θ and the seed (None draws one)."""
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        coefficients, evolved = np.split(theta, [self.n_coefficients])
        planes = np.ascontiguousarray(coefficients.reshape(self.policy.n_plastic, -1).T)
        init = "coevolve" if self.static else self.init_weights
        self.policy.start(init, seeds.stream(seed, seeds.WEIGHTS), evolved)
        world_seed = seeds.integer(seed, seeds.WORLD)
        random.seed(world_seed)  # for environments that draw from the global generators
        np.random.seed(world_seed)
        env = self._enter()
        try:
            return lifetime(
                env,
                self.body,
                self.policy,
                self.update,
                planes,
                world_seed,
                self.max_steps,
                on_step,
            )
        finally:
            self._leave(env)

    def _enter(self):
        if self._given is not None:
            return self._given
        env = self._kept or environments.make(self.body.environment, self.render_mode)
        self._kept = None
        return env

    def _leave(self, env) -> None:
        """Keep the world only if its reset promises to forget what happened in it."""
        if self._given is not None:
            return
        if getattr(env.unwrapped, "reset_is_fresh", False):
            self._kept = env
        else:
            env.close()


@functools.lru_cache(maxsize=8)
def agent_for(hebb_rule: str, environment: str, init_weights: str) -> Agent:
    return Agent(hebb_rule, describe(environment), init_weights)


def fitness_hebb(
    hebb_rule: str,
    environment: str,
    init_weights: str = "uni",
    *evolved_parameters: np.ndarray,
    seed: int | None = None,
    env=None,
) -> float:
    """The fitness of one lifetime, as the reference's function of this name.

    evolved_parameters: coefficients (S, K) float32, or (S,) for one column; then, for pixels,
    conv weights, or with `coevolve` conv and dense weights, flat. For `static` weights alone.
    env: live in this gymnasium environment instead of making `environment`.
    Returns −inf when the lifetime failed; ValueError for unknown names and wrong sizes.
    """
    if env is None:
        agent = agent_for(hebb_rule, environment, init_weights)
    else:
        agent = Agent(hebb_rule, interface(env, environment), init_weights, env=env)
    return agent.live(agent.join(*evolved_parameters), seed).fitness
