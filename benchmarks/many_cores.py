"""What the master takes of a generation on one machine of many cores, which need not be there.

python -m benchmarks.many_cores

Its work is measured in processor time, so that others on the machine harm it little: `ask`, `tell`
and the files, while all workers wait; and what every result costs beside the lifetimes, with real
pipes to simulated workers. Lifetimes of 1,000 steps, 4 individuals for each worker.
"""

import argparse
import heapq
import multiprocessing
import tempfile
import time
from dataclasses import asdict

import numpy as np

import machine.startup  # noqa: F401 (first: threads and signals)
from commands.agents import agents_for
from commands.training_options import Training
from evolution_strategy_hebb import EvolutionStrategyHebb
from run_folder.checkpoints import RunFolder
from workers import local, rollouts

TASKS = ("AntBulletEnv-v0", "CarRacing-v0")
WORKERS, PER_WORKER = (64, 1024), 4
PAIRS = 96  # that `tell` is timed with
SECONDS = (0.2, 0.8)  # of simulated lifetimes
LIMIT = 0.03


class _Puppet:
    """The master's side of a worker that only waits."""

    def __init__(self, pipe, process):
        self.pipe, self.process, self.since, self.named = pipe, process, 0.0, 0.0
        self.jobs = local.collections.deque()


class Simulated(local.LocalWorkers):
    """Workers whose lifetimes all pass in one process, which sleeps."""

    def __init__(self, n_workers: int):
        super().__init__(0, 1, None)
        pipes = [local.fork.Pipe() for _ in range(n_workers)]
        theirs = [their for _, their in pipes]
        process = local.fork.Process(target=_wait, args=(theirs,), daemon=True)
        process.start()
        self.workers = [_Puppet(pipe, process) for pipe, _ in pipes]
        for worker in self.workers:
            self.doors.register(worker.pipe, local.selectors.EVENT_READ, worker)

    def close(self) -> None:
        self.workers[0].process.kill()


def _wait(pipes: list) -> None:
    """Answer every individual when its lifetime is over; a pipe's come one after the other."""
    door, ends, free = local.selectors.DefaultSelector(), [], {}
    for pipe in pipes:
        door.register(pipe, local.selectors.EVENT_READ)
    while True:
        pause = max(0.0, ends[0][0] - time.monotonic()) if ends else None
        for key, _ in door.select(pause):
            for index, _ in key.fileobj.recv():
                seconds = SECONDS[0] + (SECONDS[1] - SECONDS[0]) * (index * 0.618 % 1)
                begin = max(free.get(key.fd, 0.0), time.monotonic())
                free[key.fd] = begin + seconds
                heapq.heappush(ends, (begin + seconds, index, seconds, key.fd, key.fileobj))
        while ends and ends[0][0] <= time.monotonic():
            _, index, seconds, _, pipe = heapq.heappop(ends)
            pipe.send((index, rollouts.Result(1.0, 1.0, 1000, None, seconds)))


def cost_of_a_result(n_workers: int) -> float:
    """Seconds of the master's processor for each result while lifetimes are evaluated."""
    pool = Simulated(n_workers)
    individuals = EvolutionStrategyHebb(np.zeros(2), 1, PER_WORKER * n_workers).ask()
    begun = time.process_time()
    pool.map(rollouts.Broadcast(np.zeros(1)), individuals, lambda *_: None)
    spent = time.process_time() - begun
    pool.close()
    return spent / len(individuals)


def alone(name: str, send) -> None:
    """Send n, the processor time of a lifetime, and what the master does while all wait: for each
    pair, and for each generation."""
    config = Training(environment=[name], seed=1, early_stop=10**9)
    agents = agents_for(config)
    theta, kept = agents[0].first_theta(1, "normal"), local.SharedNoise(PAIRS, agents[0].n)
    kept.kept[:] = 1
    strategy = EvolutionStrategyHebb(theta, 1, 2 * PAIRS, noise=kept.find)
    begun = time.process_time()
    individuals = strategy.ask()
    strategy.tell(range(2 * PAIRS), [0] * 2 * PAIRS)
    pair = (time.process_time() - begun) / PAIRS
    with (
        tempfile.TemporaryDirectory() as path,
        RunFolder.create(path, asdict(config)) as folder,
    ):
        begun = time.process_time()
        folder.save(1, strategy.state(), {"mean": 1.0}, agents[0].blocks(strategy.theta))
        files = time.process_time() - begun
    lifetimes, given = [], rollouts.Broadcast(strategy.theta)
    for individual in individuals[:4]:
        begun = time.process_time()
        result = rollouts.evaluate(agents, np.mean, 1, given, individual)
        lifetimes.append((time.process_time() - begun) / result.steps * 1000)
    send((agents[0].n, float(np.median(lifetimes)), pair, files))


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    of_results = {n_workers: cost_of_a_result(n_workers) for n_workers in WORKERS}
    for name in TASKS:  # each in a process of its own: an engine starts in it
        here, there = multiprocessing.Pipe()
        process = local.fork.Process(target=alone, args=(name, there.send))
        process.start()
        n, lifetime, pair, files = here.recv()
        process.join()
        print(
            f"{name}: n = {n}, a lifetime {lifetime:.3f} s; the master, while all wait:"
            f" {1e3 * pair:.2f} ms for each pair, {1e3 * files:.1f} ms for the files"
        )
        for n_workers, result in of_results.items():
            spent = PER_WORKER / 2 * n_workers * pair + files
            share = spent / (spent + PER_WORKER * lifetime)
            print(
                f"    {n_workers:5} workers: they wait {share:.1%} of the time; beside the"
                f" lifetimes {1e6 * result:.0f} µs for each result, the master's processor is busy"
                f" {min(1, n_workers * result / lifetime):.0%}"
            )
        most = (LIMIT / (1 - LIMIT) * PER_WORKER * lifetime - files) / (PER_WORKER / 2 * pair)
        print(f"    below {LIMIT:.0%} up to {max(0, most):.0f} workers")


if __name__ == "__main__":
    main()
