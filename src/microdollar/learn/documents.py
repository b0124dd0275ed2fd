"""How surprising each document of a folder is to a model: what to read, keep or throw away.

A model of text that is wanted finds noise, other languages and broken files surprising, and
boilerplate and repeats too easy; both ends are what quality filters of training data cut off
(Wenzek et al. 2020, CCNet, arXiv 1911.00359, section 3.3, by perplexity under an n-gram model).
"""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from microdollar.errors import MissingExtraError, UsageError
from microdollar.files import whole_file
from microdollar.learn import corpus_files
from microdollar.learn.base import Progress, silent

if TYPE_CHECKING:
    from microdollar.learn.base import Model

COLUMNS = ("path", "bytes", "bits_per_byte", "z_score", "percentile")
ORDERS = ("path", "least", "most")
"""Of rows: by path, the least or the most surprising first."""
_ROW_GROUP = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file and what it costs the model."""

    path: str
    """From the folder on; bytes that are no UTF-8 as backslash escapes."""
    bytes: int
    bits_per_byte: float
    """Frozen, without any context before the first byte."""
    z_score: float
    """Standard deviations above the mean of all documents; 0 where all are the same."""
    percentile: float
    """Per cent of the documents that are less surprising, those as surprising counted half."""

    def to_row(self) -> dict[str, Any]:
        """A plain dictionary, in the order of ``COLUMNS``."""
        return {name: getattr(self, name) for name in COLUMNS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Which documents to keep: from ``low`` to ``high``, both included."""

    low: float
    high: float
    percent: bool = False
    """Whether these are percentiles; else bits per byte."""

    def keeps(self, document: Document) -> bool:
        """Whether a document is within."""
        value = document.percentile if self.percent else document.bits_per_byte
        return self.low <= value <= self.high


def parse_limits(text: str) -> Limits:
    """Limits as they are typed.

    Raises:
        UsageError: if it is not two numbers, the smaller first, both with % or none.

    Examples:
        >>> parse_limits("1.5,2.5")
        Limits(low=1.5, high=2.5, percent=False)
        >>> parse_limits("5%,95%").percent
        True
    """
    parts = [part.strip() for part in text.split(",")]
    percent = all(part.endswith("%") for part in parts)
    try:
        low, high = (float(part.removesuffix("%") if percent else part) for part in parts)
    except ValueError:
        low = high = math.nan
    if not 0 <= low <= high < math.inf:
        raise UsageError(
            f"{text!r} is not LOW,HIGH. Type bits per byte, 1.5,2.5, or percentiles, 5%,95%."
        )
    return Limits(low=low, high=high, percent=percent)


def score_documents(
    model: "Model", folder: Path, *, progress: Progress = silent
) -> tuple[list[Document], tuple[str, ...]]:
    """Every file below ``folder`` that is not empty, by path, and notes on what was left out.

    One file is in memory at a time. Hidden files are left out, as ``load_corpus`` does.

    Raises:
        CorpusError: if there is no file to score.
    """
    found: list[tuple[str, int, float]] = []
    unreadable: list[str] = []
    for path, text in corpus_files.read_each(folder, unreadable, progress):
        name = path.relative_to(folder).as_posix()
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        found.append((shown, len(text), model.bits_per_byte(text)))
    return _ranked(found), corpus_files.notes_on(unreadable)


def arranged(documents: Iterable[Document], *, order: str, limits: Limits | None) -> list[Document]:
    """The documents within the limits, in one of ``ORDERS``; equals stay in the order of paths."""
    kept = [document for document in documents if limits is None or limits.keeps(document)]
    if order != "path":
        kept.sort(key=lambda document: document.bits_per_byte, reverse=order == "most")
    return kept


def write_documents(documents: Sequence[Document], path: Path) -> None:
    """A ``.parquet`` or ``.jsonl`` file, written whole or not at all.

    Raises:
        UsageError: for any other ending.
        MissingExtraError: for Parquet without pyarrow.
        OSError: if it can't be written.
    """
    require_format(path)
    parquet = path.suffix == ".parquet"
    with whole_file(path, "wb" if parquet else "w") as out:
        if parquet:
            _write_parquet(documents, out)
        else:
            out.writelines(json_lines(documents))


def require_format(path: Path) -> None:
    """Find out before the work that a file of this name can be written.

    Raises:
        UsageError: if it ends neither in ``.jsonl`` nor in ``.parquet``.
        MissingExtraError: for Parquet without pyarrow.
    """
    if path.suffix not in (".jsonl", ".parquet"):
        raise UsageError(f"{path} ends neither in .jsonl nor in .parquet. Name one that does.")
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtraError("pyarrow", "parquet", "writing Parquet") from error


def json_lines(documents: Iterable[Document]) -> Iterable[str]:
    """One JSON object a line."""
    import json

    for document in documents:
        yield json.dumps(document.to_row(), ensure_ascii=False, allow_nan=False) + "\n"


def _ranked(found: Sequence[tuple[str, int, float]]) -> list[Document]:
    """Rows with z-scores and percentiles."""
    import numpy as np

    bits = np.array([value for _, _, value in found])
    spread = float(bits.std())
    ordered = np.sort(bits)
    below = np.searchsorted(ordered, bits, side="left")
    up_to = np.searchsorted(ordered, bits, side="right")
    percentiles = 50.0 * (below + up_to) / len(bits)
    scores = (bits - bits.mean()) / spread if spread > 1e-12 else np.zeros(len(bits))
    return [
        Document(
            path=path, bytes=size, bits_per_byte=value, z_score=float(z), percentile=float(percent)
        )
        for (path, size, value), z, percent in zip(found, scores, percentiles, strict=True)
    ]


def _write_parquet(documents: Sequence[Document], out: IO[bytes]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types = (pa.string(), pa.int64(), pa.float64(), pa.float64(), pa.float64())
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    rows = [document.to_row() for document in documents]
    parquet.write_table(
        pa.Table.from_pylist(rows, schema=schema),
        out,
        compression="zstd",
        row_group_size=_ROW_GROUP,
    )
