"""From live tensors to what the device shows: the allocator's cache, context, communication."""

import math
from dataclasses import dataclass

from microdollar.cost import Quantity
from microdollar.spec.device import DeviceSpec

GIB = 2**30

CACHE_FACTOR = 1.2
"""Reserved over live bytes of what comes and goes in a step (assumed; reserved / allocated of
whole runs was 1.04 to 1.73 on 52 modded-nanogpt records, of trainers with fixed shapes less)."""
CONTEXT_BYTES = 0.92 * GIB
"""CUDA context of one process on an A100 with torch 2.1 (ml-engineering)."""
DISTRIBUTED_BYTES = 5.0 * GIB
"""Context, NCCL and the rest of a process among many: the "about 5 GiB we cannot explain" of
EleutherAI's cookbook, whose calculator adds them."""
INTERPRETER_BYTES = 0.3 * GIB
"""Python with torch on a CPU: ``import torch`` alone is 265 MB (measured)."""
CPU_CACHE_FACTOR = 1.05
"""Reserved over live bytes where malloc gives large blocks back (assumed)."""

RELEASED_SHARE = 0.5
"""Of the allocator's cache, what it can return before it gives up: only segments that no live
tensor is in (assumed)."""

_VISIBLE_SHARE = {"GPU": 0.991, "TPU": 0.97, "CPU": 0.9}
"""Of the memory, what a process can have: 79.3 of 80 GiB of an A100; the others assumed."""
_VISIBLE_BYTES = {"NVIDIA T4": 14_912 * 2**20}
"""Where it was read off a device (with ECC)."""
_APPLE_SHARE = 0.75
"""Of unified memory that Metal recommends as a working set (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Prior overheads of a plan on a device."""

    fixed_bytes: float
    cache_factor: float


def prior_overhead(device: DeviceSpec, devices: int) -> Overhead:
    """Overheads before any row was measured."""
    if device.kind == "CPU":
        return Overhead(fixed_bytes=INTERPRETER_BYTES, cache_factor=CPU_CACHE_FACTOR)
    fixed = DISTRIBUTED_BYTES if devices > 1 else CONTEXT_BYTES
    return Overhead(fixed_bytes=fixed, cache_factor=CACHE_FACTOR)


def usable_bytes(device: DeviceSpec) -> float | None:
    """Memory that a training process can have on a device; None if its size is unknown.

    Makers of GPUs print GiB as GB: a printed 80 GB is 80 GiB.
    """
    if device.name in _VISIBLE_BYTES:
        return float(_VISIBLE_BYTES[device.name])
    printed = device.memory_bytes.value
    if printed is None:
        return None
    if "apple" in device.kind.casefold() or device.name.startswith("Apple"):
        return printed / 1e9 * GIB * _APPLE_SHARE
    if device.kind == "CPU":
        return printed * _VISIBLE_SHARE["CPU"]
    return printed / 1e9 * GIB * _VISIBLE_SHARE.get(device.kind, 0.97)


def probability_fits(
    process: Quantity, device: DeviceSpec, *, cache_bytes: float = 0.0
) -> float | None:
    """Probability that a process stays within the usable memory of a device.

    The interval of ``process`` is taken as the middle 80 % of a log-normal distribution. Before
    an allocator gives up it returns what it only keeps, so a part of its cache does not count.

    Args:
        process: bytes that the device would show as used if it were large enough.
        device: its memory decides.
        cache_bytes: how much of that the allocator keeps but no tensor uses.

    Returns:
        A probability; None if the process's or the device's memory is unknown.
    """
    usable = usable_bytes(device)
    if usable is None or process.value is None or process.low is None or process.high is None:
        return None
    needed = process.value - RELEASED_SHARE * min(cache_bytes, process.value)
    if needed <= 0:
        return 1.0
    far = process.high if usable >= needed else process.low
    spread = abs(math.log(max(far, 1.0) / process.value)) / _Z80
    distance = math.log(usable / needed)
    if spread <= 0:
        return float(distance >= 0)
    return 0.5 * math.erfc(-distance / spread / math.sqrt(2))


_Z80 = 1.2815515655446004
"""Half width of the middle 80 % of a standard normal distribution."""
