"""What is believed of each opinion: chances after histories, exponents, calibration.

The opinions on one bit are log-odds x_i. Their exponents w_i have a Gaussian posterior with
independent variances v_i in each bucket of circumstances. A bit y with p = sigma(w x) moves
it by Bayes' rule with the likelihood taken to second order at the mean (Spiegelhalter and
Lauritzen 1990, section 5): with s = sum v_i x_i^2 and u = p (1 - p),

    w_i += v_i x_i (y - p) / (1 + u s)        v_i -= u (v_i x_i)^2 / (1 + u s)

One pass, no rate to choose, nothing repeated. While counts go on growing, each variance also
grows by ``DRIFT`` a bit: exponents that suit this part of the text are preferred.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microdollar.learn.counts.compiled import inlined
from microdollar.learn.counts.mixed.contexts import CONTEXTS, LONGEST
from microdollar.learn.counts.mixed.histories import HISTORIES
from microdollar.learn.counts.mixed.lanes import LANES, bits_of, dot, fetch, move, zeros
from microdollar.learn.counts.ngram.discounts import Evidence
from microdollar.learn.counts.ngram.kernels import Int

INPUTS = CONTEXTS + 3
"""Histories; the longest match; a constant; the n-gram chain. As many lanes are left idle as
are missing to 16."""
MATCH, CONSTANT, CHAIN = CONTEXTS, CONTEXTS + 1, CONTEXTS + 2
BUCKETS = 4 * (CONTEXTS + 1)
"""Of the first mixer: contexts seen, and how long the match is. The second has one for each
prefix of a byte."""
STEPS = 16
"""Log-odds in a calibration, from -8 to 8: one line of the cache."""
PAIRS = 1 << 16
"""Rows of a calibration: last byte and prefix, or a hash of two bytes and prefix."""
DRIFT = 1e-5
VARIANCE, REOPENED = 0.05, 0.003
"""Of an exponent before any bit, and added where frozen counts begin to be weighed."""
PATIENCE, CALIBRATION_PATIENCE = 1023, 255
"""Bits after which a chance becomes a moving average."""
CHANCE_BITS, SEEN_BITS = 22, 10
"""Of a chance of a 1, and of how many bits it was counted on: together one word."""
SURPRISE = 0.01
"""Bits predicted better than this leave the exponents alone: they hardly inform them, and
are more than half of all bits."""
FLOOR = 1e-5
"""Least chance of a bit, so that a byte costs at most 133 bits."""

Singles = npt.NDArray[np.float32]
Words32 = npt.NDArray[np.uint32]


class Weights(NamedTuple):
    """Everything that is counted on how opinions fared; chances are words of ``words_of``."""

    chances: Words32
    """Shape (CONTEXTS * 4096,): of a 1 after each history."""
    matches: Words32
    """Shape (33,): of a match being right, by its length."""
    means: Singles
    """Shape ((BUCKETS + 256) * 16,): of the exponents, of both mixers."""
    variances: Singles
    calibration: Words32
    """Shape (2 * 65536 * 16,): of a 1, by last bytes, prefix and log-odds."""
    earned: npt.NDArray[np.float64]
    """Shape (order + 1, 128); evidence of the chain, see ``ngram.discounts``."""
    given: npt.NDArray[np.float64]


def words_of(chances: npt.NDArray[np.float64], seen: int) -> Words32:
    """Chances that count for so many bits, in the shape of the weights."""
    whole = np.rint(chances * (1 << CHANCE_BITS)).astype(np.int64)
    inside = np.clip(whole, 1, (1 << CHANCE_BITS) - 1) << SEEN_BITS | seen
    out: Words32 = zeros(chances.size, np.uint32)
    out[:] = inside.ravel()
    return out


def fresh_weights(order: int) -> Weights:
    """Before any bit: the chain counts for one, all others for nothing."""
    zero, ones = np.arange(HISTORIES) >> 7, (np.arange(HISTORIES) >> 2) & 31
    after = np.tile((ones + 0.4) / (zero + ones + 0.8), CONTEXTS)
    means = zeros((BUCKETS + 256) * LANES, np.float32)
    means[CHAIN::LANES] = 1.0
    variances = zeros(len(means), np.float32)
    variances[:] = VARIANCE
    at = 16.0 / (STEPS - 1) * np.arange(STEPS) - 8.0
    calibration = zeros(2 * PAIRS * STEPS, np.uint32)
    calibration.reshape(-1, STEPS)[:] = words_of(1.0 / (1.0 + np.exp(-at)), 6)
    evidence = Evidence.none(order)
    return Weights(
        words_of(after, 3), words_of(np.full(LONGEST + 1, 0.75), 2), means, variances,
        calibration, evidence.earned, evidence.given,
    )  # fmt: skip


def copied(weights: Weights) -> Weights:
    """An independent copy."""

    def copy(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if array.ndim > 1:
            return array.copy()
        out = zeros(len(array), array.dtype)
        out[:] = array
        return out

    return Weights(**{name: copy(array) for name, array in weights._asdict().items()})


def reopened(weights: Weights) -> Weights:
    """A copy that still leans on what was learnt, but learns quickly again."""
    out = copied(weights)
    most = np.uint32((1 << SEEN_BITS) - 1)
    for words in (out.chances, out.matches, out.calibration):
        for part in np.split(words, range(PAIRS, len(words), PAIRS)):  # little room is needed
            seen = np.minimum(part & most, np.uint32(20))
            np.bitwise_and(part, ~most, out=part)
            np.bitwise_or(part, seen, out=part)
    np.add(out.variances, REOPENED, out=out.variances)
    return out


def _exact(values: npt.NDArray[np.float64], digits: int) -> Singles:
    """Rounded to so many binary digits, which hides how well a machine's library rounds."""
    return np.ldexp(np.rint(np.ldexp(values, digits)), -digits).astype(np.float32)


def _tables() -> tuple[Singles, Singles, Singles, npt.NDArray[np.int64]]:
    chances = (np.arange(1 << ODDS_BITS) + 0.5) / (1 << ODDS_BITS)
    mantissas = 1.0 + (np.arange(1 << LOG_BITS) + 0.5) / (1 << LOG_BITS)
    odds = np.arange(2 * MOST_ODDS * SIGMA_STEPS + 2) / SIGMA_STEPS - MOST_ODDS
    parts = np.arange(1 << SEEN_BITS)
    return (
        _exact(np.log(chances / (1.0 - chances)), 16),
        _exact(np.log(mantissas), 20),
        _exact(1.0 / (1.0 + np.exp(-odds)), 30),
        (65536 // (parts + 1)).astype(np.int64),
    )


ODDS_BITS, LOG_BITS = 12, 12
MOST_ODDS, SIGMA_STEPS = 12, 128
LOG_ODDS, LOGARITHMS, SIGMAS, SHARES = _tables()
"""Log-odds of 4096 steps of chance; logarithms of 4096 numbers from 1 to 2; chances of log-odds
from -12 to 12; and 65536 over 1, 2, 3, ..., the share of a bit in what was counted."""
_LOG_2 = np.float32(0.6931471805599453)


@inlined()
def log_odds(word: np.uint32) -> np.float32:
    """Of the chance in a word."""
    odds: np.float32 = LOG_ODDS[np.uint64(word >> np.uint32(32 - ODDS_BITS))]
    return odds


@inlined()
def chance_in(word: np.uint32) -> np.float32:
    """The chance in a word."""
    return np.float32(word >> np.uint32(SEEN_BITS)) * np.float32(2.0**-CHANCE_BITS)


@inlined()
def count_bit(words: Words32, place: Int, bit: Int, patience: Int) -> None:
    """Move the chance at a place by one more bit."""
    word = np.int64(words[place])
    seen = word & ((1 << SEEN_BITS) - 1)
    chance = word >> SEEN_BITS
    chance += ((bit << CHANCE_BITS) - bit - chance) * SHARES[seen] >> 16
    words[place] = chance << SEEN_BITS | min(seen + 1, patience - 1)


@inlined()
def logarithm(value: np.float32) -> np.float32:
    """Of a positive number, within 1.3e-4."""
    bits = np.int64(bits_of(value))
    whole = np.float32((bits >> 23) - 127)
    part: np.float32 = LOGARITHMS[(bits >> (23 - LOG_BITS)) & ((1 << LOG_BITS) - 1)]
    return whole * _LOG_2 + part


@inlined()
def sigma(odds: np.float32) -> np.float32:
    """Probability with these log-odds, from -11 to 11; linear between steps of a table."""
    at = (odds + np.float32(MOST_ODDS)) * np.float32(SIGMA_STEPS)
    below = np.int64(at)
    part = at - np.float32(below)
    low: np.float32 = SIGMAS[below]
    chance: np.float32 = low + part * (SIGMAS[below + 1] - low)
    return chance


@inlined()
def mixed(means: Singles, row: Int, x: Singles) -> np.float32:
    """Log-odds that the exponents of a row give to opinions ``x``, shape (16,)."""
    return min(max(dot(means, row * LANES, x), np.float32(-11.0)), np.float32(11.0))


@inlined()
def weigh(
    means: Singles,
    variances: Singles,
    row: Int,
    x: Singles,
    p: np.float32,
    bit: np.float32,
    drift: np.float32,
) -> None:
    """Move the posterior of a row by one bit that was given probability ``p``."""
    error = bit - p
    if abs(error) > np.float32(SURPRISE):
        spread = max(p * (np.float32(1.0) - p), np.float32(1e-4))
        move(means, variances, row * LANES, x, error, spread, drift)


@inlined()
def places_of(recent: np.uint64, path: Int) -> tuple[Int, Int]:
    """Where the rows of both calibrations start."""
    hashed = (recent & np.uint64(0xFFFF)) * np.uint64(0x9E3779B97F4A7C15)
    first = np.int64(recent & np.uint64(0xFF)) << 8 | path
    second = (np.int64(hashed >> np.uint64(40)) + path * 0x9E35) & (PAIRS - 1)
    return STEPS * first, STEPS * (PAIRS + second)


@inlined()
def fetch_rows(calibration: Words32, recent: np.uint64, symbol: Int) -> None:
    """Begin to bring both calibrations of all bits of a known byte into the cache."""
    path: Int = np.int64(1)
    for step in range(8):
        first, second = places_of(recent, path)
        fetch(calibration, first)
        fetch(calibration, second)
        path = path << 1 | (symbol >> (7 - step) & 1)
