"""Claims of the documents' own cases: shipped plans, held against their estimates."""

import re
from collections.abc import Iterator

from microdollar.claims.row import Claim, Finding
from microdollar.claims.world import World
from microdollar.run.plan_claims import Checked, check_claims
from microdollar.spec.claims import UNITS
from microdollar.spec.device_catalog import load_device
from microdollar.spec.load import PlanFile, list_plans, load_plan


def plan_rows(document: str, world: World) -> Iterator[tuple[Claim, Finding]]:
    """Stated claims of every shipped plan whose source is the document.

    Raises:
        SpecError: if a plan or a claim of it is not right.
    """
    seen: dict[str, int] = {}
    for file in map(load_plan, list_plans()):
        if file.source.split(",")[0] != document:
            continue
        for checked in check_claims(file, load_device):
            claim = checked.claim
            if claim.value is None:  # follows from what the document states, and is not stated
                continue
            name = claim.id or f"{document}/{_slug(claim.where)}/{_slug(claim.quantity)}"
            seen[name] = seen.get(name, 0) + 1
            number = f"-{seen[name]}" if seen[name] > 1 else ""
            yield _claim(checked, document, name + number, file), _finding(checked, file)


def _claim(checked: Checked, document: str, name: str, file: PlanFile) -> Claim:
    claim = checked.claim
    return Claim(
        id=name,
        document=document,
        section=claim.where,
        claim=claim.says or f"{file.name}: {claim.quantity.replace('_', ' ')}",
        published=checked.claimed / UNITS[claim.unit],
        unit=claim.unit,
        note=claim.note,
    )


def _finding(checked: Checked, file: PlanFile) -> Finding:
    claim = checked.claim
    ours = claim.ours or claim.quantity
    said = [f"its own sum: {claim.own}"] if claim.own else []
    if checked.ours is not None:
        other = f", over that of {claim.than.rpartition('/')[2]}" if claim.than else ""
        said.append(f"estimate {file.name}: {ours}{other}")
    return Finding(
        how="; ".join(said) or f"estimate {file.name}",
        ours=checked.ours,
        reason=checked.reason,
        own=checked.own,
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")
