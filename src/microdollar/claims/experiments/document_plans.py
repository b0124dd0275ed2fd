"""Estimates of the documents' own plans, and of variants that their claims ask for.

Every quantity of a plan stands under its prefix: ``rl_seconds``, ``small_memory_bytes``.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from microdollar.claims.experiments.base import Context
from microdollar.claims.record import Values
from microdollar.run.plan_claims import changed
from microdollar.run.plan_quantities import plan_quantities
from microdollar.spec.arithmetic import Interval
from microdollar.spec.build import changed_plan
from microdollar.spec.device_catalog import load_device
from microdollar.spec.load import load_plan
from microdollar.spec.scale import with_positions
from microdollar.spec.training import TrainingPlan
from microdollar.work.formulas.concepts import ConceptSizes, prediction_work

PLANS = {
    "rl": "rl-token-compression",
    "gpt": "gpt-6b",
    "small": "lnsp-small",
    "encoder": "ln-encoder",
}
VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "small16": ("lnsp-small", {"dtype": "float16"}),
    "gpt_naive": ("gpt-6b", {"attention": "naive"}),
    "gpt_stateless": ("gpt-6b", {"optimizer": "sgd"}),
    "encoder_stateless": ("ln-encoder", {"optimizer": "sgd"}),
}
"""The small model's weights, gradients and moments in two bytes; attention that keeps its matrix of
scores; and plans whose optimizer keeps nothing in memory."""
LONG = 262_144
"""Tokens at which memory that grows with the square has outgrown the rest."""
EIGHTY = 1.2816
"""Standard deviations from the middle of a normal to an end of its 80 %."""


def run(context: Context) -> Values:
    """Estimate every plan.

    Besides their quantities gives those of ``VARIANTS``, ``rl_least_peak`` (of the device with
    fewest GPU cores), ``rl_within_6`` and so on (the chance that the run takes at most so many
    hours, to a thousandth), and ``..._exponent`` of a size in the length of a sequence.
    """
    del context
    found: dict[str, Interval | str] = {}
    for prefix, name in PLANS.items():
        found |= _quantities(prefix, name, {}, exponents=prefix == "rl")
    for prefix, (name, changes) in VARIANTS.items():
        found |= _quantities(prefix, name, changes)
    found |= {
        "rl_least_peak": Interval.of(load_device("m4-pro-16").flops_per_second["float32"]),
        **{f"rl_within_{name}": Interval.of(chance) for name, chance in _chances(found)},
        "gpt_fused_memory_exponent": _exponent("gpt-6b", "activation_bytes", LONG, "fused"),
        "gpt_naive_memory_exponent": _exponent("gpt-6b", "activation_bytes", LONG, "naive"),
        "small_flops_exponent": _exponent("lnsp-small", "flops_per_sample", 2_048, "naive"),
        "core_flops_exponent": Interval.of(_core_exponent(2_048)),
    }
    return found


def _quantities(
    prefix: str, name: str, changes: Mapping[str, Any], *, exponents: bool = False
) -> dict[str, Interval | str]:
    plan = changed(load_plan(name).plan, changes)
    quantities = plan_quantities(plan, load_device(plan.device), exponents=exponents)
    return {f"{prefix}_{key}": value for key, value in quantities.items()}


def _chances(found: Mapping[str, Interval | str]) -> list[tuple[str, float]]:
    """That the training takes at most so many hours, by a log-normal with our interval."""
    seconds = found["rl_seconds"]
    assert isinstance(seconds, Interval)
    width = math.log(seconds.high / seconds.low) / (2 * EIGHTY)
    hours = {"6": 6, "10": 10.1, "12": 12, "14": 14.5, "21": 21.7}
    away = {n: math.log(h * 3_600 / seconds.value) / width for n, h in hours.items()}
    # No more digits: an interval of 80 % says nothing of how thin the tails are.
    return [(name, round(0.5 * math.erfc(-one / math.sqrt(2)), 3)) for name, one in away.items()]


def _exponent(name: str, quantity: str, length: int, attention: str) -> Interval:
    """How a quantity grows from half a length to that length."""
    ends = []
    for sequence in (length // 2, length):
        plan = load_plan(name).plan
        assert isinstance(plan, TrainingPlan)
        plan = replace(plan, model=with_positions(plan.model, length))
        plan = changed_plan(plan, {"sequence": sequence, "attention": attention})
        value = plan_quantities(plan, load_device(plan.device))[quantity]
        assert isinstance(value, Interval)
        ends.append(value.value)
    return Interval.of(math.log2(ends[1] / ends[0]))


def _core_exponent(length: int) -> float:
    """How this package's core's operations of a prediction grow with the context."""
    half, whole = (prediction_work(ConceptSizes(context=n)).flops for n in (length // 2, length))
    return math.log2(whole / half)
