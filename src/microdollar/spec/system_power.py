"""What whole systems were measured to draw in training, for each accelerator."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from microdollar.spec.device_catalog import load_device


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemPower:
    """One training run's power, host and network included, the building not."""

    run: str
    device: str
    """Full name in the device catalog."""
    watts: float
    """For each accelerator."""
    basis: Literal["measured", "estimated"]
    source: str


@cache
def system_powers() -> tuple[SystemPower, ...]:
    """Every row of ``catalog/power.toml``, in its order."""
    import tomllib

    text = (Path(__file__).parent / "catalog" / "power.toml").read_text("utf-8")
    return tuple(
        SystemPower(
            run=row["run"],
            device=load_device(row["device"]).name,
            watts=float(row["watts"]),
            basis=row["basis"],
            source=row["source"],
        )
        for row in tomllib.loads(text)["system"]
    )
