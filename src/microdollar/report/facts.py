"""What the results say: order, frontier, gaps and the headline, all from the rows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from microdollar.cost import Quantity
from microdollar.report.schema import Results, Row
from microdollar.units import (
    format_bytes,
    format_dollars,
    format_joules,
    format_seconds,
    format_si,
)

Evaluation = Literal["frozen", "adaptive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One of the six quantities of a cost, and how people read it."""

    name: str
    title: str
    format: Callable[[float], str]


def _flop(value: float) -> str:
    return format_si(value, "FLOP")


def _int_op(value: float) -> str:
    return format_si(value, "op")


MEASURES = (
    Measure(name="dollars", title="Money", format=format_dollars),
    Measure(name="seconds", title="Time", format=format_seconds),
    Measure(name="joules", title="Energy", format=format_joules),
    Measure(name="flops", title="Floating-point operations", format=_flop),
    Measure(name="int_ops", title="Integer operations", format=_int_op),
    Measure(name="memory_bytes", title="Allocated memory", format=format_bytes),
)
DOLLARS, SECONDS = MEASURES[0], MEASURES[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One score of one row against its cost."""

    row: int
    """Index in ``results.rows``."""
    evaluation: Evaluation
    cost: Quantity
    """Measured; its value is positive."""
    bits: float

    @property
    def x(self) -> float:
        """Where it stands on the axis of costs."""
        assert self.cost.value is not None
        return self.cost.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something that can't be shown, in words, and the rows that it is true of."""

    what: str
    reason: str
    rows: tuple[int, ...]


def by_cost(results: Results) -> list[int]:
    """Indices of the rows, cheapest first; where money is unknown by time; unknown last."""

    def key(index: int) -> tuple[float, float, int]:
        cost = results.rows[index].measured
        infinity = float("inf")
        dollars, seconds = cost.dollars.value, cost.seconds.value
        return (
            infinity if dollars is None else dollars,
            infinity if seconds is None else seconds,
            index,
        )

    return sorted(range(len(results.rows)), key=key)


def cost_axis(results: Results) -> Measure:
    """Money, or time if no row that was scored has a price."""
    scored = [row for row in results.rows if scores(row)]
    priced = any(row.measured.dollars.value for row in scored)
    timed = any(row.measured.seconds.value for row in scored)
    return SECONDS if timed and not priced else DOLLARS


def scores(row: Row) -> list[tuple[Evaluation, float]]:
    """The held-out scores that a row has."""
    both: tuple[tuple[Evaluation, float | None], ...] = (
        ("frozen", row.test_bits_per_byte),
        ("adaptive", row.test_bits_per_byte_adaptive),
    )
    return [(evaluation, bits) for evaluation, bits in both if bits is not None]


def points(results: Results) -> tuple[list[Point], list[Gap]]:
    """Scores that can be drawn against their cost, and why the others can't."""
    axis = cost_axis(results)
    drawn: list[Point] = []
    missing: list[tuple[str, str, int]] = []
    for index, row in enumerate(results.rows):
        found = scores(row)
        cost: Quantity = getattr(row.measured, axis.name)
        if not found:
            missing.append(("Held-out bits", "not scored", index))
        elif cost.value is None:
            missing.append((f"{axis.title}, measured", cost.reason or "", index))
        elif cost.value == 0:
            missing.append((f"{axis.title}, measured", "zero has no place on a log axis", index))
        else:
            drawn += [Point(row=index, evaluation=e, cost=cost, bits=bits) for e, bits in found]
    return drawn, gaps_of(missing)


def frontier(candidates: Sequence[Point], evaluation: Evaluation) -> list[Point]:
    """Points that no other point of the same evaluation beats in both cost and bits.

    Returns:
        Ascending in cost, strictly descending in bits.
    """
    best: list[Point] = []
    of_kind = (p for p in candidates if p.evaluation == evaluation)
    for point in sorted(of_kind, key=lambda p: (p.x, p.bits)):
        if not best or point.bits < best[-1].bits:
            best.append(point)
    return best


def gaps_of(missing: Iterable[tuple[str, str, int]]) -> list[Gap]:
    """What, why and of which row, with rows of the same reason together."""
    groups: dict[tuple[str, str], list[int]] = {}
    for what, reason, index in missing:
        groups.setdefault((what, reason), []).append(index)
    return [Gap(what=w, reason=r, rows=tuple(rows)) for (w, r), rows in groups.items()]


def headline(results: Results) -> str:
    """One sentence: who gives the best held-out bits, and for what share of the baseline's cost.

    The baseline is the row trained by gradient with the best frozen score.
    """
    counted = _best(results, "counted")
    trained = _best(results, "trained")
    if counted and trained:
        return _versus(counted, trained)
    only = counted or trained
    if only:
        paid = only.measured.dollars.value
        price = f", for {format_dollars(paid)}" if paid is not None else ""
        return (
            f"{only.label} gives the best held-out score: "
            f"{only.test_bits_per_byte:.2f} bits per byte{price}."
        )
    adaptive = best_adaptive(results)
    if adaptive:
        return (
            f"{adaptive.label} gives the best adaptive score: "
            f"{adaptive.test_bits_per_byte_adaptive:.2f} bits per byte on held-out bytes."
        )
    return "Nothing in these results was scored on held-out bytes."


def _versus(counted: Row, trained: Row) -> str:
    ours, theirs = counted.test_bits_per_byte, trained.test_bits_per_byte
    assert ours is not None and theirs is not None
    cost = _cost_ratio(counted, trained)
    if f"{ours:.2f}" == f"{theirs:.2f}":
        return f"{counted.label} matches {trained.label} at {ours:.2f} bits per byte{cost}."
    if ours < theirs:
        return (
            f"{counted.label} needs {ours:.2f} bits per held-out byte where "
            f"{trained.label} needs {theirs:.2f}{cost}."
        )
    return (
        f"{trained.label} gives the best held-out score, {theirs:.2f} bits per byte; "
        f"{counted.label} gives {ours:.2f}{cost}."
    )


def _cost_ratio(counted: Row, trained: Row) -> str:
    for name, noun in (("dollars", "cost"), ("seconds", "time")):
        ours = getattr(counted.measured, name).value
        theirs = getattr(trained.measured, name).value
        if ours and theirs:
            ratio = ours / theirs
            if ratio <= 0.1:
                return f", at 1/{times_text(1 / ratio)} of the {noun}"
            if ratio >= 1.15:
                return f", at {times_text(ratio)} times the {noun}"
            if ratio > 0.87:
                return f", at about the same {noun}"
            return f", at {100 * ratio:.0f} % of the {noun}"
    return ""


def times_text(ratio: float) -> str:
    """A factor with two significant digits, as people say it.

    Examples:
        >>> times_text(3941.2), times_text(1.34), times_text(27.8)
        ('3,900', '1.3', '28')
    """
    rounded = float(f"{ratio:.1e}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.1f}"


def best_frozen(results: Results) -> Row | None:
    """The row with the fewest held-out bits, frozen."""
    rows = [row for row in results.rows if row.test_bits_per_byte is not None]
    return min(rows, key=lambda row: row.test_bits_per_byte or 0.0, default=None)


def best_adaptive(results: Results) -> Row | None:
    """The row with the fewest held-out bits, adaptive."""
    rows = [row for row in results.rows if row.test_bits_per_byte_adaptive is not None]
    return min(rows, key=lambda row: row.test_bits_per_byte_adaptive or 0.0, default=None)


def _best(results: Results, kind: str) -> Row | None:
    rows = [r for r in results.rows if r.kind == kind and r.test_bits_per_byte is not None]
    return min(rows, key=lambda row: row.test_bits_per_byte or 0.0, default=None)


def interval_text(quantity: Quantity, write: Callable[[float], str]) -> str:
    """The 80 % interval in words; empty if it is a point or missing."""
    low, high = quantity.low, quantity.high
    if quantity.value is None or low is None or high is None or low == high:
        return ""
    start, end = write(low), write(high)
    number, _, unit = start.partition(" ")
    # "2 h 01 min" holds more than one number: such are left whole.
    shared = bool(unit) and end.count(" ") == 1 and end.endswith(f" {unit}")
    return f"{number if shared else start} to {end}"


def value_text(quantity: Quantity, write: Callable[[float], str]) -> str:
    """The value with its unit; ``–`` where it is missing, ``≥`` where a counter saw a part."""
    if quantity.value is None:
        return "–"
    partial = quantity.coverage is not None and quantity.coverage < 1
    return f"{'≥ ' if partial else ''}{write(quantity.value)}"
