"""One delta from those of many clients, some of whom may be broken or hostile.

Every rule is a pure function of ``deltas``, float32 (k, n), one row a client, and gives float32
(n,). Sums are of float64 in the order of the rows: ``aggregate`` puts the clients in the
order of their names, so its result does not depend on who answered first.

====================  =======================================================  ==================
rule                  result                                                   hostile clients
====================  =======================================================  ==================
mean                  weighted by examples (McMahan et al. 2017, FedAvg)       none
clipped-mean          mean after scaling each down to the median norm          bounded, not undone
coordinate-median     median of each coordinate (Yin et al. 2018)              less than half
trimmed-mean          mean of each coordinate without its f largest and f      f
                      smallest (Yin et al. 2018)
multi-krum            mean of the k - f rows nearest to their k - f - 2        f, k > 2 f + 2
                      nearest others (Blanchard et al. 2017)
====================  =======================================================  ==================

Only ``mean`` uses how many examples a client says it has: a liar would say many. Medians and
trimmed means of sparse deltas (top-k) are nearly all zero, since few clients send any one
coordinate: use multi-krum or clipped-mean with those.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from microdollar.errors import UnknownNameError, UsageError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

RULES = ("mean", "clipped-mean", "coordinate-median", "trimmed-mean", "multi-krum")
_CHUNK = 1 << 16
"""Coordinates that are handled at once, so that float64 copies stay small."""


def aggregate(
    deltas: Mapping[str, Floats],
    rule: str,
    *,
    examples: Mapping[str, int] | None = None,
    malicious: int = 0,
) -> Floats:
    """The delta to apply, (n,).

    Args:
        deltas: of each client by name, float32 (n,).
        rule: one of ``RULES``.
        examples: of each client, for ``mean``; equal if None.
        malicious: f, how many clients the rule must bear.

    Raises:
        UsageError: for an unknown rule, no deltas, unequal sizes, values that aren't finite, or
            more hostile clients than the rule bears.
    """
    if rule not in RULES:
        raise UnknownNameError("aggregation rule", rule, RULES)
    names = sorted(deltas)
    if not names:
        raise UsageError("there are no deltas to aggregate. Wait for at least one client.")
    sizes = {deltas[name].shape for name in names}
    if len(sizes) > 1:
        raise UsageError(f"deltas of different shapes: {sorted(sizes)}. Use one model.")
    rows = np.stack([deltas[name] for name in names])
    if rule == "mean":
        return mean(rows, None if examples is None else [examples[name] for name in names])
    if rule == "clipped-mean":
        return clipped_mean(rows)
    if rule == "coordinate-median":
        return coordinate_median(rows)
    if rule == "trimmed-mean":
        return trimmed_mean(rows, malicious)
    return multi_krum(rows, malicious)


def mean(deltas: Floats, examples: Sequence[int] | None = None) -> Floats:
    """Mean of the rows, weighted by ``examples`` if given.

    Raises:
        UsageError: for weights that are negative, all zero or not one a row.
    """
    _check(deltas)
    weights = np.ones(len(deltas)) if examples is None else np.asarray(examples, np.float64)
    if weights.shape != (len(deltas),) or not (weights >= 0).all() or not weights.sum() > 0:
        raise UsageError(f"examples are {examples}: one number a client, not all zero, is needed.")
    return _weighted(deltas, weights / weights.sum())


def clipped_mean(deltas: Floats, limit: float | None = None) -> Floats:
    """Mean of the rows after scaling down those longer than ``limit``.

    Args:
        deltas: (k, n).
        limit: largest Euclidean norm; the median of the norms if None.

    Raises:
        UsageError: for a limit that is not positive.
    """
    _check(deltas)
    norms = np.array([np.linalg.norm(row.astype(np.float64)) for row in deltas])
    bound = float(np.median(norms)) if limit is None else limit
    if not bound >= 0 or limit == 0:
        raise UsageError(f"deltas can't be clipped to a norm of {limit}. Give a positive one.")
    scales = bound / np.maximum(norms, max(bound, np.finfo(np.float64).tiny))
    return _weighted(deltas, scales / len(deltas))


def coordinate_median(deltas: Floats) -> Floats:
    """Median of each coordinate; of an even number of rows, the mean of the middle two."""
    _check(deltas)
    return _by_chunks(deltas, lambda part: np.median(part, 0))


def trimmed_mean(deltas: Floats, trim: int) -> Floats:
    """Mean of each coordinate without its ``trim`` largest and ``trim`` smallest values.

    Raises:
        UsageError: if nothing would be left.
    """
    _check(deltas)
    if not 0 <= 2 * trim < len(deltas):
        raise UsageError(
            f"a mean of {len(deltas)} deltas can't do without {trim} on either side. "
            f"At least {2 * trim + 1} clients are needed."
        )
    return _by_chunks(deltas, lambda part: np.sort(part, 0)[trim : len(deltas) - trim].mean(0))


def multi_krum(deltas: Floats, malicious: int) -> Floats:
    """Mean of the rows that ``krum_selection`` keeps."""
    return mean(deltas[krum_selection(deltas, malicious)])


def krum_selection(deltas: Floats, malicious: int) -> npt.NDArray[np.intp]:
    """The k - f rows with the smallest sum of squared distances to their nearest k - f - 2 others.

    Args:
        deltas: (k, n).
        malicious: f.

    Returns:
        Row numbers, ascending; of equal scores the first rows win.

    Raises:
        UsageError: unless k > 2 f + 2, without which Krum's proof does not hold.
    """
    _check(deltas)
    count = len(deltas)
    if malicious < 0 or count <= 2 * malicious + 2:
        raise UsageError(
            f"multi-Krum bears {malicious} hostile clients only among more than "
            f"{2 * malicious + 2}, got {count}. Wait for more clients or expect fewer hostile."
        )
    distances = squared_distances(deltas)
    others = distances[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    scores = np.sort(others, 1)[:, : count - malicious - 2].sum(1)
    return np.sort(np.argsort(scores, kind="stable")[: count - malicious])


def squared_distances(deltas: Floats) -> Doubles:
    """Squared Euclidean distances of all pairs of rows, (k, k).

    Of the differences themselves: norms minus products, the usual short cut, loses all digits
    where rows are close to each other and far from zero.
    """
    count = len(deltas)
    found = np.zeros((count, count))
    for start in range(0, deltas.shape[1], _CHUNK):
        part = deltas[:, start : start + _CHUNK].astype(np.float64)
        for i in range(count):
            differences = part[i + 1 :] - part[i]
            found[i, i + 1 :] += np.einsum("ij,ij->i", differences, differences)
    return found + found.T


def _weighted(deltas: Floats, weights: Doubles) -> Floats:
    total = np.zeros(deltas.shape[1])
    for row, weight in zip(deltas, weights, strict=True):
        total += weight * row
    return total.astype(np.float32)


def _by_chunks(deltas: Floats, rule: Callable[[Doubles], Doubles]) -> Floats:
    result = np.empty(deltas.shape[1], np.float32)
    for start in range(0, deltas.shape[1], _CHUNK):
        part = deltas[:, start : start + _CHUNK].astype(np.float64)
        result[start : start + _CHUNK] = rule(part)
    return result


def _check(deltas: Floats) -> None:
    if deltas.ndim != 2 or deltas.dtype != np.float32 or not len(deltas):
        raise UsageError(
            f"deltas are float32 (clients, n), got {deltas.dtype} of shape {deltas.shape}."
        )
    finite = np.isfinite(deltas).all(1)
    if not finite.all():
        raise UsageError(
            f"delta {int(np.argmin(finite))} of {len(deltas)} has values that aren't finite. "
            "Leave that client out."
        )
