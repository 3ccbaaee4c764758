"""The published numbers are those of the published agents."""

import json

import numpy as np
import pytest
from conftest import ROOT, command

from analysis import results

FOLDERS = sorted(path.parent for path in results.TRAINED.glob("*/results.json"))


def test_results_md_and_the_readme_s_table_are_written_from_the_trained_agents():
    full, short = results.markdown()
    again = "run: python -m analysis.results"
    assert (ROOT / "RESULTS.md").read_text() == full, again
    readme = (ROOT / "README.md").read_text()
    assert results.with_results(readme, short) == readme, again


def test_the_interval_is_the_bootstrap_s():
    scores = np.random.default_rng(1).normal(5, 2, 400)
    low, high = results.interval(scores)
    half = 1.96 * scores.std() / np.sqrt(scores.size)  # the normal distribution's
    assert abs(low - (scores.mean() - half)) < 0.02 and abs(high - (scores.mean() + half)) < 0.02


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_trained_agent_is_small_and_says_where_it_comes_from(folder):
    for path in folder.rglob("*"):
        assert path.stat().st_size <= 5_000_000, path
    assert not list(folder.glob("**/*.tmp")) and (folder / "fitness.csv").exists()
    config = (folder / "config.json").read_text()
    assert json.loads(config)["git_commit"] and "/opt/" not in config and "/tmp/" not in config


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_few_episodes_of_the_table_are_repeated(folder, tmp_path):
    """The same to the last bit but for Bullet's rewards, which another processor's BLAS rounds."""
    published = json.loads((folder / "results.json").read_text())["episodes"]
    names = list(dict.fromkeys(episode["environment"] for episode in published))
    seed = published[0]["seed"]
    line = ["--run", folder, "--environment", *names, "--seed", seed, "--episodes", 3]
    result = command("evaluate_hebb.py", *line, "--json", tmp_path / "again.json", timeout=900)
    assert result.returncode == 0, result.stderr
    for episode in json.loads((tmp_path / "again.json").read_text())["episodes"]:
        same = [one for one in published if one["seed"] == episode["seed"]]
        (same,) = [one for one in same if one["environment"] == episode["environment"]]
        rounding = 1e-12 if "Bullet" in episode["environment"] else 0
        expected = pytest.approx(same.pop("fitness"), rel=rounding, abs=0)
        assert episode.pop("fitness") == expected and episode == same
