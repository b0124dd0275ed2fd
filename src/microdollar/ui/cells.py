"""One number of a plan, in words and as an interval on a scale."""

from collections.abc import Callable
from dataclasses import dataclass

from microdollar.cost import Quantity
from microdollar.estimator.serving import ServingEstimate
from microdollar.estimator.training import TrainingEstimate

LayerEstimate = TrainingEstimate | ServingEstimate
Format = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One number of one plan."""

    quantity: Quantity
    text: str
    """The value, or ``unknown``."""
    interval: str
    """The 80 % interval; ``exact``, or why there is no value."""
    start: float = 0.0
    """Ends and middle of the interval in percent of the row's scale."""
    middle: float = 0.0
    end: float = 0.0


def make_cell(quantity: Quantity, form: Format, scale: float) -> Cell:
    """A quantity in words and on a scale, whose end is 100 percent."""
    if quantity.value is None or quantity.low is None or quantity.high is None:
        return Cell(quantity=quantity, text="unknown", interval=quantity.reason or "")
    exact = quantity.low == quantity.high
    share = 100 / scale if scale > 0 else 0.0
    return Cell(
        quantity=quantity,
        text=form(quantity.value),
        interval="counted" if exact else f"{form(quantity.low)} to {form(quantity.high)}",
        start=quantity.low * share,
        middle=quantity.value * share,
        end=quantity.high * share,
    )
