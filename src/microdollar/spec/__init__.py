"""What is asked for: data, device, price and plan, as frozen dataclasses."""

from microdollar.spec.data import DataSpec
from microdollar.spec.device import DeviceSpec, Rates
from microdollar.spec.device_catalog import load_device
from microdollar.spec.model import ModelSpec
from microdollar.spec.plan import Plan
from microdollar.spec.training import Layout, ServingPlan, TrainingPlan, TrainSpec

__all__ = [
    "DataSpec",
    "DeviceSpec",
    "Layout",
    "ModelSpec",
    "Plan",
    "Rates",
    "ServingPlan",
    "TrainSpec",
    "TrainingPlan",
    "load_device",
]
