"""All memory of a training step, allocated once."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Arrays = Mapping[str, tuple[Shape, npt.DTypeLike]]
"""Shape and type of arrays by name."""

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""


class Arena:
    """Arrays of zeros in one block of memory.

    Args:
        plan: what lies in it, by part.

    Attributes:
        bytes: by part, with what aligns its arrays.
    """

    def __init__(self, plan: Mapping[str, Arrays]) -> None:
        self.bytes: dict[str, int] = {}
        starts: dict[tuple[str, str], int] = {}
        end = 0
        for part, arrays in plan.items():
            before = end
            for name, (shape, dtype) in arrays.items():
                starts[part, name] = end
                size = math.prod(shape) * np.dtype(dtype).itemsize
                end += -(-size // ALIGNMENT) * ALIGNMENT
            self.bytes[part] = end - before
        block = np.zeros(end + ALIGNMENT, np.uint8)
        block = block[-block.ctypes.data % ALIGNMENT :]
        self._arrays: dict[str, dict[str, Array]] = {part: {} for part in plan}
        for (part, name), start in starts.items():
            shape, dtype = plan[part][name]
            size = math.prod(shape) * np.dtype(dtype).itemsize
            array = block[start : start + size].view(dtype).reshape(shape)
            self._arrays[part][name] = array

    def __getitem__(self, part: str) -> dict[str, Array]:
        """The arrays of a part by name."""
        return self._arrays[part]

    @property
    def total_bytes(self) -> int:
        """Of all parts, and of the alignment of the block itself."""
        return sum(self.bytes.values()) + ALIGNMENT
