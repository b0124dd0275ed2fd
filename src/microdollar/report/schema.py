"""``results.json`` as frozen dataclasses, read by a strict loader.

The file comes from ``microdollar demo`` and ``microdollar compare``, or from a stranger: sizes
are bounded before anything is looked at, every error names the path of the field, and
nothing in the file is trusted further than its type. Keys that are not known are kept in
the file but not read; a key that is missing or has the wrong type is an error.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from microdollar.cost import Basis, Cost, Quantity
from microdollar.errors import MicrodollarError

SCHEMA_VERSION = 1
MAX_FILE_BYTES = 16_000_000
MAX_ROWS = 200
MAX_ITEMS = 200_000
"""Numbers, strings, lists and objects in one file."""
MAX_DEPTH = 12
MAX_TEXT = 20_000
"""Characters of one string."""
MAX_LIST = 1_000
"""Assumptions, notes and steps of one breakdown."""

Kind = Literal["counted", "trained", "compressor"]


class ResultsError(MicrodollarError):
    """Results that are truncated, foreign, hostile or from another version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The bytes that were learnt from and scored."""

    name: str
    sha256: str | None
    train_bytes: int
    test_bytes: int
    train_range: tuple[int, int] | None
    """First byte and the byte after the last one."""
    test_range: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The machine that ran it."""

    name: str
    details: Mapping[str, Any]
    """Everything else that the file says of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One learner, or one compressor: what it cost and how well it predicts."""

    learner: str
    label: str
    options: Mapping[str, Any]
    kind: Kind
    predicted: Cost | None
    measured: Cost
    train_bits_per_byte: float | None
    """On bytes that it learnt from."""
    test_bits_per_byte: float | None
    """On held-out bytes, frozen."""
    test_bits_per_byte_adaptive: float | None
    """On held-out bytes, learning each of them after it was scored."""
    parameters: int | None
    process_bytes: Quantity
    """Peak of the whole process."""
    score_seconds: Quantity
    """Wall time of scoring the held-out bytes."""
    breakdown: tuple[Mapping[str, Any], ...]
    """The steps, each with scalar fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A number that was taken, not measured."""

    key: str
    value: str
    unit: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A whole ``results.json``."""

    created_at: str
    command: str
    commit: str | None
    corpus: Corpus
    device: Device
    rows: tuple[Row, ...]
    assumptions: tuple[Assumption, ...]
    notes: tuple[str, ...]
    note: str | None
    """What a reader must know before anything else, e.g. that the values are made up."""


def read_results(path: Path) -> dict[str, Any]:
    """Read and check a results file.

    Returns:
        The dictionary as it stands in the file; :func:`parse_results` accepts it.

    Raises:
        ResultsError: if the file can't be read, is too large or is not such results.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ResultsError(
            f"can't read {path}: {error.strerror or error}. "
            "Type: microdollar demo --out demo, which writes demo/results.json."
        ) from error
    if len(text) > MAX_FILE_BYTES:
        raise ResultsError(f"{path} has more than {MAX_FILE_BYTES:,} bytes, so it is no results.")
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ResultsError(f"{path} nests too deep to be results of microdollar.") from error
    except ValueError as error:
        raise ResultsError(f"{path} is not JSON ({error}). Run the comparison again.") from error
    try:
        parse_results(data)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error
    assert isinstance(data, dict)
    return data


def parse_results(data: object) -> Results:
    """The results in a dictionary as ``results.json`` holds it.

    Raises:
        ResultsError: naming the path of the first field that is missing or wrong.
    """
    _check_size(data)
    top = _Node(data, "results")
    version = top.integer("schema_version")
    if version != SCHEMA_VERSION:
        raise ResultsError(
            f"schema_version is {version}, this microdollar reads {SCHEMA_VERSION}. "
            "Use the version that wrote the file, or run the comparison again."
        )
    device = top.child("device")
    return Results(
        created_at=top.text("created_at"),
        command=top.text("command"),
        commit=top.text_or_none("commit"),
        corpus=_corpus(top.child("corpus")),
        device=Device(
            name=device.text("name"),
            details={_clean(k): v for k, v in device.data.items() if k != "name"},
        ),
        rows=tuple(_row(node) for node in top.children("rows", MAX_ROWS)),
        assumptions=tuple(_assumption(node) for node in top.children("assumptions", MAX_LIST)),
        notes=tuple(top.texts("notes")),
        note=top.text_or_none("note") if "note" in top.data else None,
    )


def _corpus(node: "_Node") -> Corpus:
    corpus = Corpus(
        name=node.text("name"),
        sha256=node.text_or_none("sha256"),
        train_bytes=node.integer("train_bytes"),
        test_bytes=node.integer("test_bytes"),
        train_range=node.span("train_range"),
        test_range=node.span("test_range"),
    )
    if corpus.train_range and corpus.test_range:
        (a, b), (c, d) = corpus.train_range, corpus.test_range
        if max(a, c) < min(b, d):
            node.fail("test_range", f"{c} to {d} overlaps train_range {a} to {b}: not held out")
    return corpus


def _row(node: "_Node") -> Row:
    kind = node.text("kind")
    if kind not in get_args(Kind):
        node.fail("kind", f"want one of {', '.join(get_args(Kind))}, got {kind[:40]!r}")
    predicted = node.value("predicted")
    return Row(
        learner=node.text("learner"),
        label=node.text("label"),
        options=node.child("options").data,
        kind=kind,  # type: ignore[arg-type]
        predicted=None if predicted is None else _cost(node.child("predicted")),
        measured=_cost(node.child("measured")),
        train_bits_per_byte=node.number_or_none("train_bits_per_byte"),
        test_bits_per_byte=node.number_or_none("test_bits_per_byte"),
        test_bits_per_byte_adaptive=node.number_or_none("test_bits_per_byte_adaptive"),
        parameters=None if node.value("parameters") is None else node.integer("parameters"),
        process_bytes=_quantity_or_number(node, "process_bytes"),
        score_seconds=_quantity_or_number(node, "score_seconds"),
        breakdown=tuple(step.data for step in node.children("breakdown", MAX_LIST)),
    )


def _cost(node: "_Node") -> Cost:
    names = [field.name for field in fields(Cost)]
    return Cost(**{name: _quantity(node.child(name)) for name in names})


def _quantity_or_number(node: "_Node", key: str) -> Quantity:
    value = node.value(key)
    if value is None:
        return Quantity.missing("not recorded")
    if isinstance(value, dict):
        return _quantity(node.child(key))
    number = node.number_or_none(key)
    return Quantity(value=number, basis="clock" if key.endswith("_seconds") else "sampled")


def _quantity(node: "_Node") -> Quantity:
    names = {field.name for field in fields(Quantity)}
    if unknown := sorted(set(node.data) - names):
        node.fail(unknown[0], "no such field of a quantity")
    basis = node.text_or_none("basis")
    if basis is not None and basis not in get_args(Basis):
        node.fail("basis", f"want one of {', '.join(get_args(Basis))}, got {basis[:40]!r}")
    numbers = {key: node.number_or_none(key) for key in ("value", "low", "high", "coverage")}
    try:
        return Quantity(basis=basis, reason=node.text_or_none("reason"), **numbers)  # type: ignore[arg-type]
    except ValueError as error:
        raise ResultsError(f"{node.path}: {error}") from error


def _assumption(node: "_Node") -> Assumption:
    value = node.value("value")
    if isinstance(value, dict | list):
        node.fail("value", "want text or a number")
    return Assumption(
        key=node.text("key"),
        value=_clean(scalar_text(value)),
        unit=node.text_or_none("unit") or "",
        source=node.text("source"),
    )


class _Node:
    """A JSON object and the path that leads to it."""

    __slots__ = ("data", "path")

    def __init__(self, data: object, path: str) -> None:
        if not isinstance(data, dict):
            raise ResultsError(f"{path}: want an object, got {_kind(data)}")
        self.data: dict[str, Any] = data
        self.path = path

    def fail(self, key: str, problem: str) -> NoReturn:
        raise ResultsError(f"{self.path}.{_clean(key)[:80]}: {problem}")

    def value(self, key: str) -> object:
        if key not in self.data:
            self.fail(key, "missing")
        return self.data[key]

    def child(self, key: str) -> "_Node":
        return _Node(self.value(key), f"{self.path}.{key}")

    def children(self, key: str, limit: int) -> list["_Node"]:
        items = self._list(key, limit)
        return [_Node(item, f"{self.path}.{key}[{i}]") for i, item in enumerate(items)]

    def texts(self, key: str) -> list[str]:
        items = self._list(key, MAX_LIST)
        for i, item in enumerate(items):
            if not isinstance(item, str):
                self.fail(f"{key}[{i}]", f"want text, got {_kind(item)}")
        return [_clean(item) for item in items]

    def _list(self, key: str, limit: int) -> list[Any]:
        items = self.value(key)
        if not isinstance(items, list):
            self.fail(key, f"want a list, got {_kind(items)}")
        if len(items) > limit:
            self.fail(key, f"has {len(items):,} entries, at most {limit:,} are accepted")
        return items

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str):
            self.fail(key, f"want text, got {_kind(value)}")
        return _clean(value)

    def text_or_none(self, key: str) -> str | None:
        return None if self.value(key) is None else self.text(key)

    def integer(self, key: str) -> int:
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
            self.fail(key, f"want a whole number from 0 to 2**63 - 1, got {_kind(value)}")
        return value

    def number_or_none(self, key: str) -> float | None:
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            self.fail(key, f"want a number that is not negative, or null; got {_kind(value)}")
        return value

    def span(self, key: str) -> tuple[int, int] | None:
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 2 or not all(type(v) is int for v in value):
            self.fail(key, "want two whole numbers: the first byte, and the one after the last")
        if not 0 <= value[0] <= value[1]:
            self.fail(key, f"want 0 <= start <= end, got {value[0]} and {value[1]}")
        return value[0], value[1]


def scalar_text(value: object) -> str:
    """A JSON scalar as people read it.

    >>> scalar_text(0.05), scalar_text(1000000), scalar_text(None), scalar_text(True)
    ('0.05', '1,000,000', '–', 'yes')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _check_size(data: object) -> None:
    # Without recursion, so that deep nesting ends in an error and not in a full stack.
    count = 0
    stack: list[Iterator[object]] = [iter([data])]
    while stack:
        item = next(stack[-1], stack)
        if item is stack:
            stack.pop()
            continue
        count += 1
        if count > MAX_ITEMS or len(stack) > MAX_DEPTH:
            raise ResultsError(
                f"results hold more than {MAX_ITEMS:,} values or nest deeper than {MAX_DEPTH}, "
                "which no comparison writes."
            )
        if isinstance(item, dict):
            if not all(isinstance(key, str) and len(key) <= MAX_TEXT for key in item):
                raise ResultsError(f"keys must be text of at most {MAX_TEXT:,} characters.")
            stack.append(iter(item.values()))
        elif isinstance(item, list):
            stack.append(iter(item))
        elif isinstance(item, str):
            if len(item) > MAX_TEXT:
                raise ResultsError(f"a text has {len(item):,} characters, at most {MAX_TEXT:,}.")
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise ResultsError(f"{item} is not a number that JSON can hold.")
        elif isinstance(item, int):
            if abs(item) > 10**300:
                raise ResultsError("a whole number has more than 300 digits.")
        elif item is not None:
            raise ResultsError(f"{_kind(item)} can't be in results: only what JSON can hold.")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


def _clean(text: str) -> str:
    # Control characters and lone surrogates (file names can hold them) can't be printed.
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    if value is None:
        return "null"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.6g}" if abs(value) < 10**300 else "a very large number"
    return names.get(type(value), type(value).__name__)
