"""Training a concept model on articles: rank the next among whole articles, stop on validation.

Each step draws a few articles, a few queries of each, and sets every sentence of those articles
(the hard negatives: the same subject) and a sample of all others against the truth. That is the
task as it is scored: find the next sentence among all but the context.

Objectives. ``contrast`` is InfoNCE, which pays most for the queries that can't be had: it
spreads the mix over the context, which raises recall at 10 and lowers MRR. ``robust`` is
(1 - p^q) / q with q = 1/2, between InfoNCE (q = 0) and the chance of being first (q = 1), and
lets hopeless queries go (Zhang and Sabuncu 2018, arXiv:1805.07836, equation 6). ``rank`` is MRR
with each comparison softened, 1 / (1 + sum of sigmoid((other - truth) / temperature)) (Qin et al.
2010, Information Retrieval 13, section 4, who smooth ranks the same way).

Several members, trained from one start in other orders, are averaged weight by weight (Wortsman
et al. 2022, arXiv:2203.05482): one model remains, with less noise of the order in it.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from microdollar.errors import CorpusError, MissingExtraError, UnknownNameError, UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.concepts import baselines
from microdollar.learn.concepts.baselines import Predictor
from microdollar.learn.concepts.core.layout import CoreConfig, initial, views
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.concepts.evaluate import (
    Gain,
    Outcome,
    Scores,
    best_by_mrr,
    paired_gain,
    rank_queries,
    score,
)
from microdollar.learn.concepts.sequences import Floats, Ints, Sequences

if TYPE_CHECKING:
    from microdollar.learn.concepts.twin import Twin

OBJECTIVES = ("robust", "rank", "contrast")
_POWER = 0.5
"""q of ``robust``."""
RIDGE_PENALTIES = (10.0, 100.0, 1000.0)
"""Tried on validation articles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How to train; the defaults were chosen on training and validation articles only."""

    epochs: int = 4
    """Passes: as many queries are drawn as there are, this many times."""
    lr: float = 3e-4
    """Peak; 20 steps of warm-up, then a cosine to 0."""
    weight_decay: float = 0.05
    """Of matrices, decoupled."""
    objective: str = "robust"
    """``robust``, ``rank`` or ``contrast``."""
    temperature: float = 0.05
    """Of cosines; 0.02 suits ``rank``."""
    dropout: float = 0.3
    """Of the network's input; the mix of the context sees it whole."""
    articles: int = 16
    """Of a batch."""
    queries: int = 16
    """Of each of those articles."""
    negatives: int = 500
    """Sentences of anywhere beside all of those articles'."""
    members: int = 3
    """Trained and averaged."""
    learn_mix: bool = False
    """Whether the mix of the context is learnt; else it stays as it starts."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UnknownNameError("objective", self.objective, OBJECTIVES)
        if min(self.epochs, self.articles, self.queries, self.members) < 1 or self.negatives < 0:
            raise UsageError(
                "epochs, articles, queries and members must be at least 1, negatives 0."
            )
        if not (0 < self.temperature < math.inf and 0 <= self.dropout < 1):
            raise UsageError("temperature must be positive and dropout from 0 to below 1.")
        if not (0 < self.lr < math.inf and 0 <= self.weight_decay < math.inf):
            raise UsageError("lr must be positive and weight_decay not negative.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What training gave."""

    params: Floats
    """(n_params,) of the best epoch."""
    epoch: int
    """The best on the validation articles; 0 is the untrained model."""
    history: tuple[float, ...]
    """MRR on the validation articles before training and after each epoch."""
    queries: int
    """There were to learn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All models at the same test queries."""

    queries: int
    articles: int
    candidates: int
    context: int
    models: tuple[Scores, ...]
    gain_over_best_training_free: Gain
    """Of the concept model; the best was chosen on validation articles."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def train(
    data: Sequences,
    validation: Sequences,
    config: CoreConfig | None = None,
    options: TrainOptions | None = None,
    *,
    start: Floats | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train with PyTorch on one process; keep the epoch that validates best.

    Args:
        data: articles to learn.
        validation: articles that decide when to stop.
        config: sizes; its ``context`` must be that of both texts.
        options: how.
        start: parameters to go on from, (n_params,); a fresh model starts with most of its
            mix on the last concept.
        progress: told the steps.

    Raises:
        CorpusError: if either text has no query.
        UsageError: if sizes differ.
        MissingExtraError: without torch.
    """
    config = config or CoreConfig(dim=data.vectors.shape[1], context=data.context)
    options = options or TrainOptions()
    require_texts(data, validation, config)
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "torch", "training concept models at scale") from error
    from microdollar.learn.concepts.twin import Twin

    if start is None:
        start = initial(config, options.seed)
        views(start, config)["mix"][:] = mix_start(config.context)
    sums = np.zeros((options.epochs, config.n_params), np.float32)
    for member in range(options.members):
        torch.manual_seed(options.seed + member)
        twin = Twin.from_flat(start, config, dropout=options.dropout)
        rng = np.random.default_rng([options.seed, member])

        def told(done: float, total: float, label: str = "", before: int = member) -> None:
            progress(before * total + done, options.members * total, label)

        for epoch, params in enumerate(_epochs(twin, data, options, rng, told)):
            sums[epoch] += params / options.members
    candidates = [start, *sums]
    history = tuple(
        rank_queries(core_predictor(config, params), validation).mrr for params in candidates
    )
    best = int(np.argmax(history))
    return Trained(params=candidates[best], epoch=best, history=history, queries=len(data.queries))


def _epochs(
    twin: "Twin",
    data: Sequences,
    options: TrainOptions,
    rng: np.random.Generator,
    progress: Progress,
) -> Iterator[Floats]:
    """Train; the parameters after each epoch."""
    import torch

    per_epoch = max(1, len(data.queries) // (options.articles * options.queries))
    steps = per_epoch * options.epochs
    twin.get_parameter("mix").requires_grad_(options.learn_mix)
    matrices = [p for p in twin.parameters() if p.ndim > 1]
    vectors = [p for p in twin.parameters() if p.ndim == 1 and p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": options.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=options.lr,
    )
    for step, rows in enumerate(batches(data, options, steps, rng)):
        rate = options.lr * min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        _step(twin, data, rows, options, rng, optimizer)
        progress(step + 1, steps, "training")
        if (step + 1) % per_epoch == 0:
            yield twin.to_flat()


def mix_start(context: int) -> Floats:
    """Logits of the mix that training starts with: .7 on the last concept, less before it."""
    shares = np.full(context, 0.001, np.float32)
    known = np.array([0.005, 0.01, 0.085, 0.2, 0.7], np.float32)[-context:]
    shares[context - len(known) :] = known
    logits: Floats = np.log(shares)
    return logits


def batches(
    data: Sequences, options: TrainOptions, steps: int, rng: np.random.Generator
) -> Iterator[Ints]:
    """Rows to predict, of few articles at a time."""
    numbers = data.articles[data.queries]
    by_article = [data.queries[numbers == n] for n in np.unique(numbers)]
    for _ in range(steps):
        few = rng.choice(len(by_article), min(options.articles, len(by_article)), replace=False)
        yield np.concatenate(
            [
                rng.choice(rows, min(options.queries, len(rows)), replace=False)
                for rows in (by_article[i] for i in few)
            ]
        )


def _step(
    twin: "Twin",
    data: Sequences,
    rows: Ints,
    options: TrainOptions,
    rng: np.random.Generator,
    optimizer: Any,  # noqa: ANN401 (torch is not imported here)
) -> None:
    import torch

    n = len(data.vectors)
    same = np.flatnonzero(np.isin(data.articles, np.unique(data.articles[rows])))
    others = rng.choice(n, min(options.negatives, n), replace=False)
    candidates = np.union1d(same, others)
    contexts, lengths = data.contexts(rows)
    first = rows - lengths
    shut = (candidates >= first[:, None]) & (candidates < rows[:, None])
    twin.train()
    predictions = twin(torch.from_numpy(contexts), torch.from_numpy(lengths))
    scores = predictions @ torch.from_numpy(data.vectors[candidates]).T / options.temperature
    scores = scores.masked_fill(torch.from_numpy(shut), -math.inf)
    truth = torch.from_numpy(np.searchsorted(candidates, rows))
    if options.objective == "contrast":
        loss = torch.nn.functional.cross_entropy(scores, truth)
    elif options.objective == "robust":
        chance = scores.log_softmax(-1).gather(1, truth[:, None])
        loss = (1 - torch.exp(_POWER * chance)).mean() / _POWER
    else:
        above = torch.sigmoid(scores - scores.gather(1, truth[:, None]))
        above = above.scatter(1, truth[:, None], 0.0)
        loss = -(1 / (1 + above.sum(1))).mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
    optimizer.step()


def require_texts(data: Sequences, validation: Sequences, config: CoreConfig) -> None:
    """Raise unless a model of these sizes can learn from both texts.

    Raises:
        CorpusError: if either has no query.
        UsageError: if sizes differ.
    """
    for text in (data, validation):
        if text.context != config.context or text.vectors.shape[1] != config.dim:
            raise UsageError(
                f"a model of {config.context} concepts of {config.dim} can't learn from contexts "
                f"of {text.context} concepts of {text.vectors.shape[1]}."
            )
        if len(text.queries) == 0:
            raise CorpusError("a text has no article of two sentences. Name a longer one.")


def core_predictor(config: CoreConfig, params: Floats, *, batch: int = 64) -> Predictor:
    """Predict with the numpy core, a batch at a time: what runs on the device is what is scored."""
    core = Core(config, params, batch=batch, negatives=0)

    def predict(contexts: Floats, lengths: Ints) -> Floats:
        return np.concatenate(
            [
                core.predict(contexts[i : i + batch], lengths[i : i + batch])
                for i in range(0, len(contexts), batch)
            ]
        )

    return predict


def evaluate_models(
    train_data: Sequences,
    validation: Sequences,
    test: Sequences,
    models: dict[str, Predictor],
    *,
    with_ridge: bool = True,
) -> Comparison:
    """Score models and baselines at the same queries of the test articles.

    Whatever is chosen (the best training-free predictor, ridge's penalty) is chosen on the
    validation articles.

    Args:
        train_data: articles that ridge learns from.
        validation: articles to choose by.
        test: articles to score; all their sentences are candidates.
        models: predictors by name; the gain is that of the first.
        with_ridge: whether to fit ridge, which takes a moment and 200 MB at 5 x 384.

    Raises:
        UsageError: if there is no model.
        CorpusError: if a text has no query.
    """
    if not models:
        raise UsageError("name at least one model to compare.")
    free = baselines.training_free(test.context)
    chosen = best_by_mrr({name: rank_queries(p, validation) for name, p in free.items()})
    predictors = {**models, **free}
    if with_ridge:
        fits = {p: baselines.ridge(train_data, p) for p in RIDGE_PENALTIES}
        penalty = max(fits, key=lambda p: rank_queries(fits[p], validation).mrr)
        predictors["ridge"] = fits[penalty]
    outcomes: dict[str, Outcome] = {n: rank_queries(p, test) for n, p in predictors.items()}
    return Comparison(
        queries=len(test.queries),
        articles=len(np.unique(test.articles)),
        candidates=len(test.vectors),
        context=test.context,
        models=tuple(score(name, outcome) for name, outcome in outcomes.items()),
        gain_over_best_training_free=paired_gain(
            chosen, outcomes[next(iter(models))], outcomes[chosen]
        ),
    )
