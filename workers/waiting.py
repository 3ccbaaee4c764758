"""Who waits for a worker, and who goes first."""

import collections
import heapq
from collections.abc import Iterable, Sequence


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
