"""Sums over the states of a network, from which every prediction of its weights is made.

h(t) is the state after byte x(t), t = 0 .. T-1, where x(t+1) still exists: T = N - 1 states. One
pass over the text, in blocks; memory does not grow with it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from microdollar.learn.study.features import Doubles

if TYPE_CHECKING:
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.elman import ElmanModel

V = 256
INFLUENCE_POSITIONS = 50
"""Evenly spaced positions at which a unit is negated, as published."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StateStatistics:
    """What was summed, over T states of H units."""

    count: int
    """T."""
    mean: Doubles
    """Of h_j, shape (H,)."""
    covariance: Doubles
    """Entry (i, j): mean over t of (h_j(t) - mean h_j) (h_i(t+1) - mean h_i), shape (H, H)."""
    agreement: Doubles
    """Entry (i, j): 2 / (T - 1) times how often h_j(t) and h_i(t+1) had one sign, minus 1."""
    influence: Doubles
    """Entry (i, j): share of positions at which negating h_j(t) flips the sign of h_i(t+1), times
    the sign of the agreement. Computed through the network's own W_h, so partly circular."""
    positive: Doubles
    """How often h_j >= 0, shape (H,)."""
    sums_by_input: Doubles
    """Sum of h_j(t) over t with x(t) = x, shape (256, H)."""
    sums_by_output: Doubles
    """The same with x(t+1) = o."""
    positive_by_input: Doubles
    """How often h_j(t) >= 0 where x(t) = x, shape (256, H)."""
    positive_by_output: Doubles
    """The same with x(t+1) = o."""
    pairs: "npt.NDArray[np.int64]"
    """How often x(t) = x and x(t+1) = o, shape (256, 256)."""


def gather(model: "ElmanModel", data: "ByteArray") -> StateStatistics:
    """Run the network over ``data`` from h = 0 and add up.

    Args:
        model: the network.
        data: bytes, shape (n,), at least 3.
    """
    hidden, last = model.hidden, None
    cross, same = np.zeros((hidden, hidden)), np.zeros((hidden, hidden))
    sums = {name: np.zeros((V, hidden)) for name in ("in", "out", "in+", "out+")}
    first = np.zeros(hidden)
    flips = np.zeros((hidden, hidden))
    count = len(data) - 1
    looked = np.unique(np.linspace(0, count - 2, INFLUENCE_POSITIONS).astype(np.int64))
    with threadpool_limits(limits=1, user_api="blas"):
        for where, block in model.states_before(data, model.initial_state()):
            begin = max(where.start, 1)  # the row of the first byte is the state before any
            states = block[begin - where.start :].copy()
            signs = np.where(states >= 0, 1, 0).astype(np.float32)
            read, follows = data[begin - 1 : where.stop - 1], data[begin : where.stop]
            for one_hot, name in ((_one_hot(read), "in"), (_one_hot(follows), "out")):
                sums[name] += one_hot.T @ states
                sums[f"{name}+"] += one_hot.T @ signs
            if last is None:
                first = states[0].astype(np.float64)
                before, after = states[:-1], states[1:]
            else:
                before, after = np.vstack([last, states[:-1]]), states
            cross += after.T @ before
            plus, next_plus = np.where(before >= 0, 1, -1), np.where(after >= 0, 1, -1)
            same += next_plus.T.astype(np.float32) @ plus.astype(np.float32)
            last = states[-1:]
            # Row k of ``states`` is h(begin - 1 + k).
            for t in looked[(looked >= begin - 1) & (looked < where.stop - 1)]:
                flips += _flips(model, states[t - begin + 1], int(data[t + 1]))
    assert last is not None
    total = sums["in"].sum(axis=0)
    mean = total / count
    head, tail = total - last[0], total - first
    covariance = cross - np.outer(mean, head) - np.outer(tail, mean)
    covariance += (count - 1) * np.outer(mean, mean)
    agreement = same / (count - 1)
    return StateStatistics(
        count=count,
        mean=mean,
        covariance=covariance / (count - 1),
        agreement=agreement,
        influence=flips / len(looked) * np.sign(agreement),
        positive=sums["in+"].sum(axis=0),
        sums_by_input=sums["in"],
        sums_by_output=sums["out"],
        positive_by_input=sums["in+"],
        positive_by_output=sums["out+"],
        pairs=np.bincount(data[:-1].astype(np.int64) * V + data[1:], minlength=V * V).reshape(V, V),
    )


def _one_hot(values: "ByteArray") -> "npt.NDArray[np.float32]":
    found = np.zeros((len(values), V), dtype=np.float32)
    found[np.arange(len(values)), values] = 1.0
    return found


def _flips(model: "ElmanModel", state: "npt.NDArray[np.float32]", byte: int) -> Doubles:
    """Entry (i, j) is 1 where negating unit j flips the sign of unit i one step later."""
    drive = model.W_x[byte] + model.b_h + model.W_h @ state
    negated = drive[:, None] - 2.0 * model.W_h * state[None, :]
    flipped: Doubles = ((negated >= 0) != (drive >= 0)[:, None]).astype(np.float64)
    return flipped
