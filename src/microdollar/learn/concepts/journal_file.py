"""A file of records that is only ever appended to, each record bound to the one before it.

    record   magic, bytes of meta, bytes of payload, CRC-32 of these three
             meta: a JSON object
             payload
             SHA-256 over the hash of the record before it (32 zeros at first) and the above

A process that is killed while it appends leaves the beginning of a record: the file ends
before the length that the record's head states, or within the head. Such a tail was never
acknowledged and is cut off by the next writer. Everything else that doesn't fit (a head whose
CRC is wrong, a record of full length with another hash) is damage and refused, so a flipped
bit in a length can't pass for a torn tail and take the entries after it along.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from microdollar.errors import JournalError
from microdollar.files import whole_file

MAGIC = b"MDJ1"
MAX_META_BYTES = 1 << 16
_HEAD = struct.Struct("<4sIQ")
_CRC = struct.Struct("<I")
_HEAD_BYTES = _HEAD.size + _CRC.size
_HASH_BYTES = 32
_PART_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record that was found whole."""

    index: int
    meta: Mapping[str, Any]
    hash: str
    """SHA-256, hexadecimal."""
    payload_start: int
    """Offset in the file."""
    payload_bytes: int

    @property
    def end(self) -> int:
        """Offset of the next record."""
        return self.payload_start + self.payload_bytes + _HASH_BYTES


class RecordFile:
    """Records of one file: read and checked when opened, then appended to.

    Args:
        path: an existing file whose first record is whole.
        write: hold the file against other writers until ``close``, and cut a torn tail off.

    Attributes:
        records: in the order of the file.
        torn_bytes: of a record that was being written when its writer was killed.

    Raises:
        JournalError: if it can't be opened, another process writes it, or it is damaged.
    """

    def __init__(self, path: Path, *, write: bool) -> None:
        self.path = path
        self.torn_bytes = 0
        self._file = _open(path, write=write)
        try:
            if write:
                _lock(self._file, path)
            self.records = self._scan()
            if write and self.torn_bytes:
                self._cut(self.records[-1].end)
        except BaseException:
            self._file.close()
            raise

    def append(self, meta: Mapping[str, Any], payload: bytes | memoryview) -> Record:
        """Write a record and wait until the disk has it.

        Raises:
            JournalError: if it can't be written; the file is then what it was.
        """
        last = self.records[-1]
        parts, record = _encode(meta, [memoryview(payload)], last.hash, last.index + 1, last.end)
        try:
            self._file.seek(last.end)
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[self._file.write(view) or 0 :]
            os.fsync(self._file.fileno())
        except BaseException as error:
            with suppress(OSError):
                self._cut(last.end)
            if isinstance(error, OSError):
                raise JournalError(
                    f"{self.path}: entry {record.index} can't be written "
                    f"({error.strerror or error}); the journal is as it was. Make room or name "
                    "another disk."
                ) from error
            raise
        self.records.append(record)
        return record

    def payload(self, record: Record) -> bytearray:
        """The payload of a record, as it is in the file now.

        Raises:
            JournalError: if the file has become shorter.
        """
        found = bytearray(record.payload_bytes)
        self.read_into(record, memoryview(found))
        return found

    def read_into(self, record: Record, out: memoryview) -> None:
        """As ``payload``, into memory of ``payload_bytes`` bytes.

        Raises:
            JournalError: if the file ends too early.
        """
        self._file.seek(record.payload_start)
        done = 0
        while done < len(out):
            got = self._file.readinto(out[done:])
            if not got:
                raise JournalError(
                    f"{self.path}: entry {record.index} ends {len(out) - done} bytes too early: "
                    "the file was cut while in use. Restore it from a copy.",
                    record.index,
                )
            done += got

    def close(self) -> None:
        """Let other writers in."""
        self._file.close()

    def _cut(self, end: int) -> None:
        self._file.truncate(end)
        os.fsync(self._file.fileno())

    def _scan(self) -> list[Record]:
        records: list[Record] = []
        size = os.fstat(self._file.fileno()).st_size
        for found in _records(self._file, size):
            if isinstance(found, int):
                self.torn_bytes = found
                break
            if isinstance(found, str):
                raise JournalError(_damage(self.path, len(records), found), len(records))
            records.append(found)
        if not records:
            raise JournalError(
                f"{self.path}: {size} bytes and no whole first entry, so it is no journal. "
                "Name another, or start a new one.",
                0,
            )
        return records


def create(path: Path, meta: Mapping[str, Any], payload: bytes | memoryview) -> None:
    """Write a file with its first record, whole or not at all.

    Raises:
        JournalError: if something of that name exists or it can't be written.
    """
    fresh = path.with_name(f".{path.name[:32]}.{os.urandom(6).hex()}.tmp")
    try:
        with fresh.open("wb") as out:
            out.writelines(_encode(meta, [memoryview(payload)], "00" * _HASH_BYTES, 0, 0)[0])
            out.flush()
            os.fsync(out.fileno())
        _name(fresh, path)
    except FileExistsError as error:
        raise JournalError(
            f"{path} exists already and is left as it is. Open it, or name a new file."
        ) from error
    except OSError as error:
        raise JournalError(f"{path} can't be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            fresh.unlink()


def write_single(path: Path, meta: Mapping[str, Any], payload: Sequence[memoryview]) -> None:
    """Write a file of one record, whole or not at all, in place of what is there.

    Args:
        path: of the file.
        meta: of the record.
        payload: its parts, one after another; bytes each.

    Raises:
        JournalError: if it can't be written; what was there is there.
    """
    try:
        with whole_file(path, "wb") as out:
            out.writelines(_encode(meta, payload, "00" * _HASH_BYTES, 0, 0)[0])
    except OSError as error:
        raise JournalError(f"{path} can't be written: {error.strerror or error}.") from error


def read_single(path: Path) -> tuple[Mapping[str, Any], bytearray]:
    """Meta and payload of a file that ``write_single`` wrote.

    Raises:
        JournalError: if it can't be read or is damaged.
    """
    file = RecordFile(path, write=False)
    try:
        if len(file.records) != 1 or file.torn_bytes:
            raise JournalError(f"{path}: not one whole record. Use a copy, or begin a new file.")
        return file.records[0].meta, file.payload(file.records[0])
    finally:
        file.close()


def keep_whole_records(path: Path) -> tuple[int, Path | None]:
    """Keep the records before the first damaged one; the damaged file stays beside them.

    Returns:
        How many records are kept, and where the damaged file is (None if nothing was wrong).

    Raises:
        JournalError: if it can't be opened, another process writes it, or no record is whole.
    """
    with _open(path, write=True) as file:
        _lock(file, path)
        end = kept = 0
        for found in _records(file, os.fstat(file.fileno()).st_size):
            if not isinstance(found, Record):
                break
            end, kept = found.end, kept + 1
        if not kept:
            raise JournalError(f"{path}: no whole entry, nothing can be restored from it.", 0)
        if end == os.fstat(file.fileno()).st_size:
            return kept, None
        fresh = path.with_name(f".{path.name[:32]}.{os.urandom(6).hex()}.tmp")
        damaged = path.with_name(f"{path.name}.damaged-{os.urandom(3).hex()}")
        file.seek(0)
        with fresh.open("wb") as out:
            while end:
                part = file.read(min(end, _PART_BYTES))
                out.write(part)
                end -= len(part)
            out.flush()
            os.fsync(out.fileno())
        # First a second name for the damaged file, so that one of the two always exists.
        damaged.hardlink_to(path)
        fresh.replace(path)
        return kept, damaged


def _encode(
    meta: Mapping[str, Any], payload: Sequence[memoryview], previous: str, index: int, start: int
) -> tuple[list[bytes | memoryview], Record]:
    text = json.dumps(dict(meta), separators=(",", ":"), allow_nan=False).encode()
    if len(text) > MAX_META_BYTES:
        raise ValueError(f"{len(text)} bytes of meta, at most {MAX_META_BYTES}")
    size = sum(part.nbytes for part in payload)
    head = _HEAD.pack(MAGIC, len(text), size)
    head += _CRC.pack(zlib.crc32(head))
    digest = hashlib.sha256(bytes.fromhex(previous))
    parts: list[bytes | memoryview] = [head + text, *payload]
    for part in parts:
        digest.update(part)
    record = Record(
        index=index, meta=json.loads(text), hash=digest.hexdigest(),
        payload_start=start + len(head) + len(text), payload_bytes=size,
    )  # fmt: skip
    return [*parts, digest.digest()], record


def _records(file: FileIO, size: int) -> Iterator[Record | int | str]:
    """Whole records; then the bytes of a torn tail, or what is wrong."""
    start, previous, index = 0, bytes(_HASH_BYTES), 0
    file.seek(0)
    while start < size:
        head = file.read(min(_HEAD_BYTES, size - start))
        if len(head) < _HEAD_BYTES:
            yield size - start
            return
        magic, meta_bytes, payload_bytes = _HEAD.unpack_from(head)
        if magic != MAGIC or _CRC.unpack_from(head, _HEAD.size)[0] != zlib.crc32(head[:-4]):
            yield "its head is not one that was written"
            return
        left = size - start - _HEAD_BYTES
        if meta_bytes > MAX_META_BYTES:
            yield f"it has {meta_bytes} bytes of meta, more than the {MAX_META_BYTES} allowed"
            return
        if meta_bytes + payload_bytes + _HASH_BYTES > left:
            yield size - start
            return
        text = file.read(meta_bytes)
        digest = hashlib.sha256(previous)
        digest.update(head + text)
        unread = payload_bytes
        while unread and (part := file.read(min(unread, _PART_BYTES))):
            digest.update(part)
            unread -= len(part)
        previous = digest.digest()
        if file.read(_HASH_BYTES) != previous:
            yield "its hash is another than that of its content and of the entries before it"
            return
        record = Record(
            index=index, meta=json.loads(text), hash=previous.hex(),
            payload_start=start + _HEAD_BYTES + meta_bytes, payload_bytes=payload_bytes,
        )  # fmt: skip
        yield record
        start, index = record.end, index + 1


def _damage(path: Path, index: int, what: str) -> str:
    can = f"Entries 0 to {index - 1} are whole" if index > 1 else "Entry 0, the base, is whole"
    if not index:
        return f"{path}: entry 0 is damaged: {what}. Nothing can be restored; use a copy."
    return (
        f"{path}: entry {index} is damaged: {what}. {can} and can be restored: repair the journal, "
        "which keeps them and puts the damaged file beside it."
    )


def _open(path: Path, *, write: bool) -> FileIO:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise JournalError(f"{path} is no regular file, so it is no journal. Name another.")
    try:
        return FileIO(path, "r+" if write else "r")
    except FileNotFoundError as error:
        raise JournalError(f"{path}: no such journal. Start one, or name another.") from error
    except OSError as error:
        raise JournalError(f"{path} can't be opened: {error.strerror or error}.") from error


def _lock(file: FileIO, path: Path) -> None:
    """Hold the file until it is closed or the process ends, however it ends.

    Systems without ``flock`` have no such lock here; one writer is then up to the user.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise JournalError(
            f"{path} is being written by another process. Wait for it or stop it; reading is "
            "possible meanwhile."
        ) from error


def _name(fresh: Path, path: Path) -> None:
    """Give a file its name unless the name is taken, and make the name last."""
    os.link(fresh, path)
    with suppress(OSError):  # not every system opens folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
