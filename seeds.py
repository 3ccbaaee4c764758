"""Every random number of a run is a function of (seed, generation, pair, member, purpose).

Nothing of ours is drawn from a global generator, so a run does not depend on how many workers
evaluate its lifetimes, in which order they end, or how often it was stopped and resumed.
"""

import contextlib
import random

import numpy as np

START, NOISE, LIFETIME, WEIGHTS, WORLD, HELD_OUT, SHARED_RULES, MIRROR = range(8)  # the purposes


def stream(seed: int, *key: int) -> np.random.Generator:
    """The generator of one purpose; equal arguments give equal numbers."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


def integer(seed: int, *key: int) -> int:
    """A 31-bit integer, which every environment accepts as its seed."""
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0] >> 1)


def noise(seed: int, generation: int, pair: int, n: int) -> np.ndarray:
    """ε ~ N(0, I), (n,) float32: the direction that both members of a pair share."""
    return stream(seed, NOISE, generation, pair).standard_normal(n, dtype=np.float32)


def lifetime_seed(seed: int, generation: int, pair: int, member: int, episode: int = 0) -> int:
    """What one lifetime of an individual is a function of, beside its parameters."""
    return integer(seed, LIFETIME, generation, pair, member, episode)


_borrowed = False  # whether an outer `global_generators` will give them back


@contextlib.contextmanager
def global_generators(seed: int):
    """Seed Python's and numpy's, for environments that draw from them; the caller's draws go on
    afterwards as if nothing had been. Inside another one they are seeded and no more: to save and
    to restore them takes as long as ten steps of a small network."""
    global _borrowed
    outermost, before = not _borrowed, None
    if outermost:
        before = random.getstate(), np.random.get_state(legacy=False)
    _borrowed = True
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        if outermost:
            _borrowed = False
            random.setstate(before[0])
            np.random.set_state(before[1])
