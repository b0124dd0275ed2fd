"""What stands on the page, as plain rows of text: no markup here, no wording in the template."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microdollar.cost import Quantity
from microdollar.ledger import Record, compare, summarize
from microdollar.report.facts import (
    MEASURES,
    SECONDS,
    Gap,
    Measure,
    Point,
    Ratio,
    best_adaptive,
    best_frozen,
    by_cost,
    cost_axis,
    interval_text,
    ratios,
    value_text,
)
from microdollar.report.schema import Results, Row, scalar_text
from microdollar.report.theme import KIND_TEXT
from microdollar.units import format_bytes, format_seconds

CONVENTIONS = (
    "Bits per byte: mean of −log₂ P(byte | bytes before it). 8 is what a byte costs without "
    "any model.",
    "Frozen: the model stays as it was when learning ended. Adaptive: each byte is learnt after "
    "it was scored, as compressors do. The two are never compared with each other.",
    "Held out: the bytes that are scored were never seen by the fit, and nothing was tuned on "
    "them.",
    "A multiply-accumulate counts as 2 floating-point operations; an addition, multiplication, "
    "division or transcendental function as 1. Integer operations are counted apart and never "
    "added to them.",
    "Time is wall time without compilation and without reading the corpus. Memory is the peak of "
    "what the computation allocates; process memory is the peak of the whole process.",
    "Money is the price of the machine over that time; energy is that of the machine over that "
    "time.",
    "Intervals are 80 % intervals. A number that could not be had is a dash with its reason; "
    "missing is never zero.",
    "k, M, G, T are powers of 1,000. 1 µ$ is a millionth of a dollar.",
)
_OPS = {m.name: m for m in MEASURES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a table."""

    text: str
    interval: str = ""
    """80 % interval in words, without the sign of a percentage."""
    note: str = ""
    """Mark of a footnote."""
    title: str = ""
    """Shown on hover."""
    bad: bool = False


def _missing(reason: str | None, mark: Callable[[str], str]) -> Cell:
    reason = reason or "no reason was given"
    return Cell(text="–", note=mark(reason), title=reason)


def quantity_cell(
    quantity: Quantity, write: Callable[[float], str], mark: Callable[[str], str]
) -> Cell:
    """A quantity with its interval, or a dash with a footnote.

    Args:
        quantity: what to show.
        write: puts a value into words with its unit.
        mark: gives the footnote mark of a reason.
    """
    if quantity.value is None:
        return _missing(quantity.reason, mark)
    partial = quantity.coverage is not None and quantity.coverage < 1
    seen = f"the counter saw {(quantity.coverage or 0) * 100:.3g} %" if partial else ""
    interval = interval_text(quantity, write)
    about = [f"80 % interval {interval}" if interval else "", f"basis: {quantity.basis}", seen]
    about.append(quantity.reason or "")
    return Cell(
        text=value_text(quantity, write),
        interval=interval,
        note=mark(f"{seen} of the operations, so the number is a lower bound") if partial else "",
        title="; ".join(part for part in about if part),
    )


def cost_table(results: Results) -> dict[str, Any]:
    """The main table: heads, rows ordered by cost, and the footnotes of what is missing."""
    notes: dict[str, str] = {}

    def mark(reason: str) -> str:
        return notes.setdefault(reason, _letter(len(notes)))

    body = []
    for index in by_cost(results):
        row = results.rows[index]
        cells = [_bits_cell(row, name, mark) for name in _BITS]
        for measure in MEASURES:
            quantity: Quantity = getattr(row.measured, measure.name)
            cells.append(quantity_cell(quantity, measure.format, mark))
        cells.append(quantity_cell(row.process_bytes, format_bytes, mark))
        if row.parameters is None:
            cells.append(_missing("it has no parameters to count", mark))
        else:
            cells.append(Cell(text=f"{row.parameters:,}"))
        body.append({"row": row, "cells": cells})
    heads = [*_BITS.values(), *(_HEADS[m.name] for m in MEASURES), "Process memory", "Parameters"]
    return {"heads": heads, "body": body, "notes": [(m, reason) for reason, m in notes.items()]}


_BITS = {
    "test_bits_per_byte": "Held\u2011out, frozen",
    "test_bits_per_byte_adaptive": "Held\u2011out, adaptive",
    "train_bits_per_byte": "Training",
}
_HEADS = {m.name: m.title for m in MEASURES} | {
    "flops": "Floating-point ops",
    "int_ops": "Integer ops",
    "memory_bytes": "Allocated",
}


def _bits_cell(row: Row, name: str, mark: Callable[[str], str]) -> Cell:
    value = getattr(row, name)
    if value is not None:
        return Cell(text=f"{value:.3f}", title=f"{value:.6g} bits per byte")
    if row.kind == "compressor" and name != "test_bits_per_byte_adaptive":
        return _missing("a compressor adapts while it codes: it has no frozen score", mark)
    if name == "test_bits_per_byte_adaptive":
        return _missing("it does not go on learning while it scores", mark)
    return _missing("not scored", mark)


def _letter(index: int) -> str:
    return chr(97 + index) if index < 26 else f"{chr(97 + index // 26 - 1)}{chr(97 + index % 26)}"


def key_facts(results: Results) -> list[tuple[str, str, str]]:
    """Value, what it is, and whose it is: a few numbers to begin with."""
    facts = []
    if frozen := best_frozen(results):
        bits = f"{frozen.test_bits_per_byte:.2f}"
        facts.append((bits, "best held-out bits, frozen", frozen.label))
    if adaptive := best_adaptive(results):
        bits = f"{adaptive.test_bits_per_byte_adaptive:.2f}"
        facts.append((bits, "best held-out bits, adaptive", adaptive.label))
    judged = [r for r in ratios(results)[0] if r.verdict != "at least"]
    if judged:
        inside = sum(r.verdict == "inside" for r in judged)
        text = f"{inside} of {len(judged)}"
        facts.append(
            (
                text,
                "measurements inside the predicted interval",
                "about 80 % if the intervals are honest",
            )
        )
    return facts


def point_text(results: Results, point: Point) -> str:
    """One mark of the first figure, in a sentence."""
    axis = cost_axis(results)
    interval = interval_text(point.cost, axis.format)
    return (
        f"{results.rows[point.row].label}, {point.evaluation}: {point.bits:.3f} bits per byte for "
        f"{axis.format(point.x)}{f' ({interval})' if interval else ''}."
    )


def point_lines(results: Results, drawn: Sequence[Point]) -> dict[str, Any]:
    """The table behind the first figure."""
    axis = cost_axis(results)
    body = []
    for point in sorted(drawn, key=lambda p: (p.evaluation != "frozen", p.x)):
        interval = interval_text(point.cost, axis.format)
        body.append(
            (
                results.rows[point.row],
                [
                    Cell(text=point.evaluation),
                    Cell(text=f"{point.bits:.3f}"),
                    Cell(text=axis.format(point.x), interval=interval),
                ],
            )
        )
    what = "Time" if axis is SECONDS else "Money"
    return {"heads": ["Evaluation", "Held-out bits per byte", what], "body": body}


def ratio_text(results: Results, ratio: Ratio) -> str:
    """One mark of the second figure, in a sentence."""
    write = ratio.measure.format
    interval = interval_text(ratio.predicted, write) or "exactly"
    return (
        f"{results.rows[ratio.row].label}, {ratio.measure.title.lower()}: measured "
        f"{value_text(ratio.measured, write)}, predicted {value_text(ratio.predicted, write)} "
        f"({interval}): {ratio.ratio:.3g} times, {_VERDICTS[ratio.verdict]}."
    )


_VERDICTS = {"inside": "inside", "outside": "outside", "at least": "a lower bound"}


def ratio_lines(results: Results, found: Sequence[Ratio]) -> dict[str, Any]:
    """The table behind the second figure."""
    body = []
    for measure in MEASURES:
        for ratio in (r for r in found if r.measure is measure):
            predicted = value_text(ratio.predicted, measure.format)
            measured = value_text(ratio.measured, measure.format)
            body.append(
                (
                    results.rows[ratio.row],
                    [
                        Cell(text=measure.title),
                        Cell(
                            text=predicted, interval=interval_text(ratio.predicted, measure.format)
                        ),
                        Cell(text=measured, interval=interval_text(ratio.measured, measure.format)),
                        Cell(text=f"{ratio.ratio:.4g}×"),
                        Cell(text=_VERDICTS[ratio.verdict], bad=ratio.verdict == "outside"),
                    ],
                )
            )
    return {"heads": ["Quantity", "Predicted", "Measured", "Ratio", "80 % interval"], "body": body}


def gap_lines(results: Results, gaps: Sequence[Gap]) -> list[tuple[str, str, str]]:
    """What, why, and of whom: everything that a figure can't show."""
    return [
        (gap.what, " · ".join(results.rows[i].label for i in gap.rows), gap.reason) for gap in gaps
    ]


def learners(results: Results) -> list[dict[str, Any]]:
    """Options, scoring time and predicted steps of each row, the cheapest first."""
    found = []
    for index in by_cost(results):
        row = results.rows[index]
        lines = [(key, _plain(value)) for key, value in sorted(row.options.items())]
        if (seconds := row.score_seconds.value) is not None:
            lines.append(("time to score the held-out bytes", format_seconds(seconds)))
        keys = list(dict.fromkeys(key for step in row.breakdown for key in step))
        found.append(
            {
                "row": row,
                "kind": KIND_TEXT[row.kind],
                "lines": lines,
                "heads": [_step_head(key) for key in keys],
                "steps": [
                    [_step_text(key, step.get(key)) for key in keys] for step in row.breakdown
                ],
            }
        )
    return found


def _step_head(key: str) -> str:
    known = {"name": "Step", **_HEADS}
    return known.get(key, key.replace("_", " "))


def _step_text(key: str, value: object) -> str:
    measure: Measure | None = _OPS.get(key)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if measure is not None and number:
        return measure.format(value)  # type: ignore[arg-type]
    return _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "–"
    return scalar_text(value)


def device_lines(results: Results) -> list[tuple[str, str]]:
    """What is known of the machine."""
    lines = [("name", results.device.name)]
    for key, value in results.device.details.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        text = format_bytes(value) if number and key.endswith("_bytes") else _plain(value)
        if value is not None and text:
            lines.append((key.removesuffix("_bytes").replace("_", " "), text))
    return lines


def corpus_lines(results: Results) -> list[tuple[str, str]]:
    """What was learnt from and scored."""
    corpus = results.corpus
    lines = [
        ("name", corpus.name),
        ("training bytes", _span(corpus.train_bytes, corpus.train_range)),
        ("held-out bytes", _span(corpus.test_bytes, corpus.test_range)),
    ]
    return lines + ([("SHA-256", corpus.sha256)] if corpus.sha256 else [])


def _span(count: int, span: tuple[int, int] | None) -> str:
    return f"{count:,}" + (f" (from byte {span[0]:,} up to {span[1]:,})" if span else "")


def history_lines(history: Sequence[Record]) -> dict[str, Any] | None:
    """How good the predictions of a ledger were; None if it holds no rows."""
    if not history:
        return None
    body = []
    for entry in summarize(c for record in history for c in compare(record)):
        share, ratio = entry.inside_share, entry.median_ratio
        error = entry.median_absolute_percentage_error
        body.append(
            [
                _HEADS[entry.name],
                f"{entry.compared:,}",
                "–" if ratio is None else f"{ratio:.3f}×",
                "–" if error is None else "< 0.01 %" if 0 < error < 0.01 else f"{error:.3g} %",
                "–" if share is None else f"{100 * share:.0f} %",
            ]
        )
    runs = f"{len(history):,} run{'s' if len(history) != 1 else ''}"
    heads = ["Quantity", "Runs compared", "Median ratio", "Median error", "Inside 80 % interval"]
    return {"heads": heads, "body": body, "runs": runs}
