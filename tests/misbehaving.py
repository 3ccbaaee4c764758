"""Environments that go wrong, as somebody's own would: named misbehaving:Id-v0 in the tests.

Which lifetimes do is decided by the seed of the reset: one in ONE_IN. With the variable FIRST_ONLY
naming a folder, only the first attempt at each goes wrong.
"""

import ctypes
import logging
import os
import time
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

ONE_IN = 20


def misbehaves(seed: int) -> bool:
    return seed % ONE_IN == 0


class Misbehaving(CartPoleEnv):
    def reset(self, *, seed=None, options=None):
        self.bad = misbehaves(seed)
        if self.bad and (folder := os.environ.get("FIRST_ONLY")):
            mark = Path(folder) / str(seed)
            self.bad = not mark.exists()
            mark.touch()
        return super().reset(seed=seed)

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, self.misbehave() if self.bad else reward, *rest


class Raises(Misbehaving):
    def misbehave(self):
        raise RuntimeError("the pole\nis made of glass")


class NotANumber(Misbehaving):
    def misbehave(self):
        return float("nan")


class Hangs(Misbehaving):
    def misbehave(self):
        ctypes.PyDLL(None).sleep(3600)  # deaf to everything but SIGKILL


class Exits(Misbehaving):
    def misbehave(self):
        os._exit(3)


class Segfaults(Misbehaving):
    def misbehave(self):
        ctypes.string_at(0)


class Chatters(Misbehaving):
    """Dies in the middle of what it says to the log."""

    def misbehave(self):
        for _ in range(20):
            logging.getLogger("somebody").warning("a" * 60_000)
        os._exit(3)


class LeavesChild(Misbehaving):
    """Dies, and leaves a process that holds whatever it had open."""

    def misbehave(self):
        if os.fork():
            os._exit(3)
        time.sleep(2)
        os._exit(0)


class Breaks(Raises):
    """Every lifetime fails while the variable BROKEN is set."""

    def reset(self, **kwargs):
        result = super().reset(**kwargs)
        self.bad = "BROKEN" in os.environ
        return result


class Slow(CartPoleEnv):
    """Lifetimes of about a tenth of a second."""

    def step(self, action):
        time.sleep(0.005)
        observation, reward, _, *rest = super().step(action)
        return observation, reward, False, *rest


class Wilful(CartPoleEnv):
    """Begins as it likes, whatever the seed."""

    def reset(self, *, seed=None, options=None):
        return super().reset()


class Picture(gymnasium.Env):
    """Noise to look at: the smallest task that is made of pixels."""

    observation_space = gymnasium.spaces.Box(0, 255, (96, 96, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._look(), {}

    def step(self, action):
        return self._look(), float(action @ [1, -1]), False, False, {}

    def _look(self):
        return self.np_random.integers(0, 256, (96, 96, 3), np.uint8)


for kind in (*Misbehaving.__subclasses__(), Breaks, Slow, Wilful, Picture):
    limit = 5 if kind is Picture else 20
    gymnasium.register(f"{kind.__name__}-v0", kind, max_episode_steps=limit)


def kills_its_worker(env, strength=None, rng=None):
    """A condition: the first attempt at an episode ends its process, the next changes nothing."""
    mark = Path(os.environ["FIRST_ONLY"]) / str(rng.integers(1 << 30))
    if not mark.exists():
        mark.touch()
        os._exit(3)
    return env


def raises(env, strength=0.5, rng=None):
    raise RuntimeError("the world cannot change")


def loud(env, strength="much", rng=None):
    return env


def pays(env, strength=1.0, rng=None):
    """A condition: every reward is multiplied."""
    return gymnasium.wrappers.TransformReward(env, lambda reward: strength * reward)
