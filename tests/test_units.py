import math
from decimal import Decimal, InvalidOperation, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.units import (
    format_bytes,
    format_dollars,
    format_joules,
    format_seconds,
    format_si,
    parse_bytes,
    parse_count,
)

PREFIXES = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
FORMATS = [format_bytes, format_dollars, format_joules, format_seconds, format_si]

# Text that looks like a number, and text that does not.
HOSTILE = st.text(max_size=80) | st.text("0123456789_.,eEkKmMiIbB+- \t\n", max_size=70)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("1_000_000", 1_000_000),
        ("1M", 1_000_000),
        ("1m", 1_000_000),
        ("1e6", 1_000_000),
        (" 1.5 M ", 1_500_000),
        ("1.001k", 1001),
        (".5k", 500),
        ("5.", 5),
        ("1e", 10**18),
        ("7B", 7 * 10**9),
        ("1.5b", 1_500_000_000),
        ("2.5e3k", 2_500_000),
        ("1200e-2", 12),
        ("9007199254740993.0", 2**53 + 1),
        ("9.223372036854775807e18", 2**63 - 1),
    ],
)
def test_counts(text, count):
    assert parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000),
        ("1B", 1),
        ("1.5GB", 1_500_000_000),
        ("512 MiB", 512 * 2**20),
        ("2ki", 2048),
        ("0.5KiB", 512),
        ("7.999999999999999999EiB", None),
        ("1e2kb", 100_000),
    ],
)
def test_bytes(text, size):
    if size is None:
        with pytest.raises(UsageError, match="whole number of bytes"):
            parse_bytes(text)
    else:
        assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", ".", "e6", "-1", "+1", "1__0", "_1", "1_", "1,000", "0x10", "nan", "inf", "1.5"],
        *["1e-1", "1e19", "9223372036854775808", "1e9999", "1e999", "1kk", "1 M x", "1e1.5"],
        *["0" * 65, "1.0000000000000000000000000000000000001", "\N{ARABIC-INDIC DIGIT ONE}"],
    ],
)
@pytest.mark.parametrize("parse", [parse_count, parse_bytes])
def test_refused(parse, text):
    with pytest.raises(UsageError):
        parse(text)


def test_a_count_has_no_bytes():
    with pytest.raises(UsageError, match="unknown prefix 'kb'"):
        parse_count("1kB")
    with pytest.raises(UsageError, match="unknown prefix 'ki'"):
        parse_count("1Ki")


@pytest.mark.parametrize("parse", [parse_count, parse_bytes])
@given(text=HOSTILE)
def test_hostile_text_gives_a_count_or_a_usage_error(parse, text):
    try:
        value = parse(text)
    except UsageError as error:
        assert len(str(error)) < 400
    else:
        assert isinstance(value, int)
        assert 0 <= value < 2**63


@pytest.mark.parametrize("tail", ["!", "_", ".!", "e!", "_x1"])
@pytest.mark.timeout(10)
def test_a_long_run_of_digits_is_refused_at_once(tail):
    # A pattern that can split the digits in several ways would try 2**60 of them.
    with pytest.raises(UsageError):
        parse_count("1" * (64 - len(tail)) + tail)


@given(st.integers(0, 2**63 - 1))
def test_whole_numbers_come_back(value):
    for text in (str(value), f"{value:_}", f" {value} "):
        assert parse_count(text) == parse_bytes(text) == value


@given(
    st.from_regex(r"(0|[1-9][0-9]{0,20})(\.[0-9]{0,20})?", fullmatch=True),
    st.sampled_from(sorted(PREFIXES)),
)
def test_prefixes_are_exact(number, prefix):
    with localcontext() as context:
        context.prec = 100
        want = Decimal(number) * 10 ** PREFIXES[prefix]
        whole = want == want.to_integral_value() and want < 2**63
    if whole:
        assert parse_count(number + prefix) == parse_bytes(number + prefix + "B") == int(want)
    else:
        with pytest.raises(UsageError):
            parse_count(number + prefix)


@given(st.integers(0, 999), st.integers(0, 5), st.sampled_from(sorted(PREFIXES)))
def test_formatted_counts_are_read_back(number, decimals, prefix):
    value = number * 10 ** PREFIXES[prefix]
    if value < 2**63:
        digits = max(3, decimals)
        assert parse_count(format_si(value, digits=digits)) == value
        assert parse_bytes(format_bytes(value)) == value


@given(
    st.floats(-1e21, 1e21, exclude_min=True, exclude_max=True).filter(lambda x: abs(x) >= 1e-15),
    st.integers(1, 9),
)
def test_si_keeps_its_digits(value, digits):
    text = format_si(value, digits=digits)
    number, _, prefix = text.partition(" ")
    factor = {"f": -15, "p": -12, "n": -9, "µ": -6, "m": -3, **PREFIXES}[prefix]
    if "e" in number:  # rounded up past the last prefix
        assert float(text) == pytest.approx(value, rel=10.0 ** (1 - digits))
        return
    mantissa = abs(float(number))
    assert 1 <= mantissa < 1000
    # Half a unit in the last of the digits.
    assert float(number) * 10.0**factor == pytest.approx(value, rel=0.5001 * 10.0 ** (1 - digits))
    shown = number.lstrip("-").replace(".", "")
    assert len(shown) == max(digits, len(str(int(mantissa))))


@pytest.mark.parametrize("form", FORMATS)
@given(value=st.floats())
def test_every_float_can_be_shown(form, value):
    text = form(value)
    assert 0 < len(text) < 32
    assert text == text.strip()


@given(st.floats(5e-324, 1e300))
def test_what_costs_something_is_never_shown_as_free(value):
    for form in (format_dollars, format_joules, format_seconds, format_si):
        digits = form(value).replace("$", "").split(" ")[0].replace(",", "")
        try:
            assert Decimal(digits) > 0
        except InvalidOperation:
            pytest.fail(f"{form(value)!r} has no number")


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (format_si, 0, "0"),
        (format_si, 1, "1.00"),
        (format_si, 999.6, "1.00 k"),
        (format_si, 1e-9, "1.00 n"),
        (format_si, -1234, "-1.23 k"),
        (format_si, 1e21, "1.00e+21"),
        (format_bytes, 0, "0 B"),
        (format_bytes, 999.6, "1.00 kB"),
        (format_bytes, 82_304, "82.3 kB"),
        (format_seconds, 119.9, "120 s"),
        (format_seconds, 600, "10.0 min"),
        (format_seconds, 119.6 * 60, "2 h 00 min"),
        (format_seconds, 86400 * 3.5, "3.5 days"),
        (format_seconds, math.inf, "inf s"),
        (format_dollars, 0, "$0.00"),
        (format_dollars, 1234.5, "$1,234.50"),
        (format_dollars, 0.01, "$0.01"),
        (format_dollars, 0.0099, "9,900 µ$"),
        (format_dollars, 9.9999e-5, "100 µ$"),
        (format_dollars, 2.5e-9, "0.00250 µ$"),
        (format_joules, 3.6e6, "1.00 kWh"),
        (format_dollars, -12.5, "-$12.50"),
        (format_seconds, -7260, "-2 h 01 min"),
        (format_joules, 0.5, "500 mJ"),
    ],
)
def test_formats(form, value, text):
    assert form(value) == text
