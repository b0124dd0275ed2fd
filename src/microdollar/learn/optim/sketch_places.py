"""Where the elements of a tensor go in its sketches: buckets and signs from hashes of the index."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from microdollar.learn.optim.hashes import (
    FAMILIES,
    MAX_TILE,
    Hash,
    TileHash,
    buckets_of,
    draw,
    family_for,
    signs_of,
    tile_hash,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SketchOptions:
    """How moments are sketched. As it stands, the published optimizer on tensors that are large.

    Attributes:
        compression: elements for each bucket, a whole number.
        local: rotate and sign rows within tiles (`TileHash`) instead of hashing over the whole
            tensor: the same quality, and a tensor is read once, in order.
        width: of a tile at most, a power of two. Small tensors have narrower tiles.
        separate: another hash for the second moment than for the momentum.
        rehash_steps: draw new hashes after so many steps, 0 for never. Both sketches are read
            with the old hashes and sketched with the new, the momentum divided by the
            compression, which is its projection on the new buckets.
        fresh: step by the exact present gradient and a sketch of the past, (1 - beta1) g +
            beta1 m / compression, over a mean second moment: unlike the published step its
            direction is not confined, and it is smaller than Adam's.
        family: of the hashes if not local; multiply-shift rounds buckets down to a power of two.
        min_buckets: at least so many, if the tensor has so many elements. The published code
            has 1024, with which a small tensor has more state than Adam keeps.
        seed: of the hashes, with the parameter's index.

    Raises:
        ValueError: if a number is out of its range.
    """

    compression: int = 32
    local: bool = False
    width: int = 1024
    separate: bool = False
    rehash_steps: int = 0
    fresh: bool = False
    family: str = "mersenne31"
    min_buckets: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, value in (
            ("compression", 1, self.compression),
            ("rehash_steps", 0, self.rehash_steps),
            ("min_buckets", 1, self.min_buckets),
            ("seed", 0, self.seed),
        ):
            if not isinstance(value, int) or value < low:
                raise ValueError(f"{name} must be a whole number of at least {low}, got {value!r}.")
        if not 1 <= self.width <= MAX_TILE or self.width & (self.width - 1):
            raise ValueError(f"width must be a power of two up to {MAX_TILE}, got {self.width}.")
        if self.family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {self.family!r}.")
        if self.local and self.compression > MAX_TILE:
            raise ValueError(
                f"compression must be at most {MAX_TILE} if local, got {self.compression}."
            )


@dataclass(frozen=True, slots=True)
class Scattered:
    """Buckets and signs of the elements of a tensor by two hashes of their index."""

    bucket: Hash
    sign: Hash

    @property
    def buckets(self) -> int:
        """How many."""
        return self.bucket.buckets

    def places(self, start: int, stop: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Bucket (int64) and sign (float32) of elements start to stop - 1."""
        keys = torch.arange(start, stop, device=device)
        return buckets_of(self.bucket, keys), signs_of(buckets_of(self.sign, keys))


@dataclass(frozen=True, slots=True)
class Local:
    """Buckets and signs of the elements of a tensor by tiles."""

    hashing: TileHash
    tiles: int

    @property
    def buckets(self) -> int:
        """How many."""
        return self.tiles * self.hashing.width

    def places(self, start: int, stop: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Bucket (int64) and sign (float32) of elements start to stop - 1."""
        return self.hashing.places(start, stop, device)


Places = Scattered | Local


@lru_cache(maxsize=4096)
def places_of(
    numel: int, options: SketchOptions, index: int, epoch: int = 0
) -> tuple[Places, Places]:
    """Where the elements of a parameter go, for momentum and second moment.

    Args:
        numel: elements, at least 1.
        options: of the sketch.
        index: of the parameter in its optimizer.
        epoch: rehashes before.
    """
    buckets = min(numel, max(numel // options.compression, options.min_buckets, 1))
    sources = [(options.seed, index, epoch, which) for which in (0, 1 if options.separate else 0)]
    if options.local:
        rows = min(options.compression, numel // buckets)
        width = _width(numel, rows, options.width)
        tiles = -(-numel // (width * rows))
        m, v = (tile_hash(width, rows, source) for source in sources)
        # The second moment has no signs of its own, so only its shifts are another's.
        return Local(m, tiles), Local(TileHash(width, rows, v.shift_seed, m.sign_seed), tiles)
    family = family_for(numel, options.family)
    if family == "multiply-shift":
        buckets = 1 << (buckets.bit_length() - 1)
    hashes = [draw(family, buckets, (*source, 0)) for source in sources]
    sign = draw(family, 2, (*sources[0], 1))
    if numel > sign.keys or numel > hashes[0].keys:
        raise ValueError(f"{family} tells {sign.keys} elements apart, not {numel}.")
    return Scattered(hashes[0], sign), Scattered(hashes[1], sign)


def _width(numel: int, rows: int, widest: int) -> int:
    """The widest tile whose buckets are at most a twentieth more than asked for, or the fewest.

    Wide tiles are fast, and the last tile of a small tensor would be mostly empty.
    """

    def buckets(width: int) -> int:
        return -(-numel // (width * rows)) * width

    widths = [1 << bits for bits in range(widest.bit_length())]
    allowed = max(1.05 * numel / rows, buckets(widths[min(4, len(widths) - 1)]))
    return max(width for width in widths if buckets(width) <= allowed)


def add(sketch: Tensor, places: Places, start: int, values: Tensor, *, signed: bool) -> None:
    """Add values of the elements from ``start`` on, any shape, to a sketch, float32 (buckets,).

    Sums are taken in order on a CPU, and on other devices if torch is told to be deterministic.
    """
    flat = values.reshape(-1)
    bucket, sign = places.places(start, start + len(flat), sketch.device)
    sketch.index_add_(0, bucket, flat * sign if signed else flat)


def read(sketch: Tensor, places: Places, start: int, stop: int, *, signed: bool) -> Tensor:
    """Buckets of some elements, times their signs if ``signed``; float32 (stop - start,)."""
    bucket, sign = places.places(start, stop, sketch.device)
    found = sketch[bucket]
    return found * sign if signed else found
