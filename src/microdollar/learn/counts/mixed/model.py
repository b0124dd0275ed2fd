"""The counted model that users hold: scores frozen and adaptive, saves and loads."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from microdollar.errors import CorpusError
from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.mixed.chain import Chain, ListedTrie, chain_of
from microdollar.learn.counts.mixed.contexts import PLACE_WORDS, Words, read_context
from microdollar.learn.counts.mixed.histories import copied as copied_lines
from microdollar.learn.counts.mixed.histories import with_room
from microdollar.learn.counts.mixed.kernels import (
    CURSOR,
    DONE,
    NODES,
    VISITS,
    Memory,
    remember,
    run,
)
from microdollar.learn.counts.mixed.weights import DRIFT, Singles, Weights, copied
from microdollar.learn.counts.ngram.discounts import Floats
from microdollar.work import tally
from microdollar.work.formulas.counted import (
    CHUNK_BYTES,
    FLOPS_PER_BYTE,
    FLOPS_PER_VISIT,
    INT_OPS_PER_BYTE,
    LINES_PER_BYTE,
    REMEMBER_FLOPS,
    REMEMBER_INT_OPS,
)

NETWORK = "counted"
_ROOM = 1_000_000
"""Nodes that adaptive scoring has room for before its copy of the trie must grow."""


@dataclass(slots=True, kw_only=True)
class State:
    """What one pass over a text changes."""

    listed: ListedTrie
    memory: Memory
    chain: Chain
    weights: Weights
    without: npt.NDArray[np.bool_]
    """Shape (INPUTS + 2,): opinions that are left out, and last the calibration and the drift."""

    def score(
        self,
        text: ByteArray,
        start: int,
        place: Words,
        *,
        first: int = 0,
        gap: tuple[int, int] = (0, 0),
        weighing: bool,
        counting: bool,
        drift: float = 0.0,
    ) -> Floats:
        """Bits of each byte of ``text[start:]``; see ``kernels.run`` for the arguments."""
        trie = self.listed.trie
        bits = np.empty(len(text) - start)
        done = np.zeros(4, np.int64)
        done[CURSOR] = trie.cursor
        growth = np.float32(0.0 if self.without[-1] else drift)
        position = start
        while position < len(text):
            end = min(position + CHUNK_BYTES, len(text))
            if counting:
                self.listed.reserve(end - position)
                lines = with_room(self.memory.lines, LINES_PER_BYTE * (end - position))
                self.memory = self.memory._replace(lines=lines)
            done[NODES], done[VISITS] = trie.nodes, 0
            run(
                text, position, end, first, *gap, place, self.memory, self.listed.counts,
                self.chain, self.weights, weighing, counting, growth, self.without,
                trie.order, bits[position - start : end - start], done,
            )  # fmt: skip
            position += int(done[DONE])
            trie.nodes, trie.cursor = int(done[NODES]), int(done[CURSOR])
            tally.add(
                "mix",
                flops=FLOPS_PER_BYTE[weighing] * int(done[DONE])
                + FLOPS_PER_VISIT * int(done[VISITS]),
                int_ops=INT_OPS_PER_BYTE[counting] * int(done[DONE]),
            )
        return bits


def remembered(data: ByteArray, end: int, place: Words, memory: Memory, chances: Singles) -> Memory:
    """The memory after the first ``end`` bytes, with how histories went on in ``chances``."""
    for start in range(0, end, CHUNK_BYTES):
        stop = min(start + CHUNK_BYTES, end)
        lines = with_room(memory.lines, LINES_PER_BYTE * (stop - start))
        memory = memory._replace(lines=lines)
        remember(data, start, stop, place, memory, chances)
    tally.add("remember histories", flops=REMEMBER_FLOPS * end, int_ops=REMEMBER_INT_OPS * end)
    return memory


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedModel:
    """Counts of many contexts, and what was counted on how far each can be trusted."""

    text: ByteArray
    """The training bytes, in which matches are found."""
    listed: ListedTrie
    memory: Memory
    discounts: Floats
    frozen: Weights
    """Counted on held-back bytes while the counts stood still."""
    adaptive: Weights
    """Counted while counting went on; adaptive scoring starts from it."""
    without: npt.NDArray[np.bool_]
    name: ClassVar[str] = NETWORK
    _chain: list[Chain] = field(default_factory=list)

    @property
    def parameters(self) -> int:
        """Counts of strings, histories that are not empty, and frozen weights."""
        histories = int(np.count_nonzero(self.memory.lines.nodes))
        seen = self.listed.trie.nodes - 1
        return seen + histories + sum(array.size for array in self.frozen)

    def bits(self, data: ByteArray, *, context: ByteArray | None = None) -> Floats:
        """Frozen bits of each byte, shape (n,)."""
        text, start, place = self._placed(data, context)
        state = self._still()
        state.listed.trie.cursor = self._cursor(context)
        return state.score(
            text, start, place, first=len(self.text), gap=(len(self.text), len(text)),
            weighing=False, counting=False,
        )  # fmt: skip

    def bits_per_byte(self, data: ByteArray, *, context: ByteArray | None = None) -> float:
        """Frozen score: mean of -log2 P(byte | bytes before it).

        Raises:
            CorpusError: if ``data`` is empty.
        """
        _need_bytes(data)
        return float(self.bits(data, context=context).mean())

    def adaptive_bits(self, data: ByteArray, *, context: ByteArray | None = None) -> Floats:
        """Bits of each byte, shape (n,), each learnt after it was scored; self is unchanged."""
        text, start, place = self._placed(data, context)
        order = self.listed.trie.order
        weights = copied(self.adaptive)
        state = State(
            listed=self.listed.copy(room=min(len(data) * (order + 1), _ROOM)),
            memory=Memory(
                copied_lines(self.memory.lines),
                self.memory.heads.copy(),
                self.memory.followers.copy(),
            ),
            chain=chain_of(self.discounts, weights),
            weights=weights,
            without=self.without,
        )
        state.listed.trie.cursor = self._cursor(context)
        return state.score(
            text, start, place, first=len(self.text), gap=(len(self.text), start),
            weighing=True, counting=True, drift=DRIFT,
        )  # fmt: skip

    def adaptive_bits_per_byte(self, data: ByteArray, *, context: ByteArray | None = None) -> float:
        """Adaptive score: mean bits with each byte learnt after it was scored.

        Raises:
            CorpusError: if ``data`` is empty.
        """
        _need_bytes(data)
        return float(self.adaptive_bits(data, context=context).mean())

    def next_byte(self, context: ByteArray) -> Floats:
        """P(next byte | context), shape (256,): each byte is scored in turn."""
        text, start, place = self._placed(np.zeros(1, np.uint8), context)
        state, cursor = self._still(), self._cursor(context)
        out = np.empty(256)
        for symbol in range(256):
            text[start] = symbol
            state.listed.trie.cursor = cursor
            out[symbol] = state.score(
                text, start, place.copy(), first=len(self.text),
                gap=(len(self.text), len(text)), weighing=False, counting=False,
            )[0]  # fmt: skip
        probabilities: Floats = np.exp2(-out)
        return probabilities

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``; all or nothing.

        Raises:
            ModelFileError: if they can't be written.
        """
        from microdollar.learn.counts.mixed.saved import save

        save(self, folder)

    @classmethod
    def load(cls, folder: Path) -> "CountedModel":
        """Read a folder that :meth:`save` wrote.

        Raises:
            ModelFileError: names the file and says what is wrong with it.
        """
        from microdollar.learn.counts.mixed.saved import load

        return load(folder)

    def _still(self) -> State:
        """For frozen scoring: nothing is copied.

        Nothing changes but the table of the chain, which is a cache, and the trie's cursor,
        which is set before every use.
        """
        if not self._chain:
            self._chain.append(chain_of(self.discounts, self.frozen))
        return State(
            listed=self.listed, memory=self.memory, chain=self._chain[0],
            weights=self.frozen, without=self.without,
        )  # fmt: skip

    def _cursor(self, context: ByteArray | None) -> int:
        trie = self.listed.trie
        return 0 if context is None else trie.contexts_of(np.ascontiguousarray(context, np.uint8))

    def _placed(self, data: ByteArray, context: ByteArray | None) -> tuple[ByteArray, int, Words]:
        """Training text, context and data in one; where data starts; and the place there."""
        before = np.zeros(0, np.uint8) if context is None else context
        text = np.concatenate((self.text, before, data)).astype(np.uint8, copy=False)
        learnt, start = len(self.text), len(self.text) + len(before)
        place = np.zeros(PLACE_WORDS, np.uint64)
        read_context(text, learnt, start, place, self.memory.heads, learnt, len(text))
        return text, start, place


def _need_bytes(data: ByteArray) -> None:
    if len(data) == 0:
        raise CorpusError("there is no byte to score. Name a file with at least one byte.")
