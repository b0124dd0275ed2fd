"""Prices and break-even: at the length that is named, both sides are equal."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.learn.tokens.price import break_even, dollars_of

POSITIVE = st.floats(1e-9, 1e4)


@given(
    ratio=st.floats(0.01, 0.99), each=POSITIVE, fixed=POSITIVE, hour=POSITIVE, price=POSITIVE,
    speed=POSITIVE,
)  # fmt: skip
def test_what_is_spent_is_what_is_saved(ratio, each, fixed, hour, price, speed):
    found = break_even(
        ratio=ratio, squeeze_seconds_per_token=each, fixed_seconds=fixed,
        machine_dollars_per_hour=hour, dollars_per_million_tokens=price, tokens_per_second=speed,
    )  # fmt: skip
    n = found.tokens_for_money
    if n is None:
        assert price <= found.least_dollars_per_million_tokens * (1 + 1e-9)
    elif price > 1.001 * found.least_dollars_per_million_tokens:
        spent = (fixed + n * each) * hour / 3600
        assert spent == pytest.approx(n * (1 - ratio) * price / 1e6, rel=1e-6)
    n = found.tokens_for_time
    if n is None:
        assert speed >= found.most_tokens_per_second * (1 - 1e-9)
    elif speed < 0.999 * found.most_tokens_per_second:
        assert fixed + n * each == pytest.approx(n * (1 - ratio) / speed, rel=1e-6)
    assert all(
        value is None or 0 < value < math.inf
        for value in (found.tokens_for_money, found.tokens_for_time)
    )


def test_by_hand():
    # 10 microseconds a token at 0.36 dollars an hour are 1e-9 dollars a token; half is saved.
    found = break_even(
        ratio=0.5, squeeze_seconds_per_token=1e-5, fixed_seconds=2, machine_dollars_per_hour=0.36,
        dollars_per_million_tokens=0.006, tokens_per_second=10_000,
    )  # fmt: skip
    assert found.least_dollars_per_million_tokens == pytest.approx(0.002)
    assert found.tokens_for_money == pytest.approx(2e-4 / 2e-9)
    assert found.most_tokens_per_second == pytest.approx(50_000)
    assert found.tokens_for_time == pytest.approx(2 / 4e-5)
    assert dollars_of(1_000_000, 3) == 3


def test_what_is_not_known_is_not_said():
    found = break_even(
        ratio=0.5, squeeze_seconds_per_token=1, fixed_seconds=0, machine_dollars_per_hour=1
    )
    assert (found.tokens_for_money, found.tokens_for_time) == (None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ratio", 1.0), ("ratio", math.nan), ("squeeze_seconds_per_token", 0),
        ("fixed_seconds", -1), ("machine_dollars_per_hour", math.inf),
        ("dollars_per_million_tokens", -1),
        ("tokens_per_second", 0),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_named(name, value):
    usual = {
        "ratio": 0.5, "squeeze_seconds_per_token": 1, "fixed_seconds": 0,
        "machine_dollars_per_hour": 1,
    }  # fmt: skip
    with pytest.raises(UsageError, match=name):
        break_even(**{**usual, name: value})
