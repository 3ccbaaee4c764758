"""The published numbers are those of the published agents."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from conftest import ROOT, command

from analysis import results, survival
from commands.training_options import Training
from run_folder.checkpoints import RunFolder

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


def test_a_plastic_agent_is_compared_with_the_static_one_of_the_worlds_it_has_seen(tmp_path):
    def run(worlds, before=None, **arguments):
        whole = asdict(Training(environment=worlds, **arguments))
        with RunFolder.create(tmp_path, whole, before) as made:
            (made.path / "results.json").touch()
        return made

    static = run(["one", "other"], hebb_rule="static")
    curriculum = run(["other"], run(["one"]))
    changed = run(["one", "other"], conditions=["noise"])
    of = {plastic.path: against for plastic, against in survival.pairs(tmp_path)}
    assert of[curriculum.path].path == static.path and of[changed.path] is None
    words = survival.command(curriculum, static)
    assert words[-4:] == ["--environment", "one", "--against", f"trained/{static.path.name}"]
    assert "--environment" not in survival.command(static, static)
