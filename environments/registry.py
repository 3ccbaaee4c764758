"""Environments by id: gymnasium's registry with our own ids, then gym 0.26's, behind one `make`."""

import difflib
import functools
import importlib
import importlib.util
import os
import sys
import types

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import gymnasium
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from environments import bullet_ants, learning_tasks
from environments.gym_bridge import GymEnv, gym_registry
from machine.quiet import quiet

gymnasium.logger.min_level = gymnasium.logger.ERROR  # "a newer version exists", at every make

MAX_STEPS = 10_000  # the limit of an environment that has none
INSTALL = {  # what an id needs -> the packages that bring it
    "Bullet": ("pybullet", "pybullet pybullet_envs_gymnasium"),
    "ALE/": ("ale_py", "ale-py"),
    "NoFrameskip": ("ale_py", "ale-py"),
}

FORGETFUL = "gymnasium.envs.classic_control."  # where resets forget whatever was before


CARS = {
    "CarRacing-v0": EnvSpec(
        "CarRacing-v0", "environments.car_racing:CarRacingV0", max_episode_steps=1000
    )
}


def _bullets() -> None:
    if importlib.util.find_spec("pybullet_envs_gymnasium") and importlib.util.find_spec("pybullet"):
        import pybullet_envs_gymnasium  # noqa: F401


def _ataris() -> None:
    if importlib.util.find_spec("ale_py"):
        import ale_py

        gymnasium.register_envs(ale_py)


# in the order in which an id that is not ours is looked for, so that only what it needs is imported
SOURCES = tuple(functools.cache(source) for source in (lambda: None, _bullets, _ataris))


def ours() -> dict[str, EnvSpec]:
    """The ids that are made here, whatever other packages have registered under these names."""
    return CARS | learning_tasks.SPECS | bullet_ants.SPECS


def find(environment: str):
    """The gymnasium or gym spec of an id; ValueError with the nearest names.

    `module:Id-v0` imports the module, which registers the id. What comes from the module goes
    first, then ours, then gymnasium's registry, then gym's.
    """
    module, _, name = environment.rpartition(":")
    if module:
        import_users(module, environment)
        if _comes_from(gymnasium.registry.get(name), module):
            return gymnasium.registry[name]
    _need_packages(name)
    if name in ours():
        return ours()[name]
    for source in SOURCES:
        source()
        if name in gymnasium.registry:
            return gymnasium.registry[name]
    if name in gym_registry():
        return gym_registry()[name]
    near = difflib.get_close_matches(name, known(), 3)
    raise ValueError(
        f"unknown environment {environment!r}"
        + (f"; the nearest names are {', '.join(near)}" if near else "")
    )


def _need_packages(name: str) -> None:
    """ValueError where a package is missing that ids of this kind need."""
    for part, (module, packages) in INSTALL.items():
        known_already = name in gymnasium.registry
        if part in name and not known_already and not importlib.util.find_spec(module):
            raise ValueError(f"{name} needs {module}: pip install {packages}")


def known() -> list[str]:
    """Every id of ours and of both registries."""
    for source in SOURCES:
        source()
    return list({**ours(), **gymnasium.registry, **gym_registry()})


def import_users(module: str, asked: str) -> types.ModuleType:
    """A module of the user's, imported for what was asked for (module:name); ValueError, one line,
    for whatever goes wrong in it."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        try:
            imported = importlib.import_module(module)
        except AttributeError as error:
            if "env_specs" not in str(error):
                raise
            gym_registry()  # pybullet_envs, which the module imports, needs this registry
            imported = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a module may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"cannot import {module!r} of {asked!r}: {reason}") from error
    theirs = os.path.join(os.getcwd(), *module.split(".")) + ".py"
    file = getattr(imported, "__file__", None)
    if os.path.exists(theirs) and not (file and os.path.samefile(file, theirs)):
        raise ValueError(
            f"{asked!r}: there is another module {module!r}, which hides yours;"
            " give yours another name"
        )
    return imported


def _comes_from(spec, module: str) -> bool:
    """Whether what makes an environment stands in a module, or in one below it."""
    entry_point = getattr(spec, "entry_point", None)
    if isinstance(entry_point, str):
        where = entry_point.partition(":")[0]
    else:
        where = getattr(entry_point, "__module__", "")
    return where == module or where.startswith(module + ".")


def make(
    environment: str,
    render_mode: str | None = None,
    grayscale: bool = False,
    frame_stack: int = 1,
) -> gymnasium.Env:
    """The gymnasium environment of an id, ready for `reset`.

    grayscale, frame_stack: gymnasium's wrappers, for colour images and for any Box.
    ValueError for an unknown id (with the nearest names) and for a package that is missing.
    """
    spec, name = find(environment), environment.rpartition(":")[2]
    try:
        with quiet():
            if isinstance(spec, gymnasium.envs.registration.EnvSpec):
                mode = {} if render_mode is None else {"render_mode": render_mode}
                env = gymnasium.make(spec, disable_env_checker=True, **mode)
            else:
                env = GymEnv(spec, render_mode)
    except Exception as error:  # a constructor may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{environment} cannot be made: {reason}") from error
    limit = spec.max_episode_steps
    if not isinstance(env, gymnasium.wrappers.TimeLimit) and limit is not None:
        env = gymnasium.wrappers.TimeLimit(env, limit)
    if "Bullet" in name and not getattr(env.unwrapped, "reset_is_fresh", False):
        env = QuietReset(env)
    if str(spec.entry_point).startswith("gymnasium.envs."):
        from environments.quick_steps import quicken  # here: it imports some of gymnasium's

        quicken(env.unwrapped)
    if str(spec.entry_point).startswith(FORGETFUL) and not spec.additional_wrappers:
        env.unwrapped.reset_is_fresh = True
    if "FIRE" in _meanings(env):
        env = FireToStart(env)
    space = env.observation_space
    if grayscale:
        if space.dtype != "uint8" or len(space.shape or ()) != 3 or space.shape[-1] != 3:
            raise ValueError(f"{environment}: --grayscale takes uint8 colour images, not {space}")
        env = gymnasium.wrappers.GrayscaleObservation(env, keep_dim=True)
    if frame_stack > 1:
        if not isinstance(space, spaces.Box):
            raise ValueError(f"{environment}: --frame_stack takes Box observations, not {space}")
        env = gymnasium.wrappers.FrameStackObservation(env, frame_stack)
    return env


def has_time_limit(environment: str) -> bool:
    """Whether its episodes end by themselves; ValueError for an unknown id."""
    return find(environment).max_episode_steps is not None


def _meanings(env) -> list[str]:
    ask = getattr(env.unwrapped, "get_action_meanings", list)
    return list(ask())


class QuietReset(gymnasium.Wrapper):
    """Bullet's engine starts, and says so, in an environment's first reset."""

    def reset(self, **kwargs):
        with quiet():
            return self.env.reset(**kwargs)


class FireToStart(gymnasium.Wrapper):
    """Presses FIRE after a reset and after a lost life, for games that wait for it."""

    def reset(self, **kwargs):
        self._fire = _meanings(self.env).index("FIRE")
        observation, info = self.env.reset(**kwargs)
        self._lives = self.env.unwrapped.ale.lives()
        fired, _, terminated, truncated, info = self.env.step(self._fire)
        return (observation if terminated or truncated else fired), info

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        lives = self.env.unwrapped.ale.lives()
        lost, self._lives = 0 < lives < self._lives, lives
        if lost and not (terminated or truncated):
            observation, more, terminated, truncated, info = self.env.step(self._fire)
            reward += more
        return observation, reward, terminated, truncated, info
