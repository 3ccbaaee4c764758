"""What is done to a lifetime while it runs: recordings, lesions, frozen plasticity.

Each is a small callable with the arguments of `lifetime`'s hook, on_step(t, activations, weights,
reward); `together` makes one of several. At the end of step t a network has made t + 1 steps: what
is done "after T steps" is done at the end of step T - 1, so that step T is the first to feel it.
"""

from collections.abc import Callable, Sequence

import numpy as np

import seeds
from hebbian_weights_update import Synapses
from networks.initial_weights import INITIALISATIONS

LESION = 32  # a purpose of its own beside those of seeds.py: where and to what a lesion damages


def together(*callables: Callable) -> Callable:
    """One on_step that calls several, in their order."""

    def on_step(*step):
        for call in callables:
            call(*step)

    return on_step


class Lesion:
    """Damage a random share of the weights of some layers, once, after `after` steps (the paper
    damages them in the middle of a lifetime in the same way).

    layers: numbers from 1 at the input; None for all. fraction: the share of each layer, 0 to 1.
    to: `zero`; `saturate`, the largest absolute weight of the layer with the weight's own sign;
    `random`, drawn anew from `init_weights`. seed: the episode's; the same damages the same.
    """

    def __init__(
        self,
        after: int,
        seed: int,
        fraction: float = 1.0,
        to: str = "zero",
        layers: Sequence[int] | None = None,
        init_weights: str = "uni",
    ):
        self.after, self.layers, self.fraction = after, layers, fraction
        self.draw = {
            "zero": lambda rng, layer: np.zeros_like(layer),
            "saturate": lambda rng, layer: np.copysign(np.abs(layer).max(), layer),
            "random": lambda rng, layer: INITIALISATIONS[init_weights](rng, layer.shape),
        }[to]
        self.seed = seed

    def __call__(self, t, activations, weights, reward):
        if t != self.after - 1:
            return
        rng = seeds.stream(self.seed, LESION)
        for number in self.layers or range(1, len(weights) + 1):
            layer = weights[number - 1]
            hit = np.zeros(layer.size, bool)
            hit[rng.permutation(layer.size)[: round(self.fraction * layer.size)]] = True
            hit = hit.reshape(layer.shape)
            layer[hit] = self.draw(rng, layer)[hit]


class Freeze:
    """End the plasticity of these synapses after `after` steps. What else is done to the weights,
    a lesion for one, stays."""

    def __init__(self, after: int, synapses: Synapses):
        self.after, self.synapses = after, synapses

    def __call__(self, t, activations, weights, reward):
        if t == self.after - 1:
            self.synapses.frozen = True


class Recorder:
    """Keep what a lifetime is like, per step: rewards; activations per layer (input first);
    Frobenius norms of the weights and of their changes per layer.

    weights (S,): the network's own, as they begin, so that the first change is known. snapshots:
    0, or how many times at least to keep all weights, evenly over a lifetime that is long enough;
    `times` are the steps made until each.
    """

    def __init__(self, weights: np.ndarray, snapshots: int = 0):
        self.rewards, self.activations, self.norms, self.changes = [], [], [], []
        self.limit, self.every = 2 * snapshots, 1
        self.flat, self.last = weights, weights.copy()
        self.times, self.weights = ([0], [self.last]) if snapshots else ([], [])

    def __call__(self, t, activations, weights, reward):
        new, ends = self.flat.copy(), np.cumsum([layer.size for layer in weights])[:-1]
        self.rewards.append(reward)
        self.activations.append([layer.copy() for layer in activations])
        self.norms.append([np.linalg.norm(layer) for layer in np.split(new, ends)])
        self.changes.append([np.linalg.norm(layer) for layer in np.split(new - self.last, ends)])
        self.last = new
        if self.limit and (t + 1) % self.every == 0:
            self.times.append(t + 1)
            self.weights.append(new)
            if len(self.times) > self.limit:  # half as many, twice as far apart
                self.times, self.weights = self.times[::2], self.weights[::2]
                self.every *= 2
