"""Where sentences end, by signs alone: fast, for any length, and no list of abbreviations."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.scorers.characters import are_spaces, code_points

if TYPE_CHECKING:
    from microdollar.learn.tokens.tokenizers import Tokens

Ints = npt.NDArray[np.int64]

_ENDS, _CLOSERS, _WIDE_ENDS = ([ord(c) for c in text] for text in (".!?…", "\"')]}*_”’»", "。！？"))


def sentence_of_token(tokens: "Tokens") -> Ints:
    """Number of the sentence that each token begins in, shape (n,), from 0, not falling."""
    return sentence_of_character(tokens.text)[tokens.starts]


def sentence_of_character(text: str) -> Ints:
    """Number of the sentence of each character, shape (characters,), from 0, not falling.

    A sentence ends after ``.``, ``!``, ``?`` or ``…`` with quotes and brackets that close, where
    white space follows; after the wide full stops of Chinese and Japanese; and at an empty line.
    The white space belongs to the next sentence, as to the next token.
    """
    points = code_points(text)
    if not len(points):
        return np.zeros(0, np.int64)
    at = np.arange(len(points))
    last = np.maximum.accumulate(np.where(np.isin(points, _CLOSERS), -1, at))
    closed = np.isin(points[np.maximum(last, 0)], _ENDS)
    new_line = points == ord("\n")
    breaks = np.zeros(len(points), np.int64)
    breaks[1:] = (closed[:-1] & are_spaces(points)[1:]) | (
        np.isin(points[:-1], _WIDE_ENDS) & ~np.isin(points[1:], _WIDE_ENDS + _CLOSERS)
    )
    breaks[1:-1] |= new_line[1:-1] & new_line[2:] & ~new_line[:-2]
    return np.cumsum(breaks)
