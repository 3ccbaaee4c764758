"""The cache of compiled functions: whatever is compiled in, an edit of it counts."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

SQUASH = """
from machine.compiled import compiled
from numba import types
from numba.extending import intrinsic
SLOPE = {slope}

@intrinsic
def gain(_):
    return types.float64(), lambda context, *_: context.get_constant(types.float64, {gain})

@compiled
def squash(x):
    return {body}
"""
NETWORK = """
from machine.compiled import compiled
from squashing import SLOPE, squash

@compiled
def forward(x):
    return SLOPE * squash(x)

if __name__ == "__main__":
    print(forward(-2.0), len(forward.stats.cache_hits))
"""


def run(folder: Path) -> tuple[float, int]:
    """The network's output, and how many signatures came from the cache."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    line = [sys.executable, folder / "network.py"]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 0, done.stderr
    output, hits = done.stdout.split()
    return float(output), int(hits)


def test_an_edit_of_what_is_compiled_in_counts_in_whichever_file(tmp_path):
    before = {"slope": "1.0", "body": "x * gain()", "gain": "1.0"}
    edits = {  # of another function, of another constant, of another intrinsic -> the output
        -2.0: before,
        0.0: {"body": "max(x, 0.0)"},
        -6.0: {"slope": "3.0"},
        -10.0: {"gain": "5.0"},
    }
    (tmp_path / "network.py").write_text(NETWORK)
    for output, edit in edits.items():
        (tmp_path / "squashing.py").write_text(SQUASH.format(**before | edit))
        assert run(tmp_path) == (output, 0), edit
        assert run(tmp_path) == (output, 1), edit  # from the cache
    (tmp_path / "squashing.py").write_text(SQUASH.format(**before))
    assert run(tmp_path) == (-2.0, 1)  # and back
