"""What a plan will cost: where its time and dollars go, and its memory with each optimizer."""

from collections.abc import Callable, Sequence

from microdollar.cost import Quantity
from microdollar.report.blocks import Block, Cell, Drawing, Picture, Section, Table, Text, row
from microdollar.report.checked import Memory, PlanCost
from microdollar.report.facts import interval_text, value_text
from microdollar.report.legend import svg_mark
from microdollar.report.stacks import Stack, stacked
from microdollar.report.svg import inline_svg
from microdollar.report.theme import (
    ALERT,
    BLUE,
    COMPRESSOR,
    COUNTED,
    INK,
    STEP,
    TRAINED,
    Colour,
)
from microdollar.units import format_bytes, format_dollars, format_joules, format_seconds

MOST_PARTS = 11
"""Bars of a waterfall; the smallest parts are one beyond."""
WIDTHS = (("wide", 960.0), ("narrow", 350.0))
_MEMORY: dict[str, Colour] = {
    "weights": COUNTED,
    "gradients": COMPRESSOR,
    "optimizer": TRAINED,
    "buffers": STEP,
    "activations": BLUE,
}
_WORST = ALERT
"""Of what is held at the worst moment: logits, loss, recomputation."""
_STEPS = "steps"
_HOW = "Each bar begins where the one above it ends; a part's dollars are its share of the time."
_DURATIONS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def waterfall_section(plans: Sequence[PlanCost]) -> Section | None:
    """Where the seconds and dollars of each plan go; None if there is none."""
    if not plans:
        return None
    blocks: list[Block] = []
    says: tuple[str, ...] = (_sentence(plans[0]), _largest(plans[0]), _HOW)
    if len(plans) > 1:
        says = (f"Where the time and dollars of {len(plans)} plans go. {_HOW}",)
    for number, plan in enumerate(plans):
        if len(plans) > 1:
            blocks.append(Text(head=_name(plan), lines=(_sentence(plan), _largest(plan))))
        blocks.append(_waterfall(plan, f"waterfall-{number}"))
    return Section(
        key="plan",
        title="Cost of a plan",
        says=says,
        blocks=tuple(blocks),
    )


def memory_section(plans: Sequence[PlanCost]) -> Section | None:
    """Memory of each plan with each optimizer; None if there is none."""
    if not plans:
        return None
    blocks: list[Block] = []
    for number, plan in enumerate(plans):
        if len(plans) > 1:
            blocks.append(Text(head=_name(plan), lines=(_least(plan),)))
        blocks.append(_memory(plan, f"memory-{number}"))
    return Section(
        key="memory",
        title="Memory of each optimizer",
        says=(
            *([_least(plans[0])] if len(plans) == 1 else []),
            "Bytes of live tensors on the fullest device, at the worst moment of a step. Moments "
            "stand together with the float32 copy of the weights, where one is kept.",
        ),
        blocks=tuple(blocks),
    )


def _name(plan: PlanCost) -> str:
    return f"{plan.name} on {plan.devices:,} × {plan.device}"


def _sentence(plan: PlanCost) -> str:
    what = "will take" if plan.run else "will take, for one step,"
    cost = (
        f" and cost {value_text(plan.dollars, format_dollars)}"
        f"{_between(plan.dollars, format_dollars)}"
        if plan.dollars.value is not None
        else f"; its price is unknown ({plan.dollars.reason})"
    )
    energy = (
        f", with {value_text(plan.joules, format_joules)} of energy"
        if plan.joules.value is not None
        else ""
    )
    return (
        f"{_name(plan)} {what} {value_text(plan.seconds, format_seconds)}"
        f"{_between(plan.seconds, format_seconds)}{cost}{energy}."
    )


def _between(quantity: Quantity, write: Callable[[float], str]) -> str:
    interval = interval_text(quantity, write)
    return f" ({interval})" if interval else ""


def _largest(plan: PlanCost) -> str:
    parts = _parts(plan)
    name, seconds = max(parts, key=lambda part: part[1])
    share = seconds / sum(size for _, size in parts)
    return f"The largest part is {name}, {100 * share:.0f} % of the time."


def _parts(plan: PlanCost) -> list[tuple[str, float]]:
    """Seconds of a run, or of a step, by part, in their order; the smallest together."""
    parts = _merged(plan.step_parts)
    if plan.run_parts:
        whole = sum(size for _, size in plan.step_parts)
        steps = sum(q.value or 0.0 for name, q in plan.run_parts if name == _STEPS)
        parts = [(name, size * steps / whole) for name, size in parts]
        parts += [(name, q.value or 0.0) for name, q in plan.run_parts if name != _STEPS]
    parts = [(name, size) for name, size in parts if size > 0]
    if len(parts) > MOST_PARTS:
        kept = {name for name, _ in sorted(parts, key=lambda part: -part[1])[: MOST_PARTS - 1]}
        rest = [size for name, size in parts if name not in kept]
        parts = [part for part in parts if part[0] in kept]
        parts.append((f"{len(rest)} smaller parts", sum(rest)))
    return parts


def _merged(parts: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Many operations by what stands before their colon; a few parts as they are."""
    if len(parts) <= MOST_PARTS:
        return list(parts)
    sums: dict[str, float] = {}
    for name, size in parts:
        head = name.rpartition(":")[0] or name
        sums[head] = sums.get(head, 0.0) + size
    return list(sums.items())


def _waterfall(plan: PlanCost, key: str) -> Picture:
    parts = _parts(plan)
    total = sum(size for _, size in parts)
    unit, word = _unit(total, _DURATIONS)
    stacks, lines, start = [], [], 0.0
    for name, size in parts:
        colour = COMPRESSOR if name in {n for n, _ in plan.run_parts} else TRAINED
        money = _money(plan, size / total)
        text = f"{format_seconds(size)}{f' · {money}' if money else ''}"
        bar = Stack(name=name, parts=((name, size / unit, colour),), total=text, start=start / unit)
        stacks.append(bar)
        lines.append(row(name, format_seconds(size), money or "–", f"{100 * size / total:.1f} %"))
        start += size
    money = _money(plan, 1.0)
    text = f"{format_seconds(total)}{f' · {money}' if money else ''}"
    stacks.append(Stack(name="in all", parts=(("all", total / unit, COUNTED),), total=text))
    lines.append(row("in all", format_seconds(total), money or "–", "100 %"))
    svgs = [
        inline_svg(
            stacked(stacks, width=width, tick=lambda value: f"{value:g} {word}" if value else "0"),
            name=f"{key}-{size}",
            title=f"Time of {_name(plan)} by part",
            description=_largest(plan),
        )
        for size, width in WIDTHS
    ]
    return Picture(
        drawings=(Drawing(wide=svgs[0], narrow=svgs[1]),),
        legend=tuple(
            (svg_mark("bar", colour), words)
            for colour, words in (
                (TRAINED, "within the steps"),
                *([(COMPRESSOR, "beside the steps")] if plan.run_parts else []),
                (COUNTED, "in all"),
            )
        ),
        caption=f"{_name(plan)}, {'the whole run' if plan.run else 'one step'}; the time in all is "
        f"{format_seconds(total)}, 80 % interval "
        f"{interval_text(plan.seconds, format_seconds) or 'not known'}.",
        table=Table(
            name=f"Time and dollars of {_name(plan)}",
            heads=("Part", "Time", "Money", "Share"),
            rows=tuple(lines),
        ),
    )


def _unit(most: float, units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """The largest unit of which there is more than one and a half."""
    return next((unit for unit in units if most > 1.5 * unit[0]), units[-1])


def _money(plan: PlanCost, share: float) -> str:
    dollars = plan.dollars.value
    return "" if dollars is None else format_dollars(dollars * share)


def _least(plan: PlanCost) -> str:
    known = [one for one in plan.memory if one.allocated.value is not None]
    if not known:
        return f"{_name(plan)}: the memory could not be estimated."
    least = min(known, key=lambda one: one.allocated.value or 0.0)
    most = max(known, key=lambda one: one.allocated.value or 0.0)
    if least is most:
        return f"{_name(plan)} needs {value_text(most.allocated, format_bytes)} of live tensors."
    return (
        f"{_name(plan)} needs from {value_text(least.allocated, format_bytes)} with "
        f"{least.optimizer} to {value_text(most.allocated, format_bytes)} with {most.optimizer}; "
        f"the optimizer's part is {format_bytes(_held(least))} and {format_bytes(_held(most))}."
    )


def _held(memory: Memory) -> float:
    return sum(size for name, size in memory.parts if name == "optimizer")


def _memory(plan: PlanCost, key: str) -> Picture:
    names = list(dict.fromkeys(name for one in plan.memory for name, _ in one.parts))
    ordered = sorted(plan.memory, key=lambda one: one.allocated.value or 0.0)
    unit, word = _unit(max(one.allocated.value or 0.0 for one in ordered), _SIZES)
    stacks = [
        Stack(
            name=one.optimizer,
            parts=tuple((name, size / unit, _colour(name)) for name, size in one.parts),
            total=value_text(one.allocated, format_bytes),
        )
        for one in ordered
    ]
    limit = None
    if plan.device_bytes:
        limit = (plan.device_bytes / unit, f"{format_bytes(plan.device_bytes)} a device")
    svgs = [
        inline_svg(
            stacked(
                stacks,
                width=width,
                tick=lambda value: f"{value:g} {word}" if value else "0",
                limit=limit,
            ),
            name=f"{key}-{size}",
            title=f"Memory of {_name(plan)} with each optimizer",
            description=_least(plan),
        )
        for size, width in WIDTHS
    ]
    head = [one for one in _MEMORY if one in names] + [n for n in names if n not in _MEMORY]
    return Picture(
        drawings=(Drawing(wide=svgs[0], narrow=svgs[1]),),
        legend=tuple((svg_mark("bar", _colour(name)), _word(name)) for name in head),
        caption=f"{_name(plan)}; the least memory first. The numbers have 80 % intervals in the "
        "table.",
        table=Table(
            name=f"Memory of {_name(plan)} with each optimizer",
            heads=("Optimizer", "Allocated", *(_word(name) for name in head)),
            rows=tuple(
                row(
                    one.optimizer,
                    Cell(
                        text=value_text(one.allocated, format_bytes),
                        interval=interval_text(one.allocated, format_bytes),
                    ),
                    *(format_bytes(sum(s for n, s in one.parts if n == name)) for name in head),
                )
                for one in ordered
            ),
        ),
    )


def _colour(name: str) -> Colour:
    if name in _MEMORY:
        return _MEMORY[name]
    return INK if name == "other models" else _WORST


def _word(name: str) -> str:
    return "moments and masters" if name == "optimizer" else name
