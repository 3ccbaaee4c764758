"""A run that was stopped and continued is the run that was never stopped, bit for bit."""

import json
import shutil

import pytest
from conftest import SHORT, command, outcome, run_folder

import checkpoints


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
    rows = checkpoints.RunFolder.open(resume(run, "--generations", 4)).rows
    assert rows[2]["elapsed"] == before
    assert rows[3]["elapsed"] == pytest.approx(before + rows[3]["seconds"], abs=0.002)
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


CONTRADICTIONS = {
    "environment": "Acrobot-v1", "hebb_rule": "A", "popsize": 10, "lr": 0.1, "decay": 0.9,
    "sigma": 0.2, "init_weights": "normal", "print_every": 2, "generations": 2,
    "folder": "elsewhere", "distribution": "uniform", "seed": 4, "max_steps": 10,
    "aggregate": "min", "episodes": 2, "optimizer": "adam", "momentum": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_flag_that_contradicts_the_run_is_refused_by_name(name, short_run):
    import options

    known = checkpoints.RunFolder.open(short_run).arguments
    given = {"resume": str(short_run), name: CONTRADICTIONS[name]}
    with pytest.raises(ValueError, match=f"--{name} {CONTRADICTIONS[name]}"):
        options.resumed(options.TRAINING, given, known)


def test_every_option_is_either_free_or_refused_on_resume():
    import options

    free = {option.name for option in options.TRAINING if option.resumable}
    flags = {option.name for option in options.TRAINING if option.is_flag}
    assert free == {"threads", "lifetime_timeout", "resume", "quiet"}
    assert {o.name for o in options.TRAINING} - free - flags == set(CONTRADICTIONS)


def test_contradictions_are_one_line_and_status_two(short_run, refused):
    before = outcome(short_run)
    for name in ("popsize", "generations"):
        line = ["--resume", short_run, f"--{name}", CONTRADICTIONS[name]]
        refused(command("train_hebb.py", *line), f"--{name}")
    refused(command("train_hebb.py", "--resume", short_run, "--common_random_numbers"), "--common")
    assert outcome(short_run) == before


def test_flags_that_say_what_the_run_has_are_accepted(short_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(short_run, copy)
    resume(copy, *SHORT, "--lr", "0.20", "--optimizer", "sgd", "--lifetime_timeout", 100)
    assert outcome(copy) == outcome(short_run)
