"""What a generation costs the master at CarRacing's size: ask, tell, files."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT

GENERATIONS = """
import json, sys, time
import numpy as np
from run_folder.checkpoints import RunFolder
from evolution_strategy_hebb import EvolutionStrategyHebb
from commands.training_options import Training

n, split = 458_002, 456_640  # coefficients of 91,328 synapses, and 1,362 conv weights
rng = np.random.default_rng(0)
strategy = EvolutionStrategyHebb(rng.standard_normal(n, dtype=np.float32), seed=1, popsize=200)
seconds = []
with RunFolder.create(sys.argv[1], vars(Training())) as folder:
    for generation in range(1, 6):
        began = time.perf_counter()
        fitness = rng.random(len(strategy.ask()))
        row = {"mean": 1.0, "std": 0.0} | strategy.tell(fitness, np.ones(200))
        coefficients, conv = np.split(strategy.theta, [split])
        blocks = {"coeffs": coefficients.reshape(-1, 5), "CNN_parameters": conv}
        folder.save(generation, strategy.state(), row, blocks)
        seconds.append(time.perf_counter() - began)
# of this program alone: getrusage would begin with what the process that started it had
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line) / 1024
print(json.dumps({"seconds": sorted(seconds)[2], "megabytes": peak}))
"""


@pytest.fixture(scope="module")
def cost(tmp_path_factory):
    line = [sys.executable, "-c", GENERATIONS, str(tmp_path_factory.mktemp("cost"))]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_master_takes_at_most_300_megabytes(cost):
    assert cost["megabytes"] <= 300, cost


@pytest.mark.slow  # a time: not for a machine that does something else beside
def test_the_master_takes_at_most_a_second_and_a_half(cost):
    assert cost["seconds"] <= 1.5, cost
