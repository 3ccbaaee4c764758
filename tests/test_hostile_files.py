"""Files from strangers and damaged files: each loads correctly or is refused with one line.

Nothing in them is executed, none hangs, none takes memory out of proportion to its size.
"""

import io
import os
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkpoints import FileError, RunFolder, load_agent, load_dat
from dat_files import dat_bytes

GOLDEN = Path(__file__).parent / "golden"
ARRAY = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5
MEGABYTE = 1 << 20
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


def archive(data_pkl: bytes, compression=zipfile.ZIP_STORED, **records: bytes) -> bytes:
    """What torch.save would write around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr("archive/data.pkl", data_pkl)
        for name, record in records.items():
            file.writestr(f"archive/data/{name.removeprefix('storage_')}", record)
    return buffer.getvalue()


def legacy(pickled: bytes, tail: bytes = b"") -> bytes:
    """What torch.save wrote before version 1.6."""
    magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    return (
        magic
        + b"\x80\x02M\xe9\x03."
        + b"\x80\x02}."
        + pickled
        + b"\x80\x02]X\x01\0\0\x000a."
        + tail
    )


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
FLOAT32 = b"cnumpy\ndtype\n" + text("f4") + b"K\0K\1\x87R(K\3" + text("<") + b"NNNJ\xff\xff\xff\xff"
FLOAT32 += b"J\xff\xff\xff\xffK\0tb"
SHELL = text("touch {marker}")
NUMEROUS = b"\x8a\x06" + (10**12).to_bytes(6, "little")
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n"
TENSOR += text("0") + text("cpu")


def array_pickle(shape: bytes = b"K\4K\3\x86", dtype: bytes = FLOAT32, raw: bytes = b"") -> bytes:
    raw = raw or b"B" + struct.pack("<I", ARRAY.nbytes) + ARRAY.tobytes()
    return b"\x80\x02" + RECONSTRUCT + b"C\1b\x87R(K\1" + shape + dtype + b"\x89" + raw + b"tb."


RUNS_CODE = {
    "reduce": b"cos\nsystem\n" + SHELL + b"\x85R.",
    "reduce in the shape": array_pickle(shape=b"cos\nsystem\n" + SHELL + b"\x85R"),
    "reduce in the data": array_pickle(raw=b"cos\nsystem\n" + SHELL + b"\x85R"),
    "reduce before the array": b"cos\nsystem\n" + SHELL + b"\x85R0" + array_pickle()[2:],
    "as a name on the stack": text("os") + text("system") + b"\x93" + SHELL + b"\x85R.",
    "eval": b"cbuiltins\neval\n" + text("__import__('os').system('touch {marker}')") + b"\x85R.",
    "inst": b"(" + SHELL + b"ios\nsystem\n.",
    "obj": b"(cos\nsystem\n" + SHELL + b"o.",
    "newobj": b"csubprocess\nPopen\n(" + text("touch") + text("{marker}") + b"l\x85\x81.",
    "build": RECONSTRUCT
    + b"C\1b\x87R}"
    + text("__setstate__")
    + b"cos\nsystem\nsb"
    + SHELL
    + b"b.",
    "persistent id": b"cos\nsystem\n" + SHELL + b"\x85RQ.",
    "extension registry": b"\x82\x01" + SHELL + b"\x85R.",
    "a codec": b"c_codecs\nencode\n" + SHELL + text("os.system") + b"\x86R.",
    "load from bytes": b"ctorch.storage\n_load_from_bytes\n" + SHELL + b"\x85R.",
}


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


def tensor_pickle(size: bytes, strides: bytes, numel: bytes = NUMEROUS) -> bytes:
    return b"\x80\x02" + TENSOR + numel + b"tQK\0" + size + strides + b"\x89}tR."


NESTED = b"K\1" + b"q\1h\1\x86" * 70  # ((((1, 1), (1, 1)), ...: 2^70 ones to whoever looks

BOMBS = {
    "nested tuples": archive(b"\x80\x02" + NESTED + b"."),
    "nested tuples as a function": archive(b"\x80\x02" + NESTED + b")R."),
    "nested tuples as a shape": archive(array_pickle(shape=NESTED)),
    "nested tuples in a shape": archive(array_pickle(shape=NESTED + b"\x85")),
    "nested tuples as a kind": archive(array_pickle(dtype=FLOAT32.replace(text("f4"), NESTED))),
    "nested tuples as an order": archive(array_pickle(dtype=FLOAT32.replace(text("<"), NESTED))),
    "nested tuples as data": archive(array_pickle(raw=NESTED)),
    "nested tuples as strides": archive(
        tensor_pickle(b"K\1\x85", NESTED, b"K\1"), storage_0=b"1234"
    ),
    "a shape of numbers and text": archive(
        tensor_pickle(b"K\1" + text("x") + b"J\0\0\0\4\x87", b"K\1\x85", b"K\1"),
        storage_0=b"1234",
    ),
    "control codes in a name": archive(b"\x80\x02cos\n\x1b[2Jsystem\n)R."),
    "shape of 10^12": archive(array_pickle(shape=NUMEROUS + b"\x85")),
    "shape of 10^12 in reconstruct": archive(
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        + NUMEROUS + b"\x85" + text("f") + b"\x87R."
    ),
    "negative shape": archive(array_pickle(shape=b"J\xff\xff\xff\xffJ\xf4\xff\xff\xff\x86")),
    "shape that overflows to 12": archive(array_pickle(shape=b"\x8a\x05\0\0\0\0\1" * 3 + b"\x87")),
    "no values": archive(array_pickle(shape=b"K\0" + NUMEROUS + b"\x86", raw=b"C\0")),
    "storage of 10^12": archive(tensor_pickle(NUMEROUS + b"\x85", b"K\1\x85"), storage_0=b"1234"),
    "stride 0": archive(tensor_pickle(NUMEROUS + b"\x85", b"K\0\x85", b"K\1"), storage_0=b"1234"),
    "legacy storage of 10^12": legacy(
        tensor_pickle(NUMEROUS + b"\x85", b"K\1\x85"), struct.pack("<q", 10**12) + b"1234"
    ),
    "memo of 2^31": archive(b"\x80\x02Nr\xff\xff\xff\x7f."),
    "text of 2^40": archive(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"text."),
    "bytes of 2^31": archive(b"\x80\x03B" + struct.pack("<I", (1 << 31) - 1) + b"bytes."),
    "integer of 2^31 bytes": archive(b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b"1."),
    "frame of 2^60": archive(b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N."),
    "nested tuples as a key": archive(b"\x80\x02}" + NESTED + b"Ns."),
    "nested lists": archive(b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b"."),
    "a list in itself": archive(b"\x80\x02]q\0h\0a."),
    "a million opcodes": archive(b"\x80\x02" + b"N0" * 500_000 + b"N."),
    "a text encoded again and again": archive(
        b"\x80\x02" + text("x" * MEGABYTE) + b"q\x010("
        + (b"c_codecs\nencode\nh\1" + text("latin1") + b"\x86R") * 30 + b"t."
    ),
    "deflated zeros": archive(
        array_pickle(b"J\0\0\x80\0\x85", raw=b"B\0\0\0\2" + bytes(1 << 25)), zipfile.ZIP_DEFLATED
    ),
    "lzma": archive(array_pickle(raw=b"B\0\0\0\2" + bytes(1 << 25)), zipfile.ZIP_LZMA),
    "no pickle": archive(b"\x80\x02N.").replace(b"data.pkl", b"data.pkx"),
    "an endless legacy stream": legacy(b"\x80\x02" + b"N0" * 100_000 + b"N."),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_takes_memory_or_time(tmp_path, name):
    (tmp_path / "a.dat").write_bytes(BOMBS[name])
    limit = 8 * MEGABYTE + 4 * len(BOMBS[name])
    assert read_within_bounds(load_dat, tmp_path / "a.dat", memory=limit) is None


def npz(compression=zipfile.ZIP_STORED, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, member in members.items():
            file.writestr(f"{name}.npy", member)
    return buffer.getvalue()


def lie(content: bytes, compressed: int, plain: int) -> bytes:
    """The zip archive with other sizes for the first record, in its directory."""
    start = content.index(b"PK\1\2") + 20
    return content[:start] + struct.pack("<II", compressed, plain) + content[start + 8 :]


def npy(shape: str, descr: str = "'<f4'", data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + data


def same_member_again_and_again(times: int) -> bytes:
    content = npz(theta=npy(f"({1 << 18},)", data=bytes(MEGABYTE)))
    start = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    directory = content[start:end] * times
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, times, times, len(directory), start, 0)
    return content[:start] + directory + tail


STATES = {
    "a member named 10,000 times": same_member_again_and_again(10_000),
    "shape of 10^12": npz(theta=npy(f"({10**12},)")),
    "shape of many zeros": npz(theta=npy(f"(0, {10**12})")),
    "empty items": npz(theta=npy(f"({10**12},)", "'<U0'")),
    "objects": npz(theta=npy("(1,)", "'|O'", b"cos\nsystem\n.")),
    "structures": npz(theta=npy("(1,)", "[('a', '<f4', (1000, 1000, 1000))]", b"1234")),
    "a call for a dtype": npz(theta=npy("(1,)", "__import__('os').system('touch marker')")),
    "a nested header": npz(theta=npy("(" * 3000 + "1," + ")" * 3000)),
    "a newer npy": npz(theta=npy("(1,)", data=b"1234", version=b"\3\0")),
    "deflated zeros": npz(zipfile.ZIP_DEFLATED, theta=npy(f"({1 << 23},)", data=bytes(1 << 25))),
    "sizes of 2^31": lie(npz(theta=npy("(1,)", data=b"1234")), (1 << 31) - 1, (1 << 31) - 1),
    "a stored size of 2^31": lie(npz(theta=npy("(1,)", data=b"1234")), (1 << 31) - 1, 60),
    "a plain size of 2^31": lie(npz(theta=npy("(1,)", data=b"1234")), 60, (1 << 31) - 1),
    "not an npy": npz(theta=b"theta"),
    "no format": npz(theta=npy("(1,)", data=b"1234")),
}


@pytest.mark.parametrize("name", STATES)
def test_a_hostile_state_is_refused_before_it_takes_memory_or_time(tmp_path, name):
    run = make_run(tmp_path)
    (run.path / "state.npz").write_bytes(STATES[name])
    limit = 8 * MEGABYTE + 4 * len(STATES[name])
    assert read_within_bounds(RunFolder.open, run.path, memory=limit) is None
    assert not (tmp_path / "marker").exists() and not Path("marker").exists()


TABLES = {
    "a million columns": b"a," * (MEGABYTE // 8) + b"\n" + b"1\n" * (MEGABYTE // 8),
    "a long number": b"generation,mean\n" + b"1" * MEGABYTE + b",1\n",
    "an infinite number": b"generation,mean\n1,1" + b"0" * 400 + b"\n",
    "no mean": b"generation\n1\n",
    "text for a mean": b"generation,mean\n1,one\n",
    "no text": bytes(range(256)),
}


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
