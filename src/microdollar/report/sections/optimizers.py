"""Optimizers as they were measured: loss and time of a step over the state that they keep."""

import statistics
from collections.abc import Sequence

from microdollar.report.blocks import Block, Bullets, Cell, Drawing, Picture, Section, Table, row
from microdollar.report.dots import Dot, Field, dots_panel
from microdollar.report.legend import svg_mark
from microdollar.report.optimizers import BASE, StepTimes, Task, Tuned
from microdollar.report.sections.machines import MIDDLE, MOST_DRAWINGS, NARROW, WIDE
from microdollar.report.theme import COMPRESSOR, COUNTED, INK, MUTED, TRAINED, Colour
from microdollar.units import format_seconds

_OURS = "microdollar"
_ORIGINS: dict[str, tuple[Colour, str]] = {
    _OURS: (COUNTED, "o"),
    "torch": (COMPRESSOR, "^"),
    "torchao": (TRAINED, "D"),
    "re-implementation": (MUTED, "s"),
}
"""Colour and mark by whose code it is."""
_ELSE = (INK, "X")
_STATE = "bytes of state for each parameter"


def optimizers_section(tasks: Sequence[Task], steps: Sequence[StepTimes]) -> Section | None:
    """What optimizers reached with how much state, and how long their steps take.

    None if neither was measured.
    """
    if not (tasks or steps):
        return None
    blocks: list[Block] = []
    says = []
    if tasks:
        says.append(
            f"Training runs of {len({o.optimizer for t in tasks for o in t.optimizers})} "
            f"optimizers on {len(tasks)} {'task' if len(tasks) == 1 else 'tasks'}, each at the "
            "learning rate that was best for it on a development slice; the losses are of a test "
            "slice that decided nothing."
        )
        blocks += [_least(tasks), _losses(tasks), *_absent(tasks)]
    if steps:
        says.append(_fastest(steps))
        blocks.append(_times(steps))
    return Section(
        key="optimizers", title="Optimizers, measured", says=tuple(says), blocks=tuple(blocks)
    )


def _least(tasks: Sequence[Task]) -> Bullets:
    return Bullets(
        head=f"The least state that is no worse than {BASE}",
        lines=tuple((task.name, *_no_worse(task)) for task in tasks),
    )


def _no_worse(task: Task) -> tuple[str, str]:
    """In words, with how sure it is."""
    known = [one for one in task.optimizers if one.mean is not None]
    base = next((one for one in known if one.optimizer == BASE), None)
    if base is None or base.mean is None:
        return f"{BASE} has no loss here", ""
    good = [one for one in known if (one.mean or 0.0) <= base.mean]
    best = min(good, key=lambda one: one.state_bytes_per_parameter)
    if best is base:
        return f"none; {BASE} ends at {_nats(base)} nats", _seeds(base)
    return (
        f"{best.optimizer} with {best.state_bytes_per_parameter:.3g} bytes a parameter ends at "
        f"{_nats(best)} nats, {BASE} with {base.state_bytes_per_parameter:.3g} at {_nats(base)}",
        f"{_seeds(best)} and {_seeds(base)}",
    )


def _nats(one: Tuned) -> str:
    if one.mean is None:
        return "–"
    return f"{one.mean:.4f}" + ("" if one.spread is None else f" ± {one.spread:.4f}")


def _seeds(one: Tuned) -> str:
    return f"{len(one.nats)} {'seed' if len(one.nats) == 1 else 'seeds'}"


def _drawn(one: Tuned) -> bool:
    return bool(one.mean and one.state_bytes_per_parameter)


def _losses(tasks: Sequence[Task]) -> Picture | Table:
    """The figure, or its table alone if there is nothing to draw."""
    drawings = []
    for number, task in enumerate(tasks[:MOST_DRAWINGS]):
        dots = []
        for one in filter(_drawn, task.optimizers):
            colour, marker = _ORIGINS.get(one.origin, _ELSE)
            mean, spread = one.mean or 0.0, one.spread
            dots.append(
                Dot(
                    name=one.optimizer,
                    x=one.state_bytes_per_parameter,
                    y=mean,
                    colour=colour,
                    marker=marker,
                    # A spread down to nothing has no place on an axis of ratios.
                    low=None if spread is None else max(mean - spread, mean / 10),
                    high=None if spread is None else mean + spread,
                )
            )
        if not dots:
            continue
        field = Field(
            title=f"{task.name}: {task.parameters:,} parameters, {task.steps:,} steps",
            beside="held-out loss, nats",
            below=_STATE,
            dots=dots,
            level=next((dot.y for dot in dots if dot.name == BASE), None),
            description="; ".join(
                f"{dot.name} {dot.y:.4g} nats with {dot.x:.3g} bytes" for dot in dots
            ),
        )
        wide, narrow = (
            dots_panel(field, width=width, name=f"optimizers-{number}-{width:.0f}")
            for width in (WIDE, NARROW)
        )
        drawings.append(Drawing(wide=wide, narrow=narrow))
    table = _table(tasks)
    if not drawings:
        return table
    origins = dict.fromkeys(one.origin for task in tasks for one in task.optimizers)
    marks = {name: _ORIGINS.get(name, _ELSE) for name in origins}
    return Picture(
        drawings=tuple(drawings),
        columns=2,
        legend=tuple((svg_mark(marker, colour), name) for name, (colour, marker) in marks.items()),
        caption=f"Left and low is better; both axes are logarithmic. The dashed line is {BASE}'s "
        "loss, a line through a mark one standard deviation over seeds to each side. A name that "
        "has no room stands in the table.",
        table=table,
    )


def _table(tasks: Sequence[Task]) -> Table:
    lines = []
    for task in tasks:
        for one in task.optimizers:
            rate = Cell(text="–", interval="every run diverged")
            if one.rate is not None:
                edge = "at an edge of the grid" if one.edge else ""
                rate = Cell(text=f"{one.rate:g}", interval=edge)
            state = f"{one.state_bytes_per_parameter:.3f}"
            seeds = f"{len(one.nats)}"
            lines.append(row(one.optimizer, task.name, state, rate, seeds, _nats(one), one.origin))
    return Table(
        name="Loss and state of optimizers",
        heads=(
            "Optimizer", "Task", "State, B a parameter", "Learning rate", "Seeds",
            "Held-out nats", "Code",
        ),
        rows=tuple(lines),
    )  # fmt: skip


def _absent(tasks: Sequence[Task]) -> list[Block]:
    lines = tuple(
        (
            one.optimizer,
            "every run diverged" if one.mean is None else "it keeps no state, or has no loss",
            task.name,
        )
        for task in tasks
        for one in task.optimizers
        if not _drawn(one)
    )
    return [Bullets(head="Not in the figure", lines=lines, aside=True)] if lines else []


def _fastest(steps: Sequence[StepTimes]) -> str:
    """The optimizer whose steps are shortest, over all settings and not only where it shines."""
    ratios: dict[str, list[float]] = {}
    for one in steps:
        for time in one.rows:
            if time.state_bytes_per_parameter:
                ratios.setdefault(time.name, []).append(time.ratio)
    base = next(iter(ratios))
    best = min(ratios, key=lambda name: statistics.mean(ratios[name]))
    low, high = min(ratios[best]), max(ratios[best])
    if best == base:
        return f"No step is shorter than that of {base}."
    span = f"{low:.2f}" if low == high else f"from {low:.2f} to {high:.2f}"
    return (
        f"A step of {best} takes {span} times that of {base}, by parameters, number format and "
        f"threads, on {steps[0].machine}."
    )


def _threads(steps: StepTimes) -> str:
    return f"{steps.threads} {'thread' if steps.threads == 1 else 'threads'}"


def _parameters(steps: StepTimes) -> str:
    return f"{steps.parameters / 1e6:.3g} million parameters"


def _times(steps: Sequence[StepTimes]) -> Picture:
    drawings, lines = [], []
    for number, one in enumerate(steps):
        title = f"{_parameters(one)}, {one.dtype}, {_threads(one)}"
        kept = [time for time in one.rows if time.state_bytes_per_parameter]
        dots = [
            Dot(
                name=time.name,
                x=time.state_bytes_per_parameter or 0.0,
                y=time.ratio,
                colour=COUNTED if time is not kept[0] else COMPRESSOR,
                marker="o" if time is not kept[0] else "^",
            )
            for time in kept
        ]
        field = Field(
            title=title,
            beside=f"time of a step, that of {kept[0].name} is 1",
            below=_STATE,
            dots=dots,
            level=1.0,
            description="; ".join(f"{dot.name} {dot.y:.2f} with {dot.x:.3g} bytes" for dot in dots),
        )
        if number < MOST_DRAWINGS:
            svg = dots_panel(field, width=MIDDLE, name=f"optimizer-steps-{number}")
            drawings.append(Drawing(wide=svg))
        for time in one.rows:
            state = time.state_bytes_per_parameter
            lines.append(
                row(
                    time.name,
                    title,
                    "–" if state is None else f"{state:.3f}",
                    format_seconds(time.seconds),
                    f"{time.ratio:.3f}",
                )
            )
    return Picture(
        drawings=tuple(drawings),
        columns=2,
        caption="Left and low is better; both axes are logarithmic. Time by the clock on "
        f"{steps[0].machine}: medians over rounds of the ratio within a round. Copies of memory "
        "are in the table: what a step would take that only moves so many bytes.",
        table=Table(
            name="Time of a step of each optimizer",
            heads=("Step", "Where", "State, B a parameter", "Time, median", "Of the first's"),
            rows=tuple(lines),
        ),
    )
