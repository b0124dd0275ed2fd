"""How quantities are written on a terminal."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from microdollar.units import (
    format_bytes,
    format_dollars,
    format_joules,
    format_seconds,
    format_si,
)

if TYPE_CHECKING:
    from microdollar.cost import Quantity
    from microdollar.estimator.parts import Assumption

FORMATS: dict[str, tuple[str, Callable[[float], str]]] = {
    "flops": ("floating-point", lambda value: format_si(value, "FLOP")),
    "int_ops": ("integer", lambda value: format_si(value, "op")),
    "memory_bytes": ("memory", format_bytes),
    "seconds": ("time", format_seconds),
    "joules": ("energy", format_joules),
    "dollars": ("price", format_dollars),
}
"""Label and format of each quantity of a cost."""


def describe_quantity(quantity: "Quantity", form: Callable[[float], str]) -> str:
    """Value, interval and basis on one line, or why there is no value."""
    if quantity.value is None or quantity.low is None or quantity.high is None:
        return f"unknown: {quantity.reason}"
    text = f"{form(quantity.value):>12}"
    if quantity.low < quantity.high:
        text += f"   {form(quantity.low)} to {form(quantity.high)}"
    return f"{text}   ({quantity.basis})"


def print_assumptions(assumptions: "Iterable[Assumption]") -> None:
    """Every assumption on a line of its own, with its source."""
    click.echo("\nAssumptions")
    for assumption in assumptions:
        value = assumption.value
        text = f"{value:.3g}" if isinstance(value, float) else value
        unit = f" {assumption.unit}" if assumption.unit else ""
        source = f"  [{assumption.source}]" if assumption.source else ""
        click.echo(f"  {assumption.key}: {text}{unit}{source}")
