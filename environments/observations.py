"""Running statistics of observations, for `--normalize_observations`."""

import numpy as np

EPSILON = 1e-8  # as in gymnasium's NormalizeObservation


class Statistics:
    """Count, mean and sum of squared deviations of vectors, (n,) float64.

    Merged after every generation in the order of its individuals, hence the same for any number
    of workers (Chan, Golub & LeVeque 1983).
    """

    def __init__(self, n: int):
        self.count, self.mean, self.squares = 0, np.zeros(n), np.zeros(n)

    def merge(self, count: int, total: np.ndarray, total_of_squares: np.ndarray) -> None:
        """Take in `count` vectors by their sum and by the sum of their squares."""
        if not count:
            return
        mean = total / count
        delta, both = mean - self.mean, self.count + count
        self.squares += np.maximum(total_of_squares - count * mean**2, 0)
        self.squares += delta**2 * self.count * count / both
        self.mean += delta * count / both
        self.count = both

    def as_block(self) -> np.ndarray:
        """(2, n) float32: mean and standard deviation, 0 and 1 while nothing was seen."""
        variance = self.squares / self.count if self.count else np.ones_like(self.mean)
        return np.stack([self.mean, np.sqrt(variance + EPSILON)]).astype(np.float32)

    def state(self) -> dict:
        """What `load_state` goes on from: a count, and (n,) float64 arrays."""
        return {
            "observed_count": self.count,
            "observed_mean": self.mean,
            "observed_squares": self.squares,
        }

    def load_state(self, state: dict) -> None:
        self.count = int(state["observed_count"])
        self.mean, self.squares = state["observed_mean"], state["observed_squares"]


class Normalizer:
    """(x − mean) / standard deviation, of the statistics that a lifetime begins with; what the
    lifetime observes is summed up for the next ones."""

    def __init__(self, encode, block: np.ndarray):
        self.encode, (self.mean, self.deviation) = encode, block
        self.count, self.total, self.total_of_squares = 0, 0.0, 0.0

    def __call__(self, observation) -> np.ndarray:
        x = self.encode(observation)
        wide = x.astype(np.float64)
        self.count += 1
        self.total = self.total + wide
        self.total_of_squares = self.total_of_squares + wide * wide
        return (x - self.mean) / self.deviation

    @property
    def sums(self) -> tuple:
        """What `Statistics.merge` takes."""
        return self.count, self.total, self.total_of_squares
