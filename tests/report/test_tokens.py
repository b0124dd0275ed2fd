"""The figure of squeezed texts: well formed, in both schemes, no name on another."""

from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.report.tokens import rate_distortion, spread

isotonic_regression = pytest.importorskip("scipy.optimize").isotonic_regression


def row(scorer: str, ratio: float, bits: float | None) -> dict:
    return {"scorer": scorer, "ratio": ratio, "bits_per_dropped_token": bits}


ROWS = [
    *(row("random", ratio, 9 - ratio) for ratio in (0.3, 0.5)),
    *(row("policy=a&b", ratio, 10 - ratio) for ratio in (0.3, 0.5)),
    row("random", 1.0, None),
]


def test_it_is_an_svg_with_every_scorer_and_the_pages_colours() -> None:
    text = rate_distortion({"One": ROWS, "Two <b>": ROWS[:2]})
    root = ElementTree.fromstring(text)
    said = [element.text for element in root.iter() if element.tag.endswith("text")]
    for title in ("One", "Two <b>", "9.50 policy=a&b", "8.50 random"):
        assert title in said
    assert "var(--trained)" in text and "@media(prefers-color-scheme:dark)" in text
    assert "One: at 0.5 random 8.50, policy=a&amp;b 9.50" in text
    assert rate_distortion({"One": ROWS, "Two <b>": ROWS[:2]}) == text, "the same every time"


def test_nothing_to_draw_is_an_empty_picture() -> None:
    ElementTree.fromstring(rate_distortion({}))
    assert "nothing was dropped" in rate_distortion({"All": [row("random", 1.0, None)]})


@given(st.lists(st.floats(0, 300), max_size=20).map(sorted), st.floats(0, 30))
def test_names_are_moved_as_little_as_may_be(places: list[float], least: float) -> None:
    found = spread(places, least)
    assert all(b - a >= least - 1e-6 for a, b in pairwise(found))
    steps = least * np.arange(len(places))
    if places:
        want = isotonic_regression(np.array(places) - steps).x + steps
        np.testing.assert_allclose(found, want, atol=1e-6)
