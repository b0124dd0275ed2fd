"""Where sentences end, by signs alone: fast, for any length, and no list of abbreviations."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.scorers.characters import are_spaces, code_points

if TYPE_CHECKING:
    from microdollar.learn.tokens.tokenizers import Tokens

Ints = npt.NDArray[np.int64]

_ENDS, _CLOSERS, _WIDE_ENDS = (
    [ord(sign) for sign in signs] for signs in (".!?…", "\"')]}*_”’»」』）】", "。！？")
)


def sentence_of_token(tokens: "Tokens") -> Ints:
    """Number of the sentence that each token begins in, shape (n,), from 0, not falling."""
    return sentence_of_character(tokens.text)[tokens.starts]


def sentence_of_character(text: str) -> Ints:
    """Number of the sentence of each character, shape (characters,), from 0, not falling.

    A sentence ends after ``.``, ``!``, ``?`` or ``…`` where white space follows; after the wide
    full stops of Chinese and Japanese; either with the quotes and brackets that close behind it;
    and at an empty line. White space belongs to the next sentence, as to the next token.
    """
    points = code_points(text)
    if not len(points):
        return np.zeros(0, np.int64)
    spaces, new_lines = are_spaces(points), points == ord("\n")
    closers, wide_ends = np.isin(points, _CLOSERS), np.isin(points, _WIDE_ENDS)
    last = np.maximum.accumulate(np.where(closers, 0, np.arange(len(points))))
    ended, ended_wide = np.isin(points, _ENDS)[last], wide_ends[last]
    breaks = np.zeros(len(points), np.int64)
    breaks[1:] = (ended[:-1] & spaces[1:]) | (ended_wide[:-1] & ~(wide_ends | closers)[1:])
    # An empty line may hold blanks; the first of its line ends begins the next sentence.
    inked = np.flatnonzero(~spaces | new_lines)
    is_new_line = new_lines[inked]
    breaks[inked[1:-1][is_new_line[1:-1] & is_new_line[2:] & ~is_new_line[:-2]]] = 1
    return np.cumsum(breaks)
