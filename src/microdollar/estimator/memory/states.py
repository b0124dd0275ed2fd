"""Bytes that a weight costs for the whole run: itself, its gradient, the optimizer's state."""

from dataclasses import dataclass

from microdollar.estimator.memory.profiles import Profile
from microdollar.spec.training import TrainSpec

MOMENT_BYTES = {
    "sgd": 0.0,
    "momentum": 4.0,
    "adam": 8.0,
    "adamw": 8.0,
    "lion": 4.0,  # one moment (arXiv:2302.06675)
    "muon": 4.0,  # one momentum for matrices; tables and head are Adam's, see states_of
    # Two bytes and two float32 scales for each block of 256 (arXiv:2110.02861; bitsandbytes).
    "adamw-8bit": 2.0 + 2 * 4 / 256,
}
"""Optimizer state in float32 for each parameter; Adafactor's is per row and column, Collins's by
the shape of each tensor."""
_QUANTISED_BYTES = {
    "float32": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "int8": 1.0,
    # 4 bits and 0.127 bits of doubly quantised scales (QLoRA, arXiv:2305.14314, section 3).
    "nf4": (4 + 0.127) / 8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StateBytes:
    """Bytes for each parameter, before any sharding."""

    weight: float
    gradient: float
    resident_gradient: float
    """Gradients that a sharding of ``gradient`` does not touch."""
    cached: float
    """What making the states leaves in the allocator's cache."""
    optimizer: float
    """Moments and the float32 master copy."""
    step: float
    """Temporaries of the optimizer step."""


def element_bytes(train: TrainSpec) -> int:
    """Bytes of one number of an activation (float8 products keep 16-bit inputs)."""
    return 4 if train.precision in ("float32", "tf32") else 2


def trained_bytes(
    train: TrainSpec, profile: Profile, *, width: int, table: bool, coded: float | None = None
) -> StateBytes:
    """Bytes for each parameter that is trained.

    Args:
        train: precision, optimizer, gradients.
        profile: what the software keeps.
        width: rows or columns of its matrices, for factored states.
        table: whether they are those of a token table or head.
        coded: bytes of moments for each parameter, where the shapes of tensors decide them.

    16-bit training with float32 masters is 2 + 2 + 12 bytes with Adam (ZeRO, arXiv:1910.02054,
    section 3.1); without masters, moments are as wide as the weights.
    """
    size = element_bytes(train)
    wide = size == 4
    gradient: float = train.gradient_bytes or (size if wide else profile.gradient_bytes or size)
    both = profile.both_gradients and not wide and gradient == 4
    master = 4.0 if train.master and not wide else 0.0
    scale = 1.0 if wide or train.master else size / 4
    step = profile.step_bytes * (size / 4 if not wide and not train.master else 1)
    if both or train.optimizer == "sgd" or coded is not None:
        step = 0.0
    return StateBytes(
        weight=float(size),
        gradient=float(gradient),
        resident_gradient=2.0 if both else 0.0,
        # The 16-bit weights before they were flattened (assumed).
        cached=2.0 if both else 0.0,
        # Codes are as wide whatever the weights are.
        optimizer=master
        + (scale * _moments(train.optimizer, width=width, table=table) if coded is None else coded),
        step=step,
    )


def _moments(optimizer: str, *, width: int, table: bool) -> float:
    if optimizer == "adafactor":
        return 8.0 / width  # a row and a column in float32 (arXiv:1804.04235, section 3)
    if optimizer == "muon" and table:
        return MOMENT_BYTES["adamw"]
    return MOMENT_BYTES[optimizer]


def frozen_weight_bytes(train: TrainSpec, *, table: bool) -> float:
    """Bytes of a frozen weight under LoRA; tables and norms are never quantised."""
    assert train.lora is not None
    dtype = train.lora.base_dtype
    if table and dtype in ("nf4", "int8"):
        return 2.0
    return _QUANTISED_BYTES[dtype]


def adapter_bytes(train: TrainSpec, width: int, coded: float | None = None) -> StateBytes:
    """Bytes for each weight of an adapter, which is trained in float32 (peft's default)."""
    return StateBytes(
        weight=4.0,
        gradient=4.0,
        resident_gradient=0.0,
        cached=0.0,
        optimizer=_moments(train.optimizer, width=width, table=False) if coded is None else coded,
        step=4.0 if coded is None else 0.0,
    )
