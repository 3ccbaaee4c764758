"""OpenAI's evolution strategy (Salimans et al. 2017) over the flat vector θ of everything that
evolves. It knows no environment and no network: `ask` names the individuals of a generation,
`tell` takes their fitness. P is the population, n the length of θ."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

import seeds

PENALTY = 0.01  # fitness loses PENALTY · mean(coefficients²), as in the reference
LR_FLOOR, SIGMA_FLOOR, SIGMA_DECAY = 0.001, 0.01, 0.999  # the reference's


class Individual(NamedTuple):
    """Whom a worker lets live; everything about it follows from these and θ."""

    seed: int
    generation: int
    pair: int
    member: int  # 0: θ + σε, 1: θ − σε
    sigma: float

    def parameters(self, theta: np.ndarray) -> np.ndarray:
        """(n,) float32"""
        return seeds.candidate(
            theta, self.sigma, self.seed, self.generation, self.pair, self.member
        )

    def lifetime_seed(self, episode: int = 0) -> int:
        return seeds.lifetime_seed(self.seed, self.generation, self.pair, self.member, episode)


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
    """θ, and how it moves. Its whole state is in `state()`, so a run can go on from it."""

    def __init__(
        self, theta: np.ndarray, seed: int, popsize: int, lr: float, decay: float, sigma: float
    ):
        if popsize < 2 or popsize % 2:
            raise ValueError(f"popsize {popsize}: must be an even number from 2 on (pairs)")
        if not sigma > 0:
            raise ValueError(f"sigma {sigma}: must be above 0")
        self.theta = np.array(theta, dtype=np.float32)  # (n,)
        self.seed, self.popsize, self.decay = seed, popsize, decay
        self.lr, self.sigma, self.generation = lr, sigma, 0

    def ask(self) -> list[Individual]:
        """The P individuals of this generation, pair after pair."""
        return [
            Individual(self.seed, self.generation, pair, member, self.sigma)
            for pair in range(self.popsize // 2)
            for member in (0, 1)
        ]

    def tell(self, fitness: Sequence[float], mean_squares: Sequence[float]) -> None:
        """One step of θ from the fitness of the individuals in the order of `ask`.

        mean_squares: the mean of the squared coefficients of each, for the penalty.
        """
        score = np.asarray(fitness, np.float64) - PENALTY * np.asarray(mean_squares, np.float64)
        shaped = centred_ranks(score)
        if shaped.any():
            # θ ← θ + lr / (P σ) · Σ_k F_k ε_k, where a pair shares ±ε: (F₊ − F₋) ε
            weights = np.float32(self.lr / (self.popsize * self.sigma)) * np.subtract(
                shaped[0::2], shaped[1::2], dtype=np.float32
            )
            for pair, weight in enumerate(weights):
                step = seeds.noise(self.seed, self.generation, pair, self.theta.size)
                step *= weight
                self.theta += step
        if self.lr > LR_FLOOR:
            self.lr *= self.decay
        if self.sigma > SIGMA_FLOOR:
            self.sigma *= SIGMA_DECAY
        self.generation += 1

    def state(self) -> dict:
        """Everything that changes: arrays and numbers."""
        return {
            "theta": self.theta,
            "generation": self.generation,
            "lr": self.lr,
            "sigma": self.sigma,
        }

    def load_state(self, state: dict) -> None:
        self.theta[:] = state["theta"]
        self.generation = int(state["generation"])
        self.lr, self.sigma = float(state["lr"]), float(state["sigma"])


class EveryLifetimeFailed(RuntimeError):
    """A whole generation without one finite fitness: nothing to learn from."""


def run(
    strategy: EvolutionStrategyHebb,
    workers,
    generations: int,
    on_result: Callable,
    on_generation: Callable,
) -> None:
    """Evolve until `generations` are complete. on_result(result) sees every lifetime's end (and
    None while nothing ends); on_generation(row, failures) sees every generation's."""
    while strategy.generation < generations:
        began = time.perf_counter()
        lr, sigma = strategy.lr, strategy.sigma
        results = workers.map(strategy.theta, strategy.ask(), on_result)
        fitness = np.array([result.fitness for result in results])
        alive = fitness[np.isfinite(fitness)]
        failures = [result.failure for result in results if result.failure]
        if not alive.size:
            raise EveryLifetimeFailed(
                f"every lifetime of generation {strategy.generation + 1} failed, the first with: "
                f"{failures[0]}"
            )
        strategy.tell(fitness, [result.mean_square for result in results])
        seconds = time.perf_counter() - began
        steps = sum(result.steps for result in results)
        row = {
            "generation": strategy.generation,
            "mean": float(alive.mean()),
            "std": float(alive.std()),
            "best": float(alive.max()),
            "worst": float(alive.min()),
            "steps": steps,
            "seconds": round(seconds, 3),
            "steps_per_second": round(steps / seconds, 1),
            "failed": len(failures),
            "sigma": sigma,
            "lr": lr,
        }
        on_generation(row, failures)
