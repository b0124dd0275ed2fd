"""Claims in words: numbers with their units, verdicts with their conditions."""

from collections import Counter
from collections.abc import Sequence

from microdollar.claims.row import Claim
from microdollar.claims.verdict import VERDICTS, Checked
from microdollar.spec.claims import UNITS, number_text


def published_text(claim: Claim) -> str:
    """What the document prints: a value, a range, or a bound."""
    bound = {"equal": "", "least": "at least ", "most": "at most "}[claim.at]
    if claim.to is None:
        return bound + number_text(claim.published, claim.unit)
    return f"{number_text(claim.published, '')} to {number_text(claim.to, claim.unit)}"


def ours_text(checked: Checked) -> str:
    """Our number with its interval; empty if there is none."""
    ours, unit = checked.finding.ours, checked.claim.unit
    if ours is None:
        return ""
    value, low, high = (one / UNITS[unit] for one in (ours.value, ours.low, ours.high))
    ends = [number_text(low, ""), number_text(high, "")]
    interval = f" ({ends[0]} to {ends[1]})" if ends[0] != ends[1] else ""
    return number_text(value, unit) + interval


def verdict_text(checked: Checked) -> str:
    """The verdict with its condition, the right value, or what keeps the promise."""
    if checked.verdict == "arithmetic slip" and checked.finding.own is not None:
        own = checked.finding.own / UNITS[checked.claim.unit]
        return f"arithmetic slip: {number_text(own, checked.claim.unit)}"
    kept = checked.finding.kept
    made_true = ""
    if kept is not None and kept.is_kept:
        figure = number_text(kept.value / UNITS[kept.unit], kept.unit)
        made_true = f"made true by {kept.part}: {kept.what} {figure}"
    if checked.verdict == "made true":
        return made_true
    if checked.verdict == "holds if":
        return f"holds if {checked.condition}" + (f"; {made_true}" if made_true else "")
    if checked.verdict == "can't be checked here":
        return f"can't be checked here: {checked.condition}"
    return checked.verdict


def counts(checked: Sequence[Checked]) -> dict[str, int]:
    """How many claims have each verdict, in the order of verdicts; all of them are there."""
    found = Counter(one.verdict for one in checked)
    return {verdict: found[verdict] for verdict in VERDICTS}
