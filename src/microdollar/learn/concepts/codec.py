"""Deltas of a model as bytes: what a device journals, and what it sends instead of text.

A delta is a float32 vector (n_params,) that is added to the parameters. A message:

    header     magic, version, method, n, number of values kept, fingerprint of the model
               that the delta belongs to (32 bytes)
    payload    by method; its length follows from the header
    checksum   CRC-32 of all before it

Methods, with their payloads of k values kept out of n:

    fp32        the values; exact
    fp16        one power of two that scales all, then the values as IEEE halves
    int8        blocks of 32 values: a power of two (one byte) and 32 signed bytes, the MXINT8 of
                the Open Compute Project (OCP Microscaling Formats specification 1.0, table 1)
    topk-int8   the k values largest in size, sent as int8; their places as Elias-Fano codes
                (Elias 1974; Fano 1971): log2(n / k) + 2 bits a place, at most 0.6 bits above
                what any code of k places needs

Scales are powers of two, so that what was lost in coding is a float32 without rounding:
``ErrorFeedback`` keeps it and adds it to the next delta (Seide et al. 2014; Karimireddy
et al. 2019).

The decoder is strict: it knows the length of a message from its header before it allocates
anything, so a message can't make it hold more than the model that it is for.
"""

import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microdollar.errors import DeltaError

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

METHODS = ("fp32", "fp16", "int8", "topk-int8")
"""By their number in a message."""
BLOCK = 32
"""Values that share a scale."""
_MAGIC, _VERSION = b"uDLT", 1
_HEADER = struct.Struct("<4sBBHQQ32s")
_CHECKSUM = struct.Struct("<I")
_BIAS = 127  # of a scale's exponent, as in E8M0
_LARGEST_EXPONENT = 121  # 127 * 2**121 is the largest value of a block, and a float32
_LARGEST = np.float32(2.0**128 * (1 - 2.0**-11))  # of 11 bits: a half of the largest scale


def encode_delta(
    delta: Floats, *, method: str = "topk-int8", share: float = 0.01, base_fingerprint: str
) -> bytes:
    """A delta as a message.

    Args:
        delta: finite float32 values, (n_params,).
        method: one of ``METHODS``.
        share: of the values that topk-int8 keeps, in (0, 1]; zeros are never sent.
        base_fingerprint: SHA-256 of the model that it is added to, 64 hexadecimal digits.

    Raises:
        DeltaError: for values that aren't finite, another type or shape, an unknown method,
            a share outside (0, 1] or a fingerprint that isn't one.
    """
    if delta.dtype != np.float32 or delta.ndim != 1:
        raise DeltaError(
            f"a delta is a float32 vector, got {delta.dtype} of shape {delta.shape}. "
            "Flatten it and make it float32."
        )
    if not np.isfinite(delta).all():
        place = int(np.argmin(np.isfinite(delta)))
        raise DeltaError(
            f"value {place} of a delta of {len(delta)} is {delta[place]}. Don't send it: the "
            "step that made it diverged."
        )
    if method not in METHODS:
        raise DeltaError(f"unknown method {method!r}. Known: {', '.join(METHODS)}.")
    kept = np.arange(0)
    payload: list[bytes]
    if method == "fp32":
        payload = [delta.astype("<f4").tobytes()]
    elif method == "fp16":
        payload = _encode_halves(delta)
    elif method == "int8":
        payload = _encode_blocks(delta)
    else:
        kept = _largest(delta, share)
        payload = [*_encode_places(kept, len(delta)), *_encode_blocks(delta[kept])]
    header = _HEADER.pack(
        _MAGIC, _VERSION, METHODS.index(method), 0, len(delta), len(kept),
        _fingerprint_bytes(base_fingerprint),
    )  # fmt: skip
    body = b"".join([header, *payload])
    return body + _CHECKSUM.pack(zlib.crc32(body))


def decode_delta(data: bytes, n_params: int, base_fingerprint: str) -> Floats:
    """The delta in a message, (n_params,).

    Args:
        data: what ``encode_delta`` made.
        n_params: of the model at hand.
        base_fingerprint: of the model at hand, 64 hexadecimal digits.

    Raises:
        DeltaError: if it is truncated, too long, corrupt, of another version, for a model of
            another size or another state, or holds what is no finite number.
    """
    method, kept = _check_header(data, n_params, base_fingerprint)
    body = memoryview(data)[_HEADER.size : -_CHECKSUM.size]
    if method == "fp32":
        values = np.frombuffer(body, "<f4").astype(np.float32)
    elif method == "fp16":
        values = _decode_halves(body)
    elif method == "int8":
        values = _decode_blocks(body, n_params)
    else:
        size = sum(_place_bytes(n_params, kept))
        places = _decode_places(body[:size], n_params, kept)
        values = np.zeros(n_params, np.float32)
        values[places] = _decode_blocks(body[size:], kept)
    if not np.isfinite(values).all():
        raise DeltaError(
            f"value {int(np.argmin(np.isfinite(values)))} of a delta is not finite. Its sender's "
            "training diverged or it is hostile: it was not applied."
        )
    return values


def encoded_bytes(n_params: int, method: str = "topk-int8", share: float = 0.01) -> int:
    """Length of a message about ``n_params`` values none of which is zero."""
    kept = _count(n_params, share) if method == "topk-int8" else 0
    return _HEADER.size + _payload_bytes(method, n_params, kept) + _CHECKSUM.size


@dataclass(slots=True, kw_only=True)
class ErrorFeedback:
    """What coding has lost so far, kept for the next delta.

    After each message, decoded + ``residual`` equals the float32 sum of the delta and the
    residual before it, exactly; so over many messages the decoded deltas and the residual add
    up to the deltas.
    """

    residual: Floats
    """(n_params,); zeros at first."""

    def encode(
        self,
        delta: Floats,
        *,
        method: str = "topk-int8",
        share: float = 0.01,
        base_fingerprint: str,
    ) -> bytes:
        """A message with the delta and what earlier ones lost; arguments as in encode_delta.

        Raises:
            DeltaError: as encode_delta, or if the delta has another size; the residual is
                then what it was.
        """
        if delta.shape != self.residual.shape:
            raise DeltaError(
                f"the residual has {len(self.residual)} values, the delta the shape "
                f"{delta.shape}. Use one ErrorFeedback per model."
            )
        with np.errstate(over="ignore"):  # encode_delta refuses infinities
            total = delta + self.residual
        data = encode_delta(total, method=method, share=share, base_fingerprint=base_fingerprint)
        self.residual = total - decode_delta(data, len(total), base_fingerprint)
        return data

    def take_back(self, data: bytes, base_fingerprint: str) -> None:
        """Put a message that never arrived back into the residual.

        Raises:
            DeltaError: if it is not a message about a model of this size and state.
        """
        self.residual = self.residual + decode_delta(data, len(self.residual), base_fingerprint)


def _check_header(data: bytes, n_params: int, base_fingerprint: str) -> tuple[str, int]:
    """Method and number of values kept, of a message whose length and checksum are right."""
    least = _HEADER.size + _CHECKSUM.size
    if len(data) < least:
        raise DeltaError(f"a delta has {len(data)} bytes, at least {least} are needed. Resend it.")
    magic, version, number, reserved, n, kept, base = _HEADER.unpack_from(data)
    if magic != _MAGIC or reserved:
        raise DeltaError(f"no delta: it starts with {bytes(data[:8])!r}.")
    if version != _VERSION:
        raise DeltaError(f"a delta of version {version}; this program reads {_VERSION}. Update it.")
    if number >= len(METHODS):
        raise DeltaError(f"a delta of method {number}; known are 0 to {len(METHODS) - 1}.")
    if n != n_params:
        raise DeltaError(f"a delta of {n} values for a model of {n_params}. It is for another.")
    method = METHODS[number]
    if kept > n or (kept and method != "topk-int8"):
        raise DeltaError(f"a {method} delta of {n} values says that it keeps {kept}.")
    length = least + _payload_bytes(method, n, kept)
    if len(data) != length:
        raise DeltaError(f"a delta has {len(data)} bytes and says {length}. Resend it.")
    (checksum,) = _CHECKSUM.unpack_from(data, length - _CHECKSUM.size)
    found = zlib.crc32(memoryview(data)[: -_CHECKSUM.size])
    if found != checksum:
        raise DeltaError(f"a delta's checksum is {found:08x}, it says {checksum:08x}. Resend it.")
    if base != _fingerprint_bytes(base_fingerprint):
        raise DeltaError(
            f"a delta for the model {base.hex()[:12]}..., and this one is "
            f"{base_fingerprint[:12]}.... Bring both to the same version first."
        )
    return method, kept


def _payload_bytes(method: str, n: int, kept: int) -> int:
    if method == "fp32":
        return 4 * n
    if method == "fp16":
        return 1 + 2 * n
    if method == "int8":
        return n + -(-n // BLOCK)
    return sum(_place_bytes(n, kept)) + kept + -(-kept // BLOCK)


def _fingerprint_bytes(fingerprint: str) -> bytes:
    try:
        raw = bytes.fromhex(fingerprint)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise DeltaError(f"{fingerprint!r} is no fingerprint: 64 hexadecimal digits are needed.")
    return raw


def _count(n: int, share: float) -> int:
    if not 0 < share <= 1:
        raise DeltaError(f"a share of {share}: it must be above 0 and at most 1.")
    return min(n, max(1, round(share * n)))


def _largest(delta: Floats, share: float) -> npt.NDArray[np.int64]:
    """Places of the values largest in size, ascending; without zeros."""
    count = _count(len(delta), share)
    sizes = np.abs(delta)
    if count < len(delta):
        places = np.sort(np.argpartition(sizes, len(delta) - count)[len(delta) - count :])
    else:
        places = np.arange(len(delta))
    return places[sizes[places] > 0].astype(np.int64)


def _encode_blocks(values: Floats) -> list[bytes]:
    blocks = np.zeros((-(-len(values) // BLOCK), BLOCK), np.float32)
    blocks.reshape(-1)[: len(values)] = values
    # The largest of a block lies in 64..127 steps; what lies above 127 is 127, as in MXINT8.
    exponents = np.clip(np.frexp(np.abs(blocks).max(1))[1] - 7, -_BIAS, _LARGEST_EXPONENT)
    steps = np.clip(np.rint(np.ldexp(blocks, -exponents[:, None])), -127, 127).astype(np.int8)
    return [(exponents + _BIAS).astype(np.uint8).tobytes(), steps.tobytes()[: len(values)]]


def _decode_blocks(body: memoryview, count: int) -> Floats:
    n_blocks = -(-count // BLOCK)
    exponents = np.frombuffer(body[:n_blocks], np.uint8).astype(np.int32) - _BIAS
    steps = np.frombuffer(body[n_blocks:], np.int8)
    if (steps == -128).any() or (exponents > _LARGEST_EXPONENT).any():
        raise DeltaError(
            f"a delta with a scale of 2**{exponents.max()} or a step of -128: scales end at "
            f"2**{_LARGEST_EXPONENT}, steps at -127."
        )
    return np.ldexp(steps.astype(np.float32), np.repeat(exponents, BLOCK)[:count])


def _encode_halves(values: Floats) -> list[bytes]:
    largest = float(np.abs(values).max(initial=0.0))
    # The largest becomes a half in [2**14, 2**15): far from its overflow, and the smallest
    # normal half is then 2**-29 of it.
    exponent = min(max(math.frexp(largest)[1] - 15, -_BIAS), _LARGEST_EXPONENT)
    halves = np.ldexp(np.clip(values, -_LARGEST, _LARGEST), -exponent).astype("<f2")
    return [bytes([exponent + _BIAS]), halves.tobytes()]


def _decode_halves(body: memoryview) -> Floats:
    halves = np.frombuffer(body[1:], "<f2").astype(np.float32)
    # A hostile scale or value; the caller refuses what isn't finite.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ldexp(halves, body[0] - _BIAS)


def _low_bits(n: int, kept: int) -> int:
    """Bits of a place that are written as they are; the rest is counted in unary."""
    return max(0, (n // kept).bit_length() - 1)


def _place_bytes(n: int, kept: int) -> tuple[int, int]:
    """Bytes of the low bits and of the unary bits of ``kept`` places below ``n``."""
    if not kept:
        return 0, 0
    low = _low_bits(n, kept)
    return -(-kept * low // 8), -(-(kept + ((n - 1) >> low)) // 8)


def _encode_places(places: npt.NDArray[np.int64], n: int) -> list[bytes]:
    if not len(places):
        return []
    low = _low_bits(n, len(places))
    bits = (places[:, None] >> np.arange(low)) & 1
    unary = np.zeros(8 * _place_bytes(n, len(places))[1], np.uint8)
    unary[(places >> low) + np.arange(len(places))] = 1
    return [np.packbits(bits.astype(np.uint8)).tobytes(), np.packbits(unary).tobytes()]


def _decode_places(body: memoryview, n: int, kept: int) -> npt.NDArray[np.int64]:
    if not kept:
        return np.arange(0)
    low = _low_bits(n, kept)
    low_bytes, _ = _place_bytes(n, kept)
    bits = np.unpackbits(np.frombuffer(body[:low_bytes], np.uint8))
    ones = np.flatnonzero(np.unpackbits(np.frombuffer(body[low_bytes:], np.uint8)))
    if len(ones) == kept and not bits[kept * low :].any():
        high = (ones - np.arange(kept)) << low
        lows = bits[: kept * low].reshape(kept, low).astype(np.int64) << np.arange(low)
        places: npt.NDArray[np.int64] = high + lows.sum(1)
        if places[-1] < n and (np.diff(places) > 0).all():
            return places
    raise DeltaError(f"a delta's {kept} places below {n} are not ascending. It was not applied.")
