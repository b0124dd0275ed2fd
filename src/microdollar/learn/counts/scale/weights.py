"""Weights of every level from files of counts, by going through them in order.

A string's probability needs its context's counts, which are beside it, and the probability
of the string without its first byte. Contexts that end in the same k bytes are neighbours,
so the contexts of k + 1 bytes and the shorter ones that they extend are read side by side.
What is asked for by number (a context's node, a node's bias) follows from the places of the
last bytes: the contexts that end in a byte are in the order of the strings that end in it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.ngram.chain import evidence_class
from microdollar.learn.counts.ngram.discounts import Evidence, Floats
from microdollar.learn.counts.scale.columns import Column
from microdollar.learn.counts.scale.grams import Counts
from microdollar.learn.counts.scale.levels import Level

_Singles = npt.NDArray[np.float32]
_Shapes = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LevelFiles:
    """A level of the whole text."""

    symbol: Column
    count: Column
    shape: Column
    ending: npt.NDArray[np.int64]
    """Shape (256,): how many strings end in each byte."""

    @classmethod
    def make(cls, column: Callable[[str, npt.DTypeLike], Column], k: int) -> "LevelFiles":
        """Empty columns for level k; ``column`` makes one of a name and a type."""
        return cls(
            symbol=column(f"symbol-{k}", np.uint8),
            count=column(f"count-{k}", np.int64),
            shape=column(f"shape-{k}", np.uint32),
            ending=np.zeros(256, np.int64),
        )

    def append(self, level: Level) -> None:
        """Add the next block."""
        self.symbol.append(level.symbol)
        self.count.append(level.count)
        self.shape.append(level.shape)
        self.ending[:] += np.bincount(level.symbol, minlength=256)


@njit(cache=True, nogil=True)
def _write(
    k: int,
    shorter_shape: _Shapes,
    shorter_symbol: ByteArray,
    shorter_probability: Floats,
    shape: _Shapes,
    symbol: ByteArray,
    count: Counts,
    discounts: Floats,
    factors: Floats,
    below: Floats,
    probability: Floats,
    weight: _Singles,
    log_backoff: _Singles,
) -> None:
    """Weights of the contexts of k bytes that extend some contexts of k - 1 bytes.

    The numbers are those of ``ngram.network``, operation by operation.
    """
    short_string = context = string = np.int64(0)
    for short in range(len(shorter_shape)):
        for _ in range(shorter_shape[short] & 0xFFFF):
            below[shorter_symbol[short_string]] = shorter_probability[short_string]
            short_string += 1
        for _ in range(shorter_shape[short] >> 16):
            children = np.int64(shape[context] & 0xFFFF)
            total, n1, n2, n3 = 0, 0, 0, 0
            for child in range(string, string + children):
                here = int(count[child])
                total += here
                n1 += here == 1
                n2 += here == 2
                n3 += here > 2
            if children > 0:
                mass = (discounts[k, 0] * n1 + discounts[k, 1] * n2 + discounts[k, 2] * n3) / total
                factor = factors[k, evidence_class(n1 + n2 + n3, total)]
                given = factor * mass
                log_backoff[context] = math.log(given)
                for child in range(string, string + children):
                    here = count[child]
                    own = (here - factor * discounts[k, min(here, 3) - 1]) / total
                    shared = given * below[symbol[child]]
                    probability[child] = own + shared
                    weight[child] = math.log1p(own / shared)
            else:
                log_backoff[context] = 0.0
            string += children
            context += 1


def write_level(
    k: int,
    shorter: LevelFiles | None,
    shorter_probability: Column | None,
    level: LevelFiles,
    discounts: Floats,
    evidence: Evidence,
    weight: Column,
    probability: Column,
    log_backoff: Column,
    block: int,
) -> None:
    """Append a level's weights and probabilities, and its contexts' biases, to columns."""
    factors = evidence.factors(discounts)
    below = np.full(256, 1.0 / 256.0)
    for shape0, symbol0, probability0, shape, symbol, count in _side_by_side(
        shorter, shorter_probability, level, block
    ):
        out_probability = np.empty(len(symbol))
        out_weight = np.empty(len(symbol), np.float32)
        out_backoff = np.empty(len(shape), np.float32)
        _write(
            k, shape0, symbol0, probability0, shape, symbol, count, discounts, factors, below,
            out_probability, out_weight, out_backoff,
        )  # fmt: skip
        weight.append(out_weight)
        probability.append(out_probability)
        log_backoff.append(out_backoff)


def _side_by_side(
    shorter: LevelFiles | None, probability: Column | None, level: LevelFiles, block: int
) -> Iterator[tuple[_Shapes, ByteArray, Floats, _Shapes, ByteArray, Counts]]:
    """Blocks of shorter contexts with all that extends them, of about ``block`` strings."""
    if shorter is None or probability is None:  # the empty context extends nothing
        yield (
            np.array([1 << 16], np.uint32), np.empty(0, np.uint8), np.empty(0),
            level.shape.read(0, 1), level.symbol.read(0, 256), level.count.read(0, 256),
        )  # fmt: skip
        return
    short, short_string, context, string = 0, 0, 0, 0
    while short < len(shorter.shape):
        shape0 = shorter.shape.read(short, short + max(block // 8, 1))
        shape0 = shape0[: _most(shape0 >> 16, block)]
        ends = np.cumsum(shape0 >> 16)
        shape = level.shape.read(context, context + int(ends[-1]))
        strings = np.concatenate([[0], np.cumsum(shape & 0xFFFF)])[ends]
        # As many shorter contexts as have no more than a block of strings, and at least one.
        kept = max(int(np.searchsorted(strings, block, "right")), 1)
        shape0, shape = shape0[:kept], shape[: int(ends[kept - 1])]
        short_strings, many = int((shape0 & 0xFFFF).sum()), int(strings[kept - 1])
        yield (
            shape0,
            shorter.symbol.read(short_string, short_string + short_strings),
            probability.read(short_string, short_string + short_strings),
            shape,
            level.symbol.read(string, string + many),
            level.count.read(string, string + many),
        )
        short, short_string = short + kept, short_string + short_strings
        context, string = context + len(shape), string + many


@njit(cache=True, nogil=True)
def _places(symbol: ByteArray, begin: npt.NDArray[np.int64], out: npt.NDArray[np.int64]) -> None:
    """Where each string is when a block is sorted by last byte; ``begin`` is changed."""
    for string in range(len(symbol)):
        out[string] = begin[symbol[string]]
        begin[symbol[string]] += 1


def _sections(
    level: LevelFiles, block: int
) -> Iterator[tuple[int, npt.NDArray[np.int64], list[tuple[int, int, int]]]]:
    """For each block of strings: its start, the place of each string by last byte, and spans.

    A span (from, to, context) says that strings ``from`` to ``to`` of the block so sorted are
    the contexts from number ``context`` on.
    """
    begin = np.concatenate([[0], np.cumsum(level.ending)[:-1]])
    for start in range(0, len(level.symbol), block):
        symbol = level.symbol.read(start, start + block)
        many = np.bincount(symbol, minlength=256)
        first = np.concatenate([[0], np.cumsum(many)[:-1]])
        place = np.empty(len(symbol), np.int64)
        _places(symbol, first.copy(), place)
        yield (
            start,
            place,
            [(int(first[b]), int(first[b] + many[b]), int(begin[b])) for b in np.flatnonzero(many)],
        )
        begin += many


def number_contexts(level: LevelFiles, first: int, out: Column, block: int) -> None:
    """The node of each context of k + 1 bytes, given the strings of that length.

    Args:
        level: those strings.
        first: node of the first.
        out: receives the nodes, uint32.
        block: strings to hold at once.
    """
    for start, place, spans in _sections(level, block):
        nodes = np.empty(len(place), np.uint32)
        nodes[place] = np.arange(first + start, first + start + len(place), dtype=np.uint32)
        for here, end, context in spans:
            out.write(context, nodes[here:end])


def biases_of_nodes(level: LevelFiles, log_backoff: Column, out: Column, block: int) -> None:
    """Append to ``out`` the bias of each string as a context, in the order of nodes."""
    for _, place, spans in _sections(level, block):
        sorted_biases = np.empty(len(place), np.float32)
        for here, end, context in spans:
            sorted_biases[here:end] = log_backoff.read(context, context + end - here)
        out.append(sorted_biases[place])


def parents_of_nodes(level: LevelFiles, nodes: Column, out: Column, block: int) -> None:
    """Append to ``out`` the node of each string's context."""
    start = 0
    while start < len(level.shape):
        shape = level.shape.read(start, start + max(block // 8, 1))
        shape = shape[: _most(shape & 0xFFFF, block)]
        out.append(np.repeat(nodes.read(start, start + len(shape)), shape & 0xFFFF))
        start += len(shape)


def _most(sizes: npt.NDArray[np.integer[Any]], room: int) -> int:
    """How many of some groups are no larger than ``room`` together; at least one."""
    return max(int(np.searchsorted(np.cumsum(sizes), room, "right")), 1)
