"""Where `--mirror` begins when it starts from a network that is not mirrored: with half of the
hidden neurons of that, and the mirror images of these in place of the others.

Which half is worth anything can only be tried: the best of many draws, improved by exchanging
neurons as long as that helps.
"""

from collections.abc import Sequence

import numpy as np

import seeds
from environments.tasks import Interface
from fitness_functions import Agent

DRAWS, EXCHANGES = 100, 100  # halves that are drawn, and changes of the best of them
FEW, MANY = 4, 16  # lifetimes that compare halves at first, and in the end


def best_half(
    interfaces: Sequence[Interface], options: dict, coefficients: np.ndarray, seed: int
) -> np.ndarray:
    """θ of mirrored agents, which these are the options of, from (S, K) unmirrored coefficients
    (static: weights, K = 1).

    A pure function of its arguments. It takes up to DRAWS · FEW + EXCHANGES · MANY lifetimes, of
    the same seeds for every half.
    """
    agents = [Agent(interface=interface, seed=seed, **options) for interface in interfaces]
    rng = seeds.stream(seed, seeds.MIRROR)
    lives = rng.integers(2**31, size=MANY).tolist()
    sizes = agents[0].policy.sizes[1:-1].tolist()

    def live(half: list[np.ndarray], some: range) -> list[float]:
        theta = agents[0].beside_its_mirror_image(coefficients, half)
        return [agents[k % len(agents)].rollout(theta, lives[k]).fitness for k in some]

    def exchange(half: list[np.ndarray]) -> list[np.ndarray]:
        """Up to a sixteenth of each layer's neurons, one at least, for others."""
        changed = []
        for n, kept in zip(sizes, half, strict=True):
            count = rng.integers(1, max(n // 16, 1) + 1)
            others = np.setdiff1d(np.arange(n), kept)
            kept = np.append(rng.permutation(kept)[count:], rng.permutation(others)[:count])
            changed.append(np.sort(kept))
        return changed

    few, others = range(FEW), range(FEW, MANY)
    drawn = [[np.sort(rng.permutation(n)[: n // 2]) for n in sizes] for _ in range(DRAWS)]
    fitness, best = max(((live(half, few), half) for half in drawn), key=lambda one: sum(one[0]))
    fitness += live(best, others)
    for _ in range(EXCHANGES):
        half = exchange(best)
        lived = live(half, few)
        if sum(lived) > sum(fitness[:FEW]):
            lived += live(half, others)
            if sum(lived) > sum(fitness):
                best, fitness = half, lived
    return agents[0].beside_its_mirror_image(coefficients, best)
