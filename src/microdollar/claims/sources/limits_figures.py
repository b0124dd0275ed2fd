"""What stands beside each figure of energy of the document on efficient reasoning.

Ours by this package's formulas, what the document's own numbers give, and readings under which it
would be right. Nothing is typed in but sourced constants and the document's numbers.
"""

from microdollar.claims.row import Finding, Reading
from microdollar.claims.sources.limits_premises import (
    DEVICES,
    DTYPE,
    KELVIN,
    LENGTH,
    Premises,
    interval,
    times,
)
from microdollar.estimator.limits.landauer import sum_bits
from microdollar.estimator.limits.operations import operation_energies
from microdollar.spec.arithmetic import Interval
from microdollar.spec.claims import UNITS
from microdollar.spec.device_catalog import list_devices
from microdollar.spec.system_power import system_powers

HOUSEHOLD_JOULES = 10_715 * UNITS["MWh"] / 1e3
"""Electricity of a U.S. residential customer in 2020, 10,715 kWh (EIA, Frequently Asked Questions,
"How much electricity does an American home use?", as of October 2021)."""
GPT3_FLOPS = 3.14e23
GPT3_V100_FLOPS_PER_SECOND = 24.6e12
GPT3_PUE = 1.1
"""Training of GPT-3: operations, what a V100 achieved, building (arXiv:2104.10350, table 4)."""
LIST_DOLLARS = 0.03
"""OpenAI's price of 1,000 prompt tokens of GPT-4 with a context of 8,192, March 2023."""
YEAR_DAYS = 365
# The document's own numbers, in base units.
_SAID_OPERATION = 1e-14
_SAID_BIT = 3e-21
_SAID_LAYER = 5e10
_SAID_LAYERS = 5e12
_SAID_REQUEST = 50.0
_SAID_DAY = 86.4e6
_SAID_DAY_JOULES = 4.3 * UNITS["MWh"]
_SAID_YEAR_JOULES = 1570 * UNITS["MWh"]
_OF_PASS = "ours of the whole pass"


def price(premises: Premises) -> Finding:
    """Dollars of 1,000 prompt tokens."""
    serving = premises.serving
    return Finding(
        ours=times(interval(serving.dollars), 1000 / serving.plan.prompt_tokens),
        readings=(
            Reading(
                condition="it is the list price of a prompt, not the cost of operation",
                value=LIST_DOLLARS,
            ),
        ),
        how=f"1,000 prompt tokens of GPT-3, the largest of them whose size is known, on "
        f"{DEVICES} x {premises.device.name} at its rent",
    )


def gpt3_joules() -> float:
    """Of the machines that trained GPT-3, without the building: operations over rate, times W."""
    return GPT3_FLOPS / GPT3_V100_FLOPS_PER_SECOND * _gpt3_watts()


def _gpt3_watts() -> float:
    """Of a V100 and its share of the host, as measured."""
    return next(row.watts for row in system_powers() if row.run == "GPT-3")


def training() -> Finding:
    """Joules of GPT-3's training, the building included."""
    return Finding(
        ours=Interval.of(gpt3_joules() * GPT3_PUE),
        how=f"{GPT3_FLOPS:.3g} FLOP at {GPT3_V100_FLOPS_PER_SECOND / 1e12:g} TFLOP/s a V100, "
        f"{_gpt3_watts():g} W a system, PUE {GPT3_PUE:g}: "
        "arXiv:2104.10350, table 4, where the figure is from",
    )


def households(joules: float) -> Finding:
    """Customers who use so much in a year."""
    return Finding(
        ours=Interval.of(joules / HOUSEHOLD_JOULES),
        how=f"{HOUSEHOLD_JOULES / 3.6e6:,.0f} kWh a year and customer (EIA, 2020)",
    )


def bit(premises: Premises) -> Finding:
    """Joules of an erased bit."""
    return Finding(
        ours=Interval.of(premises.bit), how=f"k T ln 2 at {KELVIN:g} K, k exact (SI, 2019)"
    )


def operation(premises: Premises) -> Finding:
    """Joules of an operation."""
    rows = [row for device in list_devices() for row in operation_energies(device)]
    least = min(
        (row for row in rows if row.joules.value is not None), key=lambda row: row.joules.value or 0
    )
    return Finding(
        ours=premises.operation,
        how=f"busy watts over the {DTYPE} peak; the least of the catalog is "
        f"{least.joules.value:.2g} J ({least.device}, {least.dtype})",
    )


def distance(premises: Premises, *, own: bool) -> Finding:
    """An operation over an erased bit; ``own`` if the document gives both numbers there."""
    ours, bits = times(premises.operation, 1 / premises.bit), sum_bits(DTYPE)
    return Finding(
        ours=ours,
        own=_SAID_OPERATION / _SAID_BIT if own else None,
        readings=(
            Reading(
                condition=f"an operation erases {bits:g} bits, half of the {2 * bits:g}-bit sum "
                "that a multiply-accumulate overwrites",
                value=ours.value / bits,
            ),
        ),
        how=f"joules of a {DTYPE} operation over k T ln 2, one bit erased",
    )


def doubling(premises: Premises) -> Finding:
    """Operations of twice the length over those of the length."""
    whole, double = (premises.flops(length=length, whole=True) for length in (LENGTH, 2 * LENGTH))
    squares = premises.flops(length=2 * LENGTH) / premises.flops()
    return Finding(
        ours=Interval.of(double / whole),
        readings=(Reading(condition="scores and their use alone are counted", value=squares),),
        how="operations of a layer of attention with its four projections, 4,096 tokens over 2,048",
    )


def layer(premises: Premises) -> Finding:
    """Operations of one layer's squares."""
    return _flops(premises, 1, LENGTH**2 * premises.model.hidden)


def layers(premises: Premises) -> Finding:
    """Operations of all layers' squares."""
    count = premises.model.layers
    return _flops(premises, count, count * _SAID_LAYER)


def _flops(premises: Premises, layers: int, own: float) -> Finding:
    full = premises.flops(layers=layers)
    return Finding(
        ours=Interval.of(full),
        own=own,
        readings=(
            Reading(
                condition="one of the two products, or the causal half of both, with a "
                "multiply-accumulate as one operation",
                value=full / 4,
            ),
        ),
        how=f"4 N^2 d: two products, a multiply-accumulate is 2; the pass takes "
        f"{premises.pass_flops:.3g}, of which squares are "
        f"{premises.flops(layers=premises.model.layers) / premises.pass_flops:.1%}",
    )


def joules(premises: Premises) -> Finding:
    """Joules of all layers' squares."""
    then = _gpt3_watts() / GPT3_V100_FLOPS_PER_SECOND
    squares = premises.flops(layers=premises.model.layers)
    return Finding(
        ours=premises.squares,
        own=_SAID_LAYERS * _SAID_OPERATION,
        how=f"squares of all layers on {premises.device.name}; the whole pass "
        f"{premises.request.value:.3g} J. Its own numbers would need "
        f"{_SAID_REQUEST / _SAID_LAYERS:.0e} J an operation; V100 systems took {then:.2g} "
        f"(arXiv:2104.10350), {squares * then:.3g} J for the squares",
    )


def bulb(premises: Premises) -> Finding:
    """Seconds of a bulb on a request's energy."""
    return _given(premises, 1 / 60, "joules over 60 W")


def power(premises: Premises) -> Finding:
    """Watts of 1,000 requests a second."""
    return _given(premises, 1000, "joules times 1,000 a second")


def day(premises: Premises) -> Finding:
    """Joules of a day of requests."""
    return Finding(
        ours=times(premises.request, _SAID_DAY),
        own=_SAID_DAY * _SAID_REQUEST,
        how=f"4.3 is the number in GJ: a MWh is 3.6 GJ; {_OF_PASS}",
    )


def year(premises: Premises) -> Finding:
    """Joules of a year of them."""
    found = _SAID_DAY * _SAID_REQUEST
    return _follows(
        times(premises.request, _SAID_DAY * YEAR_DAYS),
        _SAID_DAY_JOULES * YEAR_DAYS,
        f"a day takes 4.3 MWh; the {found / UNITS['MWh']:.3g} MWh of its own 50 kW make "
        f"{found * YEAR_DAYS / UNITS['MWh']:.3g} a year",
        f"365 days; {_OF_PASS}",
    )


def year_households(premises: Premises) -> Finding:
    """Customers who use so much."""
    found = _SAID_DAY * _SAID_REQUEST * YEAR_DAYS
    return _follows(
        times(premises.request, _SAID_DAY * YEAR_DAYS / HOUSEHOLD_JOULES),
        _SAID_YEAR_JOULES / HOUSEHOLD_JOULES,
        f"a year takes 1,570 MWh; the {found / UNITS['MWh']:.3g} MWh of its own 50 kW are of "
        f"{found / HOUSEHOLD_JOULES:.2g} households",
        f"{HOUSEHOLD_JOULES / 3.6e6:,.0f} kWh a year and customer (EIA, 2020); {_OF_PASS}",
    )


def _given(premises: Premises, scale: float, how: str) -> Finding:
    """Something proportional to the joules of a request, which the document has before it."""
    return _follows(
        times(premises.request, scale),
        scale * _SAID_REQUEST,
        f"a request takes {_SAID_REQUEST:g} J",
        f"{how}; {_OF_PASS}",
    )


def _follows(ours: Interval, own: float, condition: str, how: str) -> Finding:
    """A right sum of a number that has a row of its own."""
    return Finding(ours=ours, own=own, readings=(Reading(condition=condition, value=own),), how=how)
