"""What the document's figures of energy are held against: an H100 of today, 300 K, and GPT-3."""

from functools import cached_property

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError
from microdollar.estimator.limits.attention import (
    AttentionCase,
    attention_energy,
    attention_flops,
)
from microdollar.estimator.limits.landauer import ROOM_KELVIN, landauer_joules_per_bit
from microdollar.estimator.limits.operations import operation_energies
from microdollar.estimator.model_flops import count_flops
from microdollar.estimator.serving import ServingEstimate, estimate_serving
from microdollar.spec.arithmetic import Interval
from microdollar.spec.device_catalog import load_device
from microdollar.spec.model_catalog import load_model_spec
from microdollar.spec.training import Layout, Precision, ServingPlan, TrainSpec

DEVICE = "h100-sxm"
"""Of a reader of today; the document names none."""
DTYPE: Precision = "bfloat16"
KELVIN = ROOM_KELVIN
LENGTH = 2048
"""Tokens of a request."""
DEVICES = 8
"""That share the model: its weights are more than one holds."""


class Premises:
    """Numbers of one request to GPT-3 and of one operation, each computed once; base units."""

    def __init__(self) -> None:
        self.device = load_device(DEVICE)
        self.model = load_model_spec("gpt3-175b")
        self.bit = landauer_joules_per_bit(KELVIN)

    @cached_property
    def operation(self) -> Interval:
        """Joules of an operation at the peak."""
        rows = operation_energies(self.device, KELVIN)
        return interval(next(row.joules for row in rows if row.dtype == DTYPE))

    def flops(self, *, length: int = LENGTH, layers: int = 1, whole: bool = False) -> int:
        """Operations of scores and their use, or of the whole layer; no softmax."""
        squares, _, projections = attention_flops(self._case(length, layers, whole))
        return squares + projections

    @cached_property
    def squares(self) -> Interval:
        """Joules of scores and their use in all layers, of the device alone."""
        case = self._case(LENGTH, self.model.layers)
        return interval(attention_energy(case, self.device).joules)

    @cached_property
    def pass_flops(self) -> float:
        """Operations of one forward pass over 2,048 tokens."""
        train = TrainSpec(sequence=LENGTH, micro_batch=1, global_batch=1, attention="naive")
        return LENGTH * sum(part.value for part in count_flops(self.model, train).forward)

    @cached_property
    def serving(self) -> ServingEstimate:
        """That pass on eight of the device."""
        plan = ServingPlan(
            model=self.model,
            device=self.device.name,
            prompt_tokens=LENGTH,
            new_tokens=0,
            precision=DTYPE,
            layout=Layout(tp=DEVICES),
        )
        return estimate_serving(plan, self.device)

    @cached_property
    def request(self) -> Interval:
        """Joules of that pass, hosts included."""
        return interval(self.serving.joules)

    def _case(self, length: int, layers: int, whole: bool = False) -> AttentionCase:
        """GPT-3's attention over the full square, as the document counts it."""
        return AttentionCase(
            width=self.model.hidden, length=length, layers=layers, causal=False, projections=whole
        )


def interval(quantity: Quantity) -> Interval:
    """A quantity that the catalog has to know.

    Raises:
        CannotEstimateError: if it does not.
    """
    if quantity.value is None or quantity.low is None or quantity.high is None:
        raise CannotEstimateError(quantity.reason)
    return Interval(value=quantity.value, low=quantity.low, high=quantity.high)


def times(interval: Interval, scale: float) -> Interval:
    """An interval times a positive factor."""
    return Interval(
        value=interval.value * scale, low=interval.low * scale, high=interval.high * scale
    )
