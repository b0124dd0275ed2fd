"""One candidate of a search, priced: whether it fits, how long, how much."""

from dataclasses import dataclass
from typing import Any

from microdollar.cost import Quantity
from microdollar.estimator.memory import training_memory
from microdollar.estimator.training import estimate_training
from microdollar.spec.device import DeviceSpec
from microdollar.spec.training import TrainingPlan

RISK = 0.01
"""A plan fits where running out of memory is less likely than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a search keeps of one plan.

    Time, energy and dollars are of the run, or of a step where the plan has no tokens.
    """

    plan: TrainingPlan
    device: DeviceSpec
    fits: float | None
    """Probability that memory suffices; None where the device's memory is unknown."""
    process_bytes: Quantity
    seconds: Quantity
    joules: Quantity
    dollars: Quantity
    tokens_per_second: float | None

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary in base units."""
        train, layout = self.plan.train, self.plan.layout
        return {
            "device": self.device.name,
            "devices": layout.devices,
            "tp": layout.tp,
            "pp": layout.pp,
            "cp": layout.cp,
            "dp": layout.dp,
            "ep": layout.ep,
            "zero": layout.zero,
            "micro_batch": train.micro_batch,
            "batch": train.global_batch,
            "sequence": train.sequence,
            "recompute": train.recompute,
            "fits": self.fits,
            "process_bytes": self.process_bytes.to_json(),
            "seconds": self.seconds.to_json(),
            "joules": self.joules.to_json(),
            "dollars": self.dollars.to_json(),
            "tokens_per_second": self.tokens_per_second,
        }


def is_safe(fits: float | None, risk: float = RISK) -> bool:
    """Whether the probability to fit is known and high enough."""
    return fits is not None and fits >= 1 - risk


def memory_fits(plan: TrainingPlan, device: DeviceSpec) -> float | None:
    """Probability that ``plan`` fits on ``device``, without pricing the rest."""
    return training_memory(plan, device).fits


def try_plan(plan: TrainingPlan, device: DeviceSpec) -> Trial:
    """Price one candidate.

    Raises:
        CannotEstimateError: if a rate that it needs is not known.
    """
    estimate = estimate_training(plan, device)
    step = estimate.step.seconds.value
    return Trial(
        plan=plan,
        device=device,
        fits=estimate.memory.fits,
        process_bytes=estimate.memory.process,
        seconds=estimate.seconds,
        joules=estimate.joules,
        dollars=estimate.dollars,
        tokens_per_second=plan.step_tokens / step if step else None,
    )
