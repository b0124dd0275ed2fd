"""Base units, and how they are read and written.

Inside the package a number is always in base units, and its name says which:
``flops`` and ``int_ops`` (counts), ``*_bytes``, ``*_seconds``, ``*_joules``,
``*_dollars``, and rates as ``*_per_second``. Prefixes exist only at the edge, here.
Binary prefixes (KiB) are powers of 1,024, decimal ones (kB) powers of 1,000.
"""

import math
import re

from microdollar.errors import UsageError

_DECIMAL = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15, "e": 10**18}
_COUNT = _DECIMAL | {"b": 10**9}  # as in 7B parameters; of bytes a B is the unit
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40, "pi": 2**50, "ei": 2**60}
# No repeated group may match a run of digits in two ways, or a hostile string takes for ever.
_NUMBER = re.compile(
    r"\s*(?=\.?\d)(?P<whole>\d*(?:_\d+)*)(?:\.(?P<fraction>\d*))?"
    r"(?:e(?P<exponent>[+-]?\d{1,3}))?\s*(?P<suffix>[a-z]*)\s*",
    re.ASCII,
)

SECONDS_PER_HOUR = 3600


def parse_count(text: str) -> int:
    """A count with an optional decimal prefix: ``"1_000_000"``, ``"1M"``, ``"1e6"``, ``"7B"``.

    Raises:
        UsageError: if it is not a whole, non-negative number below 2**63.

    Examples:
        >>> parse_count("1.5M")
        1500000
    """
    found = _match(text)
    return _whole(text, found, found["suffix"], prefixes=_COUNT, unit="")


def parse_bytes(text: str) -> int:
    """A number of bytes with an optional prefix: ``"1000"``, ``"1.5GB"``, ``"512 MiB"``.

    Raises:
        UsageError: if it is not a whole, non-negative number of bytes below 2**63.

    Examples:
        >>> parse_bytes("2 KiB")
        2048
    """
    found = _match(text)
    prefix = found["suffix"].removesuffix("b")
    return _whole(text, found, prefix, prefixes=_DECIMAL | _BINARY, unit="bytes")


_DURATION_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(text: str) -> float:
    """Seconds of a duration: ``"90"``, ``"15min"``, ``"12h"``, ``"7d"``, ``"2w"``.

    Raises:
        UsageError: if it is not a positive number with one of these units.

    Examples:
        >>> parse_duration("1.5h")
        5400.0
    """
    found = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{0,12})?)\s*([a-z]*)\s*", text.lower(), re.ASCII)
    unit = "s" if found and not found[2] else found[2] if found else ""
    if found is None or unit not in _DURATION_SECONDS or not float(found[1]) > 0:
        units = ", ".join(_DURATION_SECONDS)
        raise UsageError(f"{text[:40]!r} is not a duration. Type for example 12h; units: {units}.")
    return float(found[1]) * _DURATION_SECONDS[unit]


def _match(text: str) -> re.Match[str]:
    found = _NUMBER.fullmatch(text.lower()) if len(text) <= 64 else None
    if found is None:
        raise UsageError(f"{text[:64]!r} is not a number. Type for example 1000000, 1M or 1e6.")
    return found


def _whole(
    text: str, found: re.Match[str], prefix: str, *, prefixes: dict[str, int], unit: str
) -> int:
    if prefix not in prefixes:
        accepted = " ".join(filter(None, prefixes))
        raise UsageError(f"{text!r}: unknown prefix {prefix!r}. Accepted: {accepted}.")
    # In integers throughout: a float would lose digits past 2**53, and 1.001k is not 1000.9...
    fraction = found["fraction"] or ""
    scale = int(found["exponent"] or 0) - len(fraction)
    up, down = int("1" + "0" * max(scale, 0)), int("1" + "0" * max(-scale, 0))
    value, rest = divmod(int(found["whole"] + fraction) * prefixes[prefix] * up, down)
    if rest or value >= 2**63:
        raise UsageError(
            f"{text!r} is not a whole number{' of ' + unit if unit else ''} below 2**63."
        )
    return value


def format_si(value: float, unit: str = "", digits: int = 3) -> str:
    """A number with a decimal prefix and ``digits`` significant digits.

    Examples:
        >>> format_si(5.94e12, "FLOP")
        '5.94 TFLOP'
        >>> format_si(999.96, "B")
        '1.00 kB'

    Beyond the prefixes (below 1e-15, from 1e21) it has an exponent instead.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    rounded = f"{value:.{digits - 1}e}"
    mantissa, exponent = rounded.split("e")
    thousands, tens = divmod(int(exponent), 3)
    if not -5 <= thousands <= 6:
        return f"{rounded} {unit}".rstrip()
    prefix = ["f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E"][thousands + 5]
    return f"{float(mantissa) * 10**tens:.{max(digits - 1 - tens, 0)}f} {prefix}{unit}".rstrip()


def format_bytes(value: float) -> str:
    """Bytes with decimal prefixes.

    Examples:
        >>> format_bytes(90_900_000)
        '90.9 MB'
    """
    return f"{value:.0f} B" if abs(value) < 999.5 else format_si(value, "B")


def format_seconds(value: float) -> str:
    """A duration as people say it.

    Examples:
        >>> format_seconds(0.0021), format_seconds(75), format_seconds(7260)
        ('2.10 ms', '75.0 s', '2 h 01 min')
    """
    if value < 0:
        return "-" + format_seconds(-value)
    if value < 120 or not math.isfinite(value):
        return format_si(value, "s")
    minutes = round(value / 60)
    if minutes < 120:
        return f"{value / 60:.1f} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    days = value / 86400
    return f"{days:.1f} days" if days < 1e15 else f"{days:.2e} days"


def format_dollars(value: float) -> str:
    """Money; below a cent in microdollars, which is what small models cost.

    Examples:
        >>> format_dollars(1.1e-6), format_dollars(12.5)
        ('1.10 µ$', '$12.50')
    """
    if value < 0:
        return "-" + format_dollars(-value)
    if value == 0 or 0.01 <= value < 1e15 or not math.isfinite(value):
        return f"${value:,.2f}"
    if not 1e-12 <= value < 1e15:
        return f"${value:.2e}"
    rounded = f"{value * 1e6:.2e}"
    return f"{float(rounded):,.{max(2 - int(rounded.split('e')[1]), 0)}f} µ$"


def format_joules(value: float) -> str:
    """Energy, in joules below a kilowatt-hour and in kilowatt-hours above.

    Examples:
        >>> format_joules(12.5), format_joules(7.2e6)
        ('12.5 J', '2.00 kWh')
    """
    return format_si(value, "J") if abs(value) < 3.6e6 else format_si(value / 3600, "Wh")
