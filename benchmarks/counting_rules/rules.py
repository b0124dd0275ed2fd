"""Rules that turn what the orders say (``walks``) into one probability of the byte.

Each has weights that are counted: on held-back bytes while counts stand still, for frozen
scores, and from each byte after it was scored, for adaptive ones. All are sums of
distributions with weights that do not depend on the byte, so they are distributions.
"""

import numpy as np
import numpy.typing as npt
from numba import njit
from walks import Floats, Numbers, Table

from microdollar.learn.counts.ngram.chain import evidence_class

FLOOR_BITS = 0.05
"""Added to an entropy before its inverse is taken."""
BUCKETS = 24
"""Of a longest context: 8 sizes of its total, 3 of how many bytes it has seen."""
TOTALS = 16
FACTORS = np.round(np.arange(0.1, 2.01, 0.1), 2)
"""Grid of factors on modified Kneser-Ney's discounts."""
DISCOUNTS = np.round(np.arange(0.05, 0.96, 0.05), 2)
"""Grid of a single discount."""
ROUNDS = 15
"""Passes of expectation maximisation over the held-back bytes."""
CLASSES = 128
_Integers = npt.NDArray[np.int32]


@njit(cache=True, nogil=True)
def chain(
    count: _Integers, total: _Integers, kinds: _Integers, depth: _Integers, discounts: Floats
) -> Floats:
    """Interpolation of discounted counts, from 1/256 up; shape (n,)."""
    out = np.empty(len(depth))
    for i in range(len(depth)):
        p = 1.0 / 256.0
        for k in range(depth[i] + 1):
            if total[i, k] > 0:
                taken = 0.0
                for many in range(3):
                    taken += discounts[k, many] * kinds[i, k, many]
                p *= taken / total[i, k]
                if count[i, k] > 0:
                    p += (count[i, k] - discounts[k, min(count[i, k], 3) - 1]) / total[i, k]
        out[i] = p
    return out


def chained(table: Table, discounts: Floats) -> Floats:
    """:func:`chain` over a table."""
    return chain(table.count, table.total, table.kinds, table.depth, discounts)


@njit(cache=True, nogil=True)
def _mix(
    chance: Floats,
    entropy: Floats,
    total: _Integers,
    kinds: _Integers,
    depth: _Integers,
    credit: Floats,
    power: float,
    by_credit: bool,
    learn: bool,
) -> Floats:
    out = np.empty(len(depth))
    orders = chance.shape[1]
    weight = np.zeros(orders)
    for i in range(len(depth)):
        d = depth[i]
        t = max(total[i, d], 1)
        many = kinds[i, d, 0] + kinds[i, d, 1] + kinds[i, d, 2]
        size = 0
        while t > 1 and size < 7:
            t >>= 1
            size += 1
        bucket = (d * 8 + size) * 3 + (0 if many < 2 else 1 if many < 4 else 2)
        whole, p, mixture = 0.0, 0.0, 0.0
        for k in range(d + 1):
            weight[k] = (entropy[i, k] + FLOOR_BITS) ** -power if power > 0 else 1.0
            if by_credit:
                weight[k] *= credit[bucket, k]
            whole += weight[k]
            p += weight[k] * chance[i, k]
            mixture += credit[bucket, k] * chance[i, k]
        out[i] = p / whole
        if learn:
            for k in range(d + 1):
                credit[bucket, k] += credit[bucket, k] * chance[i, k] / mixture
    return out


def fresh_credit(order: int) -> Floats:
    """Credit of each order in each bucket, before anything was earned."""
    return np.full(((order + 1) * BUCKETS, order + 1), 0.5)


def mixed(
    table: Table, which: int, credit: Floats, *, power: float, by_credit: bool, learn: bool
) -> Floats:
    """Sum of a chain's distributions of every order.

    Args:
        table: what the orders say.
        which: chain.
        credit: shape (buckets, order + 1); weights w earn w p / sum if ``learn``, which counts
            posteriors (one pass of expectation maximisation, or its online form).
        power: a distribution with entropy H bits weighs (H + 0.05) ** -power; 0 for all alike.
        by_credit: and times its credit in the bucket of the longest context.
        learn: earn credit.
    """
    return _mix(
        table.chance[which], table.entropy[which], table.total, table.kinds, table.depth,
        credit, power, by_credit, learn,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _jelinek_mercer(
    count: _Integers,
    total: _Integers,
    depth: _Integers,
    stay: Floats,
    earned: Floats,
    reached: Floats,
    online: bool,
) -> Floats:
    out = np.empty(len(depth))
    orders = total.shape[1]
    shorter, share, size = np.zeros(orders), np.zeros(orders), np.zeros(orders, np.int64)
    for i in range(len(depth)):
        p = 1.0 / 256.0
        for k in range(depth[i] + 1):
            shorter[k] = p
            share[k] = 0.0
            if total[i, k] > 0:
                t = total[i, k]
                size[k] = 0
                while t > 1 and size[k] < TOTALS - 1:
                    t >>= 1
                    size[k] += 1
                keep = stay[k, size[k]]
                share[k] = keep * count[i, k] / total[i, k]
                p = share[k] + (1.0 - keep) * p
        out[i] = p
        reach, here = 1.0, p
        for k in range(depth[i], -1, -1):
            if total[i, k] > 0:
                own = share[k] / here
                earned[k, size[k]] += reach * own
                reached[k, size[k]] += reach
                if online:
                    stay[k, size[k]] = (earned[k, size[k]] + 0.5) / (reached[k, size[k]] + 1.0)
                reach *= 1.0 - own
            here = shorter[k]
    return out


class JelinekMercer:
    """Deleted interpolation: l c/T + (1 - l) shorter, l by order and size of T (Jelinek 1980)."""

    def __init__(self, order: int) -> None:
        self.stay = np.full((order + 1, TOTALS), 0.5)
        self.earned, self.reached = np.zeros_like(self.stay), np.zeros_like(self.stay)

    def fit(self, table: Table) -> "JelinekMercer":
        """Expectation maximisation over a table of held-back bytes."""
        for _ in range(ROUNDS):
            self.earned[:], self.reached[:] = 0.0, 0.0
            self._pass(table, online=False)
            self.stay = (self.earned + 0.5) / (self.reached + 1.0)
        return self

    def chances(self, table: Table, *, learn: bool) -> Floats:
        """P(byte), shape (n,); learn from each if asked to."""
        if learn:
            return self._pass(table, online=True)
        before = self.earned.copy(), self.reached.copy()
        out = self._pass(table, online=False)
        self.earned, self.reached = before
        return out

    def _pass(self, table: Table, *, online: bool) -> Floats:
        return _jelinek_mercer(
            table.count, table.total, table.depth, self.stay, self.earned, self.reached, online
        )


@njit(cache=True, nogil=True)
def _bayes(
    count: _Integers,
    total: _Integers,
    kinds: _Integers,
    depth: _Integers,
    discounts: Floats,
    grid: Floats,
    caps: Floats,
    weight: Floats,
    by_class: bool,
    learn: bool,
) -> Floats:
    out = np.empty(len(depth))
    orders, points = total.shape[1], len(grid)
    each, own, group = np.empty((orders, points)), np.empty(orders), np.zeros(orders, np.int64)
    mean = np.empty(orders)
    for i in range(len(depth)):
        p = 1.0 / 256.0
        for k in range(depth[i] + 1):
            if total[i, k] > 0:
                n = kinds[i, k, 0] + kinds[i, k, 1] + kinds[i, k, 2]
                group[k] = evidence_class(n, total[i, k]) if by_class else 0
                taken = 0.0
                for many in range(3):
                    taken += discounts[k, many] * kinds[i, k, many]
                c = count[i, k]
                tax = discounts[k, min(c, 3) - 1] if c > 0 else 0.0
                mean[k], own[k] = 0.0, 0.0
                for g in range(points):
                    factor = min(grid[g], caps[k])
                    each[k, g] = (c - factor * tax + factor * taken * p) / total[i, k]
                    mean[k] += weight[k, group[k], g] * each[k, g]
                    own[k] += weight[k, group[k], g] * (c - factor * tax) / total[i, k]
                p = mean[k]
        out[i] = p
        if learn:
            reach = 1.0
            for k in range(depth[i], -1, -1):
                if total[i, k] > 0:
                    whole = 0.0
                    cell = weight[k, group[k]]
                    for g in range(points):
                        cell[g] *= (each[k, g] / mean[k]) ** reach
                        whole += cell[g]
                    for g in range(points):
                        cell[g] = max(cell[g] / whole, 1e-30)
                    reach *= 1.0 - own[k] / mean[k]
                    if reach < 1e-4:
                        break
    return out


class Bayes:
    """Posterior mean over a grid of discounts, by order and, if wanted, class of evidence.

    Every point of the grid starts with the same weight and is multiplied by the probability
    that it gave to each byte (Bayes' rule), to the power of the posterior that the longer
    contexts backed off to it: a shorter order of Kneser-Ney is made for that case only. The
    shorter order's mean is what a point backs off to.
    """

    def __init__(self, discounts: Floats, grid: Floats, *, by_class: bool) -> None:
        self.discounts, self.grid, self.by_class = discounts, grid, by_class
        shape = (len(discounts), CLASSES if by_class else 1, len(grid))
        self.weight = np.full(shape, 1.0 / len(grid))

    def chances(self, table: Table, *, learn: bool) -> Floats:
        """P(byte), shape (n,); learn from each if asked to."""
        caps = 0.99 * (np.array([1.0, 2.0, 3.0]) / self.discounts).min(axis=1)
        return _bayes(
            table.count, table.total, table.kinds, table.depth, self.discounts, self.grid,
            caps, self.weight, self.by_class, learn,
        )  # fmt: skip


def single_discounts(counts_of_counts: Numbers) -> Floats:
    """D = n1 / (n1 + 2 n2) for every count (Ney, Essen and Kneser 1994), shape (orders, 3)."""
    n1, n2 = counts_of_counts[:, 0].astype(float), counts_of_counts[:, 1].astype(float)
    d = np.where((n1 > 0) & (n2 > 0), n1 / np.maximum(n1 + 2 * n2, 1), 0.5)
    return np.repeat(np.clip(d, 0.05, 0.95)[:, None], 3, axis=1)
