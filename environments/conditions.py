"""Conditions: what may change in the world of a lifetime, at its start or later. One table.

A condition of yours is a function (env, strength, rng) -> env in a module of yours, like those of
changes.py, with a default for its strength.
"""

import inspect
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box

import seeds
from environments.changes import (
    LEGS,
    colours,
    dead_sensors,
    delayed_actions,
    gravity,
    heavy,
    locked_leg,
    mirrored_actions,
    noise,
    occluded,
    scaled_sensors,
    shifted_camera,
    shifted_sensors,
    short_leg,
    slippery_floor,
    slippery_road,
    slope,
    sticky_actions,
    uneven_legs,
    weak_actions,
    weak_engine,
)  # fmt: skip
from environments.registry import import_users
from environments.tasks import Interface

CONDITION = 33  # a purpose of its own beside those of seeds.py


class ChangingWorld(gymnasium.Wrapper):
    """An environment that changes once, when `after` steps were made in it (0: at its start, right
    after the reset, whose observation is already that of changed sensors). In mid-life the action
    of the next step is the first to feel it.

    change: env -> env, as `Condition.change` makes it.
    """

    def __init__(self, env, change: Callable, after: int):
        super().__init__(env)
        self.change, self.after = change, after

    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        self.steps, self.now = 0, self.env
        if not self.after:
            self.now = self.change(self.env)
            if isinstance(self.now, gymnasium.ObservationWrapper):
                observation = self.now.observation(observation)
        return observation, info

    def step(self, action):
        if self.steps == self.after and self.after:
            self.now = self.change(self.env)
        self.steps += 1
        return self.now.step(action)


class Where(NamedTuple):
    """The tasks that a condition is for: a test of what an environment looks like, in words."""

    test: Callable[[Interface], bool]
    words: str


def _named(pattern: str) -> Callable[[Interface], bool]:
    return lambda interface: bool(re.search(pattern, interface.environment))


BOXES = Where(lambda interface: isinstance(interface.observations, Box), "vectors and images")
VECTORS = Where(lambda interface: BOXES.test(interface) and not interface.pixels, "vectors")
IMAGES = Where(lambda interface: interface.pixels, "images")
COLOURS = Where(
    lambda interface: interface.pixels and interface.observations.shape[-1] == 3, "colour images"
)
FORCES = Where(lambda interface: isinstance(interface.actions, Box), "Box actions")
MIRRORS = Where(
    lambda interface: (
        not FORCES.test(interface) or bool(np.any(interface.actions.low == -interface.actions.high))
    ),
    "actions that have a mirror image",
)
ANY = Where(lambda interface: True, "any task")
QUADRUPED = Where(_named(r"Ant\w*BulletEnv-v\d+$"), "the quadruped")
CAR = Where(_named(r"CarRacing-v0$"), "CarRacing-v0")
SHARE, FACTOR = (0, 1), (0, math.inf)


class Condition(NamedTuple):
    """A row of the table."""

    name: str
    strength: float | None
    where: Where
    apply: Callable  # (env, strength, rng) -> env
    meaning: str  # of the strength
    allowed: tuple[float, float] = FACTOR

    def __str__(self) -> str:
        return self.name if self.strength is None else f"{self.name}={self.strength:g}"

    def change(self, seed: int) -> Callable:
        """env -> env, with the random numbers of this episode."""
        return lambda env: self.apply(env, self.strength, seeds.stream(seed, CONDITION))

    def around(self, after: int = 0) -> Callable:
        """(env, seed) -> env that changes so after `after` steps, as `Agent.around` takes it."""
        return lambda env, seed: ChangingWorld(env, self.change(seed), after)


CONDITIONS = (
    Condition("noise", 0.3, BOXES, noise, "standard deviation of noise on every sensor"),
    Condition("dead_sensors", 0.2, BOXES, dead_sensors, "share that shows 0", SHARE),
    Condition("shifted_sensors", 0.3, VECTORS, shifted_sensors, "what each shows too much or less"),
    Condition("scaled_sensors", 0.5, VECTORS, scaled_sensors, "factor on every sensor"),
    Condition("weak_actions", 0.75, FORCES, weak_actions, "factor on every action"),
    Condition("mirrored_actions", 0.125, MIRRORS, mirrored_actions, "share that is negated", SHARE),
    Condition("delayed_actions", 2, ANY, delayed_actions, "steps by which they are late"),
    Condition("sticky_actions", 0.25, ANY, sticky_actions, "chance of a repetition", (0, 0.99)),
    *(
        Condition(f"short_{leg}", 0.25, QUADRUPED, partial(short_leg, leg),
                  "share of the leg's lower part that is left", (0.01, 10))
        for leg in LEGS
    ),
    *(
        Condition(f"locked_{leg}", 2, QUADRUPED, partial(locked_leg, leg),
                  "brake of the leg's joints, in torques of its motors")
        for leg in LEGS
    ),
    Condition("uneven_legs", 0.5, QUADRUPED, uneven_legs,
              "least share of each leg's lower part that is left", (0.01, 10)),
    Condition("heavy", 1.5, QUADRUPED, heavy, "factor on every mass of the body", (0.01, 100)),
    Condition("slippery", 0.3, QUADRUPED, slippery_floor, "factor on the friction of the floor"),
    Condition("gravity", 1.5, QUADRUPED, gravity, "factor on gravity"),
    Condition("slope", 5, QUADRUPED, slope, "degrees by which the way rises", (-89, 89)),
    Condition("colours", 0.5, COLOURS, colours, "share of red, green, blue in rotation", SHARE),
    Condition("dark", 0.5, IMAGES, scaled_sensors, "factor on the brightness"),
    Condition("occluded", 0.2, IMAGES, occluded, "share of the width that is black", SHARE),
    Condition("shifted_camera", 8, CAR, shifted_camera, "pixels to the right", (-96, 96)),
    Condition("slippery", 0.6, CAR, slippery_road, "factor on the grip of the tyres"),
    Condition("weak_engine", 0.5, CAR, weak_engine, "factor on the engine's power"),
)  # fmt: skip

DAMAGED = {  # a condition -> the environment that has the same body
    "short_front_left": "AntDamagedLeftBulletEnv-v0",
    "short_back_right": "AntDamagedRightBulletEnv-v0",
}


def one_by_one(names: Sequence[str] | None) -> list[str]:
    """The names of --conditions, also those that commas join."""
    return [one for name in names or () for one in name.split(",")]


def seen_in(arguments: dict) -> set[str]:
    """The ids of the environments that evolution with these arguments of a run has seen."""
    given = arguments["environment"]
    names = {name.removesuffix("=0.25") for name in one_by_one(arguments.get("conditions"))}
    bodies = {body for name, body in DAMAGED.items() if names & {name, "all"}}
    return bodies | {*([given] if isinstance(given, str) else given)}


def as_table() -> str:
    """The conditions as a Markdown table, as the README has it; those of the legs in one row."""
    rows = ["| condition | strength | what that is | for |", "|---|---|---|---|"]
    for row in CONDITIONS:
        leg = next((leg for leg in LEGS if row.name.endswith(leg)), "no leg")
        name = row.name.replace(leg, "LEG")
        rows.append(f"| `{name}` | {row.strength:g} | {row.meaning} | {row.where.words} |")
    return "\n".join(dict.fromkeys(rows))


def chosen(names: Sequence[str], interface: Interface) -> list[Condition]:
    """The conditions of --conditions for a task: `all` of the table's that fit it, or names, or
    module:function, each with =STRENGTH where it is not the usual one; several with commas between
    them are one condition, in each lifetime another of these. ValueError for others."""
    found: list[Condition] = []
    for name in names:
        if name == "all":
            found += [row for row in CONDITIONS if row.where.test(interface)]
            continue
        if "," in name:
            rows = chosen(one_by_one([name]), interface)
            together = ",".join(map(str, rows))
            found.append(Condition(together, None, ANY, partial(_one_of, rows), ""))
            continue
        name, _, given = name.partition("=")
        condition = _users(name) if ":" in name else _row(name, interface)
        found.append(
            condition._replace(strength=_strength(given, condition)) if given else condition
        )
    return found


def _one_of(rows: Sequence[Condition], env, strength, rng):
    """One of these conditions, each with the same chance."""
    row = rows[rng.integers(len(rows))]
    return row.apply(env, row.strength, rng)


def _row(name: str, interface: Interface) -> Condition:
    rows = [row for row in CONDITIONS if row.name == name]
    for row in rows:
        if row.where.test(interface):
            return row
    if rows:
        words = " and ".join(row.where.words for row in rows)
        raise ValueError(f"--conditions {name} is for {words}, not for {interface.environment}")
    known = dict.fromkeys(row.name for row in CONDITIONS if row.where.test(interface))
    raise ValueError(f"--conditions {name}: {interface.environment} has all, {', '.join(known)}")


def _strength(given: str, condition: Condition) -> float:
    low, high = condition.allowed
    try:
        strength = float(given)
    except ValueError:
        strength = math.nan
    if not low <= strength <= high or math.isinf(strength):
        words = f" from {low:g}" if math.isfinite(low) else ""
        words += f" to {high:g}" if math.isfinite(high) else " on" * bool(words)
        raise ValueError(f"--conditions {condition.name}={given}: a number{words}")
    return strength


def _users(name: str) -> Condition:
    """module:function as a row of its own."""
    module, _, function = name.partition(":")
    try:
        apply = getattr(import_users(module, name), function)
    except AttributeError as error:
        raise ValueError(f"--conditions {name}: {error}") from None
    try:
        takes = inspect.signature(apply).parameters
        default = takes["strength"].default
        strength = None if default in (inspect.Parameter.empty, None) else float(default)
        if list(takes) != ["env", "strength", "rng"]:
            raise KeyError
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"--conditions {name} is no function of (env, strength, rng)") from None
    return Condition(function, strength, ANY, apply, "", (-math.inf, math.inf))
