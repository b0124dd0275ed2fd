"""Lossless packing: what the counted model does not know of the next bit is what is stored.

The model learns each byte after it was coded, and the decoder, which has seen the same bytes,
learns the same; so no model is shipped. ``format`` is the file, ``codec`` the model, and the
loop that codes is the one that scores (``mixed.kernels``).

Both sides compute whole numbers, and sums, products, quotients and comparisons of IEEE 754
numbers in an order that is written down; they call no function of a mathematics library, and
the tables they look into are rounded so far that every library gives the same ones. The
compiler may neither reorder sums nor fuse multiplications into additions, and numba does so
only if it is told to (``fastmath``). So on every machine that keeps IEEE 754 the results are
the same bit for bit. Where that should ever fail, the checksum does not match: an error, never
wrong bytes.
"""

from pathlib import Path

import numpy as np

from microdollar.errors import UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.counts.pack.codec import Coder, Prime
from microdollar.learn.counts.pack.format import (
    COUNTED,
    HEADER_BYTES,
    MAX_ORDER,
    NO_MODEL,
    STORED,
    Header,
    PackError,
    checksum,
    damaged,
    read_header,
)

__all__ = ["HEADER_BYTES", "PackError", "pack", "unpack"]

ORDER = 16
"""Longest context, in bytes."""
ROOM_BITS = 25
"""Slots for histories, at most 2^25 (1.2 GB): full after some 12 MB of text."""
MAX_CONTENT_BYTES = 2**32 - 1


def pack(
    data: bytes,
    *,
    order: int | None = None,
    model: Path | None = None,
    progress: Progress = silent,
) -> bytes:
    """Pack bytes without loss.

    Args:
        data: any bytes, also none.
        order: longest context of n-grams, 0 to 64 bytes; if None, 16. A model brings its own.
        model: folder of a saved counted model or n-gram network to start from. The same one is
            needed to unpack; its digest goes into the header.
        progress: told how far it is, in bytes.

    Returns:
        A header of 44 bytes and what is left of ``data``; never longer than header and data.

    Raises:
        UsageError: if ``order`` can't be, or is given besides a model, or there are more
            than 4 GiB; if the model is of another kind.
        ModelFileError: if the model can't be read.

    Examples:
        >>> unpack(pack(b"to be or not to be"))
        b'to be or not to be'
    """
    if len(data) > MAX_CONTENT_BYTES:
        raise UsageError(
            f"{len(data):,} bytes are more than {MAX_CONTENT_BYTES:,}. Split the file first."
        )
    if order is not None and model is not None:
        raise UsageError("a model has an order of its own. Leave out the order or the model.")
    if order is not None and not 0 <= order <= MAX_ORDER:
        raise UsageError(f"order {order} is not within 0 and {MAX_ORDER}. Give 12.")
    prime = None if model is None else Prime.load(model)
    if prime is not None and prime.model.strings.order > MAX_ORDER:
        raise UsageError(
            f"{model} has order {prime.model.strings.order}; packing takes {MAX_ORDER} at most. "
            "Build it with a lower --order."
        )
    used = prime.model.strings.order if prime else ORDER if order is None else order
    header = Header(
        method=COUNTED,
        order=used,
        room_bits=ROOM_BITS,
        length=len(data),
        checksum=checksum(data),
        model=NO_MODEL if prime is None else prime.digest,
    )
    coder = Coder(order=used, room_bits=ROOM_BITS, prime=prime)
    # A copy that may be written to: numba compiles every loop once more for locked arrays.
    text = np.frombuffer(bytearray(data), np.uint8)
    words = coder.encode(text, progress)
    if len(words) >= len(data):
        header = Header(
            method=STORED,
            order=0,
            room_bits=ROOM_BITS,
            length=len(data),
            checksum=header.checksum,
        )
        words = data
    return header.to_bytes() + words


def unpack(
    packed: bytes,
    *,
    model: Path | None = None,
    max_bytes: int = MAX_CONTENT_BYTES,
    progress: Progress = silent,
) -> bytes:
    """The bytes that were packed.

    Args:
        packed: what ``pack`` gave.
        model: folder of the model that it was packed with, if any.
        max_bytes: refuse content longer than this. A byte that repeats takes some 0.0001 bits, so
            a small file from a stranger may stand for a large one.
        progress: told how far it is, in bytes.

    Raises:
        PackError: if ``packed`` is truncated, damaged, foreign or of a newer version, or
            needs another model, or holds more than ``max_bytes``. Whatever the input is,
            there are no wrong bytes.
        ModelFileError: if the model can't be read.
    """
    header = read_header(packed)
    if header.length > max_bytes:
        raise PackError(
            f"it holds {header.length:,} bytes, more than the {max_bytes:,} that are allowed here."
            " Unpack it on a machine with more memory."
        )
    rest = memoryview(packed)[HEADER_BYTES:]
    if header.method == STORED:
        if len(rest) != header.length:
            raise damaged(f"it has {len(rest):,} of {header.length:,} bytes")
        data = bytes(rest)
    else:
        prime = _prime_for(header, model)
        if not 0 < header.length <= MAX_CONTENT_BYTES:
            raise damaged("its header asks for what no version writes")
        coder = Coder(order=header.order, room_bits=header.room_bits, prime=prime)
        data = coder.decode(rest, header.length, progress).tobytes()
    if checksum(data) != header.checksum:
        raise damaged("its content does not match its checksum")
    return data


def _prime_for(header: Header, model: Path | None) -> Prime | None:
    """The model that the header asks for; none if it asks for none."""
    if header.model == NO_MODEL:
        return None
    if model is None:
        raise PackError(
            f"this file was packed with a model ({header.model.hex()}). "
            "Give its folder with --model."
        )
    prime = Prime.load(model)
    if prime.digest != header.model or prime.model.strings.order != header.order:
        raise PackError(
            f"{model} is another model ({prime.digest.hex()}) than the one that this file was "
            f"packed with ({header.model.hex()}). Give that one."
        )
    return prime
