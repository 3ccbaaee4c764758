"""What the networks compute of single numbers: tanh, and whether they are finite."""

import math

import numpy as np

from machine.compiled import compiled

EXPM1 = tuple(1 / math.factorial(k + 1) for k in range(11))  # Taylor, (exp(y) - 1) / y

fused = compiled(fastmath={"contract"})  # a·b + c at once


@fused
def _sixteenth(x):
    """exp(2y) - 1 with y = x / 16, float64."""
    y = np.float64(x) / 16
    y = 0.625 if y > 0.625 else -0.625 if y < -0.625 else y  # beyond is 1 in float32; NaN stays
    e = EXPM1[-1]
    for k in range(len(EXPM1) - 2, -1, -1):
        e = e * y + EXPM1[k]
    return e * y


@fused
def _from_sixteenth(e):
    for _ in range(5):
        e *= e + 2
    return np.float32(e / (e + 2))


@compiled
def tanh(x):
    """Hyperbolic tangent of a float32, rounded from float64; branchless, so loops vectorise.

    tanh(x) = e / (e + 2) with e = exp(2x) - 1, which is doubled up from x / 16 by
    exp(2y) - 1 = e (e + 2).
    """
    return _from_sixteenth(_sixteenth(x))


@compiled
def squash(x):
    """tanh of every element, in place."""
    e = np.empty(min(x.size, 256))
    for first in range(0, x.size, 256):
        some = x[first : first + 256]
        for n in range(some.size):  # two short loops keep the processor busier than a long one
            e[n] = _sixteenth(some[n])
        for n in range(some.size):
            some[n] = _from_sixteenth(e[n])


@compiled
def finite(x):
    """Whether every element is: no float's bits but infinity's and NaN's reach 0x7F800000."""
    top = np.int32(0)
    for n in range(x.size):
        top = max(top, np.int32(np.float32(x[n]).view(np.int32) & 0x7FFFFFFF))
    return top < 0x7F800000
