"""What an optimizer of small state saves against AdamW, and the batch that it makes room for."""

from dataclasses import dataclass, replace
from typing import Any

from microdollar.errors import CannotEstimateError
from microdollar.estimator.memory.peak import find_peak
from microdollar.estimator.search.largest import largest
from microdollar.spec.device import DeviceSpec
from microdollar.spec.training import TrainingPlan
from microdollar.work.formulas.collins import STATES

REFERENCE = "adamw"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSaving:
    """An optimizer beside AdamW, in the same plan."""

    optimizer_bytes: int
    """Moments, and float32 masters if the plan keeps them, of the first model on the fullest
    device."""
    adamw_bytes: int
    micro_batch: int | None
    """The largest that fits (see ``largest``); 0 if none does, None if that can't be known."""
    adamw_micro_batch: int | None

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary in base units."""
        return {
            "optimizer_bytes": self.optimizer_bytes,
            "adamw_bytes": self.adamw_bytes,
            "micro_batch": self.micro_batch,
            "adamw_micro_batch": self.adamw_micro_batch,
        }


def state_saving(plan: TrainingPlan, device: DeviceSpec) -> StateSaving | None:
    """Compare a plan's Collins with AdamW; None for a plan with another optimizer."""
    if plan.train.optimizer not in STATES:
        return None
    cpu = device.kind == "CPU"
    adamw = replace(plan, train=replace(plan.train, optimizer=REFERENCE))
    return StateSaving(
        optimizer_bytes=round(find_peak(plan, cpu=cpu).sharded),
        adamw_bytes=round(find_peak(adamw, cpu=cpu).sharded),
        micro_batch=_largest_batch(plan, device),
        adamw_micro_batch=_largest_batch(adamw, device),
    )


def _largest_batch(plan: TrainingPlan, device: DeviceSpec) -> int | None:
    if device.memory_bytes.value is None:
        return None
    try:
        return largest(plan, device, "batch").train.micro_batch
    except CannotEstimateError:
        return 0
