"""A text as an array of code points, and sums of what characters have over spans of tokens."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from microdollar.learn.tokens.tokenizers import Tokens

_AFTER_SPACES = 0x3001
"""U+3000 is the last white space in Unicode."""
_WIDE_DIGITS = 0x660
"""U+0660 is the first decimal digit beyond ASCII."""


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Code points, shape (characters,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def utf8_lengths(points: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Bytes that each code point has in UTF-8, shape (characters,): 1 to 4."""
    lengths = np.ones(len(points), np.int64)
    for least in (0x80, 0x800, 0x10000):
        lengths += points >= least
    return lengths


def are_spaces(points: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Which code points are white space, as ``str.isspace`` has it; shape (characters,)."""
    return _space_table()[np.minimum(points, _AFTER_SPACES)]


def are_digits(points: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Which code points are decimal digits of any script, as ``str.isdecimal`` has it; (n,)."""
    digits = (points >= ord("0")) & (points <= ord("9"))
    wide = points[points >= _WIDE_DIGITS]
    if len(wide):
        seen = np.flatnonzero(np.bincount(wide))
        found = [point for point in seen.tolist() if chr(point).isdecimal()]
        if found:
            digits |= np.isin(points, found)
    return digits


def counts_in(tokens: "Tokens", chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """How many characters of each token are among ``chosen`` ones (characters,); shape (n,)."""
    before = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(chosen, out=before[1:])
    return before[tokens.ends] - before[tokens.starts]


@cache
def _space_table() -> npt.NDArray[np.bool_]:
    return np.array([chr(point).isspace() for point in range(_AFTER_SPACES + 1)])
