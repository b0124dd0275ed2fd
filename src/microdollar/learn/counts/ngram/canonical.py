"""One order of nodes for the same counts, however they were counted.

By length; then by context, contexts being compared from their last byte backwards; then by
last byte. It is the order in which a build from sorted runs meets the strings (``scale``),
so its files and those of a build in memory are the same bytes.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from microdollar.learn.counts.ngram import kernels
from microdollar.learn.counts.ngram.trie import Trie


def canonical_order(trie: Trie) -> npt.NDArray[np.uint32]:
    """Numbers of all nodes in canonical order, the root first, shape (nodes,)."""
    turn = np.empty(trie.nodes, np.uint32)
    kernels.order_by_depth(trie.rows, trie.nodes, trie.order + 1, turn)
    keys = trie.rows[: trie.nodes, kernels.KEY]
    ends = np.cumsum(np.bincount(trie.depths, minlength=trie.order + 2))
    rank = np.zeros(trie.nodes, np.uint64)  # of a string among those of its length, as a context
    for start, end in pairwise(ends):
        nodes = turn[start:end]
        level = keys[nodes]
        sorting = np.argsort(rank[level >> 8] << np.uint64(8) | (level & 255).astype(np.uint64))
        nodes[:] = nodes[sorting]
        by_last_byte = np.argsort((level[sorting] & 255).astype(np.uint8), kind="stable")
        rank[nodes[by_last_byte]] = np.arange(len(nodes), dtype=np.uint64)
    return turn
