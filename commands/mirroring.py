"""Where `--mirror` begins when it starts from rules that are not mirrored: with half of the hidden
neurons of their network, and the mirror images of these in place of the others.

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
    """(S, K) mirrored coefficients, of unmirrored ones (S, K); options: of mirrored agents.

    A pure function of its arguments. It takes up to DRAWS · FEW + EXCHANGES · MANY lifetimes, of
    the same seeds for every half.
    """
    agents = [Agent(interface=interface, seed=seed, **options) for interface in interfaces]
    rng = seeds.stream(seed, seeds.MIRROR)
    lives = rng.integers(2**31, size=MANY).tolist()
    sizes = agents[0].policy.sizes[1:-1].tolist()

    def mirrored(half: list[np.ndarray]) -> np.ndarray:
        return agents[0].beside_its_mirror_image(coefficients, half)

    def fitness(half: list[np.ndarray], some: Sequence[int]) -> float:
        theta = agents[0].join(mirrored(half))
        live = [agents[k % len(agents)].rollout(theta, lives[k]).fitness for k in some]
        return sum(live) / len(live)

    def exchange(half: list[np.ndarray]) -> list[np.ndarray]:
        """Up to a sixteenth of each layer's neurons, one at least, for others."""
        changed = []
        for n, kept in zip(sizes, half, strict=True):
            count = rng.integers(1, max(n // 16, 1) + 1)
            others = np.setdiff1d(np.arange(n), kept)
            kept = np.append(rng.permutation(kept)[count:], rng.permutation(others)[:count])
            changed.append(np.sort(kept))
        return changed

    few, many = range(FEW), range(MANY)
    drawn = [[np.sort(rng.permutation(n)[: n // 2]) for n in sizes] for _ in range(DRAWS)]
    best = max(drawn, key=lambda half: fitness(half, few))
    at_first, in_the_end = fitness(best, few), fitness(best, many)
    for _ in range(EXCHANGES):
        half = exchange(best)
        first = fitness(half, few)
        if first > at_first and (mean := fitness(half, many)) > in_the_end:
            best, at_first, in_the_end = half, first, mean
    return mirrored(best)
