"""Classes of pieces by frequency and looks, so that an unseen pair of words still says something.

The most frequent pieces are a class each. The others are grouped by the white space before them,
by their kind (digits, signs, capitals, letters) and, of words, by the longest ending that enough
pieces of the vocabulary share: no list of any language is needed. A piece outside the vocabulary
has the class of its looks where it is kept, and one class for all where it is dropped.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.tokenizers import Tokens
from microdollar.learn.tokens.vocabulary import SPECIAL, UNKNOWN, Vocabulary

Ints = npt.NDArray[np.int64]

OWN = 100
"""Most frequent pieces, with a class each. 60 to 400 were tried on validation articles."""
SHARED = 0.025
"""Part of the vocabulary that must share an ending; 0.005 to 0.025 were tried there."""
_LONGEST = 3
"""Letters of an ending."""


@dataclass(frozen=True, eq=False)
class PieceClasses:
    """Classes of a vocabulary's pieces; class 0 is UNKNOWN's."""

    of_number: Ints
    """Class of each number, shape (V,)."""
    of_looks: dict[str, int] = field(repr=False)
    endings: frozenset[str] = field(repr=False)

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Self:
        """The classes of a vocabulary; nothing else is looked at."""
        pieces = vocabulary.pieces[SPECIAL:]
        found = Counter(ending for piece in pieces for ending in _endings(piece))
        least = max(2.0, SHARED * len(pieces))
        endings = frozenset(ending for ending, count in found.items() if count >= least)
        own = min(OWN, len(pieces))
        looks = [_looks(piece, endings) for piece in pieces[own:]]
        of_looks = {look: own + 1 + place for place, look in enumerate(sorted(set(looks)))}
        rest = [of_looks[look] for look in looks]
        return cls(np.array([0, 0, 0, *range(1, own + 1), *rest], np.int64), of_looks, endings)

    def __len__(self) -> int:
        return int(self.of_number.max()) + 1

    def of_kept(self, tokens: Tokens, numbers: Ints) -> Ints:
        """Class of each token where it is kept, shape (n,): unknown ones by their looks."""
        classes = self.of_number[numbers]
        unknown = np.flatnonzero(numbers == UNKNOWN).tolist()
        classes[unknown] = [
            self.of_looks.get(_looks(tokens.piece(at), self.endings), 0) for at in unknown
        ]
        return classes


def _endings(piece: str) -> list[str]:
    """Last letters of a word, the longest first, each after the word's kind."""
    word = piece.strip()
    kind = _kind(word)
    if kind not in ("lower", "Capital"):
        return []
    return [kind + word[-k:] for k in range(_LONGEST, 0, -1) if len(word) > k]


def _looks(piece: str, endings: frozenset[str]) -> str:
    space = piece[: len(piece) - len(piece.lstrip())]
    before = "line " if "\n" in space else "space " if space else ""
    known = [ending for ending in _endings(piece) if ending in endings]
    return before + (known[0] if known else _kind(piece.strip()))


def _kind(word: str) -> str:
    if not any(map(str.isalnum, word)):
        return "sign"
    if word.isdigit():
        return f"digits {min(len(word), 5)}"
    if any(map(str.isdigit, word)):
        return "mixed"
    if not word[0].isupper():
        return "lower"
    return "UPPER" if len(word) > 1 and word.isupper() else "Capital"
