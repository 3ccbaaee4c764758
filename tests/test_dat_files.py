"""The reference's .dat files, written and read by us and by real torches."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from run_folder.dat_files import dat_name, load_dat, parse_dat_name, save_dat
from run_folder.safe_files import FileError

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).parent / "golden"
ARRAY = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5  # what the golden .dat hold
ARGUMENTS = {
    "environment": "CartPole-v1",
    "hebb_rule": "ABCD_lr",
    "init_weights": "uni",
    "popsize": 20,
}


@pytest.mark.parametrize("form", ["zip", "legacy", "tensor", "legacy_tensor"])
def test_files_of_an_old_torch_with_numpy_1_load(form):
    """Written by torch 1.7.1 with numpy 1.19.5, the reference's generation of libraries."""
    loaded = load_dat(GOLDEN / f"torch_1.7.1_numpy_1.19.5_{form}.dat", 12)
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, ARRAY)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "value",
    [ARRAY, ARRAY.astype(float), np.asfortranarray(ARRAY), ARRAY.astype(">f4"), ARRAY[:, ::2],
     ARRAY[0], torch.from_numpy(ARRAY), torch.from_numpy(ARRAY).double()],
    ids=["float32", "float64", "fortran", "big-endian", "strided", "1-d", "tensor", "double"],
)  # fmt: skip
def test_whatever_array_todays_torch_saves_loads_as_float32(tmp_path, value, legacy):
    torch.save(value, tmp_path / "a.dat", _use_new_zipfile_serialization=not legacy)
    loaded = load_dat(tmp_path / "a.dat")
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, np.asarray(value))


@pytest.mark.parametrize("protocol", [3, 4])
def test_newer_pickle_protocols_load_too(tmp_path, protocol):
    torch.save(ARRAY, tmp_path / "a.dat", pickle_protocol=protocol)
    np.testing.assert_array_equal(load_dat(tmp_path / "a.dat"), ARRAY)


def test_torch_reads_our_files_with_and_without_weights_only(tmp_path):
    save_dat(tmp_path / "a.dat", ARRAY)
    unrestricted = torch.load(tmp_path / "a.dat", weights_only=False)
    allowed = [
        (np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
        np.ndarray, np.dtype, type(np.dtype("f4")),
    ]  # fmt: skip
    with torch.serialization.safe_globals(allowed):
        restricted = torch.load(tmp_path / "a.dat", weights_only=True)
    for loaded in (unrestricted, restricted):
        assert type(loaded) is np.ndarray and loaded.dtype == np.float32
        np.testing.assert_array_equal(loaded, ARRAY)


def test_equal_arrays_give_equal_bytes_in_any_process_under_any_name(tmp_path):
    save_dat(tmp_path / "a.dat", ARRAY)
    code = "import sys, numpy as np; from run_folder.dat_files import *; save_dat(sys.argv[1], "
    code += "np.asfortranarray(np.arange(12.0).reshape(4, 3) / 8 - 0.5))"
    subprocess.run([sys.executable, "-c", code, tmp_path / "another.dat"], cwd=ROOT, check=True)
    assert (tmp_path / "a.dat").read_bytes() == (tmp_path / "another.dat").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dat", "another.dat"]


def test_neither_saving_nor_loading_imports_torch(tmp_path):
    code = "import sys, numpy; from run_folder.dat_files import *; "
    code += "save_dat(sys.argv[1], numpy.ones(3)); load_dat(sys.argv[1])"
    code += "; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, str(tmp_path / "a.dat")]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == "False\n"


def test_a_wrong_dat_is_refused_with_one_line_that_names_it(tmp_path):
    path = tmp_path / "a.dat"

    def refused(pattern, **expected):
        with pytest.raises(FileError, match=pattern) as caught:
            load_dat(path, **expected)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    refused("does not exist")
    path.mkdir()
    refused("is not a file")
    path.rmdir()
    os.mkfifo(path)
    refused("is not a file")
    path.unlink()
    path.write_bytes(b"")
    refused("is empty")
    path.write_text("coefficients")
    refused("not written by torch.save")
    save_dat(path, ARRAY)
    refused("holds 12 values; rule AD on CartPole-v1 needs 14", size=14,
            what="rule AD on CartPole-v1")  # fmt: skip
    whole = path.read_bytes()
    for length in (1, 10, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused("truncated")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02N.")
    refused("is a compressed archive")
    for value, pattern in {
        "NaN": (ARRAY * np.nan, "not finite"),
        "too large for float32": (np.array([1e300]), "not finite"),
        "object": (np.array([{}]), "type O8"),
        "complex": (ARRAY * 1j, "type c8"),
        "text": (np.array(["a"]), "type U1"),
        "integers": (torch.arange(3), "LongStorage"),
        "dictionary": ({"coeffs": ARRAY}, "'dict', not an array"),
        "module": (torch.nn.Linear(2, 2), "refused without executing it"),
        "transposed": (torch.from_numpy(ARRAY).T, "view"),
    }.values():
        torch.save(value, path)
        refused(pattern)


def test_dat_names_are_the_references_and_safe_on_any_disk():
    name = dat_name(ARGUMENTS, 475.9, "coeffs", 12)
    assert name == "HEBcoeffs__CartPole-v1__rew_475__ABCD_lr__init_uni__pop_20__coeffs__12.dat"
    assert parse_dat_name(name) == (12, "coeffs")
    for environment, block in [
        ("ALE/Pong-v5", "CNN_parameters"),
        ("my.module:Id-v0", "coevolved_initial_weights"),
        (["AntBulletEnv-v0", "../../etc/x"], "weights"),
        ("a__b" * 100, "coeffs"),
    ]:
        name = dat_name(ARGUMENTS | {"environment": environment}, float("nan"), block, 3)
        assert re.fullmatch(r"[\w.+-]{1,240}", name) and "/" not in name
        assert parse_dat_name(name) == (3, block)
    static = dat_name(ARGUMENTS | {"hebb_rule": "static"}, -3.7, "weights", 1)
    assert static == "weights__CartPole-v1__rew_-3__static__init_uni__pop_20__weights__1.dat"
