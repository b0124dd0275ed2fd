"""What a document claims about a plan: its numbers, the sums that they come from, and why."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microdollar.errors import SpecError, nearest
from microdollar.spec.arithmetic import evaluate, names_in
from microdollar.spec.tables import build, require_table, require_tables
from microdollar.units import format_si

UNITS = {
    "": 1.0,
    "x": 1.0,
    "%": 0.01,
    "FLOP": 1.0,
    "GFLOP": 1e9,
    "TFLOP": 1e12,
    "FLOP/s": 1.0,
    "TFLOP/s": 1e12,
    "op": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "GB/s": 1e9,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "J": 1.0,
    "kJ": 1e3,
    "MB/s": 1e6,
    "us": 1e-6,
    "ms": 1e-3,
    "bits/byte": 1.0,
    "bits": 1.0,
    "nats": 1.0,
    "steps": 1.0,
    "per second": 1.0,
    "MWh": 3.6e9,
    "W": 1.0,
    "kW": 1e3,
    "$": 1.0,
}
"""Units of claims, in base units."""

_COUNTED = ("FLOP", "op", "FLOP/s")


def number_text(value: float, unit: str) -> str:
    """A number in its unit, with the four digits at most that documents print.

    Examples:
        >>> number_text(1187.0, "MB"), number_text(-0.658, "bits/byte"), number_text(1.5e8, "op")
        ('1187 MB', '-0.658 bits/byte', '150.0 Mop')
    """
    if unit in _COUNTED and abs(value) >= 1:
        return format_si(value, unit, digits=4)
    text = f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
    text = re.sub(r"e([+-])0*", lambda found: "e" + found[1].strip("+"), text)
    return f"${text}" if unit == "$" else f"{text} {unit}".rstrip()


def rounds_to(value: float, printed: float) -> bool:
    """Whether a number is another at the digits that this is printed with.

    Zeros at the end are no digits, but a number from 1 has at least two: 1.1e-4 is 1e-4, 12,380 is
    12,400, and 12 is not 10.

    Examples:
        >>> rounds_to(1.1e-4, 1e-4), rounds_to(12380, 12400), rounds_to(12, 10)
        (True, True, False)
    """
    digits = len(f"{abs(printed):.12e}".split("e")[0].replace(".", "").rstrip("0"))
    digits = max(digits, 2 if abs(printed) >= 1 else 1)
    return math.isfinite(value) and float(f"{value:.{digits - 1}e}") == printed


_SMALLEST = 1e-40
_RANGE = f"ratios are of numbers from {_SMALLEST:g} to {1 / _SMALLEST:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A number that a document states about a plan, in its own unit."""

    quantity: str
    """What it is of, in words or as a name that estimates have (``seconds``, ``flops``, ...)."""
    value: float | None = None
    """As stated; what ``own`` gives if the document never draws the conclusion."""
    unit: str = ""
    where: str = ""
    """Section, table or heading."""
    own: str = ""
    """The document's own sum for it, with its own numbers, in base units."""
    ours: str = ""
    """Our sum, of quantities of the estimate; the quantity itself if empty."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Options of the plan that differ for this claim."""
    than: str = ""
    """Another plan; the claim is of this plan's quantity over that of the other."""
    over: str = ""
    """The other plan's sum, if it is not the same as ``ours``."""
    than_changes: Mapping[str, Any] = field(default_factory=dict)
    """Options of the other plan that differ."""
    note: str = ""
    """Why the numbers agree or do not."""
    id: str = ""
    """``document/section/what``; made of those two if empty."""
    says: str = ""
    """The statement in words, if the quantity alone would not tell."""

    def __post_init__(self) -> None:
        if self.value is None and not self.own:
            raise SpecError(f"a claim of {self.quantity!r:.60} has no value and no own sum.")
        if self.value is not None and not _SMALLEST <= abs(self.value) <= 1 / _SMALLEST:
            raise SpecError(f"a claim of {self.quantity!r:.60} is {self.value}: {_RANGE}.")
        if self.unit not in UNITS:
            near = nearest(self.unit, UNITS)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise SpecError(
                f"unit {self.unit!r:.40} is not known.{hint} Accepted: {', '.join(UNITS)}."
            )
        if self.own and not _SMALLEST <= abs(evaluate(self.own).value) <= 1 / _SMALLEST:
            raise SpecError(f"own {self.own!r:.60} is {evaluate(self.own).value}: {_RANGE}.")
        for text in (self.ours, self.over):
            if text:
                names_in(text)
        if (self.over or self.than_changes) and not self.than:
            raise SpecError("a claim with over or than_changes needs than, the other plan.")

    @property
    def claimed(self) -> float:
        """In base units."""
        if self.value is None:
            return evaluate(self.own).value
        return self.value * UNITS[self.unit]


def read_claims(document: Mapping[str, Any], folder: Path | None) -> tuple[Claim, ...]:
    """The claims of a ``[document]`` table; names of other plans become paths.

    Raises:
        SpecError: naming the claim, the field and what is accepted.
    """
    found = []
    for index, table in enumerate(require_tables(document.get("claims", []), "[document] claims")):
        where, values = f"[document] claims[{index}]", dict(table)
        for name in ("changes", "than_changes"):
            require_table(values.get(name, {}), f"{where} {name}")
        than = values.get("than")
        if folder is not None and isinstance(than, str) and than.endswith(".toml"):
            values["than"] = str(folder / than)
        try:
            found.append(build(Claim, values, where))
        except SpecError as error:
            text = str(error)
            raise (error if where in text else SpecError(f"{where}: {text}")) from None
    return tuple(found)
