"""The Ray cluster of a run: reach it, or start one, and give its nodes the program."""

import importlib.util
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

from machine.quiet import quiet

SHIPPED = ("*.py", "*.xml")  # what the nodes get of the program, and of a user's own modules
BODIES = "damaged_bullet_morphologies"
COMPILED = shutil.ignore_patterns("__pycache__")
OBJECT_STORE = 200 * 2**20  # bytes, of a Ray that is started for one run: θ takes a few MB
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}


def connect(address: str | None, cores: int, modules: Sequence[str]) -> None:
    """Reach the cluster at an address, or start a Ray of this machine's own with so many cores;
    ValueError, one line, when that cannot be. The nodes get the program, and these modules."""
    if importlib.util.find_spec("ray") is None:
        raise ValueError("--engine ray needs Ray: pip install -r requirements-ray.txt")
    options = {"address": address}
    if address is None:
        options = {"address": "local", "num_cpus": cores, "include_dashboard": False}
        options["object_store_memory"] = OBJECT_STORE
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # listen on 127.0.0.1 only
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        if os.environ["RAY_AUTH_MODE"] == "token":
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    elif address != "auto":
        _knock(address)
    import ray

    with tempfile.TemporaryDirectory() as folder, quiet():
        ship(Path(folder), modules)
        try:
            ray.init(
                **options,
                runtime_env={"working_dir": folder, "env_vars": ONE_THREAD},
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            reason = str(error).strip().partition("\n")[0]
            where = f"--ray_address {address}" if address else "Ray on this machine"
            hint = "; needs RAY_AUTH_MODE and token of the cluster" if address else ""
            raise ValueError(f"{where}: {reason}{hint}") from None


def _knock(address: str) -> None:
    """ValueError when nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--ray_address {address}: must be auto or HOST:PORT, as `ray start` says")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"--ray_address {address}: nobody answers ({error})") from None


def ship(folder: Path, modules: Sequence[str]) -> None:
    """Copy what a node needs to evaluate a lifetime: this program, and beside each module of these
    names what lies in its directory. An installed package must be installed at the nodes."""
    program = Path(__file__).resolve().parents[1]
    sources = [program]
    for name in modules:
        spec = importlib.util.find_spec(name.partition(".")[0])
        if spec and spec.origin and "site-packages" not in spec.origin:
            path = Path(spec.origin)
            if path.name == "__init__.py":
                shutil.copytree(path.parent, folder / path.parent.name, dirs_exist_ok=True)
            sources.append(path.parent)
    for source in reversed(sources):  # a file of the program replaces a user's of its name
        for pattern in SHIPPED:
            for path in source.glob(pattern):
                shutil.copy(path, folder)
    rooms = [room.parent.name for room in program.glob("*/__init__.py")]
    for name in (BODIES, *rooms):
        shutil.copytree(program / name, folder / name, ignore=COMPILED, dirs_exist_ok=True)
