"""Files from strangers and damaged files: each loads correctly or is refused with one line.

Nothing in them is executed, none hangs, none takes memory out of proportion to its size.
"""

import os
import struct
import time
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from run_folder.checkpoints import FileError, RunFolder, load_agent, load_dat
from run_folder.dat_files import dat_bytes
from run_folder.safe_files import decode_npz, read_with
from tests.hostile_files import (
    ARRAY,
    BOMBS,
    MEGABYTE,
    RUNS_CODE,
    STATES,
    TABLES,
    TENSOR,
    archive,
    array_pickle,
    legacy,
)

GOLDEN = Path(__file__).parent / "golden"
fuzz = settings(
    max_examples=300,
    deadline=None,  # the clock on the wall; read_within_bounds has that of the processor
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read_within_bounds(read, path, seconds=1.0, memory=8 * MEGABYTE):
    """`read(path)`, or None when it is refused as it should be: in one line, fast, small."""
    tracemalloc.start()
    began = time.process_time()
    try:
        return read(path)
    except FileError as error:
        message = str(error)
        assert str(path) in message and message.isprintable()
        assert len(message) < 400 + len(str(path))
        return None
    finally:
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert used < memory, f"{used / MEGABYTE:.0f} MB taken"
        assert time.process_time() - began < seconds


@st.composite
def damage(draw, length: int):
    """A function that flips bits of some bytes, cuts the tail, or moves a slice elsewhere."""
    position = st.integers(0, length - 1)
    kind = draw(st.sampled_from(["flip", "cut", "move"]))
    flips = draw(st.lists(st.tuples(position, st.integers(1, 255)), min_size=1, max_size=8))
    start, stop, goal = draw(position), draw(position), draw(position)

    def apply(data: bytes) -> bytes:
        if kind == "cut":
            return data[:goal]
        if kind == "move":
            return data[:goal] + data[start:stop] + data[goal:]
        changed = bytearray(data)
        for index, bits in flips:
            changed[index] ^= bits
        return bytes(changed)

    return apply


# ---- mutated files -----------------------------------------------------------------------------

DAT = dat_bytes(ARRAY)


@fuzz
@given(mutate=damage(len(DAT)))
def test_a_mutated_dat_loads_correctly_or_is_refused(tmp_path, mutate):
    (tmp_path / "a.dat").write_bytes(mutate(DAT))
    loaded = read_within_bounds(load_dat, tmp_path / "a.dat")
    if loaded is not None:  # the zip's checksum notices every change of what counts
        np.testing.assert_array_equal(loaded, ARRAY)


@pytest.mark.parametrize("form", ["legacy", "legacy_tensor", "tensor"])
@fuzz
@given(data=st.data())
def test_a_mutated_dat_of_other_forms_loads_or_is_refused(tmp_path, form, data):
    original = (GOLDEN / f"torch_1.7.1_numpy_1.19.5_{form}.dat").read_bytes()
    mutated = data.draw(damage(len(original)))(original)
    (tmp_path / "a.dat").write_bytes(mutated)
    loaded = read_within_bounds(load_dat, tmp_path / "a.dat")
    if loaded is not None:  # the old forms have no checksum: only its kind can be told
        assert loaded.dtype == np.float32 and np.isfinite(loaded).all()
        assert loaded.nbytes <= 2 * len(mutated)


def make_run(folder: Path) -> RunFolder:
    arguments = {"environment": "CartPole-v1", "hebb_rule": "AD", "init_weights": "uni"}
    with RunFolder.create(folder, arguments | {"popsize": 20, "print_every": 1}) as run:
        for generation in (1, 2):
            state = {"theta": ARRAY, "moment": ARRAY.astype(float), "lr": 0.2, "steps": 7}
            run.save(generation, state, {"mean": 1.5, "std": 0.5}, {"coeffs": ARRAY})
    return run


@pytest.mark.parametrize("name", ["state.npz", "config.json"])
def test_a_mutated_run_opens_with_its_state_or_is_refused(tmp_path, name):
    run = make_run(tmp_path)
    original, rows = (run.path / name).read_bytes(), run.rows

    @fuzz
    @given(mutate=damage(len(original)))
    def check(mutate):
        (run.path / name).write_bytes(mutate(original))
        opened = read_within_bounds(RunFolder.open, run.path)
        if opened is not None:
            np.testing.assert_array_equal(opened.state["theta"], ARRAY)
            assert opened.state["lr"] == 0.2 and opened.state["steps"] == 7
            assert opened.rows == rows

    check()


def test_a_mutated_fitness_table_names_an_agent_or_is_refused(tmp_path):
    run = make_run(tmp_path)
    (run.path / "state.npz").unlink()
    original = (run.path / "fitness.csv").read_bytes()

    @fuzz
    @given(mutate=damage(len(original)))
    def check(mutate):
        (run.path / "fitness.csv").write_bytes(mutate(original))
        agent = read_within_bounds(load_agent, run.path)
        assert agent is None or agent["coeffs"].exists()

    check()


@fuzz
@given(opcodes=st.lists(st.sampled_from(b"(.012FGIJKLMNPQRSTUVX]abcdeghijlopqrstu})\x80\x81\x82\x85"
                                        b"\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x93\x94\x95"
                                        b"\x00\x01\xffoszsystem\n"), max_size=200))  # fmt: skip
def test_random_programs_of_pickle_opcodes_are_refused(tmp_path, opcodes):
    (tmp_path / "a.dat").write_bytes(archive(b"\x80\x02" + bytes(opcodes) + b"."))
    assert read_within_bounds(load_dat, tmp_path / "a.dat") is None


# ---- hostile files -----------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [archive, legacy])
@pytest.mark.parametrize("name", RUNS_CODE)
def test_a_program_in_a_dat_is_not_executed(tmp_path, name, wrap):
    marker = "x" * 8  # as long as `{marker}`, so lengths in the pickle hold
    pickled = RUNS_CODE[name].replace(b"{marker}", marker.encode())
    if not pickled.startswith(b"\x80"):
        pickled = b"\x80\x02" + pickled
    (tmp_path / "a.dat").write_bytes(wrap(pickled))
    folder = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert read_within_bounds(load_dat, tmp_path / "a.dat") is None
        time.sleep(0.01)
        assert os.listdir() == ["a.dat"]
    finally:
        os.chdir(folder)


def test_the_hand_written_pickles_are_those_of_arrays(tmp_path):
    """Were they not, the hostile ones made from them would be refused for a trifle."""
    tensor = TENSOR + b"K\x0ctQK\0K\4K\3\x86K\3K\1\x86\x89ccollections\nOrderedDict\n)RtR."
    good = b"\x80\x02" + tensor
    forms = {
        "array": archive(array_pickle()),
        "legacy array": legacy(array_pickle()),
        "tensor": archive(good, storage_0=ARRAY.tobytes()),
        "legacy tensor": legacy(good, struct.pack("<q", 12) + ARRAY.tobytes()),
    }
    for name, content in forms.items():
        (tmp_path / "a.dat").write_bytes(content)
        np.testing.assert_array_equal(load_dat(tmp_path / "a.dat"), ARRAY, err_msg=name)
    (tmp_path / "a.dat").write_bytes(archive(array_pickle(shape=b"K\5\x85")))
    with pytest.raises(FileError, match="declares 5 values"):
        load_dat(tmp_path / "a.dat")


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_takes_memory_or_time(tmp_path, name):
    (tmp_path / "a.dat").write_bytes(BOMBS[name])
    limit = 8 * MEGABYTE + 4 * len(BOMBS[name])
    assert read_within_bounds(load_dat, tmp_path / "a.dat", memory=limit) is None


@pytest.mark.parametrize("name", STATES)
def test_a_hostile_state_is_refused_before_it_takes_memory_or_time(tmp_path, name):
    run = make_run(tmp_path)
    (run.path / "state.npz").write_bytes(STATES[name])
    limit = 8 * MEGABYTE + 4 * len(STATES[name])
    assert read_within_bounds(RunFolder.open, run.path, memory=limit) is None
    read = partial(read_with, decode_npz, kind="state")  # without asking for what a state needs
    assert read_within_bounds(read, run.path / "state.npz", memory=limit) is None
    assert not (tmp_path / "marker").exists() and not Path("marker").exists()


@pytest.mark.parametrize("name", TABLES)
def test_a_hostile_fitness_table_is_refused_before_it_takes_memory_or_time(tmp_path, name):
    run = make_run(tmp_path)
    (run.path / "state.npz").unlink()
    (run.path / "fitness.csv").write_bytes(TABLES[name])
    assert read_within_bounds(load_agent, run.path, memory=64 * MEGABYTE) is None


@pytest.mark.parametrize("name", ["config.json", "state.npz", "fitness.csv"])
def test_a_pipe_a_device_or_a_folder_in_a_run_neither_blocks_nor_fills_the_memory(tmp_path, name):
    run = make_run(tmp_path)
    (run.path / "state.npz").unlink()
    path = run.path / name
    path.unlink(missing_ok=True)
    for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path)):
        make(path)
        assert read_within_bounds(RunFolder.open, run.path) is None
        path.unlink()
    path.mkdir()
    assert read_within_bounds(RunFolder.open, run.path) is None


def test_a_hostile_config_cannot_make_files_outside_of_its_folder(tmp_path):
    run = make_run(tmp_path)
    config = (run.path / "config.json").read_text()
    config = config.replace('"AD"', '"../../AD"').replace("CartPole-v1", "../../CartPole")
    config = config.replace(f'"run_id": "{run.path.name}"', '"run_id": "/../../x"')
    (run.path / "config.json").write_text(config)
    with RunFolder.open(run.path, write=True) as opened:
        opened.save(3, {"theta": ARRAY}, {"mean": 1.0, "std": 0.0}, {"coeffs": ARRAY})
    assert os.listdir(tmp_path) == [run.path.name]
