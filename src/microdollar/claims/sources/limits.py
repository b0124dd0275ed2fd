"""Claims of energy and attention, which ``microdollar limits`` checks too."""

from collections.abc import Iterator

from microdollar.claims.row import Claim, Finding, Reading
from microdollar.claims.world import World
from microdollar.estimator.limits.claims import CheckedLimit
from microdollar.estimator.limits.document import check_limit_claims
from microdollar.spec.arithmetic import Interval

_REPLACED = {
    "gpt3-training": ("i/joules",),
    "gpt3-households": ("i/household-s-year-a-hundred-and-twentieth-of-it",),
    "landauer": ("i/landauer-joules-per-bit",),
    "operation": ("i/joules-of-an-operation",),
    "distance": ("i/an-operation-times-landauer-s-limit",),
    "layer": ("ii/attention-flops-per-layer",),
    "layers": ("ii/attention-flops", "ii/operations-of-the-pass"),
    "joules": (
        "ii/joules-of-attention-by-its-own-rate", "ii/joules-of-attention", "ii/joules-of-the-pass",
    ),
    "bulb": ("ii/seconds-of-a-60-w-bulb",),
    "power": ("ii/power-at-1-000-requests-a-second",),
    "day": (
        "ii/energy-of-86-4-million-requests-a-day",
        "ii/energy-of-86-4-million-requests-a-day-the-whole-pass",
    ),
    "year": ("ii/energy-of-a-year",),
}  # fmt: skip
"""Rows of the shipped plans that state the same number, without conditions under which it holds."""


def limit_rows(document: str, world: World) -> Iterator[tuple[Claim, Finding]]:
    """The checked figures of energy of the document on efficient reasoning; no others."""
    if document == "efficient-reasoning":
        for checked in check_limit_claims():
            yield _claim(checked, document), _finding(checked)


def _claim(checked: CheckedLimit, document: str) -> Claim:
    claim = checked.claim
    return Claim(
        id=f"{document}/{claim.where}/{claim.key}",
        document=document,
        section=claim.where,
        claim=claim.says[0].upper() + claim.says[1:],
        published=claim.value,
        to=claim.to,
        unit=claim.unit,
        tolerance=0.0,
        factor=claim.factor,
        replaces=tuple(f"{document}/{name}" for name in _REPLACED.get(claim.key, ())),
    )


def _finding(checked: CheckedLimit) -> Finding:
    found = checked.found
    known = isinstance(found.ours, Interval)
    return Finding(
        how=found.how,
        ours=found.ours if isinstance(found.ours, Interval) else None,
        reason="" if known else str(found.ours),
        own=found.own,
        readings=tuple(Reading(condition=one, value=value) for one, value in found.readings),
    )
