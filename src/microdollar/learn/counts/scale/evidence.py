"""Evidence of the held-back bytes, from the few strings that these bytes can ask for.

The in-memory build scores the last bytes of the text with the counts of all before (frozen,
then while counting on). Scoring looks up substrings of these bytes only, so a trie of those,
with the counts that the whole text gives them, answers every look-up with the same numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.errors import UsageError
from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.ngram import kernels
from microdollar.learn.counts.ngram.chain import score_chain
from microdollar.learn.counts.ngram.discounts import Evidence, Floats
from microdollar.learn.counts.ngram.trie import Trie, trie_from_nodes
from microdollar.learn.counts.scale.grams import Counts, Words
from microdollar.learn.counts.scale.levels import Level, count_levels
from microdollar.units import format_bytes

_BYTES_PER_STRING = 165
"""Arrays of wanted strings (61), and row, link and slot of each in a trie that grows (104)."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Wanted:
    """Strings of one level that may be asked for, and what was found about them."""

    level: Level
    first: npt.NDArray[np.int64]
    """Where each context's strings begin."""
    count: Counts
    """Shape (strings,): count in the text so far, 0 if it has no such string."""
    total: Counts
    """Shape (contexts,)."""
    statistics: Counts
    """Shape (contexts,): how many strings have count 1, 2, 3 or more, packed."""
    at: int = 0
    """The next context that was not met yet."""


@njit(cache=True, nogil=True)
def _join(
    high: Words,
    low: Words,
    shape: npt.NDArray[np.uint32],
    symbol: ByteArray,
    count: Counts,
    want_high: Words,
    want_low: Words,
    want_first: npt.NDArray[np.int64],
    want_symbol: ByteArray,
    at: int,
    found: Counts,
    total: Counts,
    statistics: Counts,
) -> int:
    """Look wanted contexts up in a block of a level; both are in the order of keys."""
    string = np.int64(0)
    for context in range(len(high)):
        children = np.int64(shape[context] & 0xFFFF)
        while at < len(want_high) and (
            want_high[at] < high[context]
            or (want_high[at] == high[context] and want_low[at] < low[context])
        ):
            at += 1
        if at == len(want_high):
            break
        if want_high[at] == high[context] and want_low[at] == low[context]:
            want = want_first[at]
            for child in range(string, string + children):
                here = count[child]
                total[at] += here
                statistics[at] += 1 if here == 1 else (1 << 16 if here == 2 else 1 << 32)
                while want < want_first[at + 1] and want_symbol[want] < symbol[child]:
                    want += 1
                if want < want_first[at + 1] and want_symbol[want] == symbol[child]:
                    found[want] = here
            at += 1
        string += children
    return at


class WindowCounts:
    """Collects, from the levels of all text before, the counts that a window can ask for."""

    def __init__(self, window: ByteArray, order: int, memory_bytes: int) -> None:
        """Find the window's strings.

        Args:
            window: the held-back bytes, and ``order`` bytes before them.
            order: bytes of the longest context.
            memory_bytes: what may be used for them.

        Raises:
            UsageError: if they need more.
        """
        blocks = count_levels(window, order, keys=True)
        strings = sum(len(block[k].symbol) for block in blocks for k in range(order + 1))
        if strings * _BYTES_PER_STRING > memory_bytes:
            raise UsageError(
                f"the evidence needs {format_bytes(strings * _BYTES_PER_STRING)} beyond what is "
                "in use. Type a larger --memory, or a lower --order."
            )
        self.order = order
        self._wanted = []
        for k in range(order + 1):
            level = _joined([block[k] for block in blocks])
            first = np.zeros(len(level.shape) + 1, np.int64)
            np.cumsum(level.children, out=first[1:])
            self._wanted.append(
                _Wanted(
                    level=level,
                    first=first,
                    count=np.zeros(len(level.symbol), np.int64),
                    total=np.zeros(len(level.shape), np.int64),
                    statistics=np.zeros(len(level.shape), np.int64),
                )
            )

    def look_up(self, levels: Iterable[Level]) -> None:
        """Take in the next block of levels 0 to ``order``, with keys."""
        for wanted, level in zip(self._wanted, levels, strict=True):
            wanted.at = _join(
                level.high, level.low, level.shape, level.symbol, level.count.astype(np.int64),
                wanted.level.high, wanted.level.low, wanted.first, wanted.level.symbol,
                wanted.at, wanted.count, wanted.total, wanted.statistics,
            )  # fmt: skip

    def trie(self) -> Trie:
        """The strings that the text so far has, with its counts of them."""
        base = 1
        number = np.zeros(1, np.int64)  # node of each string of the level before
        context_nodes, parents = [], []
        for k, wanted in enumerate(self._wanted):
            if k > 0:  # contexts in the order of their last bytes, then of the rest
                number = number[np.argsort(self._wanted[k - 1].level.symbol, kind="stable")]
            context_nodes.append(number)
            parents.append(np.repeat(number, wanted.level.children))
            has = wanted.count > 0
            number = np.where(has, base + np.cumsum(has) - 1, -1)
            base += int(has.sum())
        there = [wanted.count > 0 for wanted in self._wanted]
        trie = trie_from_nodes(
            self.order,
            np.concatenate([p[t] for p, t in zip(parents, there, strict=True)]).astype(np.uint32),
            np.concatenate([w.level.symbol[t] for w, t in zip(self._wanted, there, strict=True)]),
            np.concatenate([w.count[t] for w, t in zip(self._wanted, there, strict=True)]),
        )
        for k, (wanted, nodes) in enumerate(zip(self._wanted, context_nodes, strict=True)):
            known = nodes >= 0
            trie.rows[nodes[known], kernels.TOTAL] = wanted.total[known]
            trie.rows[nodes[known], kernels.STATISTICS] = wanted.statistics[known] | (k << 48)
        return trie


def weigh(
    trie: Trie, before: ByteArray, late: ByteArray, discounts: Floats
) -> tuple[Evidence, Evidence]:
    """Evidence of held-back bytes, frozen and adaptive, as the in-memory build collects it.

    Args:
        trie: counts of the text before; it learns the held-back bytes.
        before: the bytes before them.
        late: the held-back bytes.
        discounts: shape (order + 1, 3), of the text before.
    """
    frozen, adaptive = Evidence.none(trie.order), Evidence.none(trie.order)
    cursor = trie.contexts_of(before)
    for evidence, learn in ((frozen, False), (adaptive, True)):
        trie.cursor = cursor
        score_chain(trie, late, discounts, evidence, weigh=True, learn=learn)
    return frozen, adaptive


def _joined(levels: list[Level]) -> Level:
    return Level(
        symbol=np.concatenate([level.symbol for level in levels]),
        count=np.concatenate([level.count for level in levels]),
        shape=np.concatenate([level.shape for level in levels]),
        high=np.concatenate([level.high for level in levels]),
        low=np.concatenate([level.low for level in levels]),
    )
