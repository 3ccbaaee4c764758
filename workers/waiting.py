"""Who waits for a worker, who goes first, and the loop over a generation."""

import collections
import heapq
from collections.abc import Callable, Iterable, Sequence

from workers.rollouts import Broadcast, Result

AHEAD_SECONDS = 0.05  # work that waits at a worker, so that it never waits for the master


class Waiting:
    """Numbers of individuals, in the order in which they are handed out.

    First one member of each antithetic pair, then the others, and among these the partner of the
    longest lifetime first: partners tend to last alike, and what is long must not begin last
    (Graham 1969: the longest first is at most a third longer than the best order). Whose partner
    is still at work is taken for long. What is not in pairs goes as it came.
    """

    def __init__(self, individuals: Sequence):
        self.first = collections.deque()
        self.partner: dict[int, int] = {}  # a first member -> the second
        self.unknown: dict[int, None] = {}  # second members whose partner is not back, in order
        self.known: list[tuple[float, int]] = []  # a heap: (-seconds of the partner, who)
        pairs: dict[int, int] = {}
        for number, individual in enumerate(individuals):
            pair = getattr(individual, "pair", number)
            if pairs.setdefault(pair, number) == number:
                self.first.append(number)
            else:
                self.partner[pairs[pair]] = number
                self.unknown[number] = None

    def __len__(self) -> int:
        return len(self.first) + len(self.unknown) + len(self.known)

    def popleft(self) -> int:
        """Who is next."""
        if self.first:
            return self.first.popleft()
        if self.unknown:
            return self.unknown.popitem()[0]
        return heapq.heappop(self.known)[1]

    def extendleft(self, numbers: Iterable[int]) -> None:
        """Put back whose worker has died."""
        self.first.extendleft(numbers)

    def done(self, number: int, seconds: float) -> None:
        """Learn how long a lifetime took."""
        partner = self.partner.get(number)
        if partner in self.unknown:
            del self.unknown[partner]
            heapq.heappush(self.known, (-seconds, partner))


class Workers:
    """What all workers have in common, wherever they are. A subclass has

    receive(given): take what all individuals of a generation have in common;
    _hand_out(waiting, individuals): give whoever is free something to do;
    _collect(waiting, attempts, individuals): (number, result) of what arrives within a fifth of a
    second, and (number, None), once, of an individual that takes very long.
    """

    pace = AHEAD_SECONDS  # seconds per individual, as measured so far

    def _measure(self, result: Result) -> None:
        self.pace += 0.1 * (max(result.seconds, 1e-6) - self.pace)

    def map(self, given: Broadcast, individuals: Sequence, on_result: Callable) -> list[Result]:
        """The results of all individuals, in their order. on_result(individual, result) is called
        at each arrival, (individual, None) once for one that takes very long, and (None, None) at
        least five times a second; it may raise."""
        self.receive(given)
        results: list[Result | None] = [None] * len(individuals)
        waiting, attempts = Waiting(individuals), collections.Counter()
        left = len(individuals)
        while left:
            self._hand_out(waiting, individuals)
            for number, result in self._collect(waiting, attempts, individuals):
                if result:
                    results[number] = result
                    waiting.done(number, result.seconds)
                    self._measure(result)
                    left -= 1
                on_result(individuals[number], result)
            on_result(None, None)
        return results
