"""Where lifetimes are evaluated: local worker processes that outlive each other.

Only names of individuals go to a worker and only scalars come back; θ lies in memory that all
processes share. A worker that dies costs only the lifetimes it held: they are evaluated again, with
the same seeds, by another.
"""

import collections
import contextlib
import ctypes
import logging
import math
import mmap
import multiprocessing
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

import numpy as np

import seeds
from workers.rollouts import Broadcast, Result
from workers.waiting import AHEAD_SECONDS, Waiting, Workers

MAX_ATTEMPTS = 3  # a lifetime that kills its worker this often is scored as failed
SLOW_SECONDS, SLOW = 60.0, 20  # after which, and after how many usual lifetimes, one is named
PR_SET_PDEATHSIG = 1  # Linux: a signal for the child when its parent dies

log = logging.getLogger("hebb")
# A worker is a fork: it finds compiled code and imported libraries in place. The logging of
# multiprocessing-logging works this way only.
fork = multiprocessing.get_context("fork")


def map_apart(call: Callable, items: Sequence) -> list:
    """[call(item) for item in items], in a process of its own that ends with it; ChildProcessError
    when something in there ends that process."""
    try:
        with ProcessPoolExecutor(1, fork, _die_with, (os.getpid(),)) as process:
            return list(process.map(call, items))
    except BrokenProcessPool:
        raise ChildProcessError("the process that was to do it has ended") from None


def shared_array(*shape: int) -> np.ndarray:
    """Zeros, float32, in memory that a process shares with those it forks. It is anonymous, and
    vanishes with the last of them."""
    size = math.prod(shape)
    return np.frombuffer(mmap.mmap(-1, max(4 * size, 1)), np.float32, size).reshape(shape)


class SharedNoise:
    """`seeds.noise` of a generation, in memory that a process shares with those it forks: each ε
    is drawn where an individual needs it, and found by its partner and by who sums it up."""

    def __init__(self, pairs: int, n: int):
        self.kept = shared_array(pairs, n)
        self.whole = shared_array(pairs)  # the generation, counted from 1, whose ε is all there
        self.last: tuple[int, int] | None = None  # what this process drew a lifetime ago

    def draw(self, seed: int, generation: int, pair: int, n: int) -> np.ndarray:
        """As `seeds.noise`: (n,) float32 of the caller's own."""
        if self.last:  # only now: whoever sees this, on any processor, sees the ε too
            self.whole[self.last[0]] = self.last[1]
        if self.whole[pair] == generation + 1:
            return self.kept[pair].copy()
        epsilon = seeds.noise(seed, generation, pair, n)
        self.kept[pair], self.last = epsilon, (pair, generation + 1)
        return epsilon

    def find(self, seed: int, generation: int, pair: int, n: int) -> np.ndarray:
        """The same when individuals of the pair were evaluated: (n,) float32, not to be written."""
        return self.kept[pair]


def load_of(waiting: int, cores: int, ahead: float) -> float:
    """How many lifetimes to give each core: one, and `ahead` more, but while that is too much for
    an even share half of those that are waiting at most."""
    return max(1.0, min(1 + ahead, waiting / (2 * max(cores, 1))))


class _Worker:
    """A process, the master's end of its pipe, and its jobs, of which it does the first."""

    def __init__(self, evaluate: Callable, given: Broadcast, siblings: list["_Worker"]):
        self.pipe, theirs = fork.Pipe()
        ends = [worker.pipe for worker in siblings] + [self.pipe]
        work = (os.getpid(), evaluate, given, theirs, ends)
        self.process = fork.Process(target=_work, args=work, daemon=True)
        self.process.start()
        theirs.close()
        self.doors = self.pipe, self.process.sentinel
        self.jobs: collections.deque[int] = collections.deque()
        self.since = time.monotonic()  # when its first job began
        self.named = 0.0  # the beginning of the job that was named as slow

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _die_with(master: int) -> None:
    """Have the kernel kill this process when the master dies, by SIGKILL even; it may have died
    already. (Elsewhere than on Linux a worker ends when it finds its pipe closed.)"""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != master:
        os._exit(1)


def _work(
    master: int, evaluate: Callable, given: Broadcast, pipe: Connection, ends: list[Connection]
) -> None:
    """The work of a worker: evaluate what comes through the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C and a closed terminal are the master's
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # to answer
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(master)
    for end in ends:
        end.close()  # else a sibling would keep the pipe open when the master dies
    with seeds.global_generators(0):  # nobody draws from them here but lifetimes
        while True:
            try:
                for index, individual in pipe.recv():
                    pipe.send((index, evaluate(given, individual)))
            except (EOFError, OSError):
                os._exit(0)  # the master is gone, and nobody reads the log any more


class LocalWorkers(Workers):
    """Processes that evaluate individuals: evaluate(given, individual) runs in them, where `given`
    is the last Broadcast. n: length of θ; n_observed: inputs whose statistics come with it."""

    def __init__(
        self,
        n_workers: int,
        n: int,
        evaluate: Callable,
        timeout: float | None = None,
        n_observed: int = 0,
    ):
        self.given = Broadcast(shared_array(n), shared_array(2, n_observed))
        self.evaluate, self.timeout = evaluate, timeout
        self.workers: list[_Worker] = []
        self.doors = selectors.DefaultSelector()  # of all workers: where news come from
        for _ in range(n_workers):
            self._start_worker()

    def _start_worker(self) -> None:
        worker = _Worker(self.evaluate, self.given, self.workers)
        self.workers.append(worker)
        for door in worker.doors:
            self.doors.register(door, selectors.EVENT_READ, worker)

    def receive(self, given: Broadcast) -> None:
        """Copy it to where all workers find it."""
        for shared, news in zip(self.given, given, strict=True):
            shared[...] = news

    def _slow(self):
        """(number, None) of what has been under way for very long, and has not been named yet."""
        limit = max(SLOW_SECONDS, SLOW * self.pace)
        for worker in self.workers:
            if worker.jobs and worker.named != worker.since < time.monotonic() - limit:
                worker.named = worker.since
                yield worker.jobs[0], None

    def _hand_out(self, waiting: Waiting, individuals: Sequence) -> None:
        """One to each idle worker, and to all some more if they are short; what is long must not
        lie at a busy worker while another is idle."""
        load = int(load_of(len(waiting), len(self.workers), AHEAD_SECONDS / self.pace))
        for worker in self.workers:
            room = load - len(worker.jobs)
            if not waiting or room < (load + 1) // 2:  # hand out in bunches
                continue
            bunch = [waiting.popleft() for _ in range(min(room, len(waiting)))]
            if not worker.jobs:
                worker.since = time.monotonic()
            worker.jobs.extend(bunch)
            with contextlib.suppress(OSError):  # it died; `_collect` sees that
                worker.pipe.send([(index, individuals[index]) for index in bunch])

    def _collect(self, waiting, attempts, individuals):
        """As `Workers` has it; restarts the dead."""
        news = [key for key, _ in self.doors.select(timeout=0.2)]
        heard = {id(key.data) for key in news if key.fileobj is key.data.pipe}
        ready = {id(key.data): key.data for key in news}
        # without news look at everybody: a process that an environment has started may keep a
        # dead worker's pipe and sentinel open
        for worker in list(ready.values()) or list(self.workers):
            dead = not worker.process.is_alive()  # asked before its last words are read
            try:
                # to ask a pipe costs more than to read it; the dead may have more to say
                while id(worker) in heard or ((dead or not ready) and worker.pipe.poll()):
                    heard.discard(id(worker))
                    index, result = worker.pipe.recv()
                    worker.jobs.popleft()
                    worker.since = time.monotonic()
                    yield index, result
            except (EOFError, OSError):
                dead = True
            if dead:
                yield from self._restart(worker, True, waiting, attempts, individuals)
        if self.timeout:
            for worker in list(self.workers):
                if worker.jobs and time.monotonic() - worker.since > self.timeout:
                    yield from self._restart(worker, False, waiting, attempts, individuals)
        yield from self._slow()

    def _restart(self, worker, died: bool, waiting, attempts, individuals):
        """Replace a worker; its jobs are evaluated again, unless one has done this too often."""
        self._dismiss(worker)
        self._start_worker()
        if not worker.jobs:
            return
        first = worker.jobs[0]
        attempts[first] += 1
        code = worker.process.exitcode
        cause = signal.strsignal(-code) if code < 0 else f"exit code {code}"
        why = f"died ({cause})" if died else f"took over {self.timeout} s"
        name = getattr(individuals[first], "name", individuals[first])
        log.warning("the worker of %s %s, attempt %d", name, why, attempts[first])
        if attempts[first] >= MAX_ATTEMPTS:
            worker.jobs.popleft()
            yield first, Result(-math.inf, 0.0, 0, f"its worker {why}", 0.0)
        waiting.extendleft(reversed(worker.jobs))

    def _dismiss(self, worker) -> None:
        for door in worker.doors:
            self.doors.unregister(door)
        worker.end()
        self.workers.remove(worker)

    def close(self) -> None:
        for worker in list(self.workers):
            self._dismiss(worker)
        self.doors.close()
