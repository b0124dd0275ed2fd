"""What a text's own kept tokens say: which piece stood beside which."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from microdollar.learn.tokens.reconstruct.counted_kernels import Own

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Keep = npt.NDArray[np.bool_]

BESIDE = (-2, 2, -1, 1)
"""Where a context stands from the piece that is asked for."""
KINDS = 15
"""Of rows: 1, 2-3, 4-7, 8-15 or more times seen; one, few or many pieces."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """Rows of pieces that a part of a text keeps beside others that it keeps."""

    keys: tuple[Ints, ...] = field(repr=False)
    """By place of ``BESIDE``: the contexts that were seen, in order."""
    own: "Own" = field(repr=False)
    kinds: Ints = field(repr=False)
    """Of each row, 0 to 14."""

    @classmethod
    def of(cls, pieces: Ints, keep: Keep) -> Self:
        """Count the pairs of kept pieces, shape (n,); what dropped ones are is not looked at."""
        from microdollar.learn.tokens.reconstruct.counted_kernels import Own

        size = int(pieces[keep].max(initial=0)) + 1
        keys, sizes, found, chances, kinds = [], [np.zeros(1, np.int64)], [], [], []
        for step in BESIDE:
            d = abs(step)
            both = np.flatnonzero(keep[:-d] & keep[d:])
            context, piece = both + (d if step > 0 else 0), both + (0 if step > 0 else d)
            pairs, counts = np.unique(pieces[context] * size + pieces[piece], return_counts=True)
            known, row, distinct = np.unique(pairs // size, return_inverse=True, return_counts=True)
            totals = np.bincount(row, counts, len(known)).astype(np.float64)
            keys.append(known)
            sizes.append(distinct)
            found.append(pairs % size)
            chances.append(counts / totals[row])
            kinds.append(_kinds(totals, distinct))
        starts = np.cumsum(np.concatenate(sizes))
        own = Own(starts, np.concatenate(found), np.concatenate(chances))
        return cls(keys=tuple(keys), own=own, kinds=np.concatenate(kinds))

    def rows(self, pieces: Ints, keep: Keep, dropped: Ints) -> Ints:
        """Row of each context of dropped tokens at these places, (m, 4); -1 for none."""
        rows = np.full((len(dropped), len(BESIDE)), -1, np.int64)
        offset = 0
        for place, (step, keys) in enumerate(zip(BESIDE, self.keys, strict=True)):
            at = dropped + step
            inside = (at >= 0) & (at < len(keep))
            here = np.flatnonzero(inside)
            here = here[keep[at[here]]]
            if len(keys):
                piece = pieces[at[here]]
                found = np.minimum(np.searchsorted(keys, piece), len(keys) - 1)
                known = keys[found] == piece
                rows[here[known], place] = offset + found[known]
            offset += len(keys)
        return rows


def _kinds(counts: Floats, distinct: Ints) -> Ints:
    often = np.minimum(np.log2(counts).astype(np.int64), 4)
    varied = np.where(distinct == 1, 0, np.where(2 * distinct <= counts, 1, 2))
    return often * 3 + varied
