"""Count-sketches as the document defines them: what it proves, and what it hopes for.

Small cases are enumerated, so that expectations are exact; the rest is drawn from a seed.
"""

from itertools import product

import numpy as np
import numpy.typing as npt

from microdollar.claims.experiments.base import Context
from microdollar.claims.record import Values
from microdollar.spec.arithmetic import Interval

Vector = npt.NDArray[np.float64]

PRIME, BUCKETS = 67, 8
"""Of the Carter-Wegman family that is enumerated, all 67 x 67 of it, on 66 keys."""
FEW = 6
"""Elements of the vector whose positions (3 buckets) and signs are all enumerated."""
SIZE = 2**17
"""Elements of the vectors whose errors are drawn."""
ERROR = 0.1
"""The document's relative error."""
COMPRESSIONS = (8, 16, 32, 40, 64)
BETA1, STEPS, DRAWS = 0.9, 60, 150


def run(context: Context) -> Values:
    """What hashing does, by name.

    ``collisions`` and ``collisions_nonzero``: the most likely collision of two keys, times the
    buckets, with every multiplier and without zero. ``mean``: expectation of an estimate over the
    element. ``variance``: over the variance that is proved; ``bound``: over ``||v||^2 / k``.
    ``averaged`` and ``averaged_fresh``: variance of an estimate from one gradient over that from
    their moving average, with fixed hashes and with new ones at each step. ``failure_C`` and
    ``failure_norm_C``: share of elements that err by more than a tenth of themselves, and of the
    whole vector's norm, at a compression C.
    """
    draw = np.random.default_rng(context.seed)
    values = _collisions() | _moments() | _averaging(draw)
    for compression in COMPRESSIONS:
        values |= _failures(compression, draw)
    return {name: Interval.of(float(value)) for name, value in values.items()}


def _collisions() -> dict[str, float]:
    """Over the whole family ((a x + b) mod p) mod k."""
    a, b = np.arange(PRIME)[:, None, None], np.arange(PRIME)[None, :, None]
    codes = ((a * np.arange(PRIME - 1) + b) % PRIME % BUCKETS).astype(np.uint8)
    found = {}
    for name, first in (("collisions", 0), ("collisions_nonzero", 1)):
        family = codes[first:]
        most = 0.0
        for key in range(PRIME - 1):
            shares = (family == family[..., key : key + 1]).mean(axis=(0, 1))
            most = max(most, float(np.delete(shares, key).max()))
        found[name] = most * BUCKETS
    return found


def _moments() -> dict[str, float]:
    """Over every position of every element, and every sign."""
    vector, buckets = np.arange(1.0, FEW + 1), 3
    places = np.array(list(product(range(buckets), repeat=FEW)))
    signs = np.array(list(product((-1.0, 1.0), repeat=FEW)))
    shares = (places[:, :, None] == places[:, None, :]).astype(np.float64)
    # estimate of i: sum over j in its bucket of sign i x sign j x element j
    estimates = np.einsum("pij,sj,si->psi", shares, signs * vector, signs)
    errors = estimates.reshape(-1, FEW) - vector
    square = float(vector @ vector)
    proved = (square - vector**2) / buckets
    variance = (errors**2).mean(axis=0)
    return {
        "mean": float((1 + errors.mean(axis=0) / vector).max()),
        "variance": float((variance / proved).max()),
        "bound": float((variance / (square / buckets)).max()),
    }


def _estimate(vector: Vector, places: npt.NDArray[np.int64], signs: Vector, buckets: int) -> Vector:
    sums = np.bincount(places, weights=signs * vector, minlength=buckets)
    estimate: Vector = sums[places] * signs
    return estimate


def _averaging(draw: np.random.Generator) -> dict[str, float]:
    """A gradient that stays as it is for many steps, at 32 elements a bucket."""
    size, buckets = 1024, 1024 // 32
    one = fixed = fresh = 0.0
    for _ in range(DRAWS):
        gradient = draw.standard_normal(size)
        places = draw.integers(0, buckets, size)
        signs = draw.choice([-1.0, 1.0], size)
        one += float(((_estimate(gradient, places, signs, buckets) - gradient) ** 2).mean())
        sketch_of_mean, mean_of_fresh, mean = np.zeros(buckets), np.zeros(size), np.zeros(size)
        for _ in range(STEPS):
            sums = np.bincount(places, weights=signs * gradient, minlength=buckets)
            sketch_of_mean = BETA1 * sketch_of_mean + (1 - BETA1) * sums
            anew = draw.integers(0, buckets, size), draw.choice([-1.0, 1.0], size)
            estimate = _estimate(gradient, *anew, buckets)
            mean_of_fresh = BETA1 * mean_of_fresh + (1 - BETA1) * estimate
            mean = BETA1 * mean + (1 - BETA1) * gradient
        # Adam's correction of the first steps
        whole = 1 - BETA1**STEPS
        fixed += float((((sketch_of_mean[places] * signs - mean) / whole) ** 2).mean())
        fresh += float((((mean_of_fresh - mean) / whole) ** 2).mean())
    return {"averaged": one / fixed, "averaged_fresh": one / fresh}


def _failures(compression: int, draw: np.random.Generator) -> dict[str, float]:
    """Of a vector of independent normal elements."""
    buckets = SIZE // compression
    vector = draw.standard_normal(SIZE)
    places = draw.integers(0, buckets, SIZE)
    estimate = _estimate(vector, places, draw.choice([-1.0, 1.0], SIZE), buckets)
    errors = np.abs(estimate - vector)
    norm = float(np.linalg.norm(vector))
    return {
        f"failure_{compression}": float((errors > ERROR * np.abs(vector)).mean()),
        f"failure_norm_{compression}": float((errors > ERROR * norm).mean()),
    }
