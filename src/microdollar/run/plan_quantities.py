"""Every number that an estimate has of a plan, by name, in base units: what claims are held to."""

from typing import TYPE_CHECKING

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError, UsageError
from microdollar.estimator.compose import estimate_work
from microdollar.estimator.limits.landauer import landauer_joules_per_bit
from microdollar.estimator.memory.saved import held_bytes
from microdollar.estimator.model_flops import count_flops, count_step_flops
from microdollar.estimator.search.sensitivity import elasticities
from microdollar.estimator.serving import estimate_serving
from microdollar.estimator.training import estimate_training
from microdollar.spec.arithmetic import Interval
from microdollar.spec.device import DeviceSpec
from microdollar.spec.model import Attention
from microdollar.spec.plan import Plan
from microdollar.spec.training import ServingPlan, TrainingPlan, TrainSpec
from microdollar.work.formulas.concepts import ConceptSizes, prediction_work, step_work

if TYPE_CHECKING:
    from microdollar.work import Work

Known = Interval | str
"""A number and its 80 % interval, or why there is none."""

EXPONENTS = {
    "exponent_of_sequence": "sequence",
    "exponent_of_batch": "batch",
    "exponent_of_device_memory": "memory of the device",
}
"""Exponents of the run's time in sizes of the plan, and their names in a search."""


def plan_quantities(
    plan: Plan | TrainingPlan | ServingPlan, device: DeviceSpec, *, exponents: bool = False
) -> dict[str, Known]:
    """Numbers of a plan on a device by name.

    Args:
        plan: of a learner, of a model's training, or of its serving.
        device: the plan's.
        exponents: whether those of ``EXPONENTS`` are wanted, too, which take several estimates.

    Raises:
        CannotEstimateError: if a rate that the plan needs is not known; a learner's plan has its
            operations and memory without.
    """
    found = _of_device(device)
    if isinstance(plan, TrainingPlan):
        found |= _training(plan, device)
        if plan.model.family == "lnsp":
            found |= _concept_learner(plan)
        if exponents:
            by_size = {one.size: one for one in elasticities(plan, device)}
            for name, size in EXPONENTS.items():
                one = by_size.get(size)
                if one is None:
                    found[name] = "the plan has no tokens"
                else:
                    found[name] = one.reason if one.exponent is None else Interval.of(one.exponent)
    elif isinstance(plan, ServingPlan):
        found |= _serving(plan, device)
    else:
        found |= _learning(plan, device)
    return found


def _of_device(device: DeviceSpec) -> dict[str, Known]:
    return {
        "device_memory_bytes": _known(device.memory_bytes),
        "device_bytes_per_second": _known(device.memory_bytes_per_second),
        "landauer_joules_per_bit": Interval.of(landauer_joules_per_bit()),
    }


def _training(plan: TrainingPlan, device: DeviceSpec) -> dict[str, Known]:
    estimate, step = estimate_training(plan, device), count_step_flops(plan)
    held, train = held_bytes(plan), plan.train
    forward = sum(part.value for part in estimate.flops_per_token.forward)
    seconds = _known(estimate.step.seconds)
    exact = {
        "parameters": estimate.parameters,
        "weight_bytes": held.weights,
        "gradient_bytes": held.gradients,
        "optimizer_bytes": held.optimizer,
        "activation_bytes": held.activations,
        "forward_flops_per_token": forward,
        "forward_flops_per_sample": forward * train.sequence,
        "flops_per_token": step.hardware / plan.step_tokens,
        "flops_per_sample": step.hardware / train.global_batch,
        "flops_per_micro_batch": step.hardware / plan.micro_steps,
        "flops_per_step": step.hardware,
        "micro_steps": plan.micro_steps,
        "step_tokens": plan.step_tokens,
    }
    found: dict[str, Known] = {name: Interval.of(float(value)) for name, value in exact.items()}
    found |= {name: _known(quantity) for name, quantity in _costs(estimate).items()}
    found |= {
        "flops": _known(estimate.flops["hardware"]),
        "memory_bytes": _known(estimate.memory.allocated),
        "reserved_bytes": _known(estimate.memory.reserved),
        "process_bytes": _known(estimate.memory.process),
        "step_seconds": seconds,
        "steps": "the plan has no tokens" if plan.steps is None else Interval.of(plan.steps),
    }
    peak = device.flops_per_second.get(train.precision)
    if peak is None:
        found |= dict.fromkeys(
            ("peak_flops_per_second", "mfu"), f"no peak of {device.name} in {train.precision}"
        )
    else:
        found["peak_flops_per_second"] = Interval.of(peak * plan.layout.devices)
        found["mfu"] = _over(step.full_attention / (peak * plan.layout.devices), seconds)
    found["flops_per_second"] = _over(step.hardware, seconds)
    return found


def _concept_learner(plan: TrainingPlan) -> dict[str, Known]:
    """Of this package's own learner of such a model, numpy in one arena, in float32."""
    dense = {part.name: part for part in plan.model.dense}
    mixers = [mixer for block in plan.model.blocks for mixer in block.mixers]
    if len(mixers) != 1 or not isinstance(mixers[0], Attention) or "in" not in dense:
        return {}
    sizes = ConceptSizes(
        dim=dense["in"].inputs, width=plan.model.hidden, heads=mixers[0].heads,
        context=plan.train.sequence,
    )  # fmt: skip
    batch = plan.train.micro_batch
    whole = step_work(sizes, batch=batch, keep_gradients=True)
    found = {
        "learner_bytes": whole.memory_bytes,
        "learner_bytes_one_gradient": step_work(sizes, batch=batch).memory_bytes,
        "learner_bytes_lowbit": step_work(sizes, batch=batch, optimizer="adam-lowbit").memory_bytes,
        "learner_flops_per_step": whole.flops,
        "learner_flops_per_prediction": prediction_work(sizes, batch=batch).flops,
    }
    return {name: Interval.of(float(value)) for name, value in found.items()}


def _serving(plan: ServingPlan, device: DeviceSpec) -> dict[str, Known]:
    estimate = estimate_serving(plan, device)
    count = count_flops(
        plan.model,
        TrainSpec(sequence=plan.prompt_tokens, micro_batch=1, global_batch=1, attention="naive"),
    )
    scores = [part for part in count.forward if part.name.endswith(("scores", "values"))]
    tokens = plan.prompt_tokens * plan.batch
    attention = tokens * sum(part.value for part in scores)
    layers = sum(block.count for block in plan.model.blocks)
    exact = {
        "parameters": estimate.parameters,
        "flops": estimate.flops,
        "attention_flops": attention,
        "attention_flops_per_layer": attention / layers if layers else 0.0,
        "forward_flops": tokens * sum(part.value for part in count.forward),
        "cache_bytes": estimate.cache_bytes,
    }
    found: dict[str, Known] = {name: Interval.of(float(value)) for name, value in exact.items()}
    found |= {name: _known(quantity) for name, quantity in _costs(estimate).items()}
    return found | {"memory_bytes": _known(estimate.memory_bytes)}


def _learning(plan: Plan, device: DeviceSpec) -> dict[str, Known]:
    from microdollar.learn.registry import create
    from microdollar.work.formulas.elman import elman_parameters

    learner = create(plan.learner, **plan.options)
    work = learner.work(plan.data)
    hidden, epochs = getattr(learner, "hidden", None), getattr(learner, "epochs", 1)
    found: dict[str, Known] = {
        "bytes": Interval.of(plan.data.bytes),
        "flops_per_byte": Interval.of(
            sum(op.total_flops for op in work.ops) / plan.data.bytes / epochs
        ),
        "parameters": "its size depends on the data"
        if hidden is None
        else Interval.of(elman_parameters(hidden)),
    }
    try:
        cost = estimate_work(work, device).cost
    except CannotEstimateError as error:
        return found | _without_rates(work, str(error))
    return found | {name: _known(quantity) for name, quantity in cost.items()}


def _without_rates(work: "Work", reason: str) -> dict[str, Known]:
    """What a learner's work says of itself where a device has no rates for it."""
    integers: Known = Interval.of(sum(op.total_int_ops for op in work.ops))
    return {
        "flops": Interval.of(sum(op.total_flops for op in work.ops)),
        "int_ops": integers if work.int_ops_uncounted is None else work.int_ops_uncounted,
        "memory_bytes": Interval.of(work.memory_bytes),
        **dict.fromkeys(("seconds", "joules", "dollars"), reason),
    }


def _costs(estimate: object) -> dict[str, Quantity]:
    return {name: getattr(estimate, name) for name in ("seconds", "joules", "dollars")}


def _known(quantity: Quantity) -> Known:
    if quantity.value is None or quantity.low is None or quantity.high is None:
        return quantity.reason or "unknown"
    return Interval(value=quantity.value, low=quantity.low, high=quantity.high)


def _over(amount: float, seconds: Known) -> Known:
    """A rate; fast where the time is short."""
    if isinstance(seconds, str):
        return seconds
    if not seconds.low:
        raise UsageError("a step that may take no time has no rate.")
    return Interval(
        value=amount / seconds.value, low=amount / seconds.high, high=amount / seconds.low
    )
