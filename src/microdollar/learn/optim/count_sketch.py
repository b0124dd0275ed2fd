"""CountSketch: a vector in fewer numbers than it has elements, as a linear map.

Charikar, Chen and Farach-Colton 2002; unsigned: the Count-Min sketch of Cormode and
Muthukrishnan 2005. Each row of the table adds every element to one bucket chosen by a hash,
with a sign chosen by another; both come from the seed and are never stored.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from microdollar.learn.optim.hashes import MAX_BUCKETS, Hash, buckets_of, draw, family_for, signs_of

MODES = ("signed", "sum", "mean")
CHUNK = 2**16
"""Elements hashed at once: what bounds the memory beside table and vector."""


class CountSketch:
    """Sketch of a vector of ``size`` numbers in ``rows`` x ``buckets``.

    What an element is estimated by, over the random draw of the hashes (n = size, k = buckets):

    - ``signed``: sign x bucket, the median of the rows. With one row its expectation is x_i and
      its variance (||x||^2 - x_i^2) / k: buckets are pairwise independent, and signs too, apart
      from the buckets. Exactly so for multiply-shift. For a field of p, expectation is x_i but
      for ||x||_1 / p, and variance at most that but for ||x||_1^2 / p.
    - ``sum``: the bucket, the least of the rows; never below x_i if x >= 0, and in expectation
      x_i + (sum of the others) / k for one row.
    - ``mean``: the bucket / (n / k), the mean of the rows: what the elements of a bucket of
      average size have on average. Not an estimate of x_i unless the elements are alike.

    Args:
        size: elements of the vector.
        buckets: of a row.
        rows: independent repetitions; odd if signed.
        mode: ``signed``, ``sum`` or ``mean``.
        family: of `hashes`; multiply-shift needs a power of two of buckets.
        seed: of the draw. The same seed, family and shape give the same hashes.
        two_for_one: bucket and sign from one quadratic hash (Ahle, Knudsen and Thorup,
            arXiv:2008.08654), Mersenne only: three elements have independent pairs of both,
            which is what expectation and variance need. A linear hash for both would be
            unbiased, but its variance can be several times that.
        device: of the table.

    Raises:
        ValueError: if a size, mode or family can't be.

    Examples:
        >>> sketch = CountSketch(1000, buckets=64, rows=3)
        >>> sketch.update(torch.tensor([7]), torch.tensor([2.5]))
        >>> sketch.estimate(torch.tensor([7]))
        tensor([2.5000])
    """

    def __init__(
        self,
        size: int,
        buckets: int,
        rows: int = 1,
        *,
        mode: str = "signed",
        family: str = "mersenne31",
        seed: int = 0,
        two_for_one: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}.")
        if size < 1 or rows < 1 or (mode == "signed" and rows % 2 == 0):
            raise ValueError(
                f"size and rows must be positive and rows odd if signed, got {size} and {rows}."
            )
        if two_for_one and 2 * buckets > MAX_BUCKETS:
            raise ValueError(f"two for one takes {MAX_BUCKETS // 2} buckets, not {buckets}.")
        family = family_for(size, family)
        self.size, self.buckets, self.rows, self.mode = size, buckets, rows, mode
        self._configuration = (size, buckets, rows, mode, family, seed, two_for_one)
        self._one = two_for_one
        self._hashes: list[tuple[Hash, Hash]] = []
        for row in range(rows):
            if two_for_one:
                both = draw(family, 2 * buckets, (seed, row, 0), independence=3)
                self._hashes.append((both, both))
            else:
                place = draw(family, buckets, (seed, row, 0))
                self._hashes.append((place, draw(family, 2, (seed, row, 1))))
        keys = min(place.keys for place, _ in self._hashes)
        if size > keys:
            raise ValueError(f"{family} tells {keys} elements apart, not {size}.")
        self.table = torch.zeros(rows, buckets, device=device)

    def update(self, indices: Tensor, values: Tensor) -> None:
        """Add ``values`` to the elements ``indices``; repeated indices add up.

        Args:
            indices: int64, any shape, 0 to size - 1.
            values: as many numbers.

        Raises:
            IndexError: if an index is outside; the table is as before.
        """
        flat, numbers = indices.reshape(-1), values.reshape(-1)
        if flat.shape != numbers.shape:
            raise ValueError(f"{len(flat)} indices and {len(numbers)} values.")
        self._check(flat)
        for part in _parts(len(flat)):
            self._add(flat[part], numbers[part].to(self.table))

    def add(self, vector: Tensor) -> None:
        """Add a whole vector of ``size`` elements, any shape, in its logical order."""
        if vector.numel() != self.size:
            raise ValueError(f"a vector of {self.size} elements, not {vector.numel()}.")
        flat = vector.reshape(-1)
        for part in _parts(self.size):
            keys = torch.arange(part.start, part.stop, device=self.table.device)
            self._add(keys, flat[part].to(self.table))

    def estimate(self, indices: Tensor | None = None) -> Tensor:
        """Estimates of some elements, or of all: float32, shape of ``indices`` or (size,)."""
        if indices is not None:
            self._check(indices)
        count = self.size if indices is None else indices.numel()
        out = torch.empty(count, device=self.table.device)
        for part in _parts(count):
            keys = (
                torch.arange(part.start, part.stop, device=out.device)
                if indices is None
                else indices.reshape(-1)[part]
            )
            out[part] = self._estimate(keys)
        return out if indices is None else out.view(indices.shape)

    def merge(self, other: "CountSketch") -> None:
        """Add another sketch: afterwards this is the sketch of the sum of both vectors.

        Raises:
            ValueError: if the other has another size, mode, family or seed.
        """
        if self._configuration != other._configuration:
            raise ValueError(
                f"sketches of {self._configuration} and {other._configuration} don't add: "
                "size, buckets, rows, mode, family, seed and two_for_one must agree."
            )
        self.table += other.table.to(self.table)

    def scale(self, factor: float) -> None:
        """Multiply the vector."""
        self.table *= factor

    def _check(self, indices: Tensor) -> None:
        if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < self.size:
            raise IndexError(
                f"indices must be 0 to {self.size - 1}, got {int(indices.min())} to "
                f"{int(indices.max())}."
            )

    def _places(self, row: int, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Bucket and sign (all +1 if unsigned)."""
        place, sign = self._hashes[row]
        bucket = buckets_of(place, keys)
        bit = bucket & 1
        if self._one:
            bucket = bucket >> 1
        if self.mode != "signed":
            return bucket, torch.ones(1, device=keys.device)
        return bucket, signs_of(bit if self._one else buckets_of(sign, keys))

    def _add(self, keys: Tensor, values: Tensor) -> None:
        for row in range(self.rows):
            bucket, sign = self._places(row, keys)
            self.table[row].index_add_(0, bucket, values * sign)

    def _estimate(self, keys: Tensor) -> Tensor:
        found = []
        for row in range(self.rows):
            bucket, sign = self._places(row, keys)
            found.append(self.table[row][bucket] * sign)
        rows = torch.stack(found)
        if self.mode == "signed":
            return rows.median(dim=0).values
        if self.mode == "sum":
            return rows.amin(dim=0)
        return rows.mean(dim=0) * (self.buckets / self.size)


def error_bound(buckets: int, rows: int, failure: float) -> float:
    """Error, in units of ||x||, that a signed estimate exceeds with probability ``failure``.

    A row errs by more than e ||x|| with probability at most q = 1 / (buckets e^2) (Chebyshev);
    the median only if half of the rows do, at most exp(-rows D(1/2 || q)) with the divergence
    D (Chernoff), that is (4 q (1 - q))^(rows / 2). This is solved for e.

    Args:
        buckets: of a row.
        rows: odd.
        failure: 0 to 1, for one element.

    Raises:
        ValueError: if an argument is out of its range.
    """
    if buckets < 1 or rows < 1 or rows % 2 == 0 or not 0 < failure < 1:
        raise ValueError(
            f"buckets and odd rows must be positive, failure between 0 and 1; got {buckets}, "
            f"{rows} and {failure}."
        )
    if rows == 1:
        return 1 / math.sqrt(buckets * failure)
    product = failure ** (2 / rows) / 4
    return 1 / math.sqrt(buckets * (1 - math.sqrt(1 - 4 * product)) / 2)


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, CHUNK):
        yield slice(start, min(start + CHUNK, count))
