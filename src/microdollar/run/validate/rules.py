"""The field's usual rules on the same rows: what one gets without fitting anything.

Time is 6 N D operations at 40 % of the dense peak; memory is 16 bytes of model states a
parameter and textbook activations. (That of energy, hours at the listed power, is in
``microdollar.run.validate.energy``.)
"""

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError
from microdollar.run.validate.convert import peak_flops_per_second
from microdollar.run.validate.metrics import OUTCOME, family_of
from microdollar.spec.device import DeviceSpec
from microdollar.spec.runs import Run
from microdollar.spec.training import TrainingPlan

MFU = 0.40
"""The share of the peak that is assumed where nobody measured."""
CONTEXT_BYTES = 1.5 * 2**30
"""Of CUDA and NCCL beside the tensors."""
_WEIGHT, _GRADIENT, _OPTIMIZER = 2, 2, 12
"""Bytes a parameter in mixed precision with Adam (ZeRO, arXiv:1910.02054, section 3.1)."""


def usual_rule(run: Run, device: DeviceSpec, parameters: float, tokens: float | None) -> Quantity:
    """What the usual rule says about a row.

    Args:
        run: the row.
        device: that it ran on.
        parameters: that a token meets.
        tokens: of the whole run, where it is one.

    Returns:
        Missing where the rule has no answer; the interval is the value itself.
    """
    try:
        value = _value(run, device, parameters, tokens)
    except CannotEstimateError as error:
        return Quantity.missing(str(error))
    return Quantity(value=value, basis="assumed", reason="the usual rule")


def textbook_memory(plan: TrainingPlan, parameters: float) -> float:
    """Bytes of the fullest device: model states, activations, logits and context.

    States are 2 + 2 + 12 bytes a parameter over tp x pp, sharded as ZeRO says; activations are
    those of Korthikanti et al. 2022 (arXiv:2205.05198, table 2); logits take 6 bytes a number.
    """
    train, layout, model = plan.train, plan.layout, plan.model
    share = parameters / (layout.tp * layout.pp)
    shards = [layout.dp if layout.zero >= stage else 1 for stage in (3, 2, 1)]
    gradient = train.gradient_bytes or _GRADIENT
    states = share * (_WEIGHT / shards[0] + gradient / shards[1] + _OPTIMIZER / shards[2])
    hidden = train.micro_batch * train.sequence / layout.cp * model.hidden
    heads = max(
        (getattr(mixer, "heads", 1) for block in model.blocks for mixer in block.mixers), default=1
    )
    scores = 5 * heads * train.sequence / model.hidden if train.attention == "naive" else 0.0
    split = layout.tp if layout.sequence_parallel else 1
    layer = hidden * (10 / split + (24 + scores) / layout.tp)
    alive = min(layout.pp, plan.micro_steps) * model.layers / layout.pp
    if train.recompute == "full":
        activations = 2 * hidden * alive / split + layer
    elif train.recompute == "selective":
        activations = hidden * (10 / split + 24 / layout.tp) * alive
    else:
        activations = layer * alive
    logits = 6 * hidden / model.hidden * model.vocab / layout.tp
    return float(states + activations + logits + CONTEXT_BYTES)


def _value(run: Run, device: DeviceSpec, parameters: float, tokens: float | None) -> float:
    family = family_of(run.metric)
    plan = run.plan
    if family == "memory":
        if plan is None:
            raise CannotEstimateError(run.plan_missing or "no plan")
        return _memory(run, plan, device, parameters)
    precision = run.precision or (plan.train.precision if plan else "bfloat16")
    peak = peak_flops_per_second(device, precision)
    peak = peak or peak_flops_per_second(device, "bfloat16")
    if peak is None:
        raise CannotEstimateError(f"the catalog has no peak of {device.name}")
    rate = MFU * peak
    if family == "step":
        if plan is None:
            raise CannotEstimateError(run.plan_missing or "no plan")
        return _step(run.metric, plan, parameters, rate)
    return _whole_run(run, parameters, tokens, rate)


def _step(metric: str, plan: TrainingPlan, parameters: float, rate: float) -> float:
    again = 8 / 6 if plan.train.recompute == "full" else 1.0
    if metric == "throughput":
        return rate / (6 * parameters)
    if metric in ("mfu", "hfu"):
        return MFU * (again if metric == "hfu" else 1)
    if metric in ("model_tflops", "hardware_tflops"):
        return rate * (again if metric == "hardware_tflops" else 1)
    return 6 * parameters * plan.step_tokens / (rate * plan.layout.devices)


def _memory(run: Run, plan: TrainingPlan, device: DeviceSpec, parameters: float) -> float:
    total = textbook_memory(plan, parameters)
    if run.metric == OUTCOME:
        if device.memory_bytes.value is None:
            raise CannotEstimateError(f"the catalog has no memory of {device.name}")
        return float(total > device.memory_bytes.value)
    if run.metric in ("memory_activations", "memory_params_optimizer"):
        raise CannotEstimateError("a part of the sum")
    return total


def _whole_run(run: Run, parameters: float, tokens: float | None, rate: float) -> float:
    if tokens is None:
        raise CannotEstimateError("no tokens in the row")
    seconds = 6 * parameters * tokens / rate
    if run.metric not in ("wall_time", "train_time"):
        return seconds
    if run.devices is None:
        raise CannotEstimateError("no device count in the row")
    return seconds / run.devices
