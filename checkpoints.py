"""The run folder: everything that is written to or read from `<folder>/<run id>/`.

    config.json                  arguments, command line, versions, git commit; written once
    state.npz                    the last complete generation: the one file a resume needs
    fitness.csv                  a row per generation        } rewritten from state.npz
    Fitness_values_ID_ENV.npy    mean fitness per generation } when a run is resumed
    HEBcoeffs__ENV__rew_N__RULE__init_INIT__pop_P__BLOCK__GEN.dat      (generations from 0)

BLOCK is `coeffs`, and `CNN_parameters` or `coevolved_initial_weights` beside it, as in the
reference; a static network's evolved weights are `weights__ENV__...__weights__GEN.dat`.
A generation is complete once state.npz is renamed into place. Whatever else a killed run left
behind is put right by opening the folder for writing.
"""

import errno
import fcntl
import io
import json
import math
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from dat_files import load_dat, save_dat
from safe_files import (
    MAX_TEXT,
    FileError,
    csv_text,
    decode_csv,
    npz_bytes,
    read_json,
    read_npz,
    read_with,
    temporary_name,
    write_file,
)

__all__ = ["FileError", "RunFolder", "best_generation", "load_agent", "load_dat", "save_dat"]

FORMAT = 1  # of config.json and state.npz; raise it when an older program cannot read them
DAT_NAME = re.compile(r"__([A-Za-z_]+?)__(\d+)\.dat$")
NEEDED = ("environment", "hebb_rule", "init_weights", "popsize", "print_every")


class RunFolder:
    """A run on disk: `create` a new one or `open` an existing one, then `save` generations.

    `path`; `config`: the object of config.json; `state`: the dictionary that the last `save` was
    given, None before the first; `rows`: the rows of fitness.csv.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config: dict = {}
        self.state: dict | None = None
        self.rows: list[dict] = []
        self._lock = None

    # ---- open and close ----------------------------------------------------------------------

    @classmethod
    def create(cls, folder: str | Path, arguments: dict) -> "RunFolder":
        """Make `<folder>/<run id>/` with its config.json, locked for writing.

        The run id is the time in seconds, as in the reference, or the next number that is free.
        """
        run_id = int(time.time())
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            while True:
                path = Path(folder) / str(run_id)
                try:
                    path.mkdir()
                    break
                except FileExistsError:
                    run_id += 1
        except OSError as error:
            raise FileError(f"cannot make a run folder in {folder}: {error.strerror}") from None
        run = cls(path)
        run._acquire()
        run.config = {"format": FORMAT, "arguments": arguments} | _provenance(path.name)
        run._write_config()
        return run

    @classmethod
    def open(cls, path: str | Path, write: bool = False) -> "RunFolder":
        """Read a run folder; with `write`, lock it and undo what a killed run left half done.

        Raises FileError, one line, when it is missing, foreign, damaged, from another version,
        or when another live process is writing it.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            raise FileError(
                f"{path} is not a folder" if run.path.exists() else f"{path} does not exist"
            )
        if not (run.path / "config.json").exists():
            raise FileError(f"{path} is not a run folder: it has no config.json")
        if write:
            run._acquire()
        try:
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

    # ---- what a run does -----------------------------------------------------------------------

    @property
    def arguments(self) -> dict:
        return self.config["arguments"]

    def change_arguments(self, **changes) -> None:
        """Note in config.json what a resume was allowed to change, `generations` for one."""
        self.config["arguments"] |= changes
        self._write_config()

    def save(self, generation: int, state: dict, row: dict, blocks: dict) -> None:
        """Commit a generation, all of it or nothing.

        generation: from 0. state: name -> array or number, whatever continuing needs. row: of
        fitness.csv, with `mean`. blocks: label -> float32 array, the `.dat` files. Kept are
        those of every `print_every`-th generation, the best (highest `mean`) and the last.
        """
        for label, array in blocks.items():
            save_dat(self.path / self._dat_name(label, generation, row["mean"], blocks), array)
        rows = [*self.rows, {"generation": generation} | row]
        text = np.frombuffer(csv_text(rows).encode(), np.uint8)
        committed = npz_bytes(state | {"format": FORMAT, "fitness_csv": text})
        write_file(self.path / "state.npz", committed)  # from here on this generation counts
        self.state, self.rows = state, rows
        self._write_derived()
        self._drop_superseded()

    # ---- files -------------------------------------------------------------------------------

    def dat_files(self) -> list[tuple[int, str, Path]]:
        """(generation, block label, path) of every `.dat` of this folder, sorted."""
        names = ((DAT_NAME.search(path.name), path) for path in self.path.iterdir())
        return sorted((int(name[2]), name[1], path) for name, path in names if name)

    def _dat_name(self, label: str, generation: int, mean: float, blocks: dict) -> str:
        a = self.arguments
        head = "HEBcoeffs" if "coeffs" in blocks else "weights"
        reward = int(mean) if math.isfinite(mean) else mean
        run = f"rew_{reward}__{a['hebb_rule']}__init_{a['init_weights']}__pop_{a['popsize']}"
        return f"{head}__{_environment_name(a)}__{run}__{label}__{generation}.dat"

    def _write_config(self) -> None:
        write_file(self.path / "config.json", json.dumps(self.config, indent=1).encode())

    def _write_derived(self) -> None:
        """fitness.csv and the reference's history; lost in a power cut, they are made again."""
        write_file(self.path / "fitness.csv", csv_text(self.rows).encode(), sync=False)
        history = io.BytesIO()
        np.save(history, np.array([row["mean"] for row in self.rows], dtype=float))
        name = f"Fitness_values_{self.config['run_id']}_{_environment_name(self.arguments)}.npy"
        write_file(self.path / name, history.getvalue(), sync=False)

    def _drop_superseded(self) -> None:
        """Delete the `.dat` of generations that are not kept, uncommitted ones included."""
        last, every = self.rows[-1]["generation"], self.arguments["print_every"]
        kept = {best_generation(self.rows), last} | set(range(every - 1, last + 1, every))
        for generation, _, path in self.dat_files():
            if generation not in kept:
                path.unlink(missing_ok=True)

    def _acquire(self) -> None:
        """Lock `.lock`, or raise FileError that names the process which holds it.

        A POSIX record lock belongs to the process alone: the kernel frees it when the master
        dies, even from SIGKILL and even while forked workers live on, which an flock would not.
        """
        try:
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise FileError(f"cannot write in {self.path}: {error.strerror}") from None
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.write(lock, f"process {os.getpid()} on {socket.gethostname()}".encode())
        except OSError as error:
            holder = os.read(lock, 200).decode(errors="replace") or "another process"
            os.close(lock)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise FileError(f"{self.path} is being written by {holder}") from None
            raise FileError(f"cannot lock {self.path}: {error.strerror}") from None
        self._lock = lock

    def _read(self) -> None:
        """Fill config, state and rows from the files."""
        self.config = read_json(self.path / "config.json")
        _check_format(self.path / "config.json", self.config.get("format"))
        for name in NEEDED:
            if name not in (self.config.get("arguments") or ()):
                raise FileError(f"{self.path}/config.json lacks the argument {name}")
        if (self.path / "state.npz").exists():
            state = read_npz(self.path / "state.npz")
            _check_format(self.path / "state.npz", state.pop("format", None))
            text = io.BytesIO(state.pop("fitness_csv", np.empty(0, np.uint8)))
            self.rows = _check_rows(decode_csv(text), self.path / "state.npz")
            self.state = {key: v if v.ndim else v.item() for key, v in state.items()}
        elif (self.path / "fitness.csv").exists():
            rows = read_with(decode_csv, self.path / "fitness.csv", ".csv file", MAX_TEXT)
            self.rows = _check_rows(rows, self.path / "fitness.csv")

    def _repair(self) -> None:
        """Bring every file to the committed generation."""
        for path in self.path.glob(temporary_name("*")):
            path.unlink(missing_ok=True)
        if self.state is not None:
            self._write_derived()
            self._drop_superseded()
        elif self.rows:
            raise FileError(f"{self.path} cannot be continued: it has no state.npz")


def load_agent(path: str | Path, which: str | int = "best") -> dict[str, Path]:
    """The `.dat` files of one generation of a run folder: block label -> path.

    which: `best` (highest mean fitness), `last`, or the number of a generation that was kept.
    Works without state.npz, so that an agent can be shipped as .dat, config.json, fitness.csv.
    """
    run = RunFolder.open(path)
    known = {row["generation"] for row in run.rows}
    files: dict[int, dict[str, Path]] = {}
    for generation, label, file in run.dat_files():
        if generation in known or not known:
            files.setdefault(generation, {})[label] = file
    if not files:
        raise FileError(f"{path} holds no .dat of a complete generation yet")
    if which == "last":
        return files[max(files)]
    if which == "best":
        rows = [row for row in run.rows if row["generation"] in files]
        return files[best_generation(rows) if rows else max(files)]
    if str(which).isdecimal() and int(which) in files:
        return files[int(which)]
    kept = ", ".join(map(str, files)) if len(files) < 20 else f"{min(files)} to {max(files)}"
    raise FileError(f"generation {which} is not in {path}; allowed: best, last, {kept}")


def best_generation(rows: list[dict]) -> int:
    """The first generation with the highest mean fitness; NaN ranks below everything."""
    best = max(rows, key=lambda row: row["mean"] if row["mean"] == row["mean"] else -math.inf)
    return best["generation"]


def _environment_name(arguments: dict) -> str:
    """The environment's id (or ids, joined by `+`) as part of a file name."""
    given = arguments["environment"]
    name = given if isinstance(given, str) else "+".join(given)
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", name)[:140]  # a file name may have 255 bytes


def _check_format(path: Path, given: object) -> None:
    if given != FORMAT:
        age = "a newer" if isinstance(given, int) and given > FORMAT else "another"
        raise FileError(f"{path} is from {age} version: format {given}, and this reads {FORMAT}")


def _check_rows(rows: list[dict], path: Path) -> list[dict]:
    for row in rows:
        if type(row.get("generation")) is not int or type(row.get("mean")) not in (int, float):
            raise FileError(f"{path} is damaged: a row of its fitness has no generation or mean")
    return rows


def _provenance(run_id: str) -> dict:
    """What else it takes to repeat a run: the command, and the versions of everything."""
    installed = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return {
        "run_id": run_id,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git_commit": _git_commit(),
        "packages": dict(sorted(installed.items())),
    }


def _git_commit() -> str | None:
    """The commit of this code, marked `-dirty` when changed; None outside a git checkout."""
    here = Path(__file__).resolve().parent
    if not (here / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
