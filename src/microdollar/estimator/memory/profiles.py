"""What software keeps in memory beside what it must: constants by stack, each with its source."""

from dataclasses import dataclass
from typing import Literal

from microdollar.spec.training import TrainingPlan

Kernels = Literal["fused", "eager", "compiled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one stack of software trains."""

    kernels: Kernels
    """``fused``: norms, activations and attention are one operator each (torch.nn, Megatron);
    ``eager``: written out in Python, so that every intermediate is saved (Hugging Face);
    ``compiled``: pointwise results are computed again in the backward pass (torch.compile)."""
    selective: Literal["core", "products"] = "products"
    """What ``recompute = "selective"`` drops: attention's core (Korthikanti 2022, section 5) or
    all but half of the products and the attention output (torchtitan's selective AC)."""
    gated_copies: int = 4
    """Inner-width tensors that a gated feed-forward part saves: gate, activated gate, up and
    their product; 3 where one kernel does it."""
    logits_bytes: int = 14
    """For each 16-bit logit at the peak of the loss: the logit, its log-softmax in float32, and
    the gradients of loss and log-softmax (the field's upper figure, 14 s b V; unverified)."""
    gradient_bytes: int | None = None
    """Of one gradient where the plan doesn't say; those of the precision if None."""
    both_gradients: bool = False
    """16-bit gradients stay beside those accumulated in float32 (DeepSpeed BF16_Optimizer: the
    additional 4 bytes a parameter are not sharded; BigScience tr11 chronicles)."""
    step_bytes: float = 4.0
    """Temporaries of the optimizer step for each parameter of a shard, in 16-bit training:
    torch's foreach implementation makes one list as large as the parameters (torch.optim docs)."""
    resident_gradients: bool = False
    """Gradients live in buffers that are never freed."""
    flat_step: bool = False
    """Those temporaries are contiguous, so cached blocks of activations can't serve them."""
    written_rms_norm: bool = False
    """RMSNorm is several operators (torch.nn.RMSNorm on a CPU), so the normalised input is saved
    beside the input."""
    holds_logits: bool = False
    """The training loop still has the logits while the optimizer steps."""
    sequence_parallel: bool = False
    """Tensor parallelism always splits the sequence too."""
    bucket_copies: bool = True
    """DistributedDataParallel's buckets: a second copy of the gradients (torch DDP docs,
    ``gradient_as_bucket_view``)."""


_DEEPSPEED = Profile(
    kernels="fused",
    selective="core",
    logits_bytes=10,
    both_gradients=True,
    step_bytes=6.0,  # a flat 16-bit copy and its float32 cast (DeepSpeed stage_1_and_2.step)
    resident_gradients=True,
    flat_step=True,
    bucket_copies=False,
)
# Logits of Megatron: 16 bit, float32, and the softmax that becomes the gradient in place.
_MEGATRON = Profile(
    kernels="fused",
    selective="core",
    gated_copies=3,
    logits_bytes=10,
    gradient_bytes=4,  # 18 bytes a parameter in all (Megatron docs, dist_optimizer)
    step_bytes=0.0,
    resident_gradients=True,
    bucket_copies=False,
)
_TORCH = Profile(kernels="fused", holds_logits=True)
_COMPILED_LOGITS = 4
"""A 16-bit logit and its gradient: the float32 values never leave the kernel."""
PROFILES: dict[str, Profile] = {
    "torch": _TORCH,
    "huggingface": Profile(kernels="eager", holds_logits=True),
    "megatron": _MEGATRON,
    "megatron-deepspeed": _DEEPSPEED,
    "deepspeed": _DEEPSPEED,
    "gpt-neox": _DEEPSPEED,
    # Its tensor parallelism splits the sequence; its compilation is of each block, not of the
    # loss (torchtitan, "parallelize" of Llama, and its paper, arXiv:2410.06511, section 2).
    "torchtitan": Profile(
        kernels="fused", step_bytes=0.0, sequence_parallel=True, bucket_copies=False
    ),
    "torchtitan-compile": Profile(
        kernels="compiled", step_bytes=0.0, sequence_parallel=True, bucket_copies=False
    ),
    "llm-foundry": Profile(kernels="fused", bucket_copies=False),
}
"""By stack; any other is ``torch``."""
_COMPILED = Profile(kernels="compiled", logits_bytes=_COMPILED_LOGITS, holds_logits=True)


def plan_profile(plan: TrainingPlan) -> Profile:
    """The profile of a plan's stack; ``torch`` or its compiled form where none is known."""
    known = PROFILES.get(plan.stack or "")
    if known is None:
        return _COMPILED if plan.train.compiled else _TORCH
    if plan.train.compiled and known.kernels != "compiled" and known.selective == "products":
        return PROFILES["torchtitan-compile"] if plan.stack == "torchtitan" else _COMPILED
    return known
