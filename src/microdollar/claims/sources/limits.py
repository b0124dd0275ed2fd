"""Figures of energy and attention of the document on efficient reasoning."""

import math
from collections.abc import Iterator

from microdollar.claims.row import Claim, Finding
from microdollar.claims.sources import limits_figures as figures
from microdollar.claims.sources.limits_premises import Premises
from microdollar.claims.world import World
from microdollar.spec.claims import UNITS

DOCUMENT = "efficient-reasoning"
PRINTED = 1.05
"""Documents print two or three digits."""
ORDER = math.sqrt(10)
"""An order of magnitude is printed to the nearest whole one."""

Row = tuple[Claim, Finding]


def limit_rows(document: str, world: World) -> Iterator[Row]:
    """The figures of energy of the document on efficient reasoning; no others."""
    if document == DOCUMENT:
        premises = Premises()
        yield from _introduction(premises)
        yield from _attention(premises)
        yield from _requests(premises)


def _introduction(premises: Premises) -> Iterator[Row]:
    yield _row(
        "I/gpt4-price",
        "Operating GPT-4 costs $0.03 for 1,000 tokens",
        (0.03, "$"),
        figures.price(premises),
    )
    yield _row(
        "I/gpt3-training",
        "Training GPT-3 took 1,287 MWh",
        (1287, "MWh"),
        figures.training(),
        replaces=("i/joules",),
    )
    yield _row(
        "I/gpt3-households",
        "1,287 MWh are a year's electricity of 120 American households",
        (120, ""),
        figures.households(1287 * UNITS["MWh"]),
    )
    yield _row(
        "I/landauer",
        "Erasing a bit takes at least 3e-21 J at room temperature",
        (3e-21, "J"),
        figures.bit(premises),
        replaces=("i/landauer-joules-per-bit",),
    )
    yield _row(
        "I/operation",
        "A floating-point operation takes about 1e-14 J",
        (1e-14, "J"),
        figures.operation(premises),
        factor=ORDER,
        replaces=("i/joules-of-an-operation",),
    )
    yield _row(
        "I, X/distance",
        "An operation takes 1e7 times, 7 orders above, the least energy of a bit",
        (1e7, "x"),
        figures.distance(premises, own=True),
        factor=ORDER,
        replaces=("i/an-operation-times-landauer-s-limit",),
    )
    yield _row(
        "I/orders",
        "Modern computers are 6 to 7 orders above the least energy of a bit",
        (1e6, "x"),
        figures.distance(premises, own=False),
        to=1e7,
        factor=ORDER,
    )


def _attention(premises: Premises) -> Iterator[Row]:
    yield _row(
        "II/doubling",
        "Twice the length of a sequence quadruples the computation",
        (4, "x"),
        figures.doubling(premises),
    )
    yield _row(
        "II/layer",
        "One layer of attention takes 5e10 operations",
        (5e10, "FLOP"),
        figures.layer(premises),
        replaces=("ii/attention-flops-per-layer",),
    )
    yield _row(
        "II/layers",
        "Attention of 96 layers takes 5e12 operations",
        (5e12, "FLOP"),
        figures.layers(premises),
        replaces=("ii/attention-flops", "ii/operations-of-the-pass"),
    )
    yield _row(
        "II/joules",
        "Attention of 96 layers takes 50 J",
        (50, "J"),
        figures.joules(premises),
        replaces=(
            "ii/joules-of-attention-by-its-own-rate",
            "ii/joules-of-attention",
            "ii/joules-of-the-pass",
        ),
    )


def _requests(premises: Premises) -> Iterator[Row]:
    yield _row(
        "II/bulb",
        "The energy of a request lights a 60 W bulb for 0.8 s",
        (0.8, "s"),
        figures.bulb(premises),
        replaces=("ii/seconds-of-a-60-w-bulb",),
    )
    yield _row(
        "II/power",
        "1,000 requests a second take 50 kW",
        (50, "kW"),
        figures.power(premises),
        replaces=("ii/power-at-1-000-requests-a-second",),
    )
    yield _row(
        "II/day",
        "86.4 million requests, a day of them, take 4.3 MWh",
        (4.3, "MWh"),
        figures.day(premises),
        replaces=(
            "ii/energy-of-86-4-million-requests-a-day",
            "ii/energy-of-86-4-million-requests-a-day-the-whole-pass",
        ),
    )
    yield _row(
        "II/year",
        "A year of 86.4 million requests a day takes 1,570 MWh",
        (1570, "MWh"),
        figures.year(premises),
        replaces=("ii/energy-of-a-year",),
    )
    yield _row(
        "II/year-households",
        "86.4 million requests a day take the electricity of 150 households",
        (150, ""),
        figures.year_households(premises),
    )


def _row(
    name: str,
    claim: str,
    printed: tuple[float, str],
    finding: Finding,
    *,
    to: float | None = None,
    factor: float = PRINTED,
    replaces: tuple[str, ...] = (),
) -> Row:
    """A row; ``name`` is section and key, ``replaces`` names shipped plans' rows of the number."""
    published, unit = printed
    row = Claim(
        id=f"{DOCUMENT}/{name}",
        document=DOCUMENT,
        section=name.rpartition("/")[0],
        claim=claim,
        published=published,
        to=to,
        unit=unit,
        tolerance=0.0,
        factor=factor,
        replaces=tuple(f"{DOCUMENT}/{one}" for one in replaces),
    )
    return row, finding
