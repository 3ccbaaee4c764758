"""Other people's functions, with some of the names that they look up replaced."""

import math
import types

import numpy as np


def rebound(function, **names):
    """The function, which finds these instead of its module's global names."""
    twin = types.FunctionType(
        function.__code__,
        function.__globals__ | names,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


class Scalars:
    """The few numpy functions that gymnasium calls on single floats, without numpy's overhead and
    with the same bits; an array of float64 stays the tuple of floats that it is made of."""

    float32, float64 = np.float32, np.float64
    sqrt = math.sqrt

    @staticmethod
    def cos(x):
        return float(np.cos(x))

    @staticmethod
    def sin(x):
        return float(np.sin(x))

    @staticmethod
    def square(x):
        return x * x

    @staticmethod
    def sign(x):
        return 1.0 if x > 0 else -1.0 if x < 0 else 0.0

    @staticmethod
    def clip(x, low, high):
        return float(min(max(x, low), high))

    @staticmethod
    def array(numbers, dtype):
        return numbers if dtype is np.float64 else np.array(numbers, dtype)
