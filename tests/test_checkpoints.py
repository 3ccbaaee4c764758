"""Run folders, with real files, real processes, real SIGKILLs."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from run_folder.checkpoints import (
    FileError,
    RunFolder,
    best_generation,
    load_agent,
    load_dat,
    save_dat,
)
from run_folder.dat_files import dat_name, parse_dat_name

ROOT = Path(__file__).resolve().parent.parent
ARGUMENTS = {
    "environment": "CartPole-v1",
    "hebb_rule": "ABCD_lr",
    "init_weights": "uni",
    "popsize": 20,
    "print_every": 5,
    "generations": 100,
}


def theta_of(generation: int, size: int = 1000) -> np.ndarray:
    return np.random.default_rng(generation).standard_normal(size, dtype=np.float32)


def save_generation(run: RunFolder, generation: int, mean: float | None = None, size: int = 1000):
    theta = theta_of(generation, size)
    state = {"theta": theta, "moment": theta.astype(float) ** 2, "lr": 0.2 * 0.995**generation}
    row = {"mean": float(generation) if mean is None else mean, "std": 0.1, "failed": 0}
    run.save(generation, state, row, {"coeffs": theta.reshape(-1, 5)})


def start(code: str, *arguments) -> subprocess.Popen:
    """A Python process that has this file's helpers."""
    code = f"from tests.test_checkpoints import *\n{code}"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def generations_on_disk(run: RunFolder) -> list[int]:
    return [generation for generation, _, _ in run.dat_files()]


def test_kept_are_every_print_every_th_generation_the_best_and_the_last(tmp_path):
    with RunFolder.create(tmp_path, ARGUMENTS) as run:
        for generation, mean in enumerate([np.nan, 2, 9, 9, np.nan, 3, 4, 1, 2, 1, 2, 3], start=1):
            save_generation(run, generation, mean)
            best = int(np.argmax([np.nan_to_num(row["mean"]) for row in run.rows])) + 1
            every = set(range(5, generation, 5))
            assert generations_on_disk(run) == sorted(every | {best, generation})
    assert generations_on_disk(run) == [3, 5, 10, 12]
    for which, generation in {"best": 3, "last": 12, 5: 5, "10": 10}.items():
        saved = load_dat(load_agent(run.path, which)["coeffs"], 1000)
        np.testing.assert_array_equal(saved, theta_of(generation).reshape(-1, 5))
    with pytest.raises(FileError, match=r"generation 4 is not in .*allowed: best, last, 3, 5, 10"):
        load_agent(run.path, 4)
    assert [*run.files_of("3-10")] == [3, 5, 10] and [*run.files_of("4-11")] == [5, 10]
    for which in ("6-9", "10-3", "3-", "-3", "3-5-10", "best-12"):
        with pytest.raises(FileError, match=f"generation {which} is not in .*allowed: .*, A-B"):
            run.files_of(which)


def test_an_opened_run_has_all_that_was_saved(tmp_path):
    with RunFolder.create(tmp_path / "new" / "parent", ARGUMENTS) as run:
        for generation in (1, 2, 3):
            save_generation(run, generation, generation / 3)
    with RunFolder.open(run.path, write=True) as again:
        np.testing.assert_array_equal(again.state["theta"], theta_of(3))
        assert again.state["moment"].dtype == np.float64 and again.state["lr"] == 0.2 * 0.995**3
        assert [row["mean"] for row in again.rows] == [1 / 3, 2 / 3, 1.0]
        again.change_arguments(generations=200)
    assert RunFolder.open(run.path).arguments == ARGUMENTS | {"generations": 200}
    history = np.load(run.path / f"Fitness_values_{run.path.name}_CartPole-v1.npy")
    np.testing.assert_array_equal(history, [1 / 3, 2 / 3, 1.0])
    header, *rows = (run.path / "fitness.csv").read_text().splitlines()
    assert header == "generation,mean,std,failed" and rows[1] == f"2,{2 / 3},0.1,0"
    config = json.loads((run.path / "config.json").read_text())
    assert config["packages"]["numpy"] == np.__version__ and config["command"]


def test_opening_for_writing_undoes_what_was_not_committed(tmp_path):
    with RunFolder.create(tmp_path, ARGUMENTS) as run:
        for generation in (1, 2):
            save_generation(run, generation)
    (run.path / "fitness.csv").write_text("generation,mean\n1,1.0\n2,2.")  # a power cut
    (run.path / ".state.npz.tmp").write_bytes(b"half a state")
    save_dat(
        run.path / dat_name(ARGUMENTS, 3.0, "coeffs", 5), theta_of(9)
    )  # of a generation to come
    save_dat(run.path / "mine.dat", theta_of(9))  # of the user
    assert load_agent(run.path, "last") == load_agent(run.path, 2)
    with RunFolder.open(run.path, write=True):
        assert generations_on_disk(run) == [2]
        assert (run.path / "fitness.csv").read_text().endswith("\n2,2.0,0.1,0\n")
        assert not list(run.path.glob("*.tmp")) and (run.path / "mine.dat").exists()


def test_what_is_shipped_beside_a_better_generation_stays_until_the_next_is_saved(tmp_path):
    with RunFolder.create(tmp_path, ARGUMENTS) as run:
        for generation, mean in enumerate((1, 3, 2), start=1):
            save_generation(run, generation, mean)
    shipped = run.path / dat_name(ARGUMENTS, 1.0, "coeffs", 1)
    save_dat(shipped, theta_of(1))
    with RunFolder.open(run.path, write=True) as again:
        assert generations_on_disk(again) == [1, 2, 3]
        save_generation(again, 4)
        assert generations_on_disk(again) == [4]


@pytest.mark.parametrize("interrupted", ["_write_derived", "_delete_dat"])
def test_what_the_last_save_had_yet_to_delete_goes_when_the_run_is_opened(
    tmp_path, monkeypatch, interrupted
):
    """Else a finished run that was killed in its last save would hold a file too many for ever."""
    with RunFolder.create(tmp_path, ARGUMENTS) as run:
        for generation in (1, 2, 3):
            save_generation(run, generation)
        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, interrupted, None)  # what calls it dies there
            with pytest.raises(TypeError):
                save_generation(run, 4)
    assert generations_on_disk(run) == [3, 4]
    with RunFolder.open(run.path, write=True) as again:
        assert len(again.rows) == 4 and generations_on_disk(again) == [4]


def test_a_copied_folder_goes_on_and_a_shipped_agent_loads_without_its_state(tmp_path):
    with RunFolder.create(tmp_path, ARGUMENTS) as run:
        save_generation(run, 1)
    shutil.move(run.path, tmp_path / "elsewhere")
    with RunFolder.open(tmp_path / "elsewhere", write=True) as moved:
        save_generation(moved, 2)
    (moved.path / "state.npz").unlink()
    assert parse_dat_name(load_agent(moved.path)["coeffs"].name) == (2, "coeffs")
    assert len(list(moved.path.glob("Fitness_values_*"))) == 1
    with pytest.raises(FileError, match=r"cannot be continued: it has no state.npz"):
        RunFolder.open(moved.path, write=True)


def test_the_old_name_of_a_column_is_read_and_the_run_goes_on(tmp_path):
    """Once the mean fitness of θ itself was in a column `centre`."""
    with RunFolder.create(tmp_path, ARGUMENTS) as run:
        for generation, score in ((1, 7.0), (2, 3.0)):
            row = {"mean": float(generation), "centre": score}
            run.save(generation, {}, row, {"coeffs": theta_of(1)})
    with RunFolder.open(run.path, write=True) as again:
        assert [row["theta_mean"] for row in again.rows] == [7.0, 3.0]
        again.save(3, {}, {"mean": 3.0, "theta_mean": 5.0}, {"coeffs": theta_of(1)})
        assert best_generation(again.rows) == 1
    assert [row["theta_mean"] for row in RunFolder.open(run.path).rows] == [7.0, 3.0, 5.0]


def test_runs_that_start_in_the_same_second_get_folders_of_their_own(tmp_path):
    code = "for _ in range(5): RunFolder.create(sys.argv[1], ARGUMENTS).close()"
    processes = [start(code, tmp_path) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(list(tmp_path.glob("*/config.json"))) == 15


def test_a_bad_folder_is_refused_with_one_line(tmp_path):
    with RunFolder.create(tmp_path, ARGUMENTS) as run:
        save_generation(run, 1)
    config, state = (run.path / "config.json").read_text(), (run.path / "state.npz").read_bytes()

    def refused(pattern, path=run.path, config=config, state=state):
        (run.path / "config.json").write_text(config)
        (run.path / "state.npz").write_bytes(state)
        for write in (False, True):
            with pytest.raises(FileError, match=pattern) as caught:
                RunFolder.open(path, write)
            assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    refused("does not exist", tmp_path / "nowhere")
    refused("is not a folder", run.path / "state.npz")
    refused("is not a run folder", tmp_path)
    refused("a newer version: format 2", config=config.replace('"format": 1', '"format": 2'))
    refused("another version: format 0", config=config.replace('"format": 1', '"format": 0'))
    refused("truncated, damaged", config=config[:50])
    refused("truncated, damaged", config="[" * 100_000)
    refused("no arguments", config="[1, 2]")
    refused("no valid argument popsize", config=config.replace("popsize", "size"))
    refused("print_every below 1", config=config.replace('every": 5', 'every": 0'))
    refused("is empty", state=b"")
    refused("truncated, damaged", state=state[:-1])
    np.savez(tmp_path / "newer.npz", **dict(np.load(io.BytesIO(state))) | {"format": 2})
    refused("a newer version: format 2", state=(tmp_path / "newer.npz").read_bytes())
    with pytest.raises(FileError, match="cannot make a run folder"):
        RunFolder.create(run.path / "config.json", ARGUMENTS)


# ---- what happens to long jobs -----------------------------------------------------------------


def save_for_ever(path: str) -> None:
    """Continue a run until killed; generation g has theta_of(g)."""
    run = RunFolder.open(path, write=True)
    generation = len(run.rows)
    while True:
        generation += 1
        save_generation(run, generation, size=20_000)
        print("saved", flush=True)


def test_a_run_killed_at_any_instant_opens_at_a_committed_generation(tmp_path):
    RunFolder.create(tmp_path, ARGUMENTS).close()
    (path,) = tmp_path.iterdir()
    random, before, left_over = np.random.default_rng(0), 0, 0
    for _ in range(20):
        process = start("save_for_ever(sys.argv[1])", path)
        assert process.stdout.readline() == "saved\n", process.stderr.read()
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.communicate()
        left_over += len(list(path.glob(".*.tmp")))
        with RunFolder.open(path, write=True) as run:
            generation = len(run.rows)
            assert generation >= before
            assert [row["mean"] for row in run.rows] == list(range(1, generation + 1))
            if run.state:
                np.testing.assert_array_equal(run.state["theta"], theta_of(generation, 20_000))
                kept = {*range(5, generation + 1, 5), generation}
                assert kept <= set(generations_on_disk(run)) <= set(range(1, generation + 1))
                last = load_dat(load_agent(path, "last")["coeffs"])
                np.testing.assert_array_equal(last.ravel(), run.state["theta"])
            assert not list(path.glob(".*.tmp"))
        before = generation
    assert before >= 20 and left_over > 0  # kills did come in the middle of a save
    with RunFolder.open(path, write=True) as run:
        save_generation(run, before + 1)
        assert generations_on_disk(run) == sorted({*range(5, before + 1, 5), before + 1})


def fill_the_disk(path: str, limit: str) -> None:
    """Save with a limit on the size of files: the kernel refuses as it does on a full disk."""
    import resource

    run = RunFolder.open(path, write=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        save_generation(run, len(run.rows) + 1)
    except FileError as error:
        print(error)


@pytest.mark.parametrize(
    ("limit", "file"), [(0, "coeffs__3"), (2000, "coeffs__3"), (8000, "state.npz")]
)
def test_a_full_disk_is_reported_and_leaves_the_run_as_it_was(tmp_path, limit, file):
    with RunFolder.create(tmp_path, ARGUMENTS) as run:
        for generation in (1, 2):
            save_generation(run, generation)
    state = (run.path / "state.npz").read_bytes()
    process = start("fill_the_disk(*sys.argv[1:])", run.path, limit)
    output, errors = process.communicate()
    assert errors == "" and re.fullmatch(rf"cannot write .*{file}.*: File too large\n", output)
    assert (run.path / "state.npz").read_bytes() == state
    assert not list(run.path.glob(".*.tmp"))
    with RunFolder.open(run.path, write=True) as again:
        assert len(again.rows) == 2 and generations_on_disk(again) == [2]
        save_generation(again, 3)
    assert len(RunFolder.open(run.path).rows) == 3


def hold_with_a_worker(path: str) -> None:
    """Hold a run, with a forked worker that outlives its master."""
    run = RunFolder.open(path, write=True)
    worker = os.fork()
    if worker:
        print(worker, flush=True)
    time.sleep(60)
    run.close()


def test_a_run_is_written_by_one_process_and_freed_by_sigkill_even_if_workers_live_on(tmp_path):
    run = RunFolder.create(tmp_path, ARGUMENTS)
    save_generation(run, 1)
    run.close()
    master = start("hold_with_a_worker(sys.argv[1])", run.path)
    worker = int(master.stdout.readline())
    try:
        with pytest.raises(FileError, match=rf"is being written by process {master.pid} on "):
            RunFolder.open(run.path, write=True)
        assert load_agent(run.path)  # reading is free
        master.kill()
        master.wait()
        os.kill(worker, 0)  # it lives
        with RunFolder.open(run.path, write=True) as again:
            save_generation(again, 2)
    finally:
        master.kill()
        os.kill(worker, signal.SIGKILL)
        master.communicate()
