"""From 84x84 pixels to 648 features: two convolutions, each with max-pool and tanh, compiled.

The four members of a pool are summed up together, in registers, each in the order (channel, y, x):
in the first convolution for eight columns and three maps at once, in the second for all its eight
maps and three columns. That keeps a processor with AVX2 at nine tenths of what it can multiply.

Images stay in their own orientation (y, x). The reference swaps the axes (`swapaxes(0, 2)`), so
its convolution kernels are transposed when they are loaded, and the features when they leave.
"""

import numpy as np

from machine.compiled import compiled
from networks.arithmetic import finite, squash
from networks.lanes import N, fma, larger, load, repeat, store, zero
from networks.pixels import HALF, SIDE

MAPS = (6, 8)  # output channels: a multiple of three, and N
POOLED = (SIDE - 3 + 1) // 2  # after the 3x3 convolution and its pool: 41
STRIDED = (POOLED - 5) // 2 + 1  # after the 5x5 convolution in steps of two: 19
FEATURE_SIDE = STRIDED // 2  # after its pool: 9, a multiple of three
N_FEATURES = MAPS[1] * FEATURE_SIDE**2
ROWS = 4 * FEATURE_SIDE + 3  # of the first pool, as far as the second convolution looks: 39
COLUMNS = ROWS + -ROWS % N
AREA = ROWS * COLUMNS


def kernels(channels):
    """Zeros for the two convolution kernels, float32 (maps, channels, y, x); in memory the maps of
    the second stand side by side."""
    second = np.zeros((MAPS[0], 5, 5, N), np.float32)
    return [np.zeros((MAPS[0], channels, 3, 3), np.float32), second.transpose(3, 0, 1, 2)]


def buffers(channels):
    """Zeros for `see`, float32: maps1, which `pixels.resize` fills, maps2 and pooled."""
    shapes = (channels, 2, 2, HALF, HALF), (MAPS[0] * AREA,), (FEATURE_SIDE**2, N)
    return [np.zeros(shape, np.float32) for shape in shapes]


@compiled
def _grown(sums, factor, factors):
    """The sums of a pool's four members, each with one product more."""
    a, b, c, d = sums
    e, f, g, h = factors
    return fma(factor, e, a), fma(factor, f, b), fma(factor, g, c), fma(factor, h, d)


@compiled
def _pool(sums, results, at, bad):
    """Store the largest of a pool's four members; bad stays 0 as long as all are finite."""
    a, b, c, d = sums
    store(results, at, larger(larger(a, b), larger(c, d)))
    for member in sums:
        bad = fma(member, zero(), bad)
    return bad


@compiled
def _columns(image, channel, y, x, column):
    """Samples (y, 2 · column + x) of a channel for N columns; rows and columns lie by parity."""
    plane = (2 * channel + (y & 1)) * 2 + (x & 1)
    return load(image, (plane * HALF + (y >> 1)) * HALF + (x >> 1) + column)


@compiled
def _first(kernels, image, maps):
    """The first convolution, in steps of one, with its pool; NaN where a sum is not finite."""
    bad, nothing = zero(), (zero(), zero(), zero(), zero())
    taps = kernels.size // MAPS[0]
    for row in range(ROWS):
        for column in range(0, COLUMNS, N):
            for o in range(0, MAPS[0], 3):
                r, s, t = nothing, nothing, nothing
                k = o * taps
                for i in range(taps // 9):
                    for dy in range(3):
                        y = 2 * row + dy
                        for x in range(3):
                            four = (
                                _columns(image, i, y, x, column),
                                _columns(image, i, y, x + 1, column),
                                _columns(image, i, y + 1, x, column),
                                _columns(image, i, y + 1, x + 1, column),
                            )
                            r = _grown(r, repeat(kernels, k), four)
                            s = _grown(s, repeat(kernels, k + taps), four)
                            t = _grown(t, repeat(kernels, k + 2 * taps), four)
                            k += 1
                at = o * AREA + row * COLUMNS + column
                bad = _pool(r, maps, at, bad)
                bad = _pool(s, maps, at + AREA, bad)
                bad = _pool(t, maps, at + 2 * AREA, bad)
    return bad


@compiled
def _four(maps, at):
    """The samples of a pool's members in a convolution in steps of two, each for all maps."""
    below = at + 2 * COLUMNS
    return repeat(maps, at), repeat(maps, at + 2), repeat(maps, below), repeat(maps, below + 2)


@compiled
def _second(kernels, maps, pooled):
    """The second convolution, in steps of two, with its pool; NaN where a sum is not finite."""
    bad, nothing = zero(), (zero(), zero(), zero(), zero())
    for y in range(FEATURE_SIDE):
        for x in range(0, FEATURE_SIDE, 3):
            r, s, t = nothing, nothing, nothing
            k = 0
            for i in range(MAPS[0]):
                for dy in range(5):
                    for dx in range(5):
                        of_maps = load(kernels, k)
                        at = i * AREA + (4 * y + dy) * COLUMNS + 4 * x + dx
                        r = _grown(r, of_maps, _four(maps, at))
                        s = _grown(s, of_maps, _four(maps, at + 4))
                        t = _grown(t, of_maps, _four(maps, at + 8))
                        k += N
            at = (x * FEATURE_SIDE + y) * N
            bad = _pool(r, pooled, at, bad)
            bad = _pool(s, pooled, at + FEATURE_SIDE * N, bad)
            bad = _pool(t, pooled, at + 2 * FEATURE_SIDE * N, bad)
    return bad


@compiled
def see(kernels1, kernels2, maps1, maps2, pooled, features):
    """From pixels to features; False when a pixel or a sum is not finite.

    kernels1 (maps, channels, y, x), kernels2 (channels, y, x, maps), transposed as above; maps1,
    maps2, pooled: `buffers`; features (N_FEATURES,) float32: the result, in torch's order.
    """
    image, bad = maps1.reshape(-1), np.empty(2 * N, np.float32)
    store(bad, 0, _first(kernels1.reshape(-1), image, maps2))
    squash(maps2)
    store(bad, N, _second(kernels2.reshape(-1), maps2, pooled))
    for o in range(N):
        for n in range(len(pooled)):
            features[o * len(pooled) + n] = pooled[n, o]
    squash(features)
    return finite(image) & finite(bad)
