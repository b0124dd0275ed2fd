"""The server's side of learning together: versions of the model, rounds, and what a crash leaves.

The model is the present state of a journal (``microdollar.learn.concepts.journal``). A round
takes the clients' deltas for that state, aggregates them, and appends one coded delta, which is
also what every client gets: so all hold the same bits, and what a client is sent after it was
away is the journal's deltas since the version that it has.

What coding loses of an aggregate stays here as a residual for the next round, beside the list
of the updates that were taken in. Both are written to a file named after the state that they
belong to before the journal gets its entry: a server that is killed in between restarts with
those of the entry that it finds, so that nothing counts twice and nothing is forgotten.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from microdollar.errors import DeltaError, UsageError
from microdollar.files import whole_file
from microdollar.learn.concepts.codec import METHODS, ErrorFeedback, decode_delta
from microdollar.learn.concepts.core.layout import CoreConfig, Floats
from microdollar.learn.concepts.federated.aggregate import RULES, aggregate
from microdollar.learn.concepts.journal import Entry, Journal

_CLIENTS = "clients"
"""Number that a round's journal entry has, and no other entry."""
REMEMBERED_UPDATES = 4096
"""Digests of the latest updates that were taken in; 32 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRules:
    """How a server makes one delta of many, and how deltas are sent."""

    rule: str = "multi-krum"
    """One of ``aggregate.RULES``."""
    malicious: int = 0
    """How many hostile clients the rule must bear."""
    least_clients: int = 3
    """With fewer good updates a round changes nothing."""
    method: str = "topk-int8"
    """Of the codec, both ways."""
    share_up: float = 0.01
    """Of the values that a client sends, with topk-int8."""
    share_down: float = 0.01
    """Of the values that every client gets, with topk-int8."""

    def __post_init__(self) -> None:
        """Raise UsageError for a rule, method or number that can't be."""
        if self.rule not in RULES or self.method not in METHODS:
            raise UsageError(
                f"rule {self.rule!r} or method {self.method!r} is unknown. Rules: "
                f"{', '.join(RULES)}; methods: {', '.join(METHODS)}."
            )
        if self.malicious < 0 or self.least_clients < 1:
            raise UsageError(
                f"malicious is {self.malicious} and least_clients {self.least_clients}: at least "
                "0 and 1 are needed."
            )
        if self.rule == "multi-krum" and self.least_clients <= 2 * self.malicious + 2:
            raise UsageError(
                f"multi-krum with {self.malicious} hostile clients needs more than "
                f"{2 * self.malicious + 2}: set least_clients to {2 * self.malicious + 3} or more."
            )
        if self.rule == "trimmed-mean" and self.least_clients <= 2 * self.malicious:
            raise UsageError(
                f"trimmed-mean with {self.malicious} hostile clients needs more than "
                f"{2 * self.malicious}: set least_clients to {2 * self.malicious + 1} or more."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What a client answered."""

    data: bytes
    """A message of the codec."""
    examples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport:
    """What became of a round."""

    number: int
    """Rounds that changed the model, this one included."""
    accepted: tuple[str, ...]
    """Clients whose updates were well formed and counted."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why the others' did not, by client."""
    changed: bool
    bytes_up: int
    """Of the clients' deltas."""
    delta_bytes: int
    """Of the delta that each client will get."""


class Coordinator:
    """A journal, and the rounds that write it.

    Args:
        journal: open for writing.
        rules: how to aggregate and code.
        folder: for what must outlast a restart besides the journal; memory only if None.

    Attributes:
        params: the present state, (n_params,). Not to be written to.

    Raises:
        JournalError: if the journal is damaged.
        DeltaError: if the folder's file for the present state is another model's.
    """

    def __init__(self, journal: Journal, rules: RoundRules, folder: Path | None = None) -> None:
        self.journal, self.rules, self.folder = journal, rules, folder
        self.params: Floats = journal.restore()
        self._residual: Floats = np.zeros_like(self.params)
        self._taken: list[str] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._load(folder)

    @property
    def config(self) -> CoreConfig:
        """Of the model."""
        return self.journal.config

    @property
    def fingerprint(self) -> str:
        """Of the present state."""
        return self.journal.head.after

    @property
    def rounds(self) -> int:
        """How many rounds the journal has, those that were rolled back included."""
        return sum(_is_round(entry) for entry in self.journal.entries)

    def was_taken(self, digest: str) -> bool:
        """Whether an update with this digest is part of the present state or its residual."""
        return digest in self._taken

    def chain_from(self, fingerprint: str) -> list[bytes] | None:
        """The deltas that lead from a client's version to the present state.

        Returns:
            Messages of the codec, oldest first; None if the version is not in this history or
            the whole model is smaller.
        """
        entries = self.journal.entries
        starts = [entry.index for entry in entries if entry.after == fingerprint]
        if not starts:
            return None
        after = entries[starts[-1] + 1 :]
        if any(entry.kind == "rollback" for entry in after):
            return None
        deltas = [entry for entry in after if entry.kind == "delta"]
        if sum(entry.delta_bytes for entry in deltas) >= self.params.nbytes:
            return None
        return [self.journal.delta(entry.index) for entry in deltas]

    def finish_round(self, uploads: Mapping[str, Upload]) -> RoundReport:
        """Take in the answers to one round, write the new state, and say what became of each.

        Args:
            uploads: by client. Malformed ones are left out, and named in the report.

        Raises:
            JournalError: if the new state can't be written; the old one stays.
        """
        deltas: dict[str, Floats] = {}
        refused: dict[str, str] = {}
        seen: set[str] = set()
        for name in sorted(uploads):
            try:
                deltas[name] = self._checked(uploads[name], seen)
            except DeltaError as error:
                refused[name] = str(error)
        bytes_up = sum(len(upload.data) for upload in uploads.values())
        if len(deltas) < self.rules.least_clients:
            reason = f"only {len(deltas)} of {self.rules.least_clients} good updates came"
            return self._unchanged(refused | dict.fromkeys(deltas, reason), bytes_up)
        together = aggregate(
            deltas,
            self.rules.rule,
            examples={name: uploads[name].examples for name in deltas},
            malicious=self.rules.malicious,
        )
        taken = [*self._taken, *(digest(uploads[name].data) for name in deltas)]
        try:
            data = self._write(together, taken[-REMEMBERED_UPDATES:], len(deltas), bytes_up)
        except DeltaError as error:  # numbers so large that their sum is none
            return self._unchanged(refused | dict.fromkeys(deltas, str(error)), bytes_up)
        return RoundReport(
            number=self.rounds, accepted=tuple(deltas), refused=refused, changed=True,
            bytes_up=bytes_up, delta_bytes=len(data),
        )  # fmt: skip

    def _unchanged(self, refused: Mapping[str, str], bytes_up: int) -> RoundReport:
        return RoundReport(
            number=self.rounds, accepted=(), refused=refused, changed=False,
            bytes_up=bytes_up, delta_bytes=0,
        )  # fmt: skip

    def _checked(self, upload: Upload, seen: set[str]) -> Floats:
        found = digest(upload.data)
        if found in seen or self.was_taken(found):
            raise DeltaError("this very update was taken in before. It does not count twice.")
        seen.add(found)
        if upload.examples < 1:
            raise DeltaError(f"an update from {upload.examples} examples: at least 1 is needed.")
        return decode_delta(upload.data, len(self.params), self.fingerprint)

    def _write(self, delta: Floats, taken: list[str], clients: int, bytes_up: int) -> bytes:
        feedback = ErrorFeedback(residual=self._residual)
        data = feedback.encode(
            delta, method=self.rules.method, share=self.rules.share_down,
            base_fingerprint=self.fingerprint,
        )  # fmt: skip
        after = self.params.copy()
        if self.folder is not None:
            # Before the journal's entry, under a name that only that entry will look for.
            self._save(self.folder, data, feedback.residual, taken)
        gate = {_CLIENTS: float(clients), "bytes_up": float(bytes_up)}
        self.journal.append(data, after, gate)
        self.params, self._residual, self._taken = after, feedback.residual, taken
        if self.folder is not None:
            for path in self.folder.glob("after-*.npz"):
                if path != self._path(self.folder, digest(data)):
                    path.unlink()
        return data

    def _path(self, folder: Path, name: str) -> Path:
        return folder / f"after-{name[:32]}.npz"

    def _save(self, folder: Path, data: bytes, residual: Floats, taken: list[str]) -> None:
        packed = io.BytesIO()
        np.savez(packed, residual=residual, taken=np.array(taken, "U64"))
        with whole_file(self._path(folder, digest(data)), "wb") as out:
            out.write(packed.getvalue())

    def _load(self, folder: Path) -> None:
        """What belongs to the round that made the present state, if one did."""
        last = next((e for e in reversed(self.journal.entries) if e.kind != "checkpoint"), None)
        if last is None or not _is_round(last):
            return
        path = self._path(folder, digest(self.journal.delta(last.index)))
        if not path.exists():
            raise DeltaError(
                f"{path} is missing: what the last round left over is unknown. Restore the file "
                "from a copy, or roll the journal back to before that round."
            )
        with np.load(path, allow_pickle=False) as found:
            residual, taken = found["residual"], [str(name) for name in found["taken"]]
        if residual.shape != self.params.shape or residual.dtype != np.float32:
            raise DeltaError(
                f"{path} holds {residual.dtype} of shape {residual.shape} for a model of "
                f"{len(self.params)} parameters. Restore the file from a copy."
            )
        self._residual, self._taken = residual, taken


def _is_round(entry: Entry) -> bool:
    """A model may also have learned from a stream."""
    return entry.kind == "delta" and _CLIENTS in entry.gate


def digest(data: bytes) -> str:
    """SHA-256 of a message, hexadecimal: its name."""
    return hashlib.sha256(data).hexdigest()
