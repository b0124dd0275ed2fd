"""The best sizes for a budget: operations, dollars or joules."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from microdollar.errors import CannotEstimateError, UsageError
from microdollar.estimator.parts import Assumption
from microdollar.estimator.scaling.law import Interval, Law, finite_loss, spread
from microdollar.estimator.scaling.points import Axis
from microdollar.spec.device import DeviceSpec
from microdollar.units import SECONDS_PER_HOUR

MFU = 0.4
"""Share of a device's peak that training uses, where none is given: the middle of the 0.28 to 0.64
of whole training steps that MosaicML's llm-foundry measured."""
_LARGEST_LOG = 690.0
_DTYPES = ("bfloat16", "float16", "float32")
"""Whose peak counts, the first that the device has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """Sizes that give the least loss for some operations, by a law."""

    flops: float
    params: float | None
    """None where the law has no N."""
    tokens: float | None
    loss: float
    params_intervals: tuple[Interval, ...]
    """By the resampled fits, like the others; empty without a bootstrap."""
    tokens_intervals: tuple[Interval, ...]
    loss_intervals: tuple[Interval, ...]

    def sizes(self) -> dict[Axis, float]:
        """Those that are known."""
        known: dict[Axis, float | None] = {
            "params": self.params, "tokens": self.tokens, "flops": self.flops,
        }  # fmt: skip
        return {axis: size for axis, size in known.items() if size is not None}


def optimum(law: Law, flops: float) -> Optimum:
    """The best use of some operations.

    Of a law of N and D: along C = k N D, where k is the law's ``flops_per_param_token`` (6 unless
    its runs say another), the least of A/N**alpha + B/D**beta is at
    N = (alpha A / (beta B))**(1/(alpha+beta)) (C/k)**(beta/(alpha+beta)) (Hoffmann et al. 2022,
    equation 4), and of Kaplan's form where the derivative of its base by N is 0, at
    N**(r+1) = r Nc**r C / (k Dc) with r = alpha_N / alpha_D. Of a law of D: the data that the
    operations pay for.

    Args:
        law: fitted or published.
        flops: operations of training.

    Raises:
        UsageError: if the budget is not positive.
        CannotEstimateError: if the law does not tell what operations buy.
    """
    if not 0 < flops < math.inf:
        raise UsageError(f"a budget of {flops:g} operations is not a positive, finite number.")
    sizes = _best_sizes(law, law.parameters, flops)
    drawn = [(_best_sizes(law, draw, flops), draw) for draw in law.drawn()]
    losses = [finite_loss(law.form, best, draw) for best, draw in drawn]
    by_axis = {
        axis: tuple(spread(sizes[axis], [best[axis] for best, _ in drawn])) for axis in sizes
    }
    loss = law.loss(sizes)
    return Optimum(
        flops=flops,
        params=sizes.get("params"),
        tokens=sizes.get("tokens"),
        loss=loss,
        params_intervals=by_axis.get("params", ()),
        tokens_intervals=by_axis.get("tokens", ()),
        loss_intervals=tuple(spread(loss, losses)),
    )


def params_exponent(law: Law) -> float:
    """The power of compute with which the optimal N grows (Hoffmann's a).

    Raises:
        UsageError: if the law is not of N and D.
    """
    return exponent_of(law, law.parameters)


def exponent_of(law: Law, parameters: Mapping[str, float]) -> float:
    """As ``params_exponent``, of other parameters of the same form (a resampled fit's).

    Raises:
        UsageError: if the law is not of two sizes.
    """
    if len(law.form.axes) != 2:
        raise UsageError("only a law of params and tokens has an optimal share of each.")
    first, second = (parameters[name] for name in law.form.exponents)
    if law.form.name == "kaplan":
        return 1 / (1 + first / second)
    return second / (first + second)


def _best_sizes(law: Law, parameters: Mapping[str, float], flops: float) -> dict[Axis, float]:
    form = law.form
    if form.name == "flops":
        return {"flops": flops}
    if form.name == "tokens":
        if law.flops_per_token is None:
            raise CannotEstimateError(
                "this law of data does not know what a token costs: its runs had no flops. "
                "Fit it with a column of flops."
            )
        return {"tokens": flops / law.flops_per_token}
    if form.name == "params":
        raise CannotEstimateError(
            "a law of params alone does not say how much data a size needs. Fit --form chinchilla."
        )
    product = flops / law.flops_per_param_token
    first, second = (parameters[name] for name in form.exponents)
    scales = [math.log(parameters[name]) for name in form.scales]
    if form.name == "kaplan":
        ratio = first / second
        log_params = (math.log(ratio) + ratio * scales[0] - scales[1] + math.log(product)) / (
            1 + ratio
        )
    else:
        log_params = (
            math.log(first / second) + scales[0] - scales[1] + second * math.log(product)
        ) / (first + second)
    log_tokens = math.log(product) - log_params
    if max(abs(log_params), abs(log_tokens)) > _LARGEST_LOG:
        raise CannotEstimateError("the best sizes for this budget are beyond any number.")
    return {"params": math.exp(log_params), "tokens": math.exp(log_tokens)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopPrice:
    """What an operation costs on a device that trains."""

    dollars: float | None
    joules: float | None
    assumptions: tuple[Assumption, ...]


def flop_price(device: DeviceSpec, *, mfu: float = MFU) -> FlopPrice:
    """Price and energy of one operation of training.

    Args:
        device: with its peak, price and power.
        mfu: share of the peak that training uses, above 0 to 1.

    Raises:
        UsageError: if ``mfu`` is no such share.
        CannotEstimateError: if no peak of the device is known.
    """
    if not 0 < mfu <= 1:
        raise UsageError(f"a share of peak (MFU) of {mfu:g} is not above 0 and at most 1.")
    peak, which = _peak(device)
    rate = peak * mfu
    price, watts = device.dollars_per_hour.value, device.busy_watts.value
    found = [
        Assumption(key="device", value=device.name, source=device.source),
        Assumption(key=f"peak, {which}", value=peak, unit="FLOP/s", source=device.source),
        Assumption(
            key="share of peak (MFU)",
            value=mfu,
            source="whole training steps reach 0.28 to 0.64 (MosaicML)" if mfu == MFU else "given",
        ),
    ]
    if price is not None:
        source = device.price_source or device.source
        found.append(Assumption(key="price", value=price, unit="$/h", source=source))
    if watts is not None:
        source = device.busy_watts.reason or device.source
        found.append(Assumption(key="power", value=watts, unit="W", source=source))
    return FlopPrice(
        dollars=None if price is None else price / SECONDS_PER_HOUR / rate,
        joules=None if watts is None else watts / rate,
        assumptions=tuple(found),
    )


def flops_for(
    device: DeviceSpec,
    *,
    dollars: float | None = None,
    joules: float | None = None,
    mfu: float = MFU,
) -> tuple[float, FlopPrice]:
    """Operations that some money or energy buys, and the price they were bought at.

    Raises:
        UsageError: if not exactly one of dollars and joules is given, or it is not positive.
        CannotEstimateError: if the device has no price, no power or no peak.
    """
    if (dollars is None) == (joules is None):
        raise UsageError("give dollars or joules, one of them.")
    price = flop_price(device, mfu=mfu)
    amount, each = (dollars, price.dollars) if dollars is not None else (joules, price.joules)
    what = "dollars" if dollars is not None else "joules"
    assert amount is not None
    if not 0 < amount < math.inf:
        raise UsageError(f"a budget of {amount:g} {what} is not a positive, finite number.")
    if not each:
        missing = "price" if dollars is not None else "power"
        raise CannotEstimateError(
            f"the {missing} of {device.name} is not known. Give --budget-flops."
        )
    return amount / each, price


def _peak(device: DeviceSpec) -> tuple[float, str]:
    for dtype in _DTYPES:
        if dtype in device.flops_per_second:
            return device.flops_per_second[dtype], dtype
    curve = device.rates.matmul_flops_per_second.get("torch/float32") if device.rates else None
    if device.rates is None or not curve:
        raise CannotEstimateError(
            f"no peak of {device.name} is known. Give --budget-flops, or another --device."
        )
    gain = max(rate for _, rate in device.rates.matmul_thread_gain)
    return max(rate for _, rate in curve) * gain, "float32 products as measured"
