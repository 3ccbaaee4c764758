"""What `benchmark.py` measures: the parts of a lifetime, a generation, and what they compare with.

Whatever gives a sample is a call without arguments that returns figures, name -> value; the unit
is the end of a figure's name.
"""

import contextlib
import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import gymnasium
import numpy as np

import environments
import seeds
from commands.training_options import Training
from environments.tasks import Interface
from evolution_strategy_hebb import EvolutionStrategyHebb
from fitness_functions import Agent, describe
from machine.quiet import quiet
from run_folder.checkpoints import RunFolder
from workers import local, rollouts

RULE, INIT, SEED = "ABCD_lr", "uni", 1
FULL = 1000  # steps of an episode, burn-in included
STEPS = 200  # of each episode in a round: five rounds see all of it
STARTS = 5  # of worlds and networks in a round
PHYSICS, STEP, LIFE = "physics alone, ms", "environment step, ms", "lifetime step, ms"
CAR, CART = "stock step (CarRacing-v3), ms", "stock step (CartPole-v1), ms"
ANT, PORT = "stock step (pybullet_envs), ms", "stock step (its port to gymnasium), ms"
REFERENCE = "reference, on a like machine, ms"
ONE, ALL, INSIDE = "1 worker, lifetimes/s", "all workers, lifetimes/s", "inside lifetimes, %"


def timed(calls: dict[str, Callable], moments: Iterable[tuple]) -> dict[str, float]:
    """Mean milliseconds of each call, made in turn at every moment; the call "" is not timed."""
    spent, n = dict.fromkeys(calls, 0.0), 0
    for moment in moments:
        n += 1
        for name, call in calls.items():
            begun = perf_counter()
            call(*moment)
            spent[name] += perf_counter() - begun
    return {name: 1e3 * seconds / n for name, seconds in spent.items() if name}


# What is done at a moment (environment, action, observation before it) of an episode.
def step(env, action, _) -> None:
    env.step(action)


def bare_step(env, action, _) -> None:
    env.unwrapped.step(action)


def drive(env, action, _) -> None:
    car = env.unwrapped.car
    car.steer(-action[0])
    car.gas(action[1])
    car.brake(action[2])
    car.step(1 / 50)
    env.unwrapped.world.Step(1 / 50, 180, 60)


def turn(env, action, _) -> None:
    env.unwrapped.robot.apply_action(action)


def simulate(env, *_) -> None:
    env.unwrapped._p.stepSimulation()


def original_ant():
    return environments.GymEnv(environments.gym_registry()["AntBulletEnv-v0"])


def ported_ant():
    return importlib.import_module("pybullet_envs_gymnasium.gym_locomotion_envs").AntBulletEnv()


class Subject(NamedTuple):
    """What is measured of an environment; the first row with a pattern of its id counts."""

    pattern: str
    physics: dict[str, Callable]  # of our environment, for `timed`
    stock: dict[str, tuple[Callable, Callable]]  # figure -> what makes the environment, its step
    reference: dict[str, float]  # what cannot be measured here
    ratios: tuple[tuple[str, str, str], ...] = ()  # a figure, what it is divided by, its limit


SUBJECTS = (
    Subject(
        r"CarRacing-v0$",
        {PHYSICS: drive},
        {CAR: (partial(environments.make, "CarRacing-v3"), bare_step)},
        {REFERENCE: 9.2},
        ((CAR, STEP, ">= 50"), (CAR, LIFE, ">= 16"), (LIFE, PHYSICS, ""), (REFERENCE, LIFE, "")),
    ),
    Subject(
        r"^Ant\w*BulletEnv-v0$",
        {"": turn, PHYSICS: simulate},
        {ANT: (original_ant, bare_step), PORT: (ported_ant, step)},
        {REFERENCE: 0.80},
        ((STEP, ANT, "<= 0.45"), (LIFE, PHYSICS, "<= 1.4"), (REFERENCE, LIFE, "")),
    ),
    Subject(
        r"CartPole-v1$",
        {PHYSICS: bare_step},
        {CART: (partial(gymnasium.make, "CartPole-v1"), step)},
        {},
        ((CART, STEP, ""), (LIFE, CART, "")),
    ),
    Subject(r"", {}, {}, {}),
)
RATIOS = ((ALL, ONE, ">= 0.95 n"),)  # of all subjects
LIMITS = {INSIDE: ">= 97"}


def subject_of(environment: str) -> Subject:
    return next(subject for subject in SUBJECTS if re.search(subject.pattern, environment))


class Recorder(gymnasium.Wrapper):
    """Keeps the moments of an episode: every action, and the observation before it."""

    def reset(self, **kwargs):
        self.moments, result = [], self.env.reset(**kwargs)
        self.observation = result[0]
        return result

    def step(self, action):
        self.moments.append((action, self.observation))
        result = self.env.step(action)
        self.observation = result[0]
        return result


def full_length(interface: Interface) -> tuple[Interface, int]:
    """The interface of a task that nothing stops, and the number of its policy's steps."""
    task = replace(interface.task, grace=FULL)
    return replace(interface, task=task), FULL - task.burn_in


class Episode:
    """A lifetime at full length, and each of its parts repeated."""

    def __init__(self, environment: str):
        interface, n_steps = full_length(describe(environment))
        agent_of = partial(Agent, RULE, interface, INIT, n_steps)
        self.agent, self.interface = agent_of(), interface
        self.theta = self.agent.first_theta(SEED, "normal")
        self.make, self.world = partial(environments.make, environment), seeds.integer(SEED, 0)
        with contextlib.closing(Recorder(self.make())) as env:
            agent_of(env=env).rollout(self.theta, SEED)
            self.moments = env.moments

    def enter(self, make: Callable):
        with quiet():
            env = make()
            env.reset(seed=self.world)
        return contextlib.closing(env)

    def replay(self, enter: Callable, calls: dict[str, Callable]) -> Callable:
        """A sample times the next STEPS moments; an episode that is over begins again."""

        def moments():
            while True:
                with enter() as env:
                    for moment in self.moments:
                        yield env, *moment

        endless = moments()
        return lambda: timed(calls, islice(endless, STEPS))

    def start_network(self):
        self.agent.reset_weights(self.theta, SEED)
        return contextlib.nullcontext()

    def parts(self) -> dict[str, Callable]:
        """The policy's step in the order of `lifetime`, as calls for `timed`."""
        interface, agent, policy = self.interface, self.agent, self.agent.policy
        agent.synapses.load(agent.split(self.theta)[0])
        if interface.pixels:
            calls = {
                "resize, ms": lambda _, __, observation: policy._resize(
                    interface.encode(observation)
                ),
                "convolutions, ms": lambda *_: policy.see(),
            }
        else:
            calls = {"": lambda _, __, seen: np.copyto(policy._features, interface.encode(seen))}
        return calls | {
            "dense layers, ms": lambda *_: policy._think(),
            "action from the output, ms": lambda *_: interface.act(policy.output),
            "rule and normalization, ms": lambda *_: agent.synapses.update(policy.activations),
        }

    def starts(self) -> dict[str, float]:
        with self.enter(self.make) as env:
            calls = {
                "start of the world, ms": lambda: env.reset(seed=self.world),
                "start of the network, ms": self.start_network,
            }
            return timed(calls, [()] * STARTS)

    def whole(self) -> dict[str, float]:
        begun = perf_counter()
        outcome = self.agent.rollout(self.theta, SEED)
        return {LIFE: 1e3 * (perf_counter() - begun) / outcome.steps}

    def samples(self, subject: Subject) -> list[Callable]:
        ours = partial(self.enter, self.make)
        result = [self.replay(ours, subject.physics)] if subject.physics else []
        result.append(self.replay(ours, {STEP: step}))
        result += [self.replay(self.start_network, self.parts()), self.starts, self.whole]
        for name, (make, how) in subject.stock.items():
            result.append(self.replay(partial(self.enter, make), {name: how}))
        return result


class Generations:
    """Two runs from the same seed, hence of the same lifetimes: on one worker and on n."""

    def __init__(self, environment: str, popsize: int, n: int, folder: Path, full: bool):
        interface = describe(environment)
        interface, n_steps = full_length(interface) if full else (interface, None)
        self.agent, self.popsize, self.n = Agent(RULE, interface, INIT, n_steps), popsize, n
        self.agent.warm_up()
        theta = self.agent.first_theta(SEED, "normal")
        given = {"environment": [environment], "popsize": popsize, "seed": SEED}
        self.runs = {}
        for k in sorted({1, n}):
            noise = local.SharedNoise(popsize // 2, theta.size)
            evaluate = partial(rollouts.evaluate, [self.agent], np.mean, 1, noise=noise.draw)
            strategy = EvolutionStrategyHebb(theta, SEED, popsize, threads=k, noise=noise.find)
            pool = local.LocalWorkers(k, theta.size, evaluate)
            few = strategy.ask()[: 2 * k]
            pool.map(rollouts.Broadcast(theta), few, lambda *_: None)  # wakes them up
            self.runs[k] = strategy, pool, RunFolder.create(folder, asdict(Training(**given)))

    def sample(self) -> dict[str, float]:
        """The next generation: lifetimes per second, and where the wall time of n workers goes."""
        one, _ = self.generation(1)
        every, shares = self.generation(self.n)
        return {**shares, ONE: one, ALL: every}

    def generation(self, k: int) -> tuple[float, dict[str, float]]:
        """What `evolution_strategy_hebb.run` and its observer do with one, and its times."""
        strategy, pool, folder = self.runs[k]
        begun = perf_counter()
        results = pool.map(rollouts.Broadcast(strategy.theta), strategy.ask(), lambda *_: None)
        evaluated = perf_counter()
        fitness = np.array([result.fitness for result in results])
        moved = strategy.tell(fitness, [result.mean_square for result in results])
        updated = perf_counter()
        row = {"generation": strategy.generation, "mean": float(fitness.mean())} | moved
        folder.save(strategy.generation, strategy.state(), row, self.agent.blocks(strategy.theta))
        saved = perf_counter()
        seconds = {
            INSIDE: sum(result.seconds for result in results) / k,
            "step of θ, %": updated - evaluated,
            "files, %": saved - updated,
        }
        wall = saved - begun
        shares = {name: 100 * spent / wall for name, spent in seconds.items()}
        shares["handing out, and waiting for the last, %"] = 100 - sum(shares.values())
        return self.popsize / (evaluated - begun), {"generation, s": wall} | shares

    def close(self) -> None:
        for _, pool, folder in self.runs.values():
            pool.close()
            folder.close()
