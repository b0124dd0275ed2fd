"""The bytes that each context has seen, as linked lists over the nodes of a trie.

The trie finds a given byte by its hash; coding needs all bytes of a context in an order that
encoder and decoder share. The byte met last comes first, so that walks are short.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.counts.ngram.kernels import COUNT, KEY
from microdollar.learn.counts.ngram.trie import Trie

Ids = npt.NDArray[np.uint32]


@dataclass(slots=True, kw_only=True)
class Lists:
    """Two links a node, 0 for none; as long as the rows of the trie."""

    first: Ids
    """Shape (capacity,): the first child."""
    following: Ids
    """Shape (capacity,): the next child of the same parent."""

    @classmethod
    def of(cls, trie: Trie) -> "Lists":
        """The lists of a trie: by falling count (as far as 2^24), then by byte.

        The order follows from what was counted and not from how the nodes are numbered, which
        is another in a model that was saved and loaded.
        """
        lists = cls(
            first=np.zeros(len(trie.rows), np.uint32), following=np.zeros(len(trie.rows), np.uint32)
        )
        keys = trie.rows[1 : trie.nodes, KEY]
        counts = np.minimum(trie.rows[1 : trie.nodes, COUNT], (1 << 24) - 1).astype(np.uint32)
        turn = np.argsort(counts << 8 | (255 - (keys & 255)).astype(np.uint32), kind="stable")
        _prepend_all(turn + 1, keys >> 8, lists.first, lists.following)
        return lists

    def grow(self, capacity: int) -> None:
        """Make both as long as the rows of the trie."""
        if len(self.first) < capacity:
            self.first, self.following = (
                np.concatenate((old, np.zeros(capacity - len(old), np.uint32)))
                for old in (self.first, self.following)
            )


@njit(cache=True, nogil=True)
def _prepend_all(
    nodes: npt.NDArray[np.int64], parents: npt.NDArray[np.int64], first: Ids, following: Ids
) -> None:
    for node in nodes:
        parent = parents[node - 1]
        following[node] = first[parent]
        first[parent] = node
