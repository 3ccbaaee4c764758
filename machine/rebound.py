"""Other people's functions, with some of the names that they look up replaced."""

import types


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
