"""What ``microdollar estimate PLAN --claims`` prints."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from microdollar.cli.options import print_json
from microdollar.errors import UsageError

if TYPE_CHECKING:
    from microdollar.run.plan_claims import Checked
    from microdollar.spec import DeviceSpec


def print_claims(
    name: str, device: str | None, find_device: "Callable[[str], DeviceSpec]", as_json: bool
) -> None:
    """Every claim of a plan file beside our number, its verdict and its reason.

    Raises:
        UsageError: if the plan has no claims, or there is no such plan.
    """
    from microdollar.run.plan_claims import check_claims
    from microdollar.spec.load import load_plan

    file = load_plan(name)
    if not file.claims:
        raise UsageError(f"the plan {file.name} has no claims: no [[document.claims]] in its file.")
    if device is not None:
        file = replace(file, plan=replace(file.plan, device=device))
    checked = check_claims(file, find_device)
    if as_json:
        print_json(
            {
                "plan": file.name,
                "device": file.plan.device,
                "title": file.title,
                "source": file.source,
                "notes": file.notes,
                "claims": [one.to_json() for one in checked],
            }
        )
        return
    click.echo(f"{file.name} on {file.plan.device}: {file.title or 'claims'}")
    for one in checked:
        _print_claim(one)


def _print_claim(checked: "Checked") -> None:
    from microdollar.run.plan_claims import in_unit, verdict_text

    claim = checked.claim
    where = f"{claim.where}  " if claim.where else ""
    click.echo(f"\n{where}{claim.quantity.replace('_', ' ')}")
    claimed = in_unit(checked.claimed, claim)
    ours = "" if checked.ours is None else f"   ours {in_unit(checked.ours.value, claim)}"
    if checked.ours is not None and checked.ours.low < checked.ours.high:
        low, high = in_unit(checked.ours.low, claim), in_unit(checked.ours.high, claim)
        ours += f" ({low} to {high})"
    click.echo(f"  claimed {claimed}{ours}   {verdict_text(checked)}")
    for line in (checked.reason, claim.note):
        if line:
            click.echo(f"  {line}")
