import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar import errors
from microdollar.errors import MicrodollarError, MissingExtraError, UnknownNameError, nearest

KNOWN = ["ngram", "satrnn", "readout-sgd", "rnn-bptt", "H100-SXM"]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("MicrodollarError", 1),
        ("UsageError", 2),
        ("UnknownNameError", 2),
        ("CorpusError", 1),
        ("ModelFileError", 1),
        ("LedgerError", 1),
        ("MissingExtraError", 1),
        ("CheckFailedError", 3),
        ("CannotEstimateError", 4),
    ],
)
def test_exit_codes(kind, code):
    assert getattr(errors, kind).exit_code == code


def test_every_error_is_a_microdollar_error():
    here = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
    found = [one for one in here if one.__module__ == errors.__name__]
    assert len(found) == 14
    assert all(issubclass(one, MicrodollarError) for one in found)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("ngarm", "ngram"), ("SATRNN", "satrnn"), ("bptt", "rnn-bptt"), ("h100", "H100-SXM")],
)
def test_the_nearest_name_is_offered(typed, meant):
    error = UnknownNameError("learner", typed, KNOWN, "See: microdollar doctor.")
    assert error.nearest[0] == meant
    assert str(error).startswith(f"unknown learner {typed!r}. Did you mean {meant}")
    assert str(error).endswith("See: microdollar doctor.")


def test_without_a_near_name_the_known_ones_are_listed():
    error = UnknownNameError("learner", "zzz", KNOWN)
    assert error.nearest == []
    assert "Known: H100-SXM, ngram, readout-sgd" in str(error)


@given(st.text(max_size=200), st.lists(st.text(max_size=20)), st.integers(1, 5))
def test_nearest_gives_known_names_once(name, known, count):
    found = nearest(name, known, count)
    assert len(found) <= count
    assert len(set(found)) == len(found)
    assert set(found) <= set(known)
    if name in known and name:
        assert found[0].casefold() == name.casefold()


@given(st.text(max_size=200))
def test_the_message_stays_on_its_lines(name):
    message = str(UnknownNameError("device", name, KNOWN))
    assert len(message.splitlines()) == 1


def test_a_missing_extra_says_what_to_type():
    error = MissingExtraError("torch", "torch", "the trained baseline")
    assert "pip install 'microdollar[torch]'" in str(error)
    assert "the trained baseline needs torch" in str(error)
