"""What --engine ray costs: the driver under 1,024 simulated workers, what travels, and what
follows for clusters of any size.

python -m benchmarks.ray_cost
"""

import argparse
import collections
import heapq
import multiprocessing
import pickle
import time
from functools import partial

import numpy as np

import machine.startup  # noqa: F401 (first: threads and signals)
import seeds
from commands.agents import agents_for
from commands.training_options import Training
from evolution_strategy_hebb import EvolutionStrategyHebb
from machine.provenance import available_cores
from workers import local, ray_cluster
from workers.ray_workers import OPEN_SECONDS, RayWorkers, _Node
from workers.rollouts import Broadcast, Result, evaluate

NODES, CORES = 16, 64  # of the simulated cluster
TASKS = ("AntBulletEnv-v0", "CarRacing-v0")
SIZES = (16, 256, 1024)  # cores to predict for
PAIRS = 24  # that `tell` is timed with


class Simulated:
    """A node whose workers only wait; the calls of NodeWorkers. Lifetimes of 0.5 to 1.5 times
    `seconds`; `reported` is what the driver believes they took (None: the truth)."""

    def __init__(self, cores: int, n: int, life: tuple, *options):
        self.theta, self.free = np.empty(n, np.float32), cores
        self.seconds, self.reported = life
        self.waiting, self.ends = collections.deque(), []

    def ready(self) -> bool:
        return True

    def exchange(self, given, individuals: dict, pause: float | None) -> tuple[list, list]:
        if given is not None:
            self.theta[:] = given.theta
        self.waiting.extend(individuals)
        results, began = [], time.monotonic()
        while self.waiting or self.ends:
            now = time.monotonic()
            while self.ends and self.ends[0][0] <= now:
                _, index, seconds = heapq.heappop(self.ends)
                results.append((index, Result(1.0, 1.0, 1000, None, self.reported or seconds)))
                self.free += 1
            while self.waiting and self.free:
                index = self.waiting.popleft()
                seconds = self.seconds * (0.5 + index * 0.618 % 1)
                heapq.heappush(self.ends, (now + seconds, index, seconds))
                self.free -= 1
            open_for = now - began
            if open_for > OPEN_SECONDS or results and pause and (self.free or open_for > pause):
                break
            if self.ends:
                time.sleep(max(0, min(self.ends[0][0], began + OPEN_SECONDS) - now))
        return results, []


class SimulatedCluster(RayWorkers):
    """NODES nodes of `cores` simulated workers each, behind the driver that trains."""

    def __init__(self, n: int, cores: int, seconds: float, reported: float | None = None):
        super().__init__(None, n, (seconds, reported))
        self.actor_class = self.ray.remote(num_cpus=0)(Simulated)
        for k in range(NODES):
            actor = self.actor_class.remote(cores, *self.options)
            self.nodes[str(k)] = _Node("simulated", cores, actor)
        self.ray.get([node.call for node in self.nodes.values()])  # all of them have started

    def _look_around(self) -> None:
        assert len(self.nodes) == NODES


def sleep(seconds: float, given: Broadcast, individual) -> Result:
    time.sleep(seconds)
    return Result(1.0, 1.0, 1, None, seconds)


def sleeper(seconds: float):
    return partial(sleep, seconds)


def timed(pool, theta: np.ndarray, popsize: int) -> tuple[float, float]:
    """Seconds of a generation, and of those the driver's own work; a first one, in which nodes
    start and fetch code, does not count."""
    strategy, given = EvolutionStrategyHebb(theta, 1, popsize), Broadcast(theta)
    pool.map(given, strategy.ask()[: 2 * NODES], lambda *_: None)
    wall, own = time.perf_counter(), time.process_time()
    pool.map(given, strategy.ask(), lambda *_: None)
    return time.perf_counter() - wall, time.process_time() - own


def driver() -> None:
    """Results per second with lifetimes of about 0.5 s, 0.2 s and nothing, and calls per second."""
    theta = np.zeros(61_440, np.float32)
    for cores, seconds, reported, popsize, what in (
        (CORES, 0.5, None, 8192, "lifetimes of 0.25 to 0.75 s"),
        (CORES, 0.2, None, 32_768, "lifetimes of 0.1 to 0.3 s"),
        (CORES, 0.0, None, 65_536, "lifetimes that take no time"),
        (1, 0.0, 1.0, 4096, "one result a call"),
    ):
        pool = SimulatedCluster(theta.size, cores, seconds, reported)
        wall, own = timed(pool, theta, popsize)
        for node in pool.nodes.values():
            pool.ray.kill(node.actor)
        ideal = f", {popsize * seconds / NODES / cores / wall:.0%} of the ideal" if seconds else ""
        print(
            f"{NODES} nodes of {cores} simulated workers, {what}: {popsize / wall:.0f} results/s"
            f"{ideal}, driver busy {own / wall:.0%}, {1e6 * own / popsize:.0f} µs each"
        )


def share(cores: int) -> None:
    """What is left beside lifetimes of exactly one second, on real workers."""
    pool = RayWorkers(cores, 61_440, partial(sleeper, 1.0))
    theta, popsize = np.zeros(61_440, np.float32), 10 * cores
    wall, _ = timed(pool, theta, popsize)
    print(f"{popsize} lifetimes of 1 s on {cores} workers: {wall:.3f} s, Ray {1 - 10 / wall:.2%}")
    for node in pool.nodes.values():
        pool.ray.kill(node.actor)


def travels(n: int) -> None:
    """Bytes of a generation as they are pickled."""
    individuals = EvolutionStrategyHebb(np.zeros(2, np.float32), 1, 200).ask()
    out = len(pickle.dumps(dict(enumerate(individuals)), 5)) / 200
    result = Result(123.456, 1.0, 1000, None, 0.4)
    back = len(pickle.dumps([(k, Result(*result)) for k in range(200)], 5)) / 200
    print(f"n = {n}: θ {4 * n} bytes per node; per lifetime {out:.0f} there, {back:.0f} back")


def predict(name: str, threads: int) -> None:
    """Seconds of what the driver does, of a lifetime, and the share of a cluster that works."""
    agents = agents_for(Training(environment=[name], seed=1, early_stop=10**9))
    theta, n = agents[0].first_theta(1, "normal"), agents[0].n
    strategy = EvolutionStrategyHebb(theta, 1, 2 * PAIRS)
    individuals, begun = strategy.ask(), time.perf_counter()
    strategy.ask()
    ask = (time.perf_counter() - begun) / PAIRS
    given = Broadcast(theta)
    results = [evaluate(agents, np.mean, 1, given, one) for one in individuals[:4]]
    lifetime = max(result.seconds / result.steps for result in results) * 1000
    print(f"{name}: n = {n}, 1,000 steps {lifetime:.2f} s, ask {1e6 * ask:.0f} µs per pair")
    kept = local.SharedNoise(PAIRS, n)
    kept.kept[:] = 1
    for what, noise in (("draws its noise", seeds.noise), ("finds its noise drawn", kept.find)):
        strategy = EvolutionStrategyHebb(theta, 1, 2 * PAIRS, threads=threads, noise=noise)
        begun = time.perf_counter()
        strategy.tell(range(2 * PAIRS), [0] * 2 * PAIRS)
        tell = (time.perf_counter() - begun) / PAIRS
        # P lifetimes on C cores take P · lifetime / C; ask and tell take P / 2 times theirs
        busy = [1 / (1 + cores * (ask + tell) / 2 / lifetime) for cores in SIZES]
        print(
            f"    tell {what}: {1e3 * tell:.2f} ms per pair with {threads} threads; at work of "
            + ", ".join(f"{size} cores {b:.1%}" for size, b in zip(SIZES, busy, strict=True))
            + f"; half of {2 * lifetime / (ask + tell):.0f}"
        )


def broadcast(n: int) -> None:
    """Seconds until all simulated nodes have a θ."""
    pool, theta = SimulatedCluster(n, 1, 0.0), np.zeros(n, np.float32)
    individuals = EvolutionStrategyHebb(theta[:2], 1, NODES).ask()
    seconds = []
    for _ in range(6):
        begun = time.perf_counter()
        pool.map(Broadcast(theta), individuals, lambda *_: None)
        seconds.append(time.perf_counter() - begun)
    for node in pool.nodes.values():
        pool.ray.kill(node.actor)
    print(
        f"n = {n}: θ to {NODES} nodes and a result of each: {1e3 * np.median(seconds[1:]):.1f} ms"
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    cores = available_cores()
    for name in TASKS:  # in processes of their own: Bullet and Ray share no threads
        process = multiprocessing.get_context("fork").Process(target=predict, args=(name, cores))
        process.start()
        process.join()
    ray_cluster.connect(None, NODES, [])
    for n in (61_440, 458_002):
        travels(n)
        broadcast(n)
    driver()
    share(cores)


if __name__ == "__main__":
    main()
