"""What the launches of `kernels_cuda` are told: which program does what, and where things are."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from microdollar.learn.optim.layout import BLOCK

_TABLES = 32
"""Tables that are remembered."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How programs and memory are shared among matrices of given shapes."""

    ranges: tuple[int, ...]
    """Rows of a range of each."""
    firsts: tuple[tuple[int, ...], ...]
    """First programs and places in memory, in the order of the table."""
    observe: int
    close: int
    update: int
    """Programs."""
    room: int
    """Numbers between launches."""


@lru_cache(maxsize=256)
def plan_of(shapes: tuple[tuple[int, int], ...], factored: bool) -> Plan:
    """For matrices of these shapes; ``factored``: with sums of rows and columns."""
    from microdollar.learn.optim import kernels_triton_parts as parts

    jobs, height = parts.JOBS.value, parts.HEIGHT.value
    # More rows where there would be many partial sums of columns.
    ranges = tuple(8 * height * _up(rows, 2**14) for rows, _ in shapes)
    sizes = []
    for (rows, cols), many in zip(shapes, ranges, strict=True):
        blocks, pieces = _up(cols, BLOCK), _up(rows, BLOCK)
        observe, update = _up(rows, many) * blocks, _up(rows, height) * blocks
        close = blocks + pieces if factored else 1
        memory = (observe, pieces, blocks * rows, _up(rows, many) * cols)
        sizes.append((observe, close, update, *(memory if factored else (observe, 0, 0, 0))))
    columns = list(zip(*sizes, strict=True))
    programs = [list(accumulate(column, initial=0)) for column in columns[:3]]
    places, room = [], 4 * jobs
    for column in columns[3:]:
        *place, room = accumulate(column, initial=room)
        places.append(tuple(place))
    counts = [column.pop() for column in programs]
    firsts = (*map(tuple, programs), *places)
    return Plan(ranges, firsts, counts[0], counts[1], counts[2], room)


_tables: "OrderedDict[tuple[Any, ...], Tensor]" = OrderedDict()


def table_of(values: tuple[int, ...], device: torch.device) -> Tensor:
    """These integers on the device.

    A table is never changed, so that what a graph has captured stays true; one made while a graph
    is captured is the graph's own.
    """
    from microdollar.learn.optim import kernels_triton as kernels
    from microdollar.learn.optim import kernels_triton_parts as parts

    capturing = is_capturing(device)
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    key = (device, stream, values)
    if not capturing and key in _tables:
        _tables.move_to_end(key)
        return _tables[key]
    width = parts.JOBS.value
    padded = values + (0,) * (-len(values) % width)  # One length is one compilation.
    table = torch.empty(len(padded), dtype=torch.int64, device=device)
    for start in range(0, len(padded), width):
        coded = tuple(2 * one + 1 + kernels.CODED for one in padded[start : start + width])
        kernels.fill[(1,)](table[start:], coded)
    if not capturing:
        _tables[key] = table
        if len(_tables) > _TABLES:
            _tables.popitem(last=False)
    return table


def is_capturing(device: torch.device) -> bool:
    """Whether what is launched there now becomes part of a graph."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def _up(count: int, each: int) -> int:
    return -(-count // each)
