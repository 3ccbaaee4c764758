"""Where lifetimes are evaluated when one machine is not enough: the nodes of a Ray cluster.

On every node one actor keeps local worker processes (`local.LocalWorkers`), so their rules hold
here too. The driver has one call open at every node: it brings individuals and takes scalars back
as soon as a core wants work. While the driver is busy results pile up at the nodes, so that many
nodes make its bunches larger, and not its work longer. θ goes into the object store once per
generation, and each node fetches it once.
"""

import collections
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from machine.quiet import quiet
from run_folder.run_log import RunLog
from workers.local import MAX_ATTEMPTS, LocalWorkers, SharedNoise, load_of
from workers.rollouts import MAX_REASON, Broadcast, Result
from workers.waiting import Waiting, Workers

LOOK_SECONDS = 1.0  # from one look at who is in the cluster to the next
OPEN_SECONDS = 0.5  # how long a call may stay open at a node
BUNCH_SECONDS = 0.04  # results wait this long for others while every core of the node has work,
NODE_SECONDS = 0.0025  # or this long for each node, which keeps the driver from drowning
MAX_RECORDS = 1000  # of a node's log that wait for the driver

log = logging.getLogger("hebb")


class _Records(logging.Handler):
    """Keeps (level, text) of what is logged at a node until the driver takes it."""

    def __init__(self):
        super().__init__()
        self.kept = collections.deque(maxlen=MAX_RECORDS)

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append((record.levelno, f"{record.processName}: {self.format(record)}"))

    def take(self) -> list:
        return [self.kept.popleft() for _ in range(len(self.kept))]


class NodeWorkers(LocalWorkers):
    """The worker processes of one node, in an actor."""

    def __init__(self, n_workers: int, n: int, make_evaluate: Callable, *options):
        self.records = _Records()
        logging.getLogger().addHandler(RunLog(self.records))  # before the first worker is forked
        logging.captureWarnings(True)
        super().__init__(n_workers, n, make_evaluate(), *options)
        self.waiting, self.attempts = collections.deque(), collections.Counter()
        self.individuals = {}  # those without a result, by their place in the generation

    def ready(self) -> bool:
        return True

    def exchange(
        self, given: Broadcast | None, individuals: dict, pause: float | None
    ) -> tuple[list, list]:
        """Take individuals (a Broadcast begins a generation). Returns [(place in the generation,
        result, or None once for what takes very long)] and [(log level, text)] after `pause`
        seconds, or sooner, when a core wants work. No pause: the driver has no more work, and
        results can wait for the last."""
        if given is not None:
            self.receive(given)
            self.attempts.clear()
        self.waiting.extend(individuals)
        self.individuals |= individuals
        results, began = [], time.monotonic()
        while self.individuals:
            self._hand_out(self.waiting, self.individuals)
            for index, result in self._collect(self.waiting, self.attempts, self.individuals):
                if result:
                    del self.individuals[index]
                    self._measure(result)
                results.append((index, result))
            open_for = time.monotonic() - began
            wanting = not self.waiting and not all(worker.jobs for worker in self.workers)
            if open_for > OPEN_SECONDS or results and pause and (wanting or open_for > pause):
                break
        return results, self.records.take()


class _Node:
    """The driver's view of a node: its actor, the call that is open there, and what it holds."""

    def __init__(self, address: str, cores: int, actor):
        self.address, self.cores, self.actor = address, cores, actor
        self.held: set[int] = set()
        self.call, self.ready, self.given = actor.ready.remote(), False, None

    def give(self, given, individuals: dict, pause: float | None) -> None:
        """Open a call that brings individuals, and what is broadcast if the node has another."""
        news, self.given = (None if self.given is given else given), given
        self.held.update(individuals)
        self.call = self.actor.exchange.remote(news, individuals, pause)


class RayWorkers(Workers):
    """The nodes of the cluster that `connect` has reached, with the interface of LocalWorkers.

    n_workers: processes per node at most, None for as many as it has CPUs. make_evaluate() runs
    at each node and returns what LocalWorkers takes as `evaluate`. noise: where `tell` looks for
    it; so many threads of the driver draw it while lifetimes are evaluated.
    """

    def __init__(
        self,
        n_workers: int | None,
        n: int,
        make_evaluate: Callable,
        timeout: float | None = None,
        n_observed: int = 0,
        noise: SharedNoise | None = None,
        threads: int = 1,
    ):
        import ray

        self.ray, self.limit, self.given = ray, n_workers or math.inf, None
        self.actor_class = ray.remote(NodeWorkers)
        self.options = n, make_evaluate, timeout, n_observed  # of NodeWorkers
        self.nodes: dict[str, _Node] = {}  # by Ray's id of the node
        self.noise, self.threads = noise, threads
        self.unfit: set[str] = set()  # nodes where the workers cannot be made
        self.looked, self.had_a_node = -math.inf, False

    def receive(self, given: Broadcast) -> None:
        self.given = self.ray.put(given)

    def map(self, given: Broadcast, individuals: Sequence, on_result: Callable) -> list[Result]:
        """The same results, in the same order, from any nodes."""

        def draw(individual) -> None:
            individual.candidate(given.theta, self.noise.draw)

        with ThreadPoolExecutor(self.threads) as pool:
            try:
                draws = pool.map(draw, individuals[::2] if self.noise else ())
                results = super().map(given, individuals, on_result)
                list(draws)  # all of them are there, or raise
                return results
            finally:
                pool.shutdown(cancel_futures=True)

    def _look_around(self) -> None:
        """Start workers at every node that has joined, or whose actor has died."""
        if time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        for node in self.ray.nodes():
            cores = int(min(node["Resources"].get("CPU", 0), self.limit))
            if node["Alive"] and cores and node["NodeID"] not in self.nodes.keys() | self.unfit:
                place = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
                actor = self.actor_class.options(
                    num_cpus=cores, scheduling_strategy=place(node["NodeID"], soft=False)
                ).remote(cores, *self.options)
                self.nodes[node["NodeID"]] = _Node(node["NodeManagerAddress"], cores, actor)
        if self.unfit and not self.nodes:
            raise ValueError("no node of the cluster can evaluate lifetimes; log.txt says why")

    def _hand_out(self, waiting: Waiting, individuals: Sequence) -> None:
        """Give each node what its cores need, in proportion, and open a call where none is."""
        self._look_around()
        ready = [node for node in self.nodes.values() if node.ready]
        pause = max(BUNCH_SECONDS, NODE_SECONDS * len(ready))
        load = load_of(len(waiting), sum(node.cores for node in ready), 2.5 * pause / self.pace)
        for node in sorted(ready, key=lambda node: len(node.held) / node.cores):
            if node.call is not None:
                continue
            room = min(int(node.cores * load) - len(node.held), len(waiting))
            bunch = [waiting.popleft() for _ in range(room)]
            if bunch or node.held:
                news = {index: individuals[index] for index in bunch}
                node.give(self.given, news, pause if waiting else None)

    def _collect(self, waiting, attempts, individuals):
        """As `Workers` has it; restarts the dead."""
        calls = {node.call: key for key, node in self.nodes.items() if node.call is not None}
        if not calls:
            time.sleep(0.2)
            return
        arrived, _ = self.ray.wait(list(calls), timeout=0.2)
        if arrived:  # whoever else is there
            arrived, _ = self.ray.wait(list(calls), num_returns=len(calls), timeout=0)
        for call in arrived:
            node = self.nodes[calls[call]]
            try:
                answer, node.call = self.ray.get(call), None
            except self.ray.exceptions.RayError as error:
                yield from self._restart(calls[call], error, waiting, attempts, individuals)
                continue
            if not node.ready:
                node.ready = self.had_a_node = True
                continue
            for level, text in answer[1]:
                log.log(level, "%s %s", node.address, text)
            node.held.difference_update(index for index, result in answer[0] if result)
            yield from answer[0]

    def _restart(self, key: str, error: Exception, waiting, attempts, individuals):
        """Forget an actor that died, by itself or with its node: what it held is evaluated again,
        unless this has happened too often. ValueError when the first one could not even be made."""
        node = self.nodes.pop(key)
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(node.actor)
        reason = " ".join(str(error).split())
        if getattr(error, "actor_init_failed", True):  # or what it needs could not be set up
            if not self.had_a_node:
                raise ValueError(f"node {node.address} has no workers: {reason[-MAX_REASON:]}")
            self.unfit.add(key)
        log.warning("lost the workers of node %s, which held %d: %s", node.address, len(node.held),
                    reason)  # fmt: skip
        for index in sorted(node.held, reverse=True):
            attempts[index] += 1
            if attempts[index] >= MAX_ATTEMPTS:
                log.warning("%s was lost with its node %d times", individuals[index], MAX_ATTEMPTS)
                yield index, Result(-math.inf, 0.0, 0, f"its worker died ({reason[:100]})", 0.0)
            else:
                waiting.extendleft([index])

    def close(self) -> None:
        for node in self.nodes.values():
            self.ray.kill(node.actor)
        self.nodes.clear()
        with quiet():
            self.ray.shutdown()
