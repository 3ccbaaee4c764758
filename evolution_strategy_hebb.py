"""OpenAI's evolution strategy (Salimans et al. 2017) over the flat vector θ of everything that
evolves. It knows no environment and no network: `ask` names the individuals of a generation,
`tell` takes their fitness. P is the population, n the length of θ."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

import seeds
from optimizers import OPTIMIZERS

AT_ONCE, BLOCK = 32, 32_768  # pairs, and elements of θ, that are summed up at once
PENALTY = 0.01  # fitness loses PENALTY · mean(coefficients²), as in the reference
LR_FLOOR, SIGMA_FLOOR, SIGMA_DECAY = 0.001, 0.01, 0.999  # the reference's


class Individual(NamedTuple):
    """What a worker evaluates; everything about it follows from these and θ."""

    seed: int
    generation: int
    pair: int
    member: int  # 0: θ + σε, 1: θ − σε
    sigma: float
    common: bool = False  # both members of a pair have the same episodes
    held_out = False

    @property
    def name(self) -> str:
        """For logs and file names, counted from 1."""
        return f"generation_{self.generation + 1}_individual_{2 * self.pair + self.member + 1}"

    def candidate(self, theta: np.ndarray, noise: Callable = seeds.noise) -> np.ndarray:
        """θ + σε for member 0 of an antithetic pair, θ − σε for member 1: (n,) float32."""
        result = noise(self.seed, self.generation, self.pair, theta.size)
        result *= np.float32(-self.sigma if self.member else self.sigma)
        result += theta
        return result

    def lifetime_seed(self, episode: int = 0) -> int:
        """From which its lifetime of this number (from 0) follows, whatever the environment."""
        member = 0 if self.common else self.member
        return seeds.lifetime_seed(self.seed, self.generation, self.pair, member, episode)


class HeldOut(NamedTuple):
    """An evaluation of θ itself, on a held-out seed that is the same in every generation."""

    seed: int
    generation: int  # whose step led to θ
    number: int
    held_out = True

    @property
    def name(self) -> str:
        """For logs and file names, counted from 1."""
        return f"generation_{self.generation + 1}_theta_{self.number + 1}"

    def candidate(self, theta: np.ndarray, noise: Callable = seeds.noise) -> np.ndarray:
        """θ: (n,) float32, a copy."""
        return theta.copy()

    def lifetime_seed(self, episode: int = 0) -> int:
        """The same in every generation."""
        return seeds.integer(self.seed, seeds.HELD_OUT, self.number, episode)


def centred_ranks(fitness: np.ndarray) -> np.ndarray:
    """(P,) fitness -> (P,) ranks centred to [-0.5, 0.5], divided by their standard deviation.

    Ties share their mean rank; all tied gives zeros, hence no step. −inf ranks last.
    """
    _, inverse, counts = np.unique(fitness, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    ranks = ranks / (fitness.size - 1) - 0.5
    deviation = ranks.std()
    return ranks / deviation if deviation > 0 else np.zeros(fitness.size)


class EvolutionStrategyHebb:
    """θ, and how it moves. Its whole state is in `state()`, so a run can go on from it.

    theta (n,) float32: the first θ; threads: that draw noise in `tell`, with the same result for
    any number; noise: in place of `seeds.noise`, which `tell` asks for the ε of each pair again;
    the rest are the options of these names.
    """

    def __init__(
        self,
        theta: np.ndarray,
        seed: int,
        popsize: int = 200,
        lr: float = 0.2,
        decay: float = 0.995,
        sigma: float = 0.1,
        optimizer: str = "sgd",
        momentum: float = 0.0,
        step_ratio: float | None = None,
        common_random_numbers: bool = False,
        threads: int = 1,
        noise: Callable = seeds.noise,
    ):
        if popsize < 2 or popsize % 2:
            raise ValueError(f"popsize {popsize}: must be an even number from 2 on (pairs)")
        if not sigma > 0:
            raise ValueError(f"sigma {sigma}: must be above 0")
        self.theta = np.array(theta, dtype=np.float32)
        self.seed, self.popsize, self.decay = seed, popsize, decay
        self.lr, self.sigma, self.generation = lr, sigma, 0
        self.step_ratio = step_ratio
        if step_ratio is not None:
            self.lr = self._relative_lr()
        self.optimizer = OPTIMIZERS[optimizer](self.theta.size, momentum)
        self.common, self.threads, self.noise = common_random_numbers, threads, noise

    def ask(self) -> list[Individual]:
        """The P individuals of this generation, pair after pair."""
        return [
            Individual(self.seed, self.generation, pair, member, self.sigma, self.common)
            for pair in range(self.popsize // 2)
            for member in (0, 1)
        ]

    def tell(self, fitness: Sequence[float], mean_squares: Sequence[float]) -> dict:
        """One step of θ from the fitness of the individuals in the order of `ask`.

        fitness: (P,), or (P, W) of W worlds, in each of which it is ranked apart: then the sum of
        these ranks counts. mean_squares: the mean of the squared coefficients of each, for the
        penalty. Returns how far the step went and how alike the members of a pair fared.
        """
        score = np.asarray(fitness, np.float64).T - PENALTY * np.asarray(mean_squares, np.float64)
        if score.ndim > 1:
            score = np.sum([centred_ranks(world) for world in score], axis=0)
        shaped = centred_ranks(score)
        plus, minus = shaped[0::2], shaped[1::2]
        step = self.optimizer.step(self._gradient(plus - minus), self.lr, self.generation + 1)
        self.theta += step
        radius = self.sigma * np.sqrt(self.theta.size)
        varied = plus.std() > 0 and minus.std() > 0
        if self.sigma > SIGMA_FLOOR:
            self.sigma *= SIGMA_DECAY
        if self.step_ratio is not None:
            self.lr = self._relative_lr()
        elif self.lr > LR_FLOOR:
            self.lr *= self.decay
        self.generation += 1
        return {
            "step_over_radius": float(np.linalg.norm(step) / radius),
            "pair_correlation": float(np.corrcoef(plus, minus)[0, 1]) if varied else 0.0,
        }

    def _relative_lr(self) -> float:
        """The lr with which a step of SGD is about step_ratio of the radius of the samples.

        |Δθ| = lr / (P σ) · |Σ_k F_k ε_k| ≈ lr √n / (σ √P), as the ranks F_k have variance 1 and
        nearly all of the sum is noise; the radius is σ √n. Hence lr = κ σ² √P.
        """
        return self.step_ratio * self.sigma**2 * self.popsize**0.5

    def _gradient(self, differences: np.ndarray) -> np.ndarray:
        """1 / (P σ) · Σ_k F_k ε_k over the population, where a pair shares ±ε: (F₊ − F₋) ε."""
        total = np.zeros_like(self.theta)
        pairs = np.flatnonzero(differences).tolist()
        weights = (differences[pairs] / (self.popsize * self.sigma)).astype(np.float32)

        def noise(pair: int) -> np.ndarray:
            return self.noise(self.seed, self.generation, pair, total.size)

        # Threads, as numpy works without the interpreter's lock while no worker has work. Whichever
        # is ready first, each element of the sum adds its terms in the order of the pairs.
        with ThreadPoolExecutor(self.threads) as pool:
            for first in range(0, len(pairs), AT_ONCE):
                terms = list(pool.map(noise, pairs[first : first + AT_ONCE]))
                add = partial(_add, total, terms, weights[first : first + AT_ONCE])
                list(pool.map(add, range(0, total.size, BLOCK)))
        return total

    def state(self) -> dict:
        """Everything that changes: arrays and numbers."""
        moments = {f"moment_{i}": moment for i, moment in enumerate(self.optimizer.moments)}
        return moments | {
            "theta": self.theta,
            "generation": self.generation,
            "lr": self.lr,
            "sigma": self.sigma,
        }

    def load_state(self, state: dict) -> None:
        """Go on from what `state` gave; ValueError when it is another strategy's."""
        arrays = {"theta": self.theta}
        arrays |= {f"moment_{i}": moment for i, moment in enumerate(self.optimizer.moments)}
        for name, array in arrays.items():
            if name not in state or np.shape(state[name]) != array.shape:
                raise ValueError(f"the state of the run lacks {name} of {array.size} numbers")
            array[:] = state[name]
        for name in ("generation", "lr", "sigma"):
            value = state.get(name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"the state of the run lacks {name}")
        self.generation = int(state["generation"])
        self.lr, self.sigma = float(state["lr"]), float(state["sigma"])


def _add(total: np.ndarray, terms: list, weights: np.ndarray, first: int) -> None:
    """Add weighted terms, one after the other, to a block of a sum that stays in the cache."""
    part = total[first : first + BLOCK]
    term = np.empty_like(part)
    for epsilon, weight in zip(terms, weights, strict=True):
        part += np.multiply(epsilon[first : first + BLOCK], weight, out=term)


class EveryLifetimeFailed(RuntimeError):
    """A whole generation without one finite fitness: nothing to learn from."""


def run(
    strategy: EvolutionStrategyHebb,
    workers,
    observer,
    generations: int,
    eval_every: int = 0,
    eval_episodes: int = 0,
    stop_at: float | None = None,
    apart: bool = False,
    row: dict | None = None,
) -> None:
    """Evolve until `generations` are complete, or until the mean fitness reaches `stop_at`.

    apart: of several worlds, rank the fitness in each apart. row: what observer.generation was
    given last, in a run that goes on.

    Every eval_every generations (0: never) θ itself is evaluated eval_episodes times, and their
    mean fitness counts instead, without those that failed. observer.broadcast(θ) is what
    workers.map takes; observer.result(individual, result) sees every individual's end, and
    (None, None) a few times a second; observer.evaluated(results) those of all, when θ has learned
    from them; observer.generation(row, results, scores) sees every generation's, and those of θ.
    What they raise ends the run.
    """
    score, goal = "theta_mean" if eval_every else "mean", math.inf if stop_at is None else stop_at
    row = row or {}
    while strategy.generation < generations and not row.get(score, -math.inf) >= goal:
        began = time.perf_counter()
        used = {"sigma": strategy.sigma, "lr": strategy.lr}
        given = observer.broadcast(strategy.theta)
        results = workers.map(given, strategy.ask(), observer.result)
        if not any(np.isfinite(result.fitness) for result in results):
            raise EveryLifetimeFailed(
                f"every lifetime of generation {strategy.generation + 1} failed, "
                f"the first with: {results[0].failure}"
            )
        fitness = [result.fitness for result in results]
        if apart and (n_worlds := max(len(result.worlds) for result in results)):
            fitness = [result.worlds or (-np.inf,) * n_worlds for result in results]
        moved = strategy.tell(fitness, [result.mean_square for result in results])
        observer.evaluated(results)
        row = {"generation": strategy.generation}
        row |= summary(results, time.perf_counter() - began) | used
        scores = []
        if eval_every:
            row["theta_mean"] = float("nan")
        if eval_every and strategy.generation % eval_every == 0:
            given = observer.broadcast(strategy.theta)
            held_out = [
                HeldOut(strategy.seed, strategy.generation - 1, n) for n in range(eval_episodes)
            ]
            scores = workers.map(given, held_out, observer.result)
            row["theta_mean"] = finite_mean([one.fitness for one in scores])
        observer.generation(row | moved, results, scores)


def finite_mean(values: Sequence[float]) -> float:
    """The mean of the values of lifetimes that have not failed; NaN without any."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def summary(results: Sequence, seconds: float) -> dict:
    """Of a generation that took so long: the part of its row that its results give."""
    fitness = np.array([result.fitness for result in results])
    finite = fitness[np.isfinite(fitness)]
    steps = sum(result.steps for result in results)
    return {
        "mean": float(finite.mean()),
        "std": float(finite.std()),
        "best": float(finite.max()),
        "worst": float(finite.min()),
        "steps": steps,
        "seconds": round(seconds, 3),
        "steps_per_second": round(steps / seconds, 1),
        "failed": fitness.size - finite.size,
    }
