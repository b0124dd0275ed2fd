"""What every experiment is given and what it hands back."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from microdollar.learn.base import CONTEXT_BYTES, Progress, silent
from microdollar.work.ops import Work

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.elman import ElmanModel
    from microdollar.learn.study.trained import TrainedNetwork

Kind = Literal["counted", "trained"]
Measure = Literal["bits", "correlation", "share", "codes", "stretch"]
"""``bits`` per byte; Pearson's r; a share from 0 to 1; distinct codes of the 256 bytes; growth of
a small difference in one step."""

SMALL_BYTES = 10_000
"""Slices up to this are treated as the document treats its own: grids and full-batch descent on
all positions. Longer ones get minibatches, and choices are made on held-back training bytes."""
RECURRENCE_BYTES = 200_000
"""Training bits of a network that must be run step by step are of at most so many first bytes."""

NOTHING = Work(ops=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Bytes that an experiment may use, and the bytes after them, that it may only score."""

    name: str
    """Its number of training bytes: ``520``, ``1024`` or ``1000000``."""
    train: "ByteArray"
    test: "ByteArray"

    @property
    def small(self) -> bool:
        """Whether it is of the document's size."""
        return len(self.train) <= SMALL_BYTES

    @property
    def context(self) -> "ByteArray":
        """What a model is shown before the first held-out byte."""
        return self.train[-CONTEXT_BYTES:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row of the results: one configuration on one slice."""

    key: str
    """Name of the configuration within its experiment; the same on every slice."""
    measure: Measure = "bits"
    kind: Kind = "counted"
    """``trained`` where gradients were taken anywhere in it."""
    train: float | None
    """On the bytes that were used; None with a ``reason``."""
    test: float | None = None
    """On held-out bytes; None where there is no such number."""
    reason: str | None = None
    """Why a number is missing, or what must be known to read it."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """Further numbers, as JSON can hold them."""
    work: Work = NOTHING
    """Operations that lead from the bytes to this configuration, by formula."""
    seconds: float = 0.0
    """Wall time of the same, without scoring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Everything that an experiment needs."""

    slice: Slice
    seed: int = 0
    models: Path | None = None
    """Folder in which trained networks are kept; None to keep none."""
    progress: Progress = silent

    def trained(self, part: Literal["all", "half"] = "all") -> "TrainedNetwork":
        """The network trained on the slice or on its first half, from the folder if it is there."""
        from microdollar.learn.study.trained import trained_network

        return trained_network(self, part)


class Stopwatch:
    """Seconds spent within its block."""

    def __init__(self) -> None:
        self.seconds = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time a block by the wall clock."""
    watch, began = Stopwatch(), time.perf_counter()
    try:
        yield watch
    finally:
        watch.seconds = time.perf_counter() - began


def joined(*works: Work) -> Work:
    """One piece of work after another: steps add up, and so do buffers (an upper bound)."""
    return Work(
        ops=tuple(op for work in works for op in work.ops),
        buffers=tuple(buffer for work in works for buffer in work.buffers),
        int_ops_uncounted=next((w.int_ops_uncounted for w in works if w.int_ops_uncounted), None),
    )


def model_bits(model: "ElmanModel", where: Slice) -> tuple[float, float]:
    """Bits per byte of a network on training bytes and on the held-out ones.

    The first training byte is read, not scored: the network starts from h = 0, as in the
    published programs. On long slices the first ``RECURRENCE_BYTES`` are scored.
    """
    train = where.train[:RECURRENCE_BYTES]
    return (
        model.bits_per_byte(train[1:], context=train[:1]),
        model.bits_per_byte(where.test, context=where.context),
    )
