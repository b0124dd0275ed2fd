"""Estimates as small HTML tables, for notebooks; colours and fonts are the page's own."""

from collections.abc import Callable, Iterable
from html import escape
from typing import TYPE_CHECKING

from microdollar.cost import Quantity
from microdollar.units import (
    format_bytes,
    format_dollars,
    format_joules,
    format_seconds,
    format_si,
)

if TYPE_CHECKING:
    from microdollar.estimator.compose import Estimate
    from microdollar.estimator.serving import ServingEstimate
    from microdollar.estimator.training import TrainingEstimate

Row = tuple[str, Quantity, Callable[[float], str]]


def training_table(estimate: "TrainingEstimate") -> str:
    """A table of a training estimate's numbers with their intervals."""
    memory = estimate.memory
    rows: list[Row] = [(f"FLOPs, {name}", q, format_flops) for name, q in estimate.flops.items()]
    rows += [
        ("memory, allocated", memory.allocated, format_bytes),
        ("memory, reserved", memory.reserved, format_bytes),
        ("memory, process", memory.process, format_bytes),
        ("time of a step", estimate.step.seconds, format_seconds),
    ]
    if estimate.run is not None:
        rows.append(("time of the run", estimate.run.wall, format_seconds))
    rows += [
        ("energy", estimate.joules, format_joules),
        ("price", estimate.dollars, format_dollars),
        ("carbon dioxide", estimate.carbon_grams, format_grams),
    ]
    plan = estimate.plan
    return html_table(
        f"{plan.model.name} on {plan.layout.devices:,} x {estimate.device.name}", rows
    )


def serving_table(estimate: "ServingEstimate") -> str:
    """A table of a serving estimate's numbers with their intervals."""
    return html_table("serving", serving_rows(estimate))


def serving_rows(estimate: "ServingEstimate") -> list[Row]:
    """Label, number and format of everything that serving costs."""
    return [
        ("until the first token", estimate.prefill_seconds, format_seconds),
        ("each further token", estimate.decode_seconds_per_token, format_seconds),
        ("the whole answer", estimate.seconds, format_seconds),
        ("new tokens", estimate.tokens_per_second, lambda value: format_si(value, "/s")),
        ("memory", estimate.memory_bytes, format_bytes),
        ("energy", estimate.joules, format_joules),
        ("price", estimate.dollars, format_dollars),
        ("energy of 1M new tokens", estimate.joules_per_million_tokens, format_joules),
        ("price of 1M new tokens", estimate.dollars_per_million_tokens, format_dollars),
    ]


def learner_table(estimate: "Estimate") -> str:
    """A table of a learner's six quantities with their intervals."""
    cost = estimate.cost
    return html_table(
        "learning",
        [
            ("floating-point", cost.flops, format_flops),
            ("integer", cost.int_ops, lambda value: format_si(value, "op")),
            ("memory", cost.memory_bytes, format_bytes),
            ("time", cost.seconds, format_seconds),
            ("energy", cost.joules, format_joules),
            ("price", cost.dollars, format_dollars),
        ],
    )


def html_table(caption: str, rows: Iterable[Row]) -> str:
    """One row a quantity: value, 80 % interval and basis, or why there is no value."""
    lines = [_row(label, quantity, form) for label, quantity, form in rows]
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr><th>what</th><th>value</th>"
        f"<th>80 % interval</th><th>basis</th></tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _row(label: str, quantity: Quantity, form: Callable[[float], str]) -> str:
    if quantity.value is None or quantity.low is None or quantity.high is None:
        cells = ("unknown", "", quantity.reason or "")
    else:
        exact = quantity.low == quantity.high
        interval = "exact" if exact else f"{form(quantity.low)} to {form(quantity.high)}"
        cells = (form(quantity.value), interval, quantity.basis or "")
    return "".join(
        (
            "<tr><th>",
            escape(label),
            "</th>",
            *(f"<td>{escape(cell)}</td>" for cell in cells),
            "</tr>",
        )
    )


def format_flops(value: float) -> str:
    """Operations with a prefix."""
    return format_si(value, "FLOP")


def format_grams(grams: float) -> str:
    """Mass: grams with a prefix, from a million of them in tonnes."""
    return format_si(grams, "g") if grams < 1e6 else format_si(grams / 1e6, "t")
