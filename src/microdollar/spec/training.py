"""How a model is trained or served: batch, precision, optimizer, layout over devices."""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from microdollar.errors import SpecError
from microdollar.spec.model import ModelSpec, require_positive, require_whole

Recompute = Literal["none", "selective", "full"]
Precision = Literal["float32", "tf32", "bfloat16", "float16", "float8"]
Offload = Literal["none", "optimizer", "all"]
AttentionKernel = Literal["fused", "naive"]
OPTIMIZERS = (
    "sgd",
    "momentum",
    "adam",
    "adamw",
    "adamw-8bit",
    "adafactor",
    "lion",
    "muon",
    "collins",
    "collins-mini",
)


def require_choice(name: str, value: object, accepted: tuple[str, ...]) -> None:
    """Check that a field is one of a few words.

    Raises:
        SpecError: naming the field, its value and the accepted ones.
    """
    if value not in accepted:
        raise SpecError(f"{name} {value!r} is not known. Accepted: {', '.join(accepted)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one model and its batch are spread over devices: ``tp * pp * cp * dp`` of them.

    Raises:
        SpecError: if a degree is below 1, or several do not go together.

    Examples:
        >>> import microdollar as md
        >>> md.Layout(tp=8, pp=4, dp=2, zero=1).devices
        64
    """

    tp: int = 1
    """Tensor-parallel degree: every product is split over so many devices."""
    pp: int = 1
    """Pipeline stages."""
    cp: int = 1
    """Context-parallel degree: every sequence is split over so many devices."""
    dp: int = 1
    """Data-parallel replicas (or shards of them)."""
    ep: int = 1
    """Expert-parallel degree; its devices are those of ``dp``."""
    sequence_parallel: bool = False
    """Activations between tensor-parallel products are split over ``tp`` too."""
    interleave: int = 1
    """Model chunks for each pipeline stage."""
    zero: int = 0
    """ZeRO stage: 1 shards the optimizer over ``dp``, 2 also gradients, 3 also weights (FSDP)."""
    shard_group: int | None = None
    """Devices that a shard is spread over (HSDP); None for all of ``dp``."""
    devices_per_node: int = 8
    """Devices that share the fast links of one machine."""

    def __post_init__(self) -> None:
        require_positive(self, "tp", "pp", "cp", "dp", "ep", "interleave", "devices_per_node")
        if self.zero not in (0, 1, 2, 3):
            raise SpecError(f"zero {self.zero!r} is not known. Accepted: 0, 1, 2, 3.")
        if self.dp % self.ep:
            raise SpecError(f"ep {self.ep} does not divide dp {self.dp}.")
        if self.shard_group is not None:
            require_positive(self, "shard_group")
            if self.dp * self.cp % self.shard_group:
                raise SpecError(
                    f"shard_group {self.shard_group} does not divide dp x cp {self.dp * self.cp}."
                )

    @property
    def devices(self) -> int:
        """All devices."""
        return self.tp * self.pp * self.cp * self.dp


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters on the products of every block; all else is frozen."""

    rank: int
    targets: Literal["attention", "all"] = "all"
    base_dtype: Literal["bfloat16", "float16", "float32", "nf4", "int8"] = "bfloat16"
    """Of the frozen weights; ``nf4`` and ``int8`` are QLoRA."""

    def __post_init__(self) -> None:
        require_positive(self, "rank")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec:
    """One training run of one model, apart from the devices.

    Raises:
        SpecError: if a size is not positive, or one option does not go with another.

    Examples:
        >>> import microdollar as md
        >>> run = md.TrainSpec(sequence=2048, micro_batch=1, global_batch=512, tokens=1e11)
        >>> run.sequence * run.global_batch
        1048576
    """

    sequence: int
    """Tokens of a sequence."""
    micro_batch: int
    """Sequences that one replica takes at once."""
    global_batch: int
    """Sequences of one optimizer step over all replicas."""
    tokens: float | None = None
    """Training tokens of the whole run; None if only the step is asked for."""
    target_sequence: int | None = None
    """Tokens of a decoder's sequence in an encoder-decoder; ``sequence`` if None."""
    precision: Precision = "bfloat16"
    """Of products. Weights are kept once more in float32 unless ``master`` is False."""
    master: bool = True
    """Whether float32 weights are kept beside narrower ones."""
    gradient_bytes: int | None = None
    """Bytes of one gradient; those of the precision if None."""
    optimizer: str = "adamw"
    """``adamw``, ``collins``, ``adamw-8bit``, ``sgd``, ...: as the command takes it."""
    recompute: Recompute = "none"
    """Which activations are computed again rather than kept."""
    attention: AttentionKernel = "fused"
    """``naive`` keeps the matrix of scores; ``fused`` (FlashAttention) doesn't."""
    compiled: bool = False
    """Whether elementwise operations are fused by a compiler."""
    dropout: bool = False
    """Whether masks of dropout are kept."""
    lora: Lora | None = None
    """Adapters that are trained instead of the weights; None to train all."""
    offload: Offload = "none"
    """What is kept in the memory of the host."""
    eval_every_steps: int | None = None
    """Steps between two evaluations; None for none."""
    eval_sequences: int = 0
    """Sequences of one evaluation."""
    checkpoint_every_steps: int | None = None
    """Steps between two checkpoints; None for none."""
    ramp_up_steps: int = 0
    """Steps over which the batch grows linearly to ``global_batch``."""

    def __post_init__(self) -> None:
        require_positive(self, "sequence", "micro_batch", "global_batch")
        for name in ("target_sequence", "eval_every_steps", "checkpoint_every_steps"):
            if getattr(self, name) is not None:
                require_positive(self, name)
        for name in ("eval_sequences", "ramp_up_steps"):
            require_whole(self, name)
        if self.gradient_bytes not in (None, 1, 2, 4):
            raise SpecError(f"gradient_bytes {self.gradient_bytes!r} is not one of 1, 2, 4.")
        if self.tokens is not None and not (
            isinstance(self.tokens, int | float) and math.isfinite(self.tokens) and self.tokens > 0
        ):
            raise SpecError(f"tokens must be a positive number, got {self.tokens!r}.")
        require_choice("precision", self.precision, get_args(Precision))
        require_choice("recompute", self.recompute, get_args(Recompute))
        require_choice("attention", self.attention, get_args(AttentionKernel))
        require_choice("offload", self.offload, get_args(Offload))
        require_choice("optimizer", self.optimizer, OPTIMIZERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherModel:
    """A second model in the same run: a reconstructor, a reference, a reward model."""

    model: ModelSpec
    trains: bool = False
    passes: float = 1.0
    """Forward passes of it for each training sequence of the first model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What is trained, how, and on which devices.

    Raises:
        SpecError: if the layout does not divide the batch, the layers or the heads.

    Examples:
        >>> import microdollar as md
        >>> plan = md.TrainingPlan(
        ...     model=md.load_model_spec("gpt2"),
        ...     train=md.TrainSpec(sequence=1024, micro_batch=8, global_batch=64, tokens=1e9),
        ...     layout=md.Layout(dp=8),
        ...     device="a100-80gb",
        ... )
        >>> plan.steps
        15259
    """

    model: ModelSpec
    """What is trained."""
    train: TrainSpec
    """Batch, length and options of the run."""
    device: str
    """Name in the catalog, or ``this``."""
    layout: Layout = field(default_factory=Layout)
    """How model and batch are spread over devices."""
    others: tuple[OtherModel, ...] = ()
    """More models of the same run (reinforcement learning, distillation)."""
    stack: str | None = None
    """Software that trains, where measured rows of it are known: ``megatron-deepspeed``,
    ``llm-foundry``, ``torchtitan``, ...; None for an ordinary one."""
    pue: float = 1.1
    """Power of the facility over that of its computers."""
    region: str | None = None
    """Of the power grid, for carbon."""

    def __post_init__(self) -> None:
        layout, train = self.layout, self.train
        if train.global_batch % (layout.dp * train.micro_batch):
            raise SpecError(
                f"global_batch {train.global_batch} is not a multiple of dp {layout.dp} x "
                f"micro_batch {train.micro_batch}."
            )
        _require_positions(self.model, "sequence", train.sequence)
        _require_divisible(self.model, layout)
        if not isinstance(self.pue, int | float) or not 1 <= self.pue < 10:
            raise SpecError(f"pue {self.pue!r} is not within 1 and 10.")

    @property
    def micro_steps(self) -> int:
        """Micro-batches that one replica takes for an optimizer step."""
        return self.train.global_batch // (self.layout.dp * self.train.micro_batch)

    @property
    def step_tokens(self) -> int:
        """Tokens of one optimizer step over all replicas."""
        return self.train.global_batch * self.train.sequence

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the run, rounded up; None if its tokens are not given."""
        if self.train.tokens is None:
            return None
        return math.ceil(self.train.tokens / self.step_tokens)


def _require_positions(model: ModelSpec, name: str, length: int) -> None:
    if model.positions and length > model.positions:
        raise SpecError(
            f"{name} {length} is more than the {model.positions} positions that {model.name} has "
            "learnt."
        )


def _require_divisible(model: ModelSpec, layout: Layout) -> None:
    if layout.pp > max(1, model.layers):
        raise SpecError(f"pp {layout.pp} is more than the {model.layers} layers of {model.name}.")
    for block in (*model.encoder, *model.blocks):
        for mixer in block.mixers:
            heads = getattr(mixer, "heads", layout.tp)
            if heads % layout.tp:
                raise SpecError(
                    f"tp {layout.tp} does not divide the {heads} heads of {model.name}."
                )
        experts = getattr(block.feed_forward, "experts", layout.ep)
        if experts % layout.ep:
            raise SpecError(
                f"ep {layout.ep} does not divide the {experts} experts of {model.name}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPlan:
    """What is served: a prompt is read (prefill), then tokens are generated one by one.

    Raises:
        SpecError: if a number is not positive.

    Examples:
        >>> import microdollar as md
        >>> gpt2 = md.load_model_spec("gpt2")
        >>> plan = md.ServingPlan(model=gpt2, device="l4", prompt_tokens=500, new_tokens=100)
        >>> md.estimate(plan).parameters
        124439808
    """

    model: ModelSpec
    """What is served."""
    device: str
    """Name in the catalog, or ``this``."""
    prompt_tokens: int
    """Tokens of one prompt."""
    new_tokens: int
    """Tokens generated for each prompt; 0 reads only."""
    batch: int = 1
    """Sequences at once."""
    precision: Precision = "bfloat16"
    """Of the products, and of weights unless ``weight_bytes`` says otherwise."""
    cache_bytes: int = 2
    """Bytes of one number in the key-value cache."""
    weight_bytes: float | None = None
    """Bytes of one stored weight with its share of scales, where it is narrower than
    ``precision``: 0.5625 for blocks of 32 four-bit codes and a float16 scale."""
    layout: Layout = field(default_factory=Layout)
    """How the model is spread over devices."""

    def __post_init__(self) -> None:
        require_positive(self, "prompt_tokens", "batch")
        require_whole(self, "new_tokens")
        if self.weight_bytes is not None and not 0.1 <= self.weight_bytes <= 8:
            raise SpecError(f"weight_bytes {self.weight_bytes!r} is not within 0.1 and 8.")
        if self.cache_bytes not in (1, 2, 4):
            raise SpecError(f"cache_bytes {self.cache_bytes!r} is not one of 1, 2, 4.")
        _require_positions(self.model, "prompt_tokens", self.prompt_tokens)
        require_choice("precision", self.precision, get_args(Precision))
