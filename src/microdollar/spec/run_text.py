"""The free text that says how a published run was laid out, read into numbers.

Each source has its own shorthand: ``TP8 PP10 DP2 MBS1 GBS2048 ZeRO-1 full act-ckpt``,
``LBS2 GBS16 selective AC; FSDP+compile``, ``FSDP FULL_SHARD, act-ckpt True, micro-batch 16``.
What a text doesn't say stays None.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from microdollar.spec.training import Recompute


@dataclass(frozen=True, slots=True, kw_only=True)
class RunText:
    """What such a text says; None where it doesn't."""

    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    cp: int | None = None
    fsdp: int | None = None
    """Devices of a fully sharded group."""
    model_parallel: int | None = None
    """Tensor and pipeline degree together."""
    micro_batch: int | None = None
    local_batch: int | None = None
    """Sequences of one replica in a step (torchtitan)."""
    global_batch: int | None = None
    global_batch_tokens: int | None = None
    accumulation: int | None = None
    sequence: int | None = None
    interleave: int | None = None
    interleaved: bool = False
    """Whether pipeline stages hold several pieces of the model, however many."""
    zero: int | None = None
    recompute: Recompute | None = None
    sequence_parallel: bool = False
    compiled: bool = False
    offload: bool = False
    gradient_bytes: int | None = None
    inner: int | None = None
    """Width of the feed-forward layers."""
    active_parameters: float | None = None
    doubtful: str | None = None
    """What the source itself leaves open."""


_WHOLE: dict[str, str] = {
    "tp": r"\bTP ?(\d+)\b",
    "pp": r"\bPP ?(\d+)\b",
    "dp": r"\bDP ?(\d+)\b",
    "cp": r"\bCP ?(\d+)\b",
    "fsdp": r"\bFSDP ?(\d+)\b",
    "model_parallel": r"\bmodel-parallel (\d+)\b",
    "micro_batch": r"(?:\bMBS ?|\bmicro-batch |\bB=)(\d+)\b",
    "local_batch": r"(?:\bLBS ?|\bdevice batch )(\d+)\b",
    "global_batch": r"(?:\bGBS ?|\bglobal batch |(?<!micro-)(?<!global )(?<!device )\bbatch )"
    r"(\d+)\b(?![,\d]* tokens)",
    "accumulation": r"\bgrad-accum (\d+)\b",
    "sequence": r"\bT=(\d+)\b",
    "interleave": r"\binterleave (\d+)\b",
    "inner": r"\bffn (\d+)\b",
}
_PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _WHOLE.items()}
_DIGITS = 15
"""Numbers of more digits than this are not sizes."""


@lru_cache(maxsize=4096)
def read_run_text(text: str) -> RunText:
    """The numbers and words in a text; what is not recognised is passed over.

    Examples:
        >>> read_run_text("TP8 PP10 DP2 MBS1 GBS2048 ZeRO-1 full act-ckpt").recompute
        'full'
    """
    sizes: dict[str, int | None] = {}
    for name, pattern in _PATTERNS.items():
        found = pattern.search(text)
        number = int(found[1]) if found and len(found[1]) <= _DIGITS else 0
        sizes[name] = number or None
    low = text.casefold()
    header = re.search(r"source header says gbs=(\d{1,15})\b", low)
    if header:
        # BLOOM's prequel: the TFLOP/s printed in the same table hold with the header's batch, as
        # in all its other tables with the stated one, and are four times too high with the row's.
        sizes["global_batch"] = int(header[1]) or None
    return RunText(
        **sizes,
        global_batch_tokens=_batch_tokens(text),
        zero=_zero(text),
        recompute=_recompute(low),
        interleaved="interleaved 1f1b" in low,
        sequence_parallel=bool(re.search(r"\bseq-parallel\b|\bseq\+|\bsequence parallel\b", low)),
        compiled=bool(re.search(r"(?<!no )\b(torch\.)?compile\b", low)) and "eager" not in low,
        offload="offload true" in low,
        gradient_bytes=4 if "fp32 grad accum" in low else None,
        active_parameters=_active(text),
        doubtful=f"global batch {header[1]}: of the source's header" if header else None,
    )


def _recompute(low: str) -> Recompute | None:
    if re.search(r"\bno (recompute|activation ckpt|ac\b)|act-ckpt false", low):
        return "none"
    if re.search(r"selective|\bper-op sac\b|\bseq\+selective", low):
        return "selective"
    if re.search(r"full act-ckpt|full ac\b|full recompute|activation recompute|act-ckpt true", low):
        return "full"
    return None


def _zero(text: str) -> int | None:
    stage = re.search(r"\bZeRO-?([0-3])\b", text, re.IGNORECASE)
    if stage:
        return int(stage[1])
    if "SHARD_GRAD_OP" in text:
        return 2
    return 3 if re.search(r"\bFSDP|\b2D\b", text) else None


def _batch_tokens(text: str) -> int | None:
    found = re.search(r"global batch ([\d,]{1,20}) tokens", text)
    digits = found[1].replace(",", "") if found else ""
    return int(digits) or None if digits else None


def _active(text: str) -> float | None:
    found = re.search(r"\b(\d{1,5}(?:\.\d{1,3})?)B active", text)
    return float(found[1]) * 1e9 or None if found else None
