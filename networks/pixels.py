"""An area resize to 84x84 with the bits of OpenCV's, compiled.

Images stay in their own orientation (y, x), and leave split by parity, as the first convolution
reads them: sample (y, x) of a channel is [y & 1, x & 1, y >> 1, x >> 1].
"""

import math
from functools import cache

import numpy as np

from machine.compiled import compiled

SIDE = 84  # the network sees SIDE x SIDE pixels
HALF = SIDE // 2
REAL, ROUNDED, FIXED = 0, 1, 2  # arithmetic of a resize, see `sampling`


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
        (index, np.ascontiguousarray(x_weights), pick.astype(np.uint32)),  # never negative
        (y_first, np.ascontiguousarray(y_weights)),
    )


def scratch(height, width, channels, grey_levels):
    """Zeros for `resize`: line and rows, float32, with room for taps of weight 0 at the edge."""
    _, (_, x_weights, _), _ = sampling(height, width, channels, grey_levels)
    taps, size = x_weights.shape
    line = np.zeros(max(width * channels, size) + taps * channels, np.float32)
    return line, np.zeros((height + 1, size), np.float32)


@compiled
def resize(how, x_taps, y_taps, level, line, rows, maps, image):
    """Shrink or stretch an image to SIDE x SIDE, to the bits of cv2.resize(..., INTER_AREA).

    how, x_taps, y_taps: of `sampling`; level: what becomes 1; line, rows: `scratch`; maps (C, 2, 2,
    HALF, HALF) float32: the result; image (H, W, C) uint8 or float32.
    """
    image = image.reshape(len(image), -1)
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
            plane = maps[p // 2, y & 1, p % 2, y >> 1]
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
