"""What ``microdollar estimate MODEL`` prints in words."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.numbers import describe_quantity, print_assumptions
from microdollar.units import (
    format_bytes,
    format_dollars,
    format_joules,
    format_seconds,
    format_si,
)

if TYPE_CHECKING:
    from microdollar.cost import Quantity
    from microdollar.estimator.parts import Part
    from microdollar.estimator.serving import ServingEstimate
    from microdollar.estimator.training import TrainingEstimate


def print_estimate(estimate: "TrainingEstimate | ServingEstimate", *, explain: bool) -> None:
    """An estimate of layers in words, every number with its 80 % interval."""
    from microdollar.estimator.training import TrainingEstimate

    if isinstance(estimate, TrainingEstimate):
        _print_training(estimate, explain)
    else:
        _print_serving(estimate, explain)


def _print_training(estimate: "TrainingEstimate", explain: bool) -> None:
    from microdollar.estimator.html import format_flops, format_grams

    plan, memory = estimate.plan, estimate.memory
    train = plan.train
    names = [plan.model.name, *(other.model.name for other in plan.others)]
    click.echo(
        f"{' and '.join(names)}: {format_si(estimate.parameters)} parameters in "
        f"{train.precision}, on "
        f"{plan.layout.devices:,} x {estimate.device.name}"
    )
    steps = f"{plan.steps:,} steps" if plan.steps else "One step (give --tokens for a run)"
    click.echo(
        f"{steps} of {train.global_batch:,} sequences of {train.sequence:,} tokens; "
        f"{_layout(estimate)}"
    )
    for name, quantity in estimate.flops.items():
        _quantity(f"FLOPs, {name}", quantity, format_flops)
    for name in ("allocated", "reserved", "process"):
        _quantity(f"memory, {name}", getattr(memory, name), format_bytes)
    _line("fits", _fits(estimate))
    _state_saving(estimate)
    if estimate.run is not None:
        _quantity("time of a step", estimate.step.seconds, format_seconds)
    _quantity("time", estimate.seconds, format_seconds)
    _quantity("energy", estimate.joules, format_joules)
    _quantity("price", estimate.dollars, format_dollars)
    _quantity("carbon dioxide", estimate.carbon_grams, format_grams)
    _quantity("Landauer's limit", estimate.landauer.ratio, lambda ratio: f"{format_si(ratio)} x")
    for name in estimate.flops_per_token.unknown:
        click.echo(f"warning: no formula for {name}; it is not counted.", err=True)
    if memory.fits is not None and memory.fits < 0.5:
        click.echo(
            "warning: more likely than not it runs out of memory. Type: microdollar search "
            f"layouts {plan.model.name} --device {plan.device} --count {plan.layout.devices}",
            err=True,
        )
    if explain:
        _explain_training(estimate)


def _layout(estimate: "TrainingEstimate") -> str:
    layout, train = estimate.plan.layout, estimate.plan.train
    names = ("tp", "pp", "cp", "dp", "ep")
    said = [f"{name} {getattr(layout, name)}" for name in names if getattr(layout, name) > 1]
    said += [f"ZeRO {layout.zero}"] if layout.zero else []
    said += [f"micro-batch {train.micro_batch}", train.optimizer]
    said += [f"recompute {train.recompute}"] if train.recompute != "none" else []
    return ", ".join(said)


def _fits(estimate: "TrainingEstimate") -> str:
    share, held = estimate.memory.fits, estimate.device.memory_bytes
    if share is None or held.value is None:
        return f"unknown: {held.reason}"
    shown = f"{share:.0%}" if 0.01 <= share <= 0.99 else "< 1%" if share < 0.5 else "> 99%"
    return f"{shown:>12}   probability, in {format_bytes(held.value)} a device"


def _state_saving(estimate: "TrainingEstimate") -> None:
    """What Collins keeps and makes room for, and what AdamW would."""
    from microdollar.estimator.search import state_saving

    saving = state_saving(estimate.plan, estimate.device)
    if saving is None:
        return
    held = f"{format_bytes(saving.optimizer_bytes):>12}"
    _line("optimizer state", f"{held}   {format_bytes(saving.adamw_bytes)} with adamw")
    if saving.micro_batch:
        largest = f"{saving.micro_batch:>12,}   {saving.adamw_micro_batch:,} with adamw"
        _line("largest micro-batch", largest)


def state_saving_json(estimate: "TrainingEstimate | ServingEstimate") -> dict[str, Any]:
    """The same as a key of the JSON object of training; null for another optimizer."""
    from microdollar.estimator.search import state_saving
    from microdollar.estimator.training import TrainingEstimate

    if not isinstance(estimate, TrainingEstimate):
        return {}
    saving = state_saving(estimate.plan, estimate.device)
    return {"state_saving": None if saving is None else saving.to_json()}


def _line(label: str, text: str) -> None:
    click.echo(f"  {label:<20} {text}")


def _quantity(label: str, quantity: "Quantity", form: Callable[[float], str]) -> None:
    _line(label, describe_quantity(quantity, form))


def _explain_training(estimate: "TrainingEstimate") -> None:
    from microdollar.estimator.html import format_flops

    _parts("Operations of one token, forward", estimate.flops_per_token.forward, format_flops)
    _parts("Memory, allocated", estimate.memory.breakdown, format_bytes)
    _parts(f"Time of a step: {estimate.step.basis}", estimate.step.parts, format_seconds)
    if estimate.run is not None:
        click.echo("\nTime of the run")
        for part in estimate.run.parts:
            click.echo(
                f"  {describe_quantity(part.seconds, format_seconds)}  {part.name}  "
                f"= {part.formula}  [{part.source}]"
            )
    _parts("Energy", estimate.energy.parts, format_joules)
    print_assumptions(estimate.assumptions)


def _parts(title: str, parts: Iterable["Part"], form: Callable[[float], str]) -> None:
    click.echo(f"\n{title}")
    for part in sorted(parts, key=lambda part: -part.value):
        formula = f"  = {part.formula}" if part.formula else ""
        source = f"  [{part.source}]" if part.source else ""
        click.echo(f"  {form(part.value):>12}  {part.name}{formula}{source}")


def _print_serving(estimate: "ServingEstimate", explain: bool) -> None:
    from microdollar.estimator.html import serving_rows

    for label, quantity, form in serving_rows(estimate):
        _quantity(label, quantity, form)
    _line("key-value cache", f"{format_bytes(estimate.cache_bytes):>12}")
    if explain:
        _parts("Parts", estimate.parts, format_si)
        click.echo("\nAssumptions")
        for part in estimate.assumptions:
            click.echo(f"  {part.name}: {part.value:.3g} {part.formula}  [{part.source}]")
