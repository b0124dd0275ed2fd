"""What the file of a counted reconstructor must look like."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from microdollar.learn.files import TensorSpec
from microdollar.learn.strict_json import show
from microdollar.learn.tokens.reconstruct.counted_memory import BESIDE, KINDS
from microdollar.learn.tokens.reconstruct.counted_reading import (
    COPIES,
    FEATURES,
    LEAST_POWER,
    MOST_BASE,
    MOST_POWER,
    MOST_SHARE,
    SLOTS,
)
from microdollar.learn.tokens.vocabulary import SPECIAL

MOST = 2**20
"""Numbers of a vocabulary: far more than there are words in use."""
_LIMITS = {
    "base": (-MOST_BASE, MOST_BASE),
    "contexts": (LEAST_POWER, MOST_POWER),
    "shares": (0.0, MOST_SHARE),
    "copied": (0.0, MOST_SHARE),
}


def specs(facts: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """Every tensor of a model with these facts."""
    distances, kinds = facts["distances"], facts["K"]
    if type(distances) is not int or not 1 <= distances <= 64:
        raise ValueError(f"distances is {show(distances)}")
    if type(facts["V"]) is not int or not SPECIAL < facts["V"] <= MOST or type(kinds) is not int:
        raise ValueError(f"V and K are {show(facts['V'])} and {show(kinds)}")
    shapes: dict[str, tuple[int | str, ...]] = {
        "words": ("V",),
        "documents": ("V",),
        "classes": (2, distances, kinds, kinds),
    }
    for place in range(distances):
        shapes[f"pair_keys_{place}"] = (f"pairs_{place}",)
        shapes[f"pair_counts_{place}"] = (f"pairs_{place}",)
    weights: dict[str, tuple[int | str, ...]] = {
        "base": (FEATURES,),
        "contexts": (SLOTS * distances, 2),
        "shares": (len(BESIDE), KINDS),
        "copied": (COPIES,),
    }
    whole = {name: TensorSpec(dtype="int64", shape=shape) for name, shape in shapes.items()}
    return whole | {name: TensorSpec(dtype="float64", shape=s) for name, s in weights.items()}


def damage(arrays: Mapping[str, npt.NDArray[Any]], size: int, distances: int) -> str | None:
    """What is impossible about the numbers of a file, or None."""
    for name, array in arrays.items():
        if array.dtype.kind == "i":
            least, most = (1 if "_counts_" in name else 0), 2**31
            if "_keys_" in name:
                most = size**2
                if (np.diff(array) <= 0).any():
                    return f"{name} is not in order"
            if array.size and not least <= array.min() <= array.max() < most:
                return f"{name} holds numbers outside {least} to {most - 1}"
        else:
            low, high = _LIMITS[name]
            if not ((array >= low) & (array <= high)).all():  # NaN is neither
                return f"{name} holds numbers outside {low} to {high}"
    return None
