"""What it takes to repeat a run, besides its arguments: command, versions, commit."""

import platform
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path


def provenance() -> dict:
    """Of this process, for config.json. `packages` is every installed distribution."""
    installed = {found.metadata["Name"]: found.version for found in metadata.distributions()}
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join(sys.argv),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "git_commit": git_commit(),
        "packages": dict(sorted(installed.items())),
    }


def git_commit() -> str | None:
    """The commit of this code, with `-dirty` when it was changed; None outside a checkout."""
    here = Path(__file__).resolve().parent
    if not (here / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # no git, or a file system that hangs
        return None
    return done.stdout.strip() or None
