"""What is asked for: data, device, price and plan, as frozen dataclasses."""

from microdollar.spec.data import DataSpec
from microdollar.spec.device import DeviceSpec, Rates
from microdollar.spec.device_catalog import load_device
from microdollar.spec.plan import Plan

__all__ = ["DataSpec", "DeviceSpec", "Plan", "Rates", "load_device"]
