"""Sorted strings on the disk, and what makes a killed build resumable.

A run is one file: a header, then keys and counts as columns. It is written under another
name, flushed, and renamed when it is whole; so a run that is there is complete, and the
checksum in its header says whether the disk kept it. ``build.json`` says which text, order
and division of the text the runs of a folder belong to.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

import numpy as np

from microdollar.errors import UsageError
from microdollar.files import whole_file
from microdollar.learn.counts.scale.columns import raw
from microdollar.learn.counts.scale.grams import Grams

RECORD_BYTES = 24
PLAN_NAME = "build.json"
_MAGIC = b"mdruns01"
_HEADER = struct.Struct("<8sQI12x")
_CHECK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A complete file of sorted strings."""

    path: Path
    records: int

    def read(self, start: int, stop: int) -> Grams:
        """Strings ``start`` to ``stop``, or to the end if that comes first."""
        stop = min(stop, self.records)
        with self.path.open("rb", buffering=0) as file:
            columns = []
            for column in range(3):
                file.seek(_HEADER.size + 8 * (column * self.records + start))
                values = np.empty(max(stop - start, 0), np.uint64)
                left = raw(values)
                while left:
                    got = file.readinto(left)
                    if not got:
                        raise OSError(f"{self.path} ended too early")
                    left = left[got:]
                columns.append(values)
        return Grams(high=columns[0], low=columns[1], count=columns[2].view(np.int64))


def write_run(path: Path, blocks: Iterable[Grams], most: int) -> Run:
    """Write sorted blocks as one run, whole or not at all.

    Args:
        path: name of the file.
        blocks: strings in order, each block after the one before.
        most: how many strings there are at most, all blocks together.
    """
    fresh = path.with_suffix(".part")
    records, checksums = 0, [0, 0, 0]
    with fresh.open("w+b", buffering=0) as file:
        # Columns are written as far apart as they may grow, and moved together at the end.
        for block in blocks:
            for column, values in enumerate((block.high, block.low, block.count)):
                file.seek(_HEADER.size + 8 * (column * most + records))
                numbers = raw(np.ascontiguousarray(values))
                checksums[column] = zlib.crc32(numbers, checksums[column])
                _write(file, numbers)
            records += len(block)
        if records < most:
            for column in (1, 2):
                _move(
                    file,
                    _HEADER.size + 8 * column * most,
                    _HEADER.size + 8 * column * records,
                    8 * records,
                )
            file.truncate(_HEADER.size + RECORD_BYTES * records)
        file.seek(0)
        _write(file, memoryview(_HEADER.pack(_MAGIC, records, _joint(checksums))))
        os.fsync(file.fileno())
    fresh.replace(path)
    return Run(path=path, records=records)


def open_run(path: Path) -> Run | None:
    """The run in a file, or None if there is none or the disk did not keep it."""
    try:
        with path.open("rb", buffering=0) as file:
            magic, records, checksum = _HEADER.unpack(file.read(_HEADER.size))
            size = path.stat().st_size
            if magic != _MAGIC or size != _HEADER.size + RECORD_BYTES * records:
                return None
            found = [0, 0, 0]
            for column in range(3):
                left = 8 * records
                while left:
                    block = file.read(min(left, _CHECK_BYTES))
                    found[column] = zlib.crc32(block, found[column])
                    left -= len(block)
    except (FileNotFoundError, struct.error):
        return None
    return Run(path=path, records=records) if _joint(found) == checksum else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the runs of a folder belong to."""

    source: str
    """Identifies the text: names, sizes and versions of its files."""
    text_bytes: int
    order: int
    run_bytes: int
    """Bytes of text whose strings one run holds."""


def settle_plan(folder: Path, wanted: Plan) -> Plan:
    """Begin a build in a folder, or go on with the one that was begun there.

    Returns:
        The plan to follow: a begun one keeps its division of the text.

    Raises:
        UsageError: if the folder belongs to another build, or holds other files.
    """
    path = folder / PLAN_NAME
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        if any(folder.iterdir()):
            raise UsageError(f"{folder} holds other files than a build's. Name a new folder.")
        with whole_file(path) as file:
            json.dump(asdict(wanted), file)
        return wanted
    try:
        begun = Plan(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} is not a build's. Name a new folder.") from error
    for name in ("source", "text_bytes", "order"):
        if getattr(begun, name) != getattr(wanted, name):
            raise UsageError(
                f"{folder} belongs to a build with {name} {getattr(begun, name)!r}, not "
                f"{getattr(wanted, name)!r}. Name another --work-folder, or remove this one."
            )
    return begun


def _write(file: FileIO, left: memoryview) -> None:
    while left:
        left = left[file.write(left) :]


def _move(file: FileIO, source: int, target: int, size: int) -> None:
    """Move bytes towards the beginning of a file."""
    done = 0
    while done < size:
        file.seek(source + done)
        block = file.read(min(_CHECK_BYTES, size - done))
        file.seek(target + done)
        _write(file, memoryview(block))
        done += len(block)


def _joint(checksums: list[int]) -> int:
    return zlib.crc32(struct.pack("<3I", *checksums))
