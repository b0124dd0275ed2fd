"""Lossless packing: what the n-gram network does not know of the next byte is what is stored.

The network learns each byte after it was coded, and the decoder, which has seen the same
bytes, learns the same; so no model is shipped. ``format`` is the file, ``rangecoder`` the entropy
coder, ``walk`` the loop that both sides run, ``guess`` the matches, ``codec`` the network.

Both sides add, multiply, divide and compare the same doubles in the same order in one compiled
function, call no function of a mathematics library, and code integers. On one machine the results
are the same bit for bit. Across machines they are the same where the compiler keeps IEEE 754
double precision and does not fuse multiplications into additions, which numba does not allow it
to do unless it is told to (``fastmath``), on x86-64 and on 64-bit ARM. Where that ever
fails, the checksum does not match: an error, never wrong bytes.
"""

from pathlib import Path

import numpy as np

from microdollar.errors import UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.counts.pack.codec import Network, Prime
from microdollar.learn.counts.pack.format import (
    HEADER_BYTES,
    MAX_ORDER,
    NGRAM,
    NO_MODEL,
    STORED,
    Header,
    PackError,
    checksum,
    damaged,
    read_header,
)

__all__ = ["HEADER_BYTES", "PackError", "pack", "unpack"]

ORDER, LONG_ORDER, LONG_ORDER_BYTES = 12, 16, 4_000_000
"""Longest context, and that of texts short enough for it to fit into the room below."""
ROOM_BITS = 25
"""Strings that are kept, at most 2^25: about 2 GiB of memory, reached after some 7 MB of text."""
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
        order: longest context, 0 to 64 bytes; if None, 16, or 12 for more than 4 MB. A model
            brings its own.
        model: folder of a saved n-gram network to start from. The same one is needed to
            unpack; its digest goes into the header.
        progress: told how far it is, in bytes.

    Returns:
        A header of 44 bytes and what is left of ``data``; never longer than header and data.

    Raises:
        UsageError: if ``order`` can't be, or is given besides a model, or there are more
            than 4 GiB; if the model is no n-gram network.
        ModelFileError: if the model can't be read.

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
    if prime is not None and prime.model.order > MAX_ORDER:
        raise UsageError(
            f"{model} has order {prime.model.order}; packing takes {MAX_ORDER} at most. "
            "Build it with a lower --order."
        )
    used = prime.model.order if prime else default_order(len(data)) if order is None else order
    header = Header(
        method=NGRAM,
        order=used,
        room_bits=ROOM_BITS,
        length=len(data),
        checksum=checksum(data),
        model=NO_MODEL if prime is None else prime.digest,
    )
    network = Network(order=used, room_bits=ROOM_BITS, length=len(data), prime=prime)
    # A copy that may be written to: numba compiles every loop once more for locked arrays.
    text = np.frombuffer(bytearray(data), np.uint8)
    words = network.encode(text, progress)
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
        packed: what :func:`pack` gave.
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
        network = Network(
            order=header.order, room_bits=header.room_bits, length=header.length, prime=prime
        )
        data = network.decode(rest, header.length, progress).tobytes()
    if checksum(data) != header.checksum:
        raise damaged("its content does not match its checksum")
    return data


def default_order(length: int) -> int:
    """Longest context for a text of ``length`` bytes."""
    return LONG_ORDER if length <= LONG_ORDER_BYTES else ORDER


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
    if prime.digest != header.model or prime.model.order != header.order:
        raise PackError(
            f"{model} is another model ({prime.digest.hex()}) than the one that this file was "
            f"packed with ({header.model.hex()}). Give that one."
        )
    return prime
