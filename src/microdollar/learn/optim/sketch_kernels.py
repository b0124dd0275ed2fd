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
def _bucket31(hashing: Words, key: np.uint64) -> np.uint64:
    total = hashing[2]
    if hashing[3] != 0:
        total = hashing[3] * key
        total = (total & _P31) + (total >> _N31) + hashing[2]
        total = (total & _P31) + (total >> _N31)
    total *= key
    total = (total & _P31) + (total >> _N31) + hashing[1]
    total = (total & _P31) + (total >> _N31)
    if total >= _P31:
        total -= _P31
    bucket: np.uint64 = (total * hashing[4]) >> _N31
    return bucket


@njit(cache=True, nogil=True, inline="always")
def _bucket61(hashing: Words, key: np.uint64) -> np.uint64:
    total = hashing[2]
    if hashing[3] != 0:
        total = _times61(hashing[3], key)
        total = (total & _P61) + (total >> _N61) + hashing[2]
        total = (total & _P61) + (total >> _N61)
        if total >= _P61:
            total -= _P61
    total = _times61(total, key)
    total = (total & _P61) + (total >> _N61) + hashing[1]
    total = (total & _P61) + (total >> _N61)
    if total >= _P61:
        total -= _P61
    lower = ((total & _LOW30) * hashing[4]) >> _N30
    bucket: np.uint64 = ((total >> _N30) * hashing[4] + lower) >> _N31
    return bucket


@njit(cache=True, nogil=True, inline="always")
def _bucket(hashing: Words, key: np.uint64) -> np.int64:
    if hashing[0] == _31:
        return np.int64(_bucket31(hashing, key))
    if hashing[0] == _61:
        return np.int64(_bucket61(hashing, key))
    # A shift by 64, of one bucket, is not defined.
    if hashing[5] == 0:
        return np.int64(0)
    return np.int64((hashing[2] * key + hashing[1]) >> (_U(64) - hashing[5]))


@njit(cache=True, nogil=True)
def buckets_of(hashing: Words, start: int, out: Ints) -> None:
    """Buckets of keys start, start + 1 and so on."""
    for n in range(len(out)):
        out[n] = _bucket(hashing, _U(start + n))


@njit(cache=True, nogil=True)
def absorb(
    grad: Floats, m: Floats, v: Floats, m_hash: Words, sign: Words, v_hash: Words,
    beta1: np.float32, beta2: np.float32, direction: np.float32,
) -> None:  # fmt: skip
    """Add (1 - beta1) sign g to m and (1 - beta2) g^2 to v, both already decayed."""
    rate1 = (np.float32(1) - beta1) * direction
    rate2 = np.float32(1) - beta2
    for n in range(len(grad)):
        key = _U(n)
        g = grad[n]
        place = _bucket(m_hash, key)
        signed = g if _bucket(sign, key) == 0 else -g
        m[place] += rate1 * signed
        v[_bucket(v_hash, key)] += rate2 * g * g


@njit(cache=True, nogil=True)
def apply(
    param: Floats, grad: Floats, numerator: Floats, denominator: Floats,
    m_hash: Words, sign: Words, v_hash: Words, shrink: np.float32, fresh: np.float32,
) -> None:  # fmt: skip
    """Subtract (sign numerator[bucket] + fresh g) denominator[bucket of v] from shrink param."""
    for n in range(len(param)):
        key = _U(n)
        moved = numerator[_bucket(m_hash, key)]
        moved = moved if _bucket(sign, key) == 0 else -moved
        moved = (moved + fresh * grad[n]) * denominator[_bucket(v_hash, key)]
        param[n] = shrink * param[n] - moved


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


@njit(cache=True, nogil=True)
def _gather_row(
    grad: Floats, first: int, count: int, bucket: int, sum_: Floats, squares: Floats,
    slope: np.uint32, offset: np.uint32, signed: bool, squared: bool,
) -> None:  # fmt: skip
    """Add ``count`` elements to buckets from ``bucket`` on."""
    for n in range(count):
        g = grad[first + n]
        if signed:
            y = np.uint32(np.uint32(slope * np.uint32(n)) + offset)
            sum_[bucket + n] += g if y < _HALF else -g
        if squared:
            squares[bucket + n] += g * g


@njit(cache=True, nogil=True)
def _move_row(
    param: Floats, first: int, count: int, bucket: int, update: Floats,
    slope: np.uint32, offset: np.uint32, shrink: np.float32,
) -> None:  # fmt: skip
    for n in range(count):
        y = np.uint32(np.uint32(slope * np.uint32(n)) + offset)
        moved = update[bucket + n]
        param[first + n] = shrink * param[first + n] - (moved if y < _HALF else -moved)


@njit(cache=True, nogil=True)
def _move_row_apart(
    param: Floats, grad: Floats, first: int, count: int, width: int, bucket: int, v_shift: int,
    column: int, numerator: Floats, denominator: Floats,
    slope: np.uint32, offset: np.uint32, shrink: np.float32, fresh: np.float32,
) -> None:  # fmt: skip
    for n in range(count):
        y = np.uint32(np.uint32(slope * np.uint32(n)) + offset)
        moved = numerator[bucket + n]
        moved = (moved if y < _HALF else -moved) + fresh * grad[first + n]
        moved *= denominator[(column + n + v_shift) & (width - 1)]
        param[first + n] = shrink * param[first + n] - moved


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
    sum_, squares = np.empty(width, np.float32), np.empty(width, np.float32)
    numerator, denominator = np.empty(width, np.float32), np.empty(width, np.float32)
    one = np.float32(1)
    rate1, rate2 = (one - beta1) * direction, one - beta2
    shared = seeds[0] == seeds[2] and fresh == 0
    for tile in range(tiles[0], tiles[1]):
        m_word, v_word = _mixed(seeds[0], tile), _mixed(seeds[2], tile)
        sign_word = _mixed(seeds[1], tile)
        slope, offset = np.uint32(sign_word >> _N32), np.uint32(sign_word)
        begin = tile * rows * width
        end = min(begin + rows * width, len(param))
        sum_[:] = 0
        squares[:] = 0
        for row in range(-(-(end - begin) // width)):
            first = begin + row * width
            many = min(width, end - first)
            at = np.uint32(np.uint32(slope * np.uint32(row * width)) + offset)
            shift = _shift(m_word, row, bits)
            head = min(many, width - shift)
            turn = np.uint32(np.uint32(slope * np.uint32(head)) + at)
            _gather_row(grad, first, head, shift, sum_, squares, slope, at, True, shared)
            _gather_row(
                grad, first + head, many - head, 0, sum_, squares, slope, turn, True, shared
            )
            if not shared:
                shift = _shift(v_word, row, bits)
                head = min(many, width - shift)
                _gather_row(grad, first, head, shift, sum_, squares, slope, at, False, True)
                _gather_row(
                    grad, first + head, many - head, 0, sum_, squares, slope, at, False, True
                )
        at_bucket = tile * width
        for j in range(width):
            old = m[at_bucket + j]
            new = beta1 * old + rate1 * sum_[j]
            m[at_bucket + j] = new
            v[at_bucket + j] = beta2 * v[at_bucket + j] + rate2 * squares[j]
            numerator[j] = rate * (carried * new + (one - carried) * old)
            denominator[j] = one / (np.sqrt(v_scale * v[at_bucket + j]) + eps)
            if shared:
                numerator[j] *= denominator[j]
        for row in range(-(-(end - begin) // width)):
            first = begin + row * width
            many = min(width, end - first)
            at = np.uint32(np.uint32(slope * np.uint32(row * width)) + offset)
            shift, v_shift = _shift(m_word, row, bits), _shift(v_word, row, bits)
            head = min(many, width - shift)
            turn = np.uint32(np.uint32(slope * np.uint32(head)) + at)
            if shared:
                _move_row(param, first, head, shift, numerator, slope, at, shrink)
                _move_row(param, first + head, many - head, 0, numerator, slope, turn, shrink)
            else:
                _move_row_apart(
                    param, grad, first, head, width, shift, v_shift, 0,
                    numerator, denominator, slope, at, shrink, fresh,
                )  # fmt: skip
                _move_row_apart(
                    param, grad, first + head, many - head, width, 0, v_shift, head,
                    numerator, denominator, slope, turn, shrink, fresh,
                )  # fmt: skip
