"""The network that codes: it starts from nothing or from a saved model, and learns as it goes.

Its discounts are those of a saved model, as in adaptive scoring; without one they are
taken anew from the counts whenever the text has grown by a quarter. When the strings are
more than the room for them, the network starts anew and first counts the last of the text,
which both sides have.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from microdollar.errors import UsageError
from microdollar.learn.arrays import ByteArray
from microdollar.learn.base import Progress
from microdollar.learn.counts.ngram.discounts import (
    Evidence,
    Floats,
    factor_caps,
    modified_kneser_ney,
)
from microdollar.learn.counts.ngram.model import NGramModel
from microdollar.learn.counts.ngram.trie import Trie
from microdollar.learn.counts.pack import rangecoder, walk
from microdollar.learn.counts.pack.format import damaged
from microdollar.learn.counts.pack.guess import guesses
from microdollar.learn.counts.pack.lists import Lists
from microdollar.learn.files import TENSORS_NAME
from microdollar.learn.load import load_model

if TYPE_CHECKING:
    from microdollar.learn.counts.pack.rangecoder import Words

_CHUNK = 1 << 16
_FIRST_ESTIMATE = 1024
_RECALL = 1 << 18
"""Bytes that are counted again when the network starts anew."""


@dataclass(slots=True, kw_only=True)
class Prime:
    """A saved model to start from."""

    model: NGramModel
    digest: bytes
    """Of its weights, 16 bytes."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that ``build`` wrote.

        Raises:
            ModelFileError: if there is none, or it is damaged.
            UsageError: if it is no n-gram network.
        """
        model = load_model(folder)
        if not isinstance(model, NGramModel):
            raise UsageError(
                f"{folder} is a {model.name} network; only an ngram network can pack. "
                f"Type: microdollar build CORPUS -o FOLDER"
            )
        with (Path(folder) / TENSORS_NAME).open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
        return cls(model=model, digest=digest)


class Network:
    """Counts, evidence and guesses of one text, coded from its start to its end.

    Args:
        order: longest context in bytes; that of the model where there is one.
        room_bits: start anew before there are more than two to this power of strings.
        length: of the text, in bytes.
        prime: a model to start from.
    """

    def __init__(self, *, order: int, room_bits: int, length: int, prime: Prime | None) -> None:
        self._prime = prime
        self._guesses = guesses(length)
        self._evidence = Evidence.none(order) if prime is None else _evidence(prime)
        self._trie = Trie.empty(order) if prime is None else prime.model.network.trie.copy()
        self._trie.cursor = 0
        self._lists = Lists.of(self._trie)
        self._discounts: Floats = (
            modified_kneser_ney(self._trie.counts_of_counts())
            if prime is None
            else prime.model.discounts
        )
        # A primed network has that much room of its own.
        self._room = (1 << room_bits) + (0 if prime is None else self._trie.nodes)
        self._next_estimate = _FIRST_ESTIMATE

    def encode(self, text: ByteArray, progress: Progress) -> bytes:
        """The words that ``text`` is coded as, little-endian."""
        out = bytearray()
        coder = rangecoder.registers()
        for start in range(0, len(text), _CHUNK):
            end = min(start + _CHUNK, len(text))
            # A byte shifts out one word at most; those held back may come all at once.
            words = np.empty(end - start + int(coder[rangecoder.HELD]) + 4, np.uint32)
            coder[rangecoder.PLACE] = 0
            self._code(text, start, end, words, coder, decoding=False)
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
        text = np.empty(min(length, _CHUNK), np.uint8)
        position = 0
        while position < length:
            end = min(position + _CHUNK, length)
            if len(text) < end:
                text = np.concatenate(
                    (text, np.empty(min(len(text), length - len(text)), np.uint8))
                )
            self._code(text, position, end, words, coder, decoding=True)
            if rangecoder.read_too_far(words, coder):
                raise damaged("it ends too early")
            position = end
            progress(position, length, "unpacking")
        if not rangecoder.words_are_spent(words, coder):
            raise damaged("there is more behind its end")
        return text[:length]

    def _code(
        self,
        text: ByteArray,
        start: int,
        end: int,
        words: "Words",
        coder: rangecoder.Registers,
        *,
        decoding: bool,
    ) -> None:
        trie, evidence = self._trie, self._evidence
        at = np.array([start, trie.nodes, trie.cursor, 0], np.int64)
        while at[walk.POSITION] < end:
            position = int(at[walk.POSITION])
            if position >= self._next_estimate and self._prime is None:
                self._discounts = modified_kneser_ney(trie.counts_of_counts())
                self._next_estimate = position + position // 4
            if trie.nodes + trie.order + 1 > self._room:
                trie = self._start_anew(text[max(0, position - _RECALL) : position])
                at[walk.NODES], at[walk.CURSOR] = trie.nodes, trie.cursor
            trie.reserve(end - position)
            self._lists.grow(len(trie.rows))
            stop = min(end, self._next_estimate) if self._prime is None else end
            walk.code(
                decoding, self._prime is None, text, stop, trie.order,
                walk.Counts(
                    trie.rows, trie.suffix, trie.slots, self._lists.first, self._lists.following
                ),
                walk.Weighing(
                    self._discounts, factor_caps(self._discounts),
                    evidence.factors(self._discounts), evidence.earned, evidence.given,
                ),
                self._guesses, words, coder, at,
            )  # fmt: skip
            if at[walk.DAMAGED]:
                raise damaged("its words stand for no byte")
            trie.nodes, trie.cursor = int(at[walk.NODES]), int(at[walk.CURSOR])

    def _start_anew(self, recent: ByteArray) -> Trie:
        if self._prime is None:
            self._trie = Trie.empty(self._trie.order)
        else:
            self._trie = self._prime.model.network.trie.copy()
            self._trie.cursor = 0
        room = self._room - self._trie.nodes
        self._trie.count(recent[-max(room // (2 * (self._trie.order + 1)), 1) :])
        self._lists = Lists.of(self._trie)
        return self._trie


def _evidence(prime: Prime) -> Evidence:
    return prime.model.adaptive_evidence.copy()
