"""A document's claims about a plan, held against our own numbers and against its own sums.

No verdict is typed: each follows from a number and a tolerance. A claim *holds* if ours is within
``TOLERANCE`` of it; it is *within the interval* if a number in our 80 % interval is. Its own sum
*adds up* if it is within ``TOLERANCE`` of what the document says it is, or rounds to it at the
digits that the document prints.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from microdollar.errors import SpecError
from microdollar.run.plan_quantities import EXPONENTS, Known, plan_quantities
from microdollar.spec.arithmetic import Interval, evaluate, names_in
from microdollar.spec.build import changed_plan
from microdollar.spec.claims import UNITS, Claim, number_text, rounds_to
from microdollar.spec.data import DataSpec
from microdollar.spec.device import DeviceSpec
from microdollar.spec.load import PlanFile, load_plan
from microdollar.spec.plan import Plan
from microdollar.spec.training import ServingPlan, TrainingPlan

TOLERANCE = 0.05
"""Documents print two or three digits."""

Verdict = Literal["holds", "within the interval", "does not hold", "unknown", "no quantity"]
AnyPlan = Plan | TrainingPlan | ServingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One claim and what became of it; numbers in base units."""

    claim: Claim
    claimed: float
    ours: Interval | None
    """Of the same quantity; None if it has none of ours, or none could be had."""
    reason: str
    """Why there is none."""
    ratio: float | None
    """Ours over the claim."""
    verdict: Verdict
    own: float | None
    """What the document's own sum gives; None if it states none."""
    adds_up: bool | None
    """Whether that is what it claims."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary in base units."""
        claim = self.claim
        return {
            "quantity": claim.quantity,
            "where": claim.where,
            "claimed": self.claimed,
            "stated": claim.value is not None,
            "ours": None if self.ours is None else asdict(self.ours),
            "reason": self.reason,
            "ratio": self.ratio,
            "verdict": self.verdict,
            "own": self.own,
            "adds_up": self.adds_up,
            "note": claim.note,
        }


def check_claims(file: PlanFile, find_device: Callable[[str], DeviceSpec]) -> tuple[Checked, ...]:
    """Every claim of a plan file against our numbers of the same plan.

    Args:
        file: the plan and its claims.
        find_device: a device by its name.

    Raises:
        SpecError: if a claim asks for a quantity that the plan does not have.
        UnknownNameError: if it compares with a plan that is not there.
        CannotEstimateError: if a rate that the plan needs is not known.
    """
    known = _Known(find_device)
    return tuple(_check(claim, file.plan, known) for claim in file.claims)


class _Known:
    """Quantities of plans, each estimated once."""

    def __init__(self, find_device: Callable[[str], DeviceSpec]) -> None:
        self._find_device = find_device
        self._found: list[tuple[AnyPlan, bool, dict[str, Known]]] = []

    def of(self, plan: AnyPlan, text: str) -> dict[str, Known]:
        exponents = bool(EXPONENTS.keys() & names_in(text))
        for one, had, quantities in self._found:
            if one == plan and had >= exponents:
                return quantities
        quantities = plan_quantities(plan, self._find_device(plan.device), exponents=exponents)
        self._found.append((plan, exponents, quantities))
        return quantities


def _check(claim: Claim, plan: AnyPlan, known: _Known) -> Checked:
    own = evaluate(claim.own).value if claim.own else None
    adds_up = None
    if own is not None and claim.value is not None:
        adds_up = _near(own, claim.claimed) or rounds_to(own / UNITS[claim.unit], claim.value)
    text = claim.ours or claim.quantity
    if not claim.ours and own is not None and not _is_name(text):
        ours: Known | None = None
    else:
        ours = _sum(text, changed(plan, claim.changes), known)
    if claim.than and isinstance(ours, Interval):
        other = changed(load_plan(claim.than).plan, claim.than_changes)
        below = _sum(claim.over or text, other, known)
        ours = below if isinstance(below, str) else _ratio(ours, below)
    number = ours if isinstance(ours, Interval) else None
    return Checked(
        claim=claim,
        claimed=claim.claimed,
        ours=number,
        reason=ours if isinstance(ours, str) else "",
        ratio=None if number is None else number.value / claim.claimed,
        verdict=_verdict(ours, claim.claimed),
        own=own,
        adds_up=adds_up,
    )


def _is_name(text: str) -> bool:
    return text.isidentifier()


def _sum(text: str, plan: AnyPlan, known: _Known) -> Known:
    """The value of a sum of a plan's quantities, or why one of them is missing."""
    quantities = known.of(plan, text)
    for name in sorted(names_in(text)):
        if isinstance(reason := quantities.get(name), str):
            return reason
    there = {name: one for name, one in quantities.items() if isinstance(one, Interval)}
    return evaluate(text, there)


def _ratio(above: Interval, below: Interval) -> Interval:
    return evaluate("above / below", {"above": above, "below": below})


def _near(value: float, other: float) -> bool:
    return abs(value - other) <= TOLERANCE * abs(other)


def _verdict(ours: Known | None, claimed: float) -> Verdict:
    if ours is None:
        return "no quantity"
    if isinstance(ours, str):
        return "unknown"
    if _near(ours.value, claimed):
        return "holds"
    nearest = min(max(claimed, ours.low), ours.high)
    return "within the interval" if _near(nearest, claimed) else "does not hold"


def changed(plan: AnyPlan, changes: Mapping[str, Any]) -> AnyPlan:
    """A plan with some options in place of its own; of a learner also ``bytes``.

    Raises:
        SpecError: if a plan of this kind can't be changed so.
    """
    if not changes:
        return plan
    if isinstance(plan, TrainingPlan):
        return changed_plan(plan, changes)
    if isinstance(plan, ServingPlan):
        raise SpecError("the claims of a plan that serves can't have changes.")
    options = {**plan.options, **changes}
    size = options.pop("bytes", plan.data.bytes)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise SpecError(f"bytes must be a whole number from 1, got {size!r:.40}.")
    return replace(plan, data=DataSpec(bytes=size, name=plan.data.name), options=options)


def in_unit(value: float, claim: Claim) -> str:
    """A number in base units in the unit of a claim, with the digits that a document prints."""
    return number_text(value / UNITS[claim.unit], claim.unit)


def verdict_text(checked: Checked) -> str:
    """The verdict and what the document's own sum gives, in words."""
    found: list[str] = []
    if checked.verdict != "no quantity":
        found.append(checked.verdict)
    if checked.adds_up:
        found.append("its own sum adds up")
    elif checked.adds_up is False:
        assert checked.own is not None
        found.append(f"its own sum gives {in_unit(checked.own, checked.claim)}")
    if checked.claim.value is None:
        found.append("not stated: follows from its numbers")
    return "; ".join(found)
