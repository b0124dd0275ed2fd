"""Hash families for sketches: computed from a seed where they are needed, never stored.

A member of a family is drawn once (a few integers); then every key has its value. What is
promised is over that draw:

- `Mersenne`, linear: Carter and Wegman 1979, ((a x + b) mod p), a not 0, p = 2^31 - 1 or
  2^61 - 1. Two keys share a bucket with probability at most 1/buckets, exactly.
- `Mersenne`, quadratic: any three keys have independent values mod p.
- `MultiplyShift`: the top bits of (a x + b) mod 2^64, for 32-bit keys (Dietzfelbinger 1996;
  Thorup, arXiv:1504.06804, section 3.3). Any two keys have independent uniform values, exactly.
- `TileHash`: for vectors read in order, in tiles of rows: each row is rotated within its tile.

Values are spread over buckets without division, by (value x buckets) >> bits. torch's int64
wraps modulo 2^64, which `MultiplyShift` relies on; nothing else here overflows.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

FAMILIES = ("mersenne31", "mersenne61", "multiply-shift")
MAX_BUCKETS = 2**30
MAX_TILE = 2**16
"""Width of a tile and rows of a tile: their 32-bit hashes are independent up to here."""

_MASK32, _MASK64 = 2**32 - 1, 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Mersenne:
    """A polynomial modulo p = 2^exponent - 1.

    Attributes:
        coefficients: of x^0, x^1 and so on, each below p.
        buckets: values are 0 to buckets - 1, at most 2^30.
        exponent: 31 or 61; 5, 7, 13, 17 and 19 give small fields, for tests by enumeration.
    """

    coefficients: tuple[int, ...]
    buckets: int
    exponent: int = 31

    @property
    def keys(self) -> int:
        """Keys are 0 to this minus 1: i and i + p have the same value."""
        return (1 << self.exponent) - 1

    def __call__(self, keys: Tensor) -> Tensor:
        """Bucket of every key, int64; keys int64."""
        return _spread(self.value(keys), self.buckets, self.exponent)

    def value(self, keys: Tensor) -> Tensor:
        """The polynomial itself, 0 to p - 1."""
        p = self.keys
        *rest, top = self.coefficients
        total = torch.full_like(keys, top)
        for coefficient in reversed(rest):
            total = _product(total, keys, self.exponent) + coefficient
            total = _fold(total, self.exponent)
        return torch.where(total >= p, total - p, total)


@dataclass(frozen=True, slots=True)
class MultiplyShift:
    """Top bits of a x + b modulo 2^word.

    Attributes:
        a: multiplier, below 2^word.
        b: summand, below 2^word.
        buckets: a power of two, at most 2^30.
        word: 64; fewer bits for tests by enumeration.
    """

    a: int
    b: int
    buckets: int
    word: int = 64

    @property
    def keys(self) -> int:
        """Word >= key bits + value bits - 1 makes pairs independent."""
        return 1 << min(32, self.word + 1 - max(1, self.buckets.bit_length() - 1))

    def __call__(self, keys: Tensor) -> Tensor:
        """Bucket of every key, int64; keys int64."""
        bits = self.buckets.bit_length() - 1
        value = keys * _signed(self.a) + _signed(self.b)
        # The shift keeps the sign; the mask removes it.
        return (value >> (self.word - bits)) & (self.buckets - 1)


Hash = Mersenne | MultiplyShift


def draw(family: str, buckets: int, seed: tuple[int, ...], *, independence: int = 2) -> Hash:
    """A member of a family.

    Args:
        family: one of ``FAMILIES``.
        buckets: 1 to 2^30; a power of two for multiply-shift.
        seed: non-negative integers, all of which matter.
        independence: 2, or 3 (a quadratic, Mersenne only).

    Raises:
        ValueError: if there is no such family or it has no such range.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}.")
    if not 1 <= buckets <= MAX_BUCKETS:
        raise ValueError(f"buckets must be 1 to {MAX_BUCKETS}, got {buckets}.")
    if family == "multiply-shift":
        if independence != 2 or buckets & (buckets - 1):
            raise ValueError(
                f"multiply-shift is 2-independent and has a power of two of buckets, not "
                f"{independence} and {buckets}. Use mersenne31."
            )
        a, b = random_words(seed, 2)
        return MultiplyShift(a, b, buckets)
    exponent = int(family.removeprefix("mersenne"))
    p = 2**exponent - 1
    words = random_words(seed, 2 * independence)
    # 128 bits each, so that the remainder is uniform to 2^-67.
    wide = [(words[2 * k] << 64) | words[2 * k + 1] for k in range(independence)]
    coefficients = [value % p for value in wide]
    if independence == 2:
        coefficients[1] = 1 + wide[1] % (p - 1)
    return Mersenne(tuple(coefficients), buckets, exponent)


def buckets_of(hashing: Hash, keys: Tensor) -> Tensor:
    """``hashing(keys)``, by a compiled loop on a CPU; keys int64, of one dimension."""
    if keys.device.type != "cpu" or torch.compiler.is_compiling():
        return hashing(keys)
    from microdollar.learn.optim import sketch_kernels as kernels

    out = torch.empty(keys.shape, dtype=torch.int64)
    kernels.buckets_of(kernels.packed(hashing), keys.contiguous().numpy(), out.numpy())
    return out


def family_for(keys: int, family: str) -> str:
    """``family``, or 2^61 - 1 in place of 2^31 - 1 where there are too many keys for that."""
    return "mersenne61" if family == "mersenne31" and keys > 2**31 - 1 else family


def random_words(seed: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Uniform 64-bit words; numpy promises the same ones in every version."""
    return tuple(int(w) for w in np.random.SeedSequence(seed).generate_state(count, np.uint64))


def signs_of(bits: Tensor) -> Tensor:
    """0 and 1 to +1 and -1, float32."""
    return (1 - 2 * bits).to(torch.float32)


@dataclass(frozen=True, slots=True)
class TileHash:
    """Rotations of rows and signs of elements, for a vector cut into tiles.

    A tile is ``rows`` rows of ``width`` elements, and owns ``width`` buckets; element i of a row
    goes to bucket (i + shift of the row) mod width. Elements of one row never meet, nor those of
    different tiles; any other pair with probability 1/width, exactly, since shifts of two rows
    are independent and uniform. Signs of two elements of a tile are independent and fair.

    Both are 32-bit multiply-shift with multipliers from splitmix64 (Steele et al. 2014) of a
    seed and the tile's number, which is one-to-one in the seed: in each tile the family is the
    exact one. That different tiles differ is not needed for any of this.

    Attributes:
        width: power of two, 1 to 2^16.
        rows: 1 to 2^16.
        shift_seed: 64 uniform bits.
        sign_seed: 64 uniform bits.
    """

    width: int
    rows: int
    shift_seed: int
    sign_seed: int

    @property
    def elements(self) -> int:
        """Of a whole tile."""
        return self.width * self.rows

    def places(self, start: int, stop: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Bucket (int64) and sign (float32) of elements start to stop - 1 of the vector."""
        keys = torch.arange(start, stop, device=device)
        first = start // self.elements
        tiles = torch.arange(first, -(-stop // self.elements), device=device)
        tile = keys // self.elements
        within = keys - tile * self.elements
        shift = self._shifts(tiles).flatten()[(keys // self.width) - first * self.rows]
        bucket = tile * self.width + ((within + shift) & (self.width - 1))
        a, b = _two_words(tiles, self.sign_seed)
        local = tile - first
        return bucket, signs_of(((a[local] * within + b[local]) & _MASK32) >> 31)

    def _shifts(self, tiles: Tensor) -> Tensor:
        """Shape (tiles, rows), int64, 0 to width - 1."""
        a, b = _two_words(tiles, self.shift_seed)
        row = torch.arange(self.rows, device=tiles.device)
        bits = self.width.bit_length() - 1
        return ((a[:, None] * row + b[:, None]) & _MASK32) >> (32 - bits)


@lru_cache(maxsize=4096)
def tile_hash(width: int, rows: int, seed: tuple[int, ...]) -> TileHash:
    """A member of the family of ``TileHash``."""
    if not 1 <= width <= MAX_TILE or width & (width - 1):
        raise ValueError(f"width must be a power of two up to {MAX_TILE}, got {width}.")
    if not 1 <= rows <= MAX_TILE:
        raise ValueError(f"a tile has 1 to {MAX_TILE} rows, got {rows}.")
    return TileHash(width, rows, *random_words(seed, 2))


def _fold(value: Tensor, exponent: int) -> Tensor:
    """The same modulo 2^exponent - 1, at most 2^exponent plus what overflowed."""
    return (value & ((1 << exponent) - 1)) + (value >> exponent)


def _product(left: Tensor, right: Tensor, exponent: int) -> Tensor:
    """The product modulo 2^exponent - 1, not fully reduced; both at most 2^exponent."""
    if exponent <= 31:
        return _fold(left * right, exponent)
    low, high = right & (2**31 - 1), right >> 31
    # left x 2^31 is left with its 61 bits rotated.
    left = torch.where(left >= 2**61 - 1, left - (2**61 - 1), left)
    turned = ((left & (2**30 - 1)) << 31) | (left >> 30)
    return _fold(_product61(left, low) + _fold(_product61(turned, high), 61), 61)


def _product61(left: Tensor, small: Tensor) -> Tensor:
    """The product modulo 2^61 - 1, below 2^62 + 2^31; left < 2^61, small < 2^31."""
    upper = (left >> 30) * small
    return (upper >> 31) + ((upper & (2**31 - 1)) << 30) + (left & (2**30 - 1)) * small


def _spread(value: Tensor, buckets: int, exponent: int) -> Tensor:
    """floor(value x buckets / 2^exponent), by halves where the product has over 63 bits."""
    if exponent <= 31:
        return (value * buckets) >> exponent
    high, low = value >> 30, value & (2**30 - 1)
    return (high * buckets + ((low * buckets) >> 30)) >> (exponent - 30)


def _two_words(tiles: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """32 upper and 32 lower bits of splitmix64 at seed + (tile + 1) x golden ratio."""
    z = tiles * _signed(_GOLDEN) + _signed((seed + _GOLDEN) & _MASK64)
    z = (z ^ _logical_shift(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _logical_shift(z, 27)) * _signed(0x94D049BB133111EB)
    z = z ^ _logical_shift(z, 31)
    return _logical_shift(z, 32), z & _MASK32


def _logical_shift(value: Tensor, bits: int) -> Tensor:
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    """The int64 of the same bits."""
    return word - 2**64 if word >= 2**63 else word
