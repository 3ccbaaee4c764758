"""What it takes to repeat a run, besides its arguments: command, versions, commit, machine."""

import os
import platform
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path


def provenance() -> dict:
    """Of this process, for config.json. `packages` is every installed distribution."""
    found = (one.metadata for one in metadata.distributions())  # a property that parses a file
    installed = {one["Name"]: one["Version"] for one in found}
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join(sys.argv),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": available_cores(),
        "git_commit": git_commit(),
        "packages": dict(sorted(installed.items())),
    }


def worker_count(threads: int) -> int:
    """What --threads asks for: -1 is every core that this process may use."""
    return available_cores() if threads == -1 else threads


def available_cores() -> int:
    """The cores this process may use: its affinity, within its control group's share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores


def git_commit() -> str | None:
    """The commit of this code, with `-dirty` when it was changed; None outside a checkout."""
    here = Path(__file__).resolve().parents[1]
    if not (here / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # no git, or a file system that hangs
        return None
    return done.stdout.strip() or None
