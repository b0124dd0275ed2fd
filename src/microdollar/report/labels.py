"""Places for text beside marks, so that no text covers a mark or another text.

Greedy choice among fixed candidates, then rounds of improvement until nothing changes:
small, deterministic, and exact for the dozen labels that a figure has.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in drawing units, x to the right, y upwards."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlap(self, other: "Box") -> float:
        """Area that both cover."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(width, 0.0) * max(height, 0.0)

    def touches(self, other: "Box") -> bool:
        """Whether both cover some area; cheaper than to say how much."""
        return (
            self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1
        )

    def inside(self, other: "Box") -> bool:
        """Whether all of it lies within ``other``."""
        return (
            other.x0 <= self.x0
            and other.y0 <= self.y0
            and self.x1 <= other.x1
            and self.y1 <= other.y1
        )

    def distance(self, x: float, y: float) -> float:
        """From a point to the nearest point of the rectangle."""
        return math.dist((x, y), self.nearest(x, y))

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The point of the rectangle that is nearest to a point."""
        return min(max(x, self.x0), self.x1), min(max(y, self.y0), self.y1)


_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
_GAPS = (12.0, 18.0, 26.0, 38.0, 54.0, 76.0, 104.0)
_CROSSING = 16.0
"""A label goes so much farther away to keep off a line."""
_ROUNDS = 8
_MISTAKEN = 24.0
"""A label goes so much farther away to keep off a mark that is nearer than its own."""


def place(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    *,
    bounds: Box,
    marks: Sequence[Box] = (),
    lines: Sequence[Box] = (),
) -> list[Box | None]:
    """One rectangle for each label, near its anchor.

    Args:
        anchors: centre of the mark that each label belongs to.
        sizes: width and height of each label.
        bounds: where labels may be.
        marks: what no label may cover; the labels' own marks among them.
        lines: what labels should not cover if there is room elsewhere.

    Returns:
        The rectangles in the order of ``anchors``; None where there is no free place.
        No two overlap, and none overlaps a mark.
    """
    choices = [
        [box for box in _candidates(anchor, size) if box.inside(bounds) and _free(box, marks)]
        for anchor, size in zip(anchors, sizes, strict=True)
    ]
    placed: list[Box | None] = [None] * len(anchors)
    # Those with the fewest places choose first.
    order = sorted(range(len(anchors)), key=lambda i: (len(choices[i]), i))
    for _ in range(_ROUNDS):
        before = list(placed)
        for i in order:
            others = [box for j, box in enumerate(placed) if j != i and box is not None]
            free = [box for box in choices[i] if _free(box, others)]
            rivals = [anchor for j, anchor in enumerate(anchors) if j != i]
            placed[i] = min(free, key=partial(_penalty, anchors[i], rivals, lines), default=None)
        if placed == before:
            break
    return placed


def _candidates(anchor: tuple[float, float], size: tuple[float, float]) -> list[Box]:
    (x, y), (width, height) = anchor, size
    boxes = []
    for gap, (side, up) in product(_GAPS, _SIDES):
        reach = gap * (0.75 if side and up else 1.0)
        x0 = x + reach if side > 0 else x - reach - width if side < 0 else x - width / 2
        y0 = y + reach if up > 0 else y - reach - height if up < 0 else y - height / 2
        boxes.append(Box(x0, y0, x0 + width, y0 + height))
    return boxes


def _free(box: Box, others: Sequence[Box]) -> bool:
    return not any(box.touches(other) for other in others)


def _penalty(
    anchor: tuple[float, float],
    rivals: Sequence[tuple[float, float]],
    lines: Sequence[Box],
    box: Box,
) -> float:
    crossed = sum(map(box.touches, lines))
    # To the right of the mark reads best; a little is given up for it.
    sideways = 0.0 if box.x0 >= anchor[0] else 2.0
    own = box.distance(*anchor)
    mistaken = sum(box.distance(*rival) < own + 2 for rival in rivals)
    return own + sideways + _CROSSING * crossed + _MISTAKEN * mistaken
