"""What the page shows of one or two estimates: rows of numbers, and memory in parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from microdollar.cost import Quantity
from microdollar.estimator.html import format_flops, format_grams
from microdollar.estimator.serving import ServingEstimate
from microdollar.estimator.training import TrainingEstimate
from microdollar.ui.bars import LABELS, Bar, make_bars
from microdollar.ui.cells import Cell, Format, LayerEstimate, make_cell
from microdollar.ui.command import command_words
from microdollar.ui.form import Picked
from microdollar.ui.toml import plan_toml
from microdollar.units import (
    format_bytes,
    format_dollars,
    format_joules,
    format_seconds,
    format_si,
)

LEAST_SHARE = 0.01
"""Of a step's time, of a part that is shown by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One quantity of every plan."""

    label: str
    cells: tuple[Cell | None, ...]
    """None where a plan has no such quantity."""
    ratio: str
    """The second plan's value over the first's; empty if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """One plan of the page."""

    label: str
    title: str
    sentence: str
    replaced: str
    """Options that replace what the plan says itself."""
    bar: Bar
    command: tuple[str, ...]
    """In pieces that are not to be broken."""
    file: str
    """What the pasted text is to be kept as before the command is run; empty if named."""
    toml: str
    of_plan: bool
    """Whether a plan says itself what is left empty."""
    warnings: tuple[str, ...]
    times: tuple[tuple[str, str, str], ...]
    """Parts of the time of one: what, how long, which share."""
    per: str
    """``a step``, or ``a further token`` of what is served."""
    assumptions: tuple[tuple[str, str, str], ...]
    """What, value and source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that the page shows of its plans."""

    plans: tuple[PlanView, ...]
    rows: tuple[Row, ...]
    legend: tuple[tuple[str, Row], ...]
    """Key and bytes of each part of the bars."""
    total: Row
    """Bytes in use."""
    summary: str
    """What has changed, in a sentence for those who hear it."""


def make_view(picked: Sequence[Picked], estimates: Sequence[LayerEstimate]) -> View:
    """The view of one plan, or of two side by side."""
    bars = make_bars(estimates)
    labels = ("This plan",) if len(picked) == 1 else ("Plan A", "Plan B")
    plans = tuple(map(_plan_view, labels, picked, estimates, bars))
    keys = [key for key in LABELS if any(key in _bytes_of(bar) for bar in bars)]
    rows = tuple(_rows(estimates))
    return View(
        plans=plans,
        rows=rows,
        legend=tuple((key, _part_row(key, bars)) for key in keys),
        total=_row("In use, 80 % interval", [bar.process for bar in bars]),
        summary=" ".join(_said(plan, rows, index) for index, plan in enumerate(plans)),
    )


def _bytes_of(bar: Bar) -> dict[str, float]:
    return {segment.key: segment.value for segment in bar.segments}


def _part_row(key: str, bars: Sequence[Bar]) -> Row:
    held = [_bytes_of(bar).get(key, 0.0) for bar in bars]
    made = [Quantity(value=value, basis="formula") for value in held]
    return _row(LABELS[key], [make_cell(quantity, format_bytes, 0.0) for quantity in made])


def _row(label: str, cells: Sequence[Cell | None]) -> Row:
    return Row(label=label, cells=tuple(cells), ratio=_ratio(cells))


def _said(plan: PlanView, rows: Sequence[Row], index: int) -> str:
    cells = {row.label: row.cells[index] for row in rows}
    named = [cells.get(label) for label in ("Time", "Energy", "Price")]
    numbers = [cell.text for cell in named if cell is not None and cell.text != "unknown"]
    return f"{plan.label}: {', '.join((plan.bar.process.text, *numbers))}. {plan.bar.fits}."


def _plan_view(label: str, picked: Picked, estimate: LayerEstimate, bar: Bar) -> PlanView:
    assumptions: list[tuple[str, str, str]] = []
    if isinstance(estimate, TrainingEstimate):
        for said in estimate.assumptions:
            number = f"{said.value:.3g}" if isinstance(said.value, float) else str(said.value)
            assumptions.append((said.key, f"{number} {said.unit}".strip(), said.source))
    else:
        assumptions += [
            (part.name, f"{part.value:.3g} {part.formula}".strip(), part.source)
            for part in estimate.assumptions
        ]
    names = [estimate.plan.model.name]
    if isinstance(estimate, TrainingEstimate):
        names += [other.model.name for other in estimate.plan.others]
    return PlanView(
        label=label,
        title=f"{' and '.join(names)} on {estimate.plan.layout.devices:,} × {estimate.device.name}",
        sentence=_sentence(estimate),
        replaced=", ".join(flag for flag, _ in picked.given) if picked.of_plan else "",
        bar=bar,
        command=command_words(picked, "estimate"),
        file=picked.argument if picked.pasted else "",
        toml=plan_toml(picked.plan),
        of_plan=picked.of_plan,
        warnings=tuple(_warnings(picked, estimate)),
        times=tuple(_times(estimate)),
        per="a step" if isinstance(estimate, TrainingEstimate) else "a further token",
        assumptions=tuple(assumptions),
    )


def _sentence(estimate: LayerEstimate) -> str:
    plan, parameters = estimate.plan, format_si(estimate.parameters)
    layout = plan.layout
    spread = ", ".join(
        f"{name} {getattr(layout, name)}"
        for name in ("dp", "tp", "pp", "cp", "ep")
        if getattr(layout, name) > 1
    )
    if isinstance(estimate, ServingEstimate):
        served = estimate.plan
        return _joined(
            f"{parameters} parameters in {served.precision}",
            f"{served.new_tokens:,} new tokens after {served.prompt_tokens:,}",
            f"batch {served.batch:,}",
            spread,
        )
    train = estimate.plan.train
    steps = f"{estimate.plan.steps:,} steps" if estimate.plan.steps else "one step"
    return _joined(
        f"{parameters} parameters in {train.precision}",
        f"{steps} of {train.global_batch:,} × {train.sequence:,} tokens",
        f"micro-batch {train.micro_batch:,}",
        train.optimizer,
        spread,
        f"ZeRO {layout.zero}" if layout.zero else "",
        f"recompute {train.recompute}" if train.recompute != "none" else "",
        f"LoRA of rank {train.lora.rank}" if train.lora else "",
    )


def _joined(*words: str) -> str:
    return ", ".join(word for word in words if word)


def _warnings(picked: Picked, estimate: LayerEstimate) -> Iterator[str]:
    if isinstance(estimate, TrainingEstimate):
        for name in estimate.flops_per_token.unknown:
            yield f"No formula for {name}; it is not counted."
        if estimate.memory.fits is not None and estimate.memory.fits < 0.5:
            search = " ".join(command_words(picked, "search", "layouts"))
            yield f"More likely than not it runs out of memory. For what fits, type: {search}"


def _times(estimate: LayerEstimate) -> Iterator[tuple[str, str, str]]:
    parts = (estimate.step if isinstance(estimate, TrainingEstimate) else estimate).parts
    total = sum(part.value for part in parts)
    for part in sorted(parts, key=lambda part: -part.value):
        if part.value >= LEAST_SHARE * total > 0:
            yield part.name, format_seconds(part.value), f"{100 * part.value / total:.0f} %"
    rest = sum(part.value for part in parts if part.value < LEAST_SHARE * total)
    if rest > 0:
        yield "smaller parts", format_seconds(rest), f"{100 * rest / total:.0f} %"


def _rows(estimates: Sequence[LayerEstimate]) -> Iterator[Row]:
    found = [_quantities(estimate) for estimate in estimates]
    labels = dict.fromkeys(label for each in found for label in each)
    for label in labels:
        held = [each.get(label) for each in found]
        highs = [entry[0].high for entry in held if entry and entry[0].high]
        scale = max(highs, default=0.0) * 1.02
        yield _row(label, [make_cell(*entry, scale) if entry else None for entry in held])


def _quantities(estimate: LayerEstimate) -> dict[str, tuple[Quantity, Format]]:
    if isinstance(estimate, ServingEstimate):
        return {
            "Time": (estimate.seconds, format_seconds),
            "Price": (estimate.dollars, format_dollars),
            "Energy": (estimate.joules, format_joules),
            "Until the first token": (estimate.prefill_seconds, format_seconds),
            "Each further token": (estimate.decode_seconds_per_token, format_seconds),
            "New tokens a second": (estimate.tokens_per_second, _rate),
            "Price of 1M new tokens": (estimate.dollars_per_million_tokens, format_dollars),
            "Energy of 1M new tokens": (estimate.joules_per_million_tokens, format_joules),
        }
    rows: dict[str, tuple[Quantity, Format]] = {
        "Time": (estimate.seconds, format_seconds),
        "Price": (estimate.dollars, format_dollars),
        "Energy": (estimate.joules, format_joules),
        "Carbon dioxide": (estimate.carbon_grams, format_grams),
    }
    if estimate.run is not None:
        rows["Time of a step"] = (estimate.step.seconds, format_seconds)
    rows["Tokens a second"] = (estimate.tokens_per_second, _rate)
    rows["Operations"] = (estimate.flops["hardware"], format_flops)
    return rows


def _rate(value: float) -> str:
    return format_si(value, "/s")


def _ratio(cells: Sequence[Cell | None]) -> str:
    if len(cells) != 2 or cells[0] is None or cells[1] is None:
        return ""
    first, second = cells[0].quantity.value, cells[1].quantity.value
    if not first or not second:
        return ""
    ratio = second / first
    if 0.1 <= ratio < 10:
        return f"{ratio:.2f} ×"
    return f"{ratio:,.0f} ×" if 10 <= ratio < 1e6 else f"{ratio:.2g} ×"
