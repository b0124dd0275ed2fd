"""What this machine is, and what it was measured to do."""

from microdollar.measure.machine.about import Machine, describe
from microdollar.measure.machine.calibration import calibrate

__all__ = ["Machine", "calibrate", "describe"]
