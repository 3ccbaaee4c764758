"""What every command does before it imports anything heavy: one thread per process, and a signal
that ends it at once and without a traceback while there is nothing to save."""

import os
import signal
from collections.abc import Callable

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, a scheduler, a closed terminal

for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):  # one thread per worker, and in the master
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def answer_signals(handler: Callable) -> None:
    """Let handler(number, frame) answer SIGNALS; what nohup has switched off stays off."""
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


# os._exit, since an exception could be swallowed or misread by a library that is being imported
answer_signals(lambda number, frame: os._exit(128 + number))
