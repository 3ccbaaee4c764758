"""Where lifetimes are lived: local worker processes that outlive each other.

Only names of individuals go to a worker and only scalars come back; θ lies in memory that all
processes share. A worker that dies costs only the lifetimes it held: they are lived again, with
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
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

import numpy as np

from fitness_functions import Agent, Outcome, examine

TASK_OPTIONS = ("normalization", "action_bounds", "early_stop", "update_every")
WRAPPER_OPTIONS = ("grayscale", "frame_stack")
LIFE_OPTIONS = (  # those of Agent
    *("hebb_rule", "init_weights", "max_steps", "hidden", "recurrent", "shared_rules"),
    *("normalize_observations", "seed", "mirror", "sigma_factors"),
)
STRIKES = 3  # a lifetime that kills its worker this often is scored as failed
AHEAD_SECONDS = 0.05  # work that waits at a worker, so that it never waits for the master
MAX_REASON = 300  # characters of an exception that travel to the master, on one line
PR_SET_PDEATHSIG = 1  # Linux: a signal for the child when its parent dies

log = logging.getLogger("hebb")
# A worker is a fork: it finds compiled code and imported libraries in place. The logging of
# multiprocessing-logging works this way only.
fork = multiprocessing.get_context("fork")


class Result(NamedTuple):
    """What comes back of an individual: scalars only."""

    fitness: float
    mean_square: float  # of its coefficients, for the penalty
    steps: int
    failure: str | None
    seconds: float
    seen: tuple | None = None  # sums of its observations, where they are normalised


def agents_for(config: dict, names: list[str] | None = None) -> list[Agent]:
    """One agent per environment (of the arguments of a run, or of these names), all with the same
    θ; ValueError where they cannot share it.

    The environments are looked at in a process of its own: some start threads or take hold of
    a device, which workers that are forked later must not inherit.
    """
    names = names or config["environment"]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--environment names {name} twice; --episodes lives in it more often")
    wrappers = tuple((name, config[name]) for name in WRAPPER_OPTIONS)
    options = {name: config[name] for name in TASK_OPTIONS}
    look = partial(examine, wrappers=wrappers, inputs=tuple(config["inputs"] or ()), **options)
    try:
        with ProcessPoolExecutor(1, fork, _die_with, (os.getpid(),)) as process:
            bodies = list(process.map(look, names))
    except BrokenProcessPool:
        raise ValueError(f"{' or '.join(names)} ends the process that makes it") from None
    agents = [Agent(body=body, **{name: config[name] for name in LIFE_OPTIONS}) for body in bodies]
    for agent in agents:
        agent.warm_up()
    for agent in agents[1:]:
        if agent.body.sizes != agents[0].body.sizes:
            raise ValueError(
                f"{names[0]} and {agent.body.environment} cannot share one set of coefficients: "
                f"their networks have {agents[0].body.sizes}, and {agent.body.sizes}"
            )
    return agents


def live(
    agent: Agent, parameters: np.ndarray, seed: int, on_step: Callable | None = None
) -> Outcome:
    """A lifetime in which an environment may raise anything: it then counts as failed."""
    try:
        return agent.live(parameters, seed, on_step)
    except Exception as error:
        log.warning("%s with seed %d: %r", agent.body.environment, seed, error, exc_info=True)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(-math.inf, 0, reason[:MAX_REASON])


def evaluate(
    agents: Sequence[Agent],
    aggregate: Callable,
    episodes: int,
    theta: np.ndarray,
    individual,
    drawn: np.ndarray | None = None,
) -> Result:
    """Let an individual live its episodes in each environment; a failed one fails it.

    drawn: where it leaves its noise, see `EvolutionStrategyHebb`."""
    begun = time.perf_counter()
    n = agents[0].n
    parameters = individual.parameters(theta[:n], drawn)
    if theta.size > n:  # behind θ lies what is not evolved
        parameters = np.concatenate([parameters, theta[n:]])
    outcomes, seen = [], []
    for agent in agents:
        for episode in range(episodes):
            outcomes.append(live(agent, parameters, individual.lifetime_seed(episode)))
            seen.append(agent.seen)
    failure = next((outcome.failure for outcome in outcomes if outcome.failure), None)
    fitness = -math.inf if failure else float(aggregate([o.fitness for o in outcomes]))
    return Result(
        fitness,
        agents[0].mean_square(parameters[:n]),
        sum(outcome.steps for outcome in outcomes),
        failure,
        time.perf_counter() - begun,
        tuple(map(sum, zip(*seen, strict=True))) if agents[0].n_observed and not failure else None,
    )


def shared_array(*shape: int) -> np.ndarray:
    """Zeros, float32, in memory that a process shares with those it forks. It is anonymous, and
    vanishes with the last of them."""
    size = math.prod(shape)
    return np.frombuffer(mmap.mmap(-1, max(4 * size, 1)), np.float32, size).reshape(shape)


def load_of(waiting: int, cores: int, ahead: float) -> float:
    """How many lifetimes to give each core: one, and `ahead` more, but while that is too much for
    an even share half of those that are waiting at most."""
    return max(1.0, min(1 + ahead, waiting / (2 * max(cores, 1))))


class _Worker:
    """A process, the master's end of its pipe, and the jobs it holds (the first is being lived)."""

    def __init__(self, evaluate: Callable, theta: np.ndarray, siblings: list["_Worker"]):
        self.pipe, theirs = fork.Pipe()
        ends = [worker.pipe for worker in siblings] + [self.pipe]
        life = (os.getpid(), evaluate, theta, theirs, ends)
        self.process = fork.Process(target=_live, args=life, daemon=True)
        self.process.start()
        theirs.close()
        self.jobs: collections.deque[int] = collections.deque()
        self.since = time.monotonic()  # when its first job began

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


def _live(
    master: int, evaluate: Callable, theta: np.ndarray, pipe: Connection, ends: list[Connection]
) -> None:
    """A worker's whole life: evaluate what comes through the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C and a closed terminal are the master's
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # to answer
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(master)
    for end in ends:
        end.close()  # else a sibling would keep the pipe open when the master dies
    while True:
        try:
            for index, individual in pipe.recv():
                pipe.send((index, evaluate(theta, individual)))
        except (EOFError, OSError):
            os._exit(0)  # the master is gone, and nobody reads the log any more


class LocalWorkers:
    """N processes that evaluate individuals. `evaluate(theta, individual)` runs in them."""

    def __init__(self, n_workers: int, n: int, evaluate: Callable, timeout: float | None = None):
        self.theta = shared_array(n)
        self.evaluate, self.timeout = evaluate, timeout
        self.pace = AHEAD_SECONDS  # seconds per individual, as measured so far
        self.workers: list[_Worker] = []
        for _ in range(n_workers):
            self._hire()

    def _hire(self) -> None:
        self.workers.append(_Worker(self.evaluate, self.theta, self.workers))

    def map(self, theta: np.ndarray, individuals: Sequence, on_result: Callable) -> list[Result]:
        """The results of all individuals, in their order. on_result(individual, result) is called
        at each arrival, and (None, None) at least five times a second; it may raise."""
        self.theta[:] = theta
        results: list[Result | None] = [None] * len(individuals)
        waiting = collections.deque(range(len(individuals)))
        strikes = collections.Counter()
        left = len(individuals)
        while left:
            self._hand_out(waiting, individuals)
            for index, result in self._collect(waiting, strikes, individuals):
                results[index] = result
                self.pace += 0.1 * (result.seconds - self.pace)
                left -= 1
                on_result(individuals[index], result)
            on_result(None, None)
        return results

    def _hand_out(self, waiting: collections.deque, individuals: Sequence) -> None:
        """One to each idle worker, and to all some more if they are short; what is long must not
        lie at a busy worker while another is idle."""
        load = int(load_of(len(waiting), len(self.workers), AHEAD_SECONDS / max(self.pace, 1e-6)))
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

    def _collect(self, waiting, strikes, individuals):
        """(index, result) of what arrives within a fifth of a second; buries the dead."""
        doors = {worker.pipe: worker for worker in self.workers}
        doors |= {worker.process.sentinel: worker for worker in self.workers}
        ready = {id(doors[door]): doors[door] for door in wait(doors, timeout=0.2)}
        # without news look at everybody: a process that an environment has started may keep a
        # dead worker's pipe and sentinel open
        for worker in list(ready.values()) or list(self.workers):
            dead = not worker.process.is_alive()  # asked before its last words are read
            try:
                while worker.pipe.poll():
                    index, result = worker.pipe.recv()
                    worker.jobs.popleft()
                    worker.since = time.monotonic()
                    yield index, result
            except (EOFError, OSError):
                dead = True
            if dead:
                yield from self._bury(worker, True, waiting, strikes, individuals)
        if self.timeout:
            for worker in list(self.workers):
                if worker.jobs and time.monotonic() - worker.since > self.timeout:
                    yield from self._bury(worker, False, waiting, strikes, individuals)

    def _bury(self, worker, died: bool, waiting, strikes, individuals):
        """Replace a worker; its jobs are lived again, unless one has done this too often."""
        worker.end()
        self.workers.remove(worker)
        self._hire()
        if not worker.jobs:
            return
        first = worker.jobs[0]
        strikes[first] += 1
        code = worker.process.exitcode
        cause = signal.strsignal(-code) if code < 0 else f"exit code {code}"
        why = f"died ({cause})" if died else f"took over {self.timeout} s"
        name = getattr(individuals[first], "name", individuals[first])
        log.warning("the worker of %s %s, strike %d", name, why, strikes[first])
        if strikes[first] >= STRIKES:
            worker.jobs.popleft()
            yield first, Result(-math.inf, 0.0, 0, f"its worker {why}", 0.0)
        waiting.extendleft(reversed(worker.jobs))

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers.clear()
