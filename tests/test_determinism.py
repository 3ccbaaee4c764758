"""The same seed is the same run, bit for bit."""

import time

import pytest
from conftest import coefficients, command, run_folder, start

TASKS = [
    ("CartPole-v1", []),
    ("CarRacing-v0", ["--max_steps", 60]),
    ("AntBulletEnv-v0", []),
]


@pytest.mark.parametrize("environment, options", TASKS, ids=[task[0] for task in TASKS])
def test_one_worker_two_workers_and_an_interrupted_run_give_the_same_bytes(
    environment, options, tmp_path
):
    line = ["--environment", environment, "--popsize", 4, "--seed", 11, *options]
    for name, threads in (("one", 1), ("two", 2)):
        given = ["--generations", 2, "--threads", threads, "--folder", tmp_path / name]
        result = command("train_hebb.py", *line, *given)
        assert result.returncode == 0, result.stderr
    expected = coefficients(run_folder(tmp_path / "one"))
    assert len(expected) >= 2
    assert coefficients(run_folder(tmp_path / "two")) == expected

    folder = tmp_path / "killed"
    process = start("train_hebb.py", *line, "--generations", 3000, "--folder", folder)
    while not list(folder.glob("*/*.dat")):  # until its first generation
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.kill()
    process.communicate()
    result = command("train_hebb.py", *line, "--generations", 2, "--folder", tmp_path / "again")
    assert result.returncode == 0, result.stderr
    assert coefficients(run_folder(tmp_path / "again")) == expected


@pytest.mark.parametrize("environment, options", TASKS[1:], ids=[task[0] for task in TASKS[1:]])
def test_another_seed_is_another_run(environment, options, tmp_path):
    runs = []
    for seed in (1, 2):
        line = ["--environment", environment, "--popsize", 2, "--seed", seed, *options]
        given = ["--generations", 1, "--folder", tmp_path / str(seed)]
        assert command("train_hebb.py", *line, *given).returncode == 0
        runs.append(list(coefficients(run_folder(tmp_path / str(seed))).values()))
    assert runs[0] != runs[1]
