"""What a worker does: it evaluates individuals, lifetime by lifetime."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

import seeds
from fitness_functions import Agent, Outcome

MAX_REASON = 300  # characters of an exception that travel to the master, on one line

log = logging.getLogger("hebb")


class Broadcast(NamedTuple):
    """What every worker gets, once per generation."""

    theta: np.ndarray  # (n,) float32
    statistics: np.ndarray = np.empty((2, 0), np.float32)  # of observations, if they are normalized


class Result(NamedTuple):
    """What comes back of an individual: scalars only."""

    fitness: float
    mean_square: float  # of its coefficients, for the penalty
    steps: int
    failure: str | None
    seconds: float
    observed: tuple | None = None  # sums of its observations, where they are normalized
    worlds: tuple[float, ...] = ()  # its mean in each of several; none where it failed


def rollout(agent: Agent, theta: np.ndarray, seed: int, on_step: Callable | None = None) -> Outcome:
    """A lifetime in which an environment may raise anything: it then counts as failed."""
    try:
        return agent.rollout(theta, seed, on_step)
    except Exception as error:
        log.warning("%s, seed %d: %r", agent.world, seed, error, exc_info=True)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(-math.inf, 0, reason[:MAX_REASON])


def evaluate(
    agents: Sequence[Agent],
    aggregate: Callable,
    episodes: int,
    given: Broadcast,
    individual,
    noise: Callable = seeds.noise,
) -> Result:
    """Evaluate the episodes of an individual in each environment; a failed one fails it. Only what
    is held out meets those that are unseen, which its fitness leaves out.

    noise: what draws its ε, `SharedNoise` for one."""
    begun = time.perf_counter()
    theta = individual.candidate(given.theta, noise)
    outcomes, observed = [], []
    agents = [agent for agent in agents if individual.held_out or not agent.unseen]
    for agent in agents:
        agent.statistics = given.statistics
        for episode in range(episodes):
            outcomes.append(rollout(agent, theta, individual.lifetime_seed(episode)))
            observed.append(agent.observed)
    seen = outcomes[: episodes * sum(not agent.unseen for agent in agents)]
    failure = next((outcome.failure for outcome in outcomes if outcome.failure), None)
    failed = any(outcome.failure for outcome in seen)
    fitness = -math.inf if failed else float(aggregate([o.fitness for o in seen]))
    known = given.statistics.size and not failed
    worlds = ()
    if len(agents) > 1 and not failed:
        each = np.reshape([outcome.fitness for outcome in outcomes], (len(agents), episodes))
        worlds = tuple(each.mean(axis=1).tolist())
    return Result(
        fitness,
        agents[0].mean_square(theta),
        sum(outcome.steps for outcome in outcomes),
        failure,
        time.perf_counter() - begun,
        tuple(map(sum, zip(*observed, strict=True))) if known else None,
        worlds,
    )
