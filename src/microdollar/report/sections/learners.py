"""Every learner of a comparison: measured cost and quality, options, and predicted steps."""

from collections.abc import Callable, Mapping, Sequence

from microdollar.cost import Quantity
from microdollar.report.blocks import Block, Cell, Code, Fold, Pairs, Section, Table, row
from microdollar.report.blocks import Row as Line
from microdollar.report.facts import MEASURES, Measure, by_cost, interval_text, value_text
from microdollar.report.schema import Results, Row, scalar_text
from microdollar.report.sections.frontier import about
from microdollar.report.sources import Comparison
from microdollar.report.theme import KIND_TEXT
from microdollar.units import format_bytes, format_seconds

_OPS = {m.name: m for m in MEASURES}
_BITS = {
    "test_bits_per_byte": "Held\u2011out, frozen",
    "test_bits_per_byte_adaptive": "Held\u2011out, adaptive",
    "train_bits_per_byte": "Training",
}
HEADS = {m.name: m.title for m in MEASURES} | {
    "flops": "Floating-point ops",
    "int_ops": "Integer ops",
    "memory_bytes": "Allocated",
}
"""Heads of columns, by quantity."""


def learners_section(comparisons: Sequence[Comparison]) -> Section | None:
    """The tables of all comparisons; beyond the first in folds."""
    if not comparisons:
        return None
    blocks: list[Block] = []
    for number, one in enumerate(comparisons):
        inner = _comparison(one.results, f"{number}")
        if len(comparisons) == 1:
            blocks += inner
        else:
            learners = f"{len(one.results.rows)} learners, from {one.name}"
            blocks.append(Fold(summary=about(one.results), about=learners, blocks=tuple(inner)))
    rows = sum(len(one.results.rows) for one in comparisons)
    return Section(
        key="table",
        title="Every learner",
        says=(
            f"{rows} rows, measured, the cheapest first; scores in bits per byte; small print is "
            "the 80 % interval.",
        ),
        blocks=tuple(blocks),
    )


def _comparison(results: Results, key: str) -> list[Block]:
    blocks: list[Block] = [cost_table(results, key)]
    for index in by_cost(results):
        one = results.rows[index]
        lines = [(name, _plain(value)) for name, value in sorted(one.options.items())]
        if (seconds := one.score_seconds.value) is not None:
            lines.append(("time to score the held-out bytes", format_seconds(seconds)))
        inner: list[Block] = [Pairs(head="", lines=tuple(lines))] if lines else []
        if one.breakdown:
            inner.append(_steps(one))
        if inner:
            blocks.append(
                Fold(
                    summary=one.label,
                    mark=one.kind,
                    about=f"{one.learner}, {KIND_TEXT[one.kind]}: options and predicted steps",
                    blocks=tuple(inner),
                )
            )
    device = Pairs(head="Device", lines=tuple(_device_lines(results)))
    corpus = Pairs(head="Corpus", lines=tuple(_corpus_lines(results)))
    blocks.append(
        Fold(summary="Machine, text and command", blocks=(device, corpus, *_again(results)))
    )
    return blocks


def _again(results: Results) -> list[Block]:
    if not results.command:
        return []
    commit = f"\n# commit {results.commit}" if results.commit else ""
    made = f"\n# made at {results.created_at}" if results.created_at else ""
    return [Code(head="To run it again", text=f"{results.command}{commit}{made}")]


def cost_table(results: Results, key: str) -> Table:
    """Rows ordered by cost, with footnotes of what is missing.

    Args:
        results: a comparison.
        key: unique on the page, before the marks of footnotes.
    """
    notes: dict[str, str] = {}

    def mark(reason: str) -> str:
        return f"{key}-{notes.setdefault(reason, _letter(len(notes)))}"

    lines: list[Line] = []
    for index in by_cost(results):
        one = results.rows[index]
        cells = [_bits_cell(one, name, mark) for name in _BITS]
        for measure in MEASURES:
            quantity: Quantity = getattr(one.measured, measure.name)
            cells.append(quantity_cell(quantity, measure.format, mark))
        cells.append(quantity_cell(one.process_bytes, format_bytes, mark))
        if one.parameters is None:
            cells.append(_missing("it has no parameters to count", mark))
        else:
            cells.append(Cell(text=f"{one.parameters:,}"))
        name = Cell(text=one.label, interval=KIND_TEXT[one.kind], mark=one.kind)
        lines.append(row(name, *cells))
    heads = [*_BITS.values(), *(HEADS[m.name] for m in MEASURES), "Process memory", "Parameters"]
    return Table(
        name=f"Measured cost and quality of every learner, {about(results)}",
        heads=("Learner", *heads),
        rows=tuple(lines),
        small=True,
        notes=tuple((f"{key}-{letter}", letter, reason) for reason, letter in notes.items()),
    )


def quantity_cell(
    quantity: Quantity, write: Callable[[float], str], mark: Callable[[str], str]
) -> Cell:
    """A quantity with its interval, or a dash with a footnote.

    Args:
        quantity: what to show.
        write: puts a value into words with its unit.
        mark: gives the footnote of a reason.
    """
    if quantity.value is None:
        return _missing(quantity.reason, mark)
    partial = quantity.coverage is not None and quantity.coverage < 1
    seen = f"the counter saw {(quantity.coverage or 0) * 100:.3g} %" if partial else ""
    interval = interval_text(quantity, write)
    said = [f"80 % interval {interval}" if interval else "", f"basis: {quantity.basis}", seen]
    said.append(quantity.reason or "")
    return Cell(
        text=value_text(quantity, write),
        interval=interval,
        note=mark(f"{seen} of the operations, so the number is a lower bound") if partial else "",
        title="; ".join(part for part in said if part),
    )


def _missing(reason: str | None, mark: Callable[[str], str]) -> Cell:
    reason = reason or "no reason was given"
    return Cell(text="–", note=mark(reason), title=reason)


def _bits_cell(one: Row, name: str, mark: Callable[[str], str]) -> Cell:
    value = getattr(one, name)
    if value is not None:
        return Cell(text=f"{value:.3f}", title=f"{value:.6g} bits per byte")
    if one.kind == "compressor" and name != "test_bits_per_byte_adaptive":
        return _missing("a compressor adapts while it codes: it has no frozen score", mark)
    if name == "test_bits_per_byte_adaptive":
        return _missing("it does not go on learning while it scores", mark)
    return _missing("not scored", mark)


def _letter(index: int) -> str:
    return chr(97 + index) if index < 26 else f"{chr(97 + index // 26 - 1)}{chr(97 + index % 26)}"


def _steps(one: Row) -> Table:
    keys = list(dict.fromkeys(key for step in one.breakdown for key in step))
    return Table(
        name=f"Steps of {one.label}",
        heads=tuple({"name": "Step", **HEADS}.get(key, key.replace("_", " ")) for key in keys),
        rows=tuple(row(*(_step_text(k, step.get(k)) for k in keys)) for step in one.breakdown),
    )


def _step_text(key: str, value: object) -> str:
    measure: Measure | None = _OPS.get(key)
    if measure is not None and isinstance(value, int | float) and not isinstance(value, bool):
        return measure.format(value)
    return _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "–"
    return scalar_text(value)


def _device_lines(results: Results) -> list[tuple[str, str]]:
    lines = [("name", results.device.name)]
    for key, value in results.device.details.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        text = format_bytes(value) if number and key.endswith("_bytes") else _plain(value)
        if value is not None and text:
            lines.append((key.removesuffix("_bytes").replace("_", " "), text))
    return lines


def _corpus_lines(results: Results) -> list[tuple[str, str]]:
    corpus = results.corpus
    lines = [
        ("name", corpus.name),
        ("training bytes", _span(corpus.train_bytes, corpus.train_range)),
        ("held-out bytes", _span(corpus.test_bytes, corpus.test_range)),
    ]
    return lines + ([("SHA-256", corpus.sha256)] if corpus.sha256 else [])


def _span(count: int, span: tuple[int, int] | None) -> str:
    return f"{count:,}" + (f" (from byte {span[0]:,} up to {span[1]:,})" if span else "")
