"""Evolution in several worlds: `train_hebb.py --conditions`, and how worlds count."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SHORT, command, run_folder

from analysis.adaptation import Case, Kind, run_case
from commands.agents import agents_for
from commands.observer import Observer
from commands.training_options import Training
from environments.conditions import chosen
from run_folder.checkpoints import RunFolder
from run_folder.formats import IN_WORLD
from workers.rollouts import Broadcast, Result, evaluate


def test_an_individual_is_worth_what_it_earns_in_all_worlds_each_as_it_is_evaluated():
    names = ["weak_actions=0.2", "noise"]
    task = {"environment": ["Pendulum-v1"], "conditions": names, "seed": 1, "max_steps": 40}
    config = Training(**task)
    agents = agents_for(config)
    theta = agents[0].first_theta(1, "normal")

    class Individual:
        candidate = staticmethod(lambda theta, noise: theta)
        lifetime_seed = staticmethod(lambda episode: 7)
        held_out = False

    of_all = evaluate(agents, np.min, 1, Broadcast(theta), Individual)
    rows = chosen(names, agents[0].interface)
    kinds = {"plastic": Kind(agents[0], theta)}
    cases = [Case("plastic", change, 0, 7) for change in (-1, 0, 1)]
    rewards = [run_case(kinds, rows, None, case).rewards for case in cases]
    assert of_all.fitness == min(map(sum, rewards)) and of_all.steps == 120
    assert len(set(map(sum, rewards))) == 3


def test_a_run_in_changed_worlds_goes_on_and_is_evaluated_in_unchanged_ones(tmp_path):
    line = [*SHORT, "--conditions", "noise=0.1", "delayed_actions,dead_sensors"]
    runs = []
    for generations in (3, 1):
        folder = tmp_path / str(generations)
        result = command("train_hebb.py", *line, "--folder", folder, "--generations", generations)
        assert result.returncode == 0, result.stderr
        runs.append(run_folder(folder))
    result = command("train_hebb.py", "--resume", runs[1], "--generations", 3)
    assert result.returncode == 0, result.stderr
    last = [next(run.glob("*coeffs__3.dat")).read_bytes() for run in runs]
    assert last[0] == last[1]
    shown = command("evaluate_hebb.py", "--run", runs[0], "--episodes", 2, "--seed", 0)
    assert shown.returncode == 0, shown.stderr


def test_each_world_has_its_column_and_the_same_weight_whatever_it_pays(tmp_path):
    runs = {}
    for factor, aggregate in itertools.product((1, 0.1), ("mean", "ranks")):
        folder = tmp_path / f"{aggregate} {factor}"
        line = [*SHORT, "--generations", 2, "--folder", folder, "--aggregate", aggregate]
        line += ["--conditions", f"misbehaving:pays={factor}", "dead_sensors"]
        result = command("train_hebb.py", *line)
        assert result.returncode == 0, result.stderr
        runs[aggregate, factor] = RunFolder.open(run_folder(folder))
    theta = {key: next(run.path.glob("*coeffs__2.dat")) for key, run in runs.items()}
    assert theta["ranks", 1].read_bytes() == theta["ranks", 0.1].read_bytes()
    assert theta["mean", 1].read_bytes() != theta["mean", 0.1].read_bytes()
    for (_, factor), run in runs.items():
        names = ["", f" with pays={factor}", " with dead_sensors=0.2"]
        for row in run.rows:
            means = [row[f"mean in CartPole-v1{name}"] for name in names]
            assert np.mean(means) == pytest.approx(row["mean"])
    one, tenth = (runs["ranks", factor].rows[0] for factor in (1, 0.1))
    assert tenth["mean in CartPole-v1 with pays=0.1"] == pytest.approx(
        0.1 * one["mean in CartPole-v1 with pays=1"]
    )


def test_a_run_that_was_begun_without_these_columns_goes_on_without_them(tmp_path):
    agents = agents_for(Training(environment=["CartPole-v1"], conditions=["noise"], seed=1))
    results = [Result(2.0, 0.0, 2, None, 0.0, worlds=(1.0, 3.0)), Result(-np.inf, 0.0, 0, "", 0.0)]
    for rows, columns in (([], 2), ([{"mean": 1.0}], 0), ([{"mean in CartPole-v1": 1.0}], 1)):
        folder = SimpleNamespace(rows=rows, path=tmp_path)
        observer = Observer(Training(quiet=True), folder, agents, None, None, None)
        found = observer.means_by_world(IN_WORLD, agents, results)
        assert list(found.values()) == [1.0, 3.0][:columns]


@pytest.mark.parametrize("name, words", [("fog", ["fog", "noise"]), ("dark", ["dark", "images"])])
def test_a_wrong_world_to_evolve_in_is_one_line_and_status_two(name, words, refused, tmp_path):
    line = [*SHORT, "--folder", tmp_path, "--conditions", name]
    refused(command("train_hebb.py", *line), *words)
    assert not list(tmp_path.iterdir())
