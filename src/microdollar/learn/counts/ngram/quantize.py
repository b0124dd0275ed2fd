"""Weights of a few bits: a code for each string, a codebook for each string length.

Biases need not be kept. A context's distribution must sum to 1 whatever its weights are, so
ln b = -ln(1 + sum over seen y of p(y | shorter) (e^w - 1)), and biases are computed from the
codes, shorter contexts first. The model of rounded weights is then a distribution again.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.errors import ModelFileError, UsageError
from microdollar.learn.counts.ngram.canonical import canonical_order
from microdollar.learn.counts.ngram.kernels import KEY, STATISTICS
from microdollar.learn.counts.ngram.model import NGramModel, checked_trie, specs_of_counts
from microdollar.learn.counts.ngram.network import assemble
from microdollar.learn.counts.ngram.trie import Trie
from microdollar.learn.files import TensorSpec, load_folder, save_folder

_Singles = npt.NDArray[np.float32]
_NETWORK = "ngram-quantized"
_ROUNDS = 25
"""Of Lloyd's algorithm; later ones move no level by more than 1e-3 (enwik8, 8 bits)."""
_BINS = 1 << 14


def codebook_of(values: _Singles, bits: int) -> _Singles:
    """2^bits levels with small squared error (Lloyd 1982), from a histogram; ascending."""
    levels = 1 << bits
    if len(values) == 0:
        return np.zeros(levels, np.float32)
    many, edges = np.histogram(values, bins=_BINS)
    middle = (edges[1:] + edges[:-1]) / 2
    cumulative = np.cumsum(many) / many.sum()
    book = np.interp((np.arange(levels) + 0.5) / levels, cumulative, middle)
    weighted = np.concatenate([[0.0], np.cumsum(many * middle)])
    total = np.concatenate([[0], np.cumsum(many)])
    for _ in range(_ROUNDS):
        cuts = np.searchsorted(middle, (book[1:] + book[:-1]) / 2)
        start, stop = np.concatenate([[0], cuts]), np.concatenate([cuts, [_BINS]])
        inside = total[stop] - total[start]
        mean = (weighted[stop] - weighted[start]) / np.maximum(inside, 1)
        book = np.sort(np.where(inside > 0, mean, book))
    levels_found: _Singles = book.astype(np.float32)
    return levels_found


def codes_of(values: _Singles, book: _Singles) -> npt.NDArray[np.uint8]:
    """Nearest level of each value."""
    return np.searchsorted((book[1:] + book[:-1]) / 2, values).astype(np.uint8)


@njit(cache=True, nogil=True)
def _biases(
    turn: npt.NDArray[np.uint32],
    rows: npt.NDArray[np.int64],
    suffix: npt.NDArray[np.uint32],
    weight: _Singles,
    bias: _Singles,
) -> None:
    """Biases that make every context's distribution sum to 1."""
    nodes = len(turn)
    probability, extra = np.zeros(nodes), np.zeros(nodes)
    start = 1
    while start < nodes:  # one length after the other
        depth = rows[turn[start], STATISTICS] >> 48
        end = start
        while end < nodes and rows[turn[end], STATISTICS] >> 48 == depth:
            node = turn[end]
            below = probability[suffix[node]] if depth > 1 else 1.0 / 256.0
            probability[node] = below * math.exp(weight[node])
            extra[rows[node, KEY] >> 8] += below * math.expm1(weight[node])
            end += 1
        for place in range(start, end):
            node = turn[place]
            parent = rows[node, KEY] >> 8
            probability[node] /= 1.0 + extra[parent]
            bias[parent] = -math.log1p(extra[parent])
        start = end


def biases_for(trie: Trie, weight: _Singles) -> _Singles:
    """Biases of all units, shape (nodes,), given the readout weights, shape (nodes,)."""
    bias = np.zeros(trie.nodes, np.float32)
    _biases(canonical_order(trie), trie.rows[: trie.nodes], trie.suffix, weight, bias)
    return bias


def quantize(model: NGramModel, bits: int) -> tuple[NGramModel, _Singles, npt.NDArray[np.uint8]]:
    """A model whose weights are one of 2^bits numbers for each string length.

    Args:
        model: stays as it is.
        bits: 1 to 8.

    Returns:
        The model; the codebooks, shape (order + 1, 2^bits); the codes, shape (nodes,).

    Raises:
        UsageError: if ``bits`` is something else.
    """
    if not 1 <= bits <= 8:
        raise UsageError(f"{bits} bits a weight are not within 1 and 8. Type --weight-bits 8.")
    trie, weight = model.network.trie, model.network.weight
    depths = trie.depths
    books = np.zeros((trie.order + 1, 1 << bits), np.float32)
    codes = np.zeros(trie.nodes, np.uint8)
    rounded = np.zeros(trie.nodes, np.float32)
    for length in range(1, trie.order + 2):
        of_length = depths == length
        books[length - 1] = codebook_of(weight[of_length], bits)
        codes[of_length] = codes_of(weight[of_length], books[length - 1])
        rounded[of_length] = books[length - 1][codes[of_length]]
    network = assemble(trie, rounded, biases_for(trie, rounded))
    return replace(model, network=network), books, codes


def save_quantized(model: NGramModel, bits: int, folder: Path) -> NGramModel:
    """Write the quantized model to a folder, all or nothing, and return it.

    Codes of up to 4 bits are two to a byte. Loading gives the same weights, bit for bit.

    Raises:
        ModelFileError: if it can't be written.
        UsageError: if ``bits`` is not within 1 and 8.
    """
    smaller, books, codes = quantize(model, bits)
    turn = canonical_order(model.network.trie)
    tensors, config = smaller.saved_counts(turn)
    codes = codes[turn]
    if bits <= 4:
        codes = np.append(codes, np.zeros(len(codes) % 2, np.uint8))
        codes = codes[0::2] | codes[1::2] << np.uint8(4)
    config |= {"network": _NETWORK, "weight_bits": bits}
    save_folder(folder, {**tensors, "code": codes, "codebook": books}, config)
    return smaller


class QuantizedFile:
    """A folder that ``save_quantized`` wrote."""

    @staticmethod
    def load(folder: Path) -> NGramModel:
        """Read it.

        Raises:
            ModelFileError: names the file and says what is wrong with it.
        """
        tensors, config = load_folder(folder, network=_NETWORK, tensors=_specs, max_bytes=2**40)
        trie = checked_trie(folder, tensors, config)
        codes = tensors["code"]
        if config["weight_bits"] <= 4:
            codes = np.stack([codes & 15, codes >> 4], axis=1).reshape(-1)
        codes = codes[: trie.nodes]
        if codes.max(initial=0) >= 1 << config["weight_bits"]:
            raise ModelFileError(f"{folder}: a code has no level. Build it again.")
        weight = np.zeros(trie.nodes, np.float32)
        weight[1:] = tensors["codebook"][trie.depths[1:] - 1, codes[1:]]
        network = assemble(trie, weight, biases_for(trie, weight))
        return NGramModel.of_tensors(network, tensors, config)


def _specs(config: dict[str, Any]) -> dict[str, TensorSpec]:
    counts = specs_of_counts(config)
    bits, nodes = config["weight_bits"], config["strings"] + 1
    if type(bits) is not int or not 1 <= bits <= 8:
        raise ValueError("weight_bits is not within 1 and 8")
    size = nodes if bits > 4 else (nodes + 1) // 2
    return counts | {
        "code": TensorSpec(dtype="uint8", shape=(size,)),
        "codebook": TensorSpec(dtype="float32", shape=(config["order"] + 1, 1 << bits)),
    }
