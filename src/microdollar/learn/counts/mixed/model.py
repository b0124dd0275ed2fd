"""The counted model that users hold: scores frozen and adaptive, saves and loads."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from microdollar.errors import CorpusError
from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts.mixed.ahead import Gap, Memory
from microdollar.learn.counts.mixed.chain import Chain, chain_of, fill_table
from microdollar.learn.counts.mixed.contexts import PLACE_WORDS, Words, read_context
from microdollar.learn.counts.mixed.histories import copied as copied_lines
from microdollar.learn.counts.mixed.state import State
from microdollar.learn.counts.mixed.strings import Strings
from microdollar.learn.counts.mixed.weights import DRIFT, Weights, copied
from microdollar.learn.counts.ngram.discounts import Floats
from microdollar.learn.counts.ngram.model import NGramModel

NETWORK = "counted"
_SHARE_BYTES = 1 << 14
"""A thread is worth it for so many bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedModel:
    """Counts of many contexts, and what was counted on how far each can be trusted."""

    text: ByteArray
    """The training bytes, in which matches are found."""
    strings: Strings
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
        return self.strings.size() + histories + sum(array.size for array in self.frozen)

    def bits(self, data: ByteArray, *, context: ByteArray | None = None) -> Floats:
        """Frozen bits of each byte, shape (n,); parts of a long text in a thread each."""
        text, start, place = self._placed(data, context)
        learnt = len(self.text)
        gap = Gap(learnt, learnt, len(text))
        threads = max(1, min(_cores(), len(data) // _SHARE_BYTES))
        cuts = [start + len(data) * i // threads for i in range(threads + 1)]
        states = []
        for begin, end in pairwise(cuts):
            states.append(self._still(place.copy()))
            states[-1].stand(begin, text[learnt:begin])
            read_context(text, begin, end, place, self.memory.heads, *gap)

        def score(i: int) -> Floats:
            return states[i].score(text, gap, weighing=False, counting=False, end=cuts[i + 1])

        if threads == 1:
            return score(0)
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(score, range(threads))))

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
        state = self.learning(place)
        learnt = len(self.text)
        state.stand(start, text[learnt:start])
        gap = Gap(learnt, learnt, start)
        return state.score(text, gap, weighing=True, counting=True, drift=DRIFT)

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
        learnt, out = len(self.text), np.empty(256)
        gap = Gap(learnt, learnt, len(text))
        state = self._still(place)
        for symbol in range(256):
            text[start] = symbol
            state.place = place.copy()
            state.stand(start, text[learnt:start])
            out[symbol] = state.score(text, gap, weighing=False, counting=False)[0]
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
        """Read a folder that ``save`` wrote.

        Raises:
            ModelFileError: names the file and says what is wrong with it.
        """
        from microdollar.learn.counts.mixed.saved import load

        return load(folder)

    def learning(self, place: Words | None = None) -> State:
        """A copy that goes on learning from every byte; self is unchanged."""
        weights = copied(self.adaptive)
        return State(
            strings=self.strings.copy(),
            memory=Memory(
                copied_lines(self.memory.lines),
                self.memory.heads.copy(),
                self.memory.followers.copy(),
            ),
            chain=chain_of(self.discounts, weights),
            weights=weights,
            without=self.without,
            place=np.zeros(PLACE_WORDS, np.uint64) if place is None else place,
        )

    def _still(self, place: Words) -> State:
        """For frozen scoring: nothing is copied, nothing changes but the place."""
        if not self._chain:
            chain = chain_of(self.discounts, self.frozen)
            fill_table(self.strings.counts, chain)
            self._chain.append(chain)
        return State(
            strings=self.strings, memory=self.memory, chain=self._chain[0],
            weights=self.frozen, without=self.without, place=place,
        )  # fmt: skip

    def _placed(self, data: ByteArray, context: ByteArray | None) -> tuple[ByteArray, int, Words]:
        """Training text, context and data in one; where data starts; and the place there."""
        before = np.zeros(0, np.uint8) if context is None else context
        text = np.concatenate((self.text, before, data)).astype(np.uint8, copy=False)
        learnt, start = len(self.text), len(self.text) + len(before)
        place = np.zeros(PLACE_WORDS, np.uint64)
        read_context(text, learnt, start, place, self.memory.heads, learnt, learnt, len(text))
        return text, start, place


def of_ngram(model: NGramModel) -> CountedModel:
    """The counts and discounts of an n-gram network; all else starts from nothing."""
    from microdollar.learn.counts.mixed.learner import Counted

    trie, evidence = model.network.trie, model.adaptive_evidence
    empty = Counted(order=trie.order).fit(np.zeros(0, np.uint8))
    weights = empty.adaptive._replace(earned=evidence.earned, given=evidence.given)
    return replace(
        empty, strings=Strings.of(trie), discounts=model.discounts, adaptive=weights,
        frozen=copied(weights), _chain=[],
    )  # fmt: skip


def _need_bytes(data: ByteArray) -> None:
    if len(data) == 0:
        raise CorpusError("there is no byte to score. Name a file with at least one byte.")


def _cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
