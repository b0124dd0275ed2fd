"""Vectors of pieces out of counts of their neighbours, for a table to start training from."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from microdollar.learn.tokens.vocabulary import SPECIAL

Ints = npt.NDArray[np.int64]

NEAR = 4
"""Steps to the farthest neighbour that counts, as one over the steps."""
SMOOTHED = 0.75
"""Power of how often the neighbour is anywhere."""
OVERSAMPLED, POWERS = 16, 2
"""Further random directions, and passes, of the factors."""


def counted_table(documents: Sequence[Ints], size: int, width: int, seed: int = 0) -> Tensor:
    """Vectors of pieces out of counts, (size, width): close ones stand among the same neighbours.

    Left singular vectors, times roots of the singular values, of the positive logarithms of how
    much oftener than by chance each other piece is near, at the left and at the right apart
    (Levy, Goldberg and Dagan 2015, TACL 3, sections 2.2 and 3.1, with their smoothing of 0.75 and
    1 added within the logarithm), in a random basis; their mean square is 1. Rare pieces have
    short vectors, the special numbers random ones.

    Args:
        documents: numbers of each, (n,).
        size: of the vocabulary.
        width: numbers of a vector.
        seed: of the random numbers.
    """
    draw = torch.Generator().manual_seed(seed)
    near = _near(documents, size)
    back = near.t().coalesce()
    rank = min(width + OVERSAMPLED, size)
    # Halko, Martinsson and Tropp, arXiv 0909.4061, algorithm 4.4.
    basis = torch.randn(2 * size, rank, generator=draw)
    for _ in range(POWERS):
        basis = torch.sparse.mm(back, _orthogonal(torch.sparse.mm(near, basis)))
    basis = _orthogonal(torch.sparse.mm(near, basis))
    small = torch.sparse.mm(back, basis)
    axes, squares, _ = torch.linalg.svd(small.T @ small)
    vectors = (basis @ axes[:, :width]) * squares[:width] ** 0.25
    vectors = functional.pad(vectors - vectors.mean(0), (0, max(width - rank, 0)))
    vectors = vectors @ _orthogonal(torch.randn(width, width, generator=draw))
    vectors /= vectors.square().mean().sqrt().clamp(min=1e-9)
    vectors[:SPECIAL] = torch.randn(SPECIAL, width, generator=draw)
    return vectors


def _near(documents: Sequence[Ints], size: int) -> Tensor:
    """What ``counted_table`` factors, sparse (size, 2 size)."""
    places, weights = [], []
    for document in documents:
        for step in range(1, min(NEAR, len(document) - 1) + 1):
            left, right = document[:-step], document[step:]
            places += [np.stack([left, right]), np.stack([right, left + size])]
            weights += [np.full(len(left), 1 / step, np.float32)] * 2
    shape = size, 2 * size
    if not places:
        return torch.sparse_coo_tensor(torch.zeros(2, 0), torch.zeros(0), shape).coalesce()
    found = torch.sparse_coo_tensor(
        torch.from_numpy(np.concatenate(places, 1)),
        torch.from_numpy(np.concatenate(weights)),
        shape,
        check_invariants=False,
    ).coalesce()
    (rows, columns), counts = found.indices(), found.values()
    of_row = torch.zeros(size).index_add_(0, rows, counts)
    of_column = torch.zeros(2 * size).index_add_(0, columns, counts) ** SMOOTHED
    oftener = counts * of_column.sum() / (of_row[rows] * of_column[columns])
    return torch.sparse_coo_tensor(
        found.indices(), oftener.log1p(), shape, check_invariants=False
    ).coalesce()


def _orthogonal(matrix: Tensor) -> Tensor:
    found: Tensor = torch.linalg.qr(matrix)[0]
    return found
