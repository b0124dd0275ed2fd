"""``results.json`` as frozen dataclasses, read by a strict loader.

The file comes from ``microdollar demo`` and ``microdollar compare``, or from a stranger: sizes
are bounded before anything is looked at, every error names the path of the field, and
nothing in the file is trusted further than its type. Keys that are not known are kept in
the file but not read; a key that is missing or has the wrong type is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from microdollar.cost import Basis, Cost, Quantity
from microdollar.report.nodes import MAX_LIST, Node, ResultsError, check_size, clean, read_json

SCHEMA_VERSION = 1
MAX_ROWS = 200

Kind = Literal["counted", "trained", "compressor"]


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
        The dictionary as it stands in the file; ``parse_results`` accepts it.

    Raises:
        ResultsError: if the file can't be read, is too large or is not such results.
    """
    data = read_json(path)
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
    check_size(data)
    top = Node(data, "results")
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
            details={clean(k): v for k, v in device.data.items() if k != "name"},
        ),
        rows=tuple(_row(node) for node in top.children("rows", MAX_ROWS)),
        assumptions=tuple(_assumption(node) for node in top.children("assumptions", MAX_LIST)),
        notes=tuple(top.texts("notes")),
        note=top.text_or_none("note") if "note" in top.data else None,
    )


def _corpus(node: Node) -> Corpus:
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


def _row(node: Node) -> Row:
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


def _cost(node: Node) -> Cost:
    names = [field.name for field in fields(Cost)]
    return Cost(**{name: parse_quantity(node.child(name)) for name in names})


def _quantity_or_number(node: Node, key: str) -> Quantity:
    value = node.value(key)
    if value is None:
        return Quantity.missing("not recorded")
    if isinstance(value, dict):
        return parse_quantity(node.child(key))
    number = node.number_or_none(key)
    return Quantity(value=number, basis="clock" if key.endswith("_seconds") else "sampled")


def parse_quantity(node: Node) -> Quantity:
    """A quantity as ``microdollar.cost.Quantity.to_json`` gives it.

    Raises:
        ResultsError: naming the path of the field that is wrong.
    """
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


def _assumption(node: Node) -> Assumption:
    value = node.value("value")
    if isinstance(value, dict | list):
        node.fail("value", "want text or a number")
    return Assumption(
        key=node.text("key"),
        value=clean(scalar_text(value)),
        unit=node.text_or_none("unit") or "",
        source=node.text("source"),
    )


def scalar_text(value: object) -> str:
    """A JSON scalar as people read it.

    Examples:
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
