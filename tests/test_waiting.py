"""Who is handed out next, and what that does to the end of a generation."""

import heapq

import numpy as np
import pytest

from evolution_strategy_hebb import EvolutionStrategyHebb, HeldOut
from workers.waiting import Waiting


def generation_of(n_workers, individuals, seconds):
    """The time that a generation takes, and the order in which its lifetimes begin."""
    waiting, running, order, now = Waiting(individuals), [], [], 0.0
    while waiting or running:
        while waiting and len(running) < n_workers:
            order.append(waiting.popleft())
            heapq.heappush(running, (now + seconds[order[-1]], order[-1]))
        now, number = heapq.heappop(running)
        waiting.done(number, seconds[number])
    return now, order


def pairs(popsize):
    return EvolutionStrategyHebb(np.zeros(2, np.float32), 1, popsize).ask()


@pytest.mark.parametrize(("n_workers", "popsize", "at_least"), [(2, 200, 1.95), (64, 500, 60)])
def test_no_worker_waits_long_for_the_last_lifetime_even_if_some_are_ten_times_longer(
    n_workers, popsize, at_least
):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        alike = rng.uniform(0, 1, popsize // 2).repeat(2) + rng.uniform(-0.02, 0.02, popsize)
        seconds = 10**alike
        assert seconds.sum() / generation_of(n_workers, pairs(popsize), seconds)[0] >= at_least


def test_everybody_is_evaluated_once_and_the_partner_of_the_longest_first():
    seconds = [3, 3, 1, 1, 2, 2, 5, 5]
    _, order = generation_of(1, pairs(8), seconds)
    assert order == [0, 2, 4, 6, 7, 1, 5, 3]


def test_whose_worker_died_is_next_and_what_has_no_partner_keeps_its_order():
    waiting = Waiting([HeldOut(1, 0, number) for number in range(4)])
    held = [waiting.popleft(), waiting.popleft()]
    waiting.extendleft(reversed(held))
    assert [waiting.popleft() for _ in range(len(waiting))] == [0, 1, 2, 3]
    assert not waiting
