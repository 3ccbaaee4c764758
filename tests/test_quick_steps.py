"""gymnasium's small environments are quicker here, and step as gymnasium's do, bit for bit."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import environments
from environments.quick_steps import QuickDiscrete


def episode(env, steps=150):
    """Everything that an environment tells, also past its end, where CartPole pays nothing."""
    told, chance = [env.reset(seed=3)[0]], np.random.default_rng(4)
    for _ in range(steps):
        action = int(chance.integers(env.action_space.n))
        observation, reward, terminated, truncated, _ = env.unwrapped.step(action)
        assert observation.dtype == env.observation_space.dtype and type(terminated) is bool
        told += [observation, np.array([reward, terminated, truncated])]
    return np.concatenate(told).tobytes()


@pytest.mark.parametrize(
    ("environment", "changes"),
    [
        ("CartPole-v1", {}),
        ("CartPole-v1", {"kinematics_integrator": "semi-implicit", "length": 0.7, "gravity": 5.0}),
        ("MountainCar-v0", {}),
        ("Acrobot-v1", {}),
        ("LunarLander-v3", {}),
    ],
)
def test_every_bit_of_an_episode_is_gymnasiums(environment, changes):
    pair = environments.make(environment), gymnasium.make(environment)
    for env in pair:
        for name, value in changes.items():
            assert hasattr(env.unwrapped, name)
            setattr(env.unwrapped, name, value)
    ours, theirs = pair
    assert ours.action_space == theirs.action_space
    assert episode(ours) == episode(theirs)


def test_the_state_of_cartpole_can_be_set_as_gymnasiums_can():
    ours, theirs = environments.make("CartPole-v1"), gymnasium.make("CartPole-v1")
    for env in (ours, theirs):
        env.reset(seed=0)
        env.unwrapped.state = np.array([0.1, -0.2, 0.03, 0.4])
    assert ours.step(1)[0].tobytes() == theirs.step(1)[0].tobytes()
    with pytest.raises(AssertionError):
        ours.step(2)


class HalfLength(gymnasium.envs.classic_control.CartPoleEnv):
    def step(self, action):
        observation, *rest = super().step(action)
        return observation / 2, *rest


def test_a_subclass_keeps_its_own_step():
    gymnasium.register("HalfLength-v0", f"{__name__}:HalfLength")
    try:
        ours, theirs = environments.make("HalfLength-v0"), gymnasium.make("HalfLength-v0")
        assert episode(ours) == episode(theirs)
    finally:
        del gymnasium.registry["HalfLength-v0"]


@pytest.mark.parametrize("start", [0, -3])
def test_a_quick_space_contains_what_gymnasiums_does(start):
    space = spaces.Discrete(4, start=start)
    quick = QuickDiscrete(space)
    assert quick == space and space == quick
    asked = [-4, -3, 0, 1, 3, 4, 2**70, True, 1.0, np.int8(1), np.uint64(9), np.array(2), "1", None]
    assert [quick.contains(x) for x in asked] == [space.contains(x) for x in asked]
    assert quick.seed(5) == space.seed(5) and quick.sample() == space.sample()
