"""What this machine is, and what it was measured to do."""

from microdollar.measure.machine.about import Machine, describe
from microdollar.measure.machine.calibration import calibrate
from microdollar.measure.machine.operators import measure_operators

__all__ = ["Machine", "calibrate", "describe", "measure_operators"]
