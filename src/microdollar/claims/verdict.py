"""The verdict of a claim, from its numbers and its tolerance alone."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from microdollar.claims.row import Claim, Finding
from microdollar.spec.claims import UNITS, rounds_to

Verdict = Literal[
    "holds",
    "holds if",
    "arithmetic slip",
    "made true",
    "doesn't replicate",
    "can't be checked here",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A claim, what was found, and what follows."""

    claim: Claim
    finding: Finding
    verdict: Verdict
    condition: str
    """Under which it holds, or what the right value is; empty if neither is to be said."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; numbers in the unit of the claim, None where there is none."""
        claim, found, scale = self.claim, self.finding, UNITS[self.claim.unit]
        ours, kept = found.ours, found.kept
        return {
            "id": claim.id,
            "document": claim.document,
            "section": claim.section,
            "claim": claim.claim,
            "published": claim.published,
            "to": claim.to,
            "unit": claim.unit,
            "at": claim.at,
            "tolerance": claim.tolerance,
            "factor": claim.factor,
            "absolute": claim.absolute,
            "ours": None if ours is None else ours.value / scale,
            "low": None if ours is None else ours.low / scale,
            "high": None if ours is None else ours.high / scale,
            "own": None if found.own is None else found.own / scale,
            "verdict": self.verdict,
            "condition": self.condition,
            "made_true": None
            if kept is None
            else {
                "part": kept.part,
                "what": kept.what,
                "value": kept.value / UNITS[kept.unit],
                "unit": kept.unit,
                "kept": kept.is_kept,
            },
            "how": found.how,
            "measured": found.measured,
            "reason": found.reason,
            "needs": list(claim.needs),
            "note": claim.note,
        }


def judge(claim: Claim, finding: Finding) -> Checked:
    """The verdict of one claim.

    In this order: *arithmetic slip* if the document's own numbers give something else; *holds* if
    ours agrees (or, where nothing of ours stands beside it, if its own sum does); *holds if* a
    reading agrees; *made true* if a part of this package keeps the promise; *holds if* a number in
    our 80 % interval agrees; *can't be checked here* without a number; else *doesn't replicate*.

    Args:
        claim: what is stated.
        finding: what was found.
    """
    verdict, condition = _verdict(claim, finding)
    return Checked(claim=claim, finding=finding, verdict=verdict, condition=condition)


def _verdict(claim: Claim, found: Finding) -> tuple[Verdict, str]:
    if found.own is not None and not _adds_up(claim, found.own):
        return "arithmetic slip", "its own numbers give another value"
    ours = found.ours
    if ours is not None and claim.agrees(ours.value):
        return "holds", ""
    if ours is None and not found.reason and found.own is not None:
        return "holds", ""
    for reading in found.readings:
        if claim.agrees(reading.value):
            return "holds if", reading.condition
    if found.kept is not None and found.kept.is_kept:
        return "made true", ""
    if ours is None:
        return "can't be checked here", found.reason
    if claim.meets(ours.low, ours.high):
        return "holds if", "ours errs within its 80 % interval"
    return "doesn't replicate", ""


def _adds_up(claim: Claim, own: float) -> bool:
    """Whether its own sum gives what it prints: within tolerance, or at the digits printed."""
    return claim.agrees(own) or rounds_to(own / UNITS[claim.unit], claim.published)
