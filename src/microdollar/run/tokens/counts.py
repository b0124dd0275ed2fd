"""How often each kind of step of a training runs: a function of its settings and its texts."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

from microdollar.learn.tokens.policy.material import steps_in_pass
from microdollar.learn.tokens.reconstruct.masks import RATIOS

if TYPE_CHECKING:
    from microdollar.learn.tokens.policy.config import TrainConfig

READ_TOKENS = 4096
"""Tokens that are read at once."""
KEPT_IN_TRAINING = sum(RATIOS) / 2
"""Mean part that the reconstructor's masks keep: each row draws a ratio, all alike likely."""
KEPT_AT_RANDOM = 0.5
"""Mean part that masks by chance keep: ratios are uniform from 0.2 to 0.8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """What a reconstructor counts: pieces beside others."""

    pairs: int
    """Different ones, each at a distance."""
    of_a_token: float
    """Different pieces that were counted at a distance of a token's piece, mean over tokens."""
    vocabulary: int
    """Numbers of pieces: fewer than asked for if the texts have fewer."""
    classes: int
    """Of pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What of the texts matters to the cost."""

    train: tuple[int, ...]
    """Tokens of each training document."""
    validation: tuple[int, ...]
    """Tokens of each validation document."""
    company: Company


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One kind of step and how often it runs."""

    stage: str
    """Of the training: ``preparation``, ``reconstructor``, ``supervised``, ``joint``."""
    kind: str
    """``prepare``, ``fit`` (a step of the reconstructor), ``read`` (it reads chunks), ``regress``
    (a step of the regression), ``play`` (a micro-batch of the policy), ``descend`` (what a step
    of the policy does once)."""
    times: float
    """In full ones: of all rows, each as long as rows can be."""
    kept: float = 0.5
    """Part of the tokens that masks keep, where something is read."""
    updates: int | None = None
    """Steps of the optimizer, where that is another number than ``times``."""


def units(config: "TrainConfig", texts: Texts) -> list[Unit]:
    """Everything that a training does, in order.

    Args:
        config: all settings.
        texts: sizes of the documents.
    """
    tokens, checked = sum(texts.train), sum(texts.validation)
    length, chunk = config.run.length, config.infiller.length
    per_reading = 1 / READ_TOKENS
    found = [Unit(stage="preparation", kind="prepare", times=tokens + checked)]

    how = config.infiller_training
    # Documents are cut at a place that is drawn: (n - 1) / chunk + 1 pieces on average.
    pieces = sum((n - 1) / chunk + 1 for n in texts.train)
    found += [
        Unit(
            stage="reconstructor", kind="fit", kept=KEPT_IN_TRAINING,
            times=how.epochs * tokens / (how.batch * chunk),
            updates=how.epochs * max(round(pieces / how.batch), 1),
        ),
        Unit(stage="reconstructor", kind="read", times=how.epochs * checked * per_reading),
    ]  # fmt: skip

    joint = config.joint
    validation = [
        Unit(stage="", kind="read", times=checked * per_reading, kept=ratio)
        for ratio in joint.ratios
    ]

    def validations(stage: str, times: int) -> list[Unit]:
        return [
            Unit(stage=stage, kind="read", times=times * each.times, kept=each.kept)
            for each in validation
        ]

    supervised = config.supervised
    if supervised.epochs:
        rounds = [(supervised.readings, KEPT_AT_RANDOM)]
        if supervised.policy_readings:
            mean = sum(joint.ratios) / len(joint.ratios)
            rounds.append((supervised.policy_readings, mean))
        for readings, kept in rounds:
            twice = 2 if supervised.spacing else 1
            found += [
                Unit(
                    stage="supervised", kind="read", kept=kept,
                    times=readings * twice * tokens * per_reading,
                ),
                Unit(
                    stage="supervised", kind="regress",
                    times=supervised.epochs * tokens / (supervised.batch * length),
                    updates=supervised.epochs
                    * steps_in_pass(list(texts.train), length, supervised.batch),
                ),
            ]  # fmt: skip
            weights = len(supervised.influence) if supervised.spacing else 1
            found += validations("supervised", weights)
    if joint.epochs:
        batch = joint.micro_batch * joint.accumulation
        steps = joint.epochs * steps_in_pass(list(texts.train), length, batch)
        plays = joint.epochs * tokens / (joint.micro_batch * length)
        reads = joint.samples + (joint.baseline == "self-critical")
        found += [
            Unit(stage="joint", kind="play", times=plays),
            Unit(stage="joint", kind="descend", times=steps),
        ]
        found += [
            Unit(
                stage="joint", kind="read", kept=ratio,
                times=joint.epochs * reads * tokens * per_reading / len(joint.ratios),
            )
            for ratio in joint.ratios
        ]  # fmt: skip
        if joint.reconstructor_every:
            turns = steps // joint.reconstructor_every
            share = joint.micro_batch * length / (how.batch * chunk)
            found.append(
                Unit(
                    stage="joint", kind="fit", kept=KEPT_IN_TRAINING,
                    times=turns * share * min(plays / max(steps * joint.accumulation, 1), 1),
                    updates=turns,
                )
            )  # fmt: skip
        found += validations("joint", joint.validations + 1)
    return found


def least_kept(config: "TrainConfig", tokens: int) -> float:
    """Part that is kept in the step of the reconstructor that drops most, and so needs most.

    The ratio of a batch is the mean of those of its rows; of all steps the lowest is where one
    of them is expected below (a normal distribution is taken).

    Args:
        config: all settings.
        tokens: of all training documents.
    """
    how = config.infiller_training
    low, high = RATIOS
    steps = how.epochs * tokens / (how.batch * config.infiller.length)
    deviation = (high - low) / sqrt(12 * how.batch)
    return max(low, KEPT_IN_TRAINING + deviation * NormalDist().inv_cdf(1 / max(steps, 2)))
