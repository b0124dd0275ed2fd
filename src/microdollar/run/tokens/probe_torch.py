"""A few real steps of each kind, and what they say about a whole training of a policy.

Steps are those of the training itself, on its texts, in its order; nothing is written. Time goes
by tokens, since batches differ in length.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from microdollar.cost import Quantity
from microdollar.learn.base import Progress, silent
from microdollar.learn.gradient.stepwise_torch import settings
from microdollar.learn.tokens.policy.config import TrainConfig
from microdollar.learn.tokens.policy.joint_torch import JointStage
from microdollar.learn.tokens.policy.material import draw_spans, make_batch
from microdollar.learn.tokens.policy.reading_torch import READ_TOKENS, lost_bits
from microdollar.learn.tokens.policy.stages_torch import ReconstructorStage, Workspace
from microdollar.learn.tokens.policy.supervised_torch import SupervisedStage
from microdollar.learn.tokens.policy.targets_torch import random_masks
from microdollar.learn.tokens.policy.train_torch import prepare
from microdollar.learn.tokens.reconstruct.masks import draw_masks
from microdollar.learn.tokens.reconstruct.masks import random_masks as random_masks_of_rows
from microdollar.learn.tokens.reconstruct.train_infiller_torch import (
    VALIDATED,
    epoch_batches,
    random_bits,
    train_step,
)
from microdollar.learn.tokens.texts import Split
from microdollar.run.probe import step_memory
from microdollar.run.tokens.counts import least_kept

Ints = npt.NDArray[np.int64]
Keep = npt.NDArray[np.bool_]

STEPS, WARM_UP = 10, 2
_NORMAL_80 = 1.2816
"""Half the width of an 80 % interval in standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of step as it was timed."""

    stage: str
    name: str
    steps: tuple[float, ...]
    """Seconds of each timed step."""
    total: Quantity
    """Seconds of all of them in a whole training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensProbe:
    """What a few steps of each kind came to."""

    kinds: tuple[Kind, ...]
    seconds: Quantity
    """The whole training, with an 80 % interval."""
    memory_bytes: Quantity
    """Peak of live tensors: in the largest step of the reconstructor, or where it reads."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return {
            "seconds": self.seconds.to_json(),
            "memory_bytes": self.memory_bytes.to_json(),
            "kinds": [
                {
                    "stage": kind.stage, "name": kind.name, "steps": list(kind.steps),
                    "total_seconds": kind.total.to_json(),
                }
                for kind in self.kinds
            ],
        }  # fmt: skip


def probe_training(
    documents: Split, config: TrainConfig, *, steps: int = STEPS, progress: Progress = silent
) -> TokensProbe:
    """Time ``steps`` steps of each kind and extend them to the whole training.

    Args:
        documents: those of the training.
        config: its settings.
        steps: of each kind, beside 2 to warm up.
        progress: told what is timed.

    Raises:
        UsageError: if the texts or the settings are not usable.
    """
    started = time.perf_counter()
    with settings(config.run.threads, config.run.products):
        work = prepare(documents, config)
        prepared = time.perf_counter() - started
        kinds = [_exact("preparation", "texts to numbers", prepared)]
        kinds_of: list[Callable[[Workspace, int], list[Kind]]] = [_readings, _regression]
        timed = kinds_of if config.supervised.epochs else []
        timed = [*timed, _joint] if config.joint.epochs else timed
        progress(0, len(timed) + 2, "probing")
        found, memory = _reconstructor(work, steps)
        kinds += found
        for done, kind in enumerate([*timed, _validations]):
            progress(done + 1, len(timed) + 2, "probing")
            kinds += kind(work, steps)
        progress(1, 1, "probed")
    return TokensProbe(kinds=tuple(kinds), seconds=_sum(kinds), memory_bytes=memory)


def _reconstructor(work: Workspace, steps: int) -> tuple[list[Kind], Quantity]:
    """Steps of the first epoch's order, ends of epochs, and the memory of the largest step."""
    stage, how = ReconstructorStage(work), work.config.infiller_training
    fitting = stage.fitting
    rng = np.random.default_rng(0)
    batches = list(epoch_batches(fitting.documents, work.reader.config.length, how.batch, rng))
    fitting.network.train()
    place = 0

    def descend(rows: Ints, keep: Keep) -> None:
        train_step(
            fitting.network, fitting.optimizer, torch.from_numpy(rows), torch.from_numpy(keep),
            learning_rate=how.learning_rate / 100, clip=how.clip,
        )  # fmt: skip

    def step() -> int:
        nonlocal place
        rows = batches[place % len(batches)]
        place += 1
        descend(rows, draw_masks(rows, fitting.counts, rng))
        return rows.size

    def end_of_epoch() -> int:
        if fitting.validation:
            random_bits(fitting.network, fitting.validation, VALIDATED)
        fitting.best = {n: p.detach().clone() for n, p in fitting.network.named_parameters()}
        return 1

    size = sum(rows.size for rows in batches)
    kinds = [
        _kind("reconstructor", "steps", step, steps, how.epochs * size),
        _kind("reconstructor", "ends of epochs", end_of_epoch, 2, how.epochs),
    ]
    largest = max(batches, key=np.size)
    keep = random_masks_of_rows(largest, least_kept(work.config, sum(work.sizes)), rng)
    learning = step_memory(lambda: descend(largest, keep))
    stage.finish()
    reading = step_memory(_reader(work))
    return kinds, max((learning, reading), key=lambda each: each.value or 0)


def _reader(work: Workspace) -> Callable[[], int]:
    """Reads the next of the training documents at masks by chance; says how many tokens."""
    length = work.reader.config.length
    rows, rng = max(READ_TOKENS // length, 1), np.random.default_rng(0)
    spans = draw_spans(work.sizes, length, rng)
    place = 0
    work.reader.eval()

    def read() -> int:
        nonlocal place
        some = [spans[(place + i) % len(spans)] for i in range(rows)]
        place += rows
        batch = make_batch(work.train, some, length)
        keep, _ = random_masks(batch, rng)
        numbers, spelled = torch.from_numpy(batch.numbers), torch.from_numpy(batch.spelled_bits)
        lost_bits(work.reader, numbers, spelled, torch.from_numpy(keep), length)
        return int(batch.present.sum())

    return read


def _readings(work: Workspace, steps: int) -> list[Kind]:
    options = work.config.supervised
    times = (options.readings + options.policy_readings) * (2 if options.spacing else 1)
    return [_kind("supervised", "readings", _reader(work), steps, times * sum(work.sizes))]


def _regression(work: Workspace, steps: int) -> list[Kind]:
    stage = SupervisedStage(work, again=False)
    stage.readings, per_pass = 0, stage.per_pass
    options = work.config.supervised
    rounds = 2 if options.policy_readings else 1

    def step() -> int:
        stage.step()
        return 1

    total = rounds * options.epochs * per_pass
    return [_kind("supervised", "regression", step, steps, total)]


def _joint(work: Workspace, steps: int) -> list[Kind]:
    stage = JointStage(work)
    stage.curve = [(0, 0.0)]  # its first step would validate, which is timed apart
    total = stage.total

    def step() -> int:
        stage.step()
        return 1

    return [_kind("joint", "steps", step, steps, total)]


def _validations(work: Workspace, steps: int) -> list[Kind]:
    config = work.config
    supervised, joint = config.supervised, config.joint
    rounds = (2 if supervised.policy_readings else 1) if supervised.epochs else 0
    weights = len(supervised.influence) if supervised.spacing else 1
    times = rounds * weights + (joint.validations + 1 if joint.epochs else 0)

    def step() -> int:
        work.validate(work.network)
        return 1

    return [_kind("joint", "validations", step, 1, times)]


def _kind(stage: str, name: str, step: Callable[[], int], steps: int, total: float) -> Kind:
    """Time some steps, each of which says how much it did of a ``total``."""
    sizes: list[int] = []
    for _ in range(WARM_UP if steps > 1 else 0):
        step()

    def sized() -> None:
        sizes.append(step())

    return _extended(stage, name, _taken(sized, steps), sizes, total)


def _taken(step: Callable[[], object], steps: int) -> list[float]:
    taken = []
    for _ in range(steps):
        started = time.perf_counter()
        step()
        taken.append(time.perf_counter() - started)
    return taken


def _extended(
    stage: str, name: str, taken: Sequence[float], sizes: Sequence[int], total: float
) -> Kind:
    """Seconds for a size, as a ratio of sums, times the total; its error by the delta method."""
    rate = sum(taken) / sum(sizes)
    half = 0.0
    if len(taken) > 1:
        left = [seconds - rate * size for seconds, size in zip(taken, sizes, strict=True)]
        half = _NORMAL_80 * stdev(left) / sqrt(len(taken)) / fmean(sizes)
    value = rate * total
    return Kind(
        stage=stage, name=name, steps=tuple(taken),
        total=Quantity(
            value=value, low=max(value - half * total, 0.0), high=value + half * total,
            basis="calibrated",
        ),
    )  # fmt: skip


def _exact(stage: str, name: str, seconds: float) -> Kind:
    return Kind(
        stage=stage, name=name, steps=(seconds,),
        total=Quantity(value=seconds, low=seconds, high=seconds, basis="clock"),
    )  # fmt: skip


def _sum(kinds: Sequence[Kind]) -> Quantity:
    """Sums; the errors of the kinds are independent."""
    value = sum(kind.total.value or 0.0 for kind in kinds)
    half = sqrt(sum(((kind.total.high or 0.0) - (kind.total.value or 0.0)) ** 2 for kind in kinds))
    return Quantity(
        value=value, low=max(value - half, 0.0), high=value + half, basis="calibrated",
        reason="later steps are like these; checkpoints are not in it",
    )  # fmt: skip
