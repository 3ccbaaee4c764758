"""Every kind of environment can be evaluated, or is refused by name."""

import math
import random

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import environments
import seeds
from environments.tasks import interface_of, task_of
from fitness_functions import Agent, describe, fitness_hebb, follows_its_seed


def agent(environment, rule="ABCD_lr", **options):
    return Agent(rule, describe(environment), "uni", **options)


@pytest.mark.parametrize(
    "environment",
    [
        "CartPole-v1",  # gymnasium, Discrete actions
        "Pendulum-v1",  # Box actions
        "FrozenLake-v1",  # Discrete observations
        "LunarLander-v2",  # gym 0.26
        "BipedalWalker-v3",
        "HalfCheetahBulletEnv-v0",
        "InvertedPendulumBulletEnv-v0",
        "KukaBulletEnv-v0",  # gym's pybullet_envs: four values per step, no seed in reset
        "ALE/Breakout-v5",  # FIRE, lives, 210x160 pixels
        "CarRacing-v0",
    ],
)
def test_a_lifetime_in_an_environment_is_decided_by_its_seed(environment):
    subject = agent(environment, max_steps=30)
    theta = subject.first_theta(3, "normal")
    first, other = subject.rollout(theta, 5), subject.rollout(theta, 6)
    begun = {5: [], 6: []}
    for seed, kept in begun.items():
        subject.rollout(theta, seed, lambda t, _, w, r, kept=kept: kept.append(w[-1].copy()))
    assert first.failure is None and math.isfinite(first.fitness) and first.steps <= 30
    assert subject.rollout(theta, 5) == first  # whatever was evaluated in between
    assert agent(environment, max_steps=30).rollout(theta, 5) == first
    assert other.steps
    assert not np.array_equal(begun[5][0], begun[6][0])  # in some worlds all starts are alike


@pytest.mark.parametrize("name", ["CartPol-v1", "AntBulletEnv-v9", "nothing"])
def test_an_unknown_environment_is_an_error_that_names_it(name):
    with pytest.raises(ValueError, match=name) as error:
        environments.make(name)
    assert "\n" not in str(error.value)


def test_the_nearest_names_are_offered():
    with pytest.raises(ValueError, match="CartPole-v1"):
        environments.make("CartPole-v9")


def test_a_module_that_does_not_exist_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="no_such_module"):
        environments.make("no_such_module:Id-v0")


def test_spaces_that_no_network_fits_are_refused_by_name():
    with pytest.raises(ValueError, match="Blackjack-v1: its observation space is Tuple.*Flatten"):
        describe("Blackjack-v1")


class Synthetic(gymnasium.Env):
    """Spaces and rewards as a test wants them."""

    def __init__(self, observation_space, action_space, reward=1.0, poison_at=None):
        self.observation_space, self.action_space = observation_space, action_space
        self.reward, self.poison_at = reward, poison_at

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        observation = self.observation_space.sample()
        if self.t == self.poison_at:
            observation = np.full_like(observation, np.nan)
        return observation, self.reward, self.t == 5, False, {}


def test_spaces_that_no_wrapper_helps_are_refused_as_well():
    env = Synthetic(spaces.Box(-1, 1, (3,)), spaces.Text(5))
    with pytest.raises(ValueError, match="its action space is Text; Box and Discrete are"):
        interface_of(env, "Synthetic-v0")


BOX, TWO = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2)


def fitness_in(env):
    subject = Agent("ABCD_lr", interface_of(env, "Synthetic-v0"), "uni", env=env)
    return subject.rollout(subject.first_theta(0, "normal"), 0)


@pytest.mark.parametrize(
    "observations",
    [
        spaces.Box(0, 255, (30, 50, 3), np.uint8),
        spaces.Box(0, 255, (4, 84, 84), np.uint8),  # frames stacked, channels first
        spaces.Box(0, 255, (64, 64), np.uint8),  # grey
        spaces.Box(0, 1, (100, 100, 1), np.float32),
        spaces.Box(-1, 1, (2, 3), np.float64),
        spaces.Discrete(4, start=1),
    ],
    ids=str,
)
def test_observations_of_any_shape_meet_a_network(observations):
    outcome = fitness_in(Synthetic(observations, TWO))
    assert (outcome.fitness, outcome.steps, outcome.failure) == (5.0, 5, None)


@pytest.mark.parametrize(
    "actions",
    [spaces.Discrete(3, start=-1), spaces.Box(-2, 0.5, (2, 2), np.float32)],
    ids=str,
)
def test_actions_lie_in_their_space(actions):
    assert fitness_in(Synthetic(BOX, actions)).fitness == 5.0


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_no_number_fails_the_lifetime(reward):
    outcome = fitness_in(Synthetic(BOX, TWO, reward=reward))
    assert outcome.fitness == -math.inf and "reward" in outcome.failure and outcome.steps == 1


def test_an_observation_that_is_no_number_fails_the_lifetime():
    outcome = fitness_in(Synthetic(BOX, TWO, poison_at=2))
    assert outcome.fitness == -math.inf and "observation" in outcome.failure and outcome.steps == 2


def test_fitness_hebb_of_a_failed_lifetime_is_minus_infinity():
    env = Synthetic(BOX, TWO, reward=math.nan)
    n = 3 * 128 + 128 * 64 + 64 * 2
    coefficients = np.zeros((n, 5), np.float32)
    assert fitness_hebb("ABCD_lr", "Synthetic-v0", "uni", coefficients, env=env) == -math.inf


def test_a_vector_of_the_wrong_length_is_refused_with_both_lengths():
    with pytest.raises(ValueError, match="44160 numbers, not 10"):
        fitness_hebb("ABCD_lr", "CartPole-v1", "uni", np.zeros(10))


def test_every_task_has_its_row():
    assert task_of("CarRacing-v3").patience == 20 and task_of("CarRacing-v0").normalize == "max"
    for body in ("AntBulletEnv-v0", "AntDamagedLeftBulletEnv-v0"):
        assert task_of(body).burn_in == 40
    assert task_of("HalfCheetahBulletEnv-v0").grace == 200
    assert task_of("HalfCheetahBulletEnv-v0").burn_in == 0
    assert task_of("CartPole-v1").patience == math.inf


def test_an_environment_without_a_time_limit_is_known_as_such():
    assert environments.has_time_limit("CartPole-v1")
    assert not environments.has_time_limit("CliffWalking-v1")


@pytest.mark.parametrize(
    "environment, expected",
    [("CartPole-v1", True), ("LunarLander-v2", True), ("misbehaving:Wilful-v0", False)],
)
def test_an_environment_that_ignores_its_seed_is_found_out(environment, expected):
    assert follows_its_seed(describe(environment)) is expected


class Shrinks(Synthetic):
    """Declares two numbers, and gives other shapes from the third step on."""

    def __init__(self, later):
        super().__init__(spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2))
        self.later = later

    def step(self, action):
        _, *rest = super().step(action)
        return np.zeros(2 if self.t < 3 else self.later, np.float32), *rest


@pytest.mark.parametrize("later", [1, 3])
def test_an_observation_of_another_size_than_declared_fails_the_lifetime(later):
    with pytest.raises(ValueError, match=f"{later} inputs given, 2 expected"):
        fitness_hebb("A", "Shrinks-v0", "uni", np.zeros(8576), seed=1, env=Shrinks(later))


def test_the_callers_global_generators_go_on_as_if_nothing_had_been():
    subject = agent("CartPole-v1", max_steps=5)
    theta = subject.first_theta(3, "normal")
    random.seed(4), np.random.seed(4)
    expected = [random.random(), random.random(), *np.random.random(2)]
    random.seed(4), np.random.seed(4)
    drawn = [random.random(), np.random.random()]
    with seeds.global_generators(6):  # as a worker's loop, in which they are only seeded
        subject.rollout(theta, 5)
    subject.rollout(theta, 5)
    drawn += [random.random(), np.random.random()]
    assert drawn == [expected[0], expected[2], expected[1], expected[3]]


@pytest.mark.parametrize(
    "environment",
    ["Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"],
)
def test_a_world_of_classic_control_is_kept_and_forgets_the_lifetime_before(environment):
    used, fresh = agent(environment, max_steps=60), agent(environment, max_steps=60)
    theta = used.first_theta(3, "normal")
    used.rollout(-theta, 7)
    assert used._kept is not None
    assert used.rollout(theta, 5) == fresh.rollout(theta, 5)


def test_a_world_in_a_users_wrapper_is_not_kept():
    wrapper = gymnasium.wrappers.NormalizeObservation.wrapper_spec()
    point = gymnasium.spec("CartPole-v1").entry_point
    gymnasium.register("Worn-v0", point, additional_wrappers=(wrapper,), max_episode_steps=50)
    subject = agent("Worn-v0", max_steps=5)
    subject.rollout(subject.first_theta(3, "normal"), 5)
    assert subject._kept is None


def test_a_body_that_is_registered_again_is_the_new_one():
    pytest.importorskip("pybullet")
    coefficients = np.full((12_288, 5), 0.1, np.float32)
    found = []
    for side in ("Left", "Right"):
        body = environments.find(f"AntDamaged{side}BulletEnv-v0").kwargs["body"]
        environments.register_body("AntTwiceBulletEnv-v0", body)
        found.append(fitness_hebb("ABCD_lr", "AntTwiceBulletEnv-v0", "ones", coefficients, seed=3))
    assert found[0] != found[1]
