"""Energy sensors, and what they read over a window."""

from microdollar.measure.power.energy import EnergyWindow, Sensor, default_sensors
from microdollar.measure.power.nvml import Nvml
from microdollar.measure.power.rapl import Rapl

__all__ = ["EnergyWindow", "Nvml", "Rapl", "Sensor", "default_sensors"]
