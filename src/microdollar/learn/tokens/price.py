"""What squeezing saves and costs: dollars, seconds, and from where on it pays.

With n tokens, of which a part r is kept: squeezing takes f + s n seconds of a machine at d dollars
a second. It saves (1 - r) n tokens, at p dollars each, that a model need not read, at t seconds
each. So it pays in money from n = f d / ((1 - r) p - s d) tokens on, in time from
n = f / ((1 - r) t - s) on, and never where a denominator is not above 0.
"""

import math
from dataclasses import dataclass

from microdollar.errors import UsageError

MILLION = 1_000_000
HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """From where on squeezing pays."""

    tokens_for_money: float | None
    """Length of a text in tokens from which the money saved is more than that spent; None if
    none is that long, or the price is unknown."""
    tokens_for_time: float | None
    """Length from which the time saved is more than that taken; None if none is, or the
    time of a token is unknown."""
    least_dollars_per_million_tokens: float
    """Price of input from which a long text pays in money."""
    most_tokens_per_second: float
    """Speed of reading input up to which a long text pays in time."""


def dollars_of(tokens: float, dollars_per_million_tokens: float) -> float:
    """The price of some tokens.

    Raises:
        UsageError: for a price below 0 or not finite.

    Examples:
        >>> dollars_of(250_000, 3)
        0.75
    """
    price = _not_negative("dollars_per_million_tokens", dollars_per_million_tokens)
    return tokens * price / MILLION


def break_even(
    *,
    ratio: float,
    squeeze_seconds_per_token: float,
    fixed_seconds: float,
    machine_dollars_per_hour: float,
    dollars_per_million_tokens: float | None = None,
    tokens_per_second: float | None = None,
) -> BreakEven:
    """From which length, price and speed on squeezing pays.

    Args:
        ratio: part of the tokens that is kept, above 0 and below 1.
        squeeze_seconds_per_token: time of squeezing, per token of the whole text, above 0.
        fixed_seconds: time of squeezing that does not depend on the text, such as loading.
        machine_dollars_per_hour: what the machine costs that squeezes.
        dollars_per_million_tokens: what the model's provider takes for input.
        tokens_per_second: how fast the model reads input, above 0.

    Raises:
        UsageError: for a number outside of its range.
    """
    if not 0 < ratio < 1:
        raise UsageError(f"ratio is {ratio!r}. To save anything, keep a part between 0 and 1.")
    each = _above_zero("squeeze_seconds_per_token", squeeze_seconds_per_token)
    fixed = _not_negative("fixed_seconds", fixed_seconds)
    second = _not_negative("machine_dollars_per_hour", machine_dollars_per_hour) / HOUR_SECONDS
    dropped = 1 - ratio
    money = time = None
    if dollars_per_million_tokens is not None:
        money = _from(
            fixed * second, dollars_of(dropped, dollars_per_million_tokens), each * second
        )
    if tokens_per_second is not None:
        speed = _above_zero("tokens_per_second", tokens_per_second)
        time = _from(fixed, dropped / speed, each)
    return BreakEven(
        tokens_for_money=money,
        tokens_for_time=time,
        least_dollars_per_million_tokens=MILLION * each * second / dropped,
        most_tokens_per_second=dropped / each,
    )


def _from(fixed: float, saved: float, spent: float) -> float | None:
    """Tokens from which what each saves makes up for what it and the start take."""
    return fixed / (saved - spent) if saved > spent else None


def _not_negative(name: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise UsageError(f"{name} is {value!r}. Give a number that is 0 or more.")
    return value


def _above_zero(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise UsageError(f"{name} is {value!r}. Give a number above 0.")
    return value
