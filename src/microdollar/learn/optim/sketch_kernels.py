"""The loops of sketches, compiled: the same hashes as `hashes`, bit for bit.

Only for contiguous float32 on the CPU; `sketched` has the same steps in plain torch.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.optim.hashes import Hash, MultiplyShift

Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_31, _61, _SHIFT = 31, 61, 64
_U = np.uint64
_P31, _P61 = _U(2**31 - 1), _U(2**61 - 1)
_LOW30 = _U(2**30 - 1)
_N30, _N31, _N32, _N61 = _U(30), _U(31), _U(32), _U(61)
_ONE, _TWO = _U(1), _U(2)
_HALF = np.uint32(2**31)


def packed(hashing: Hash) -> Words:
    """A drawn hash as words for the loops: family, three coefficients, buckets, bits."""
    if isinstance(hashing, MultiplyShift):
        bits = hashing.buckets.bit_length() - 1
        return np.array([_SHIFT, hashing.b, hashing.a, 0, hashing.buckets, bits], np.uint64)
    full = (*hashing.coefficients, 0)[:3]
    return np.array([hashing.exponent, *full, hashing.buckets, 0], np.uint64)


@njit(cache=True, nogil=True, inline="always")
def _times_small(left: np.uint64, small: np.uint64) -> np.uint64:
    """The product modulo 2^61 - 1, not reduced; small below 2^31."""
    upper = (left >> _N30) * small
    return (upper >> _N31) + ((upper & _P31) << _N30) + (left & _LOW30) * small


@njit(cache=True, nogil=True, inline="always")
def _times61(left: np.uint64, key: np.uint64) -> np.uint64:
    """The product modulo 2^61 - 1, not reduced; left below 2^61."""
    turned = ((left & _LOW30) << _N31) | (left >> _N30)
    upper = _times_small(turned, key >> _N31)
    return _times_small(left, key & _P31) + (upper & _P61) + (upper >> _N61)


@njit(cache=True, nogil=True, inline="always")
def _fold31(value: np.uint64) -> np.uint64:
    return (value & _P31) + (value >> _N31)


@njit(cache=True, nogil=True, inline="always")
def _fold61(value: np.uint64) -> np.uint64:
    value = (value & _P61) + (value >> _N61)
    return value - _P61 if value >= _P61 else value


@njit(cache=True, nogil=True, inline="always")
def _value(hashing: Words, key: np.uint64) -> np.uint64:
    """Of the polynomial, or of a x + b modulo 2^64."""
    total = hashing[2]
    if hashing[0] == _31:
        if hashing[3] != 0:
            total = _fold31(_fold31(hashing[3] * key) + hashing[2])
        total = _fold31(_fold31(total * key) + hashing[1])
        return total - _P31 if total >= _P31 else total
    if hashing[0] == _61:
        if hashing[3] != 0:
            total = _fold61(_fold61(_times61(hashing[3], key)) + hashing[2])
        return _fold61(_fold61(_times61(total, key)) + hashing[1])
    wrapped: np.uint64 = hashing[2] * key + hashing[1]
    return wrapped


@njit(cache=True, nogil=True, inline="always")
def _next(family: np.uint64, slope: np.uint64, value: np.uint64) -> np.uint64:
    """The value of the next key from that of this one; linear hashes only."""
    value += slope
    if family == _31:
        return value - _P31 if value >= _P31 else value
    if family == _61:
        return value - _P61 if value >= _P61 else value
    return value


@njit(cache=True, nogil=True, inline="always")
def _spread(family: np.uint64, buckets: np.uint64, bits: np.uint64, value: np.uint64) -> np.int64:
    """The bucket of a value."""
    if family == _31:
        return np.int64((value * buckets) >> _N31)
    if family == _61:
        lower = ((value & _LOW30) * buckets) >> _N30
        return np.int64(((value >> _N30) * buckets + lower) >> _N31)
    # A shift by 64, of one bucket, is not defined.
    return np.int64(value >> (_U(64) - bits)) if bits != 0 else np.int64(0)


@njit(cache=True, nogil=True)
def buckets_of(hashing: Words, keys: Ints, out: Ints) -> None:
    """Any hash, of any keys."""
    for n in range(len(keys)):
        value = _value(hashing, _U(keys[n]))
        out[n] = _spread(hashing[0], hashing[4], hashing[5], value)


@njit(cache=True, nogil=True)
def absorb(
    grad: Floats, m: Floats, v: Floats, m_hash: Words, sign_hash: Words, v_hash: Words,
    shared: bool, beta1: np.float32, beta2: np.float32, direction: np.float32,
) -> None:  # fmt: skip
    """Add (1 - beta1) sign g to m and (1 - beta2) g^2 to v, both already decayed.

    Hashes are linear and of one family. That of v is not evaluated if it is ``shared`` with m.
    """
    rate1 = (np.float32(1) - beta1) * direction
    rate2 = np.float32(1) - beta2
    # Copied, since the compiler can't know that the stores below leave them alone.
    family, many, bits = m_hash[0], m_hash[4], m_hash[5]
    at, sign, v_at = m_hash[1], sign_hash[1], v_hash[1]
    slope, sign_slope, v_slope = m_hash[2], sign_hash[2], v_hash[2]
    for n in range(len(grad)):
        g = grad[n]
        place = _spread(family, many, bits, at)
        m[place] += rate1 * (g if _spread(family, _TWO, _ONE, sign) == 0 else -g)
        if not shared:
            place = _spread(family, many, bits, v_at)
            v_at = _next(family, v_slope, v_at)
        v[place] += rate2 * g * g
        at, sign = _next(family, slope, at), _next(family, sign_slope, sign)


@njit(cache=True, nogil=True)
def apply(
    param: Floats, grad: Floats, numerator: Floats, denominator: Floats,
    m_hash: Words, sign_hash: Words, v_hash: Words, shared: bool,
    shrink: np.float32, fresh: np.float32,
) -> None:  # fmt: skip
    """Subtract (sign numerator[bucket] + fresh g) denominator[bucket of v] from shrink param."""
    family, many, bits = m_hash[0], m_hash[4], m_hash[5]
    at, sign, v_at = m_hash[1], sign_hash[1], v_hash[1]
    slope, sign_slope, v_slope = m_hash[2], sign_hash[2], v_hash[2]
    for n in range(len(param)):
        place = _spread(family, many, bits, at)
        moved = numerator[place]
        moved = moved if _spread(family, _TWO, _ONE, sign) == 0 else -moved
        if not shared:
            place = _spread(family, many, bits, v_at)
            v_at = _next(family, v_slope, v_at)
        moved = (moved + fresh * grad[n]) * denominator[place]
        param[n] = shrink * param[n] - moved
        at, sign = _next(family, slope, at), _next(family, sign_slope, sign)


@njit(cache=True, nogil=True, inline="always")
def _mixed(seed: np.uint64, tile: int) -> np.uint64:
    z = seed + _U(tile + 1) * _U(0x9E3779B97F4A7C15)
    z = (z ^ (z >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> _U(27))) * _U(0x94D049BB133111EB)
    return z ^ (z >> _U(31))


@njit(cache=True, nogil=True, inline="always")
def _shift(word: np.uint64, row: int, bits: int) -> int:
    value = np.uint32((word >> _N32) * _U(row) + word)
    # Not int(): compiled, that stays unsigned, and unsigned with signed becomes a float.
    return np.int64(_U(value) >> (_N32 - _U(bits)))  # type: ignore[return-value]


# Loops over whole slices, so that the compiler knows that no index is negative.
@njit(cache=True, nogil=True)
def _gather(
    grad: Floats, sums: Floats, squares: Floats, slope: np.uint32, offset: np.uint32
) -> None:
    for n in range(len(grad)):
        g = grad[n]
        y = np.uint32(np.uint32(slope * np.uint32(n)) + offset)
        sums[n] += g if y < _HALF else -g
        squares[n] += g * g


@njit(cache=True, nogil=True)
def _gather_signed(grad: Floats, sums: Floats, slope: np.uint32, offset: np.uint32) -> None:
    for n in range(len(grad)):
        g = grad[n]
        y = np.uint32(np.uint32(slope * np.uint32(n)) + offset)
        sums[n] += g if y < _HALF else -g


@njit(cache=True, nogil=True)
def _gather_squares(grad: Floats, squares: Floats) -> None:
    for n in range(len(grad)):
        squares[n] += grad[n] * grad[n]


@njit(cache=True, nogil=True)
def _move(
    param: Floats, update: Floats, slope: np.uint32, offset: np.uint32, shrink: np.float32
) -> None:
    for n in range(len(param)):
        y = np.uint32(np.uint32(slope * np.uint32(n)) + offset)
        moved = update[n]
        param[n] = shrink * param[n] - (moved if y < _HALF else -moved)


@njit(cache=True, nogil=True)
def _move_apart(
    param: Floats, numerator: Floats, rest: Floats, denominator: Floats,
    slope: np.uint32, offset: np.uint32, shrink: np.float32,
) -> None:  # fmt: skip
    for n in range(len(param)):
        y = np.uint32(np.uint32(slope * np.uint32(n)) + offset)
        moved = numerator[n]
        moved = ((moved if y < _HALF else -moved) + rest[n]) * denominator[n]
        param[n] = shrink * param[n] - moved


@njit(cache=True, nogil=True)
def tile_step(
    param: Floats, grad: Floats, m: Floats, v: Floats, tiles: tuple[int, int],
    width: int, rows: int, seeds: Words,
    beta1: np.float32, beta2: np.float32, direction: np.float32,
    rate: np.float32, carried: np.float32, fresh: np.float32,
    v_scale: np.float32, eps: np.float32, shrink: np.float32,
) -> None:  # fmt: skip
    """A whole step of some tiles; each is read from memory once.

    Args:
        param: (n,).
        grad: (n,).
        m: (buckets,), decayed here.
        v: (buckets,), decayed here.
        tiles: first and last + 1.
        width: of a tile.
        rows: of a tile.
        seeds: of the shifts of m, the signs, the shifts of v (the same if they are shared).
        beta1: decay of m.
        beta2: decay of v.
        direction: 1, or -1 to maximize.
        rate: learning rate / bias correction of m, times what the estimate is multiplied by.
        carried: 1 to step by the new sketch, 0 by the old one (then ``rate`` has beta1).
        fresh: factor of the present gradient in the step.
        v_scale: what v is multiplied by before its root.
        eps: added to the root.
        shrink: 1 - learning rate x weight decay.
    """
    bits = 0
    while 1 << bits < width:
        bits += 1
    sums, squares = np.empty(width, np.float32), np.empty(width, np.float32)
    numerator, denominator = np.empty(width, np.float32), np.empty(width, np.float32)
    turned, rest = np.empty(width, np.float32), np.empty(width, np.float32)
    one = np.float32(1)
    rate1, rate2 = (one - beta1) * direction, one - beta2
    shared = seeds[0] == seeds[2] and fresh == 0
    for tile in range(tiles[0], tiles[1]):
        m_word, v_word = _mixed(seeds[0], tile), _mixed(seeds[2], tile)
        sign_word = _mixed(seeds[1], tile)
        slope, offset = np.uint32(sign_word >> _N32), np.uint32(sign_word)
        begin = tile * rows * width
        end = min(begin + rows * width, len(param))
        sums[:] = 0
        squares[:] = 0
        for row in range(-(-(end - begin) // width)):
            first = begin + row * width
            g = grad[first : min(first + width, end)]
            at = np.uint32(np.uint32(slope * np.uint32(row * width)) + offset)
            shift = _shift(m_word, row, bits)
            cut = min(len(g), width - shift)
            past = np.uint32(np.uint32(slope * np.uint32(cut)) + at)
            if shared:
                _gather(g[:cut], sums[shift:], squares[shift:], slope, at)
                _gather(g[cut:], sums, squares, slope, past)
            else:
                _gather_signed(g[:cut], sums[shift:], slope, at)
                _gather_signed(g[cut:], sums, slope, past)
                shift = _shift(v_word, row, bits)
                cut = min(len(g), width - shift)
                _gather_squares(g[:cut], squares[shift:])
                _gather_squares(g[cut:], squares)
        kept_m, kept_v = m[tile * width : (tile + 1) * width], v[tile * width : (tile + 1) * width]
        for j in range(width):
            old = kept_m[j]
            new = beta1 * old + rate1 * sums[j]
            kept_m[j] = new
            kept_v[j] = beta2 * kept_v[j] + rate2 * squares[j]
            numerator[j] = rate * (carried * new + (one - carried) * old)
            denominator[j] = one / (np.sqrt(v_scale * kept_v[j]) + eps)
            if shared:
                numerator[j] *= denominator[j]
        for row in range(-(-(end - begin) // width)):
            first = begin + row * width
            p, g = param[first : min(first + width, end)], grad[first : min(first + width, end)]
            at = np.uint32(np.uint32(slope * np.uint32(row * width)) + offset)
            shift = _shift(m_word, row, bits)
            cut = min(len(p), width - shift)
            past = np.uint32(np.uint32(slope * np.uint32(cut)) + at)
            if shared:
                _move(p[:cut], numerator[shift:], slope, at, shrink)
                _move(p[cut:], numerator, slope, past, shrink)
            else:
                v_shift = _shift(v_word, row, bits)
                turned[: width - v_shift] = denominator[v_shift:]
                turned[width - v_shift :] = denominator[:v_shift]
                for n in range(len(g)):
                    rest[n] = fresh * g[n]
                _move_apart(p[:cut], numerator[shift:], rest, turned, slope, at, shrink)
                _move_apart(p[cut:], numerator, rest[cut:], turned[cut:], slope, past, shrink)
