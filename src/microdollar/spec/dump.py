"""A training plan as a table that JSON and TOML can hold: the inverse of reading one."""

from dataclasses import fields
from typing import Any

from microdollar.spec.blocks import MIXERS
from microdollar.spec.model import Block, ModelSpec
from microdollar.spec.training import TrainingPlan

_KINDS = {cls: kind for kind, cls in MIXERS.items()}


def plan_to_table(plan: TrainingPlan) -> dict[str, Any]:
    """A table that ``microdollar.spec.load.plan_from_table`` reads as an equal plan.

    The model is written out in blocks and every default is stated, so the table means the same
    when a catalog or a default changes. Only a device that no catalog has can't be read again.

    Examples:
        >>> from microdollar.spec.load import load_plan, plan_from_table
        >>> plan = load_plan("rl-token-compression").plan
        >>> plan_from_table(plan_to_table(plan), name="again").plan == plan
        True
    """
    table = _given(plan) | {
        "model": model_to_table(plan.model),
        "train": _given(plan.train),
        "layout": _given(plan.layout),
        "others": [_given(other) | {"model": model_to_table(other.model)} for other in plan.others],
    }
    if plan.train.lora is not None:
        table["train"]["lora"] = _given(plan.train.lora)
    return table


def model_to_table(model: ModelSpec) -> dict[str, Any]:
    """A table that ``microdollar.spec.blocks.model_from_table`` reads as an equal model."""
    return _given(model) | {
        "blocks": [_block(block) for block in model.blocks],
        "encoder": [_block(block) for block in model.encoder],
        "dense": [_given(dense) for dense in model.dense],
        "tables": [_given(table) for table in model.tables],
    }


def _block(block: Block) -> dict[str, Any]:
    table = _given(block)
    table["mixers"] = [{"kind": _KINDS[type(mixer)], **_given(mixer)} for mixer in block.mixers]
    if block.feed_forward is not None:
        table["feed_forward"] = _given(block.feed_forward)
    return table


def _given(part: Any) -> dict[str, Any]:  # noqa: ANN401
    """The fields of a dataclass that are not None; TOML has no null, and reading needs none."""
    named = ((field.name, getattr(part, field.name)) for field in fields(part))
    return {name: value for name, value in named if value is not None}
