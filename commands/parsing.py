"""From the tables of options.py to the values of a run: parsers, defaults, checks, and what a
resumed run may change. Imports nothing heavy, so that `--help` answers at once."""

import argparse
import sys

from commands.options import Option


class Parser(argparse.ArgumentParser):
    """argparse, with errors of one line and exit status 2."""

    def error(self, message: str):
        fail(message, self.prog)


def fail(message: str, program: str | None = None):
    """Print one line for a person and leave with exit status 2."""
    line = " ".join(str(message).split())
    print(f"{program or sys.argv[0].rsplit('/', 1)[-1]}: error: {line}", file=sys.stderr)
    raise SystemExit(2)


def parser(options: tuple[Option, ...], description: str) -> Parser:
    """The command line of these options. Absent ones are left out of the namespace, so that
    a given option can be told from a default; `complete` adds the defaults."""
    return add_options(Parser(description=description, allow_abbrev=False), options)


def add_options(result: Parser, options: tuple[Option, ...]) -> Parser:
    for option in options:
        shown = (
            " ".join(map(str, option.default))
            if isinstance(option.default, list)
            else option.default
        )
        default = "" if shown is None or shown is False else f" (default: {shown})"
        kind = (
            {"action": "store_true"}
            if option.is_flag
            else {"type": option.type, "nargs": option.nargs}
        )
        meaning = option.meaning
        if option.open:
            meaning += ": " + ", ".join(option.choices)
        elif option.choices:
            kind["choices"] = option.choices
        result.add_argument(
            f"--{option.name}", default=argparse.SUPPRESS, help=meaning + default, **kind
        )
    return result


def complete(options: tuple[Option, ...], given: dict) -> dict:
    """Defaults for what was not given; ValueError where a value is outside its range."""
    for option in options:
        value = given.get(option.name)
        if value is not None and option.check and not option.check[0](value):
            raise ValueError(f"--{option.name} {value}: must be {option.check[1]}")
    return {option.name: option.default for option in options} | given


def resumed(options: tuple[Option, ...], given: dict, known: dict) -> dict:
    """The arguments of a run that is resumed: those `known` of it, with what may be changed."""
    known = {option.name: option.default for option in options} | known
    for option in options:
        name = option.name
        if not _possible(option, known[name]) or (name == "seed" and known[name] is None):
            raise ValueError(f"the run's config.json has no valid {name}: {known[name]!r}")
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
    return known | given


def _possible(option: Option, value) -> bool:
    """Whether a value that was read from a file could have been given."""
    if value is None:
        return option.default is None
    if option.nargs and not isinstance(value, list):
        return False
    kinds = (int, float) if option.type is float else (option.type,)
    values = value if option.nargs else [value]
    return (
        all(type(one) in kinds for one in values)
        and (not option.choices or option.open or all(one in option.choices for one in values))
        and (not option.check or option.check[0](value))
    )
