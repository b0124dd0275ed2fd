"""Initial weights for a network that will be trained by gradient descent, from counts.

A network over bytes starts by learning how frequent each byte is, then which byte follows
which. Both can be written down first: the output bias is ln P(y), and embedding and readout
are factors of the bigram log-ratios L[x, y] = ln P(y | x) - ln P(y), so that the logits start
as ln P(y) + L[x, y] as far as ``width`` numbers a byte can hold it. That is the structure
that the first gradient step finds (arXiv 2601.19208) and that skip-gram embeddings
factorise (Levy and Goldberg, NIPS 2014), with all smoothed entries kept and not the positive ones
alone: what never follows is worth knowing too.

Everything is a numpy array; with torch, for a model ``lm`` without a norm before its readout::

    embedding, head = bigram_factors(text, width=lm.width)
    with torch.no_grad():
        lm.embedding.weight.copy_(torch.from_numpy(embedding))
        lm.head.weight.copy_(torch.from_numpy(head))
        lm.head.bias.copy_(torch.from_numpy(output_bias(text)))

Where a norm or a tanh stands between, compute the 256 features as the network does, from each
byte alone, and take ``readout`` of them instead of ``head``.
"""

import numpy as np
import numpy.typing as npt

from microdollar.errors import CorpusError, UsageError
from microdollar.learn.arrays import ByteArray

PSEUDO_COUNT = 0.5
"""Of each byte (Krichevsky and Trofimov 1981)."""
PRIOR_BYTES = 4.0
"""How many bytes of evidence P(y) is worth in P(y | x); assumed, as in Dirichlet smoothing."""
RIDGE = 1e-4
"""Of the readout, relative to the mean square of the features."""

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


def output_bias(data: ByteArray) -> Singles:
    """Logarithms of the frequencies, ln P(y), shape (256,), half a count added to each.

    Args:
        data: training bytes, shape (n,).

    Raises:
        CorpusError: if ``data`` is empty.
    """
    return np.log(_frequencies(data)).astype(np.float32)


def bigram_log_ratios(data: ByteArray) -> Floats:
    """L[x, y] = ln P(y | x) - ln P(y), shape (256, 256); 0 where x was not seen.

    P(y | x) = (c(x, y) + a P(y)) / (c(x) + a) with a = ``PRIOR_BYTES``.

    Raises:
        CorpusError: if ``data`` is empty.
    """
    unigram = _frequencies(data)
    pairs = data[:-1].astype(np.int64) << 8 | data[1:]
    counts = np.bincount(pairs, minlength=65536).reshape(256, 256).astype(np.float64)
    total = counts.sum(axis=1, keepdims=True)
    ratios: Floats = np.log((counts / unigram + PRIOR_BYTES) / (total + PRIOR_BYTES))
    return ratios


def bigram_factors(data: ByteArray, width: int) -> tuple[Singles, Singles]:
    """Embedding and readout, each shape (256, ``width``), whose product is nearest to L.

    Nearest in squares weighted by P(x) P(y), by a singular value decomposition of
    P(x)^(1/2) L P(y)^(1/2); singular values are shared equally. More columns than 256 are 0.

    Raises:
        CorpusError: if ``data`` is empty.
        UsageError: if ``width`` is less than 1.
    """
    if width < 1:
        raise UsageError(f"width {width} is less than 1. Give that of the embedding.")
    root = np.sqrt(_frequencies(data))
    left, values, right = np.linalg.svd(root[:, None] * bigram_log_ratios(data) * root)
    kept = min(width, 256)
    share = np.sqrt(values[:kept])
    embedding, head = np.zeros((256, width), np.float32), np.zeros((256, width), np.float32)
    embedding[:, :kept] = left[:, :kept] * share / root[:, None]
    head[:, :kept] = right[:kept].T * share / root[:, None]
    return embedding, head


def readout(features: npt.ArrayLike, data: ByteArray) -> Singles:
    """Readout weights, shape (256, width), from features of single bytes to log-ratios.

    Ridge regression of L[x] on the features of x, weighted by P(x), in closed form.

    Args:
        features: shape (256, width), row x what the readout sees when only byte x was read.
        data: training bytes.

    Raises:
        CorpusError: if ``data`` is empty.
        UsageError: if ``features`` has another shape or numbers that are not finite.
    """
    seen = np.asarray(features, np.float64)
    if seen.ndim != 2 or len(seen) != 256 or not np.isfinite(seen).all():
        raise UsageError(f"features must be 256 rows of finite numbers, got shape {seen.shape}.")
    weighted = seen * _frequencies(data)[:, None]
    square = weighted.T @ seen
    ridge = RIDGE * (np.trace(square) / len(square) or 1.0)
    weights = np.linalg.solve(
        square + ridge * np.eye(len(square)), weighted.T @ bigram_log_ratios(data)
    )
    return np.ascontiguousarray(weights.T, dtype=np.float32)


def _frequencies(data: ByteArray) -> Floats:
    if len(data) == 0:
        raise CorpusError("there are no bytes to count. Give at least one.")
    counts = np.bincount(data, minlength=256) + PSEUDO_COUNT
    frequencies: Floats = counts / counts.sum()
    return frequencies
