"""What it costs to answer with a model: reading the prompt, then one token after another.

Reading (prefill) is limited by arithmetic: 2 operations a weight and prompt token, and attention
among them. Generating (decode) is limited by memory: each new token of a batch reads every weight
once and every sequence's cache of keys and values (Pope et al. 2022, arXiv:2211.05102, section 2).
An encoder reads the prompt and a decoder writes the answer, where there are two.

Pipeline stages divide memory, not the time of a token, which passes through all of them. Not
modelled: the scheduler, paging, sampling, speculative decoding, batches that fill a pipeline.
"""

from dataclasses import asdict, dataclass
from typing import Any

from microdollar.cost import Quantity, per_second
from microdollar.errors import SpecError
from microdollar.estimator.kv_cache import cache_bytes
from microdollar.estimator.model_work import UNCOUNTED
from microdollar.estimator.parts import Part
from microdollar.estimator.seconds import Shares
from microdollar.estimator.serving_counts import (
    held_bytes,
    read_flops,
    token_flops,
    weights_read,
)
from microdollar.estimator.serving_speed import (
    CALL_SECONDS,
    CALLS_A_LAYER,
    Speed,
    all_reduces,
    device_speed,
    stored_bytes,
)
from microdollar.spec.device import DeviceSpec
from microdollar.spec.model import Attention
from microdollar.spec.parameters import count_parameters
from microdollar.spec.training import ServingPlan
from microdollar.work.formulas.terms import split

WORKSPACE_BYTES: Shares = (0.1e9, 0.8e9, 3e9)
"""Context of the device and what libraries keep (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingEstimate:
    """One batch from its first prompt token to its last new one."""

    plan: ServingPlan
    device: DeviceSpec
    parameters: int
    """All weights."""
    prefill_seconds: Quantity
    """Until the first new token."""
    decode_seconds_per_token: Quantity
    """For one new token of every sequence, midway through the answer."""
    seconds: Quantity
    """Of the whole batch."""
    tokens_per_second: Quantity
    """New tokens of all sequences over the whole time; missing where none are asked for."""
    decode_tokens_per_second: Quantity
    """New tokens of all sequences once the prompts are read."""
    cache_bytes: int
    """Of keys, values and states when the answers are complete, over all devices: exact."""
    allocated_bytes: Quantity
    """Of one device: weights, cache, logits, activations of a prompt's chunk."""
    memory_bytes: Quantity
    """Of one device, as it reports it: the same and a workspace."""
    fits: bool | None
    """Whether the centre of ``memory_bytes`` is within the device's; None if that is unknown."""
    flops: float
    """Products of the whole batch; what a causal mask hides is not counted."""
    joules: Quantity
    """Of all devices over the whole time, without the facility's overhead."""
    dollars: Quantity
    """Price of all devices over the whole time."""
    joules_per_million_tokens: Quantity
    """New tokens."""
    dollars_per_million_tokens: Quantity
    """New tokens."""
    parts: tuple[Part, ...]
    """Seconds of a decoded token: weights and cache overlap with arithmetic, calls don't."""
    assumptions: tuple[Part, ...]
    """Central values of what the seconds rest on."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary in base units, with the keys of a training estimate."""
        tokens = self.plan.batch * (self.plan.prompt_tokens + self.plan.new_tokens)
        active = count_parameters(self.plan.model).active
        named = (
            "prefill_seconds",
            "decode_seconds_per_token",
            "seconds",
            "tokens_per_second",
            "decode_tokens_per_second",
            "joules",
            "dollars",
            "joules_per_million_tokens",
            "dollars_per_million_tokens",
        )
        flops = {"2N": 2.0 * active * tokens, "hardware": self.flops}
        return {
            "model": self.plan.model.name,
            "device": self.device.name,
            "devices": self.plan.layout.devices,
            "covers": "batch",
            "parameters": self.parameters,
            "active_parameters": active,
            "flops": {
                name: Quantity(value=value, basis="formula").to_json()
                for name, value in flops.items()
            },
            "int_ops": Quantity.missing(UNCOUNTED).to_json(),
            "memory_bytes": {
                "allocated": self.allocated_bytes.to_json(),
                "reserved": Quantity.missing(
                    "serving engines reserve the share of the device that they are told to"
                ).to_json(),
                "process": self.memory_bytes.to_json(),
                "cache": self.cache_bytes,
                "fits": self.fits,
            },
            **{name: getattr(self, name).to_json() for name in named},
            "decode_breakdown": [asdict(part) for part in self.parts],
            "assumptions": [asdict(part) for part in self.assumptions],
        }

    def _repr_html_(self) -> str:
        from microdollar.estimator.html import serving_table

        return serving_table(self)


def estimate_serving(plan: ServingPlan, device: DeviceSpec) -> ServingEstimate:
    """Seconds, memory, energy and price of answering one batch.

    Args:
        plan: model, prompt, answer, batch and layout; replicas (``dp``) share the batch.
        device: one of the ``plan.layout.devices`` that answer.

    Raises:
        CannotEstimateError: if a rate of the device that the plan needs is not known.
        SpecError: if new tokens are asked of a model that can't generate any.
    """
    _require_generative(plan)
    speed = device_speed(plan, device)
    encoded = bool(plan.model.encoder)
    sequences = split(plan.batch, plan.layout.dp)
    read = read_flops(plan.model, plan.prompt_tokens)
    prefill = _prefill(plan, sequences * read, sequences, speed)
    middle = plan.new_tokens // 2 + (0 if encoded else plan.prompt_tokens)
    last = plan.new_tokens + (0 if encoded else plan.prompt_tokens)
    one = token_flops(plan.model, middle, plan.prompt_tokens)
    decode, parts = _decode(plan, sequences, one, middle, speed)
    seconds = Quantity(
        value=_value(prefill) + plan.new_tokens * _value(decode),
        low=(prefill.low or 0) + plan.new_tokens * (decode.low or 0),
        high=(prefill.high or 0) + plan.new_tokens * (decode.high or 0),
        basis=speed.basis,
    )
    new = plan.batch * plan.new_tokens
    cache = cache_bytes(
        plan.model,
        tokens=last,
        sequences=plan.batch,
        number_bytes=plan.cache_bytes,
        encoded=plan.prompt_tokens,
    )
    held = held_bytes(plan, cache, sequences)
    least, likely, most = (held + extra for extra in WORKSPACE_BYTES)
    memory = Quantity(value=likely, low=least, high=most, basis="assumed")
    room = device.memory_bytes.value
    devices = Quantity(value=plan.layout.devices, basis="formula")
    joules = device.busy_watts.times(seconds).times(devices)
    dollars = device.dollars_over(seconds).times(devices)
    return ServingEstimate(
        plan=plan,
        device=device,
        parameters=count_parameters(plan.model).total,
        prefill_seconds=prefill,
        decode_seconds_per_token=decode,
        seconds=seconds,
        tokens_per_second=_per_second(new, seconds),
        decode_tokens_per_second=_per_second(plan.batch if new else 0, decode),
        cache_bytes=cache,
        allocated_bytes=Quantity(value=held, basis="formula"),
        memory_bytes=memory,
        fits=None if room is None else _value(memory) <= room,
        flops=plan.batch * (read + plan.new_tokens * one),
        joules=joules,
        dollars=dollars,
        joules_per_million_tokens=_per_million(joules, new),
        dollars_per_million_tokens=_per_million(dollars, new),
        parts=parts,
        assumptions=speed.assumptions,
    )


def _require_generative(plan: ServingPlan) -> None:
    model = plan.model
    if not plan.new_tokens:
        return
    sees_all = any(
        isinstance(mixer, Attention) and not (mixer.causal or mixer.cross)
        for block in model.blocks
        for mixer in block.mixers
    )
    if not model.head or not model.vocab or not model.blocks or sees_all:
        raise SpecError(
            f"new_tokens {plan.new_tokens} can't be generated by {model.name!r}: it has no causal "
            "layers with a head over a vocabulary. Give new_tokens 0 to estimate its reading."
        )


def _prefill(plan: ServingPlan, flops: int, sequences: int, speed: Speed) -> Quantity:
    """Arithmetic split over ``tp`` and ``cp``, and the sums of activations over ``tp``."""
    share = flops / (plan.layout.tp * plan.layout.cp)
    tokens = sequences * split(plan.prompt_tokens, plan.layout.cp)
    low, middle, high = (share / rate for rate in reversed(speed.flops_per_second))
    extra = all_reduces(plan, tokens, speed)
    return Quantity(
        value=middle + extra[1], low=low + extra[0], high=high + extra[2], basis=speed.basis
    )


def _decode(
    plan: ServingPlan, sequences: int, flops_of_one: int, before: int, speed: Speed
) -> tuple[Quantity, tuple[Part, ...]]:
    """The longer of memory and arithmetic, then kernels and collectives, for one token."""
    layout, model = plan.layout, plan.model
    read = weights_read(model, sequences) * stored_bytes(plan) / layout.tp
    kept = cache_bytes(
        model,
        tokens=before,
        sequences=sequences,
        number_bytes=plan.cache_bytes,
        encoded=plan.prompt_tokens,
    ) / (layout.tp * layout.cp)
    flops = sequences * flops_of_one / layout.tp
    layers = sum(block.count for block in model.blocks)
    calls = CALLS_A_LAYER * layers
    extra = all_reduces(plan, sequences, speed)
    ends = []
    for index in (0, 1, 2):
        stream, rate = speed.bytes_per_second[2 - index], speed.flops_per_second[2 - index]
        longer = max((read + kept) / stream, flops / rate)
        ends.append(longer + calls * CALL_SECONDS[index] + extra[index])
    parts = [
        Part(
            name="weights",
            value=read / speed.bytes_per_second[1],
            formula="weights read * bytes / achieved bandwidth",
            source="arXiv:2211.05102, section 2",
        ),
        Part(
            name="cache",
            value=kept / speed.bytes_per_second[1],
            formula="2 * layers * kv_heads * head_dim * tokens * bytes / achieved bandwidth",
            source="arXiv:2211.05102, section 2",
        ),
        Part(
            name="arithmetic",
            value=flops / speed.flops_per_second[1],
            formula="(2 * active weights + 4 * tokens * heads * head_dim) / achieved products",
        ),
        Part(name="calls", value=calls * CALL_SECONDS[1], formula="kernels * seconds of one"),
        Part(name="collectives", value=extra[1], formula="2 * layers * all-reduce over tp"),
    ]
    low, middle, high = ends
    return Quantity(value=middle, low=low, high=high, basis=speed.basis), tuple(parts)


def _value(quantity: Quantity) -> float:
    assert quantity.value is not None
    return quantity.value


def _per_second(count: int, seconds: Quantity) -> Quantity:
    return per_second(count, seconds) if count else Quantity.missing("no new tokens are asked for")


def _per_million(cost: Quantity, tokens: int) -> Quantity:
    if not tokens:
        return Quantity.missing("no new tokens are asked for")
    return cost.times(Quantity(value=1e6 / tokens, basis="formula"))
