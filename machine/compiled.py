"""Compiled functions, and a cache of them on disk that no edit can deceive.

numba's own cache looks at one file only, that in which a function stands. A function that calls
others of other files, or reads their constants, goes on with what they were when it was compiled.
Here a compiled function is found again by everything that is compiled into it.
"""

import functools
import hashlib
import types

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic
from numba.core.types import ExternalFunction


def compiled(function=None, **options):
    """`numba.njit`: cached, without the interpreter's lock, dividing as numpy does.

    options: others of njit. To be used as @compiled or @compiled(fastmath={"contract"}).
    """
    if function is None:
        return functools.partial(compiled, **options)
    dispatcher = njit(**{"nogil": True, "error_model": "numpy"} | options)(function)
    dispatcher._cache = _Cache(function)  # what njit(cache=True) sets too
    return dispatcher


class _Cache(FunctionCache):
    """numba's, with one more part in the key."""

    def _index_key(self, sig, codegen):
        return *super()._index_key(sig, codegen), digest(self._py_func)


def digest(function: types.FunctionType) -> str:
    """A hash of the code of a function, of the compiled functions that it calls, in whichever
    files, and of the global values that both read."""
    summary = hashlib.sha256()
    _add(function, summary, set())
    return summary.hexdigest()


def _add(value, summary, known: set) -> None:
    """Take what numba would compile in of a value: code, numbers, tuples, arrays."""
    if isinstance(value, Dispatcher):
        summary.update(repr(sorted(value.targetoptions.items())).encode())
        value = value.py_func
    elif isinstance(value, _Intrinsic):
        value = value._defn
    if isinstance(value, types.FunctionType):
        if value in known:
            return
        known.add(value)
        _add(value.__code__, summary, known)
        for name in _names(value.__code__):
            if name in value.__globals__:
                summary.update(name.encode())
                _add(value.__globals__[name], summary, known)
        for cell in value.__closure__ or ():
            _add(cell.cell_contents, summary, known)
    elif isinstance(value, types.CodeType):
        summary.update(value.co_code)
        for constant in (*value.co_consts, *value.co_names, *value.co_varnames):
            _add(constant, summary, known)
    elif isinstance(value, tuple | list):
        summary.update(f"{len(value)} values".encode())
        for one in value:
            _add(one, summary, known)
    elif isinstance(value, np.ndarray):
        summary.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
    elif isinstance(value, types.ModuleType):
        summary.update(f"{value.__name__} {getattr(value, '__version__', '')}".encode())
    elif isinstance(value, ExternalFunction):
        summary.update(f"{value.symbol} {value.sig}".encode())
    elif isinstance(value, bool | int | float | complex | str | bytes | None | np.generic):
        summary.update(f"{type(value).__name__} {value!r}".encode())


def _names(code: types.CodeType) -> list[str]:
    """Global names and attributes that a code reads, those of functions inside it too."""
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return [*code.co_names, *(name for one in inner for name in _names(one))]
