"""From dataclasses of options to their values: parsers, defaults, checks, and what a resumed run
may change. Imports nothing heavy, so that `--help` answers at once."""

import argparse
import contextlib
import signal
import sys
from typing import TypeVar

from commands.options import PARTS, Option, options_of
from commands.screen import to_nowhere

Values = TypeVar("Values")  # a dataclass of options


class Parser(argparse.ArgumentParser):
    """argparse, with errors of one line and exit status 2."""

    def error(self, message: str):
        fail(message, self.prog)


def fail(message: str, program: str | None = None):
    """Print one line for a person and leave with exit status 2."""
    line = " ".join(str(message).split())
    print(f"{program or sys.argv[0].rsplit('/', 1)[-1]}: error: {line}", file=sys.stderr)
    raise SystemExit(2)


@contextlib.contextmanager
def reported():
    """What a command does: what is wrong with its input is told by `fail`; that the reader of its
    output is gone (`| head`) ends it as it ends other programs, without a word."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        to_nowhere(sys.stdout)
        raise SystemExit(128 + signal.SIGPIPE) from None
    except (ValueError, OSError) as error:
        fail(error)
    except MemoryError as error:
        fail(f"not enough memory: {error}")


def parser(values: type, description: str) -> Parser:
    """The command line of a dataclass of options. Absent ones are left out of the namespace, so
    that a given option can be told from a default; `complete` adds the defaults."""
    return add_options(Parser(description=description, allow_abbrev=False), values)


def add_options(result: Parser, values: type) -> Parser:
    """With the options of each part of a run under a title of their own."""
    groups = {}
    for option in options_of(values):
        if option.part not in groups:
            title = PARTS.get(option.part)
            groups[option.part] = result.add_argument_group(title) if title else result
        default = option.default
        shown = " ".join(map(str, default)) if option.many and default else default
        shown = "" if shown is None or shown is False else f" (default: {shown})"
        kind = {"type": option.type, "nargs": "+" if option.many else None}
        if option.is_flag:
            kind = {"action": "store_true"}
        meaning = option.meaning
        if option.open:
            meaning += ": " + ", ".join(option.choices)
        elif option.choices:
            kind["choices"] = option.choices
        groups[option.part].add_argument(
            f"--{option.name}", default=argparse.SUPPRESS, help=meaning + shown, **kind
        )
    return result


def complete(values: type[Values], given: dict) -> Values:
    """The values that were given, and defaults for the others; ValueError where one is outside its
    range, or means nothing without another."""
    for option in options_of(values):
        value = given.get(option.name)
        if value is not None and option.needs and not {*option.needs} & {*given}:
            needed = " or --".join(option.needs)
            raise ValueError(f"--{option.name} means nothing without --{needed}")
        if value is not None and option.check and not option.check[0](value):
            raise ValueError(f"--{option.name} {value}: must be {option.check[1]}")
    return _only(values, given)


def _only(values: type[Values], given: dict) -> Values:
    """Without what is no option: the config.json of another version may hold it."""
    return values(**{one.name: given[one.name] for one in options_of(values) if one.name in given})


def recorded(values: type[Values], known: dict) -> Values:
    """The arguments that the config.json of a run holds, and defaults for the others; ValueError
    where one could not have been given."""
    if isinstance(known.get("environment"), str):  # one may stand there without a list
        known = known | {"environment": [known["environment"]]}
    found = _only(values, known)
    for option in options_of(values):
        value = getattr(found, option.name)
        if not _possible(option, value):
            raise ValueError(f"the run's config.json has no valid {option.name}: {value!r}")
    return found


def resumed(values: type[Values], given: dict, known: dict) -> Values:
    """The arguments of a run that is resumed: those `known` of it, with what may be changed."""
    known = vars(recorded(values, known))
    if known["seed"] is None:
        raise ValueError("the run's config.json has no valid seed: None")
    for option in options_of(values):
        name = option.name
        if name not in given or name == "resume" or option.resumable:
            continue
        if name == "generations":
            if given[name] < known[name]:
                raise ValueError(
                    f"--generations {given[name]}: the run has {known[name]}; raise it, or leave it"
                )
        elif given[name] != known[name]:
            raise ValueError(
                f"--{name} {given[name]} contradicts the run, which has {known[name]};"
                f" a resumed run needs no --{name}"
            )
    return _only(values, known | given)


def _possible(option: Option, value) -> bool:
    """Whether a value that was read from a file could have been given."""
    if value is None:
        return option.default is None
    if option.many and not isinstance(value, list):
        return False
    kinds = (int, float) if option.type is float else (option.type,)
    values = value if option.many else [value]
    return (
        all(type(one) in kinds for one in values)
        and (not option.choices or option.open or all(one in option.choices for one in values))
        and (not option.check or option.check[0](value))
    )
