"""``microdollar estimate``: what learning will cost, before it runs."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.options import BYTES, json_option, print_json
from microdollar.errors import UnknownNameError, UsageError
from microdollar.units import (
    format_bytes,
    format_dollars,
    format_joules,
    format_seconds,
    format_si,
)

if TYPE_CHECKING:
    from microdollar.cost import Cost, Quantity
    from microdollar.estimator import Estimate
    from microdollar.spec import DeviceSpec
    from microdollar.work import Work

FORMATS: dict[str, tuple[str, Callable[[float], str]]] = {
    "flops": ("floating-point", lambda value: format_si(value, "FLOP")),
    "int_ops": ("integer", lambda value: format_si(value, "op")),
    "memory_bytes": ("memory", format_bytes),
    "seconds": ("time", format_seconds),
    "joules": ("energy", format_joules),
    "dollars": ("price", format_dollars),
}
"""Label and format of each quantity of a cost."""


@click.command()
@click.option("--learner", "learner_name", metavar="NAME", help="Way to learn, e.g. ngram.")
@click.option("--train-bytes", type=BYTES, metavar="N", help="Training bytes, e.g. 1M.")
@click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="Argument of the learner."
)
@click.option("--device", "device_name", default="this", show_default=True, metavar="NAME")
@click.option("--explain", is_flag=True, help="Show each step and every assumption.")
@click.option("--list-devices", is_flag=True, help="Show every device that is known, and stop.")
@json_option
def estimate(
    learner_name: str | None,
    train_bytes: int | None,
    options: tuple[str, ...],
    device_name: str,
    explain: bool,
    list_devices: bool,
    as_json: bool,
) -> None:
    """Say what learning will cost, before it runs.

    Operations, memory, seconds, joules and dollars, each with its 80 % interval. Runs nothing;
    only the first estimate for this machine measures it for a few seconds.

    Example: microdollar estimate --learner ngram --train-bytes 1M
    """
    if list_devices:
        _list_devices(as_json)
        return
    if learner_name is None or train_bytes is None:
        missing = "--learner" if learner_name is None else "--train-bytes"
        raise click.UsageError(f"Missing option '{missing}'.")
    arguments = parse_options(options)
    work = _work(learner_name, arguments, train_bytes)
    device = _device(device_name, quiet=as_json)
    from microdollar.estimator import estimate_work

    result = estimate_work(work, device)
    if as_json:
        print_json(
            {
                "learner": learner_name,
                "options": arguments,
                "train_bytes": train_bytes,
                "device": device.name,
                **result.to_json(),
            }
        )
        return
    click.echo(f"{learner_name} on {format_bytes(train_bytes)} of text, on {device.name}")
    _print_cost(result.cost)
    _warn_if_too_large(result, device)
    if explain:
        _explain(result)


def parse_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``("epochs=20", "name=x")`` as ``{"epochs": 20, "name": "x"}``.

    A value that is JSON is read as such, any other is text; dashes in names are underscores.

    Raises:
        UsageError: if a pair has no ``=`` or no name.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise UsageError(f"--option {pair!r} is not KEY=VALUE. Type for example: epochs=20")
        try:
            found[key] = json.loads(text, parse_constant=str)
        except (ValueError, RecursionError):
            found[key] = text
    return found


def _work(name: str, arguments: dict[str, Any], train_bytes: int) -> "Work":
    from microdollar.learn.registry import create
    from microdollar.spec.data import DataSpec

    try:
        learner = create(name, **arguments)
    except UnknownNameError:
        raise
    except UsageError as error:
        raise UsageError(f"{error} Here it is typed --option KEY=VALUE.") from error
    return learner.work(DataSpec(bytes=train_bytes))


def _device(name: str, *, quiet: bool) -> "DeviceSpec":
    from microdollar.run.device import THIS, find_device, has_calibration

    if name.strip().casefold() != THIS or has_calibration():
        return find_device(name, calibrate_if_missing=False, progress=lambda *_: None)
    from microdollar.cli.progress import Bar

    click.echo("This machine was not measured yet: calibrating, once, for a few seconds.", err=True)
    with Bar(quiet=quiet) as bar:
        return find_device(name, calibrate_if_missing=True, progress=bar)


def _print_cost(cost: "Cost") -> None:
    for name, quantity in cost.items():
        label, form = FORMATS[name]
        click.echo(f"  {label:<15} {describe_quantity(quantity, form)}")


def describe_quantity(quantity: "Quantity", form: Callable[[float], str]) -> str:
    """Value, interval and basis on one line, or why there is no value."""
    if quantity.value is None or quantity.low is None or quantity.high is None:
        return f"unknown: {quantity.reason}"
    text = f"{form(quantity.value):>12}"
    if quantity.low < quantity.high:
        text += f"   {form(quantity.low)} to {form(quantity.high)}"
    return f"{text}   ({quantity.basis})"


def _warn_if_too_large(result: "Estimate", device: "DeviceSpec") -> None:
    need, have = result.cost.memory_bytes.value, device.memory_bytes.value
    if need is not None and have is not None and need > have:
        click.echo(
            f"warning: it needs {format_bytes(need)} of memory, {device.name} has "
            f"{format_bytes(have)}.",
            err=True,
        )


def _explain(result: "Estimate") -> None:
    total = sum(line.seconds for line in result.lines)
    click.echo("\nSteps")
    for line in sorted(result.lines, key=lambda line: -line.seconds):
        share = 100 * line.seconds / total if total else 0.0
        click.echo(
            f"  {share:5.1f} %  {format_seconds(line.seconds):>10}  {line.name:<42}"
            f"  {format_si(line.flops, 'FLOP'):>12}  {format_si(line.int_ops, 'op'):>10}"
        )
    click.echo("\nAssumptions")
    for assumption in result.assumptions:
        value = assumption.value
        text = f"{value:.3g}" if isinstance(value, float) else value
        unit = f" {assumption.unit}" if assumption.unit else ""
        source = f"  [{assumption.source}]" if assumption.source else ""
        click.echo(f"  {assumption.key}: {text}{unit}{source}")


def _list_devices(as_json: bool) -> None:
    from microdollar.spec.device_catalog import device_aliases
    from microdollar.spec.device_catalog import list_devices as every_device

    aliases = device_aliases()
    devices = every_device()
    if as_json:
        print_json(
            {"devices": [{**d.to_json(), "aliases": list(aliases[d.name])} for d in devices]}
        )
        return
    for device in devices:
        peaks = device.flops_per_second
        dtype = next((name for name in ("bfloat16", "float16", "float32") if name in peaks), None)
        peak = f"{format_si(peaks[dtype], 'FLOP/s')} {dtype}" if dtype else "peak unknown"
        price = device.dollars_per_hour.value
        cost = "price unknown" if price is None else f"{format_dollars(price)}/h"
        click.echo(f"{aliases[device.name][0]:<16} {device.name:<48.48} {peak:<26} {cost}")
