"""The plan of a published row: its model, its batch and how it was laid out over devices."""

from dataclasses import dataclass, replace
from functools import lru_cache

from microdollar.errors import SpecError
from microdollar.spec.run_models import Shape, row_model
from microdollar.spec.run_text import RunText, read_run_text
from microdollar.spec.training import Layout, Precision, Recompute, TrainingPlan, TrainSpec

BATCH_SLACK = 0.02
"""A global batch that dp x micro-batch does not divide is moved by at most this share (assumed):
the table rounded it."""
LLAMA_VOCAB = 32_000
"""Of Llama 1 and 2 (arXiv:2302.13971), where a Llama-like row states none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts:
    """The cells of a row that a plan is made from; None where a cell is empty."""

    label: str
    parameters: float | None
    tokens: float | None
    sequence: int | None
    layers: int | None
    hidden: int | None
    heads: int | None
    kv_heads: int | None
    vocab: int | None
    device: str | None
    device_missing: str | None
    devices: int | None
    precision: Precision | None
    config: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """The plan of a row, or why there is none."""

    plan: TrainingPlan | None
    missing: str | None = None
    assumed: tuple[str, ...] = ()


_TITAN = ("torchtitan", "torchtitan-compile")
# Part of a source or label: the software. The first that occurs is taken.
_STACKS = (
    ("(zero-3)", "deepspeed"),
    ("bigscience", "megatron-deepspeed"),
    ("vtrain", "megatron-deepspeed"),
    ("bloom tune-up", "megatron-deepspeed"),
    ("torchtitan", "torchtitan"),
    ("mosaicml", "llm-foundry"),
    ("modded-nanogpt", "modded-nanogpt"),
    ("megatron", "megatron"),
    ("narayanan", "megatron"),
    ("korthikanti", "megatron"),
    ("pythia", "gpt-neox"),
    ("nanogpt", "nanogpt"),
    ("llm.c", "llm.c"),
    ("nanochat", "nanochat"),
    ("tinyllama", "lit-gpt"),
)


@lru_cache(maxsize=4096)
def row_stack(label: str, source: str, config: str) -> str | None:
    """The software of a row by its source; None if it isn't known."""
    text = f"{label} {source} {config}".casefold()
    name = next((stack for part, stack in _STACKS if part in text), None)
    if name == "torchtitan" and read_run_text(config).compiled:
        return "torchtitan-compile"
    return name


@lru_cache(maxsize=65536)
def row_plan(facts: RowFacts) -> RowPlan:
    """The plan of a row; what it lacks, or why its sizes can't be, is said and never guessed.

    A size that the source leaves open, and that costs depend on only a little, is assumed and
    listed.
    """
    for name, value in (
        ("layers", facts.layers),
        ("d_model", facts.hidden),
        ("device count", facts.devices),
    ):
        if value is None:
            return RowPlan(plan=None, missing=f"no {name} in the row")
    if facts.device is None:
        return RowPlan(plan=None, missing=facts.device_missing)
    try:
        return _plan(facts, read_run_text(facts.config))
    except SpecError as error:
        return RowPlan(plan=None, missing=str(error))


def _plan(facts: RowFacts, text: RunText) -> RowPlan:
    assert facts.layers is not None and facts.hidden is not None and facts.devices is not None
    assert facts.device is not None
    stack = row_stack(facts.label, facts.source, facts.config)
    assumed: list[str] = [text.doubtful] if text.doubtful else []
    sequence = facts.sequence or text.sequence
    if sequence is None and stack in _TITAN:
        sequence = 8192
        assumed.append("sequence 8192: torchtitan's own setting for Llama 3")
    if sequence is None:
        return RowPlan(plan=None, missing="no seq_len in the row")
    vocab = facts.vocab
    if vocab is None and "llama" in facts.label.casefold():
        vocab = LLAMA_VOCAB
        assumed.append(f"vocab {vocab}: that of Llama 1 and 2")
    if vocab is None:
        return RowPlan(plan=None, missing="no vocab in the row")
    if not _states_layout(text) and facts.devices > 1:
        return RowPlan(plan=None, missing="no layout (tp, pp, dp or FSDP) in the row")
    if "tr11-176B-ml/README" in facts.source:
        text = replace(text, micro_batch=text.micro_batch or 2, zero=1, recompute="full")
        assumed.append("micro-batch 2, ZeRO-1 and full recomputation: BLOOM's own run")
    if "(megatron-core)" in facts.label.casefold():
        # Its README overlaps parameter gathering and tensor-parallel communication, which need
        # the distributed optimizer and sequence parallelism.
        text = replace(text, zero=1, sequence_parallel=True)
        assumed.append("distributed optimizer and sequence parallel: Megatron-LM's README")
    layout = _layout(facts, text, assumed)
    batch = _batch(text, layout, sequence, assumed)
    if batch is None:
        return RowPlan(plan=None, missing="no batch size in the row")
    shape = Shape(
        label=facts.label,
        layers=facts.layers,
        hidden=facts.hidden,
        heads=facts.heads,
        kv_heads=facts.kv_heads,
        vocab=vocab,
        sequence=sequence,
        parameters=facts.parameters,
        inner=text.inner,
        tp=layout.tp,
    )
    model, guesses = row_model(shape)
    assumed.extend(guesses)
    # Before FlashAttention (2022) Megatron wrote the scores out; its H100 rows are later.
    early = stack in ("megatron", "megatron-deepspeed", "deepspeed") and "A100" in facts.device
    train = TrainSpec(
        sequence=sequence,
        micro_batch=batch[0],
        global_batch=batch[1],
        tokens=facts.tokens,
        precision=facts.precision or _precision(facts.device, early, assumed),
        gradient_bytes=text.gradient_bytes,
        recompute=_recompute(text, stack, assumed),
        attention="naive" if early else "fused",
        compiled=text.compiled,
        dropout=early and "bigscience" not in facts.source,
        offload="all" if text.offload else "none",
    )
    plan = TrainingPlan(model=model, train=train, device=facts.device, layout=layout, stack=stack)
    return RowPlan(plan=plan, assumed=tuple(assumed))


def _states_layout(text: RunText) -> bool:
    degrees = (text.tp, text.pp, text.dp, text.fsdp, text.model_parallel, text.zero)
    return any(degree is not None for degree in degrees)


def _layout(facts: RowFacts, text: RunText, assumed: list[str]) -> Layout:
    devices, cp = facts.devices or 1, text.cp or 1
    tp, pp = text.tp, text.pp
    if text.model_parallel is not None:
        # Narayanan 2021, section 3: tensor parallel within a node of 8, pipeline beyond.
        tp = min(8, text.model_parallel)
        pp = text.model_parallel // tp
    if tp is None and text.local_batch and text.global_batch:
        shards = text.global_batch // text.local_batch
        if 0 < shards < devices and devices % shards == 0:
            tp = devices // shards
            assumed.append(f"tp {tp}: devices over replicas of the batch")
    tp, pp = tp or 1, pp or 1
    dp = text.dp or text.fsdp
    if dp is None:
        dp = max(1, devices // (tp * pp * cp))
    zero = text.zero
    if zero is None:
        zero = 3 if "(zero-3)" in facts.label.casefold() else 0
    titan = row_stack(facts.label, facts.source, facts.config) in _TITAN
    interleave = text.interleave
    if interleave is None and text.interleaved:
        interleave = 2
        assumed.append("interleave 2: interleaved, but not how often")
    layout = Layout(
        tp=tp,
        pp=pp,
        cp=cp,
        dp=dp,
        zero=zero,
        # torchtitan splits what stands between tensor-parallel products too (its Llama plan).
        sequence_parallel=text.sequence_parallel or (titan and tp > 1),
        interleave=interleave or 1,
    )
    if layout.devices != devices:
        raise SpecError(f"dp x cp x tp x pp is {layout.devices}, but num_devices is {devices}.")
    return layout


def _batch(
    text: RunText, layout: Layout, sequence: int, assumed: list[str]
) -> tuple[int, int] | None:
    """Micro-batch and global batch; None if the row states no batch."""
    micro, total = text.micro_batch, text.global_batch
    if total is None and text.global_batch_tokens is not None:
        total = text.global_batch_tokens // sequence or None
    if micro is None and text.local_batch is not None:
        micro = text.local_batch
        if layout.pp > 1:
            micro = max(1, text.local_batch // layout.pp)
            assumed.append(f"micro-batch {micro}: as many micro-batches as pipeline stages")
    if micro is None and total is None:
        return None
    if micro is None:
        micro = 1
        assumed.append("micro-batch 1: not stated")
    if total is None:
        local = text.local_batch or micro * (text.accumulation or 1)
        total = local * layout.dp
    slice_ = layout.dp * micro
    nearest = max(1, round(total / slice_)) * slice_
    if nearest != total and abs(nearest / total - 1) <= BATCH_SLACK:
        assumed.append(f"global batch {nearest}: the stated {total} is no multiple of {slice_}")
        total = nearest
    return micro, total


def _precision(device: str, early: bool, assumed: list[str]) -> Precision:
    precision: Precision = "float16" if early or "V100" in device else "bfloat16"
    assumed.append(f"precision {precision}: not stated")
    return precision


def _recompute(text: RunText, stack: str | None, assumed: list[str]) -> Recompute:
    if text.recompute is None and stack in _TITAN:
        assumed.append("selective recomputation: torchtitan's own setting for Llama 3 8B")
        return "selective"
    if text.recompute is None:
        assumed.append("no recomputation: none is stated")
        return "none"
    return text.recompute
