"""An encoder from counts of the text at hand: no download, no torch, no gradient.

Latent semantic analysis (Deerwester et al. 1990): sentences as counts of their words, weighted
by how rare a word is, projected on the largest singular vectors of that matrix. These are found
by subspace iteration from a random start (Halko, Martinsson and Tropp 2011, algorithm 4.4), with
the sparse products written in numpy. Worse than a trained encoder, and there at once.
"""

import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from microdollar.errors import CorpusError, ModelFileError, UsageError
from microdollar.files import whole_file
from microdollar.learn.base import Progress, silent
from microdollar.learn.concepts.baselines import unit
from microdollar.learn.concepts.sequences import Floats
from microdollar.learn.strict_json import bad

Ints = npt.NDArray[np.int64]

DIM, LEAST_DIM = 128, 16
"""Of a vector, where there are twice as many sentences and words; less with fewer."""
WORDS = 16_384
"""Most frequent ones that are kept."""
LEAST_SENTENCES = 2
"""That a word must occur in: of one that occurs once nothing can be learned."""
ITERATIONS = 3
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_BLOCK = 1 << 14
NAME = "counted"


class CountedEncoder:
    """Sentences as the unit-length sum of their words' vectors.

    Args:
        words: (v,), each once.
        vectors: (v + 1, dim), finite; the last is added to every sentence, so that one without a
            known word has a vector too.

    Raises:
        UsageError: if they don't fit together.
    """

    name = NAME

    def __init__(self, words: Sequence[str], vectors: Floats) -> None:
        if vectors.shape[:1] != (len(words) + 1,) or vectors.ndim != 2 or not vectors.shape[1]:
            raise UsageError(f"{len(words)} words and vectors of shape {vectors.shape}.")
        if len(set(words)) != len(words) or not np.isfinite(vectors).all():
            raise UsageError("an encoder's words must differ and its vectors be finite.")
        self._rows = {word: row for row, word in enumerate(words)}
        self._vectors: Floats = np.ascontiguousarray(vectors, np.float32)
        self.dim = int(vectors.shape[1])
        self.fingerprint = _fingerprint(words, self._vectors)

    def encode(self, sentences: Sequence[str], progress: Progress = silent) -> Floats:
        """Unit rows (n, dim)."""
        found = np.empty((len(sentences), self.dim), np.float32)
        for row, sentence in enumerate(sentences):
            known = [self._rows[word] for word in _words(sentence) if word in self._rows]
            # A second occurrence adds less, and the sum is over distinct words in their order.
            counts = Counter(known)
            rows = [*sorted(counts), len(self._rows)]
            weights = [*(1 + math.log(counts[at]) for at in rows[:-1]), 1.0]
            found[row] = np.asarray(weights, np.float32) @ self._vectors[rows]
            if row % 1000 == 999:
                progress(row + 1, len(sentences), "encoding")
        progress(len(sentences), len(sentences), "encoding")
        return unit(found)

    def save(self, path: Path) -> None:
        """Write one npz file, whole or not at all."""
        packed = io.BytesIO()
        text = "\n".join(self._rows).encode()
        np.savez(packed, words=np.frombuffer(text, np.uint8), vectors=self._vectors)
        with whole_file(path, "wb") as out:
            out.write(packed.getvalue())

    @classmethod
    def load(cls, path: Path) -> "CountedEncoder":
        """Read what ``save`` wrote.

        Raises:
            ModelFileError: if it is missing, damaged or something else.
        """
        try:
            # numpy leaves a file open that it can't read.
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                words = file["words"].tobytes().decode().split("\n")
                return cls([word for word in words if word], file["vectors"])
        except Exception as error:  # zipfile, zlib and numpy each have their own
            if isinstance(error, ModelFileError):
                raise
            bad(path, f"can't be read as an encoder ({type(error).__name__})", "Train again.")


def fit(
    sentences: Sequence[str],
    *,
    dim: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> CountedEncoder:
    """Learn the words' vectors from sentences.

    Args:
        sentences: only ones that may be learned from.
        dim: of a vector; as many as the text is enough for, ``DIM`` at most, if None.
        seed: of the random start.
        progress: told how far it is.

    Raises:
        CorpusError: if there are too few sentences or words for so many dimensions.
    """
    lists = [_words(sentence) for sentence in sentences]
    found_in = Counter(word for words in lists for word in set(words))
    kept = [
        word
        for word, count in sorted(found_in.items(), key=lambda item: (-item[1], item[0]))
        if count >= LEAST_SENTENCES
    ][:WORDS]
    enough = min(len(kept), len(sentences)) // 2
    if dim is None:
        dim = max(LEAST_DIM, min(DIM, enough))
    if enough < dim:
        raise CorpusError(
            f"{len(sentences)} sentences with {len(kept)} words that occur twice are too few for "
            f"an encoder of {dim} dimensions. Give more text, or another encoder."
        )
    rarity = np.array([math.log(len(sentences) / found_in[word]) for word in kept])
    counts = _Counts(lists, {word: row for row, word in enumerate(kept)}, rarity)
    basis = np.random.default_rng(seed).standard_normal((len(kept), dim))
    for iteration in range(ITERATIONS):
        basis = np.linalg.qr(basis)[0]
        basis = counts.by_word(counts.by_sentence(basis))
        progress(iteration + 1, ITERATIONS, "encoder from counts")
    basis = np.linalg.qr(basis)[0]
    # The first direction is what all sentences share: it says nothing of any.
    states = counts.by_sentence(basis)
    mean = states.mean(axis=0)
    # Each direction at the root of its length: between the counts and equal weights.
    strength = 1 / np.sqrt(np.maximum(states.std(axis=0), 1e-9))
    vectors = np.concatenate([basis * rarity[:, None], -mean[None]]) * strength
    return CountedEncoder(kept, vectors.astype(np.float32))


class _Counts:
    """The sentences-by-words matrix, kept by rows and by columns."""

    def __init__(
        self, lists: Sequence[list[str]], rows: dict[str, int], rarity: npt.NDArray[np.float64]
    ) -> None:
        words, sentences, values = [], [], []
        for number, found in enumerate(lists):
            counts = Counter(rows[word] for word in found if word in rows)
            for word in sorted(counts):
                words.append(word)
                sentences.append(number)
                values.append((1 + math.log(counts[word])) * rarity[word])
        self._words, self._sentences = np.array(words, np.int64), np.array(sentences, np.int64)
        self._values = np.array(values)
        self._order = np.argsort(self._words, kind="stable")
        self._shape = (len(lists), len(rows))

    def by_sentence(self, basis: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Counts times (words, dim)."""
        return _sums(self._sentences, self._words, self._values, basis, self._shape[0])

    def by_word(self, states: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The transpose times (sentences, dim)."""
        at = self._order
        return _sums(self._words[at], self._sentences[at], self._values[at], states, self._shape[1])


def _sums(
    groups: Ints, rows: Ints, values: npt.NDArray[np.float64],
    table: npt.NDArray[np.float64], count: int,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Sum values * table[rows] within each group; ``groups`` ascend."""
    out = np.zeros((count, table.shape[1]))
    for start in range(0, len(groups), _BLOCK):
        part = slice(start, start + _BLOCK)
        own = groups[part]
        firsts = np.flatnonzero(np.r_[True, own[1:] != own[:-1]])
        out[own[firsts]] += np.add.reduceat(values[part, None] * table[rows[part]], firsts, axis=0)
    return out


def _words(sentence: str) -> list[str]:
    return _WORD.findall(sentence.lower())


def _fingerprint(words: Sequence[str], vectors: Floats) -> str:
    digest = hashlib.sha256("\n".join(words).encode())
    digest.update(np.ascontiguousarray(vectors, "<f4").tobytes())
    return digest.hexdigest()
