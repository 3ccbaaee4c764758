"""What config.json, state.npz and fitness.csv hold, as it is read: complete and of this version, or
refused in one line."""

import io
import json

from run_folder.safe_files import FileError, decode_csv, decode_npz

FORMAT = 1  # of config.json and state.npz; raise it when an older program cannot read them
MAX_CONFIG = 1 << 20  # bytes of config.json; a plain one has 4,000
MAX_TABLE = 1 << 24  # bytes of fitness.csv: 100,000 generations
# what the names of columns of fitness.csv begin with, one for each world
IN_WORLD, THETA_IN = "mean in ", "theta in "
NEEDED = {  # the arguments that name and keep the .dat files, and their types
    "environment": (str, list),
    "hebb_rule": str,
    "init_weights": str,
    "popsize": int,
    "print_every": int,
}


def _check_format(given: object) -> None:
    if given != FORMAT:
        age = "a newer" if isinstance(given, int) and given > FORMAT else "another"
        raise FileError(f"is of {age} version: format {given}, and this program reads {FORMAT}")


def decode_config(file) -> dict:
    """The object in config.json, with what names and keeps the .dat files."""
    config = json.load(file)
    if not isinstance(config, dict) or not isinstance(config.get("arguments"), dict):
        raise FileError("is not the config.json of a run: it has no arguments")
    _check_format(config.get("format"))
    for name, kind in NEEDED.items():
        if not isinstance(config["arguments"].get(name), kind):
            raise FileError(f"has no valid argument {name}")
    names = config["arguments"]["environment"]
    if not names or not all(isinstance(name, str) for name in names):
        raise FileError("has no valid argument environment")
    before = config.get("seen_before", [])
    if not isinstance(before, list) or not all(isinstance(name, str) for name in before):
        raise FileError("has no valid list seen_before")
    if config["arguments"]["print_every"] < 1:
        raise FileError("has a print_every below 1")
    return config


def decode_state(file) -> dict:
    """The caller's state, with the text of fitness.csv as `table` and read as `rows`."""
    arrays = decode_npz(file)
    _check_format(arrays.pop("format").item())
    table = arrays.pop("fitness_csv").tobytes()
    rows = decode_rows(io.BytesIO(table))
    if not rows:
        raise FileError("holds no generation")
    state = {name: value if value.ndim else value.item() for name, value in arrays.items()}
    return state | {"table": table, "rows": rows}


def decode_rows(file) -> list[dict]:
    """The rows of fitness.csv."""
    rows = decode_csv(file)
    for row in rows:
        if type(row.get("generation")) is not int:
            raise FileError("is damaged: a generation is not a whole number")
        if "centre" in row:  # what this column was called once
            row["theta_mean"] = row.pop("centre")
        row["mean"] = float(row["mean"])
        if "theta_mean" in row:
            row["theta_mean"] = float(row["theta_mean"])
    return rows
