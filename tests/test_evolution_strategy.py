"""The evolution strategy: each property named as a sentence."""

import copy

import numpy as np
import pytest
import torch

import seeds
from evolution_strategy_hebb import EvolutionStrategyHebb, centred_ranks
from optimizers import OPTIMIZERS
from workers.local import SharedNoise


def strategy(n=1000, **options):
    return EvolutionStrategyHebb(np.zeros(n, np.float32), seed=1, **options)


def test_ranks_lie_around_zero_with_a_standard_deviation_of_one():
    ranks = centred_ranks(np.array([3.0, -1.0, 10.0, 4.0]))
    # ranks 1, 0, 3, 2 of 4, centred to ±0.5, over their standard deviation √(5/36)
    np.testing.assert_allclose(ranks, np.array([-1 / 6, -1 / 2, 1 / 2, 1 / 6]) / np.sqrt(5 / 36))


def test_tied_fitness_gets_tied_ranks_in_any_order():
    ranks = centred_ranks(np.array([1.0, 5.0, 5.0, 0.0]))
    assert ranks[1] == ranks[2] > ranks[0] > ranks[3]
    np.testing.assert_array_equal(
        centred_ranks(np.array([5.0, 1.0, 0.0, 5.0]))[[1, 0, 3, 2]], ranks
    )


def test_failed_lifetimes_never_outrank_finite_ones():
    ranks = centred_ranks(np.array([-1e9, -np.inf, 3.0, -np.inf]))
    assert ranks[1] == ranks[3] < ranks[0] < ranks[2]


def test_all_tied_fitness_gives_no_step():
    es = strategy(popsize=6)
    moved = es.tell([7.0] * 6, [0.0] * 6)
    assert not es.theta.any() and moved["step_over_radius"] == 0 and es.generation == 1


def test_the_members_of_a_pair_are_opposite():
    theta = np.arange(50, dtype=np.float32)
    plus, minus = EvolutionStrategyHebb(theta, seed=4, popsize=2).ask()
    np.testing.assert_allclose(plus.candidate(theta) + minus.candidate(theta), 2 * theta, atol=1e-5)
    epsilon = (plus.candidate(theta) - theta) / 0.1
    np.testing.assert_allclose(epsilon, seeds.noise(4, 0, 0, 50), atol=1e-4)


def test_the_noise_is_standard_normal_and_its_own_in_every_pair_and_generation():
    a, b, c = seeds.noise(1, 0, 0, 100_000), seeds.noise(1, 0, 1, 100_000), seeds.noise(1, 1, 0, 9)
    assert abs(a.mean()) < 0.01 and abs(a.std() - 1) < 0.01 and abs(a @ b) / 1e5 < 0.01
    assert not np.array_equal(a[:9], c)


def test_one_step_is_the_equation_computed_by_hand():
    es = strategy(n=20, popsize=4, lr=0.5, sigma=0.2)
    fitness, squares = np.array([1.0, 4.0, 2.0, 2.5]), np.array([0.0, 250.0, 0.0, 0.0])
    score = centred_ranks(fitness - 0.01 * squares)  # 4.0 is penalised down to 1.5
    epsilons = [seeds.noise(1, 0, pair, 20) for pair in (0, 1)]
    expected = sum(
        score[2 * pair + member] * (1 - 2 * member) * epsilons[pair]
        for pair in (0, 1)
        for member in (0, 1)
    )
    moved = es.tell(fitness, squares)
    np.testing.assert_allclose(es.theta, 0.5 / (4 * 0.2) * expected, rtol=1e-5)
    radius = 0.2 * np.sqrt(20)
    assert moved["step_over_radius"] == pytest.approx(np.linalg.norm(es.theta) / radius, rel=1e-5)
    assert (es.lr, es.sigma) == (0.5 * 0.995, 0.2 * 0.999)


def test_ranks_in_several_worlds_are_summed_whatever_their_scale():
    rng = np.random.default_rng(4)
    one, other = rng.standard_normal((2, 10))
    one[3], other[3] = -np.inf, -np.inf  # it failed
    thetas = []
    for fitness in (np.column_stack([one, 1e6 * other]), np.column_stack([1e3 * one, other])):
        es = strategy(n=30, popsize=10)
        es.tell(fitness, np.zeros(10))
        thetas.append(es.theta)
    assert np.array_equal(*thetas) and thetas[0].any()
    places = [np.argsort(np.argsort(world)) for world in (one, other)]
    of_sums = strategy(n=30, popsize=10)
    of_sums.tell(sum(places).astype(float), np.zeros(10))
    assert np.array_equal(of_sums.theta, thetas[0])
    alone, alike = strategy(n=30, popsize=10), strategy(n=30, popsize=10)
    alone.tell(one, np.zeros(10))
    alike.tell(np.column_stack([one, one]), np.zeros(10))
    assert np.array_equal(alone.theta, alike.theta)


def test_learning_rate_and_sigma_stop_decaying_at_their_floors():
    es = strategy(n=2, popsize=2, lr=0.001, sigma=0.01)
    es.tell([0.0, 1.0], [0.0, 0.0])
    assert (es.lr, es.sigma) == (0.001, 0.01)


@pytest.mark.parametrize("name, momentum", [("sgd", 0.0), ("sgd", 0.9), ("adam", 0.0)])
def test_an_optimizer_steps_as_torch_s(name, momentum):
    parameters = torch.zeros(40, requires_grad=True)
    theirs = (
        torch.optim.SGD([parameters], lr=0.1, momentum=momentum, maximize=True)
        if name == "sgd"
        else torch.optim.Adam([parameters], lr=0.1, maximize=True)
    )
    ours, theta = OPTIMIZERS[name](40, momentum), np.zeros(40, np.float32)
    rng = np.random.default_rng(0)
    for t in range(1, 8):
        gradient = rng.standard_normal(40).astype(np.float32)
        parameters.grad = torch.tensor(gradient.copy())
        theirs.step()
        theta += ours.step(gradient, 0.1, t)
    np.testing.assert_allclose(theta, parameters.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"optimizer": "adam"}, {"momentum": 0.9}])
def test_its_state_is_all_that_it_needs_to_go_on(options):
    rng = np.random.default_rng(0)
    fitness = rng.random((6, 10))
    straight, first = strategy(popsize=10, **options), strategy(popsize=10, **options)
    for f in fitness:
        straight.tell(f, f)
    for f in fitness[:3]:
        first.tell(f, f)
    second = strategy(popsize=10, **options)
    second.load_state(copy.deepcopy(first.state()))
    for f in fitness[3:]:
        second.tell(f, f)
    assert second.theta.tobytes() == straight.theta.tobytes()


def test_common_random_numbers_give_a_pair_the_same_episodes():
    plus, minus, other, _ = strategy(popsize=4, common_random_numbers=True).ask()
    assert plus.lifetime_seed() == minus.lifetime_seed() != other.lifetime_seed()
    plus, minus = strategy(popsize=2).ask()
    assert plus.lifetime_seed() != minus.lifetime_seed()
    assert plus.lifetime_seed(0) != plus.lifetime_seed(1)


@pytest.mark.parametrize("options", [{"popsize": 3}, {"popsize": 0}, {"sigma": 0}])
def test_a_strategy_that_cannot_work_is_refused_in_a_sentence(options):
    with pytest.raises(ValueError, match="must be"):
        strategy(**options)


def test_the_step_is_the_same_whatever_number_of_threads_draws_its_noise():
    one, three = strategy(popsize=14), strategy(popsize=14, threads=3)
    for es in (one, three):
        for generation in range(3):
            es.tell(np.sin(np.arange(14) + generation), [0.0] * 14)
    np.testing.assert_array_equal(one.theta, three.theta)
    assert one.theta.any()


def test_the_step_is_the_same_from_the_noise_that_the_individuals_left(monkeypatch):
    shared, drawn, noise = SharedNoise(3, 1000), [], seeds.noise
    monkeypatch.setattr("workers.local.seeds.noise", lambda *key: drawn.append(key) or noise(*key))
    again, left = strategy(popsize=6), strategy(popsize=6, noise=shared.find)
    for es, draw in ((again, noise), (left, shared.draw)):
        for generation in range(3):
            for individual in es.ask():
                individual.candidate(es.theta, draw)
            es.tell(np.sin(np.arange(6) + generation), [0.0] * 6)
    np.testing.assert_array_equal(again.theta, left.theta)
    assert left.theta.any()
    assert len(drawn) == len(set(drawn)) == 9  # its partner finds what an individual has drawn
