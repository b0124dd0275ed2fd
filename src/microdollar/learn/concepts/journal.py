"""The history of a concept model: every accepted delta, and the way back to any state.

One file (see ``journal_file``) whose first record holds the base model in full. Then come

    delta        a coded change; parameters after = float32(before + decoded), exactly
    checkpoint   the parameters in full, so that few deltas lie between a state and one of these
    rollback     the state of an earlier entry becomes the present one

each with the fingerprints of the model before and after. History is never rewritten: a
rollback is an entry like the others, and rolling back to before it undoes it. Restoring a
state reads one checkpoint and adds the deltas after it in the order in which they were made,
so it gives the same bits, and says so only after comparing the fingerprint.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from microdollar.errors import DeltaError, JournalError
from microdollar.learn.concepts.codec import decode_delta
from microdollar.learn.concepts.core.layout import CoreConfig, Floats, fingerprint
from microdollar.learn.concepts.journal_file import (
    Record,
    RecordFile,
    create,
    keep_whole_records,
)

FORMAT = "microdollar-journal"
VERSION = 1
CHECKPOINT_EVERY = 8
"""Most deltas between a state and the full copy that it is restored from."""
CHECKPOINT_SHARE = 2.0
"""Most bytes of such deltas, as a share of a full copy: bounds the time to restore them."""
PREFIX_DIGITS = 8
"""Least number of digits that name an entry by its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One step of a model's history."""

    index: int
    kind: str
    """base, delta, checkpoint or rollback."""
    hash: str
    """SHA-256 of the entry and of all before it."""
    after: str
    """Fingerprint of the model in the state that this entry leaves."""
    time: float
    """Seconds since 1970 (UTC)."""
    delta_bytes: int
    """Of a delta; else 0."""
    gate: Mapping[str, float]
    """What the gate measured before it let a delta in."""
    to: int | None
    """Whose state a rollback went back to."""


@dataclass(frozen=True, slots=True)
class _Path:
    """How far a state is from the full copy that it is restored from."""

    deltas: int
    bytes: int


class Journal:
    """A model's history in a file: ``create`` starts one, ``open`` goes on with it.

    Not for two threads at once. A second process that opens it for writing is refused.

    Attributes:
        config: of the model.
        encoder: fingerprint of the encoder whose vectors the model was trained on, if known.
        torn_bytes: of an entry that was cut off because its writer was killed before it was
            whole; that entry had not been acknowledged.
    """

    def __init__(self, file: RecordFile) -> None:
        self._file = file
        self.torn_bytes = file.torn_bytes
        base = file.records[0].meta
        if base.get("format") != FORMAT or base.get("version") != VERSION:
            raise JournalError(
                f"{file.path}: a journal of format {str(base.get('format'))[:40]!r}, version "
                f"{base.get('version')!r}; this program reads {FORMAT!r}, version {VERSION}.",
                0,
            )
        try:
            self.config = CoreConfig(**base["config"])
            self.encoder: str | None = base["encoder"]
            self.entries = [_entry(record) for record in file.records]
            self._checked_base()
        except (KeyError, TypeError, ValueError) as error:
            raise JournalError(
                f"{file.path}: whole entries that this program did not write "
                f"({type(error).__name__}: {str(error)[:80]}). Use a copy."
            ) from error
        self._paths: list[_Path] = []
        for entry in self.entries:
            self._check_next(entry)
            self._paths.append(self._path_of(entry))

    @classmethod
    def create(
        cls, path: Path, config: CoreConfig, params: Floats, *, encoder: str | None = None
    ) -> Self:
        """Start the history of a model.

        Args:
            path: of a file that doesn't exist yet.
            config: of the model.
            params: the base, finite float32 values, (n_params,).
            encoder: fingerprint of the encoder whose vectors the model is for.

        Raises:
            JournalError: if the file exists or can't be written, or for another vector.
        """
        _require_params(params, config)
        meta = {
            "format": FORMAT, "version": VERSION, "kind": "base", "config": asdict(config),
            "encoder": encoder, "after": fingerprint(params, config), "time": time.time(),
        }  # fmt: skip
        create(Path(path), meta, _bytes(params))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, *, encoder: str | None = None, write: bool = True) -> Self:
        """Go on with a history; every entry's hash is checked.

        Args:
            path: of a journal.
            encoder: fingerprint of the encoder in use; must be the journal's, if both are known.
            write: without it the file may be read while another process writes it.

        Raises:
            JournalError: if it can't be opened, is held by another writer, belongs to another
                encoder, or is damaged: ``entry`` of the error is the first damaged one.
        """
        file = RecordFile(Path(path), write=write)
        try:
            journal = cls(file)
            journal.require_encoder(encoder)
        except BaseException:
            file.close()
            raise
        return journal

    @property
    def head(self) -> Entry:
        """The present state."""
        return self.entries[-1]

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._file.path

    def require_encoder(self, encoder: str | None) -> None:
        """Refuse vectors of another encoder than the journal's, if both are known.

        Raises:
            JournalError: if they differ.
        """
        if None not in (encoder, self.encoder) and encoder != self.encoder:
            raise JournalError(
                f"{self.path}: the model was trained on vectors of the encoder "
                f"{str(self.encoder)[:12]}..., and these are of {str(encoder)[:12]}.... "
                "Use that encoder, or start a new journal."
            )

    def find(self, to: int | str) -> Entry:
        """The entry of an index, ``"base"``, or the beginning (8 digits) of an entry's hash.

        Raises:
            JournalError: if there is none, or more than one.
        """
        if to == "base":
            return self.entries[0]
        if isinstance(to, int) or (to.isdecimal() and len(to) < PREFIX_DIGITS):
            if 0 <= int(to) < len(self.entries):
                return self.entries[int(to)]
            raise JournalError(
                f"{self.path}: no entry {to}. Its entries are 0 (base) to {len(self.entries) - 1}."
            )
        found = [entry for entry in self.entries if entry.hash.startswith(to.lower())]
        if len(to) < PREFIX_DIGITS or len(found) != 1:
            raise JournalError(
                f"{self.path}: {len(found)} entries have a hash that starts with {to[:64]!r}. "
                f"Type an index, 'base', or at least {PREFIX_DIGITS} digits of one entry's hash."
            )
        return found[0]

    def restore(self, to: int | str | None = None, out: Floats | None = None) -> Floats:
        """The parameters in the state that an entry left, bit for bit.

        Args:
            to: as in ``find``; the present state if None.
            out: float32 (n_params,), written to; unchanged if the entry doesn't exist. After
                another error its content is undefined.

        Raises:
            JournalError: if there is no such entry, or the file was damaged while open.
        """
        target = self.head if to is None else self.find(to)
        out = np.empty(self.config.n_params, np.float32) if out is None else out
        deltas, at = [], target.index
        while self.entries[at].kind in ("delta", "rollback"):
            if self.entries[at].kind == "delta":
                deltas.append(at)
            at = self._parent(self.entries[at])
        self._file.read_into(self._file.records[at], out.data.cast("B"))
        if sys.byteorder == "big":
            out.byteswap(inplace=True)
        try:
            for index in reversed(deltas):
                out += self._decoded(index)
            sound = fingerprint(out, self.config) == target.after
        except DeltaError:
            sound = False
        if not sound:
            raise JournalError(
                f"{self.path}: entry {target.index} can't be restored, the file was damaged while "
                "in use. Open the journal again to learn which entry is damaged.",
                target.index,
            )
        return out

    def delta(self, index: int) -> bytes:
        """The coded delta of an entry, as it was appended.

        Raises:
            JournalError: if there is no such entry, or it is no delta.
        """
        entry = self.find(index)
        if entry.kind != "delta":
            raise JournalError(f"{self.path}: entry {index} is a {entry.kind}, no delta.", index)
        return bytes(self._file.payload(self._file.records[index]))

    def append(self, delta: bytes, params: Floats, gate: Mapping[str, float]) -> Entry:
        """Write an accepted delta, then add it to the parameters.

        Args:
            delta: of the codec, for the present state.
            params: the present state, (n_params,); afterwards the next one.
            gate: what the gate measured.

        Raises:
            JournalError: if ``params`` is another model's or another state, or the file can't
                be written; file and parameters are then as they were.
            DeltaError: if the delta is malformed, for another model, or leads to parameters
                that aren't finite; likewise.
        """
        _require_params(params, self.config)
        if fingerprint(params, self.config) != self.head.after:
            raise JournalError(
                f"{self.path}: these parameters are not the state of the last entry "
                f"({self.head.after[:12]}...). Restore that state first."
            )
        after = apply_delta(delta, params, self.head.after)
        record = self._file.append(
            {
                "kind": "delta", "previous": self.head.hash, "before": self.head.after,
                "after": fingerprint(after, self.config), "gate": dict(gate), "time": time.time(),
            },
            delta,
        )  # fmt: skip
        entry = self._added(record)
        params[:] = after
        path = self._paths[-1]
        if path.deltas >= CHECKPOINT_EVERY or path.bytes >= CHECKPOINT_SHARE * params.nbytes:
            self._checkpoint(params)
        return entry

    def rollback(self, to: int | str, out: Floats | None = None) -> Floats:
        """Make an earlier entry's state the present one; returns its parameters.

        The rollback is journalled, and can itself be undone: by a rollback to the entry that
        was the last before it. If the present state is the one asked for, nothing is written.

        Args:
            to: as in ``find``.
            out: as in ``restore``.

        Raises:
            JournalError: as ``find`` and ``restore``, or if it can't be written.
        """
        target = self.find(to)
        params = self.restore(target.index, out)
        if target.after != self.head.after:
            meta = {
                "kind": "rollback", "previous": self.head.hash, "to": target.index,
                "before": self.head.after, "after": target.after, "time": time.time(),
            }  # fmt: skip
            self._added(self._file.append(meta, b""))
        return params

    def close(self) -> None:
        """Let other writers in."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _checkpoint(self, params: Floats) -> None:
        meta = {
            "kind": "checkpoint", "previous": self.head.hash, "before": self.head.after,
            "after": self.head.after, "time": time.time(),
        }  # fmt: skip
        self._added(self._file.append(meta, _bytes(params)))

    def _added(self, record: Record) -> Entry:
        entry = _entry(record)
        self.entries.append(entry)
        self._paths.append(self._path_of(entry))
        return entry

    def _checked_base(self) -> None:
        base = self._file.records[0]
        if base.payload_bytes != 4 * self.config.n_params:
            raise ValueError(f"{base.payload_bytes} bytes for {self.config.n_params} parameters")

    def _check_next(self, entry: Entry) -> None:
        """Entries whose hashes hold may still come from a faulty program."""
        meta = self._file.records[entry.index].meta
        size = self._file.records[entry.index].payload_bytes
        before = self.entries[entry.index - 1]
        sound = entry.index == 0 or (
            meta.get("before") == before.after and meta.get("previous") == before.hash
        )
        match entry.kind:
            case "base":
                sound = sound and entry.index == 0
            case "checkpoint":
                sound = sound and entry.after == before.after and size == 4 * self.config.n_params
            case "rollback":
                sound = sound and entry.to is not None and 0 <= entry.to < entry.index
                sound = sound and entry.after == self.entries[entry.to or 0].after
            case kind:
                sound = sound and kind == "delta"
        if not sound or (entry.index == 0) != (entry.kind == "base"):
            raise JournalError(
                f"{self.path}: entry {entry.index} ({entry.kind[:20]}) does not follow from the "
                "one before it: another program wrote it. Use a copy.",
                entry.index,
            )

    def _parent(self, entry: Entry) -> int:
        return entry.index - 1 if entry.to is None else entry.to

    def _path_of(self, entry: Entry) -> _Path:
        if entry.kind in ("base", "checkpoint"):
            return _Path(0, 0)
        path = self._paths[self._parent(entry)]
        return _Path(path.deltas + (entry.kind == "delta"), path.bytes + entry.delta_bytes)

    def _decoded(self, index: int) -> Floats:
        before = self._file.records[index].meta["before"]
        return decode_delta(self.delta(index), self.config.n_params, before)


def apply_delta(delta: bytes, params: Floats, base_fingerprint: str) -> Floats:
    """float32(params + decoded delta), (n_params,): the one way in which deltas are applied.

    Raises:
        DeltaError: if it is malformed, for another model, or the sum is not finite.
    """
    with np.errstate(over="ignore"):
        after = decode_delta(delta, len(params), base_fingerprint)
        after += params
    if not np.isfinite(after).all():
        raise DeltaError(
            f"parameter {int(np.argmin(np.isfinite(after)))} would not be finite after this "
            "delta. It was not applied."
        )
    return after


def repair(path: Path) -> tuple[int, Path | None]:
    """Keep the entries before the first damaged one.

    Returns:
        How many are kept, and the new name of the damaged file (None if nothing was damaged).

    Raises:
        JournalError: if it can't be opened, is being written, or not even the base is whole.
    """
    return keep_whole_records(Path(path))


def _entry(record: Record) -> Entry:
    meta: Mapping[str, Any] = record.meta
    return Entry(
        index=record.index, kind=str(meta["kind"]), hash=record.hash, after=str(meta["after"]),
        time=float(meta["time"]), gate=dict(meta.get("gate", {})),
        delta_bytes=record.payload_bytes if meta["kind"] == "delta" else 0,
        to=int(meta["to"]) if meta["kind"] == "rollback" else None,
    )  # fmt: skip


def _bytes(params: Floats) -> memoryview:
    return np.ascontiguousarray(params, "<f4").data.cast("B")


def _require_params(params: Floats, config: CoreConfig) -> None:
    if params.shape != (config.n_params,) or params.dtype != np.float32:
        raise JournalError(
            f"a model of {config} has {config.n_params} float32 parameters, got {params.dtype} "
            f"of shape {params.shape}. Nothing was written."
        )
    if not np.isfinite(params).all():
        raise JournalError(
            f"parameter {int(np.argmin(np.isfinite(params)))} is not finite. Nothing was written."
        )
