"""Newton steps for a softmax readout, where the exact Hessian is too large to hold.

The Hessian of the mean loss is E[(diag(p) - p p') kron f f'] with f the row and a 1 for the bias:
at 128 units a matrix of 256 * 129 = 33,024 rows. Two stand-ins are used:

- **Blocks**: one 129 x 129 block for each class, E[p_o (1 - p_o) f f'], which leaves out what
  classes owe each other. Not a bound, so each step is halved until the loss falls.
- **Böhning's bound** (Böhning 1992): diag(p) - p p' <= (I - 11'/256) / 2, so one factor of
  F'F / 2 serves every class and every step, and each step lowers the loss without a search.
"""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from microdollar.learn.base import Progress, silent
from microdollar.learn.study import readout
from microdollar.learn.study.features import BLOCK, Doubles, Features, Floats, Positions

V = 256
RIDGE = 1e-4
"""Half of it times |W|^2 is added to the mean loss: on a short text the classes can be told apart
perfectly, and then the loss has no minimum."""
SMALLEST_STEP = 2.0**-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewtonRun:
    """What ``block_newton`` hands back."""

    W_y: Floats
    b_y: Floats
    losses: tuple[float, ...]
    """Mean loss with its ridge, in nats, before the first step and after each."""
    evaluations: int
    """How often loss and gradient were computed: more than steps where one was halved."""
    refreshes: int
    """How often the blocks were formed."""


def block_newton(
    features: Features,
    W_y: Floats,
    b_y: Floats,
    *,
    steps: int,
    hessian_rows: int,
    refresh: int = 1,
    seed: int = 0,
    progress: Progress = silent,
) -> NewtonRun:
    """Damped Newton steps with one Hessian block a class.

    Args:
        features: the rows.
        W_y: start, shape (256, U); stays as it is.
        b_y: start, shape (256,).
        steps: Newton steps.
        hessian_rows: rows from which the blocks are formed; drawn at random if there are more.
            The gradient always has all of them.
        refresh: steps between two formations of the blocks.
        seed: of the rows that are drawn.
        progress: told after each step.
    """
    weights = np.hstack([W_y, b_y[:, None]]).astype(np.float64)
    draw = np.random.default_rng(seed)
    loss, slope = _objective(features, weights)
    losses, size, evaluations, refreshes = [loss], 1.0, 1, 0
    inverse: Doubles = np.empty(0)
    for step in range(steps):
        if step % refresh == 0:
            chosen: slice | Positions = slice(None)
            if len(features.targets) > hessian_rows:
                chosen = np.sort(draw.choice(len(features.targets), hessian_rows, replace=False))
            blocks = hessian_blocks(features.rows(chosen), weights)
            inverse = np.linalg.inv(blocks).astype(np.float64)
            refreshes += 1
        direction = np.einsum("oij,oj->oi", inverse, slope)
        size = min(1.0, 2 * size)
        while size >= SMALLEST_STEP:
            tried = weights - size * direction
            new_loss, new_slope = _objective(features, tried)
            evaluations += 1
            if new_loss < loss:
                weights, loss, slope = tried, new_loss, new_slope
                break
            size /= 2
        losses.append(loss)
        progress(step + 1, steps, "Newton steps")
        if size < SMALLEST_STEP:  # no direction lowers the loss any more
            break
    return NewtonRun(
        W_y=weights[:, :-1].astype(np.float32),
        b_y=weights[:, -1].astype(np.float32),
        losses=tuple(losses),
        evaluations=evaluations,
        refreshes=refreshes,
    )


def hessian_blocks(rows: Floats, weights: Doubles) -> Doubles:
    """E[p_o (1 - p_o) f f'] + ridge, for every class o, shape (256, U + 1, U + 1).

    Args:
        rows: shape (n, U).
        weights: W_y and b_y side by side, shape (256, U + 1).
    """
    extended = np.hstack([rows, np.ones((len(rows), 1), np.float32)])
    scores = extended @ weights.T
    scores -= scores.max(axis=1, keepdims=True)
    chances = np.exp(scores)
    chances /= chances.sum(axis=1, keepdims=True)
    variance = (chances * (1 - chances)).astype(np.float32)
    side = extended.shape[1]
    blocks = np.empty((V, side, side))
    with threadpool_limits(limits=1, user_api="blas"):
        for o in range(V):
            blocks[o] = (extended * variance[:, o : o + 1]).T @ extended
    blocks /= len(rows)
    blocks[:, np.arange(side), np.arange(side)] += RIDGE
    return blocks


def bound_newton(
    features: Features,
    W_y: Floats,
    b_y: Floats,
    *,
    steps: int,
    progress: Progress = silent,
) -> tuple[Floats, Floats]:
    """Steps with Böhning's bound: W -= (F'F / (2 n) + ridge)^-1 gradient.

    Returns:
        W_y and b_y; those given stay as they are.
    """
    side = features.units + 1
    gram = np.zeros((side, side))
    with threadpool_limits(limits=1, user_api="blas"):
        for where in readout.blocks(len(features.targets), BLOCK):
            rows = features.rows(where)
            extended = np.hstack([rows, np.ones((len(rows), 1), np.float32)])
            gram += extended.T @ extended
    gram /= 2 * len(features.targets)
    gram[np.diag_indices(side)] += RIDGE
    inverse = np.linalg.inv(gram)
    weights = np.hstack([W_y, b_y[:, None]]).astype(np.float64)
    for step in range(steps):
        _, slope = _objective(features, weights)
        weights -= slope @ inverse
        progress(step + 1, steps, "steps with Böhning's bound")
    return weights[:, :-1].astype(np.float32), weights[:, -1].astype(np.float32)


def _objective(features: Features, weights: Doubles) -> tuple[float, Doubles]:
    """Mean loss with the ridge, in nats, and its gradient, shape (256, U + 1)."""
    W_y = np.ascontiguousarray(weights[:, :-1], dtype=np.float32)
    loss, by_W, by_b = readout.gradient(features, W_y, weights[:, -1].astype(np.float32))
    slope = np.hstack([by_W, by_b[:, None]]) + RIDGE * weights
    return loss + RIDGE / 2 * float((weights * weights).sum()), slope
