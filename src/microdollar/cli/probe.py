"""``microdollar probe``: run a few real steps and extend them to the whole run."""

import click

from microdollar.cli.options import COUNT, json_option, print_json
from microdollar.cli.progress import Bar
from microdollar.cost import Quantity
from microdollar.errors import UsageError
from microdollar.units import format_bytes, format_seconds, format_si


@click.command()
@click.argument("target", metavar="MODULE:FUNCTION")
@click.option(
    "--steps",
    type=click.IntRange(3, 20),
    default=20,
    show_default=True,
    help="Most steps to time; fewer once the interval is within 2 %.",
)
@click.option("--total-steps", type=COUNT, help="Steps of the run to extend to.")
@click.option("--tokens", type=COUNT, help="Tokens of the run to extend to.")
@click.option("--tokens-per-step", type=COUNT, help="Tokens of one step, for --tokens.")
@click.option("--evaluate-every", type=COUNT, help="Steps between two evaluations.")
@click.option(
    "--evaluation-batches", type=COUNT, default=1, show_default=True, help="Of one evaluation."
)
@json_option
def probe(
    target: str,
    steps: int,
    total_steps: int | None,
    tokens: int | None,
    tokens_per_step: int | None,
    evaluate_every: int | None,
    evaluation_batches: int,
    as_json: bool,
) -> None:
    """Run 3 to 20 real steps of your own training and tell what the whole run takes.

    MODULE:FUNCTION (or FILE.py:FUNCTION) is a function of no arguments that returns (module,
    inputs[, loss][, optimizer]), where loss is a function of the module's output, or that
    returns a step: a function of no arguments that trains on one batch.
    """
    from microdollar.run.probe import Schedule
    from microdollar.run.probe import probe as measure
    from microdollar.run.user_code import load_function, running, training_of

    total = _total_steps(total_steps, tokens, tokens_per_step)
    if evaluate_every is not None and total is None:
        raise UsageError("--evaluate-every needs --total-steps or --tokens")
    schedule = None
    if total is not None:
        schedule = Schedule(
            total_steps=total,
            evaluate_every=evaluate_every,
            evaluation_batches=evaluation_batches,
        )
    function = load_function(target)
    with running(target):
        made = function()
    with running(f"what {target} returned"):
        training = training_of(made)
    with Bar(quiet=as_json) as bar, running(f"a step of {target}"):
        found = measure(training, most_steps=steps, schedule=schedule, progress=bar)
    if as_json:
        print_json({"target": target, "total_steps": total, **found.to_json()})
        return
    low, high = min(found.steps), max(found.steps)
    seconds = _interval(found.step_seconds)
    click.echo(f"a step: {seconds} (80 %)")
    click.echo(
        f"  {len(found.steps)} steps timed, {format_seconds(low)} to {format_seconds(high)} each"
    )
    assert found.memory_bytes.value is not None
    click.echo(f"  peak of tensors {format_bytes(found.memory_bytes.value)}")
    if found.flops.value is not None and found.step_seconds.value:
        rate = format_si(found.flops.value / found.step_seconds.value, "FLOP/s")
        click.echo(f"  {format_si(found.flops.value, 'FLOP')} a step, {rate}")
    for quantity in (found.step_seconds, found.flops):
        if quantity.reason:
            click.echo(f"  {quantity.reason}")
    if found.evaluation_seconds is not None:
        click.echo(f"a batch of evaluation: {_interval(found.evaluation_seconds)}")
    if found.total_seconds is not None:
        click.echo(f"{total:,} steps: {_interval(found.total_seconds)} (80 %)")
        click.echo(f"  {found.total_seconds.reason}")


def _total_steps(
    total_steps: int | None, tokens: int | None, tokens_per_step: int | None
) -> int | None:
    if tokens is None and tokens_per_step is None:
        return total_steps
    if tokens is None or tokens_per_step is None:
        raise UsageError("--tokens and --tokens-per-step need each other")
    if total_steps is not None:
        raise UsageError("give --total-steps or --tokens, not both")
    return -(-tokens // tokens_per_step)


def _interval(quantity: Quantity) -> str:
    assert quantity.value is not None and quantity.low is not None and quantity.high is not None
    low, high = format_seconds(quantity.low), format_seconds(quantity.high)
    return f"{format_seconds(quantity.value)}, {low} to {high}"
