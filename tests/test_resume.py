"""A run that was stopped and continued is the run that was never stopped, bit for bit."""

import json
import shutil
import time

import numpy as np
import pytest
from conftest import SHORT, command, outcome, run_folder

from commands import parsing
from commands.agents import agents_of_run
from commands.options import Option, options_of
from commands.training_options import Training
from run_folder import checkpoints

OPTIONS = options_of(Training)


def train(folder, *arguments, **options):
    """Train to the end in a folder; the run."""
    result = command("train_hebb.py", *arguments, "--folder", folder, **options)
    assert result.returncode == 0, result.stderr
    return run_folder(folder)


def resume(run, *arguments):
    result = command("train_hebb.py", "--resume", run, *arguments)
    assert result.returncode == 0, result.stderr
    return run


PIXELS = ["--environment", "misbehaving:Picture-v0", "--popsize", 4, "--seed", 5, "--max_steps", 3]


@pytest.mark.parametrize(
    "arguments",
    [
        SHORT,
        [*SHORT, "--momentum", 0.9, "--threads", 3, "--common_random_numbers"],
        [*SHORT, "--optimizer", "adam", "--print_every", 3],
        pytest.param([*SHORT, "--hebb_rule", "static"], marks=pytest.mark.slow),
        pytest.param(PIXELS, marks=pytest.mark.slow),
        [*PIXELS, "--init_weights", "coevolve", "--optimizer", "adam"],
    ],
    ids=["sgd", "momentum", "adam", "static", "pixels", "pixels, coevolve, adam"],
)
def test_a_resumed_run_is_the_run_that_was_never_stopped(arguments, tmp_path):
    whole = train(tmp_path / "whole", *arguments, "--generations", 5)
    parts = train(tmp_path / "parts", *arguments, "--generations", 2)
    resume(parts, "--generations", 5, "--threads", 1)
    assert outcome(parts) == outcome(whole)


def test_the_best_generation_so_far_survives_a_resume(tmp_path):
    """Of --print_every 10 only the best and the last generation are kept; the best is early."""
    run = train(tmp_path, *SHORT, "--print_every", 10, "--generations", 4)
    best = checkpoints.best_generation(checkpoints.RunFolder.open(run).rows)
    assert best < 4, "the test needs another seed"
    before = {path: path.read_bytes() for path in run.glob(f"*__{best}.dat")}
    resume(run, "--generations", 5)
    kept = {generation for generation, _, _ in checkpoints.RunFolder.open(run).dat_files()}
    assert kept == {best, 5} and before
    assert all(path.read_bytes() == data for path, data in before.items())


def test_elapsed_time_counts_on_and_raised_generations_are_remembered(short_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(short_run, run)
    before = checkpoints.RunFolder.open(run).rows[-1]["elapsed"]
    began = time.perf_counter()
    rows = checkpoints.RunFolder.open(resume(run, "--generations", 4)).rows
    took = time.perf_counter() - began
    assert rows[2]["elapsed"] == before
    assert rows[3]["seconds"] - 0.002 <= rows[3]["elapsed"] - before <= took
    assert json.loads((run / "config.json").read_text())["arguments"]["generations"] == 4


def test_a_copied_folder_resumes(short_run, tmp_path):
    """As on another machine: other path, other working directory, and no file of the first."""
    copy = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(short_run, copy)
    result = command(
        "train_hebb.py", "--resume", "elsewhere/renamed", "--generations", 4, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    whole = train(tmp_path / "whole", *SHORT, "--generations", 4)
    assert outcome(copy) == outcome(whole)


def another(option: Option, value):
    """A value that a run which has `value` of an option contradicts."""
    if option.name == "generations":
        return value - 1
    if option.is_flag:
        return not value
    if option.many:
        return [*value, *value] if value else ["1"]
    if option.choices:
        return next(choice for choice in option.choices if choice != value)
    return f"{value}x" if option.type is str else option.type((value or 0) + 1)


def test_every_flag_that_contradicts_the_run_is_refused_by_name(short_run):
    known = checkpoints.RunFolder.open(short_run).arguments
    for option in OPTIONS:
        given = {option.name: another(option, known[option.name])}
        if option.resumable:
            parsing.resumed(Training, given, known)
            continue
        with pytest.raises(ValueError, match=f"--{option.name} "):
            parsing.resumed(Training, given, known)


def test_what_may_change_on_resume_changes_no_result():
    free = {option.name for option in OPTIONS if option.resumable}
    seen = {"threads", "engine", "ray_address", "lifetime_timeout", "resume"}
    assert free == seen | {"quiet", "tensorboard"}


def test_contradictions_are_one_line_and_status_two(short_run, refused):
    before = outcome(short_run)
    for flag, value in (("--popsize", 10), ("--generations", 2)):
        refused(command("train_hebb.py", "--resume", short_run, flag, value), flag)
    refused(command("train_hebb.py", "--resume", short_run, "--common_random_numbers"), "--common")
    assert outcome(short_run) == before


def test_flags_that_say_what_the_run_has_are_accepted(short_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(short_run, copy)
    resume(copy, *SHORT, "--lr", "0.20", "--optimizer", "sgd", "--lifetime_timeout", 100)
    assert outcome(copy) == outcome(short_run)


@pytest.mark.parametrize("which, generations", [("best", []), ("1", [1]), ("1-3", [1, 2, 3])])
def test_a_run_starts_from_an_agent_of_another(which, generations, short_run, tmp_path):
    given = shutil.copytree(short_run, tmp_path / "given")
    still = ["--lr", 1e-9, "--start_from", given, "--which", which, "--folder", tmp_path / "runs"]
    run = train(tmp_path / "runs", *SHORT, "--generations", 1, *still)
    before = checkpoints.RunFolder.open(given)
    chosen = generations or [checkpoints.best_generation(before.rows)]
    thetas = [checkpoints.load_dat(before.kept()[number]["coeffs"]) for number in chosen]
    (last,) = checkpoints.load_agent(given, which).values()
    assert (which == "1") == last.name.endswith("__1.dat")
    (own,) = checkpoints.load_agent(run).values()
    np.testing.assert_allclose(checkpoints.load_dat(own), np.mean(thetas, axis=0), atol=1e-5)
    shutil.rmtree(given)  # from its first generation on, a run needs no other
    assert len(checkpoints.RunFolder.open(resume(run, "--generations", 2)).rows) == 2


def test_the_agent_of_several_generations_is_the_mean_of_their_theta(short_run):
    thetas = [agents_of_run(short_run, str(number))[1] for number in (2, 3)]
    mean = np.mean(thetas, axis=0, dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(agents_of_run(short_run, "2-3")[1], mean)
    assert (mean != thetas[0]).any() and (mean != thetas[1]).any()


def test_what_the_run_before_has_seen_is_seen(short_run, tmp_path):
    other = [*SHORT, "--environment", "CartPole-v0", "--generations", 1]
    run = train(tmp_path, *other, "--folder", tmp_path, "--start_from", short_run)
    both = ["--environment", "CartPole-v0", "CartPole-v1", "--episodes", 1]
    for folder, marks in ((run, ["(seen)"] * 2), (short_run, ["(unseen)", "(seen)"])):
        shown = command("evaluate_hebb.py", "--run", folder, *both).stdout.splitlines()
        assert [line.split()[-1] for line in shown[:2]] == marks
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"seen_before": [1]}))
    with pytest.raises(checkpoints.FileError, match="no valid list seen_before"):
        checkpoints.RunFolder.open(run)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nowhere"], ["nowhere", "does not exist"]),
        (["RUN", "--hebb_rule", "AD"], ["its rule is ABCD_lr", "AD"]),
        (["RUN", "--hidden", "5"], ["holds", "values"]),
        (["RUN", "--which", "7"], ["generation 7", "best, last, 1, 2, 3"]),
        (["RUN", "--shared_rules", "9000"], ["--shared_rules 9000", "8832"]),
        (["RUN", "--normalize_observations"], ["--normalize_observations"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_cannot_be_started_from_is_reported_in_one_line(
    arguments, words, refused, short_run, tmp_path
):
    line = [short_run if word == "RUN" else word for word in arguments]
    result = command("train_hebb.py", *SHORT, "--folder", tmp_path, "--start_from", *line)
    refused(result, *words)
    assert not list(tmp_path.iterdir())


def test_which_agent_needs_a_run_to_start_from(refused, tmp_path):
    result = command("train_hebb.py", *SHORT, "--folder", tmp_path, "--which", 1)
    refused(result, "--which 1", "--start_from")
    assert not list(tmp_path.iterdir())
