"""The commands as a user types them: what they print, write and refuse."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import ROOT, SHORT, command, run_folder

from commands import parsing
from commands.shared_options import INIT_WEIGHTS
from commands.training_options import Training
from networks.initial_weights import INITIALISATIONS

PROGRAMS = ("train_hebb.py", "evaluate_hebb.py", "plot_hebb.py", "benchmark.py")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_imports_nothing_heavy(program):
    line = [sys.executable, "-X", "importtime", program, "--help"]
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and result.stdout.startswith(f"usage: {program}")
    heavy = r"\b(numba|torch|gymnasium|gym|pybullet|matplotlib|ray)$"
    assert not re.findall(heavy, result.stderr, re.M)


@pytest.mark.slow  # a time: not for a machine that does something else beside
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_answers_at_once(program):
    command(program, "--help", fresh=True)  # once for the disk
    began = time.perf_counter()
    command(program, "--help", fresh=True)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "line", ["train_hebb.py", "evaluate_hebb.py --run X", "plot_hebb.py fitness X", "benchmark.py"]
)
def test_without_the_packages_one_line_says_how_to_get_them(line, refused):
    python = [sys.executable, "-S", *line.split()]  # -S: without site-packages
    result = subprocess.run(python, cwd=ROOT, capture_output=True, text=True, timeout=60)
    refused(result)
    assert not result.stdout
    assert re.fullmatch(r"\w+\.py: error: No module named .*requirements\.txt.*\n", result.stderr)


@pytest.mark.parametrize("bug", ["import machine.nothing", "raise ModuleNotFoundError", "1 / 0"])
def test_a_bug_keeps_its_traceback(bug):
    python = [sys.executable, "-c", f"import machine.startup\n{bug}"]
    result = subprocess.run(python, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and result.stderr.startswith("Traceback")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_ends_a_command_without_a_word(unbuffered, short_run):
    line = [sys.executable, "evaluate_hebb.py", "--run", short_run, "--episodes", "1"]
    env = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    program = subprocess.Popen(
        line, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    program.stdout.close()
    assert program.stderr.read() == b"" and program.wait(60) == 128 + signal.SIGPIPE


@pytest.mark.parametrize("redirected", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_end_no_command(redirected, short_run, tmp_path):
    kept = tmp_path / "kept.json"
    line = f"{sys.executable} evaluate_hebb.py --run {short_run} --episodes 1 --json {kept}"
    result = subprocess.run(f"{line} {redirected}", shell=True, cwd=ROOT, timeout=60)
    assert result.returncode == 0 and len(json.loads(kept.read_text())["episodes"]) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_a_letter_ends_no_command(encoding, tmp_path):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    line = [*SHORT, "--generations", 1, "--folder", tmp_path]
    reader = {"fresh": True, "env": environment, "encoding": encoding}
    result = command("train_hebb.py", *line, **reader)
    assert result.returncode == 0 and " ? " in result.stdout, result.stderr
    result = command("train_hebb.py", "--help", **reader)
    assert result.returncode == 0 and "usage" in result.stdout


def test_a_json_goes_where_a_link_leads_and_into_a_pipe(short_run, tmp_path):
    target, link, pipe = (tmp_path / name for name in ("target", "link", "pipe"))
    target.touch()
    link.symlink_to(target)
    os.mkfifo(pipe)
    line = ["--run", short_run, "--episodes", 1, "--json"]
    assert command("evaluate_hebb.py", *line, link).returncode == 0
    assert link.is_symlink() and json.loads(target.read_text())["episodes"]
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        assert command("evaluate_hebb.py", *line, pipe).returncode == 0
        assert json.loads(reader.communicate(timeout=60)[0])["episodes"]
    assert pipe.is_fifo()


def test_the_reference_s_flags_have_the_reference_s_defaults():
    defaults = parsing.complete(Training, {})
    expected = dict(
        environment=["CarRacing-v0"], hebb_rule="ABCD_lr", popsize=200, lr=0.2, decay=0.995,
        sigma=0.1, init_weights="uni", print_every=1, generations=300, threads=-1,
        folder="heb_coeffs", distribution="normal",
    )  # fmt: skip
    assert {name: getattr(defaults, name) for name in expected} == expected


def test_a_run_writes_what_the_readme_says(short_run):
    names = sorted(path.name for path in short_run.iterdir())
    dat = re.compile(
        r"HEBcoeffs__CartPole-v1__rew_\d+__ABCD_lr__init_uni__pop_8__coeffs__[123].dat"
    )
    assert sum(bool(dat.fullmatch(name)) for name in names) == 3
    (history,) = short_run.glob("Fitness_values_*_CartPole-v1.npy")
    with open(short_run / "fitness.csv") as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_allclose(np.load(history), [float(row["mean"]) for row in rows])
    assert [row["generation"] for row in rows] == ["1", "2", "3"]
    expected = {"mean", "std", "best", "worst", "steps", "seconds", "failed", "sigma", "lr"}
    assert expected <= set(rows[0])
    config = json.loads((short_run / "config.json").read_text())
    assert config["arguments"]["seed"] == 3 and "--popsize" in config["command"]
    assert config["packages"]["numpy"] == np.__version__


def test_the_coefficients_load_in_the_reference(short_run):
    (path,) = short_run.glob("*coeffs__3.dat")
    array = torch.load(path, weights_only=False)  # what the reference calls
    assert isinstance(array, np.ndarray) and array.dtype == np.float32
    assert array.shape == (4 * 128 + 128 * 64 + 64 * 2, 5)


def test_evaluation_by_folder_and_by_file_agree(short_run, tmp_path):
    by_run, by_file = tmp_path / "run.json", tmp_path / "file.json"
    (path,) = short_run.glob("*coeffs__3.dat")
    episodes = ["--episodes", 5, "--seed", 7, "--json"]
    first = command("evaluate_hebb.py", "--run", short_run, "--which", "last", *episodes, by_run)
    second = command(
        "evaluate_hebb.py", "--environment", "CartPole-v1", "--path_hebb", path, *episodes, by_file
    )
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert re.search(r"CartPole-v1 +[\d.]+ ± [\d.]+ over 5 episodes", first.stdout)
    one, other = json.loads(by_run.read_text()), json.loads(by_file.read_text())
    assert one["episodes"] == other["episodes"]
    assert [episode["seed"] for episode in one["episodes"]] == [7, 8, 9, 10, 11]


def test_a_plain_torch_file_of_the_reference_is_replayed(tmp_path):
    path = tmp_path / "heb_coeffs.dat"
    torch.save(np.zeros((8832, 5), np.float32), path)
    line = ["--environment", "CartPole-v1", "--path_hebb", path, "--episodes", 2]
    result = command("evaluate_hebb.py", *line)
    assert result.returncode == 0 and "over 2 episodes" in result.stdout, result.stderr


def test_episodes_end_where_the_evaluation_says_so(tmp_path):
    agent, out = tmp_path / "pendulum.dat", tmp_path / "out.json"
    torch.save(np.zeros((3 * 128 + 128 * 64 + 64, 5), np.float32), agent)
    line = ["--environment", "Pendulum-v1", "--path_hebb", agent, "--episodes", 2, "--json", out]
    for given, steps in ([], 200), (["--early_stop", 4], 5), (["--max_steps", 3], 3):
        result = command("evaluate_hebb.py", *line, *given)
        assert result.returncode == 0, result.stderr
        assert [each["steps"] for each in json.loads(out.read_text())["episodes"]] == [steps] * 2


def test_without_a_seed_one_is_drawn_and_printed(tmp_path):
    line = ["--environment", "CartPole-v1", "--popsize", 2, "--generations", 1]
    result = command("train_hebb.py", *line, "--folder", tmp_path)
    seed = int(re.search(r"seed (\d+)", result.stdout)[1])
    config = json.loads((run_folder(tmp_path) / "config.json").read_text())
    assert config["arguments"]["seed"] == seed


def test_nothing_but_errors_is_printed_when_quiet(tmp_path):
    line = [*SHORT, "--generations", 1, "--folder", tmp_path, "--quiet"]
    result = command("train_hebb.py", *line)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_lines_fit_sixty_columns(tmp_path):
    line = [*SHORT, "--generations", 2, "--folder", tmp_path]
    lines = command("train_hebb.py", *line).stdout.splitlines()
    table = [line for line in lines if re.match(r" +(gen|\d)", line)]
    assert len(table) == 3 and all(len(line) <= 60 for line in table)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--hebb_rule", "ABCDE"], ["ABCDE", "ABCD_lr"]),
        (["--init_weights", "gauss"], ["gauss", "coevolve"]),
        (["--distribution", "cauchy"], ["cauchy", "uniform"]),
        (["--environment", "CartPol-v1"], ["CartPol-v1", "CartPole-v1"]),
        (["--environment", "Blackjack-v1"], ["Blackjack-v1", "Tuple"]),
        (["--environment", "CartPole-v1", "Pendulum-v1"], ["CartPole-v1", "Pendulum-v1"]),
        (["--popsize", "7"], ["7", "even"]),
        (["--popsize", "0"], ["0", "even"]),
        (["--sigma", "-1"], ["-1", "above 0"]),
        (["--lr", "0"], ["above 0"]),
        (["--lr", "inf"], ["above 0"]),
        (["--stop_at", "nan"], ["--stop_at", "a number"]),
        (["--shared_rules", "99999999999999"], ["memory"]),
        (["--ray_address", "10.0.0.1:6379"], ["--ray_address", "--engine"]),
        (["--decay", "1.5"], ["1.5", "up to 1"]),
        (["--threads", "0"], ["0", "-1"]),
        (["--seed", "-4"], ["-4"]),
        (["--generations", "many"], ["many"]),
        (["--eval_environment", "CartPole-v0"], ["--eval_every"]),
        (["--eval_every", "1", "--eval_environment", "CartPole-v1"], ["CartPole-v1", "already"]),
        (["--eval_every", "1", "--eval_environment", "Pendulum-v1"], ["Pendulum-v1", "share"]),
        (["--conditions", "noise", "noise=0.3"], ["CartPole-v1 with noise", "twice"]),
        (["--folder", "/proc/none"], ["/proc/none"]),
        (["--folder", "README.md"], ["README.md"]),
        (["--resume", "no/such/run"], ["no/such/run"]),
        (["--resume", "tests"], ["tests", "config.json"]),
        (["--rubbish"], ["--rubbish"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_training_input_is_one_line_and_status_two(arguments, words, refused, tmp_path):
    given = dict(zip(SHORT[::2], SHORT[1::2], strict=True)) | {"--folder": str(tmp_path)}
    kept = [w for name, value in given.items() if name not in arguments for w in (name, value)]
    refused(
        command("train_hebb.py", *([] if "--resume" in arguments else kept), *arguments), *words
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["--run", "--path_hebb"]),
        (["--run", "nowhere"], ["nowhere"]),
        (["--path_hebb", "nowhere.dat"], ["nowhere.dat"]),
        (["--path_hebb", "README.md"], ["path_coev"]),  # CarRacing-v0 needs its CNN
        (["--environment", "CartPole-v1", "--path_hebb", "README.md"], ["README.md"]),
        (["--run", "RUN", "--hebb_rule", "A"], ["--hebb_rule"]),
        (["--run", "RUN", "--which", "17"], ["17"]),
        (["--run", "RUN", "--environment", "Pendulum-v1"], ["Pendulum-v1"]),
        (["--run", "RUN", "--episodes", "0"], ["0"]),
        (["--run", "RUN", "--json", "no/such/folder.json"], ["no/such"]),
        (["--run", "RUN", "--json", "tests"], ["tests", "written"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_evaluation_input_is_one_line_and_status_two(arguments, words, refused, short_run):
    arguments = [short_run if word == "RUN" else word for word in arguments]
    refused(command("evaluate_hebb.py", *arguments), *words)


def test_coefficients_that_are_no_numbers_are_refused(tmp_path, refused):
    for name, array in {
        "nan": np.full((8832, 5), np.nan, np.float32),
        "shape": np.zeros((10, 5), np.float32),
        "text": np.array(["a", "b"]),
    }.items():
        path = tmp_path / f"{name}.dat"
        torch.save(array, path)
        line = ["--environment", "CartPole-v1", "--path_hebb", path]
        refused(command("evaluate_hebb.py", *line), f"{name}.dat")


def test_the_tables_of_choices_are_the_tables_that_work():
    assert INIT_WEIGHTS["choices"] == tuple(INITIALISATIONS)
