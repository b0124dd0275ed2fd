"""The model that codes: it starts from nothing or from a saved model, and learns as it goes.

It is the counted model in adaptive scoring, so the packed size is its score. When its
histories are more than the room for them, they and its counts start anew from the last of the
text, which both sides have; what is believed of opinions stays.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from microdollar.errors import UsageError
from microdollar.learn.arrays import ByteArray
from microdollar.learn.base import Progress
from microdollar.learn.counts import rangecoder
from microdollar.learn.counts.mixed.ahead import Gap
from microdollar.learn.counts.mixed.contexts import PLACE_WORDS
from microdollar.learn.counts.mixed.histories import FULLEST, empty_lines
from microdollar.learn.counts.mixed.kernels import DAMAGED, DECODE, ENCODE, POSITION, Modes
from microdollar.learn.counts.mixed.learner import Counted
from microdollar.learn.counts.mixed.model import CountedModel, of_ngram
from microdollar.learn.counts.mixed.state import remembered
from microdollar.learn.counts.mixed.strings import Strings
from microdollar.learn.counts.mixed.weights import DRIFT
from microdollar.learn.counts.ngram.model import NGramModel
from microdollar.learn.counts.ngram.trie import Trie
from microdollar.learn.counts.pack.format import damaged
from microdollar.learn.files import TENSORS_NAME
from microdollar.learn.load import load_model
from microdollar.work.formulas.counted import CHUNK_BYTES, LINES_PER_BYTE

if TYPE_CHECKING:
    from microdollar.learn.counts.rangecoder import Words

_RECALL = 1 << 18
"""Bytes that are counted again when the model starts anew."""
_WORDS_PER_BYTE = 8
"""At most: a word for each bit."""


@dataclass(slots=True, kw_only=True)
class Prime:
    """A saved model to start from."""

    model: CountedModel
    digest: bytes
    """Of its weights, 16 bytes."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that ``build`` wrote.

        Raises:
            ModelFileError: if there is none, or it is damaged.
            UsageError: if it neither is a counted model nor an n-gram network.
        """
        loaded = load_model(folder)
        model = of_ngram(loaded) if isinstance(loaded, NGramModel) else loaded
        if not isinstance(model, CountedModel):
            raise UsageError(
                f"{folder} is a {model.name} network; only counted and ngram networks can pack. "
                f"Type: microdollar build CORPUS --network counted -o FOLDER"
            )
        with (Path(folder) / TENSORS_NAME).open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
        return cls(model=model, digest=digest)


class Coder:
    """A model that codes one text from its start to its end.

    Args:
        order: longest context in bytes, of a model that starts from nothing.
        room_bits: its table of histories never has more slots than two to this power.
        prime: a model to start from.
    """

    def __init__(self, *, order: int, room_bits: int, prime: Prime | None) -> None:
        nothing = np.zeros(0, np.uint8)
        self._model = Counted(order=order).fit(nothing) if prime is None else prime.model
        self._state = self._model.learning()
        self._learnt = len(self._model.text)
        self._state.stand(self._learnt, nothing)
        # A primed model has that much room of its own.
        own = int(self._state.memory.lines.used[0])
        self._room = FULLEST * (1 << room_bits) + own - LINES_PER_BYTE * CHUNK_BYTES
        self._chances = np.empty(CHUNK_BYTES)

    def encode(self, text: ByteArray, progress: Progress) -> bytes:
        """The words that ``text`` is coded as, little-endian."""
        out = bytearray()
        coder = rangecoder.registers()
        whole = np.concatenate((self._model.text, text))
        for start in range(0, len(text), CHUNK_BYTES):
            end = min(start + CHUNK_BYTES, len(text))
            # Words that are held back may come all at once.
            held = int(coder[rangecoder.HELD])
            words = np.empty(_WORDS_PER_BYTE * (end - start) + held + 4, np.uint32)
            coder[rangecoder.PLACE] = 0
            self._code(whole, end, words, coder, ENCODE)
            if end == len(text):
                rangecoder.finish(words, coder)
            out += words[: int(coder[rangecoder.PLACE])].astype("<u4").tobytes()
            progress(end, len(text), "packing")
        return bytes(out)

    def decode(self, packed: bytes | memoryview, length: int, progress: Progress) -> ByteArray:
        """The ``length`` bytes that were coded as these words.

        Memory grows with what was decoded, not with what a header claims.

        Raises:
            PackError: if the words can't be what a text of this length was coded as.
        """
        if len(packed) % 4:
            raise damaged("it does not end where it should")
        words = np.frombuffer(packed, "<u4").astype(np.uint32)
        coder = rangecoder.registers()
        rangecoder.begin(words, coder)
        whole = np.concatenate((self._model.text, np.zeros(min(length, CHUNK_BYTES), np.uint8)))
        for start in range(0, length, CHUNK_BYTES):
            end = min(start + CHUNK_BYTES, length)
            if len(whole) < self._learnt + end:
                more = min(max(len(whole), CHUNK_BYTES), self._learnt + length - len(whole))
                whole = np.concatenate((whole, np.zeros(more, np.uint8)))
            self._code(whole, end, words, coder, DECODE)
            if self._state.at[DAMAGED]:
                raise damaged("its words stand for no byte")
            if rangecoder.read_too_far(words, coder):
                raise damaged("it ends too early")
            progress(end, length, "unpacking")
        if not rangecoder.words_are_spent(words, coder):
            raise damaged("there is more behind its end")
        return whole[self._learnt : self._learnt + length]

    def _code(
        self, text: ByteArray, end: int, words: "Words", coder: rangecoder.Registers, coding: int
    ) -> None:
        """The chunk up to ``end``; ``text`` begins with what a primed model has learnt."""
        state = self._state
        if state.memory.lines.used[0] > self._room:
            self._start_anew(text[: int(state.at[POSITION])])
        state.scratch = state.scratch._replace(words=words, coder=coder)
        modes = Modes(coding, True, True, DRIFT)
        gap = Gap(self._learnt, 0, 0)
        state.code(text, self._learnt + end, modes, gap, self._chances)

    def _start_anew(self, text: ByteArray) -> None:
        """Forget all but what is believed of opinions, and count the last bytes again."""
        state, fresh = self._state, self._model.learning()
        recalled = max(self._learnt, len(text) - min(_RECALL, int(self._room) // 64))
        if self._learnt:
            state.strings, lines = fresh.strings, fresh.memory.lines
        else:
            trie = Trie.empty(state.strings.order)
            trie.count(text[recalled:])
            state.strings, lines = Strings.of(trie), empty_lines(1024)
        state.memory = remembered(
            text, recalled, len(text), np.zeros(PLACE_WORDS, np.uint64),
            state.memory._replace(lines=lines), state.weights.chances,
        )  # fmt: skip
        state.stand(len(text), text[self._learnt :])
