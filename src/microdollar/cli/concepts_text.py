"""What the commands on concepts share: texts, their encoder, and vectors in order."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from microdollar.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from microdollar.learn.base import Progress
    from microdollar.learn.concepts.concept_source import ConceptSource
    from microdollar.learn.concepts.corpus import Article, Rules
    from microdollar.learn.concepts.encoders import Encoder
    from microdollar.learn.concepts.model_folder import ModelFolder

ENCODER_HELP = (
    "minilm, counted, static:FOLDER, vectors:FILE, a folder, or a name of sentence-transformers."
)


def encoder_of(model: "ModelFolder", name: str | None = None) -> "Encoder":
    """The encoder whose vectors the model was trained on.

    Args:
        model: that says which.
        name: where to find it instead.

    Raises:
        UsageError: if it is another one now.
        MissingExtraError: if what it needs is not installed.
    """
    from microdollar.learn.concepts.counted import NAME, CountedEncoder
    from microdollar.learn.concepts.model_folder import ENCODER

    found: Encoder
    if name in (None, NAME) and model.has_encoder:
        found = CountedEncoder.load(model.path / ENCODER)
    else:
        from microdollar.learn.concepts.encoders import make_encoder

        found = make_encoder(name or model.encoder.name)
    if found.fingerprint != model.encoder.fingerprint:
        raise UsageError(
            f"{model.path} was trained on vectors of {model.encoder.name!r} "
            f"({model.encoder.fingerprint[:12]}...), and {found.name!r} is another "
            f"({found.fingerprint[:12]}...). Use that encoder, or train a model on this one."
        )
    return found


def articles_in(
    file: str,
    progress: "Progress",
    *,
    limit_bytes: int | None = None,
    rules: "Rules | None" = None,
) -> "list[Article]":
    """Articles of a file, a folder, python-docs or enwik8, which is downloaded once.

    Raises:
        CorpusError: if there are none.
    """
    from microdollar.learn.concepts.corpus import read_articles

    path: str | Path = file
    if file == "enwik8" and not Path(file).exists():
        from microdollar.learn.corpus_enwik8 import fetch_enwik8

        path = fetch_enwik8(progress)
    return read_articles(path, limit_bytes=limit_bytes, rules=rules)


def document_numbers(articles: "Sequence[Article]") -> "npt.NDArray[np.int64]":
    """Of each sentence."""
    import numpy as np

    return np.repeat(np.arange(len(articles)), [len(each.sentences) for each in articles])


def sentences_of(articles: "Sequence[Article]") -> list[str]:
    """All of them, in order."""
    return [sentence for article in articles for sentence in article.sentences]


def text_source(
    model: "ModelFolder",
    file: str,
    *,
    encoder: str | None,
    limit_bytes: int | None,
    progress: "Progress",
) -> "tuple[ConceptSource, int]":
    """The concepts of a text, less the articles that the model was trained on or has streamed.

    Returns:
        The source, and how many articles were left out.

    Raises:
        UsageError: if nothing is left, or the encoder is another.
    """
    from microdollar.learn.concepts.concept_source import from_vectors
    from microdollar.learn.concepts.corpus import Rules
    from microdollar.learn.concepts.model_folder import article_hash

    rules = Rules(min_sentences=2)
    every = articles_in(file, progress, limit_bytes=limit_bytes, rules=rules)
    learnt = model.learnt()
    named = [(article_hash(article), article) for article in every]
    fresh = {name: article for name, article in named if name not in learnt}
    if not fresh:
        raise UsageError(
            f"the model has learnt from every article of {file!r}. Name a text that is new to it."
        )
    articles = list(fresh.values())
    found = encoder_of(model, encoder)
    vectors = found.encode(sentences_of(articles), progress)
    source = from_vectors(
        vectors, document_numbers(articles), name=Path(file).name, encoder=found.fingerprint,
        articles=tuple(fresh),
    )  # fmt: skip
    return source, len(every) - len(articles)
