"""Files, written atomically and read safely: nothing that is read is ever executed, and every size
is compared with what the file really holds before memory is taken. Errors are one line each."""

import csv
import errno
import fcntl
import io
import math
import os
import socket
import stat
import zipfile
from pathlib import Path

import numpy as np

MAX_BYTES = 1 << 31  # no array file of ours comes near: 1.8 MB for CarRacing's 458,002 values
MAX_RECORDS = 1000  # in a zip archive; ours have 7, and one for each moment of an optimizer


class FileError(ValueError):
    """A file cannot be read or written; one line that names it and says why."""


def temporary_name(name: str) -> str:
    """What a file of this name is called until it is whole."""
    return f".{name}.tmp"


def write_file(path: str | Path, data: bytes, sync: bool = True) -> None:
    """Write all of `data` or nothing: temporary file in the same folder, then rename. What a link
    leads to is written in its place; a device or a pipe gets the bytes as they are.

    With `sync`, file and rename are on the disk before this returns, so a power cut spares them.
    """
    special = os.path.exists(path) and not os.path.isfile(path)
    path = Path(path if special else os.path.realpath(path))
    temporary = path.with_name(temporary_name(path.name))
    try:
        if special:
            path.write_bytes(data)
            return
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if sync:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error


def lock_file(path: Path) -> int:
    """Lock `path` until its descriptor, which is returned, or this process ends.

    Raises FileError that names the process which holds it. A POSIX record lock belongs to one
    process: the kernel frees it when that dies, even from SIGKILL and even while forked workers
    last, which an flock would not.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise FileError(f"cannot write in {path.parent}: {error.strerror}") from None
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.write(lock, f"process {os.getpid()} on {socket.gethostname()}".encode())
    except OSError as error:
        holder = one_line(os.read(lock, 200).decode(errors="replace")) or "another process"
        os.close(lock)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise FileError(f"{path.parent} is being written by {holder}") from None
        raise FileError(f"cannot lock {path.parent}: {error.strerror}") from None
    return lock


def read_with(decode, path: str | Path, kind: str, limit: int = MAX_BYTES):
    """`decode(open file)`, with whatever a damaged file provokes turned into one line."""
    with _open(path, limit) as file:
        try:
            return decode(file)
        except FileError as error:
            raise FileError(f"{path} {one_line(error)}") from None
        except Exception as error:  # a mutated file can trip any line of zipfile or pickletools
            reason = one_line(f"{type(error).__name__} {error}")
            raise FileError(f"{path} is truncated, damaged or no {kind}: {reason}") from None


def one_line(text: object) -> str:
    """What a file says, fit for a terminal: no line breaks, no control codes, not long."""
    return "".join(c if c.isprintable() else " " for c in str(text)[:200]).strip()


def _open(path: str | Path, limit: int):
    """Open a regular file of 1 to `limit` bytes for reading (a pipe would block for ever)."""
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= limit:
            return open(path, "rb")
    except FileNotFoundError:
        raise FileError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise FileError(f"cannot read {path}: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path} is not a file")
    if status.st_size == 0:
        raise FileError(f"{path} is empty")
    raise FileError(f"{path} has {status.st_size:,} bytes; up to {limit:,} are allowed")


def open_archive(file) -> zipfile.ZipFile:
    """The zip archive in an open file. zipfile takes 600 bytes of memory for every record that a
    directory lists, 46 bytes each, so their marks are counted before it looks."""
    file.seek(0)
    if file.read().count(zipfile.stringCentralDir) > MAX_RECORDS:
        raise FileError(f"is an archive of more than {MAX_RECORDS:,} records")
    return zipfile.ZipFile(file)


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """One record of a zip archive; a compressed one could be a bomb and is refused."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise FileError("is a compressed archive; torch.save and numpy.savez write plain ones")
    if not info.compress_size == info.file_size <= _size(archive):
        raise FileError("declares more data than it holds")
    return archive.read(info)


def _size(archive: zipfile.ZipFile) -> int:
    return os.fstat(archive.fp.fileno()).st_size


def check_shape(shape: object) -> None:
    """FileError for what is no shape of an array that could be read."""
    if type(shape) is not tuple or len(shape) > 32:
        raise FileError("has an impossible shape")
    if not all(type(n) is int and 0 <= n <= MAX_BYTES for n in shape):
        raise FileError("has an impossible shape")


def array_from(raw: bytes, dtype: np.dtype, shape: tuple, fortran: bool) -> np.ndarray:
    """`raw` as a read-only array, once its length is what dtype and shape say."""
    check_shape(shape)
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise FileError(f"declares {math.prod(shape)} values and has bytes for another number")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def npz_bytes(arrays: dict) -> bytes:
    """An uncompressed `.npz` of arrays and scalars; equal values give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def decode_npz(file) -> dict[str, np.ndarray]:
    """The arrays of numbers in an open, uncompressed `.npz`; FileError for anything else."""
    with open_archive(file) as archive:
        if sum(info.file_size for info in archive.infolist()) > _size(archive):
            raise FileError("declares more data than it holds")
        names = archive.namelist()
        return {name.removesuffix(".npy"): _npy(read_member(archive, name)) for name in names}


def _npy(member: bytes) -> np.ndarray:
    stream = io.BytesIO(member)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise FileError("holds an array of another version of .npy")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in "biuf":
        raise FileError(f"holds values of type {dtype}; only numbers are allowed")
    return array_from(stream.read(), dtype, shape, fortran).copy()  # writable


def csv_text(row: dict, header: bool) -> str:
    """A row of a `.csv` file, below its header if asked; floats keep every digit."""
    text = io.StringIO()
    writer = csv.DictWriter(text, row, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerow(row)
    return text.getvalue()


def decode_csv(file) -> list[dict]:
    """The rows of an open `.csv` file; what looks like a number becomes an int or a float."""
    rows = filter(None, csv.reader(io.StringIO(file.read().decode())))
    header = next(rows)
    return [dict(zip(header, map(_number, row), strict=True)) for row in rows]


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
