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

from machine.compiled import compiled

SIDE = 84  # the network sees SIDE x SIDE pixels
HALF = SIDE // 2  # width of a parity plane of the image
POOLED = (SIDE - 3 + 1) // 2  # after the 3x3 convolution and its pool: 41
QUARTER = (POOLED + 1) // 2  # width of a parity plane of the pooled map
STRIDED = (POOLED - 5) // 2 + 1  # after the 5x5 convolution in steps of two: 19
FEATURE_SIDE = STRIDED // 2  # after its pool: 9
MAPS = (6, 8)  # output channels of the two convolutions
N_FEATURES = MAPS[1] * FEATURE_SIDE**2
REAL, ROUNDED, FIXED = 0, 1, 2  # arithmetic of a resize, see `sampling`
EXPM1 = tuple(1 / math.factorial(k + 1) for k in range(11))  # Taylor, (exp(y) - 1) / y


fused = compiled(fastmath={"contract"})  # a·b + c at once


def _round_up(n):
    """To whole rounds of a vectorised loop: 64 float32."""
    return -(-n // 64) * 64


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
    return first, weights[:, weights.any(axis=0)]


def _linear_taps(n, unit):
    """OpenCV's stand-in for areas where an axis grows: (SIDE, 2) weights in units of 1/unit."""
    d, scale = np.arange(SIDE), 1 / (SIDE / n)
    first = np.floor(d * scale).astype(np.int64)
    share = np.maximum((d + 1) - (first + 1) * (SIDE / n), 0).astype(np.float32)
    share = np.where(first + 1 < n, share - np.floor(share), 0).astype(np.float32)
    weights = np.stack([1 - share, share], axis=1) * np.float32(unit)
    return first, weights if unit == 1 else np.rint(weights)


@cache
def sampling(height, width, channels, grey_levels):
    """What `resize` needs to know of an image: arithmetic, taps along x and y, factor, offset.

    OpenCV has three ways, and they round differently: linear in fixed point where an axis grows,
    sums of whole pixels where both ratios are whole numbers, weighted areas otherwise.
    """
    arithmetic, factor, offset = ROUNDED if grey_levels else REAL, 1.0, 0.0
    if min(height, width) < SIDE:
        arithmetic, unit = (FIXED, 2048) if grey_levels else (REAL, 1)
        x_first, x_weights = _linear_taps(width, unit)
        y_first, y_weights = _linear_taps(height, unit)
    else:
        x_first, x_weights = _area_taps(width)
        y_first, y_weights = _area_taps(height)
        if grey_levels and height % SIDE == width % SIDE == 0:
            x_weights[x_weights > 0] = y_weights[y_weights > 0] = 1
            factor = SIDE * SIDE / (height * width)
            # Only in sums of 2x2 pixels halves go up, in others to the even neighbour.
            offset = 1 / 8 if factor == 1 / 4 and height == width else 0.0
    # A row is stored as channel, parity, x >> 1.
    order, channel = np.arange(SIDE).reshape(HALF, 2).T.ravel(), np.arange(channels)[:, None]
    index = (x_first[order] * channels + channel).ravel()
    x_weights = np.tile(x_weights[order].T, channels)
    pick = np.arange(index.size)
    if width >= SIDE:  # each sum stays where its first tap lies, and is picked from there at last
        spread = np.zeros((len(x_weights), width * channels), np.float32)
        spread[:, index] = x_weights
        index, x_weights, pick = index[:0], spread, index
    size = x_weights.shape[1]
    x_weights = np.pad(x_weights, ((0, len(x_weights) % 2), (0, -size % 32)))
    index = np.pad(index, (0, -index.size % 32))
    return (
        (arithmetic, np.float32(factor), np.float32(offset)),
        (index, np.ascontiguousarray(x_weights), pick),
        (y_first, np.ascontiguousarray(y_weights)),
    )


def scratch(height, width, channels, grey_levels):
    """Zeros for `resize`: line and rows, float32, with room for taps of weight 0 at the edge."""
    _, (_, x_weights, _), _ = sampling(height, width, channels, grey_levels)
    taps, size = x_weights.shape
    line = np.zeros(max(width * channels, size) + taps * channels, np.float32)
    return line, np.zeros((height + 1, size), np.float32)


def buffers(channels):
    """Zeros for `see`: maps1 and sums1, maps2 and sums2, float32, padded to what its loops read."""
    n1, n2 = _round_up(POOLED * HALF), _round_up(2 * FEATURE_SIDE * QUARTER)
    shapes = (channels, 2, 2, n1 + 2 * HALF), (4, n1), (MAPS[0], 2, 2, n2 + 3 * QUARTER), (n2,)
    return [np.zeros(shape, np.float32) for shape in shapes]


@compiled
def resize(image, how, x_taps, y_taps, level, line, rows, maps):
    """Shrink or stretch an image to SIDE x SIDE, to the bits of cv2.resize(..., INTER_AREA).

    image (H, W·C) uint8 or float32; how, x_taps, y_taps: of `sampling`; level: what becomes 1;
    line, rows: `scratch`; maps (C, 2, 2, HALF² or more) float32: the result.
    """
    (arithmetic, factor, offset), (y_first, y_weights) = how, y_taps
    index, x_weights, pick = x_taps
    height, channels = image.shape[0], maps.shape[0]
    for y in range(height):
        source, row = image[y], rows[y]
        for s in range(source.size):
            line[s] = source[s]
        row[:] = 0
        for k in range(0, len(x_weights), 2):  # in pairs for speed, yet added one by one
            left, right = line[k * channels :], line[(k + 1) * channels :]
            a, b = x_weights[k], x_weights[k + 1]
            if index.size:
                for j in range(row.size):
                    i = index[j]
                    row[j] = row[j] + left[i] * a[j] + right[i] * b[j]
            else:
                for j in range(row.size):
                    row[j] = row[j] + left[j] * a[j] + right[j] * b[j]
    row = rows[height]
    for y in range(SIDE):
        first = y_first[y]
        if arithmetic == FIXED:
            _mix(rows[first], rows[min(first + 1, height - 1)], y_weights[y], row)
        else:
            row[:] = 0
            for k in range(y_weights.shape[1]):
                weight = y_weights[y, k]
                if weight != 0:
                    source = rows[first + k]
                    for j in range(row.size):
                        row[j] += source[j] * weight
        _finish(row, arithmetic, factor, offset, level)
        for p in range(2 * channels):
            plane = maps[p // 2, y & 1, p % 2, (y >> 1) * HALF : (y >> 1) * HALF + HALF]
            for x in range(HALF):
                plane[x] = row[pick[p * HALF + x]]


@compiled
def _mix(low, high, weights, row):
    """OpenCV's vertical half of a linear resize in fixed point, truncations included."""
    a, b = np.int32(weights[0]), np.int32(weights[1])
    for j in range(row.size):
        s = ((np.int32(low[j]) >> 4) * a >> 16) + ((np.int32(high[j]) >> 4) * b >> 16)
        row[j] = (s + 2) >> 2


@compiled
def _finish(row, arithmetic, factor, offset, level):
    if arithmetic == ROUNDED:
        for j in range(row.size):
            row[j] = np.rint(row[j] * factor + offset) / level
    else:
        for j in range(row.size):
            row[j] /= level


@fused
def tanh(x):
    """Hyperbolic tangent of a float32, rounded from float64; branchless, so loops vectorise.

    tanh(x) = e / (e + 2) with e = exp(2x) - 1, which is doubled up from x / 16 by
    exp(2y) - 1 = e (e + 2).
    """
    y = np.float64(x)
    y = (10.0 if y > 10 else -10.0 if y < -10 else y) / 16  # beyond is 1 in float32; NaN stays
    e = 0.0
    for k in range(10, -1, -1):
        e = e * y + EXPM1[k]
    e *= y
    for _ in range(5):
        e *= e + 2
    return np.float32(e / (e + 2))


@compiled
def squash(x):
    """tanh of every element, in place."""
    for n in range(x.size):
        x[n] = tanh(x[n])


@compiled
def finite(x):
    """Whether every element is: no float's bits but infinity's and NaN's reach 0x7F800000."""
    top = np.int32(0)
    for n in range(x.size):
        top = max(top, np.int32(np.float32(x[n]).view(np.int32) & 0x7FFFFFFF))
    return top < 0x7F800000


@compiled
def _at(planes, width, n, y, x):
    """Sample (y, x) from where sample n of the even plane lies."""
    return planes[y & 1, x & 1, n + (y >> 1) * width + (x >> 1)]


@fused
def _correlate3(planes, kernel, sums):
    """Add one channel's 3x3 correlation, in steps of one, to sums (4, n): the pool's members."""
    a, b, c, d = sums[0], sums[1], sums[2], sums[3]  # not unpacked: contiguous
    for n in range(a.size):
        s, t, u, v = a[n], b[n], c[n], d[n]
        for y in range(3):
            for x in range(3):
                k = kernel[y, x]
                s += k * _at(planes, HALF, n, y, x)
                t += k * _at(planes, HALF, n, y, x + 1)
                u += k * _at(planes, HALF, n, y + 1, x)
                v += k * _at(planes, HALF, n, y + 1, x + 1)
        a[n], b[n], c[n], d[n] = s, t, u, v


@fused
def _correlate5(planes, kernel, sums):
    """Add one channel's 5x5 correlation in steps of two to sums (n,)."""
    for n in range(sums.size):
        s = sums[n]
        for y in range(5):
            for x in range(5):
                s += kernel[y, x] * _at(planes, QUARTER, n, y, x)
        sums[n] = s


@compiled
def see(kernels1, kernels2, maps1, sums1, maps2, sums2, features):
    """The two convolutions, each with max-pool and tanh; False when a sum is not finite.

    kernels (maps, channels, y, x), transposed as above; maps1 comes from `resize`;
    features (N_FEATURES,) float32: the result, in the order of torch's flatten.
    """
    good = True
    a, b, c, d = sums1[0], sums1[1], sums1[2], sums1[3]
    for o in range(len(kernels1)):
        sums1[:] = 0
        for i in range(len(maps1)):
            _correlate3(maps1[i], kernels1[o, i], sums1)
        good &= finite(sums1.ravel())
        for n in range(a.size):
            a[n] = max(max(a[n], b[n]), max(c[n], d[n]))
        squash(a)
        for y in range(POOLED):
            for x in range(POOLED):
                maps2[o, y & 1, x & 1, (y >> 1) * QUARTER + (x >> 1)] = a[y * HALF + x]
    n = 0
    for o in range(len(kernels2)):
        sums2[:] = 0
        for i in range(len(maps2)):
            _correlate5(maps2[i], kernels2[o, i], sums2)
        good &= finite(sums2)
        for x in range(FEATURE_SIDE):
            for y in range(FEATURE_SIDE):
                s = sums2[2 * y * QUARTER + 2 * x :]
                features[n] = max(max(s[0], s[1]), max(s[QUARTER], s[QUARTER + 1]))
                n += 1
    squash(features)
    return good
