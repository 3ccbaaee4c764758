"""Environments that go wrong in one of twenty lifetimes, and folders that are not what they
should be."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import time

import numpy as np
import pytest
from conftest import ROOT, SHORT, command, first_warning, outcome, run_folder
from misbehaving import misbehaves

import seeds
from workers import local
from workers.rollouts import Broadcast, Result

SEED, POPSIZE, GENERATIONS = 2, 20, 2
LINE = ["--popsize", POPSIZE, "--seed", SEED, "--generations", GENERATIONS, "--threads", 2]
REASONS = {  # how each goes wrong, in the words of the log
    "Raises": "RuntimeError: the pole is made of glass",
    "NotANumber": "a reward of nan",
    "Hangs": "its worker took over 1.0 s",
    "Exits": "its worker died (exit code 3)",
    "Segfaults": "its worker died (Segmentation fault)",
    "Chatters": "its worker died (exit code 3)",
    "LeavesChild": "its worker died (exit code 3)",
}


def train(kind: str, folder, *arguments, **options):
    line = ["--environment", f"misbehaving:{kind}-v0", *LINE, "--folder", folder, *arguments]
    if kind == "Hangs":
        line += ["--lifetime_timeout", 1]
    return command("train_hebb.py", *line, **options)


def rows(run) -> list[dict]:
    with open(run / "fitness.csv") as file:
        return list(csv.DictReader(file))


def expected_failures() -> list[set[str]]:
    """The individuals of each generation whose world has a seed that means trouble."""
    return [
        {
            f"generation_{generation + 1}_individual_{2 * pair + member + 1}"
            for pair in range(POPSIZE // 2)
            for member in (0, 1)
            if misbehaves(
                seeds.integer(seeds.lifetime_seed(SEED, generation, pair, member), seeds.WORLD)
            )
        }
        for generation in range(GENERATIONS)
    ]


@pytest.mark.parametrize("kind", REASONS)
def test_lifetimes_that_go_wrong_are_counted_named_and_can_be_repeated(kind, tmp_path):
    expected = expected_failures()
    assert all(expected), "the test needs another seed"
    result = train(kind, "runs", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    run = run_folder(tmp_path / "runs")
    assert [int(row["failed"]) for row in rows(run)] == [len(names) for names in expected]
    assert result.stderr.count("\n") == 1 and REASONS[kind] in result.stderr, result.stderr
    log = (run / "log.txt").read_text()
    failed = re.findall(r"WARNING (\w+) failed: (.*); to repeat it", log)
    assert failed and set(failed) == {(name, REASONS[kind]) for name in set.union(*expected)}
    commands = re.findall(r"WARNING (\S+ \S*evaluate_hebb.py .*)", log)
    assert len(commands) == len(failed)
    if kind == "Hangs":
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run(shlex.split(commands[0]), cwd=tmp_path, timeout=4, capture_output=True)
        return
    again = subprocess.run(commands[0], shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert f"1 of them failed: {REASONS[kind]}" in again.stdout, again.stdout + again.stderr


@pytest.mark.parametrize("kind", ["Hangs", "Exits", "Segfaults"])
def test_lifetimes_that_kill_their_worker_once_are_repeated_with_the_same_result(kind, tmp_path):
    """The first run meets each accident once; the second finds them marked, and meets none."""
    (tmp_path / "marks").mkdir()
    environment = os.environ | {"FIRST_ONLY": str(tmp_path / "marks")}
    once = train(kind, tmp_path / "once", env=environment)
    accidents = len(list((tmp_path / "marks").iterdir()))
    never = train(kind, tmp_path / "never", env=environment)
    assert once.returncode == never.returncode == 0 and once.stderr == never.stderr == ""
    once, never = run_folder(tmp_path / "once"), run_folder(tmp_path / "never")
    assert accidents == sum(map(len, expected_failures()))
    assert (once / "log.txt").read_text().count("attempt 1") == accidents
    assert not (never / "log.txt").exists()
    assert outcome(once) == outcome(never)
    assert {row["failed"] for row in rows(once)} == {"0"}


def test_what_repeats_a_failure_names_the_environment_where_it_happened(tmp_path):
    worlds = ["--environment", "CartPole-v1", "misbehaving:Raises-v0", *LINE]
    line = [*worlds, "--conditions", "noise", "--folder", tmp_path]
    assert command("train_hebb.py", *line).returncode == 0
    log = (run_folder(tmp_path) / "log.txt").read_text()
    commands = re.findall(r"WARNING (\S+ \S*evaluate_hebb.py .*)", log)
    said = [
        subprocess.run(line, shell=True, capture_output=True, text=True).stdout
        for line in commands[:2]
    ]
    assert REASONS["Raises"] not in said[0] and REASONS["Raises"] in said[1], said


def test_theta_is_scored_without_the_lifetimes_that_fail(tmp_path):
    line = ["--environment", "misbehaving:Raises-v0", *LINE, "--folder", tmp_path]
    line += ["--eval_every", 1, "--eval_episodes", 60]
    held_out = [seeds.integer(SEED, seeds.HELD_OUT, number, 0) for number in range(60)]
    assert any(misbehaves(seeds.integer(seed, seeds.WORLD)) for seed in held_out)
    result = command("train_hebb.py", *line)
    assert result.returncode == 0 and "failed" in result.stderr
    run = run_folder(tmp_path)
    assert all(float(row["theta_mean"]) > 0 for row in rows(run))
    assert "_theta_" in (run / "log.txt").read_text()


@pytest.mark.slow  # a time: not for a machine that does something else beside
def test_the_log_of_a_worker_that_dies_while_it_writes_delays_no_end(tmp_path):
    began = time.monotonic()
    assert train("Chatters", tmp_path).returncode == 0
    seconds = sum(float(row["seconds"]) for row in rows(run_folder(tmp_path)))
    start = time.monotonic()
    line = [*SHORT, "--generations", 1, "--folder", tmp_path / "calm"]
    assert command("train_hebb.py", *line).returncode == 0
    overhead = time.monotonic() - start
    assert start - began - seconds < overhead + 3


def test_a_generation_in_which_all_fail_stops_the_run_and_it_can_go_on_once_mended(tmp_path):
    broken = os.environ | {"BROKEN": "1"}
    assert train("Breaks", tmp_path / "run").returncode == 0
    run = run_folder(tmp_path / "run")
    state = (run / "state.npz").read_bytes()
    more = ["--resume", run, "--generations", 4]
    result = command("train_hebb.py", *more, env=broken)
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "every lifetime of generation 3" in last and REASONS["Raises"] in last
    assert (run / "state.npz").read_bytes() == state
    assert command("train_hebb.py", *more).returncode == 0
    assert train("Breaks", tmp_path / "whole", "--generations", 4).returncode == 0
    assert outcome(run) == outcome(run_folder(tmp_path / "whole"))


def test_a_first_generation_in_which_all_fail_is_reported_with_its_reason(tmp_path):
    result = train("Breaks", tmp_path, env=os.environ | {"BROKEN": "1"})
    assert result.returncode == 1 and "every lifetime of generation 1" in result.stderr
    assert REASONS["Raises"] in result.stderr and "Traceback" not in result.stderr


def test_an_environment_that_ignores_its_seed_is_named_before_the_run(tmp_path):
    result = train("Wilful", tmp_path)
    assert result.returncode == 0 and result.stderr.count("\n") == 1
    assert "misbehaving:Wilful-v0 does not follow its seed" in result.stderr
    assert "does not follow its seed" in (run_folder(tmp_path) / "log.txt").read_text()


def test_a_failure_of_theta_itself_is_filed_by_its_generation_and_can_be_repeated(tmp_path):
    line = ["--eval_every", 1, "--eval_episodes", 60]
    assert train("Raises", tmp_path / "runs", *line).returncode == 0
    run = run_folder(tmp_path / "runs")
    kept = sorted(path.name for path in (run / "failures").iterdir() if "theta" in path.name)
    assert {name[:12] for name in kept} == {"generation_1", "generation_2"}
    log = (run / "log.txt").read_text()
    one = re.search(r"generation_2_theta_\d+ failed.*\n.*WARNING (\S+ \S*evaluate_hebb.py .*)", log)
    again = subprocess.run(one[1], shell=True, cwd=ROOT, capture_output=True, text=True)
    assert f"1 of them failed: {REASONS['Raises']}" in again.stdout, again.stdout + again.stderr
    assert again.returncode == 1  # every episode failed
    theta = [path.read_bytes() for path in run.glob("*__2.dat")]
    assert theta == [p.read_bytes() for p in (run / "failures" / kept[-1]).glob("*__2.dat")]


def sleeper(given, seconds):
    time.sleep(seconds)
    return Result(0.0, 0.0, 1, None, seconds)


def test_a_lifetime_that_takes_very_long_is_named_once(monkeypatch):
    monkeypatch.setattr(local, "SLOW_SECONDS", 0.3)
    monkeypatch.setattr(local, "SLOW", 1)
    pool, heard = local.LocalWorkers(2, 1, sleeper), []
    try:
        lifetimes = [0.001, 0.002, 2.0, 0.003]
        pool.map(Broadcast(np.zeros(1)), lifetimes, lambda *said: heard.append(said))
    finally:
        pool.close()
    assert [individual for individual, result in heard if individual and not result] == [2.0]


def test_a_run_names_a_lifetime_that_hangs(tmp_path):
    line = ["--environment", "misbehaving:Hangs-v0", *LINE, "--folder", tmp_path]
    fast = "from workers import local; local.SLOW_SECONDS, local.SLOW = 0.5, 1; import train_hebb"
    said = first_warning(f"{fast}; train_hebb.main({[*map(str, line)]})")
    first = min(expected_failures()[0], key=lambda name: int(name.rsplit("_", 1)[1]))
    assert f"{first} takes very long; --lifetime_timeout" in said


def edit(run, **changes) -> None:
    config = json.loads((run / "config.json").read_text())
    config["arguments"] |= changes.pop("arguments", {})
    (run / "config.json").write_text(json.dumps(config | changes))


def truncate(path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


DAMAGE = {  # what happens to a folder -> the words that tell it
    "missing": (shutil.rmtree, "does not exist"),
    "empty": (lambda run: [file.unlink() for file in run.iterdir()], "no config.json"),
    "not JSON": (lambda run: (run / "config.json").write_text("seed: 3"), "config.json"),
    "foreign JSON": (lambda run: (run / "config.json").write_text('{"a": [1]}'), "config.json"),
    "older": (lambda run: edit(run, format=0), "version"),
    "newer": (lambda run: edit(run, format=99), "newer version"),
    "a word for a number": (lambda run: edit(run, arguments={"sigma": "small"}), "sigma"),
    "a word for a list": (lambda run: edit(run, arguments={"hidden": "small"}), "hidden"),
    "an unknown choice": (lambda run: edit(run, arguments={"normalization": "l2"}), "l2"),
    "no environment": (lambda run: edit(run, arguments={"environment": []}), "environment"),
    "half a state": (lambda run: truncate(run / "state.npz"), "state.npz"),
    "an empty state": (lambda run: (run / "state.npz").write_bytes(b""), "state.npz"),
}
HALVES = {  # what only a resume looks at
    "no seed": (lambda run: edit(run, arguments={"seed": None}), "seed"),
    "an unknown rule": (lambda run: edit(run, arguments={"hebb_rule": "oja"}), "oja"),
    "an odd population": (lambda run: edit(run, arguments={"popsize": 7}), "popsize"),
    "another network": (lambda run: edit(run, arguments={"hebb_rule": "A"}), "theta"),
    "another optimizer": (lambda run: edit(run, arguments={"momentum": 0.5}), "moment_0"),
    "no state": (lambda run: (run / "state.npz").unlink(), "no state.npz"),
    "only agents": (
        lambda run: [(run / name).unlink() for name in ("state.npz", "fitness.csv")],
        "no state.npz",
    ),
}


def test_one_environment_may_stand_in_config_json_without_a_list(short_run, tmp_path):
    run = shutil.copytree(short_run, tmp_path / "run")
    edit(run, arguments={"environment": "CartPole-v1"})
    line = ["--run", run, "--episodes", 2]
    one, other = (command("evaluate_hebb.py", *line[:1], r, *line[2:]) for r in (run, short_run))
    assert one.returncode == 0 and one.stdout.split("\n")[0] == other.stdout.split("\n")[0]


@pytest.mark.parametrize("damage", [*DAMAGE, *HALVES])
def test_a_bad_folder_is_refused_in_one_line(damage, short_run, tmp_path, refused):
    run = tmp_path / "run"
    shutil.copytree(short_run, run)
    harm, words = (DAMAGE | HALVES)[damage]
    harm(run)
    files = sorted(tmp_path.rglob("*"))
    refused(command("train_hebb.py", "--resume", run, "--generations", 9), words)
    if damage in DAMAGE:
        refused(command("evaluate_hebb.py", "--run", run, "--episodes", 1), words)
    assert set(tmp_path.rglob("*")) - set(files) <= {run / ".lock"}
