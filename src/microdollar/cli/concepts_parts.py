"""What training and scoring of concept models share: options, split texts, the encoder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from microdollar.cli.concepts_text import (
    ENCODER_HELP,
    articles_in,
    document_numbers,
    encoder_of,
    sentences_of,
)
from microdollar.cli.options import BYTES, COUNT
from microdollar.cli.progress import Bar
from microdollar.errors import CorpusError, MissingExtraError

if TYPE_CHECKING:
    from microdollar.learn.concepts.core.layout import CoreConfig, Floats
    from microdollar.learn.concepts.corpus import Article
    from microdollar.learn.concepts.counted import CountedEncoder
    from microdollar.learn.concepts.encoders import Encoder
    from microdollar.learn.concepts.model_folder import ModelFolder
    from microdollar.learn.concepts.sequences import Sequences
    from microdollar.learn.concepts.train import Trained

Command = TypeVar("Command", bound=Callable[..., Any])
_TEST, _VALIDATION = 1 / 3, 1 / 6


def encoder_options(command: Command) -> Command:
    """``--encoder`` and ``--engine``."""
    for option in (
        click.option("--engine", type=click.Choice(["auto", "torch", "numpy"]), default="auto",
                     show_default=True, help="What trains; auto: PyTorch if it is installed."),
        click.option("--encoder", metavar="NAME", help=ENCODER_HELP),
    ):  # fmt: skip
        command = option(command)
    return command


def text_options(command: Command) -> Command:
    """What is read, how it is split, and how long training goes on."""
    for option in (
        click.option("--epochs", type=COUNT, metavar="N", help="Passes over the queries."),
        click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True,
                     help="Of the split and of all random numbers."),
        click.option("--context", type=COUNT, default=16, show_default=True, metavar="T",
                     help="Sentences that a prediction sees."),
        click.option("--also", multiple=True, metavar="TEXT",
                     help="More text to train on, never tested; may be given again."),
        click.option("--bytes", "limit_bytes", type=BYTES, metavar="N",
                     help="Read so many of each FILE, e.g. 2M."),
    ):  # fmt: skip
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Texts:
    """Three parts of the articles, as vectors."""

    train: "Sequences"
    validation: "Sequences"
    test: "Sequences"
    learnt: "list[Article]"
    """Those of ``train`` and ``validation``."""
    learnt_vectors: "Floats"
    """Of their sentences."""
    encoder: "Encoder"
    encoder_name: str
    made_encoder: "CountedEncoder | None" = None
    """If it was made from ``train``."""

    @property
    def context(self) -> int:
        """T."""
        return self.train.context

    @property
    def learnt_sentences(self) -> list[str]:
        """In order."""
        return sentences_of(self.learnt)


def split_texts(
    files: Sequence[str], encoder: str | None, options: Mapping[str, Any], progress: Bar
) -> Texts:
    """Read, split by article and encode.

    Args:
        files: texts to split.
        encoder: its name; the best that is installed if None.
        options: those of ``text_options``.
        progress: told how far it is.

    Raises:
        CorpusError: if there are too few articles.
        UsageError: if the encoder can't be had.
    """
    from microdollar.learn.concepts.corpus import split_articles

    progress(0, 0, "reading")
    parts = split_articles(
        _articles(files, options["limit_bytes"], progress),
        options["seed"], test=_TEST, validation=_VALIDATION,
    )  # fmt: skip
    tested = {sentence for part in parts[1:] for sentence in sentences_of(part)}
    also = [
        article
        for article in _articles(options["also"], None, progress)
        # A text that is given twice must not be learnt and tested.
        if not tested.intersection(article.sentences)
    ]
    train = [*parts[0], *also]
    found, name, made = _encoder(encoder, train, progress)
    return _encoded(
        (train, parts[1], parts[2]), found, name, made,
        context=options["context"], progress=progress,
    )  # fmt: skip


def unseen_texts(
    model: "ModelFolder",
    files: Sequence[str],
    encoder: str | None,
    options: Mapping[str, Any],
    progress: Bar,
) -> Texts:
    """The articles that a model was not trained on; a third of them is to choose baselines by.

    Raises:
        CorpusError: if too few are left.
        UsageError: if the encoder is another.
    """
    from microdollar.learn.concepts.corpus import split_articles
    from microdollar.learn.concepts.model_folder import article_hash

    progress(0, 0, "reading")
    learnt = model.learnt()
    every = _articles(files, options["limit_bytes"], progress)
    unseen = [article for article in every if article_hash(article) not in learnt]
    if len(unseen) < len(every):
        progress.note(
            f"note: {len(every) - len(unseen)} articles left out: the model has learnt from them"
        )
    if len(unseen) < 3:
        raise CorpusError(
            f"{len(unseen)} of {len(every)} articles are new to the model; at least 3 are needed: "
            "to fit and to choose baselines, and to test. Name more text."
        )
    parts = split_articles(unseen, options["seed"], test=2 / 3, validation=_VALIDATION)
    found = encoder_of(model, encoder)
    return _encoded(
        parts, found, model.encoder.name, None, context=model.config.context, progress=progress
    )


def train_model(
    texts: Texts, config: "CoreConfig", options: Mapping[str, Any], *, engine: str, progress: Bar
) -> "Trained":
    """Train with PyTorch or on the core alone.

    Raises:
        MissingExtraError: for ``--engine torch`` without it.
    """
    from microdollar.learn.concepts.train import TrainOptions, train
    from microdollar.learn.concepts.train_numpy import OBJECTIVE, TEMPERATURE, train_on_core

    given: dict[str, Any] = {"seed": options["seed"]}
    if options["epochs"] is not None:
        given["epochs"] = options["epochs"]
    if trains_with_torch(engine):
        import torch

        torch.set_num_threads(1)  # more are slower on half a million parameters
        how = TrainOptions(**given)
        return train(texts.train, texts.validation, config, how, progress=progress)
    how = TrainOptions(objective=OBJECTIVE, temperature=TEMPERATURE, **given)
    return train_on_core(texts.train, texts.validation, config, how, progress=progress)


def trains_with_torch(engine: str) -> bool:
    """Whether that is what ``--engine`` means here."""
    import importlib.util

    return engine == "torch" or (engine == "auto" and bool(importlib.util.find_spec("torch")))


def training_cost(texts: Texts, config: "CoreConfig", options: Mapping[str, Any]) -> dict[str, Any]:
    """What training with numpy is predicted to take.

    Operations and bytes; where this machine was calibrated, seconds, joules and dollars too.
    """
    import numpy as np

    from microdollar.estimator.compose import estimate_work
    from microdollar.learn.base import silent
    from microdollar.learn.concepts.train import TrainOptions
    from microdollar.run.device import has_calibration, this_device
    from microdollar.work.formulas.concepts import ConceptSizes, training_work

    how = TrainOptions()
    epochs = options["epochs"] or how.epochs
    batch, queries = how.articles * how.queries, len(texts.train.queries)
    articles = len(np.unique(texts.train.articles))
    of_articles = len(texts.train.vectors) * min(1.0, how.articles / articles)
    work = training_work(
        ConceptSizes(
            dim=config.dim, width=config.width, heads=config.heads, context=config.context
        ),
        steps=max(1, queries // batch) * epochs,
        batch=batch,
        negatives=round(of_articles) + min(how.negatives, len(texts.train.vectors)) - batch,
        scorings=epochs + 1,
        queries=len(texts.validation.queries),
        candidates=len(texts.validation.vectors),
    )
    if not has_calibration():
        return {"flops": work.flops, "memory_bytes": work.memory_bytes, "seconds": None}
    device = this_device(calibrate_if_missing=False, progress=silent)
    cost = estimate_work(work, device).cost
    return {
        "flops": work.flops,
        "memory_bytes": work.memory_bytes,
        "seconds": cost.seconds.value,
        "dollars": cost.dollars.value,
    }


def _articles(files: Sequence[str], limit_bytes: int | None, progress: Bar) -> "list[Article]":
    return [
        article
        for file in files
        for article in articles_in(file, progress, limit_bytes=limit_bytes)
    ]


def _encoder(
    name: str | None, train: "list[Article]", progress: Bar
) -> "tuple[Encoder, str, CountedEncoder | None]":
    """The encoder, how to name it, and itself if it was made here."""
    from microdollar.learn.concepts import counted
    from microdollar.learn.concepts.encoders import make_encoder

    if name is None:
        try:
            return make_encoder("minilm"), "minilm", None
        except MissingExtraError:
            progress.note("note: no trained encoder is installed; one is made from word counts")
            name = counted.NAME
    if name == counted.NAME:
        made = counted.fit(sentences_of(train), progress=progress)
        return made, counted.NAME, made
    return make_encoder(name), name, None


def _encoded(
    parts: "tuple[list[Article], list[Article], list[Article]]",
    encoder: "Encoder",
    name: str,
    made: "CountedEncoder | None",
    *,
    context: int,
    progress: Bar,
) -> Texts:
    """All sentences encoded in one go, then taken apart again."""
    import numpy as np

    from microdollar.learn.concepts.sequences import Sequences

    vectors = encoder.encode(sentences_of([a for part in parts for a in part]), progress)
    sizes = [sum(len(article.sentences) for article in part) for part in parts]
    pieces = np.split(vectors, np.cumsum(sizes)[:-1])
    train, validation, test = (
        Sequences(piece, document_numbers(part), context)
        for piece, part in zip(pieces, parts, strict=True)
    )
    return Texts(
        train=train, validation=validation, test=test,
        learnt=[*parts[0], *parts[1]], learnt_vectors=vectors[: sizes[0] + sizes[1]],
        encoder=encoder, encoder_name=name, made_encoder=made,
    )  # fmt: skip
