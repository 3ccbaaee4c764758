"""What every command does before it imports anything heavy: streams that can be written to, one
thread per process, a signal that ends it at once and without a traceback while there is nothing to
save, and one line in place of a traceback where a package is missing."""

import io
import os
import signal
import sys
from collections.abc import Callable

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, a scheduler, a closed terminal

for descriptor in range(3):  # one that is closed (`>&-`) would be the next file that is opened
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)
sys.stdout, sys.stderr = sys.stdout or os.fdopen(1, "w"), sys.stderr or os.fdopen(2, "w")
for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):  # a notebook's is not
        stream.reconfigure(errors="replace")  # a terminal may lack σ and ±

for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):  # one thread per worker, and in the master
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def answer_signals(handler: Callable) -> None:
    """Let handler(number, frame) answer SIGNALS; what nohup has switched off stays off."""
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def answer_exception(kind, error, trace):
    """In place of sys.excepthook: whatever nobody has caught. A name with a dot is a part that a
    package lacks which is there: a bug, as all else is."""
    if kind is not ModuleNotFoundError or "." in (error.name or "."):
        return sys.__excepthook__(kind, error, trace)
    program = os.path.basename(sys.argv[0])
    advice = "pip install -r requirements.txt installs what this needs"
    print(f"{program}: error: {error}; {advice}", file=sys.stderr)
    raise SystemExit(2)


sys.excepthook = answer_exception

# os._exit, since an exception could be swallowed or misread by a library that is being imported
answer_signals(lambda number, frame: os._exit(128 + number))
