"""``microdollar estimate``: what learning will cost, before it runs."""

import json
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.numbers import FORMATS, describe_quantity, print_assumptions
from microdollar.cli.options import BYTES, COUNT, json_option, print_json
from microdollar.cli.plan_options import plan_options, read_plan
from microdollar.errors import MissingExtraError, UnknownNameError, UsageError
from microdollar.units import format_bytes, format_seconds, format_si

if TYPE_CHECKING:
    from microdollar.cost import Cost
    from microdollar.estimator.compose import Estimate
    from microdollar.spec import DeviceSpec
    from microdollar.spec.plan import Plan


@click.command()
@click.argument("model", required=False)
@click.option("--device", "device_name", metavar="NAME", help="In the catalog.  [default: this]")
@plan_options
@click.option(
    "--generate", type=COUNT, metavar="N", help="Serve instead of train: N tokens after --seq."
)
@click.option("--learner", "learner_name", metavar="NAME", help="One of our own learners instead.")
@click.option("--train-bytes", type=BYTES, metavar="N", help="Its training bytes, e.g. 1M.")
@click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="Argument of the learner."
)
@click.option("--explain", is_flag=True, help="Show every part, formula and assumption.")
@click.option("--claims", is_flag=True, help="Hold what a plan's document claims against it.")
@click.option("--list-models", is_flag=True, help="Show every model and plan that is known.")
@click.option("--list-devices", is_flag=True, help="Show every device that is known.")
@json_option
def estimate(
    model: str | None,
    device_name: str | None,
    generate: int | None,
    learner_name: str | None,
    train_bytes: int | None,
    options: tuple[str, ...],
    explain: bool,
    claims: bool,
    list_models: bool,
    list_devices: bool,
    as_json: bool,
    **plan_values: Any,  # noqa: ANN401
) -> None:
    """Say what a model will cost to train or to serve, before it runs.

    MODEL is a name of the catalog (gpt2, llama-3-8b, ...), a config.json or its folder, or a plan
    (rl-token-compression, my-plan.toml). Operations, memory, seconds, joules and dollars, each
    with its 80 % interval, of the whole run with --tokens and of one step without. Runs nothing;
    only the first estimate for this machine measures it, once.

    \b
    Examples:
      microdollar estimate llama-3-8b --device h100-sxm --count 64 --tokens 100G --zero 3
      microdollar estimate gpt2 --device l4 --generate 200 --seq 1024
      microdollar estimate --learner ngram --train-bytes 1M
    """  # noqa: D301
    if list_devices or list_models:
        from microdollar.cli.lists import print_devices, print_models

        (print_devices if list_devices else print_models)(as_json)
    elif learner_name is not None or train_bytes is not None:
        if model is not None or any(value is not None for value in plan_values.values()):
            raise UsageError("--learner is one of our own learners: leave MODEL and its options.")
        if learner_name is None or train_bytes is None:
            missing = "--learner" if learner_name is None else "--train-bytes"
            raise click.UsageError(f"Missing option '{missing}'.")
        plan = _learner_plan(learner_name, train_bytes, options, device_name)
        _estimate_learner(plan, explain, as_json)
    elif claims:
        from microdollar.cli.estimate_claims import print_claims

        given = {name: value for name, value in plan_values.items() if value is not None}
        file = given.pop("plan_file", model)
        if given or generate is not None or file is None or (model is not None and file != model):
            raise UsageError("--claims takes one plan, and no option but --device and --json.")
        print_claims(file, device_name, lambda name: _device(name, quiet=as_json), as_json)
    else:
        from microdollar.cli.estimate_plan import print_estimate, state_saving_json
        from microdollar.run.estimate import estimate as estimate_any
        from microdollar.spec.plan import Plan

        read = read_plan(model, device_name, plan_values, generate)
        if isinstance(read, Plan):
            _estimate_learner(read, explain, as_json)
            return
        result = estimate_any(read, device=_device(read.device, quiet=as_json))
        if as_json:
            print_json(result.to_json() | state_saving_json(result))
        else:
            print_estimate(result, explain=explain)


def _learner_plan(
    name: str, train_bytes: int, options: tuple[str, ...], device_name: str | None
) -> "Plan":
    from microdollar.learn.registry import create
    from microdollar.spec.data import DataSpec
    from microdollar.spec.plan import Plan

    arguments = parse_options(options)
    try:
        create(name, **arguments)
    except UnknownNameError:
        raise
    except UsageError as error:
        raise UsageError(f"{error} Here it is typed --option KEY=VALUE.") from error
    data = DataSpec(bytes=train_bytes)
    return Plan(
        learner=name,
        data=data,
        options=arguments,
        device="this" if device_name is None else device_name,
    )


def _estimate_learner(plan: "Plan", explain: bool, as_json: bool) -> None:
    from microdollar.estimator.compose import estimate_work
    from microdollar.learn.registry import create

    work = create(plan.learner, **plan.options).work(plan.data)
    device = _device(plan.device, quiet=as_json)
    result = estimate_work(work, device)
    if as_json:
        print_json(
            {
                "learner": plan.learner,
                "options": dict(plan.options),
                "train_bytes": plan.data.bytes,
                "device": device.name,
                **result.to_json(),
            }
        )
        return
    click.echo(f"{plan.learner} on {format_bytes(plan.data.bytes)} of text, on {device.name}")
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


def _device(name: str, *, quiet: bool) -> "DeviceSpec":
    from microdollar.run.device import THIS, find_device, has_calibration

    if name.strip().casefold() != THIS or has_calibration():
        return find_device(name, calibrate_if_missing=False, progress=lambda *_: None)
    from importlib.util import find_spec

    from microdollar.cli.progress import Bar

    if find_spec("numba") is None:
        raise MissingExtraError(
            "numba", "counts", "an estimate for this machine",
            "--device NAME for a device of the catalog, or pip install 'microdollar[counts]'",
        )  # fmt: skip
    click.echo("This machine was not measured yet: calibrating, once, for a few seconds.", err=True)
    with Bar(quiet=quiet) as bar:
        return find_device(name, calibrate_if_missing=True, progress=bar)


def _print_cost(cost: "Cost") -> None:
    for name, quantity in cost.items():
        label, form = FORMATS[name]
        click.echo(f"  {label:<15} {describe_quantity(quantity, form)}")


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
    print_assumptions(result.assumptions)
