"""The benchmark as a user types it: every figure of every environment, and sums that add up."""

import json
import math
import re
import statistics

import pytest
from conftest import command

from benchmarks import many_cores

PARTS = ("dense layers, ms", "action from the output, ms", "rule and normalization, ms")
PIXELS = ("resize, ms", "convolutions, ms")
SHARES = (
    *("inside lifetimes, %", "step of θ, %", "files, %"),
    "handing out, and waiting for the last, %",
)
RATIOS = {  # environment -> some of its ratios, and its stock environments
    "CarRacing-v0": ("stock step (CarRacing-v3) / environment step", "reference / lifetime step"),
    "AntBulletEnv-v0": (
        *("environment step / stock step (pybullet_envs)", "lifetime step / physics alone"),
        "stock step (its port to gymnasium), ms",
    ),
    "CartPole-v1": ("stock step (CartPole-v1) / environment step", "all workers / 1 worker"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("pybullet")
    file = tmp_path_factory.mktemp("benchmark") / "figures.json"
    line = ["--popsize", 4, "--rounds", 2, "--threads", 2, "--json", file]
    result = command("benchmark.py", *line)
    assert result.returncode == 0, result.stderr
    return result.stdout, json.loads(file.read_text())


@pytest.fixture(params=RATIOS)
def figures(run, request):
    return run[1]["figures"][request.param]


def test_every_figure_has_its_median_and_spread_of_all_rounds(figures):
    for name, figure in figures.items():
        assert len(figure["rounds"]) == 2, name
        assert figure["median"] == statistics.median(figure["rounds"]), name
        assert [figure["min"], figure["max"]] == sorted(figure["rounds"]), name
        assert math.isfinite(figure["median"]), name
        assert figure["min"] > 0 or name in SHARES, name


@pytest.mark.parametrize("environment", RATIOS)
def test_every_environment_is_compared_and_printed(run, environment):
    table, figures = run[0], run[1]["figures"][environment]
    pixels = PIXELS if environment == "CarRacing-v0" else ()
    for name in ("physics alone, ms", *RATIOS[environment], *PARTS, *pixels, *SHARES):
        assert name in figures
    part = table.split(f"\n{environment}")[1].split("\n\n")[0]
    for name, figure in figures.items():
        assert f"{name} " in part
        assert figure["limit"] in part
    assert max(map(len, table.splitlines())) <= 80


def test_a_ratio_is_of_figures_of_the_same_round(run):
    figures = run[1]["figures"]["CarRacing-v0"]
    stock, ours = figures["stock step (CarRacing-v3), ms"], figures["environment step, ms"]
    ratio = figures["stock step (CarRacing-v3) / environment step"]
    pairs = zip(stock["rounds"], ours["rounds"], strict=True)
    assert ratio["rounds"] == pytest.approx([a / b for a, b in pairs])
    assert ratio["median"] > 10  # drawing directly is worth that much under any load


def test_the_shares_of_a_generation_are_its_whole(figures):
    for shares in zip(*(figures[name]["rounds"] for name in SHARES), strict=True):
        assert sum(shares) == pytest.approx(100)
        assert 0 < shares[0] < 100


def test_the_parts_of_a_lifetime_are_no_more_than_a_few_times_the_whole(figures):
    """Loose, as a loaded machine may stop any of them; equal on a quiet one."""
    names = ("environment step, ms", *PARTS, *PIXELS)
    parts = sum(figures[name]["median"] for name in names if name in figures)
    assert 0.2 < parts / figures["lifetime step, ms"]["median"] < 5


def test_any_environment_can_be_measured(tmp_path):
    line = ["--environment", "Acrobot-v1", "--popsize", 2, "--rounds", 1, "--threads", 1]
    line.append("--full_length")
    result = command("benchmark.py", *line)
    assert result.returncode == 0, result.stderr
    assert "lifetime step, ms" in result.stdout and "stock" not in result.stdout


@pytest.mark.parametrize(
    "line", [("--popsize", 3), ("--rounds", 0), ("--environment", "Nowhere-v0")]
)
def test_wrong_values_are_refused_in_one_line(line, refused):
    refused(command("benchmark.py", *line), str(line[-1]))


def test_the_master_of_many_cores_keeps_more_workers_waiting(monkeypatch, capsys):
    """As in `python -m benchmarks.many_cores`, with few workers and short lifetimes."""
    small = {"TASKS": ("CartPole-v1",), "WORKERS": (2, 30), "PAIRS": 3, "SECONDS": (0.001, 0.004)}
    for name, value in small.items():
        monkeypatch.setattr(many_cores, name, value)
    monkeypatch.setattr("sys.argv", ["many_cores"])
    many_cores.main()
    printed = capsys.readouterr().out
    assert "CartPole-v1: n = 44160, a lifetime" in printed
    found = re.findall(r"(\d+) workers: they wait ([\d.]+)%.* lifetimes (\d+) µs", printed)
    (few, waits, cost), (many, more, beside) = [map(float, numbers) for numbers in found]
    assert (few, many) == (2, 30) and 0 < waits < more < 100
    assert 0 < cost < 1e5 and 0 < beside < 1e5  # of real messages through real pipes
    assert re.search(r"below 3% up to \d+ workers", printed)
