"""What each change of a plan would save, ranked."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from microdollar.errors import CannotEstimateError, SpecError
from microdollar.estimator.search.trial import Trial, try_plan
from microdollar.spec.device import DeviceSpec
from microdollar.spec.model import ModelSpec
from microdollar.spec.scale import with_linear_attention, with_vocabulary
from microdollar.spec.training import Layout, Lora, TrainingPlan, TrainSpec

SMALL_VOCABULARY = 32_000
"""Tokens of Llama 1 and 2 and of Mistral."""
LORA_RANK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """One change, and the ratios of new over old: below 1 is saved, above 1 is paid."""

    change: str
    trial: Trial
    memory_ratio: float | None
    seconds_ratio: float | None
    dollars_ratio: float | None
    caution: str = ""
    """What else it changes, which the ratios don't show."""


def savings(plan: TrainingPlan, device: DeviceSpec) -> list[Saving]:
    """Try every change that makes sense for ``plan``: first what saves most time, then memory.

    Quality is not predicted: ``caution`` says where it would change.

    Raises:
        CannotEstimateError: if the plan itself can't be estimated.
    """
    base = try_plan(plan, device)
    found = []
    for change, candidate, caution in _changes(plan):
        try:
            trial = try_plan(candidate, device)
        except (CannotEstimateError, SpecError):
            continue
        found.append(
            Saving(
                change=change,
                trial=trial,
                memory_ratio=_ratio(trial.process_bytes.value, base.process_bytes.value),
                seconds_ratio=_ratio(trial.seconds.value, base.seconds.value),
                dollars_ratio=_ratio(trial.dollars.value, base.dollars.value),
                caution=caution,
            )
        )
    return sorted(found, key=lambda saving: (saving.seconds_ratio or 1, saving.memory_ratio or 1))


def _ratio(new: float | None, old: float | None) -> float | None:
    return new / old if new is not None and old else None


def _changes(plan: TrainingPlan) -> Iterator[tuple[str, TrainingPlan, str]]:
    train, layout = plan.train, plan.layout
    for optimizer, caution in (
        ("collins", "equal loss where it was measured: up to 1.5M parameters"),
        ("collins-mini", "may end at a slightly higher loss"),
        ("adamw-8bit", ""),
        ("adafactor", "needs its own learning rate"),
        ("sgd", "trains transformers worse"),
    ):
        if train.optimizer != optimizer:
            yield f"optimizer {optimizer}", _train(plan, train, optimizer=optimizer), caution
    for recompute in ("none", "selective", "full"):
        if train.recompute != recompute:
            yield f"recompute {recompute}", _train(plan, train, recompute=recompute), ""
    if train.attention == "naive":
        yield "fused attention", _train(plan, train, attention="fused"), ""
    if train.lora is None:
        adapters = Lora(rank=LORA_RANK)
        yield (
            f"LoRA of rank {LORA_RANK}",
            _train(plan, train, lora=adapters),
            "fine-tunes; does not train from scratch",
        )
    if train.precision == "float32":
        yield "bfloat16", _train(plan, train, precision="bfloat16"), "may need care to converge"
    if train.offload == "none":
        yield "offload the optimizer", _train(plan, train, offload="optimizer"), ""
    yield from _layouts(plan, layout)
    yield from _models(plan, plan.model)


def _train(plan: TrainingPlan, train: TrainSpec, **changes: object) -> TrainingPlan:
    return replace(plan, train=replace(train, **changes))  # type: ignore[arg-type]


def _layouts(plan: TrainingPlan, layout: Layout) -> Iterator[tuple[str, TrainingPlan, str]]:
    if layout.dp == 1:
        return
    for zero in (1, 2, 3):
        if zero > layout.zero:
            yield f"ZeRO stage {zero}", replace(plan, layout=replace(layout, zero=zero)), ""


def _models(plan: TrainingPlan, model: ModelSpec) -> Iterator[tuple[str, TrainingPlan, str]]:
    if model.vocab > SMALL_VOCABULARY:
        yield (
            f"vocabulary of {SMALL_VOCABULARY:,}",
            replace(plan, model=with_vocabulary(model, SMALL_VOCABULARY)),
            "more tokens for the same text",
        )
    linear = with_linear_attention(model)
    if linear is not None:
        yield "linear attention", replace(plan, model=linear), "another model, often a worse one"
