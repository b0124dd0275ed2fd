"""The packed file: a header that vouches for itself, then words of the range coder.

| bytes | what |
|---|---|
| 4 | magic |
| 1 | version |
| 1 | method: 0 stored, 2 counted model |
| 1 | order: longest context in bytes |
| 1 | b: at most 2^b slots for histories before the model starts anew |
| 8 | length of the content, little-endian |
| 8 | BLAKE2b of the content |
| 16 | BLAKE2b of the model's weights that it starts from; zeros for none |
| 4 | CRC-32 of all of the above |

Everything behind it is the content itself (method 0) or 32-bit little-endian words.
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass

from microdollar.errors import MicrodollarError

MAGIC = b"\xb5$pk"
VERSION = 2
STORED, COUNTED = 0, 2
NO_MODEL = bytes(16)
_FIELDS = struct.Struct("<4sBBBBQ8s16s")
_CHECK = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CHECK.size
MAX_ORDER = 64
MIN_ROOM_BITS, MAX_ROOM_BITS = 18, 31


class PackError(MicrodollarError):
    """Packed data that is truncated, damaged, foreign, or needs another model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What stands before the words."""

    method: int
    order: int
    room_bits: int
    """The model starts anew before its table of histories has more slots than two to this."""
    length: int
    """Of the content, in bytes."""
    checksum: bytes
    """Of the content, 8 bytes."""
    model: bytes = NO_MODEL
    """Digest of the weights that coding starts from, 16 bytes."""

    def to_bytes(self) -> bytes:
        """As it is written."""
        fields = _FIELDS.pack(
            MAGIC, VERSION, self.method, self.order, self.room_bits, self.length,
            self.checksum, self.model,
        )  # fmt: skip
        return fields + _CHECK.pack(zlib.crc32(fields))


def checksum(data: bytes | memoryview) -> bytes:
    """Eight bytes that vouch for the content."""
    return hashlib.blake2b(data, digest_size=8).digest()


def read_header(packed: bytes | memoryview) -> Header:
    """The checked header of packed data.

    Raises:
        PackError: if it is no header of ours, of a newer version, damaged or cut off.
    """
    if bytes(packed[:4]) != MAGIC[: len(packed)] or len(packed) == 0:
        raise PackError("this is no packed file of microdollar. Name one that `pack` wrote.")
    if len(packed) < HEADER_BYTES:
        raise damaged(f"it ends after {len(packed)} bytes, within its header")
    fields = bytes(packed[: _FIELDS.size])
    _, version, method, order, room_bits, length, check, model = _FIELDS.unpack(fields)
    if version > VERSION:
        raise PackError(
            f"this file has version {version}; this microdollar reads up to {VERSION}. "
            "Type: pip install --upgrade microdollar"
        )
    (crc,) = _CHECK.unpack(packed[_FIELDS.size : HEADER_BYTES])
    if crc != zlib.crc32(fields):
        raise damaged("its header does not match its own check")
    fits = order <= MAX_ORDER and MIN_ROOM_BITS <= room_bits <= MAX_ROOM_BITS
    if version < VERSION or method not in (STORED, COUNTED) or not fits:
        raise damaged("its header asks for what no version writes")
    return Header(
        method=method, order=order, room_bits=room_bits, length=length, checksum=check, model=model
    )


def damaged(what: str) -> PackError:
    """The error for data that is not what was written."""
    return PackError(f"the packed file is damaged: {what}. Fetch or pack it again.")
