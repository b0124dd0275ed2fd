"""Which tokens are facts, and how many of them the reconstruction has in their place."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.protect import mask, protected
from microdollar.learn.tokens.scorers.sentences import sentence_of_token
from microdollar.learn.tokens.scorers.stop_words import STOP_WORDS, StopWords
from microdollar.learn.tokens.tokenizers import Tokens
from microdollar.learn.tokens.vocabulary import pieces_of

Bools = npt.NDArray[np.bool_]

KINDS = ("numbers", "names", "negations", "content")
"""Numbers have a digit. Names begin with a capital, but neither a sentence nor a line, and are no
stop words. Negations are English ones. Content words are all that are no stop words, have a
letter and no digit; names are among them."""


def facts(tokens: Tokens) -> dict[str, Bools]:
    """The tokens of each of ``KINDS``, each of shape (n,)."""
    pieces = pieces_of(tokens)
    words = [piece.lstrip() for piece in pieces]
    numbers = _each(any(map(str.isdigit, word)) for word in words)
    letters = _each(any(map(str.isalpha, word)) for word in words)
    listed = _each(word.lower().replace("’", "'") in STOP_WORDS for word in words)
    capital = _each(word[:1].isupper() for word in words)
    in_line = _each("\n" not in piece for piece in pieces)
    sentence = sentence_of_token(tokens)
    seen = np.concatenate([[0], np.cumsum(letters)])[:-1]  # words before, in all of the text
    first = np.unique(sentence, return_index=True)[1]
    inside = seen > seen[first][sentence] if len(pieces) else letters
    return {
        "numbers": numbers,
        "names": capital & letters & ~numbers & ~listed & in_line & inside,
        "negations": mask(tokens, protected(tokens.text, kinds=("negations",))),
        "content": (StopWords().score(tokens) > 0) & letters & ~numbers,
    }


def same(read: Sequence[str], pieces: Sequence[str]) -> Bools:
    """Which tokens a reconstruction has right, white space aside; shape (n,)."""
    return _each(a == b or a.strip() == b.strip() for a, b in zip(read, pieces, strict=True))


def recalled(right: Bools, kinds: Mapping[str, Bools]) -> dict[str, tuple[int, int]]:
    """For each kind how many of its tokens are right, and how many there are.

    Kept ones count: a reader has them. A token that is right in another place does not.
    """
    return {
        kind: (int(np.count_nonzero(right & chosen)), int(np.count_nonzero(chosen)))
        for kind, chosen in kinds.items()
    }


def _each(values: Iterable[bool]) -> Bools:
    return np.fromiter(values, np.bool_)
