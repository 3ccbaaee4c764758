"""What an option of a command line is: a field of a dataclass, described once.

The parsers, the namespaces of values, config.json, --resume, the figures and the README's tables
all read these fields. Those of train_hebb.py stand in `training_options.py`, those of the other
commands in `replay_options.py`, and what several have in `shared_options.py`.
"""

import dataclasses
import math
import os
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PARTS = {  # of a run -> what its options decide
    "fitness": "what an individual is worth",
    "task": "what a lifetime does with outputs, rewards and weights",
    "wrapper": "how observations are wrapped",
    "agent": "the network and its rule",
    "start": "the first θ",
    "strategy": "the evolution strategy",
    "loop": "how long evolution runs",
    "workers": "where lifetimes are evaluated",
    "output": "what is written and printed",
}


@dataclass(frozen=True)
class Option:
    """A field of a dataclass of options, as the parsers and tables need it.

    type: of one value; many: a list of them is given. check: a test of a given value, and the
    words for what it allows; the test may as well raise a ValueError that says it. open: the
    choices are examples. part: of PARTS. source: where the option comes from; `reference`
    keeps its names and defaults. resumable: may differ when a run is resumed, as no result depends
    on it. needs: options without which, all of them, it means nothing.
    """

    name: str
    type: Callable
    many: bool
    default: Any
    meaning: str
    check: tuple[Callable[[Any], bool], str] | None = None
    choices: tuple | None = None
    open: bool = False
    part: str | None = None
    source: str = "ours"
    resumable: bool = False
    needs: tuple[str, ...] = ()

    @property
    def is_flag(self) -> bool:
        return self.type is bool


def option(default, meaning: str, check=None, **columns):
    """A field of a dataclass of options; columns: those of Option."""
    described = {"meaning": meaning, "check": check, **columns}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=described)
    return field(default=default, metadata=described)


def options_of(values: type | object) -> tuple[Option, ...]:
    """The options of a dataclass, in its order; the types are those of its annotations."""
    result = []
    for one in dataclasses.fields(values):
        kind, many = one.type, False
        if isinstance(kind, types.UnionType):  # `| None`: nothing unless it is given
            kind = typing.get_args(kind)[0]
        if typing.get_origin(kind) is list:
            (kind,), many = typing.get_args(kind), True
        listed = one.default_factory is not dataclasses.MISSING
        default = one.default_factory() if listed else one.default
        result.append(Option(one.name, kind, many, default, **one.metadata))
    return tuple(result)


def part(values, name: str) -> dict:
    """The options of a part of a run, by name."""
    return {one.name: getattr(values, one.name) for one in options_of(values) if one.part == name}


def can_be_made(path: str) -> bool:
    """Whether a file can; ValueError, which says why, where it cannot."""
    folder = os.path.dirname(path) or "."
    special = os.path.exists(path) and not os.path.isfile(path)  # a device, which is not replaced
    if not os.path.isdir(folder):
        raise ValueError(f"{path}: there is no folder {folder}")
    if os.path.isdir(path) or not os.access(path if special else folder, os.W_OK):
        raise ValueError(f"{path} cannot be written")
    return True


FILE = (can_be_made, "a file that can be written")
FINITE = (math.isfinite, "a number")
POSITIVE = (lambda value: 0 < value < math.inf, "a number above 0")
AT_LEAST_1 = (lambda value: value >= 1, "a whole number from 1 on")
NOT_NEGATIVE = (lambda value: value >= 0, "a number from 0 on")
UNIT = (lambda value: 0 < value <= 1, "a number above 0 and up to 1")
BELOW_1 = (lambda value: 0 <= value < 1, "a number from 0 on and below 1")
PAIRS = (lambda value: value >= 2 and value % 2 == 0, "an even whole number from 2 on (pairs)")
SIZES = (lambda sizes: all(size >= 1 for size in sizes), "whole numbers from 1 on")
CORES = (lambda value: value == -1 or value >= 1, "-1 (every core) or a whole number from 1 on")
