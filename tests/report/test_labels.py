"""Labels never cover a mark or each other, and find a place where there is one."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.report.labels import Box, place

FRAME = Box(0, 0, 900, 400)
ANCHORS = st.lists(
    st.tuples(st.floats(10, 890, allow_subnormal=False), st.floats(10, 390, allow_subnormal=False)),
    max_size=14,
)


@settings(max_examples=80, deadline=None)
@given(ANCHORS, st.floats(20, 200))
def test_no_overlap(anchors, width):
    sizes = [(width, 16.0)] * len(anchors)
    marks = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in anchors]
    found = [b for b in place(anchors, sizes, bounds=FRAME, marks=marks) if b is not None]
    for a, b in combinations(found, 2):
        assert a.overlap(b) == 0
    for box in found:
        assert box.inside(FRAME)
        assert all(box.overlap(mark) == 0 for mark in marks)


def test_a_lone_label_stands_beside_its_mark():
    (box,) = place([(400, 200)], [(80, 16)], bounds=FRAME, marks=[Box(394, 194, 406, 206)])
    assert box.x0 >= 406 and box.distance(400, 200) <= 14


def test_a_label_at_the_edge_turns_to_the_other_side():
    (box,) = place([(880, 200)], [(80, 16)], bounds=FRAME, marks=[Box(874, 194, 886, 206)])
    assert box.x1 <= 900 and box.distance(880, 200) <= 14


def test_a_label_keeps_off_a_line_if_it_can():
    line = Box(400, 198, 900, 202)
    (box,) = place([(400, 200)], [(80, 16)], bounds=FRAME, lines=[line])
    assert box.overlap(line) == 0


def test_two_close_marks_keep_their_own_labels():
    anchors = [(400.0, 200.0), (400.0, 222.0)]
    marks = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in anchors]
    lower, upper = place(anchors, [(80, 16)] * 2, bounds=FRAME, marks=marks)
    assert lower.distance(*anchors[0]) < lower.distance(*anchors[1])
    assert upper.distance(*anchors[1]) < upper.distance(*anchors[0])


def test_no_room_is_said():
    assert place([(5, 5)], [(2000, 16)], bounds=FRAME) == [None]
