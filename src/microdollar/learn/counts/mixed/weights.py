"""What is believed of each opinion: chances after histories, exponents, calibration.

The opinions on one bit are log-odds x_i. Their exponents w_i have a Gaussian posterior with
independent variances v_i in each bucket of circumstances. A bit y with p = sigma(w x) moves
it by Bayes' rule with the likelihood taken to second order at the mean (Spiegelhalter and
Lauritzen 1990, section 5): with s = sum v_i x_i^2 and u = p (1 - p),

    w_i += v_i x_i (y - p) / (1 + u s)        v_i -= u (v_i x_i)^2 / (1 + u s)

One pass, no rate to choose, nothing repeated. While counts go on growing, each variance also
grows by ``DRIFT`` a bit: exponents that suit this part of the text are preferred.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from microdollar.learn.counts.mixed.contexts import CONTEXTS, LONGEST
from microdollar.learn.counts.mixed.histories import HISTORIES
from microdollar.learn.counts.ngram.discounts import Evidence
from microdollar.learn.counts.ngram.kernels import Int

INPUTS = CONTEXTS + 3
"""Histories; the longest match; a constant; the n-gram chain."""
MATCH, CONSTANT, CHAIN = CONTEXTS, CONTEXTS + 1, CONTEXTS + 2
BUCKETS = 4 * (CONTEXTS + 1)
"""Of the first mixer: contexts seen, and how long the match is. The second has one for each
prefix of a byte."""
STEPS = 16
"""Steps of log-odds in a calibration, of one nat; from -8 to 8."""
PAIRS = 1 << 16
"""Rows of a calibration: last byte and prefix, or a hash of two bytes and prefix."""
DRIFT = 1e-5
VARIANCE, REOPENED = 0.05, 0.003
"""Of an exponent before any bit, and added where frozen counts begin to be weighed."""
PATIENCE = 1023.0
"""Bits after which a chance becomes a moving average."""
CALIBRATION_PATIENCE = 255.0
SURPRISE = 0.01
"""Bits predicted better than this leave the exponents alone: they hardly inform them, and
are more than half of all bits."""
FLOOR = 1e-5
"""Least chance of a bit, so that a byte costs at most 133 bits."""

Singles = npt.NDArray[np.float32]


class Weights(NamedTuple):
    """Everything that is counted on how opinions fared. Shapes end in 2: bits seen, chance."""

    chances: Singles
    """Shape (CONTEXTS, 4096, 2): of a 1 after each history."""
    matches: Singles
    """Shape (1, 33, 2): of a match being right, by its length."""
    means: Singles
    """Shape (BUCKETS + 256, INPUTS): of the exponents, of both mixers."""
    variances: Singles
    calibration: Singles
    """Shape (2 * 65536, STEPS + 1, 2): of a 1, by last bytes, prefix and log-odds."""
    earned: npt.NDArray[np.float64]
    """Shape (order + 1, 128); evidence of the chain, see ``ngram.discounts``."""
    given: npt.NDArray[np.float64]


def fresh_weights(order: int) -> Weights:
    """Before any bit: the chain counts for one, all others for nothing."""
    chances = np.empty((CONTEXTS, HISTORIES, 2), np.float32)
    zeros, ones = np.arange(HISTORIES) >> 7, (np.arange(HISTORIES) >> 2) & 31
    chances[..., 0] = 3.0
    chances[..., 1] = (ones + 0.4) / (zeros + ones + 0.8)
    matches = np.empty((1, LONGEST + 1, 2), np.float32)
    matches[:] = (2.0, 0.75)
    means = np.zeros((BUCKETS + 256, INPUTS), np.float32)
    means[:, CHAIN] = 1.0
    variances = np.full_like(means, VARIANCE)
    calibration = np.empty((2 * PAIRS, STEPS + 1, 2), np.float32)
    calibration[..., 0] = 6.0
    calibration[..., 1] = 1.0 / (1.0 + np.exp(8.0 - 16.0 / STEPS * np.arange(STEPS + 1)))
    evidence = Evidence.none(order)
    return Weights(
        chances, matches, means, variances, calibration, evidence.earned, evidence.given,
    )  # fmt: skip


def copied(weights: Weights) -> Weights:
    """An independent copy."""
    return Weights(**{name: array.copy() for name, array in weights._asdict().items()})


def reopened(weights: Weights) -> Weights:
    """A copy that still leans on what was learnt, but learns quickly again."""
    out = copied(weights)
    np.minimum(out.chances[..., 0], 20.0, out=out.chances[..., 0])
    np.minimum(out.matches[..., 0], 20.0, out=out.matches[..., 0])
    np.minimum(out.calibration[..., 0], 20.0, out=out.calibration[..., 0])
    np.add(out.variances, REOPENED, out=out.variances)
    return out


def _log_odds() -> Singles:
    """Log-odds of the middle of each of 4096 steps of probability."""
    middle = np.arange(4096) + 0.5
    return np.log(middle / (4096.0 - middle)).astype(np.float32)


LOG_ODDS = _log_odds()


@njit(cache=True, nogil=True, inline="always")
def log_odds(chance: np.float32) -> np.float32:
    """From a table of 4096 steps."""
    step = int(chance * np.float32(4096.0))
    odds: np.float32 = LOG_ODDS[min(max(step, 0), 4095)]
    return odds


@njit(cache=True, nogil=True, inline="always")
def count_bit(counters: Singles, row: Int, column: Int, bit: np.float32, patience: float) -> None:
    """Move the pair (bits seen, chance) at a row and column by one more bit."""
    seen = min(counters[row, column, 0] + np.float32(1.0), np.float32(patience))
    counters[row, column, 0] = seen
    counters[row, column, 1] += (bit - counters[row, column, 1]) / seen


@njit(cache=True, nogil=True, fastmath=True)
def mixed(means: Singles, bucket: Int, x: Singles) -> np.float32:
    """Log-odds that a bucket's exponents give to opinions ``x``."""
    total = np.float32(0.0)
    for i in range(INPUTS):
        total += means[bucket, i] * x[i]
    return min(max(total, np.float32(-11.0)), np.float32(11.0))


@njit(cache=True, nogil=True, inline="always")
def sigma(value: np.float32) -> np.float32:
    """Probability with these log-odds."""
    return np.float32(1.0) / (np.float32(1.0) + np.float32(math.exp(-value)))


@njit(cache=True, nogil=True, fastmath=True)
def weigh(
    means: Singles,
    variances: Singles,
    bucket: Int,
    x: Singles,
    p: np.float32,
    bit: np.float32,
    drift: np.float32,
) -> None:
    """Move the posterior of a bucket by one bit that was given probability ``p``."""
    error = bit - p
    if abs(error) <= np.float32(SURPRISE):
        return
    spread = max(p * (np.float32(1.0) - p), np.float32(1e-4))
    total = np.float32(0.0)
    for i in range(INPUTS):
        total += variances[bucket, i] * x[i] * x[i]
    gain = np.float32(1.0) / (np.float32(1.0) + spread * total)
    for i in range(INPUTS):
        pull = variances[bucket, i] * x[i]
        means[bucket, i] += error * gain * pull
        variances[bucket, i] += drift - spread * gain * pull * pull


@njit(cache=True, nogil=True, inline="always")
def rows_of(recent: np.uint64, path: Int, row: npt.NDArray[np.int64]) -> None:
    """Rows of both calibrations."""
    row[0] = np.int64(recent & np.uint64(0xFF)) << 8 | path
    hashed = (recent & np.uint64(0xFFFF)) * np.uint64(0x9E3779B97F4A7C15)
    row[1] = PAIRS + ((np.int64(hashed >> np.uint64(40)) + path * 0x9E35) & (PAIRS - 1))
