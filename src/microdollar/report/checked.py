"""Sources other than comparisons, checked field by field: what a stranger's file may hold."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microdollar.cost import Quantity
from microdollar.estimator.limits.roofline import Ceiling, RooflinePoint
from microdollar.report.nodes import MAX_LIST, Node, ResultsError
from microdollar.report.schema import parse_quantity
from microdollar.spec.claims import number_text

MAX_POINTS = 5_000
"""Rows of one file of crossovers, points of a roofline, claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One number of a document, and what became of it."""

    id: str
    document: str
    section: str
    text: str
    published: float | None
    to: float | None
    """Upper end, where the document gives two."""
    unit: str
    ours: float | None
    low: float | None
    high: float | None
    verdict: str
    condition: str
    how: str
    needs: str
    reason: str
    note: str
    own: float | None
    """What the document's own premises give."""
    made_true: str = ""
    """What keeps its promise, with the figure; empty if nothing is meant to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How wrong predictions of published runs were, on runs that no fit saw or as it says."""

    about: str
    metric: str
    count: int
    median_error: float | None
    """As a ratio to the measurement."""
    coverage: float | None
    """Share inside the 80 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of a plan with one optimizer, in bytes of the fullest device."""

    optimizer: str
    allocated: Quantity
    parts: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCost:
    """What a plan will cost, as ``microdollar estimate --json`` says it."""

    name: str
    device: str
    devices: int
    run: bool
    """Of a whole run; else of one step."""
    step: Quantity
    step_parts: tuple[tuple[str, float], ...]
    """Seconds."""
    seconds: Quantity
    run_parts: tuple[tuple[str, Quantity], ...]
    """Seconds of the run: its steps, and what is not steps."""
    joules: Quantity
    dollars: Quantity
    device_bytes: float | None
    memory: tuple[Memory, ...]
    """Of each optimizer; of the plan's own alone if no other was priced."""


def check_crossover(data: Mapping[str, Any]) -> None:
    """Refuse a study of sequence layers that can't be drawn.

    Raises:
        ResultsError: naming the field.
    """
    top = Node(data, "crossover")
    top.child("machine").text("name")
    for row in top.children("rows", MAX_POINTS):
        for key in ("layer", "mode"):
            row.text(key)
        for key in ("width", "length", "batch"):
            if row.integer(key) < 1:
                row.fail(key, "want 1 or more")
        ends = [row.positive(f"predicted_seconds{end}") for end in ("_low", "", "_high")]
        if ends != sorted(ends):
            row.fail("predicted_seconds", "it is not within its interval")
        if row.number_or_none("measured_seconds") == 0:
            row.fail("measured_seconds", "want a number above zero, or null")
    for pair in top.children("crossovers", MAX_POINTS):
        for key in ("mode", "first", "second", "of"):
            pair.text(key)
        pair.integer("width")
        for key in ("predicted", "measured"):
            found = pair.child(key)
            for end in ("length", "low", "high"):
                found.number_or_none(end)
            found.text_or_none("cheaper_after")
            found.text_or_none("reason")


def parse_roofline(data: Mapping[str, Any]) -> tuple[str, list[Ceiling], list[RooflinePoint]]:
    """Machine, ceilings and points of ``microdollar limits --roofline --json``.

    Raises:
        ResultsError: naming the field that is missing or wrong.
    """
    top = Node(data, "limits").child("roofline")
    ceilings = [
        Ceiling(
            name=node.text("name"),
            rate=node.positive("rate"),
            of_bytes=node.value("of_bytes") is True,
            dtype=node.text("dtype"),
        )
        for node in top.children("ceilings", 40)
    ]
    points = [
        RooflinePoint(
            name=node.text("name"),
            group=node.text("group"),
            family=node.text("family"),
            size=node.integer("size"),
            flops=node.positive("flops"),
            moved_bytes=node.positive("moved_bytes"),
            seconds=node.positive("seconds"),
            dtype=node.text("dtype"),
        )
        for node in top.children("points", MAX_POINTS)
    ]
    if len({one.of_bytes for one in ceilings}) < 2 or not points:
        top.fail("ceilings", "want one of arithmetic, one of bytes, and points below them")
    return top.text("device"), ceilings, points


def parse_claims(data: Sequence[object]) -> list[Claim]:
    """The list of ``microdollar claims --json``.

    Raises:
        ResultsError: naming the field that is missing or wrong.
    """
    if len(data) > MAX_POINTS:
        raise ResultsError(f"claims: {len(data):,} rows, at most {MAX_POINTS:,} are accepted")
    return [_claim(Node(item, f"claims[{i}]")) for i, item in enumerate(data)]


def _claim(node: Node) -> Claim:
    def text(key: str) -> str:
        return (node.text_or_none(key) or "") if key in node.data else ""

    def number(key: str) -> float | None:
        return node.real_or_none(key) if key in node.data else None

    needs = node.texts("needs") if isinstance(node.data.get("needs"), list) else [text("needs")]
    return Claim(
        id=node.text("id"),
        document=node.text("document"),
        section=str(node.value("section") or "")[:200],
        text=node.text("claim"),
        verdict=node.text("verdict"),
        unit=text("unit"),
        needs=", ".join(needs),
        published=number("published"),
        to=number("to"),
        ours=number("ours"),
        low=number("low"),
        high=number("high"),
        own=number("own"),
        condition=text("condition"),
        how=text("how"),
        reason=text("reason"),
        note=text("note"),
        made_true=_made_true(node) if node.data.get("made_true") is not None else "",
    )


def _made_true(node: Node) -> str:
    kept = node.child("made_true")
    value = kept.real_or_none("value")
    figure = "" if value is None else number_text(value, kept.text_or_none("unit") or "")
    return f"by {kept.text('part')}: {kept.text('what')} {figure}"


def parse_accuracy(data: Mapping[str, Any], name: str) -> list[Accuracy]:
    """Errors of ``microdollar validate --json``, or of many of its runs.

    Raises:
        ResultsError: naming the field that is missing or wrong.
    """
    top = Node(data, "validation")
    found = []
    if "splits" in data:
        for split in top.children("splits", MAX_LIST):
            for metric in split.children("metrics", MAX_LIST):
                found.append(_accuracy(metric.child("ours"), split.text("title")))
    else:
        for group in top.children("groups", MAX_LIST):
            if group.text("by") == "all":
                found.append(_accuracy(group, name))
    return found


def _accuracy(node: Node, about: str) -> Accuracy:
    return Accuracy(
        about=about,
        metric=node.text("metric"),
        count=node.integer("n"),
        median_error=node.number_or_none("median_ape"),
        coverage=node.number_or_none("coverage80"),
    )


def parse_plan(data: Mapping[str, Any]) -> PlanCost:
    """The object of ``microdollar estimate MODEL --json``.

    ``optimizers`` may be added to it: a list of objects with ``optimizer``, ``allocated`` and
    ``breakdown``; and ``plan``, its name.

    Raises:
        ResultsError: naming the field that is missing or wrong.
    """
    top = Node(data, "plan")
    memory = top.child("memory_bytes")
    step_parts = _parts(top, "step_breakdown")
    if sum(value for _, value in step_parts) <= 0:
        top.fail("step_breakdown", "want parts above zero")
    own = Memory(
        optimizer="this plan",
        allocated=parse_quantity(memory.child("allocated")),
        parts=_parts(memory, "breakdown"),
    )
    others = []
    if "optimizers" in data:
        others = [
            Memory(
                optimizer=node.text("optimizer"),
                allocated=parse_quantity(node.child("allocated")),
                parts=_parts(node, "breakdown"),
            )
            for node in top.children("optimizers", 100)
        ]
    return PlanCost(
        name=top.text("plan") if "plan" in data else top.text("model"),
        device=top.text("device"),
        devices=top.integer("devices"),
        run=top.text("covers") == "run",
        step=parse_quantity(top.child("step_seconds")),
        step_parts=step_parts,
        seconds=parse_quantity(top.child("seconds")),
        run_parts=tuple(
            (node.text("name"), parse_quantity(node.child("seconds")))
            for node in top.children("seconds_breakdown", MAX_LIST)
        ),
        joules=parse_quantity(top.child("joules")),
        dollars=parse_quantity(top.child("dollars")),
        device_bytes=top.number_or_none("device_bytes") if "device_bytes" in data else None,
        memory=tuple(others) or (own,),
    )


def _parts(node: Node, key: str) -> tuple[tuple[str, float], ...]:
    found = []
    for part in node.children(key, MAX_LIST):
        value = part.number_or_none("value")
        if value is not None:
            found.append((re.sub(r"\s+", " ", part.text("name")), float(value)))
    return tuple(found)
