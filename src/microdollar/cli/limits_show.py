"""What ``microdollar limits`` prints for people."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from microdollar.units import format_bytes, format_joules, format_seconds, format_si

if TYPE_CHECKING:
    from microdollar.cost import Quantity
    from microdollar.estimator.limits.attention import AttentionEnergy
    from microdollar.estimator.limits.operations import OperationEnergy
    from microdollar.estimator.limits.roofline import Ceiling, RooflinePoint
    from microdollar.run.limits import RunLimits


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Columns as wide as their widest cell; the first ``left`` start at the left."""
    every = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    for row in every:
        cells = (
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        click.echo("  ".join(cells).rstrip())


def joules(value: float) -> str:
    """Energy down to that of a bit.

    Examples:
        >>> joules(2.87e-21), joules(6.02e-13), joules(16.0)
        ('2.87e-21 J', '602 fJ', '16.0 J')
    """
    return format_joules(value) if value >= 1e-15 else f"{value:.2e} J"


def times(value: float) -> str:
    """A factor, as a power of ten where it is large."""
    return f"{value:.1e}" if value >= 1e4 else f"{value:.3g}"


def _text(quantity: "Quantity", form: Callable[[float], str]) -> str:
    return "-" if quantity.value is None else form(quantity.value)


def _span(quantity: "Quantity", form: Callable[[float], str]) -> str:
    if quantity.value is None or quantity.low is None or quantity.high is None:
        return "-"
    return f"{form(quantity.low)} to {form(quantity.high)}"


def show_bound(kelvin: float, joules_per_bit: float) -> None:
    """The bound of one bit."""
    click.echo(f"Erasing a bit at {kelvin:g} K takes at least k T ln 2 = {joules_per_bit:.3e} J.")


def show_devices(rows: "Sequence[OperationEnergy]") -> None:
    """Joules of an operation and the factors, and why some are not known."""
    click.echo("Joules of an operation: busy watts over the dense peak, and over the best rate")
    click.echo("that was measured; their factor to the bound, of one bit and of half a sum.\n")
    table(
        ("device", "type", "at peak", "80 % interval", "measured", "x one bit", "x half a sum"),
        [
            (
                row.device,
                row.dtype or "-",
                _text(row.joules, joules),
                _span(row.joules, joules),
                _text(row.achieved_joules, joules),
                _text(row.ratio, times),
                _text(row.sum_ratio, times),
            )
            for row in rows
            if row.ratio.value is not None
        ],
        left=2,
    )
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.ratio.value is None:
            kind = "no rate" if row.dtype is None else "no power"
            reasons.setdefault(kind, []).append(row.device)
    for reason, devices in reasons.items():
        names = list(dict.fromkeys(devices))
        click.echo(f"\nUnknown, {reason} in the catalog: {', '.join(names)}")


def show_attention(rows: "Sequence[tuple[str, AttentionEnergy]]") -> None:
    """Energy of attention in every form."""
    case = rows[0][1].case
    click.echo(
        f"\nAttention, width {case.width:,}, {case.length:,} positions, {case.layers} layers, "
        f"{case.heads} heads, forward"
    )
    table(
        ("form", "device", "operations", "joules", "80 % interval", "with hosts, building",
         "x one bit"),
        [
            (
                name,
                f"{one.device}, {one.dtype}",
                format_si(one.flops, "FLOP"),
                _text(one.joules, joules),
                _span(one.joules, joules),
                _text(one.facility_joules, joules),
                _text(one.limit.ratio, times),
            )
            for name, one in rows
        ],
        left=2,
    )  # fmt: skip
    for reason in dict.fromkeys(one.joules.reason for _, one in rows if one.joules.value is None):
        click.echo(f"Unknown: {reason}")


def show_run(found: "RunLimits") -> None:
    """Bits erased by convention, the least energy of them, and the factor."""
    click.echo(
        f"\nRow {found.row}: {found.learner}, {format_bytes(found.train_bytes)} on {found.device}, "
        f"{_text(found.seconds, format_seconds)}"
    )
    said = f" ({found.joules.reason})" if found.joules.reason else ""
    click.echo(f"Energy {_text(found.joules, joules)}, {_span(found.joules, joules)}{said}")
    table(
        ("bits erased at least, if", "bits", "at the bound", "used over it"),
        [
            (
                one.says,
                _text(one.bits, format_si),
                _text(one.limit_joules, joules),
                _text(one.ratio, times),
            )
            for one in found.erased
        ],
    )


def show_roofline(
    ceilings: "Sequence[Ceiling]", points: "Sequence[RooflinePoint]", file: Path
) -> None:
    """Every point with what the roof allows at its intensity, and where the picture is."""
    from microdollar.estimator.limits.roofline import attainable

    click.echo("")
    table(
        ("what", "of", "size", "FLOP/byte", "achieved", "of the roof"),
        [
            (
                one.name,
                one.group,
                f"{one.size:,}" if one.size else "-",
                f"{one.intensity:.3g}",
                format_si(one.flops_per_second, "FLOP/s"),
                f"{one.flops_per_second / attainable(ceilings, one):.1%}",
            )
            for one in points
        ],
        left=2,
    )
    click.echo(f"\n{file}")
