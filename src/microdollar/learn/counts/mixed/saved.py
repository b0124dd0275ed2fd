"""The counted model in a folder: what can't be counted again in an instant.

The trie is kept as ``ngram.model`` keeps it, by parents, bytes and counts; lines without the
empty ones; matches are found again from the text.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microdollar.errors import ModelFileError
from microdollar.learn.counts.mixed.ahead import Memory
from microdollar.learn.counts.mixed.contexts import CONTEXTS, LONGEST, PLACE_WORDS, read_learnt
from microdollar.learn.counts.mixed.histories import HISTORIES, NODES, filled, from_filled
from microdollar.learn.counts.mixed.lanes import LANES
from microdollar.learn.counts.mixed.model import NETWORK, CountedModel
from microdollar.learn.counts.mixed.strings import MOST, Strings
from microdollar.learn.counts.mixed.weights import BUCKETS, INPUTS, PAIRS, STEPS, Weights, copied
from microdollar.learn.counts.ngram.discounts import CLASSES
from microdollar.learn.counts.ngram.trie import trie_from_nodes
from microdollar.learn.files import TensorSpec, load_folder, save_folder
from microdollar.work.formulas.counted import line_slots, match_slots
from microdollar.work.formulas.ngram import slots_for

_MAX_ORDER = 255
_KINDS = ("frozen", "adaptive")


def save(model: CountedModel, folder: Path) -> None:
    """Write ``model.safetensors`` and ``config.json``; all or nothing.

    Raises:
        ModelFileError: if they can't be written.
    """
    parent, symbol, count = model.strings.listed()
    keys, nodes = filled(model.memory.lines)
    tensors: dict[str, npt.NDArray[Any]] = {
        "text": model.text,
        "parent": parent,
        "symbol": symbol,
        "count": count,
        "discounts": model.discounts,
        "line_key": keys,
        "line_nodes": nodes,
        "followers": model.memory.followers,
        "without": model.without.astype(np.uint8),
    }
    for kind, weights in zip(_KINDS, (model.frozen, model.adaptive), strict=True):
        for name, array in weights._asdict().items():
            tensors[f"{kind}_{name}"] = array
    save_folder(
        folder,
        tensors,
        {
            "network": NETWORK,
            "order": model.strings.order,
            "strings": len(parent),
            "lines": len(keys),
            "train_bytes": len(model.text),
            "parameters": model.parameters,
        },
    )


def load(folder: Path) -> CountedModel:
    """Read a folder that ``save`` wrote.

    Raises:
        ModelFileError: names the file and says what is wrong with it.
    """
    tensors, config = load_folder(folder, network=NETWORK, tensors=_specs, max_bytes=2**40)
    file = Path(folder) / "model.safetensors"
    _check(file, tensors)
    text, order = tensors["text"], config["order"]
    try:
        trie = trie_from_nodes(order, tensors["parent"], tensors["symbol"], tensors["count"])
        # As many slots again as it may have grown to; how many there are changes no score.
        slots = max(line_slots(len(text)), slots_for(config["lines"]))
        lines = from_filled(tensors["line_key"], tensors["line_nodes"], slots)
    except ValueError as error:
        raise ModelFileError(f"{file}: unusable counts: {error}. Build it again.") from error
    heads = np.zeros(match_slots(len(text)), np.uint32)
    read_learnt(text, np.zeros(PLACE_WORDS, np.uint64), heads)
    weights = {
        kind: copied(Weights(*(tensors[f"{kind}_{name}"] for name in Weights._fields)))
        for kind in _KINDS
    }
    return CountedModel(
        text=text,
        strings=Strings.of(trie),
        memory=Memory(lines, heads, tensors["followers"]),
        discounts=tensors["discounts"],
        frozen=weights["frozen"],
        adaptive=weights["adaptive"],
        without=tensors["without"].astype(np.bool_),
    )


def _check(file: Path, tensors: dict[str, npt.NDArray[Any]]) -> None:
    """Refuse numbers that compiled loops would read past an array or divide by zero with.

    Raises:
        ModelFileError: names the file and the tensor.
    """
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ModelFileError(f"{file}: {name} has numbers that are not finite. Build it again.")
    limits = np.array([1.0, 2.0, 3.0])
    bad = []
    if (tensors["discounts"] <= 0).any() or (tensors["discounts"] >= limits).any():
        bad.append("a discount is outside 0 and its count")
    if (tensors["line_nodes"] >= HISTORIES).any():
        bad.append(f"a history is beyond {HISTORIES - 1}")
    if (tensors["without"] > 1).any():
        bad.append("without is neither 0 nor 1")
    if (tensors["count"] > MOST).any():
        bad.append("a count is beyond 24 bits")
    for kind in _KINDS:
        if min(tensors[f"{kind}_{name}"].min() for name in ("earned", "given")) < 0:
            bad.append(f"{kind} evidence is negative")
        if tensors[f"{kind}_variances"].min() < 0:
            bad.append(f"a {kind} variance is negative")
    if bad:
        raise ModelFileError(f"{file}: {bad[0]}. Build it again.")


def _specs(config: dict[str, Any]) -> dict[str, TensorSpec]:
    names = ("order", "strings", "lines", "train_bytes")
    order, strings, lines, train_bytes = (config[name] for name in names)
    if not all(type(config[name]) is int and config[name] >= 0 for name in names):
        raise ValueError(f"{', '.join(names)} must be whole numbers, at least 0")
    if order > _MAX_ORDER or max(strings, lines, train_bytes) >= 2**32 - 1:
        raise ValueError(f"order is at most {_MAX_ORDER}, all others are below 2**32 - 1")
    out = {
        "text": TensorSpec(dtype="uint8", shape=(train_bytes,)),
        "parent": TensorSpec(dtype="uint32", shape=(strings,)),
        "symbol": TensorSpec(dtype="uint8", shape=(strings,)),
        "count": TensorSpec(dtype="int64", shape=(strings,)),
        "discounts": TensorSpec(dtype="float64", shape=(order + 1, 3)),
        "line_key": TensorSpec(dtype="uint32", shape=(lines,)),
        "line_nodes": TensorSpec(dtype="uint16", shape=(lines, NODES)),
        "followers": TensorSpec(dtype="uint16", shape=(1 << 16,)),
        "without": TensorSpec(dtype="uint8", shape=(INPUTS + 2,)),
    }
    rows = BUCKETS + 256
    shapes = {
        "chances": ("uint32", CONTEXTS * HISTORIES),
        "matches": ("uint32", LONGEST + 1),
        "means": ("float32", rows * LANES),
        "variances": ("float32", rows * LANES),
        "calibration": ("uint32", 2 * PAIRS * STEPS),
    }
    for kind in _KINDS:
        for name, (dtype, size) in shapes.items():
            out[f"{kind}_{name}"] = TensorSpec(dtype=dtype, shape=(size,))
        for name in ("earned", "given"):
            out[f"{kind}_{name}"] = TensorSpec(dtype="float64", shape=(order + 1, CLASSES))
    return out
