"""Whole lifetimes against recordings of the reference, and what ends a lifetime."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from environments.tasks import interface_of
from fitness_functions import Agent, fitness_hebb

GOLDEN = sorted(Path(__file__).with_name("golden").glob("lifetime_*.npz"))


class Playback(gymnasium.Env):
    """Gives back the observations, rewards and dones of a recording; keeps the actions."""

    def __init__(self, recording):
        self.recording, self.actions = recording, []
        first = recording["observations"][0]
        if "n_observations" in recording:
            self.observation_space = spaces.Discrete(int(recording["n_observations"]))
        elif first.dtype == np.uint8:
            self.observation_space = spaces.Box(0, 255, first.shape, np.uint8)
        else:
            self.observation_space = spaces.Box(-np.inf, np.inf, first.shape, np.float32)
        if "n_actions" in recording:
            self.action_space = spaces.Discrete(int(recording["n_actions"]))
        else:
            low, high = recording["action_low"], recording["action_high"]
            self.action_space = spaces.Box(low, high, dtype=np.float32)

    def reset(self, seed=None, options=None):
        return self.recording["observations"][0], {}

    def step(self, action):
        t = len(self.actions)
        self.actions.append(action)
        done = bool(self.recording["dones"][t])
        return (
            self.recording["observations"][t + 1],
            float(self.recording["rewards"][t]),
            done,
            False,
            {},
        )


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_lifetime_is_the_reference_s_step_for_step(path):
    recording = dict(np.load(path))
    name, rule = str(recording["environment"]), str(recording["hebb_rule"])
    env = Playback(recording)
    agent = Agent(rule, interface_of(env, name), "coevolve", env=env)
    theta = agent.join(recording["coefficients"], recording["initial_weights"])
    outcome = agent.rollout(theta, seed=0)
    assert len(env.actions) == len(recording["actions"])
    np.testing.assert_allclose(env.actions, recording["actions"], rtol=0, atol=1e-4)
    assert outcome.fitness == pytest.approx(float(recording["fitness"]), abs=1e-4)
    finals = [
        recording[f"final_weights_{i}"] for i in range(5) if f"final_weights_{i}" in recording
    ]
    for ours, theirs in zip(agent.policy.layers(), finals[-3:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("path", GOLDEN[:1] + GOLDEN[-1:], ids=lambda path: path.stem)
def test_fitness_hebb_uses_the_environment_that_it_is_given(path):
    recording = dict(np.load(path))
    env = Playback(recording)
    fitness = fitness_hebb(
        str(recording["hebb_rule"]),
        str(recording["environment"]),
        "coevolve",
        recording["coefficients"],
        recording["initial_weights"],
        seed=3,
        env=env,
    )
    assert fitness == pytest.approx(float(recording["fitness"]), abs=1e-4)
