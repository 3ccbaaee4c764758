"""Files that mean harm, made by hand: programs, and small files that ask for much memory or time.

test_hostile_files.py opens every one of them.
"""

import io
import struct
import zipfile

import numpy as np

ARRAY = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5
MEGABYTE = 1 << 20


def archive(data_pkl: bytes, compression=zipfile.ZIP_STORED, **records: bytes) -> bytes:
    """What torch.save would write around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr("archive/data.pkl", data_pkl)
        for name, record in records.items():
            file.writestr(f"archive/data/{name.removeprefix('storage_')}", record)
    return buffer.getvalue()


def same_record_again_and_again(content: bytes, times: int = 100_000) -> bytes:
    """The zip archive with a directory that lists its first record `times` times."""
    start = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    directory = content[start:end] * times
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), start, 0)
    return content[:start] + directory + tail


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
    "a million opcodes": archive(b"\x80\x02" + b"N" * (1 << 22) + b"."),
    "a text encoded again and again": archive(
        b"\x80\x02" + text("x" * MEGABYTE) + b"q\x010("
        + (b"c_codecs\nencode\nh\1" + text("latin1") + b"\x86R") * 30 + b"t."
    ),
    "deflated zeros": archive(
        array_pickle(b"J\0\0\x80\0\x85", raw=b"B\0\0\0\2" + bytes(1 << 25)), zipfile.ZIP_DEFLATED
    ),
    "lzma": archive(array_pickle(raw=b"B\0\0\0\2" + bytes(1 << 25)), zipfile.ZIP_LZMA),
    "a record listed 100,000 times": same_record_again_and_again(archive(b"\x80\x02N.")),
    "no pickle": archive(b"\x80\x02N.").replace(b"data.pkl", b"data.pkx"),
    "an endless legacy stream": legacy(b"\x80\x02" + b"N" * (1 << 22) + b"."),
}  # fmt: skip


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


STATES = {
    "a record listed 100,000 times": same_record_again_and_again(
        npz(theta=npy(f"({1 << 18},)", data=bytes(MEGABYTE)))
    ),
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
    "text": npz(theta=npy("(1,)", "'<U1'", b"a\0\0\0")),
}


TABLES = {
    "a million columns": b"a," * (MEGABYTE // 8) + b"\n" + b"1\n" * (MEGABYTE // 8),
    "a long number": b"generation,mean\n" + b"1" * MEGABYTE + b",1\n",
    "an infinite number": b"generation,mean\n1,1" + b"0" * 400 + b"\n",
    "no mean": b"generation\n1\n",
    "text for a mean": b"generation,mean\n1,one\n",
    "no text": bytes(range(256)),
}
