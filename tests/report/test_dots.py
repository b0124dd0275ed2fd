"""Named marks: every mark drawn, no name on another or on a mark, round ticks."""

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.report.dots import Dot, Field, dots_panel
from microdollar.report.scaling import round_ticks
from microdollar.report.theme import COUNTED

SIZES = st.floats(1e-6, 1e6)


def field(points, **others):
    dots = [
        Dot(name=f"<{n}>", x=x, y=y, colour=COUNTED, marker="o", low=y / 2, high=2 * y)
        for n, (x, y) in enumerate(points)
    ]
    return Field(title="A & B", beside="loss", below="bytes", dots=dots, **others)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=6))
def test_any_marks_give_a_picture(points):
    svg = dots_panel(field(points, level=points[0][1]), width=350, name="any")
    root = ElementTree.fromstring(svg)
    assert "nan" not in svg and "inf" not in svg
    # Each mark, and nothing else, refers to a shape that was defined before.
    assert len(re.findall(r"<use ", svg)) == len(points)
    said = [one.text for one in root.iter() if one.tag.endswith("text")]
    names = [text for text in said if text.startswith("<")]
    assert len(set(names)) == len(names) <= len(points)


def test_names_are_never_markup_or_mathematics():
    names = ("$\\frac{a}{$", "</svg><b>&", "x" * 300)
    dots = [
        Dot(name=name, x=10.0**n, y=1.0 + n, colour=COUNTED, marker="o")
        for n, name in enumerate(names)
    ]
    one = Field(title=names[1], beside=names[0], below="bytes", dots=dots, description=names[1])
    svg = dots_panel(one, width=512, name="names")
    said = [each.text for each in ElementTree.fromstring(svg).iter() if each.text]
    assert names[0] in said and names[1] in said
    assert names[2] not in said  # it has no room


def test_names_keep_off_each_other():
    points = [(1.0, 2.0), (1.3, 2.05), (8.0, 2.0), (0.2, 2.4)]
    svg = dots_panel(field(points), width=512, name="names")
    boxes = []
    for one in ElementTree.fromstring(svg).iter():
        if one.tag.endswith("text") and one.text.startswith("<"):
            end = "text-anchor: end" in one.get("style")
            x, y = float(one.get("x")), float(one.get("y"))
            boxes.append((x - 14 if end else x, y - 10, x if end else x + 14, y))
    assert len(boxes) == 4
    for number, a in enumerate(boxes):
        for b in boxes[:number]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@given(st.floats(1e-9, 1e9), st.floats(1.001, 1e6))
def test_ticks_are_round_few_and_inside(low, ratio):
    high = low * ratio
    ticks = round_ticks(low, high)
    assert 1 <= len(ticks) <= 8
    assert all(low * (1 - 1e-6) <= tick <= high * (1 + 1e-6) for tick in ticks)
    steps = {b - a for a, b in pairwise(ticks)}
    assert all(math.isclose(step, max(steps), rel_tol=1e-3) for step in steps)


@pytest.mark.parametrize(("low", "high"), [(0.02, 0.14), (1.78, 2.22), (0.99, 1.41)])
def test_several_ticks_within_a_usual_range(low, high):
    assert len(round_ticks(low, high)) >= 4
