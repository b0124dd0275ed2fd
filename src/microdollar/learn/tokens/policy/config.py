"""One file with all settings of a training: TOML, every name checked."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from microdollar.errors import SpecError, UnknownNameError
from microdollar.learn.tokens.policy.network import PolicyConfig
from microdollar.learn.tokens.reconstruct.infiller import InfillerConfig, InfillerTraining
from microdollar.learn.tokens.vocabulary import SPECIAL

OPTIMIZERS = ("adamw", "collins")
BASELINES = ("leave-one-out", "self-critical")
MINIMUM_SAMPLES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What all stages share."""

    seed: int = 0
    threads: int = 2
    """Of torch."""
    products: str = "bfloat16"
    """As of ``InfillerTraining``."""
    vocabulary: int = 8192
    """Numbers, with the special ones."""
    tokenizer: str = "words"
    min_tokens: int = 100
    """Shorter documents are left out."""
    length: int = 1024
    """Most tokens of a sequence."""
    checkpoint_steps: int = 50
    """Steps of the supervised and joint stages from one checkpoint to the next."""

    def __post_init__(self) -> None:
        _at_least(self, 1, "threads", "min_tokens", "length", "checkpoint_steps")
        _at_least(self, 0, "seed")
        _at_least(self, SPECIAL + 1, "vocabulary")
        if self.products not in ("float32", "bfloat16"):
            raise UnknownNameError("products", self.products, ("float32", "bfloat16"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisedOptions:
    """Regression on what dropping tokens costs."""

    readings: int = 3
    """Of all documents, at masks by chance."""
    policy_readings: int = 3
    """Of all documents once more, at masks that the policy then draws, and a second regression on
    what they cost; 0 for none."""
    spacing: int = 16
    """Tokens from one whose influence is measured to the next; 0 to measure none."""
    influence: tuple[float, ...] = (0.0, 1.0, 1.5)
    """Weights of the influence that are tried on validation documents."""
    epochs: int = 6
    """Passes of each regression; 0 to start from chance."""
    batch: int = 4
    """Sequences a step."""
    learning_rate: float = 2e-3
    """Peak."""
    weight_decay: float = 0.1
    dropout: float = 0.2
    optimizer: str = "adamw"

    def __post_init__(self) -> None:
        _at_least(self, 0, "readings", "policy_readings", "spacing", "epochs")
        _at_least(self, 1, "batch")
        _check_optimizer(self.learning_rate, self.weight_decay, self.dropout, self.optimizer)
        if not self.influence or not all(math.isfinite(weight) for weight in self.influence):
            raise SpecError("influence must list at least one finite weight, e.g. [0.0, 1.0].")
        if self.epochs and not self.readings:
            raise SpecError("readings must be at least 1 where epochs are, got 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class JointOptions:
    """Policy and reconstructor in turn."""

    epochs: int = 2
    """Passes over the documents; 0 for no joint training."""
    micro_batch: int = 2
    """Sequences whose gradients are computed at once."""
    accumulation: int = 2
    """Micro-batches of a step."""
    samples: int = 4
    """Actions that are drawn for each sequence, K."""
    ratios: tuple[float, ...] = (0.3, 0.5, 0.7)
    """Parts to keep; each step draws one."""
    baseline: str = "leave-one-out"
    window: int = 8
    """Tokens on either side whose bits count for an action; negative for the whole sequence."""
    temperature: float = 0.25
    """Of the scores, whose unit is 8 bits after the supervised stage."""
    entropy_bonus: float = 0.0
    """Bits for each nat of a token's entropy."""
    learning_rate: float = 3e-4
    """Peak, of the policy."""
    weight_decay: float = 0.0
    clip: float = 1.0
    """Largest norm of the policy's gradient."""
    optimizer: str = "adamw"
    reconstructor_every: int = 2
    """Policy steps to a step of the reconstructor; 0 to leave it as it is."""
    reconstructor_learning_rate: float = 1e-4
    reconstructor_optimizer: str = "adamw"
    validations: int = 3
    """Times that the policy is compared on validation documents; the best is kept."""

    def __post_init__(self) -> None:
        _at_least(self, 0, "epochs", "reconstructor_every")
        _at_least(self, 1, "micro_batch", "accumulation", "validations")
        _at_least(self, MINIMUM_SAMPLES if self.baseline == BASELINES[0] else 1, "samples")
        _check_optimizer(self.learning_rate, self.weight_decay, 0.0, self.optimizer)
        _check_optimizer(self.reconstructor_learning_rate, 0.0, 0.0, self.reconstructor_optimizer)
        if self.baseline not in BASELINES:
            raise UnknownNameError("baseline", self.baseline, BASELINES)
        if not self.ratios or not all(0 < ratio < 1 for ratio in self.ratios):
            raise SpecError(f"ratios are {self.ratios}. List numbers above 0 and below 1.")
        if not (0 < self.temperature < math.inf and 0 < self.clip < math.inf):
            raise SpecError("temperature and clip must be above 0.")
        if not 0 <= self.entropy_bonus < math.inf:
            raise SpecError(f"entropy_bonus must be 0 or more, got {self.entropy_bonus}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """All of it; each field is a table of the file, and each has defaults."""

    run: RunOptions = field(default_factory=RunOptions)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    infiller: InfillerConfig = field(default_factory=lambda: InfillerConfig(vocabulary=8192))
    """Its ``vocabulary`` is that of ``run``, and not in the file."""
    infiller_training: InfillerTraining = field(default_factory=InfillerTraining)
    """Its ``seed``, ``threads`` and ``products`` are those of ``run``."""
    supervised: SupervisedOptions = field(default_factory=SupervisedOptions)
    joint: JointOptions = field(default_factory=JointOptions)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


_FROM_RUN = {
    "infiller": ("vocabulary",),
    "infiller_training": ("seed", "threads", "products"),
}


def read_config(path: Path) -> TrainConfig:
    """The settings of a file.

    Raises:
        SpecError: if it can't be read, is no TOML, or has a name or value that is not accepted.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} can't be read: {error}. Name a TOML file.") from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is no TOML: {error}.") from error
    return parse_config(tables)


def parse_config(tables: Mapping[str, Any]) -> TrainConfig:
    """Settings from tables; what is not given has its default.

    Raises:
        SpecError: naming what is not accepted and what is.
    """
    kinds = get_type_hints(TrainConfig)
    _refuse_unknown("the file", tables, kinds)
    given = {name: _checked(name, tables.get(name, {}), kind) for name, kind in kinds.items()}
    run = RunOptions(**given["run"])
    given["infiller"]["vocabulary"] = run.vocabulary
    given["infiller_training"] |= {
        "seed": run.seed, "threads": run.threads, "products": run.products,
    }  # fmt: skip
    return TrainConfig(**{name: kind(**given[name]) for name, kind in kinds.items()})


def _checked(table: str, values: object, kind: type[Any]) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise SpecError(f"{table} must be a table: [{table}].")
    hints = get_type_hints(kind)
    left = {
        each.name: hints[each.name]
        for each in fields(kind)
        if each.init and each.name not in _FROM_RUN.get(table, ())
    }
    _refuse_unknown(f"[{table}]", values, left)
    return {name: _value(f"{table}.{name}", value, left[name]) for name, value in values.items()}


def _refuse_unknown(where: str, found: Mapping[str, Any], accepted: Mapping[str, Any]) -> None:
    for name in found:
        if name not in accepted:
            raise SpecError(f"{where} has no {name!r}. It accepts: {', '.join(accepted)}.")


def _value(name: str, value: object, kind: Any) -> Any:  # noqa: ANN401
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise SpecError(f"{name} must be a list, got {value!r}.")
        return tuple(_value(name, each, get_args(kind)[0]) for each in value)
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        wanted = " or ".join(each.__name__ for each in kinds)
        raise SpecError(f"{name} must be {wanted}, got {value!r}.")
    return value


def _at_least(options: object, least: int, *names: str) -> None:
    for name in names:
        if getattr(options, name) < least:
            raise SpecError(f"{name} must be at least {least}, got {getattr(options, name)}.")


def _check_optimizer(rate: float, decay: float, dropout: float, name: str) -> None:
    if not (0 < rate < math.inf and 0 <= decay < math.inf and 0 <= dropout < 1):
        raise SpecError(
            "learning_rate must be above 0, weight_decay 0 or more, dropout from 0 to below 1."
        )
    if name not in OPTIMIZERS:
        raise UnknownNameError("optimizer", name, OPTIMIZERS)
