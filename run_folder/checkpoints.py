"""The run folder: everything that is written to or read from `<folder>/<run id>/`.

    config.json                  arguments, command line, versions, git commit, worlds seen before
    state.npz                    the last complete generation: what a resume needs
    fitness.csv                  a row per generation        } made anew from state.npz
    Fitness_values_ID_ENV.npy    mean fitness per generation } when a run is resumed
    HEBcoeffs__ENV__rew_N__RULE__init_INIT__pop_P__BLOCK__GEN.dat     (see dat_files.py)

A generation is complete once its state.npz is renamed into place; opening the folder for writing
puts right whatever else a killed run left behind.
"""

import io
import json
import math
import os
import re
import time
from collections.abc import Collection
from pathlib import Path

import numpy as np

from machine.provenance import provenance
from run_folder.dat_files import (
    dat_name,
    environment_name,
    load_dat,
    parse_dat_name,
    safe_name,
    save_dat,
)
from run_folder.formats import (
    FORMAT,
    MAX_CONFIG,
    MAX_TABLE,
    decode_config,
    decode_rows,
    decode_state,
)
from run_folder.safe_files import (
    FileError,
    csv_text,
    lock_file,
    npz_bytes,
    read_with,
    temporary_name,
    write_file,
)

__all__ = [
    "FileError",
    "RunFolder",
    "best_generation",
    "load_agent",
    "load_dat",
    "save_dat",
]


class RunFolder:
    """A run on disk: `create` a new one or `open` an existing one, then `save` its generations.

    path: where it is. config: the object in config.json. rows: those of fitness.csv. state: what
    the last `save` of an opened run was given, None when it was stopped before its first.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config: dict = {}
        self.rows: list[dict] = []
        self.state: dict | None = None
        self._table = b""  # the text of fitness.csv
        self._outdated: list[int] = []  # whose .dat the last save deletes
        self._lock: int | None = None

    @classmethod
    def create(
        cls, folder: str | Path, arguments: dict, before: "RunFolder | None" = None
    ) -> "RunFolder":
        """Make `<folder>/<run id>/` with its config.json, locked for writing.

        The run id is the time in seconds, as in the reference, or the next number that is free.
        before: the run from whose agent this one starts.
        """
        run_id = int(time.time())
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            while True:
                try:
                    (Path(folder) / str(run_id)).mkdir()
                    break
                except FileExistsError:
                    run_id += 1
        except OSError as error:
            reason = f"cannot make a run folder in {folder}: {error.strerror}"
            raise FileError(reason) from None
        run = cls(Path(folder) / str(run_id))
        run._lock = lock_file(run.path / ".lock")
        run.config = {"format": FORMAT, "run_id": str(run_id), "arguments": arguments}
        if before:
            run.config["seen_before"] = sorted(before.seen)
        run.config |= provenance()
        run._write_config()
        return run

    @classmethod
    def open(cls, path: str | Path, write: bool = False) -> "RunFolder":
        """Read a run folder; with `write`, lock it and undo what a killed run left half done.

        Raises FileError, one line, when it is missing, foreign, damaged, of another version, or
        (with `write`) being written by another live process.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            state = "is not a folder" if run.path.exists() else "does not exist"
            raise FileError(f"{path} {state}")
        if not (run.path / "config.json").exists():
            raise FileError(f"{path} is not a run folder: it has no config.json")
        try:
            if write:
                run._lock = lock_file(run.path / ".lock")
            run._read()
            if write:
                run._repair()
        except BaseException:
            run.close()
            raise
        return run

    def close(self) -> None:
        """Let another process write the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def arguments(self) -> dict:
        """Those of train_hebb.py by name, as config.json has them."""
        return self.config["arguments"]

    @property
    def seen(self) -> set[str]:
        """The ids of the environments that evolution has seen, here and in the runs before."""
        from environments.conditions import seen_in  # and gymnasium, which few need

        return seen_in(self.arguments) | set(self.config.get("seen_before", ()))

    def change_arguments(self, **changes) -> None:
        """Note in config.json what a resume may change, `generations` for one."""
        self.config["arguments"] |= changes
        self._write_config()

    def save(self, generation: int, state: dict, row: dict, blocks: dict) -> None:
        """Commit a generation, all of it or nothing. FileError when the disk refuses.

        generation: from 1. state: name -> array or number, whatever continuing needs. row: of
        fitness.csv, with `mean`. blocks: label -> float32 array, saved as `.dat`; those of every
        `print_every`-th generation, of the best (highest `mean`) and of the last are kept.
        """
        row = {"generation": generation} | row
        for label, array in blocks.items():
            name = dat_name(self.arguments, row["mean"], label, generation)
            save_dat(self.path / name, array)
        table = self._table + csv_text(row, header=not self._table).encode()
        kept = self._worth_keeping([*self.rows, row])
        outdated = sorted({one for one, _, _ in self.dat_files()} - kept)
        extra = {"format": FORMAT, "fitness_csv": np.frombuffer(table, np.uint8)}
        extra["outdated"] = np.array(outdated, dtype=np.int64)
        write_file(self.path / "state.npz", npz_bytes(state | extra))  # now the generation counts
        self.rows.append(row)
        self._table = table
        self._write_derived()
        self._delete_dat(outdated)

    def save_failure(self, name: str, generation: int, blocks: dict) -> Path:
        """Keep an individual whose lifetime failed as a run folder of its own, to be replayed."""
        kept = RunFolder(self.path / "failures" / name)
        kept.config = self.config
        try:
            kept.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make {kept.path}: {error.strerror}") from None
        kept._write_config()
        for label, array in blocks.items():
            save_dat(kept.path / dat_name(self.arguments, -math.inf, label, generation), array)
        return kept.path

    def dat_files(self) -> list[tuple[int, str, Path]]:
        """(generation, block label, path) of every `.dat` in the folder, sorted."""
        parsed = ((parse_dat_name(path.name), path) for path in self.path.iterdir())
        return sorted((*found, path) for found, path in parsed if found)

    def kept(self) -> dict[int, dict[str, Path]]:
        """Complete generation -> block label -> path of its `.dat`."""
        known = {row["generation"] for row in self.rows}
        files: dict[int, dict[str, Path]] = {}
        for generation, label, file in self.dat_files():
            if generation in known or not known:
                files.setdefault(generation, {})[label] = file
        return files

    def best_of(self, generations: Collection[int]) -> int:
        """The best of them; where fitness.csv knows none, the last."""
        rows = [row for row in self.rows if row["generation"] in generations]
        return best_generation(rows) if rows else max(generations)

    def files_of(self, which: str | int) -> dict[int, dict[str, Path]]:
        """What `kept` has of an agent that is called best, last, or by its generation; of one that
        is called A-B, as it is their mean, of all from A to B. FileError if none was kept."""
        files, path = self.kept(), self.path
        if not files:
            raise FileError(f"{path} holds no .dat of a complete generation")
        named = {"last": max(files), "best": self.best_of(files)}
        numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", str(named.get(which, which)))
        first, last = numbers.groups() if numbers else (-1, -1)
        chosen = {one: files[one] for one in files if int(first) <= one <= int(last or first)}
        if not chosen:
            kept = ", ".join(map(str, files))
            kept = kept if len(files) < 20 else f"{min(files)} to {max(files)}"
            allowed = f"best, last, {kept}, A-B (their mean)"
            raise FileError(f"generation {which} is not in {path}; allowed: {allowed}")
        return chosen

    def _write_config(self) -> None:
        write_file(self.path / "config.json", json.dumps(self.config, indent=1).encode())

    def _write_derived(self) -> None:
        """fitness.csv and the reference's history, made again should a power cut take them."""
        write_file(self.path / "fitness.csv", self._table, sync=False)
        history = io.BytesIO()
        np.save(history, np.array([row["mean"] for row in self.rows], dtype=float))
        run_id = safe_name(str(self.config.get("run_id")))
        name = f"Fitness_values_{run_id}_{environment_name(self.arguments)}.npy"
        write_file(self.path / name, history.getvalue(), sync=False)

    def _worth_keeping(self, rows: list[dict]) -> set[int]:
        """The generations whose `.dat` are kept: every print_every-th, the best and the last."""
        generations = [row["generation"] for row in rows]
        regular = {one for one in generations if one % self.arguments["print_every"] == 0}
        return regular | {best_generation(rows), generations[-1]}

    def _delete_dat(self, generations: Collection[int]) -> None:
        for generation, _, path in self.dat_files():
            if generation in generations:
                path.unlink(missing_ok=True)

    def _read(self) -> None:
        """Fill config, rows and state from the files."""
        self.config = read_with(decode_config, self.path / "config.json", "config", MAX_CONFIG)
        if (self.path / "state.npz").exists():
            self.state = read_with(decode_state, self.path / "state.npz", "state")
            self._table, self.rows = self.state.pop("table"), self.state.pop("rows")
            self._outdated = np.ravel(self.state.pop("outdated", ())).tolist()
        elif (self.path / "fitness.csv").exists():
            self.rows = read_with(decode_rows, self.path / "fitness.csv", "table", MAX_TABLE)

    def _repair(self) -> None:
        """Bring every file to the committed generation: end what its `save` began to delete, and
        drop what a later one began to write. Other `.dat` stay: who shipped the folder chose them.
        """
        for path in self.path.rglob(temporary_name("*")):
            path.unlink(missing_ok=True)
        if self.state is not None:
            self._write_derived()
            complete = {row["generation"] for row in self.rows}
            begun = {one for one, _, _ in self.dat_files()} - complete
            self._delete_dat(begun.union(self._outdated))
        elif self.rows or any(generation > 1 for generation, _, _ in self.dat_files()):
            raise FileError(f"{self.path} cannot be continued: it has no state.npz")


def load_agent(path: str | Path, which: str | int = "best") -> dict[str, Path]:
    """The `.dat` files of one generation of a run folder: block label -> path.

    which: `best` (highest mean fitness), `last`, or the number of a generation that was kept; of
    A-B it is the last of them. Works without state.npz, so that an agent can be shipped as .dat,
    config.json, fitness.csv.
    """
    *_, files = RunFolder.open(path).files_of(which).values()
    return files


def best_generation(rows: list[dict]) -> int:
    """The first generation with the highest score: of θ itself where it is evaluated, else the mean
    fitness. NaN ranks below everything."""
    evaluated = any(not math.isnan(row.get("theta_mean", math.nan)) for row in rows)
    score = "theta_mean" if evaluated else "mean"
    return max(rows, key=lambda row: (not math.isnan(row[score]), row[score]))["generation"]
