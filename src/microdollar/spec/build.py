"""Plans from a few flat options, with the rest filled in: what a command line or a sweep has."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from microdollar.errors import SpecError
from microdollar.spec.device_catalog import load_device
from microdollar.spec.model import LIMIT, ModelSpec
from microdollar.spec.training import Layout, Lora, ServingPlan, TrainingPlan, TrainSpec

DEFAULT_SEQUENCE = 2048
"""Tokens, unless the model takes fewer."""

PRECISIONS = {
    "fp32": "float32",
    "tf32": "tf32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "fp8": "float8",
}
"""Short spellings beside the full ones."""

_TRAIN = {
    "sequence": "sequence",
    "batch": "global_batch",
    "micro_batch": "micro_batch",
    "tokens": "tokens",
    "dtype": "precision",
    "optimizer": "optimizer",
    "recompute": "recompute",
    "attention": "attention",
    "offload": "offload",
    "lora": "lora",
}
_LAYOUT = ("tp", "pp", "cp", "dp", "ep", "zero", "interleave")
_PLAN = ("stack", "region", "pue")
_WHOLE = {"count", "sequence", "batch", "micro_batch", "lora", *_LAYOUT}

OPTIONS = ("count", *_TRAIN, *_LAYOUT, *_PLAN)
"""Every option that ``training_plan`` and ``changed_plan`` understand."""


def training_plan(model: ModelSpec, device: str, options: Mapping[str, Any]) -> TrainingPlan:
    """A plan from a model, a device and some of ``OPTIONS``.

    What is left out: one device, a sequence of 2,048 tokens or the most that the model takes, one
    sequence for each replica, no accumulation, the first of bfloat16, float16 and float32 that the
    device has (float32 on ``this``), AdamW. ``batch`` counts the sequences of an optimizer step
    over all devices.

    Raises:
        SpecError: if a value or the layout can't be.
        UnknownNameError: if the catalog has no such device.
    """
    given = _normal(options)
    layout = _layout(Layout(), given)
    sequence = given.get("sequence") or usual_sequence(model)
    micro = given.get("micro_batch")
    batch = given.get("batch") or layout.dp * (micro or 1)
    if micro is None:
        micro = max(batch // layout.dp, 1)
    given.setdefault("dtype", usual_precision(device))
    train = TrainSpec(
        sequence=sequence,
        micro_batch=micro,
        global_batch=batch,
        **{
            field: given[name]
            for name, field in _TRAIN.items()
            if name in given and name not in ("sequence", "batch", "micro_batch")
        },
    )
    return TrainingPlan(
        model=model, train=train, device=device, layout=layout, **_pick(given, _PLAN)
    )


def changed_plan(plan: TrainingPlan, options: Mapping[str, Any]) -> TrainingPlan:
    """``plan`` with some of ``OPTIONS`` in place of its own.

    Where ``batch`` is not given and the new layout does not divide the old one, the batch becomes
    the next that it does.

    Raises:
        SpecError: if a value or the layout can't be.
    """
    given = _normal(options)
    layout = _layout(plan.layout, given)
    train = plan.train
    fields = {field: given[name] for name, field in _TRAIN.items() if name in given}
    micro = fields.get("micro_batch", train.micro_batch)
    if "batch" not in given:
        unit = layout.dp * micro
        fields["global_batch"] = math.ceil(train.global_batch / unit) * unit
    elif "micro_batch" not in given and given["batch"] % (layout.dp * micro):
        fields["micro_batch"] = max(given["batch"] // layout.dp, 1)
    return dataclasses.replace(
        plan,
        train=dataclasses.replace(train, **fields),
        layout=layout,
        **_pick(given, _PLAN),
    )


def _normal(options: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None}
    if unknown := sorted(given.keys() - set(OPTIONS)):
        raise SpecError(f"option {unknown[0]!r} is not known. Accepted: {', '.join(OPTIONS)}.")
    for name in _WHOLE & given.keys():
        value, least = given[name], 0 if name == "zero" else 1
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LIMIT:
            raise SpecError(f"{name} must be a whole number from {least}, got {value!r}.")
    if "dtype" in given:
        given["dtype"] = PRECISIONS.get(given["dtype"], given["dtype"])
    if "lora" in given:
        given["lora"] = Lora(rank=given["lora"])
    return given


def usual_sequence(model: ModelSpec) -> int:
    """2,048 tokens, or the most that the model takes."""
    return min(DEFAULT_SEQUENCE, model.max_sequence or model.positions or DEFAULT_SEQUENCE)


def usual_precision(device: str) -> str:
    """What one trains in on a device: bfloat16 or float16 where it has them, else float32."""
    if device.strip().casefold() == "this":
        return "float32"
    peaks = load_device(device).flops_per_second
    return next((name for name in ("bfloat16", "float16") if name in peaks), "float32")


def _pick(given: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _layout(base: Layout, given: Mapping[str, Any]) -> Layout:
    """``dp`` follows from the count where it is not given; where it is, they must agree."""
    fields = _pick(given, _LAYOUT)
    count = given.get("count")
    if count is None:
        return dataclasses.replace(base, **fields)
    rest = math.prod(fields.get(name, getattr(base, name)) for name in ("tp", "pp", "cp"))
    if "dp" not in fields:
        if count % rest:
            raise SpecError(f"tp x pp x cp = {rest} does not divide count {count}.")
        fields["dp"] = count // rest
    if rest * fields["dp"] != count:
        raise SpecError(
            f"dp {fields['dp']} x tp x pp x cp {rest} = {rest * fields['dp']}, "
            f"but count is {count}. Leave dp out, or make them agree."
        )
    return dataclasses.replace(base, **fields)


def serving_plan(
    model: ModelSpec, device: str, new_tokens: int, options: Mapping[str, Any]
) -> ServingPlan:
    """A plan that generates ``new_tokens`` after a prompt of ``sequence``, for ``batch`` at once.

    Raises:
        SpecError: if a value can't be, or an option is about training.
    """
    given = _normal(options)
    layout = _layout(Layout(), given)
    allowed = ("count", "sequence", "batch", "dtype", *_LAYOUT)
    if other := [name for name in given if name not in allowed]:
        raise SpecError(f"option {other[0]!r} is about training, not serving.")
    fields = {"precision": given["dtype"]} if "dtype" in given else {}
    return ServingPlan(
        model=model,
        device=device,
        prompt_tokens=given.get("sequence") or usual_sequence(model),
        new_tokens=new_tokens,
        batch=given.get("batch") or 1,
        layout=layout,
        **fields,
    )
