"""What a set of coefficients is worth: `lifetime` is the only episode loop there is."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from gymnasium.spaces import Box

import environments
import seeds
from environments.conditions import Condition
from environments.observations import Normalizer, Statistics
from environments.tasks import Interface, interface_of
from genome import Genome
from hebbian_weights_update import Synapses, rule_of
from policies import CNN_heb, MLP_heb

STATISTICS = "observation_statistics"  # their block, in the names of files


class Outcome(NamedTuple):
    """What is left of a lifetime. A failed one has fitness −inf and says why."""

    fitness: float
    steps: int
    failure: str | None = None


def lifetime(
    env,
    interface: Interface,
    policy,
    synapses: Synapses,
    seed: int | None = None,
    max_steps: int | None = None,
    on_step: Callable | None = None,
    encode: Callable | None = None,
) -> Outcome:
    """One episode of a network whose weights its rule rewrites at every step.

    policy: with its initial weights; synapses: what its rule rewrites them with, its coefficients
    loaded. on_step(t, activations, weights, reward) is called at the end of every step with views
    of the layers, which it may read or change. encode: in place of the interface's. The order of
    things is the reference's (fitness_functions.py): no update after the last step.
    """
    task, encode = interface.task, encode or interface.encode
    synapses.reset()
    observation, _ = env.reset(seed=seed)
    for _ in range(task.burn_in):
        env.step(interface.rest())  # the first real action still sees the observation of the reset
    fitness, negative = 0.0, 0
    for t in range(max_steps or environments.MAX_STEPS):
        if not policy.forward(encode(observation)):
            return Outcome(-math.inf, t, "a non-finite observation or activation")
        action = interface.act(policy.output)
        observation, reward, terminated, truncated, _ = env.step(action)
        reward = float(task.reward(env, reward))
        if not math.isfinite(reward):
            return Outcome(-math.inf, t + 1, f"a reward of {reward}")
        fitness += reward
        stop = False
        if t > task.grace:
            negative = negative + 1 if reward < 0 else 0
            stop = terminated or truncated or negative > task.patience
        if not stop and (t + 1) % task.update_every == 0:
            synapses.update(policy.activations, reward)
        if on_step is not None:
            on_step(t, policy.activation_layers(), policy.layers(), reward)
        if stop:
            break
        if interface.inputs:
            interface.recall(action, reward, policy.recalled)
    return Outcome(fitness, t + 1)


def describe(environment: str, wrappers: tuple = (), **options) -> Interface:
    """The spaces and the task of an environment, made for this question alone.

    wrappers: (name, value) for `environments.make`; options: those of `interface_of`.
    """
    env = environments.make(environment, **dict(wrappers))
    try:
        interface = interface_of(env, environment, wrappers, **options)
    finally:
        env.close()
    return replace(interface, time_limit=environments.has_time_limit(environment))


def examine(environment: str, wrappers: tuple = (), **options) -> Interface:
    """`describe`, and whether the environment follows its seed."""
    interface = describe(environment, wrappers, **options)
    return replace(interface, follows_seed=follows_its_seed(interface))


def follows_its_seed(interface: Interface, steps: int = 5) -> bool:
    """Whether an environment that is made and reset twice with one seed gives the same twice, in
    its first steps; one that raises is given the benefit of the doubt."""
    found = []
    for _ in range(2):
        env = environments.make(interface.environment, **dict(interface.wrappers))
        actions = seeds.stream(0)
        try:
            with seeds.global_generators(1):
                found.append([np.asarray(env.reset(seed=1)[0])])
                for _ in range(steps):
                    output = actions.standard_normal(interface.n_outputs, np.float32)
                    observation, reward, terminated, truncated, _ = env.step(interface.act(output))
                    found[-1] += [np.asarray(observation), np.asarray(reward)]
                    if terminated or truncated:
                        break
        except Exception:  # lifetimes will tell what it is
            return True
        finally:
            env.close()
    return all(map(np.array_equal, *found))


class Agent(Genome):
    """A genome with a policy network and an environment.

    env: use this one instead of making the interface's. around: (env, seed of the lifetime) -> the
    environment of the next lifetimes, a wrapper around it for one. With normalize_observations,
    statistics (2, n_inputs) float32, else (2, 0): mean and standard deviation with which the next
    lifetimes normalize what they observe; observed: the sums of what the last one has observed.
    unseen: evolution learns nothing of its lifetimes.
    """

    unseen = False

    def __init__(
        self,
        hebb_rule: str,
        interface: Interface,
        init_weights: str = "uni",
        max_steps: int | None = None,
        hidden: Sequence[int] = (128, 64),
        shared_rules: int = 0,
        normalize_observations: bool = False,
        seed: int = 0,
        recurrent: bool = False,
        mirror: bool = False,
        sigma_factors: Sequence[str] | None = None,
        env=None,
        render_mode: str | None = None,
    ):
        self.interface, self.max_steps, self.render_mode = interface, max_steps, render_mode
        self.world = interface.environment  # its name
        rule = rule_of(hebb_rule)
        options = {
            "hidden": hidden,
            "n_recalled": interface.n_recalled,
            "recurrent": recurrent,
            "modulated": rule.modulated,
        }
        sizes = interface.n_inputs, interface.n_outputs
        if interface.pixels:
            policy = CNN_heb(*sizes, level=interface.level, **options)
        else:
            policy = MLP_heb(*sizes, **options)
        if normalize_observations and (
            interface.pixels or not isinstance(interface.observations, Box)
        ):
            raise ValueError(f"{interface.environment}: --normalize_observations takes vectors")
        if mirror and (recurrent or interface.inputs or not interface.task.mirror):
            what = "--recurrent or --inputs" if interface.task.mirror else interface.environment
            raise ValueError(f"--mirror knows no left and right of {what}")
        tied = interface.task.mirror if mirror else None
        super().__init__(rule, policy, init_weights, shared_rules, seed, tied, sigma_factors)
        self.synapses = Synapses(
            rule, policy.weights, policy.shapes, interface.task.normalize, policy.neurons
        )
        n_observed = interface.n_inputs if normalize_observations else 0
        self.statistics, self.observed = Statistics(n_observed).as_block(), None
        self._given, self._kept, self.around = env, None, lambda env, seed: env

    def inside(self, env) -> "Agent":
        """The same agent in this environment, which somebody else makes and closes."""
        other = copy.copy(self)
        other._given = env
        return other

    def under(self, condition: Condition) -> "Agent":
        """The same agent in a world that has changed before its first step."""
        other = copy.copy(self)
        other.world = f"{self.world} with {condition}"
        other.around = condition.around()
        return other

    def warm_up(self) -> None:
        """Compile what a lifetime runs, so that the workers forked from here find it ready."""
        space = self.interface.observations
        blank = np.zeros(space.shape, space.dtype) if isinstance(space, Box) else space.start
        self.policy.forward(self.interface.encode(blank))
        self.synapses.update(self.policy.activations)

    def blocks(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """θ, and the statistics of observations, as they are filed."""
        statistics = {STATISTICS: self.statistics} if self.statistics.size else {}
        return super().blocks(theta) | statistics

    def reset_weights(self, theta: np.ndarray, seed: int) -> np.ndarray:
        """The (S,) float32 plastic weights with which the lifetime of this seed begins, a view."""
        init = "coevolve" if self.static else self.init_weights
        evolved = theta[self.n_coefficients :]  # `split` would expand all rules again
        if self.scale is not None:
            evolved = evolved * self.scale[self.n_coefficients :]
        self.policy.start(init, seeds.stream(seed, seeds.WEIGHTS), self.untied(evolved))
        return self.policy.weights

    def rollout(
        self, theta: np.ndarray, seed: int | None, on_step: Callable | None = None
    ) -> Outcome:
        """One lifetime of θ: a pure function of it, the agent and the seed (None draws one)."""
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        of_synapses, of_neurons, _ = self.split(theta)
        self.synapses.load(of_synapses, of_neurons)
        encode = None
        if self.statistics.size:
            encode = Normalizer(self.interface.encode, self.statistics)
        self.reset_weights(theta, seed)
        world = seeds.integer(seed, seeds.WORLD)
        with seeds.global_generators(world):
            env, outcome = self._enter(), None
            try:
                outcome = lifetime(
                    self.around(env, seed), self.interface, self.policy, self.synapses, world,
                    self.max_steps, on_step, encode,
                )  # fmt: skip
                return outcome
            finally:
                self.observed = encode.sums if encode else None
                self._leave(env, whole=outcome is not None)

    def _enter(self):
        if self._given is not None:
            return self._given
        env = self._kept or environments.make(
            self.interface.environment, self.render_mode, **dict(self.interface.wrappers)
        )
        self._kept = None
        return env

    def _leave(self, env, whole: bool) -> None:
        """Keep the world only if it is whole, and its reset promises to forget what happened."""
        if self._given is not None:
            return
        if whole and getattr(env.unwrapped, "reset_is_fresh", False):
            self._kept = env
        else:
            env.close()


_agents: dict[tuple, tuple] = {}  # the arguments of agent_for -> the environment's spec, the agent


def agent_for(hebb_rule: str, environment: str, init_weights: str) -> Agent:
    """The agent of these arguments, made once for as long as the id means the same environment."""
    key, spec = (hebb_rule, environment, init_weights), environments.find(environment)
    if key not in _agents or _agents[key][0] is not spec:
        if len(_agents) >= 8:
            _agents.clear()
        _agents[key] = spec, Agent(hebb_rule, describe(environment), init_weights)
    return _agents[key][1]


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
    env: use this gymnasium environment instead of making `environment`.
    Returns −inf when the lifetime failed; ValueError for unknown names and wrong sizes.
    """
    if env is None:
        agent = agent_for(hebb_rule, environment, init_weights)
    else:
        agent = Agent(hebb_rule, interface_of(env, environment), init_weights, env=env)
    return agent.rollout(agent.join(*evolved_parameters), seed).fitness
