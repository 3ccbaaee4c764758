"""What the tests share: the commands as a user types them."""

import csv
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import ForkedPython

ROOT = Path(__file__).resolve().parent.parent
TIMES = ("seconds", "elapsed", "steps_per_second")  # the columns of fitness.csv that differ
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests too may run under nohup; runs inherit it
SHORT = ["--environment", "CartPole-v1", "--popsize", "8", "--seed", "3"]


@functools.cache
def forked_python() -> ForkedPython:
    return ForkedPython()


def command(program: str, *arguments, fresh=False, **options) -> subprocess.CompletedProcess:
    """Run a script of the root, wait, and keep what it printed.

    fresh: in a Python of its own from the first import on, for which all options of subprocess.run
    are allowed; else in a fork of one that has imported the program already.
    """
    line = [str(ROOT / program), *map(str, arguments)]
    options = {"timeout": 300, "cwd": ROOT} | options
    if fresh:
        line.insert(0, sys.executable)
        return subprocess.run(line, capture_output=True, text=True, **options)
    options |= {"cwd": str(options["cwd"]), "env": {**options.get("env", os.environ)}}
    return forked_python().run(line, **options)


def first_warning(program: str) -> str:
    """The first line that a program of Python writes to stderr, and no more of it."""
    line = [sys.executable, "-c", program]
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        try:
            return run.stderr.readline()
        finally:
            run.kill()


def start(program: str, *arguments, **options) -> subprocess.Popen:
    """Start a script of the root in a process group of its own."""
    line = [sys.executable, ROOT / program, *map(str, arguments)]
    defaults = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    return subprocess.Popen(line, start_new_session=True, **(defaults | options))


def run_folder(folder: Path) -> Path:
    """The only run in a folder."""
    (run,) = folder.iterdir()
    return run


def coefficients(run: Path) -> dict[str, bytes]:
    """The bytes of every .dat of a run, by name."""
    return {path.name: path.read_bytes() for path in run.glob("*.dat")}


def outcome(run: Path) -> dict:
    """All that a run has found, which neither time nor accidents may change."""
    (history,) = run.glob("Fitness_values_*.npy")
    with open(run / "fitness.csv") as file:
        rows = [
            {name: value for name, value in row.items() if name not in TIMES}
            for row in csv.DictReader(file)
        ]
    return coefficients(run) | {"history": history.read_bytes(), "rows": rows}


def wait_for(condition, seconds: float = 60) -> None:
    """Wait until condition() holds; an AssertionError when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def refused(capfd):
    """A check that a command ends with status 2 and one line that contains some words."""

    def check(result: subprocess.CompletedProcess, *words: str) -> None:
        assert result.returncode == 2, result.stderr
        assert result.stderr.count("\n") == 1, result.stderr
        assert "Traceback" not in result.stderr
        for word in words:
            assert word in result.stderr, (word, result.stderr)

    return check


@pytest.fixture(scope="session")
def short_run(tmp_path_factory) -> Path:
    """A run of three generations on CartPole-v1."""
    folder = tmp_path_factory.mktemp("short")
    result = command("train_hebb.py", *SHORT, "--generations", 3, "--folder", folder)
    assert result.returncode == 0, result.stderr
    return run_folder(folder)


@pytest.fixture(scope="session")
def balancing(tmp_path_factory) -> Path:
    """A run that balances the pole, in seconds."""
    folder = tmp_path_factory.mktemp("balancing")
    line = ["--environment", "CartPole-v1", "--popsize", 40, "--seed", 4]
    line += ["--generations", 25, "--stop_at", 480, "--folder", folder]
    result = command("train_hebb.py", *line)
    assert result.returncode == 0, result.stderr
    return run_folder(folder)


os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
# where `misbehaving:Raises-v0` is found, before what the caller has set
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
)
