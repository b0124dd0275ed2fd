"""A training plan priced: operations, memory, time, energy, dollars, carbon, each an interval."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from microdollar.cost import Quantity, per_second, weakest
from microdollar.estimator.calibrate import Factor
from microdollar.estimator.carbon import carbon_grams
from microdollar.estimator.energy import EnergyEstimate, run_joules
from microdollar.estimator.limits.landauer import LandauerLine, landauer
from microdollar.estimator.memory import MemoryFit, training_memory
from microdollar.estimator.model_flops import count_flops, count_step_flops
from microdollar.estimator.money import run_dollars
from microdollar.estimator.parts import Assumption, FlopCount, MemoryEstimate, Part, StepEstimate
from microdollar.estimator.run_time import RunTime, run_time
from microdollar.estimator.step import StepFit, predict_step
from microdollar.spec.device import DeviceSpec
from microdollar.spec.parameters import count_parameters
from microdollar.spec.training import OtherModel, TrainingPlan

CONVENTIONS = {
    "6N": "six_n",
    "6N+attention": "full_attention",
    "causal": "causal_attention",
    "hardware": "hardware",
}
"""Name in the output, and the field of ``FlopCount`` and ``StepFlops``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEstimate:
    """What a training plan costs; of the whole run, or of one step if no tokens are given."""

    plan: TrainingPlan
    device: DeviceSpec
    covers: Literal["run", "step"]
    parameters: int
    """Of all models of the plan."""
    flops_per_token: FlopCount
    """Of the plan's first model."""
    flops: dict[str, Quantity]
    """Of all devices, by convention; products only."""
    int_ops: Quantity
    memory: MemoryEstimate
    step: StepEstimate
    run: RunTime | None
    """How the steps become a run; None if one step is covered."""
    energy: EnergyEstimate
    dollars: Quantity
    carbon_grams: Quantity
    landauer: LandauerLine
    """How far this is from the least energy that physics allows."""
    assumptions: tuple[Assumption, ...]

    @property
    def seconds(self) -> Quantity:
        """Wall time of what is covered."""
        return self.step.seconds if self.run is None else self.run.wall

    @property
    def tokens_per_second(self) -> Quantity:
        """Training tokens of all devices over the time of a step."""
        return per_second(self.plan.step_tokens, self.step.seconds)

    @property
    def joules(self) -> Quantity:
        """Of the facility: devices, their hosts, and the overhead of the building."""
        return self.energy.facility

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary in base units."""
        memory = self.memory
        run = () if self.run is None else self.run.parts
        return {
            "model": self.plan.model.name,
            "device": self.device.name,
            "devices": self.plan.layout.devices,
            "covers": self.covers,
            "parameters": self.parameters,
            "active_parameters": self.flops_per_token.active_parameters,
            "flops": {name: quantity.to_json() for name, quantity in self.flops.items()},
            "int_ops": self.int_ops.to_json(),
            "memory_bytes": {
                "allocated": memory.allocated.to_json(),
                "reserved": memory.reserved.to_json(),
                "process": memory.process.to_json(),
                "breakdown": [asdict(part) for part in memory.breakdown],
                "fits": memory.fits,
            },
            "step_seconds": self.step.seconds.to_json(),
            "tokens_per_second": self.tokens_per_second.to_json(),
            "step_breakdown": [asdict(part) for part in self.step.parts],
            "seconds": self.seconds.to_json(),
            "seconds_breakdown": [
                {**asdict(part), "seconds": part.seconds.to_json()} for part in run
            ],
            "joules": self.joules.to_json(),
            "joules_breakdown": [asdict(part) for part in self.energy.parts],
            "dollars": self.dollars.to_json(),
            "carbon_grams": self.carbon_grams.to_json(),
            "landauer": {
                "joules_per_bit": self.landauer.joules_per_bit,
                "limit_joules": self.landauer.limit_joules.to_json(),
                "ratio": self.landauer.ratio.to_json(),
                "convention": self.landauer.convention,
            },
            "unknown_operators": list(self.flops_per_token.unknown),
            "assumptions": [asdict(assumption) for assumption in self.assumptions],
        }

    def _repr_html_(self) -> str:
        from microdollar.estimator.html import training_table

        return training_table(self)


def estimate_training(
    plan: TrainingPlan,
    device: DeviceSpec,
    *,
    step_fit: StepFit | None = None,
    memory_fit: MemoryFit | None = None,
    step_factor: Factor | None = None,
) -> TrainingEstimate:
    """What ``plan`` costs on ``device``.

    Args:
        plan: the model, how it is trained and the layout.
        device: one of the plan's devices: calibrated (rates) or looked up.
        step_fit: coefficients of the time model; those that ship with the package if None.
        memory_fit: the same of the memory model.
        step_factor: what the time of a step is multiplied by, as past steps say.

    Raises:
        CannotEstimateError: if a rate that the plan needs is not known for the device.
        SpecError: if the layout can't be.
    """
    counts = count_flops(plan.model, plan.train)
    models = (plan.model, *(other.model for other in plan.others))
    step = step_estimate(plan, device, step_fit)
    if step_factor is not None:
        step = corrected_step(step, step_factor)
    steps = plan.steps
    run = None if steps is None else run_time(plan, step.seconds)
    wall = step.seconds if run is None else run.wall
    device_seconds = wall.times(_exactly(plan.layout.devices))
    energy = run_joules(device, device_seconds, pue=plan.pue)
    step_flops = count_step_flops(plan)
    flops = {
        name: _exactly(getattr(step_flops, field) * (steps or 1))
        for name, field in CONVENTIONS.items()
    }
    return TrainingEstimate(
        plan=plan,
        device=device,
        covers="step" if run is None else "run",
        parameters=sum(count_parameters(model).total for model in models),
        flops_per_token=counts,
        flops=flops,
        int_ops=Quantity.missing("index arithmetic of kernels is not counted"),
        memory=training_memory(plan, device, memory_fit),
        step=step,
        run=run,
        energy=energy,
        dollars=run_dollars(device, device_seconds),
        carbon_grams=carbon_grams(energy.facility, plan.region),
        landauer=landauer(flops["hardware"], energy.facility),
        assumptions=tuple(_assumptions(plan, device, step)),
    )


def corrected_step(step: StepEstimate, factor: Factor) -> StepEstimate:
    """A step's time and its parts times a factor, whose interval takes the place of its own."""
    value = step.seconds.value
    assert value is not None
    return replace(
        step,
        seconds=Quantity(
            value=value * factor.value,
            low=value * factor.low,
            high=value * factor.high,
            basis="calibrated",
        ),
        parts=tuple(replace(part, value=part.value * factor.value) for part in step.parts),
        basis=f"{step.basis}; times {factor.value:.3g} as {factor.rows} past steps say",
    )


def _exactly(value: float) -> Quantity:
    return Quantity(value=float(value), basis="formula")


def step_estimate(
    plan: TrainingPlan, device: DeviceSpec, fit: StepFit | None = None
) -> StepEstimate:
    """One optimizer step of every model of the plan, one after the other.

    On a calibrated machine it is the sum over the step's operations at the rates measured there,
    elsewhere the model of measured steps.

    Raises:
        CannotEstimateError: if a rate that the plan needs is not known for the device.
    """
    first = _one_model(replace(plan, others=()), device, fit)
    if not plan.others:
        return first
    seconds = first.seconds
    parts = [replace(part, name=f"{plan.model.name}: {part.name}") for part in first.parts]
    for other in plan.others:
        alone = replace(plan, model=other.model, others=())
        share = _exactly(_share(other))
        step = _one_model(alone, device, fit)
        seconds = _sum(seconds, step.seconds.times(share))
        parts += [
            replace(part, name=f"{other.model.name}: {part.name}", value=part.value * _share(other))
            for part in step.parts
        ]
    return replace(first, seconds=seconds, parts=tuple(parts))


def _share(other: OtherModel) -> float:
    """Time of a second model, in units of its own training step: a forward pass is a third."""
    return other.passes * (1.0 if other.trains else 1 / 3)


def _one_model(plan: TrainingPlan, device: DeviceSpec, fit: StepFit | None) -> StepEstimate:
    if device.rates is None:
        return predict_step(plan, device, fit)
    from microdollar.estimator.compose import estimate_work
    from microdollar.estimator.model_work import step_work

    estimate = estimate_work(step_work(plan, threads=device.cores or 1), device)
    return StepEstimate(
        seconds=estimate.cost.seconds,
        parts=tuple(Part(name=line.name, value=line.seconds) for line in estimate.lines),
        basis="operations of the step at the rates measured on this machine",
    )


def _sum(left: Quantity, right: Quantity) -> Quantity:
    """Two parts of one step: what makes one slow makes the other, so intervals add."""
    assert left.value is not None and left.low is not None and left.high is not None
    assert right.value is not None and right.low is not None and right.high is not None
    return Quantity(
        value=left.value + right.value,
        low=left.low + right.low,
        high=left.high + right.high,
        basis=weakest(left.basis, right.basis),
    )


def _assumptions(
    plan: TrainingPlan, device: DeviceSpec, step: StepEstimate
) -> Iterator[Assumption]:
    yield Assumption(key="device", value=device.name, source=device.source)
    yield Assumption(key="time of a step", value=step.basis)
    for part in step.assumptions:
        yield Assumption(key=part.name, value=part.value, unit=part.formula, source=part.source)
    yield Assumption(key="power of the facility over its computers", value=plan.pue, source="plan")
    yield Assumption(
        key="power grid", value=plan.region or "world average", source="location-based"
    )
    price = device.dollars_per_hour
    if price.value is None:
        yield Assumption(key="price", value="unknown", source=price.reason or "")
    else:
        yield Assumption(
            key="price", value=price.value, unit="$/h", source=device.price_source or device.source
        )
    if plan.model.source:
        yield Assumption(key="model", value=plan.model.name, source=plan.model.source)
    if device.notes:
        yield Assumption(key="note on the device", value=device.notes)
