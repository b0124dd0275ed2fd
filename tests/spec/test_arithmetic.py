"""Sums as text: the same as Python's own, and nothing but sums."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import SpecError
from microdollar.spec.arithmetic import Interval, evaluate, names_in

NUMBERS = st.floats(0.01, 100).map(lambda number: f"{number!r}")
SUMS = st.recursive(
    NUMBERS,
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
    max_leaves=6,
)


@given(SUMS)
def test_the_same_as_python(text):
    try:
        wanted = eval(text)
    except ZeroDivisionError:
        with pytest.raises(SpecError):
            evaluate(text)
    else:
        found = evaluate(text)
        assert found.value == wanted
        assert found.low == found.value == found.high


def test_functions_and_powers():
    assert evaluate("ceil(50_000 / 16) * 100").value == 312_500
    assert evaluate("log10(10**6) - -1").value == pytest.approx(7)


@given(*(st.tuples(st.floats(0.1, 10), st.floats(0, 5), st.floats(0, 5)) for _ in range(2)))
def test_ends_are_those_of_every_value_between(first, second):
    names, middle = {}, {}
    for name, (low, below, above) in (("a", first), ("b", second)):
        names[name] = Interval(low=low, value=low + below, high=low + below + above)
        middle[name] = low + below + above / 2
    for text in ("a + b", "a - b", "a * b", "a / b", "a * (b - 3)", "a ** 2"):
        found = evaluate(text, names)
        assert found.low <= found.value <= found.high
        exact = eval(text, dict(middle))
        assert found.low <= exact + 1e-9
        assert exact - 1e-9 <= found.high


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no sum"),
        ("1 +", "is no sum"),
        ("__import__('os')", "is no sum"),
        ("a.b", "is no sum"),
        ("[1][0]", "is no sum"),
        ("True + 1", "is no sum"),
        ("1 if 2 else 3", "is no sum"),
        ("'a' * 3", "is no sum"),
        ("log10(1, 2)", "is no sum"),
        ("open", "'open' is not known. Known: seconds"),
        ("1 / 0", "has no value"),
        ("9.0 ** 9 ** 9", "has no value"),
        ("(-8) ** 0.5", "has no value"),
        ("log10(0)", "has no value"),
        ("1e999", "no finite value"),
        ("1" * 400, "too long"),
        ("(" * 150 + "1" + ")" * 140, "is no sum"),
        ("9" * 290, None),
    ],
)
def test_what_is_no_sum_is_refused(text, said):
    if said is None:
        assert math.isfinite(evaluate(text).value)
        return
    with pytest.raises(SpecError, match=said.replace("+", r"\+")):
        evaluate(text, {"seconds": Interval.of(1.0)})


@given(st.text(max_size=30))
def test_any_text_is_a_sum_or_one_clear_error(text):
    try:
        found = evaluate(text, {"a": Interval.of(2.0)})
    except SpecError as error:
        assert str(error)
    else:
        assert math.isfinite(found.value)


def test_names():
    assert names_in("ceil(seconds) / 3_600 * flops") == {"seconds", "flops"}


def test_of_many_names_only_the_nearest_are_said():
    names = {f"value_{n}": Interval.of(float(n)) for n in range(500)}
    with pytest.raises(SpecError, match="valeu_17") as error:
        evaluate("valeu_17", names)
    assert "value_17" in str(error.value)
    assert len(str(error.value)) < 200
