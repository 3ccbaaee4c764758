"""Environments of gym 0.26 and of pybullet_envs, which registers there, as gymnasium's."""

import functools
import importlib
import importlib.util
import inspect
import os

import gymnasium
from gymnasium import spaces

from machine.quiet import quiet


@functools.cache
def gym_registry() -> dict:
    """gym 0.26's registry, with pybullet_envs in it; empty without gym."""
    if not importlib.util.find_spec("gym"):
        return {}
    # pybullet_envs' older robots log through protobuf, generated for an older version of it
    os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
    with quiet():
        from gym.envs import registration

        class Registry(dict):
            @property
            def env_specs(self):  # what pybullet_envs still asks for
                return self

        registration.registry = Registry(registration.registry)
        if importlib.util.find_spec("pybullet"):
            import pybullet_envs  # noqa: F401
    return registration.registry


class GymEnv(gymnasium.Env):
    """An environment of gym (0.26's five values per step, or four as before) as gymnasium's."""

    def __init__(self, spec, render_mode: str | None = None):
        build = spec.entry_point
        if isinstance(build, str):
            module, _, name = build.partition(":")
            build = getattr(importlib.import_module(module), name)
        known = inspect.signature(build).parameters
        kwargs = dict(spec.kwargs)
        if "render_mode" in known:
            kwargs["render_mode"] = render_mode
        for window in {"render", "renders"} & set(known):  # pybullet_envs' name for it
            kwargs[window] = render_mode == "human"
        self.env, self.render_mode = build(**kwargs), render_mode
        self.observation_space = _as_gymnasium(self.env.observation_space)
        self.action_space = _as_gymnasium(self.env.action_space)
        self._new = "seed" in inspect.signature(self.env.reset).parameters

    @property
    def unwrapped(self):
        return self.env.unwrapped

    def reset(self, *, seed=None, options=None):
        if self._new:
            observation = self.env.reset(seed=seed)
        else:
            if seed is not None and hasattr(self.env, "seed"):
                self.env.seed(seed)
            observation = self.env.reset()
        return observation if isinstance(observation, tuple) else (observation, {})

    def step(self, action):
        result = self.env.step(action)
        if len(result) == 5:
            return result
        observation, reward, done, info = result
        truncated = bool(info.get("TimeLimit.truncated", False))
        return observation, reward, bool(done) and not truncated, truncated, info

    def render(self):
        if "mode" in inspect.signature(self.env.render).parameters:
            return self.env.render(mode=self.render_mode)
        return self.env.render()

    def close(self):
        self.env.close()


def _as_gymnasium(space):
    """gym's Box and Discrete as gymnasium's; any other space as it is, to be refused by name."""
    kind = type(space).__name__
    if kind == "Box":
        return spaces.Box(space.low, space.high, space.shape, space.dtype)
    if kind == "Discrete":
        return spaces.Discrete(int(space.n), start=int(getattr(space, "start", 0)))
    return space
