"""Model folders: ``model.safetensors`` and ``config.json``, written whole, read with distrust.

Writing is all or nothing: a folder beside the target is filled, flushed to the disk and
renamed into place. Reading believes nothing that a file says: sizes, names, types, shapes
and offsets are checked against the file's real length before any array is allocated, so a
truncated, foreign or hostile file costs one ``ModelFileError``. Tensors are read through
one file descriptor and never mapped, because a mapped file that somebody shortens kills
the process that reads it.
"""

import json
import math
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microdollar.errors import MissingExtraError, ModelFileError
from microdollar.files import made_folder
from microdollar.learn.replace_folder import move_into_place, sync, temporary_sibling
from microdollar.learn.strict_json import bad, json_object, show

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

FORMAT = "microdollar"
FORMAT_VERSION = 1
TENSORS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
MAX_BYTES = 2**32
"""Largest tensor file that is read unless the caller allows more."""
MAX_HEADER_BYTES = 2**20
MAX_CONFIG_BYTES = 2**20

_DTYPES = {
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
}
_TYPES_IN_FILES = ("U64", "I64", "F64", "F32", "U32", "I32", "F16", "U16", "I16", "I8", "U8")
"""The order of tensors in a safetensors file, before their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """What one tensor of a network must look like."""

    dtype: str
    """Name of a numpy type, e.g. ``"float32"``."""
    shape: tuple[int | str, ...]
    """Sizes; a string names a free one. The same name means the same size in every tensor,
    and where ``config.json`` has an entry of that name, the size must equal it."""
    check: Callable[[tuple[int, ...]], str | None] | None = None
    """Given the shape, says what else is wrong with it, or None. Runs before allocation."""


TensorSpecs = Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTensor:
    """A tensor that is larger than memory may be, in a file of nothing but its numbers."""

    path: Path
    dtype: str
    """Name of a numpy type; the numbers are little-endian."""
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One tensor of a header that was found consistent."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def save_folder(
    folder: Path, tensors: "Mapping[str, Array | FileTensor]", config: Mapping[str, Any]
) -> None:
    """Write a model folder, all or nothing.

    A folder that holds a model of ours is replaced; the old model stays in place until the
    new one is complete on the disk. Any other folder with files in it is left as it is.

    Args:
        folder: where to; parents are made.
        tensors: arrays by name, floats or integers of 1 to 8 bytes, any shape; those in
            files are copied a block at a time.
        config: what JSON can hold; must have ``network``. ``format`` and
            ``format_version`` are added.

    Raises:
        ModelFileError: if it can't be written; nothing is left behind.
        TypeError: if a tensor's type or a value of ``config`` can't be stored.
        ValueError: if ``config`` has no ``network``, or holds a number that is not finite.
    """
    if not isinstance(config.get("network"), str):
        raise ValueError("config needs 'network', the name of the network")
    stated = {"format": FORMAT, "format_version": FORMAT_VERSION, **config}
    text = json.dumps(stated, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    plain = {
        name: tensor if isinstance(tensor, FileTensor) else _storable(name, tensor)
        for name, tensor in tensors.items()
    }
    with whole_folder(folder, names=(CONFIG_NAME, TENSORS_NAME)) as fresh:
        (fresh / CONFIG_NAME).write_text(text, encoding="utf-8")
        _write_tensors(fresh / TENSORS_NAME, plain)
        # safetensors makes files for their owner alone.
        (fresh / TENSORS_NAME).chmod(stat.S_IMODE((fresh / CONFIG_NAME).stat().st_mode))


@contextmanager
def whole_folder(folder: Path, *, names: Collection[str]) -> Iterator[Path]:
    """A folder to write files into, which gets its name when the block has ended.

    Until then, and after an error, what was there before is there. A model of ours is
    replaced, any other folder with files in it is not.

    Args:
        folder: where to; parents are made.
        names: of the files that a model of this kind may hold.

    Raises:
        ModelFileError: if it can't be written, or holds something else; nothing is left behind.
    """
    target = Path(os.path.realpath(folder))
    try:
        _refuse_foreign(folder, target, names)
        with made_folder(target.parent), temporary_sibling(target) as fresh:
            yield fresh
            for path in (*fresh.iterdir(), fresh):
                sync(path)
            move_into_place(fresh, target)
            sync(target.parent)
    except OSError as error:
        raise ModelFileError(
            f"can't write the model to {folder}: {error.strerror or error}; nothing was left "
            "behind. Name a folder on a disk with room that you may write to."
        ) from error


def load_folder(
    folder: Path,
    *,
    network: str,
    tensors: TensorSpecs | Callable[[dict[str, Any]], TensorSpecs],
    max_bytes: int = MAX_BYTES,
) -> "tuple[dict[str, Array], dict[str, Any]]":
    """Read a model folder, checking everything before anything is allocated.

    Args:
        folder: a folder that ``save_folder`` wrote.
        network: the ``network`` that its configuration must name.
        tensors: exactly the tensors that must be there, or a function that gives them
            from the configuration; a ``KeyError``, ``TypeError`` or ``ValueError`` of that
            function is the configuration's fault.
        max_bytes: largest tensor file to accept.

    Returns:
        Writable arrays by name, and the configuration without ``format`` and
        ``format_version``.

    Raises:
        ModelFileError: names the file and says what is wrong with it.
    """
    folder = Path(folder)
    config = read_config(folder)
    path = folder / CONFIG_NAME
    if config["network"] != network:
        bad(path, f"network is {show(config['network'])}, want {network!r}")
    try:
        specs = tensors(config) if callable(tensors) else tensors
    except (KeyError, TypeError, ValueError) as error:
        bad(path, f"unusable value ({type(error).__name__}: {show(str(error))})")
    path = folder / TENSORS_NAME
    with _regular_file(path, max_bytes) as (file, size):
        entries, data_start = _read_header(path, file, size)
        _match(path, entries, specs, config)
        return _read_tensors(path, file, entries, data_start), config


def read_config(folder: Path) -> dict[str, Any]:
    """The checked configuration of a model folder, to learn which network it holds.

    Returns:
        The entries of ``config.json`` without ``format`` and ``format_version``;
        ``network`` is a string.

    Raises:
        ModelFileError: if it is missing, foreign, broken or of a newer format.
    """
    path = Path(folder) / CONFIG_NAME
    with _regular_file(path, MAX_CONFIG_BYTES) as (file, size):
        raw = _read(path, file, size)
    config = json_object(path, raw, "the file")
    if config.pop("format", None) != FORMAT:
        bad(path, f"not a model of {FORMAT} (it has no 'format': '{FORMAT}')")
    version = config.pop("format_version", None)
    if type(version) is not int or version < 1:
        bad(path, f"format_version must be a positive integer, got {show(version)}")
    if version > FORMAT_VERSION:
        bad(
            path,
            f"format_version {show(version)} is newer than {FORMAT_VERSION}, which this version "
            "of microdollar reads",
            "Type: pip install --upgrade microdollar",
        )
    if not isinstance(config.get("network"), str):
        bad(path, "it has no 'network' that names what was saved")
    return config


def _storable(name: str, array: "Array") -> "Array":
    import numpy as np

    plain = np.asarray(array, order="C")
    if plain.dtype.name not in _DTYPES.values():
        raise TypeError(f"tensor {name!r} has type {plain.dtype}, which can't be stored")
    return plain.astype(plain.dtype.newbyteorder("<"), copy=False)


def _refuse_foreign(folder: Path, target: Path, ours: Collection[str]) -> None:
    """Only an empty folder or a model of ours may be replaced."""
    try:
        names = sorted(entry.name for entry in target.iterdir())
    except FileNotFoundError:
        return
    if target == Path.cwd() or os.path.ismount(target):
        bad(folder, "the folder itself can't be replaced", f"Type {folder / 'model'} instead.")
    foreign = [name for name in names if name not in ours]
    if not foreign and names:
        try:
            read_config(target)
        except ModelFileError:
            foreign = names
    if foreign:
        bad(
            folder,
            f"holds files that are not a model of {FORMAT} ({show(foreign[0])}), "
            "so it was left as it is",
            "Name a new folder.",
        )


def _write_tensors(path: Path, tensors: "dict[str, Array | FileTensor]") -> None:
    arrays = {name: t for name, t in tensors.items() if not isinstance(t, FileTensor)}
    if len(arrays) < len(tensors):
        _stream_tensors(path, tensors)
        return
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file
    except ModuleNotFoundError as error:
        raise MissingExtraError("safetensors", "counts", "saving a model") from error
    try:
        save_file(arrays, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _stream_tensors(path: Path, tensors: "dict[str, Array | FileTensor]") -> None:
    """Write what ``save_file`` writes, byte for byte: the widest types first, then by name."""
    import numpy as np

    codes = {dtype: code for code, dtype in _DTYPES.items()}
    header: dict[str, Any] = {}
    end = 0

    def code(name: str) -> str:
        return codes[np.dtype(tensors[name].dtype).name]

    turn = sorted(tensors, key=lambda name: (_TYPES_IN_FILES.index(code(name)), name))
    for name in turn:
        tensor = tensors[name]
        size = math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
        begin, end = end, end + size
        header[name] = {
            "dtype": code(name),
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in turn:
            tensor = tensors[name]
            if isinstance(tensor, FileTensor):
                with tensor.path.open("rb") as file:
                    shutil.copyfileobj(file, out, 1 << 20)
            else:
                out.write(tensor.tobytes())
        if out.tell() != 8 + len(text) + end:
            raise OSError("a tensor's file has another size than its shape")


@contextmanager
def _regular_file(path: Path, max_bytes: int) -> Iterator[tuple[FileIO, int]]:
    """Open a regular file of at most ``max_bytes``; never waits for a pipe's other end."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = FileIO(os.open(path, flags))
    except FileNotFoundError:
        bad(path, "no such file", "Name the folder of a saved model.")
    except (OSError, ValueError) as error:
        bad(path, f"can't be opened: {getattr(error, 'strerror', None) or error}")
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            bad(path, "not a regular file")
        if status.st_size > max_bytes:
            bad(path, f"has {status.st_size} bytes, more than the {max_bytes} that are accepted")
        yield file, status.st_size


def _read(path: Path, file: FileIO, count: int) -> bytes:
    buffer = bytearray(count)
    _fill(path, file, memoryview(buffer))
    return bytes(buffer)


def _fill(path: Path, file: FileIO, buffer: memoryview) -> None:
    done = 0
    while done < len(buffer):
        try:
            got = file.readinto(buffer[done:])
        except OSError as error:
            bad(path, f"can't be read: {error.strerror or error}")
        if not got:
            bad(path, f"truncated: it ended {len(buffer) - done} bytes too early")
        done += got


def _read_header(path: Path, file: FileIO, size: int) -> tuple[list[_Entry], int]:
    """The tensors of a safetensors file, in the order of their bytes, and where those start.

    The format: 8 bytes little-endian length, that many bytes of JSON, then the data, which
    the tensors' offsets must cover exactly once.
    """
    if size < 8:
        bad(path, f"truncated or empty: {size} bytes")
    length = int.from_bytes(_read(path, file, 8), "little")
    if length > min(size - 8, MAX_HEADER_BYTES):
        bad(path, f"truncated or not a safetensors file: its header would have {length} bytes")
    header = json_object(path, _read(path, file, length), "the header")
    header.pop("__metadata__", None)
    entries = [_entry(path, name, value) for name, value in header.items()]
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    position = 0
    for entry in entries:
        if entry.begin != position:
            bad(path, f"tensor {show(entry.name)} overlaps another or leaves a hole")
        position = entry.end
    if position != size - 8 - length:
        bad(path, f"truncated or too long: {size - 8 - length} bytes of data, want {position}")
    return entries, 8 + length


def _entry(path: Path, name: str, value: object) -> _Entry:
    import numpy as np

    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        bad(path, f"tensor {show(name)} is not described by dtype, shape and data_offsets")
    if not isinstance(value["dtype"], str) or value["dtype"] not in _DTYPES:
        bad(path, f"tensor {show(name)} has the unknown type {show(value['dtype'])}")
    shape, offsets = _sizes(value["shape"]), _sizes(value["data_offsets"])
    if shape is None or len(shape) > 8 or offsets is None or len(offsets) != 2:
        bad(path, f"tensor {show(name)} has an impossible shape or place")
    dtype = _DTYPES[value["dtype"]]
    itemsize = np.dtype(dtype).itemsize
    # numpy refuses (0, 2**62) though it holds nothing, so empty sizes count as 1 here.
    if math.prod(max(extent, 1) for extent in shape) * itemsize >= 2**62:
        bad(path, f"tensor {show(name)} has the impossible shape {show(shape)}")
    if offsets[1] - offsets[0] != math.prod(shape) * itemsize:
        bad(path, f"tensor {show(name)}: shape {show(shape)} does not fit its bytes")
    return _Entry(name=name, dtype=dtype, shape=shape, begin=offsets[0], end=offsets[1])


def _sizes(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not all(type(n) is int and 0 <= n < 2**62 for n in value):
        return None
    return tuple(value)


def _match(path: Path, entries: list[_Entry], specs: TensorSpecs, config: dict[str, Any]) -> None:
    """Raise unless the tensors are exactly those of ``specs``, types and shapes included."""
    names = {entry.name for entry in entries}
    if missing := sorted(set(specs) - names):
        bad(path, f"tensor {missing[0]!r} is missing")
    if unknown := sorted(names - set(specs)):
        bad(path, f"tensor {show(unknown[0])} does not belong to this network")
    free: dict[str, int] = {}
    for entry in entries:
        spec = specs[entry.name]
        if entry.dtype != spec.dtype or len(entry.shape) != len(spec.shape):
            bad(path, _differs(entry, spec, config))
        for extent, want in zip(entry.shape, spec.shape, strict=True):
            if isinstance(want, str):
                want = config[want] if want in config else free.setdefault(want, extent)
            if type(want) is not int or extent != want:
                bad(path, _differs(entry, spec, config | free))
        if spec.check and (complaint := spec.check(entry.shape)):
            bad(path, f"tensor {entry.name!r}: {complaint}")


def _differs(entry: _Entry, spec: TensorSpec, known: dict[str, Any]) -> str:
    want = ", ".join(
        f"{extent} = {show(known[str(extent)])}" if extent in known else str(extent)
        for extent in spec.shape
    )
    return (
        f"tensor {entry.name!r} is {entry.dtype} {entry.shape}, want {spec.dtype} ({want}) "
        f"by {CONFIG_NAME}"
    )


def _read_tensors(
    path: Path, file: FileIO, entries: list[_Entry], data_start: int
) -> "dict[str, Array]":
    import numpy as np

    file.seek(data_start)
    tensors: dict[str, Array] = {}
    for entry in entries:
        dtype = np.dtype(entry.dtype)
        try:
            array: Array = np.empty(entry.shape, dtype=dtype.newbyteorder("<"))
        except MemoryError:
            bad(path, f"tensor {entry.name!r} does not fit in memory ({entry.shape})")
        if array.size:
            _fill(path, file, array.data.cast("B"))
        tensors[entry.name] = array.astype(dtype, copy=False)
    return tensors
