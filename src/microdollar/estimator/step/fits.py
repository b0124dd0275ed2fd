"""Fits that ship with the package, each to published rows of one stack, and the one before any."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from microdollar.estimator.step.model import StepFit, stack_family
from microdollar.estimator.step.terms import FIRST_COEFFICIENTS
from microdollar.spec.training import TrainingPlan

PRIOR = StepFit(
    rows=0,
    source="assumed before any measurement",
    coefficients={name: value for name, (value, _) in FIRST_COEFFICIENTS.items()},
)
"""What is assumed before any row: data-sheet rates and counts of passes and kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedFit:
    """A fit and what it is for."""

    stacks: tuple[str, ...]
    """Families of stacks whose rows it was fitted to; empty for the one that serves any other."""
    nodes: str
    """``one``, ``many`` or ``any``."""
    fit: StepFit


@cache
def shipped_fits() -> tuple[ShippedFit, ...]:
    """All fits of the package."""
    path = Path(__file__).parent / "fits.json"
    return tuple(
        ShippedFit(
            stacks=tuple(entry["stacks"]),
            nodes=entry["nodes"],
            fit=StepFit.from_json(entry["fit"]),
        )
        for entry in json.loads(path.read_text("utf-8"))["fits"]
    )


def shipped_fit(plan: TrainingPlan) -> StepFit:
    """The fit for the plan's stack and number of nodes, or the one for any stack."""
    layout = plan.layout
    nodes = "one" if layout.devices <= layout.devices_per_node else "many"
    ordinary, family = PRIOR, stack_family(plan.stack)
    for entry in shipped_fits():
        if family in entry.stacks and entry.nodes in (nodes, "any"):
            return entry.fit
        if not entry.stacks:
            ordinary = entry.fit
    return ordinary


def pick_fit(fits: dict[str, StepFit], plan: TrainingPlan) -> StepFit:
    """The one of the plan's family of stacks among ``fit_by_stack``'s fits, or that of all rows."""
    return fits.get(stack_family(plan.stack), fits[""])
