"""From an image to 648 features: area resize, two convolutions with their pools, compiled.

A map that is read in steps of two is kept split by parity, so that every inner loop reads
contiguous numbers: sample (y, x) lies in plane (y & 1, x & 1) at (y >> 1) · width + (x >> 1).
Planes are padded, because the loops run over whole rows and discard what lies beyond the edge.

Images stay in their own orientation (y, x). The reference swaps the axes (`swapaxes(0, 2)`), so
its convolution kernels are transposed when they are loaded, and the features when they leave.
"""

import math
from functools import cache

import numpy as np
from numba import njit

SIDE = 84  # the network sees SIDE x SIDE pixels
HALF = SIDE // 2  # width of a parity plane of the image
POOLED = (SIDE - 3 + 1) // 2  # after the 3x3 convolution and its pool: 41
QUARTER = (POOLED + 1) // 2  # width of a parity plane of the pooled map
STRIDED = (POOLED - 5) // 2 + 1  # after the 5x5 convolution in steps of two: 19
FEATURE_SIDE = STRIDED // 2  # after its pool: 9
MAPS = (6, 8)  # output channels of the two convolutions
N_FEATURES = MAPS[1] * FEATURE_SIDE**2
REAL, ROUNDED, FIXED = 0, 1, 2  # arithmetic of a resize, see `sampling`


def conv_shapes(channels):
    """Shapes (maps, channels, rows, columns) of the two convolution kernels."""
    return (MAPS[0], channels, 3, 3), (MAPS[1], MAPS[0], 5, 5)


def _area_taps(n):
    """Shares of the n source pixels in each of SIDE larger ones: first taps, (SIDE, K) weights."""
    scale = 1 / (SIDE / n)
    first, weights = np.zeros(SIDE, np.int64), np.zeros((SIDE, math.ceil(scale) + 1), np.float32)
    for d in range(SIDE):
        left, right = d * scale, d * scale + scale
        cell = min(scale, n - left)
        inner, end = math.ceil(left), min(math.floor(right), n - 1)
        taps = [1 / cell] * (end - inner)
        if inner - left > 1e-3:  # OpenCV's threshold for a sliver of a pixel
            taps.insert(0, (inner - left) / cell)
            inner -= 1
        if right - end > 1e-3:
            taps.append(min(right - end, 1, cell) / cell)
        first[d], weights[d, : len(taps)] = inner, taps
    return first, weights


def _linear_taps(n, unit):
    """OpenCV's stand-in for areas where an axis grows: (SIDE, 2) weights in units of 1/unit."""
    d, scale = np.arange(SIDE), 1 / (SIDE / n)
    first = np.floor(d * scale).astype(np.int64)
    share = np.maximum((d + 1) - (first + 1) * (SIDE / n), 0).astype(np.float32)
    share = np.where(first + 1 < n, share - np.floor(share), 0).astype(np.float32)
    weights = np.stack([1 - share, share], axis=1) * np.float32(unit)
    return first, weights if unit == 1 else np.rint(weights)


@cache
def sampling(height, width, grey_levels):
    """What `resize` needs to know of a size: arithmetic, x taps, y taps, factor and offset.

    OpenCV has three ways, and they round differently: linear in fixed point where an axis grows,
    sums of whole pixels where both ratios are whole numbers, weighted areas otherwise.
    """
    if min(height, width) < SIDE:
        arithmetic, unit = (FIXED, 2048) if grey_levels else (REAL, 1)
        return arithmetic, *_linear_taps(width, unit), *_linear_taps(height, unit), 1.0, 0.0
    taps = *_area_taps(width), *_area_taps(height)
    if not grey_levels:
        return REAL, *taps, 1.0, 0.0
    if height % SIDE or width % SIDE:
        return ROUNDED, *taps, 1.0, 0.0
    for weights in taps[1::2]:
        weights[weights > 0] = 1
    pixels = (height // SIDE) * (width // SIDE)
    halves_go_up = height == width == 2 * SIDE  # only in sums of 2x2; others go to the even one
    return ROUNDED, *taps, 1 / pixels, 1 / 8 if halves_go_up else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def resize(image, sampling, level, rows, maps):
    """Shrink or stretch an image to SIDE x SIDE, to the bits of cv2.resize(..., INTER_AREA).

    image (H, W, C) uint8 or float32; sampling: of its size; level: the value that becomes 1;
    rows (H + 1, C, 2, HALF) float32: scratch; maps (C, 2, 2, HALF² or more) float32: the result.
    """
    arithmetic, x_first, x_weights, y_first, y_weights, factor, offset = sampling
    height, _, channels = image.shape
    for y in range(height):
        for c in range(channels):
            for x in range(SIDE):
                s = np.float32(0)
                for k in range(x_weights.shape[1]):
                    if x_weights[x, k] != 0:
                        s += np.float32(image[y, x_first[x] + k, c]) * x_weights[x, k]
                rows[y, c, x & 1, x >> 1] = s
    flat = rows.reshape(height + 1, channels * SIDE)
    total = flat[height]
    for y in range(SIDE):
        first = y_first[y]
        if arithmetic == FIXED:
            low, high = flat[first], flat[min(first + 1, height - 1)]
            a, b = np.int32(y_weights[y, 0]), np.int32(y_weights[y, 1])
            for j in range(total.size):
                s = ((np.int32(low[j]) >> 4) * a >> 16) + ((np.int32(high[j]) >> 4) * b >> 16)
                total[j] = (s + 2) >> 2
        else:
            total[:] = 0
            for k in range(y_weights.shape[1]):
                weight = y_weights[y, k]
                if weight != 0:
                    row = flat[first + k]
                    for j in range(total.size):
                        total[j] += row[j] * weight
            if arithmetic == ROUNDED:
                for j in range(total.size):
                    total[j] = np.rint(total[j] * np.float32(factor) + np.float32(offset))
        for c in range(channels):
            for parity in range(2):
                line = rows[height, c, parity]
                target = maps[c, y & 1, parity, (y >> 1) * HALF :]
                for x in range(HALF):
                    target[x] = line[x] / level


@njit(cache=True, nogil=True, error_model="numpy")
def tanh(x):
    """Hyperbolic tangent of a float32, rounded from float64; branchless, so loops vectorise.

    tanh(x) = e / (e + 2) with e = exp(2x) - 1, which is doubled up from 2x / 32 by
    exp(2y) - 1 = e (e + 2).
    """
    y = np.float64(10 if x > 10 else -10 if x < -10 else x) / 16  # NaN passes
    e = 1.0
    for k in range(11, 1, -1):
        e = 1 + e * y / k
    e *= y
    for _ in range(5):
        e *= e + 2
    return np.float32(e / (e + 2))


def _correlation(size, members):
    """Compile a correlation in steps of two with a size x size kernel.

    `correlate(planes, kernel, width, sums)` adds to sums (members², n) the correlation of one
    input channel, planes (2, 2, >= n + size·width), at members² offsets (0, 0), (0, 1), ...
    """

    @njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
    def correlate(planes, kernel, width, sums):
        for n in range(sums.shape[1]):
            for dy in range(members):
                for dx in range(members):
                    s = sums[dy * members + dx, n]
                    for ky in range(size):
                        for kx in range(size):
                            y, x = dy + ky, dx + kx
                            s += (
                                kernel[ky, kx]
                                * planes[y & 1, x & 1, n + (y >> 1) * width + (x >> 1)]
                            )
                    sums[dy * members + dx, n] = s

    return correlate


_correlate3, _correlate5 = _correlation(3, 2), _correlation(5, 1)


@njit(cache=True, nogil=True, error_model="numpy")
def see(maps, kernels1, kernels2, sums1, maps2, sums2, features):
    """The two convolutions, each with max-pool and tanh; False when a sum is not finite."""
    top = np.int32(0)
    for o in range(kernels1.shape[0]):
        sums1[:] = 0
        for c in range(kernels1.shape[1]):
            _correlate3(maps[c], kernels1[o, c], HALF, sums1)
        a, b, c, d = sums1
        for n in range(a.size):
            s = np.float32(a[n] + b[n] + c[n] + d[n])
            top = np.int32(max(top, s.view(np.int32) & 0x7FFFFFFF))
            a[n] = tanh(max(max(a[n], b[n]), max(c[n], d[n])))
        for y in range(POOLED):
            for x in range(POOLED):
                maps2[o, y & 1, x & 1, (y >> 1) * QUARTER + (x >> 1)] = a[y * HALF + x]
    for o in range(kernels2.shape[0]):
        sums2[:] = 0
        for c in range(kernels2.shape[1]):
            _correlate5(maps2[c], kernels2[o, c], QUARTER, sums2)
        a = sums2[0]
        for n in range(a.size):
            s = np.float32(a[n])
            top = np.int32(max(top, s.view(np.int32) & 0x7FFFFFFF))
        for y in range(FEATURE_SIDE):
            for x in range(FEATURE_SIDE):
                n = 2 * y * QUARTER + 2 * x
                s = max(max(a[n], a[n + 1]), max(a[n + QUARTER], a[n + QUARTER + 1]))
                features[(o * FEATURE_SIDE + x) * FEATURE_SIDE + y] = tanh(s)
    return top < 0x7F800000  # the bits of infinity, above which are those of NaN


class Eye:
    """The buffers and kernels of one network's convolutions."""

    def __init__(self, shape1, shape2):
        n1, n2 = -(-POOLED * HALF // 16) * 16, -(-2 * FEATURE_SIDE * QUARTER // 16) * 16
        self.kernels = np.zeros(shape1, np.float32), np.zeros(shape2, np.float32)
        self.maps1 = np.zeros((shape1[1], 2, 2, n1 + 2 * HALF), np.float32)
        self.maps2 = np.zeros((shape2[1], 2, 2, n2 + 3 * QUARTER), np.float32)
        self.sums1, self.sums2 = np.zeros((4, n1), np.float32), np.zeros((1, n2), np.float32)
        self.rows = np.zeros((0, shape1[1], 2, HALF), np.float32)

    def load(self, weights):
        """Take conv weights, flat in torch's order."""
        for kernel in self.kernels:
            kernel[...] = weights[: kernel.size].reshape(kernel.shape).swapaxes(2, 3)
            weights = weights[kernel.size :]

    def see(self, image, level, features):
        """Write the features (N_FEATURES,) of an image; False when anything is not finite."""
        grey_levels = image.dtype == np.uint8
        image = np.ascontiguousarray(image, None if grey_levels else np.float32)
        height, width, channels = image.shape
        if len(self.rows) != height + 1:
            self.rows = np.zeros((height + 1, channels, 2, HALF), np.float32)
        level = np.float32(255) if grey_levels else level
        resize(image, sampling(height, width, grey_levels), level, self.rows, self.maps1)
        return see(self.maps1, *self.kernels, self.sums1, self.maps2, self.sums2, features)
