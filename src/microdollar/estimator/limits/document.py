"""The claims of the document on efficient reasoning about energy, as data.

Nothing that stands beside a claim is typed in but sourced constants and the document's numbers.
"""

from microdollar.estimator.limits.claims import (
    ORDER,
    CheckedLimit,
    Found,
    LimitClaim,
    check_claim,
)
from microdollar.estimator.limits.landauer import ROOM_KELVIN, sum_bits
from microdollar.estimator.limits.operations import operation_energies
from microdollar.estimator.limits.premises import DEVICES, LENGTH, Premises, interval, times
from microdollar.spec.arithmetic import Interval
from microdollar.spec.claims import UNITS
from microdollar.spec.device import DeviceSpec
from microdollar.spec.device_catalog import list_devices, load_device
from microdollar.spec.system_power import system_powers

DEVICE = "h100-sxm"
"""Of a reader of today; the document names none."""

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
_GIVEN_REQUEST = f"a request takes {_SAID_REQUEST:g} J"


def _price(premises: Premises) -> Found:
    ours: Interval | str = premises.serving if isinstance(premises.serving, str) else ""
    if not isinstance(premises.serving, str):
        ours = interval(premises.serving.dollars, 1000 / premises.serving.plan.prompt_tokens)
    return Found(
        ours=ours,
        readings=(("it is the list price of a prompt, not the cost of operation", LIST_DOLLARS),),
        how=f"1,000 prompt tokens of GPT-3, the largest of them whose size is known, on "
        f"{DEVICES} x {premises.device.name} at its rent",
    )


def _training(_: Premises) -> Found:
    watts = _gpt3_watts()
    return Found(
        ours=Interval.of(GPT3_FLOPS / GPT3_V100_FLOPS_PER_SECOND * watts * GPT3_PUE),
        how=f"{GPT3_FLOPS:.3g} FLOP at {GPT3_V100_FLOPS_PER_SECOND / 1e12:g} TFLOP/s a V100, "
        f"{watts:g} W a system, PUE {GPT3_PUE:g}: "
        "arXiv:2104.10350, table 4, where the figure is from",
    )


def _gpt3_watts() -> float:
    """Of a V100 and its share of the host, as measured."""
    return next(row.watts for row in system_powers() if row.run == "GPT-3")


def _households(joules: float) -> Found:
    return Found(
        ours=Interval.of(joules / HOUSEHOLD_JOULES),
        how=f"{HOUSEHOLD_JOULES / 3.6e6:,.0f} kWh a year and customer (EIA, 2020)",
    )


def _operation(premises: Premises) -> Found:
    rows = [row for device in list_devices() for row in operation_energies(device)]
    least = min(
        (row for row in rows if row.joules.value is not None), key=lambda row: row.joules.value or 0
    )
    return Found(
        ours=interval(premises.operation),
        how=f"busy watts over the {premises.row.dtype} peak; the least of the catalog is "
        f"{least.joules.value:.2g} J ({least.device}, {least.dtype})",
    )


def _distance(premises: Premises, own: float | None) -> Found:
    one = interval(premises.operation, 1 / premises.bit)
    bits = sum_bits(premises.row.dtype or "")
    return Found(
        ours=one,
        own=own,
        readings=()
        if isinstance(one, str)
        else (
            (f"an operation erases {bits:g} bits, half the sum that it overwrites",
             one.value / bits),
        ),
        how=f"joules of a {premises.row.dtype} operation over k T ln 2, one bit erased",
    )  # fmt: skip


def _doubling(premises: Premises) -> Found:
    whole, double = (premises.flops(length=length, whole=True) for length in (LENGTH, 2 * LENGTH))
    squares = premises.flops(length=2 * LENGTH) / premises.flops()
    return Found(
        ours=Interval.of(double / whole),
        readings=(("scores and their use alone are counted", squares),),
        how="operations of a layer of attention with its four projections, 4,096 tokens over 2,048",
    )


def _flops(premises: Premises, layers: int, own: float) -> Found:
    full = premises.flops(layers=layers)
    return Found(
        ours=Interval.of(full),
        own=own,
        readings=(
            (
                "one of the two products, or the causal half of both, with a "
                "multiply-accumulate as one operation",
                full / 4,
            ),
        ),
        how=f"4 N^2 d: two products, a multiply-accumulate is 2; the pass takes "
        f"{premises.pass_flops:.3g}, of which squares are "
        f"{premises.flops(layers=premises.model.layers) / premises.pass_flops:.1%}",
    )


def _joules(premises: Premises) -> Found:
    then = _gpt3_watts() / GPT3_V100_FLOPS_PER_SECOND
    squares = premises.flops(layers=premises.model.layers)
    request = premises.request
    passes = "" if isinstance(request, str) else f"; the whole pass {request.value:.3g} J"
    return Found(
        ours=interval(premises.squares),
        own=_SAID_LAYERS * _SAID_OPERATION,
        how=f"squares of all layers on {premises.device.name}{passes}. Its own numbers would need "
        f"{_SAID_REQUEST / _SAID_LAYERS:.0e} J an operation; V100 systems took {then:.2g} "
        f"(arXiv:2104.10350), {squares * then:.3g} J for the squares",
    )


def _at_scale(premises: Premises, scale: float, how: str, *, given: bool) -> Found:
    """Something proportional to the joules of a request: as a premise, or as a sum to check."""
    own = scale * _SAID_REQUEST
    return Found(
        ours=times(premises.request, scale),
        own=own,
        readings=((_GIVEN_REQUEST, own),) if given else (),
        how=f"{how}; ours of the whole pass",
    )


LIMIT_CLAIMS = (
    LimitClaim(
        key="gpt4-price",
        where="I",
        says="operating GPT-4 costs $0.03 for 1,000 tokens",
        value=0.03,
        unit="$",
        find=_price,
    ),
    LimitClaim(
        key="gpt3-training",
        where="I",
        says="training GPT-3 took 1,287 MWh",
        value=1287,
        unit="MWh",
        find=_training,
    ),
    LimitClaim(
        key="gpt3-households",
        where="I",
        says="1,287 MWh are a year's electricity of 120 American households",
        value=120,
        unit="",
        find=lambda _: _households(1287 * UNITS["MWh"]),
    ),
    LimitClaim(
        key="landauer",
        where="I",
        says="erasing a bit takes at least 3e-21 J at room temperature",
        value=3e-21,
        unit="J",
        find=lambda p: Found(
            ours=Interval.of(p.bit), how=f"k T ln 2 at {p.kelvin:g} K, k exact (SI, 2019)"
        ),
    ),
    LimitClaim(
        key="operation",
        where="I",
        says="a floating-point operation takes about 1e-14 J",
        value=1e-14,
        unit="J",
        factor=ORDER,
        find=_operation,
    ),
    LimitClaim(
        key="distance",
        where="I, X",
        says="an operation takes 1e7 times, 7 orders above, the least energy of a bit",
        value=1e7,
        unit="x",
        factor=ORDER,
        find=lambda p: _distance(p, _SAID_OPERATION / _SAID_BIT),
    ),
    LimitClaim(
        key="orders",
        where="I",
        says="modern computers are 6 to 7 orders above the least energy of a bit",
        value=1e6,
        to=1e7,
        unit="x",
        factor=ORDER,
        find=lambda p: _distance(p, None),
    ),
    LimitClaim(
        key="doubling",
        where="II",
        says="twice the length of a sequence quadruples the computation",
        value=4,
        unit="x",
        find=_doubling,
    ),
    LimitClaim(
        key="layer",
        where="II",
        says="one layer of attention takes 5e10 operations",
        value=5e10,
        unit="FLOP",
        find=lambda p: _flops(p, 1, 2048**2 * 12_288),
    ),
    LimitClaim(
        key="layers",
        where="II",
        says="attention of 96 layers takes 5e12 operations",
        value=5e12,
        unit="FLOP",
        find=lambda p: _flops(p, p.model.layers, 96 * _SAID_LAYER),
    ),
    LimitClaim(
        key="joules",
        where="II",
        says="attention of 96 layers takes 50 J",
        value=50,
        unit="J",
        find=_joules,
    ),
    LimitClaim(
        key="bulb",
        where="II",
        says="the energy of a request lights a 60 W bulb for 0.8 s",
        value=0.8,
        unit="s",
        find=lambda p: _at_scale(p, 1 / 60, "joules over 60 W", given=True),
    ),
    LimitClaim(
        key="power",
        where="II",
        says="1,000 requests a second take 50 kW",
        value=50,
        unit="kW",
        find=lambda p: _at_scale(p, 1000, "joules times 1,000 a second", given=True),
    ),
    LimitClaim(
        key="day",
        where="II",
        says="86.4 million requests, a day of them, take 4.3 MWh",
        value=4.3,
        unit="MWh",
        find=lambda p: _at_scale(
            p, _SAID_DAY, "4.3 is the number in GJ: a MWh is 3.6 GJ", given=False
        ),
    ),
    LimitClaim(
        key="year",
        where="II",
        says="a year of 86.4 million requests a day takes 1,570 MWh",
        value=1570,
        unit="MWh",
        find=lambda p: _at_scale(
            p, _SAID_DAY * YEAR_DAYS, "365 days of the slip before", given=False
        ),
    ),
    LimitClaim(
        key="year-households",
        where="II",
        says="86.4 million requests a day take the electricity of 150 households",
        value=150,
        unit="",
        find=lambda p: _at_scale(
            p,
            _SAID_DAY * YEAR_DAYS / HOUSEHOLD_JOULES,
            f"of {HOUSEHOLD_JOULES / 3.6e6:,.0f} kWh (EIA, 2020): 1,570 MWh would be "
            f"{1570 * UNITS['MWh'] / HOUSEHOLD_JOULES:.0f} of them",
            given=False,
        ),
    ),
)
"""In the order of the document."""


def check_limit_claims(
    device: DeviceSpec | None = None, kelvin: float = ROOM_KELVIN
) -> tuple[CheckedLimit, ...]:
    """Every claim of ``LIMIT_CLAIMS`` with its verdict.

    Args:
        device: on which ours are computed; an H100 if None.
        kelvin: temperature of the surroundings.

    Raises:
        SpecError: if the temperature is out of range.
    """
    premises = Premises(load_device(DEVICE) if device is None else device, kelvin)
    return tuple(check_claim(claim, premises) for claim in LIMIT_CLAIMS)
