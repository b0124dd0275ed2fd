"""Training on the core alone, where there is no PyTorch: the batches of ``train``.

Three things differ from there: the objective is ``contrast``, the core's own; dropout takes from
the mix of the context too, since the core has none; and decay takes from all parameters.
"""

import math

import numpy as np

from microdollar.errors import UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.concepts.core.layout import CoreConfig, initial, views
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.concepts.evaluate import rank_queries
from microdollar.learn.concepts.sequences import Floats, Ints, Sequences
from microdollar.learn.concepts.train import (
    Trained,
    TrainOptions,
    batches,
    core_predictor,
    mix_start,
    require_texts,
)

OBJECTIVE, TEMPERATURE = "contrast", 0.05
"""What it trains for, and the temperature that suits it."""
WARM_UP = 20
"""Steps."""
LARGEST_GRADIENT = 1.0
"""Norm that a gradient is scaled down to."""


def train_on_core(
    data: Sequences,
    validation: Sequences,
    config: CoreConfig | None = None,
    options: TrainOptions | None = None,
    *,
    start: Floats | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train with numpy; arguments and errors as of ``train.train``.

    Raises:
        UsageError: also for another objective than ``contrast``.
    """
    config = config or CoreConfig(dim=data.vectors.shape[1], context=data.context)
    options = options or TrainOptions(objective=OBJECTIVE, temperature=TEMPERATURE)
    if options.objective != OBJECTIVE:
        raise UsageError(
            f"objective {options.objective!r} needs PyTorch; numpy trains for {OBJECTIVE!r}."
        )
    require_texts(data, validation, config)
    if start is None:
        start = initial(config, options.seed)
        views(start, config)["mix"][:] = mix_start(config.context)
    sizes = np.sort(np.unique(data.articles, return_counts=True)[1])
    most = int(sizes[-options.articles :].sum()) + options.negatives
    batch = options.articles * options.queries
    core = Core(config, start, batch=batch, negatives=most, keep_gradients=True)
    rng = np.random.default_rng(options.seed)
    per_epoch = max(1, len(data.queries) // batch)
    steps = per_epoch * options.epochs
    history = [_validate(core, validation)]
    best, best_epoch = core.params.copy(), 0
    for step, rows in enumerate(batches(data, options, steps, rng)):
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        _step(core, data, rows, options, rng)
        core.step(options.lr * min(1, (step + 1) / WARM_UP) * cosine, options.weight_decay)
        progress(step + 1, steps, "training")
        if (step + 1) % per_epoch == 0:
            history.append(_validate(core, validation))
            if history[-1] > max(history[:-1]):
                best, best_epoch = core.params.copy(), len(history) - 1
    return Trained(params=best, epoch=best_epoch, history=tuple(history), queries=len(data.queries))


def _step(
    core: Core, data: Sequences, rows: Ints, options: TrainOptions, rng: np.random.Generator
) -> None:
    """Leave the gradient of a batch in the core."""
    n = len(data.vectors)
    same = np.flatnonzero(np.isin(data.articles, np.unique(data.articles[rows])))
    others = rng.choice(n, min(options.negatives, n), replace=False)
    # Targets of other rows are candidates of their own.
    negatives = np.setdiff1d(np.union1d(same, others), rows)
    contexts, lengths = data.contexts(rows)
    if options.dropout:
        kept = rng.random(contexts.shape, np.float32) >= options.dropout
        contexts *= kept / np.float32(1 - options.dropout)
    candidates = np.concatenate([rows, negatives])
    counts = (candidates < (rows - lengths)[:, None]) | (candidates >= rows[:, None])
    core.loss_and_grad(
        contexts, lengths, data.vectors[rows], data.vectors[negatives], options.temperature, counts
    )
    norm = math.sqrt(float(np.dot(core.grads, core.grads)))
    if norm > LARGEST_GRADIENT:
        core.grads[:] *= LARGEST_GRADIENT / norm


def _validate(core: Core, validation: Sequences) -> float:
    return rank_queries(core_predictor(core.config, core.params), validation).mrr
