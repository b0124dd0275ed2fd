"""What training a policy with its reconstructor will cost, told before it runs.

Every kind of step is traced on tensors without memory, as any module is, and counted as often as
the settings and the texts say. Not modelled: what is done in numpy between the steps (masks,
batches), checkpoints, how masks that a policy draws differ from random ones, and that products may
round their factors to bfloat16, which takes about as long as it saves: a reading of 4,096 tokens
took 0.616 s of a core with it and 0.645 without.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from microdollar.errors import MissingExtraError
from microdollar.estimator.compose import Estimate, estimate_work
from microdollar.estimator.seconds import op_seconds
from microdollar.run.tokens.counts import Company, Texts, Unit, least_kept, units
from microdollar.work.ops import Buffer, Op, Work

if TYPE_CHECKING:
    from microdollar.estimator.calibrate import Correction
    from microdollar.estimator.trace import StepTrace
    from microdollar.learn.tokens.policy.config import TrainConfig
    from microdollar.spec import DeviceSpec

CALLS_PER_TOKEN = 14
"""Of Python to read, cut, number and describe a token: 8.1 microseconds of a core where a call of
numpy took 0.6 (measured once, on 181,000 tokens of Wikipedia)."""
STAGES = ("preparation", "reconstructor", "supervised", "joint")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCost:
    """A predicted cost with what each stage contributes."""

    estimate: Estimate
    work: Work = field(repr=False)
    """All that is done, and what is held where most is."""
    stages: dict[str, float]
    """Seconds of each stage, without what past runs taught; those of all add up to the whole."""

    def corrected(self, device: "DeviceSpec", correction: "Correction") -> "TrainingCost":
        """The same with what past runs taught."""
        return replace(self, estimate=estimate_work(self.work, device, correction=correction))

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary: that of the estimate, and ``stages_seconds``."""
        return self.estimate.to_json() | {"stages_seconds": self.stages}


def estimate_training(
    config: "TrainConfig",
    texts: Texts,
    device: "DeviceSpec",
) -> TrainingCost:
    """Operations, memory, seconds, joules and dollars of a whole training.

    Args:
        config: all settings.
        texts: sizes of the documents.
        device: where it runs.

    Raises:
        CannotEstimateError: if a rate that it needs is not known.
        MissingExtraError: if torch is not installed.
    """
    works = stage_works(config, texts)
    whole = Work(
        ops=tuple(op for work in works.values() for op in work.ops),
        buffers=max((work.buffers for work in works.values()), key=_bytes),
        int_ops_uncounted="integer arithmetic of torch's operators is not counted",
    )
    return TrainingCost(
        estimate=estimate_work(whole, device),
        work=whole,
        stages={
            stage: sum(op_seconds(op, device).value for op in work.ops)
            for stage, work in works.items()
        },
    )


def stage_works(config: "TrainConfig", texts: Texts) -> dict[str, Work]:
    """What each stage does and holds, by its name, in order.

    Raises:
        MissingExtraError: if torch is not installed.
    """
    company = texts.company
    sizes = replace(config.infiller, vocabulary=company.vocabulary, classes=company.classes)
    config = replace(config, infiller=sizes)
    traced = _tracer(config, company)
    ops: dict[str, list[Op]] = {}
    most: dict[str, tuple[Buffer, ...]] = {}
    for unit in units(config, texts):
        here = ops.setdefault(unit.stage, [])
        if unit.kind == "prepare":
            here.append(_preparation(unit.times))
            continue
        kind = "play" if unit.kind == "descend" else unit.kind
        here += _repeated(traced(kind, unit.kept).work.ops, unit)
        kept = least_kept(config, sum(texts.train)) if kind == "fit" else unit.kept
        buffers = (*traced(kind, kept).work.buffers, *_copies(config, unit.stage))
        most[unit.stage] = max(most.get(unit.stage, ()), buffers, key=_bytes)
    return {stage: Work(ops=tuple(ops[stage]), buffers=most.get(stage, ())) for stage in ops}


def _preparation(tokens: float) -> Op:
    return Op(
        name="texts to numbers", kind="elementwise", runtime="numpy",
        repeats=round(tokens), calls=CALLS_PER_TOKEN,
    )  # fmt: skip


def _repeated(ops: Iterable[Op], unit: Unit) -> list[Op]:
    """A step's operators as often as the unit says, the optimizer's as often as it is called."""
    found = []
    for op in ops:
        optimizer = op.name.startswith("optimizer")
        if (unit.kind == "play" and optimizer) or (unit.kind == "descend" and not optimizer):
            continue
        times = unit.updates if optimizer and unit.updates is not None else unit.times
        repeats = round(op.repeats * times)
        if repeats:
            found.append(replace(op, repeats=repeats))
    return found


def _tracer(config: "TrainConfig", company: Company) -> Callable[[str, float], "StepTrace"]:
    """Traces a kind of step, each once."""
    from microdollar.estimator.trace import trace_step

    try:
        from microdollar.run.tokens import units_torch
    except ImportError as error:
        raise MissingExtraError("torch", "tokens", "what training a policy costs") from error

    threads = config.run.threads

    @cache
    def traced(kind: str, kept: float) -> "StepTrace":
        if kind == "read":
            module, inputs = units_torch.reading(config, company, kept)
            return trace_step(module, inputs, threads=threads)
        module, inputs, optimizer = {
            "fit": lambda: units_torch.fitting(config, company, kept),
            "regress": lambda: units_torch.regressing(config),
            "play": lambda: units_torch.playing(config),
        }[kind]()
        return trace_step(
            module, inputs, loss=units_torch.itself, optimizer=optimizer, threads=threads
        )

    return traced


def _copies(config: "TrainConfig", stage: str) -> tuple[Buffer, ...]:
    """Weights that lie beside those of the step: what a stage began with, and the best so far."""
    size = 4 * config.infiller.parameters
    kept = (Buffer(name="reconstructor as it was before the stage", bytes=size),)
    if stage == "reconstructor":
        return (*kept, Buffer(name="reconstructor of the best epoch", bytes=size))
    return kept


def _bytes(buffers: tuple[Buffer, ...]) -> int:
    return sum(buffer.bytes for buffer in buffers)
