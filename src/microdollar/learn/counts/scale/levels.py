"""Counts of every order from one pass over the sorted strings of the longest order.

Keys begin with the last byte of the context, so the contexts that end in the same k bytes
are neighbours, and the context of k bytes can be closed when the next key differs there.
What it has seen is then known: each byte that a context of k + 1 bytes has seen counts
once in its context of k bytes. That is Kneser-Ney's continuation count, and it is what
counting by update exclusion gives (``ngram.trie``): a position is counted at a shorter
context only if no longer one had seen the byte, so once for each byte to the left.

Two things are not strings of ``order + 1`` bytes and come in as ``Ends``: the first bytes of
the text, whose contexts are shorter (each counts once more than its extensions to the left,
as if a byte of its own stood before the text), and the contexts at the very end, which
nothing follows. With these, the contexts of k bytes are exactly the strings of k bytes.

Level k has the strings of k + 1 bytes, in the order of contexts and then of bytes. Nothing
but bytes and numbers need be kept: a context's place among the strings of its length
follows from how many strings end in each byte (the LF mapping of Burrows and Wheeler).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.scale.closing import close_contexts
from microdollar.learn.counts.scale.grams import (
    PIECE_BYTES,
    Counts,
    Grams,
    Words,
    key_masks,
    no_grams,
    sorted_grams,
)

_Pairs = npt.NDArray[np.uint16]
_BLOCK = 1 << 17
"""Strings turned into levels at once: what they read and write stays in a processor's cache."""
_SPARE = 300
"""Strings that contexts left open by an earlier block may still give: 256 a level, and ends."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ends:
    """Contexts that no string of full length shows, by key."""

    high: Words
    low: Words
    length: npt.NDArray[np.int64]
    """Bytes of each context."""
    symbol: npt.NDArray[np.int64]
    """The byte that follows, or -1 at the end of the text."""


def ends_of(first: bytes, last: bytes, order: int) -> Ends:
    """Both ends of a text.

    Args:
        first: its first ``order`` bytes, fewer if it has no more.
        last: its last ``order`` bytes, likewise.
        order: bytes of the longest context.
    """
    rows = [(first[:k], first[k]) for k in range(len(first))] + [(last, -1)]
    keyed = sorted(
        (context[::-1].ljust(16, b"\0"), len(context), symbol) for context, symbol in rows
    )
    return Ends(
        high=np.array([int.from_bytes(key[:8], "big") for key, _, _ in keyed], np.uint64),
        low=np.array([int.from_bytes(key[8:], "big") for key, _, _ in keyed], np.uint64),
        length=np.array([length for _, length, _ in keyed], np.int64),
        symbol=np.array([symbol for _, _, symbol in keyed], np.int64),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Level:
    """Strings of ``k + 1`` bytes that were closed, grouped by their contexts of k bytes."""

    symbol: ByteArray
    """Shape (strings,): the last byte."""
    count: Counts | npt.NDArray[np.uint32]
    """Shape (strings,): at least 1; half as wide where the text is short enough for it."""
    shape: npt.NDArray[np.uint32]
    """Shape (contexts,): children | fanout << 16."""
    high: Words
    """Shape (contexts,): keys of the contexts; empty if not asked for."""
    low: Words

    @property
    def children(self) -> _Pairs:
        """Shape (contexts,): strings of each context; 0 only for the text's last bytes."""
        return (self.shape & 0xFFFF).astype(np.uint16)

    @property
    def fanout(self) -> _Pairs:
        """Shape (contexts,): contexts of k + 1 bytes that end in each."""
        return (self.shape >> 16).astype(np.uint16)


class Levels:
    """Turns blocks of sorted strings into blocks of all levels."""

    def __init__(
        self, order: int, ends: Ends, *, raw: bool = False, keys: bool = False, wide: bool = False
    ) -> None:
        """Begin.

        Args:
            order: bytes of the longest context.
            ends: what strings of full length do not show.
            raw: count occurrences at every level instead of continuations.
            keys: give the contexts' keys as well.
            wide: counts may be 2**32 and more, since the text has so many bytes.
        """
        self.order, self.ends, self.raw, self.keys = order, ends, raw, keys
        self._dtype = np.int64 if wide else np.uint32
        depth = order + 1
        self._seen, self._kinds = np.zeros(depth * 256, np.int64), np.zeros(depth * 4, np.uint64)
        self._fan = np.zeros(depth, np.int64)
        self._before = np.zeros(2, np.uint64)
        self._place = np.array([-1, -1, 0, 0, 0], np.int64)

    def close(self, block: Grams, *, last: bool) -> list[Level]:
        """Levels 0 to ``order`` of the contexts that ``block``, or the end of all, closes."""
        depth, room = self.order + 1, len(block) + _SPARE
        symbols = np.empty(depth * room, np.uint8)
        counts: npt.NDArray[Any] = np.empty(depth * room, self._dtype)
        shapes = np.empty(depth * room, np.uint32)
        keyed = depth * room if self.keys else 0
        key_high, key_low = np.empty(keyed, np.uint64), np.empty(keyed, np.uint64)
        first = np.arange(depth) * room
        strings, contexts = first.copy(), first.copy()
        close_contexts(
            block.high, block.low, block.count, last, self.order, self.raw,
            *key_masks(self.order),
            self.ends.high, self.ends.low, self.ends.length, self.ends.symbol,
            self._seen, self._kinds, self._fan, self._before, self._place,
            self.keys, symbols, counts, shapes, key_high, key_low, strings, contexts,
        )  # fmt: skip
        return [
            Level(
                symbol=symbols[start:string],
                count=counts[start:string],
                shape=shapes[start:context],
                high=key_high[start:context],
                low=key_low[start:context],
            )
            for start, string, context in zip(first, strings, contexts, strict=True)
        ]


def close_all(
    blocks: Iterable[Grams], order: int, ends: Ends, *, raw: bool = False, keys: bool = False
) -> Iterator[list[Level]]:
    """Levels of all blocks in turn; together they are the whole text's."""
    levels = Levels(order, ends, raw=raw, keys=keys)
    for block in blocks:
        yield levels.close(block, last=False)
    yield levels.close(no_grams(), last=True)


def count_levels(
    data: ByteArray, order: int, *, raw: bool = False, keys: bool = False
) -> list[list[Level]]:
    """Counts of all strings of up to ``order + 1`` bytes of a text in memory, in one thread.

    Args:
        data: shape (n,) uint8.
        order: bytes of the longest context, 0 to 15.
        raw: occurrences at every level instead of continuation counts below the longest.
        keys: give the keys of contexts as well.

    Returns:
        Blocks of levels 0 to ``order``.
    """
    from microdollar.learn.counts.scale.merge import merge_all

    pieces = [
        sorted_grams(data[start : start + PIECE_BYTES + order], order)
        for start in range(0, max(len(data) - order, 1), PIECE_BYTES)
    ]
    ends = ends_of(bytes(data[:order]), bytes(data[-order:]) if order else b"", order)
    merged = merge_all(pieces)
    blocks = (merged.part(at, at + _BLOCK) for at in range(0, len(merged), _BLOCK))
    return list(close_all(blocks, order, ends, raw=raw, keys=keys))
