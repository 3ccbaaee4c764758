"""What happens to long jobs, done to real runs: SIGKILL, Ctrl-C, a scheduler's SIGTERM, a terminal
that closes, a disk that is full."""

import itertools
import os
import random
import re
import resource
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from conftest import SHORT, command, outcome, run_folder, start, wait_for

from run_folder import checkpoints

KILLED = [*SHORT, "--generations", 12, "--threads", 2, "--print_every", 3]
SLOW = ["--environment", "misbehaving:Slow-v0", "--popsize", 20, "--seed", 3]
SLOW += ["--generations", 3, "--threads", 2]


def begin(folder: Path, *arguments, **options) -> tuple[subprocess.Popen, Path]:
    """Start a run and wait until its folder and its workers are there."""
    process = start("train_hebb.py", *arguments, "--folder", folder, **options)
    wait_for(lambda: list(folder.glob("*/config.json")) or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()
    wait_for(lambda: len(workers_of(process)) >= 2 or process.poll() is not None)
    return process, run_folder(folder)


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


def members(group: int) -> list[psutil.Process]:
    """The live processes of a process group, zombies left out."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass
    return found


def generations(run: Path) -> int:
    """How many generations of a run are complete."""
    try:
        return (run / "fitness.csv").read_text().count("\n") - 1
    except FileNotFoundError:
        return 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[dict, float]:
    """What the runs that are killed must find, and how long that takes without an accident."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process, run = begin(folder, *KILLED)
    began = time.monotonic()
    assert process.wait(60) == 0
    return outcome(run), time.monotonic() - began


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> Path:
    """A run of SLOW that nothing happened to."""
    process, run = begin(tmp_path_factory.mktemp("calm"), *SLOW)
    assert process.wait(60) == 0
    return run


def kill_at(instant: float, victim: str, folder: Path) -> tuple[Path, bool]:
    """Start a run, kill a part of it, have it completed; the run, and whether it was alive."""
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    environment = os.environ | {"TMPDIR": str(temporary)}
    process, run = begin(folder / "runs", *KILLED, env=environment)
    time.sleep(instant)
    alive = process.poll() is None
    if victim == "a worker":
        for worker in workers_of(process)[:1]:
            worker.kill()
        assert process.wait(60) == 0
    else:
        kill = os.kill if victim == "the master" else os.killpg
        if alive:
            kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: not members(process.pid), 5)  # no worker outlives its master
        result = command("train_hebb.py", "--resume", run, env=environment)
        assert result.returncode == 0, result.stderr
    process.stdout.close(), process.stderr.close()
    assert not members(process.pid)
    assert not list(temporary.iterdir()) and not list(run.glob(".*.tmp"))
    return run, alive


def test_twenty_runs_that_are_killed_at_random_instants_end_as_if_nothing_had_happened(
    undisturbed, tmp_path
):
    expected, seconds = undisturbed
    shared_memory = set(os.listdir("/dev/shm"))
    rng = random.Random(20)
    victim = itertools.cycle(("the master", "a worker", "everybody", "a worker"))
    plan = [(rng.uniform(0, 0.8 * seconds), next(victim), tmp_path / str(k)) for k in range(20)]
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda accident: kill_at(*accident), plan))
    same = [outcome(run) == expected for run, _ in ended]
    assert sum(same) == 20, [
        accident[:2] for accident, ok in zip(plan, same, strict=True) if not ok
    ]
    assert sum(alive for _, alive in ended) >= 15, "most accidents came too late"
    wait_for(lambda: not set(os.listdir("/dev/shm")) - shared_memory, 10)


def kill_in_every_generation(calm, tmp_path) -> Path:
    """Kill a worker in each of three generations; the run, which is that of `calm`."""
    process, run = begin(tmp_path, *SLOW)
    kills, zombies = 0, 0
    while process.poll() is None:
        if generations(run) == kills < 3:
            time.sleep(0.3)  # well into the generation
            workers_of(process)[kills % 2].kill()
            kills += 1
            time.sleep(0.3)
            zombies += sum(w.status() == psutil.STATUS_ZOMBIE for w in workers_of(process))
        time.sleep(0.01)
    assert process.returncode == 0 and kills == 3 and not zombies
    assert outcome(run) == outcome(calm)
    log = (run / "log.txt").read_text()
    assert all(f"generation_{g}_" in log for g in (1, 2, 3)), log
    return run


def test_a_worker_killed_in_every_generation_changes_no_bit(calm, tmp_path):
    kill_in_every_generation(calm, tmp_path)


@pytest.mark.slow  # a time: not for a machine that does something else beside
def test_a_worker_killed_in_every_generation_costs_little_time(calm, tmp_path):
    run = kill_in_every_generation(calm, tmp_path)
    slow, fast = (checkpoints.RunFolder.open(r).rows[-1]["elapsed"] for r in (run, calm))
    assert slow / fast <= 1.5, (slow, fast)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_run_and_the_printed_command_continues_it(number, calm, tmp_path):
    process, run = begin(tmp_path / "a folder; of mine", *SLOW)
    wait_for(lambda: generations(run) >= 1)
    time.sleep(0.2)
    if number == signal.SIGTERM:  # a scheduler's, to the master alone; the others to everybody
        process.send_signal(number)
    else:
        os.killpg(process.pid, number)
        time.sleep(0.02)
        os.killpg(process.pid, number)  # an impatient user
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (128 + number, "")
    assert not members(process.pid)
    printed = [line for line in out.splitlines() if "--resume" in line]
    assert len(printed) == 1 and "stopped after generation 1" in out
    done = subprocess.run(printed[0], shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert outcome(run) == outcome(calm)


def test_a_run_that_is_quiet_says_on_stderr_how_to_go_on(tmp_path):
    process, run = begin(tmp_path, *SLOW, "--quiet")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (128 + signal.SIGTERM, "")
    assert err.startswith("stopped after generation 0") and f"--resume {run}" in err


@pytest.mark.slow  # a time: not for a machine that does something else beside
def test_a_signal_stops_a_run_within_two_seconds(tmp_path):
    process, _ = begin(tmp_path, *SLOW)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert time.monotonic() - began < 2


def test_a_signal_at_any_instant_of_the_start_leaves_no_traceback_and_no_process(tmp_path):
    def catches_signals(process) -> bool:
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
        return bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)

    for k, delay in enumerate((0, 0.05, 0.15, 0.4, 0.7, 1.0)):
        number = (signal.SIGINT, signal.SIGTERM)[k % 2]
        process = start("train_hebb.py", *SLOW, "--folder", tmp_path / str(k))
        wait_for(lambda process=process: catches_signals(process))
        time.sleep(delay)
        (os.killpg if k % 4 < 2 else os.kill)(process.pid, number)
        _, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (128 + number, ""), delay
        wait_for(lambda process=process: not members(process.pid), 5)


def test_a_worker_that_is_deaf_does_not_keep_a_run_from_stopping(tmp_path):
    """It hangs in C and holds Python's lock; without --lifetime_timeout it is waited for."""
    line = ["--environment", "misbehaving:Hangs-v0", "--popsize", 40, "--seed", 3, "--threads", 2]
    process, run = begin(tmp_path, *line)
    time.sleep(2)
    assert process.poll() is None and generations(run) == 0
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "") and out.count("--resume") == 1
    assert not members(process.pid)


def test_ctrl_c_ends_a_replay_without_a_traceback(short_run):
    line = ["--run", short_run, "--episodes", 100_000, "--threads", 2]
    process = start("evaluate_hebb.py", *line)
    wait_for(lambda: len(workers_of(process)) == 2)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
    wait_for(lambda: not members(process.pid), 5)


def test_a_folder_that_a_live_run_writes_is_refused_and_the_run_goes_on(tmp_path, refused):
    process, run = begin(tmp_path, *SLOW)
    refused(command("train_hebb.py", "--resume", run), "being written", str(process.pid))
    assert process.poll() is None, "the test needs a longer run"
    assert process.wait(60) == 0 and generations(run) == 3
    assert command("train_hebb.py", "--resume", run).returncode == 0  # now nobody does


def test_a_reader_of_the_output_that_leaves_does_not_end_a_run(tmp_path):
    """As `train_hebb.py | head -1`, or a terminal that is closed on a run under nohup."""
    process, run = begin(tmp_path, *SHORT, "--generations", 8)
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == 0 and generations(run) == 8


def test_a_full_disk_stops_a_run_with_one_line_and_costs_nothing_that_was_saved(tmp_path):
    """A file may grow to a limit that stops the state.npz, after the .dat has been written."""
    line = [*SHORT, "--optimizer", "adam", "--popsize", 4]
    command("train_hebb.py", *line, "--generations", 2, "--folder", tmp_path / "run")
    run = run_folder(tmp_path / "run")
    before, limit = outcome(run), 400_000
    state = (run / "state.npz").read_bytes()

    def no_space() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    more = ["--resume", run, "--generations", 4]
    full = command("train_hebb.py", *more, fresh=True, preexec_fn=no_space)
    assert full.returncode != 0 and full.stderr.count("\n") == 1 and "Traceback" not in full.stderr
    assert f"cannot write {run}" in full.stderr and "state.npz" in full.stderr
    assert (run / "state.npz").read_bytes() == state and not list(run.glob(".*.tmp"))
    assert before.items() <= outcome(run).items()
    assert command("train_hebb.py", *more).returncode == 0
    command("train_hebb.py", *line, "--generations", 4, "--folder", tmp_path / "whole")
    assert outcome(run) == outcome(run_folder(tmp_path / "whole"))


def test_a_full_disk_at_the_first_save_leaves_a_run_that_can_be_resumed(tmp_path):
    def no_space() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    line = [*SHORT, "--generations", 2, "--folder", tmp_path / "run"]
    full = command("train_hebb.py", *line, fresh=True, preexec_fn=no_space)
    assert full.returncode == 2 and ".dat" in full.stderr and full.stderr.count("\n") == 1
    run = run_folder(tmp_path / "run")
    assert command("train_hebb.py", "--resume", run).returncode == 0 and generations(run) == 2
