"""The reference's `.dat`: `torch.save` of one float32 array, without any need of torch.

A pickle is a program. Here it is read as the description of an array and never run.

Names are the reference's: HEBcoeffs__ENV__rew_N__RULE__init_INIT__pop_P__BLOCK__GEN.dat, where N
is the mean fitness cut to an integer, and BLOCK `coeffs`, or beside it `CNN_parameters` or
`coevolved_initial_weights`. The evolved weights of a static network, which the reference lacks,
are weights__ENV__...__weights__GEN.dat.
"""

import io
import math
import pickle
import pickletools
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rules.formulas import short_name
from run_folder.safe_files import (
    FileError,
    array_from,
    check_shape,
    open_archive,
    read_member,
    read_with,
    write_file,
)

FLOATS = {"f4": "f4", "f8": "f8", "torch.FloatStorage": "f4", "torch.DoubleStorage": "f8"}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # how torch.save began before it wrote zip archives
MAX_OPCODES = 256  # the pickle of an array has 56, that of a tensor 38


def dat_name(arguments: dict, mean: float, block: str, generation: int) -> str:
    """The file name of one block of a generation, given the run's arguments and mean fitness."""
    head = "weights" if arguments["hebb_rule"] == "static" else "HEBcoeffs"
    run = "rew_{}__{hebb_rule}__init_{init_weights}__pop_{popsize}"
    arguments = arguments | {"hebb_rule": short_name(arguments["hebb_rule"])}
    run = run.format(int(mean) if math.isfinite(mean) else mean, **arguments)
    return safe_name(f"{head}__{environment_name(arguments)}__{run}__{block}__{generation}.dat")


def parse_dat_name(name: str) -> tuple[int, str] | None:
    """(generation, block) of a `.dat` file name; None for other names."""
    found = re.search(r"__([A-Za-z]+(?:_[A-Za-z]+)*)__([0-9]{1,9})\.dat$", name)
    return (int(found[2]), found[1]) if found else None


def environment_name(arguments: dict) -> str:
    """The id of the environment (or ids, joined by `+`) as part of a file name."""
    given = arguments["environment"]
    joined = given if isinstance(given, str) else "+".join(map(str, given))
    return safe_name(joined)[:140]  # a file name may have 255 bytes


def safe_name(name: str) -> str:
    """`ALE/Pong-v5` and `module:Id-v0` without what a file name cannot hold."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", name)


def dat_bytes(array: np.ndarray) -> bytes:
    """What `torch.save` writes for a float32 array; equal arrays give equal bytes.

    Any torch and any numpy reads it. Written without torch, which spares the master of a run the
    import: a second, and threads before the fork. numpy 2 would name the module `numpy._core`,
    which numpy 1 lacks; both know `numpy.core`. Protocol 2, because
    `torch.load(weights_only=True)` reads no other.
    """
    pickled = pickle.dumps(np.ascontiguousarray(array, "<f4"), protocol=2)
    pickled = pickled.replace(b"\x80\x02cnumpy._core.", b"\x80\x02cnumpy.core.", 1)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, record in {"data.pkl": pickled, "byteorder": "little", "version": "3\n"}.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), record)  # ZipInfo: a fixed date
    return buffer.getvalue()


def save_dat(path: str | Path, array: np.ndarray) -> None:
    """Write a `.dat` file atomically; FileError when that fails."""
    write_file(path, dat_bytes(array))


def load_dat(path: str | Path, size: int | None = None, what: str = "this network") -> np.ndarray:
    """Read the array of a `.dat` file: float32, in the shape in which it was saved.

    Takes numpy arrays and tensors of float32 or float64, written by today's torch.save or by
    that of before torch 1.6. Raises FileError (a ValueError) with one line for anything else: a
    file that is missing, empty or damaged, that carries something other than one such array
    (nothing in it is executed), has another number of values than the `size` that `what` needs,
    or values that are not finite.
    """
    array = read_with(_decode_dat, path, ".dat file")
    if size is not None and array.size != size:
        raise FileError(f"{path} holds {array.size} values; {what} needs {size}")
    if not np.isfinite(array).all():
        raise FileError(f"{path} holds values that are not finite (NaN or infinite)")
    return array


@dataclass(eq=False)
class _Call:
    """What a pickle asks for: call `function`, then set a state. Nobody here ever does."""

    function: object
    arguments: object
    state: object = None


_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_VALUES |= {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", *_LITERALS}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "TUPLE": None}  # of how many
_FILLS = {"APPEND": 1, "SETITEM": 2, "APPENDS": None, "SETITEMS": None}  # with how many


def _describe(file) -> object:
    """Read one pickle as a tree of values and `_Call`s, in memory linear in its length.

    A stack machine of the opcodes that arrays and tensors need; any other opcode is refused.
    """
    stack, marks, memo = [], [], {}

    def pop(count: int | None) -> tuple:
        """So many from the top of the stack; None: all above the last mark."""
        first = marks.pop() if count is None else len(stack) - count
        items = tuple(stack[first:])
        del stack[first:]
        return items

    for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if number > MAX_OPCODES:
            raise FileError("carries more than one array; refused without executing it")
        match opcode.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                marks.append(len(stack))
            case name if name in _VALUES:
                stack.append(_LITERALS.get(name, argument))
            case name if name in _TUPLES:
                stack.append(pop(_TUPLES[name]))
            case "EMPTY_DICT" | "EMPTY_LIST" as name:  # what is put into them does not matter here
                stack.append(_Call(name.removeprefix("EMPTY_").lower(), ()))
            case name if name in _FILLS:
                pop(_FILLS[name])
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if argument is None else argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(argument.replace(" ", "."))
            case "STACK_GLOBAL":
                stack.append(".".join(pop(2)))
            case "BINPERSID":
                stack.append(_Call("persistent", *pop(1)))
            case "REDUCE":
                stack.append(_Call(*pop(2)))
            case "BUILD":
                (state,) = pop(1)
                stack[-1].state = state
            case name:
                reason = f"carries more than an array ({name}); refused without executing it"
                raise FileError(reason)
    return stack.pop()


def _decode_dat(file) -> np.ndarray:
    """The array in an open `.dat` file: a zip archive, or the older stream of pickles."""
    if zipfile.is_zipfile(file):
        with open_archive(file) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise FileError("is a zip archive that torch.save did not write")
            folder = pickles[0].removesuffix("data.pkl")
            tree = _describe(io.BytesIO(read_member(archive, pickles[0])))
            return _build(tree, lambda key: read_member(archive, f"{folder}data/{key}"))
    file.seek(0)
    stream = io.BytesIO(file.read())
    if stream.getvalue()[:2] != b"\x80\x02" or _describe(stream) != LEGACY_MAGIC:
        raise FileError("is truncated, or was not written by torch.save")
    _version, _system, tree, _keys = (_describe(stream) for _ in range(4))
    return _build(tree, lambda _: stream.read()[8:])  # the one storage, after its int64 length


def _build(tree: object, read_storage) -> np.ndarray:
    """The float32 array that a tree of `_describe` stands for."""
    match tree:
        case _Call(
            "numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct",
            ("numpy.ndarray", *_),
            (1, shape, _Call("numpy.dtype", (str(kind), *_), (_, str(order), *_)), fortran, raw),
        ):
            check_shape(shape)
        case _Call(
            "torch._utils._rebuild_tensor_v2",
            (_Call("persistent", ("storage", str(kind), str(key), *_)), 0, shape, strides, *_),
        ):
            check_shape(shape)
            if strides != tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape))):
                raise FileError("carries a view of a tensor; save a contiguous one")
            order, fortran, raw = "<", False, read_storage(key)
        case _Call(str(name)):
            raise FileError(f"carries '{name}', not an array; refused without executing it")
        case _:
            raise FileError("carries something other than an array; refused without executing it")
    if kind not in FLOATS:
        raise FileError(f"holds values of type {kind}; float32 and float64 are allowed")
    match raw:
        case str(text) | _Call("_codecs.encode", (str(text), "latin1")):
            raw = text.encode("latin1")
        case _Call("__builtin__.bytes" | "builtins.bytes", ()):
            raw = b""
    dtype = np.dtype(FLOATS[kind]).newbyteorder(order)
    with np.errstate(over="ignore"):  # too large for float32: infinite, which load_dat refuses
        return array_from(raw, dtype, shape, fortran is True).astype(np.float32)
