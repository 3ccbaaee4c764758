"""Silence for what libraries have to say about themselves."""

import contextlib
import ctypes
import os
import sys
import warnings

libc = ctypes.CDLL(None)


@contextlib.contextmanager
def quiet():
    """Silence warnings, and what is printed in this block: by C code too, which writes to the
    descriptors, past Python. Exceptions pass."""

    def flush():
        sys.stdout.flush()
        sys.stderr.flush()
        libc.fflush(None)

    flush()
    saved = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor, _ in saved:
            os.dup2(null, descriptor)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        flush()
        for descriptor, copy in saved:
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(null)
