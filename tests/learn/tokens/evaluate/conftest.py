"""A small reader for every test here: frequencies of pieces, whatever is kept."""

import numpy as np
import pytest

from microdollar.learn.tokens.reconstruct.base import KEPT
from microdollar.learn.tokens.vocabulary import SPECIAL, Vocabulary


class Frequencies:
    """Each dropped token costs what its piece's frequency says, with Laplace's rule."""

    name, given = "frequencies", KEPT

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        counts = vocabulary.counts[2:] + 1.0
        self.costs = np.concatenate([[np.inf, np.inf], -np.log2(counts / counts.sum())])
        self.likeliest = vocabulary.pieces[SPECIAL + int(counts[1:].argmax())]

    def bits(self, tokens, keep):
        costs = self.costs[self.vocabulary.numbers(tokens)] + self.vocabulary.spelled_bits(tokens)
        return np.where(keep, 0, costs)

    def fill(self, tokens, keep):
        return [tokens.piece(i) if keep[i] else self.likeliest for i in range(len(tokens))]


@pytest.fixture
def reader_of():
    """Makes a reader from tokens of documents."""
    return lambda documents: Frequencies(Vocabulary.of(documents))
