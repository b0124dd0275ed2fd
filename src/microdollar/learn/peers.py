"""What a user would pick instead: general compressors, primed with the training bytes.

A compressor C needs for the test bytes, after it has seen the training bytes,

    8 * (|C(train + test)| - |C(train)|) / |test|   bits per byte

where |.| is the compressed size in bytes. All of them go on learning from the test bytes, so
the number compares with an adaptive score. Sizes are whole bytes and every stream is brought
to an end, so the difference is right within a few bytes; the container's constant cancels.
"""

import bz2
import lzma
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from microdollar.errors import CorpusError, MissingExtraError
from microdollar.learn.base import Progress, silent

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray

PPMD_ORDERS = (6, 8, 16)
PPMD_MEMORY_BYTES = 256 << 20
"""Upper bound of the model; pages are touched only as it grows. When it is full it starts anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressor:
    """A compressor with its settings."""

    name: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], bytes]
    """Takes the compressed bytes and the length of the text."""
    note: str
    """Settings, and what to know when its number is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerResult:
    """One compressor on one split."""

    name: str
    label: str = "adaptive"
    """It goes on learning while it scores; compare with adaptive scores only."""
    bits_per_byte: float | None
    """Bits for each test byte; None if the compressor is not installed."""
    test_bytes: int
    train_compressed_bytes: int | None
    total_compressed_bytes: int | None
    """Of training and test bytes together."""
    seconds: float | None
    """Wall time to compress training and test bytes together."""
    threads: int = 1
    parameters: None = None
    """It has none that are comparable."""
    note: str
    reason: str | None = None
    """Why there is no number."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary with every field."""
        return {name: getattr(self, name) for name in self.__slots__}


def zlib_9() -> Compressor:
    """Deflate at level 9."""
    return Compressor(
        name="zlib",
        compress=lambda text: zlib.compress(text, 9),
        decompress=lambda packed, _: zlib.decompress(packed),
        note="level 9; its window is 32 KiB, so it recalls only the last of the training bytes",
    )


def bz2_9() -> Compressor:
    """Burrows-Wheeler blocks at level 9."""
    return Compressor(
        name="bz2",
        compress=lambda text: bz2.compress(text, 9),
        decompress=lambda packed, _: bz2.decompress(packed),
        note="level 9; blocks of 900 kB are packed one by one, so where the test bytes fall counts",
    )


def xz_9e() -> Compressor:
    """LZMA2 at level 9, extreme."""
    return Compressor(
        name="xz",
        compress=lambda text: lzma.compress(text, preset=9 | lzma.PRESET_EXTREME),
        decompress=lambda packed, _: lzma.decompress(packed),
        note="level 9 extreme; dictionary of 64 MiB",
    )


def ppmd(order: int, memory_bytes: int = PPMD_MEMORY_BYTES) -> Compressor:
    """PPMd variant I (that of 7-Zip's zip format), restarting when its memory is full.

    Args:
        order: longest context in bytes, 2 to 64.
        memory_bytes: upper bound of its model.

    Raises:
        MissingExtraError: if pyppmd is not installed.
    """
    try:
        import pyppmd
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyppmd", "counts", "comparing with PPMd") from error

    def compress(text: bytes) -> bytes:
        encoder = pyppmd.Ppmd8Encoder(order, memory_bytes, pyppmd.PPMD8_RESTORE_METHOD_RESTART)
        packed: bytes = encoder.encode(text) + encoder.flush()
        return packed

    def decompress(packed: bytes, length: int) -> bytes:
        decoder = pyppmd.Ppmd8Decoder(order, memory_bytes, pyppmd.PPMD8_RESTORE_METHOD_RESTART)
        text: bytes = decoder.decode(packed, length)
        return text

    return Compressor(
        name=f"ppmd-{order}",
        compress=compress,
        decompress=decompress,
        note=f"variant I, order {order}, at most {memory_bytes >> 20} MiB",
    )


COMPRESSORS: Mapping[str, Callable[[], Compressor]] = {
    "zlib": zlib_9,
    "bz2": bz2_9,
    "xz": xz_9e,
    **{f"ppmd-{order}": partial(ppmd, order) for order in PPMD_ORDERS},
}
"""The makers of all compressors that are compared; those of PPMd need pyppmd."""


def score(compressor: Compressor, train: "ByteArray", test: "ByteArray") -> PeerResult:
    """Bits per byte of ``test`` after ``train``, shapes (m,) and (n,); one thread.

    Raises:
        CorpusError: if ``test`` is empty.
    """
    if len(test) == 0:
        raise CorpusError("there are no test bytes to compress. Give --test-bytes at least 1.")
    before, both = train.tobytes(), train.tobytes() + test.tobytes()
    # An empty text costs a container too, which is not the test bytes' fault.
    alone = len(compressor.compress(before))
    started = time.perf_counter()
    total = len(compressor.compress(both))
    seconds = time.perf_counter() - started
    return PeerResult(
        name=compressor.name,
        bits_per_byte=8 * (total - alone) / len(test),
        test_bytes=len(test),
        train_compressed_bytes=alone,
        total_compressed_bytes=total,
        seconds=seconds,
        note=compressor.note,
    )


def score_all(
    train: "ByteArray", test: "ByteArray", progress: Progress = silent
) -> list[PeerResult]:
    """Every compressor of ``COMPRESSORS`` on one split; what is missing says so.

    Raises:
        CorpusError: if ``test`` is empty.
    """
    results = []
    for index, (name, make) in enumerate(COMPRESSORS.items()):
        progress(index, len(COMPRESSORS), f"compressing with {name}")
        try:
            results.append(score(make(), train, test))
        except MissingExtraError as error:
            results.append(_missing(name, len(test), str(error)))
    progress(len(COMPRESSORS), len(COMPRESSORS), "compressing")
    return results


def _missing(name: str, test_bytes: int, reason: str) -> PeerResult:
    return PeerResult(
        name=name,
        bits_per_byte=None,
        test_bytes=test_bytes,
        train_compressed_bytes=None,
        total_compressed_bytes=None,
        seconds=None,
        note="",
        reason=reason,
    )
