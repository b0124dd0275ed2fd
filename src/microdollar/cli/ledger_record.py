"""``microdollar ledger record``: what a step really took, for the next estimate to learn from."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.ledger_file import ledger_option, open_ledger
from microdollar.cli.numbers import describe_quantity
from microdollar.cli.options import BYTES, SECONDS, json_option, print_json
from microdollar.cli.plan_options import plan_options, read_plan
from microdollar.errors import UsageError
from microdollar.units import format_bytes, format_joules, format_seconds

if TYPE_CHECKING:
    from microdollar.estimator.training import TrainingEstimate
    from microdollar.ledger import Record
    from microdollar.run.past import Measured


@click.command("record")
@click.argument("model", metavar="PLAN_OR_MODEL", required=False)
@click.option("--device", metavar="NAME", help="In the catalog.  [default: this]")
@click.option(
    "--step-seconds", type=SECONDS, required=True, metavar="X", help="One optimizer step took."
)
@click.option("--allocated", type=BYTES, metavar="BYTES", help="Peak of live tensors, a device.")
@click.option("--reserved", type=BYTES, metavar="BYTES", help="Peak of its allocator.")
@click.option("--process", type=BYTES, metavar="BYTES", help="Peak that the device reported.")
@click.option("--joules", type=float, metavar="J", help="Of all devices, for the step.")
@click.option("--run-seconds", type=SECONDS, metavar="X", help="The whole run took.")
@click.option("--note", metavar="TEXT", help="Kept with the row.")
@plan_options
@ledger_option
@json_option
def record(
    model: str | None,
    device: str | None,
    step_seconds: float,
    allocated: int | None,
    reserved: int | None,
    process: int | None,
    joules: float | None,
    run_seconds: float | None,
    note: str | None,
    path: Path | None,
    as_json: bool,
    **values: Any,  # noqa: ANN401
) -> None:
    """Keep what a step of your training took; the next estimates learn from it.

    The plan is described as for estimate: PLAN_OR_MODEL and options. Estimates of plans on the
    same device, in the same precision and stack, are corrected by all that was recorded.

    \b
    Example:
      microdollar ledger record gpt2-xl --device a100-80gb --batch 16 --seq 1024 \\
        --step-seconds 1.9 --process 61GB
    """  # noqa: D301
    from microdollar.run.device import find_device
    from microdollar.run.past import Measured, estimate_with_past, record_step
    from microdollar.spec.training import TrainingPlan

    plan = read_plan(model, device, values)
    if not isinstance(plan, TrainingPlan):
        raise UsageError("ledger record takes a plan that trains a model of layers.")
    measured = Measured(
        step_seconds=step_seconds,
        allocated_bytes=allocated,
        reserved_bytes=reserved,
        process_bytes=process,
        joules=joules,
        run_seconds=run_seconds,
    )
    ledger = open_ledger(path)
    ledger.require_writable()
    where = find_device(plan.device, calibrate_if_missing=True, progress=lambda *_: None)
    row = record_step(ledger, plan, where, measured, note=note)
    after = estimate_with_past(plan, where, ledger)
    if as_json:
        print_json(
            {
                "ledger": str(ledger.path),
                "row": {"id": row.id, "content_hash": row.content_hash(), **row.to_json()},
                "next_step_seconds": after.step.seconds.to_json(),
                "next_memory_bytes": {
                    name: getattr(after.memory, name).to_json()
                    for name in ("allocated", "reserved", "process")
                },
            }
        )
        return
    _print(row, measured, after)
    click.echo(f"row {row.id} of {ledger.path}", err=True)


def _print(row: "Record", measured: "Measured", after: "TrainingEstimate") -> None:
    predicted = row.predicted
    assert predicted is not None
    stated = {entry.key: entry.value for entry in row.assumptions}
    lines = [
        ("time of a step", predicted.seconds.value, measured.step_seconds, format_seconds),
        (
            "memory, allocated",
            predicted.memory_bytes.value,
            measured.allocated_bytes,
            format_bytes,
        ),
        (
            "memory, reserved",
            stated["predicted_reserved_bytes"],
            measured.reserved_bytes,
            format_bytes,
        ),
        (
            "memory, process",
            stated["predicted_process_bytes"],
            measured.process_bytes,
            format_bytes,
        ),
        ("energy of a step", predicted.joules.value, measured.joules, format_joules),
    ]
    click.echo(f"{'':<20} {'predicted':>12} {'measured':>12} {'ratio':>8}")
    for label, before, found, form in lines:
        if found is None:
            continue
        if isinstance(before, int | float):
            click.echo(f"{label:<20} {form(before):>12} {form(found):>12} {found / before:>8.3g}")
        else:
            click.echo(f"{label:<20} {'unknown':>12} {form(found):>12}")
    click.echo(f"next estimate of it  {describe_quantity(after.step.seconds, format_seconds)}")
    for assumption in after.assumptions:
        if assumption.key.startswith("past steps"):
            click.echo(f"  {assumption.key}: {assumption.value}")
