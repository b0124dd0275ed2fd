"""Numbers in files: written at the end or in place, read by range, never mapped.

A mapped file would count as memory of the process, and the memory of a build is bounded.
"""

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[Any]


def raw(values: _Array) -> memoryview:
    """The bytes of an array that has no gaps."""
    return values.data.cast("B") if values.size else memoryview(b"")


class Column:
    """A file of numbers of one type."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        """Make the file, empty; what has this name is replaced."""
        self.path, self.dtype = path, np.dtype(dtype)
        self._file = path.open("w+b", buffering=0)
        self._end = 0

    def __len__(self) -> int:
        return self._end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, values: _Array) -> None:
        """Write numbers after the last."""
        self.write(self._end, values)

    def write(self, start: int, values: _Array) -> None:
        """Write numbers from place ``start`` on, within the file or beyond its end."""
        plain = np.ascontiguousarray(values, dtype=self.dtype)
        self._file.seek(start * self.dtype.itemsize)
        left = raw(plain)
        while left:
            left = left[self._file.write(left) :]
        self._end = max(self._end, start + len(plain))

    def read(self, start: int, stop: int) -> _Array:
        """Numbers ``start`` to ``stop``, or to the end if that comes first."""
        out = np.empty(max(min(stop, self._end) - start, 0), self.dtype)
        self._file.seek(start * self.dtype.itemsize)
        left = raw(out)
        while left:
            got = self._file.readinto(left)
            if not got:
                raise OSError(f"{self.path} ended too early")
            left = left[got:]
        return out

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)
