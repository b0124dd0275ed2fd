"""``microdollar concepts train``: a concept model from texts."""

import time
from pathlib import Path
from typing import Any

import click

from microdollar.cli.concepts_parts import (
    encoder_options,
    split_texts,
    text_options,
    train_model,
    training_cost,
    trains_with_torch,
)
from microdollar.cli.options import COUNT, FOLDER, json_option, print_json
from microdollar.cli.progress import Bar
from microdollar.errors import UsageError
from microdollar.files import require_writable
from microdollar.units import format_bytes, format_dollars, format_seconds, format_si


@click.command(short_help="Train a concept model on texts.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("-o", "--out", "folder", type=FOLDER, required=True, metavar="MODEL",
              help="Where to.")  # fmt: skip
@encoder_options
@text_options
@click.option("--width", type=COUNT, default=256, show_default=True, help="Of the network.")
@json_option
def train(
    files: tuple[str, ...],
    folder: Path,
    encoder: str | None,
    engine: str,
    width: int,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Train a model on the articles of each FILE (python-docs if none) and write it to MODEL.

    A text file is an article, a dump of Wikipedia or a folder has many. A third of the articles
    is kept apart to test on, a sixth decides when to stop; MODEL remembers which it learnt, so
    that `eval --model` scores no other ones. A model that is already there is replaced, with all
    that it has learned since.

    Without --encoder it is minilm if that is installed, else one made by counting the words of
    the training articles: it needs nothing but numpy, and is worse.

    \b
    Examples:
      microdollar concepts train -o model
      microdollar concepts train notes/ -o model --encoder minilm
    """  # noqa: D301
    from microdollar.learn.concepts.core.layout import CoreConfig
    from microdollar.learn.concepts.model_folder import ENCODER, STORE, EncoderFacts, ModelFolder
    from microdollar.learn.concepts.store import ConceptStore
    from microdollar.learn.concepts.train import core_predictor, evaluate_models

    if width % 4:
        raise UsageError(f"--width {width} is not a multiple of 4, the heads of its attention.")
    require_writable(folder)
    with Bar(quiet=as_json) as progress:
        texts = split_texts(files or ("python-docs",), encoder, options, progress)
        config = CoreConfig(dim=texts.encoder.dim, width=width, context=texts.context)
        predicted = None
        if not trains_with_torch(engine):
            predicted = training_cost(texts, config, options)
        started = time.perf_counter()
        trained = train_model(texts, config, options, engine=engine, progress=progress)
        seconds = time.perf_counter() - started
        comparison = evaluate_models(
            texts.train, texts.validation, texts.test,
            {"lnsp": core_predictor(config, trained.params)},
        )  # fmt: skip
        known = texts.learnt_sentences
        store = ConceptStore(texts.learnt_vectors, known, texts.encoder.fingerprint)
        parts = {STORE: store.save}
        if texts.made_encoder is not None:
            parts[ENCODER] = texts.made_encoder.save
        facts = {
            "texts": list(files or ("python-docs",)), "seed": options["seed"],
            "epoch": trained.epoch, "validation_mrr": list(trained.history),
        }  # fmt: skip
        model = ModelFolder.write(
            folder, trained.params, config,
            EncoderFacts(
                name=texts.encoder_name, dim=config.dim, fingerprint=texts.encoder.fingerprint
            ),
            articles=texts.learnt, training=facts, parts=parts,
        )  # fmt: skip
    sizes = {path.name: path.stat().st_size for path in sorted(model.path.iterdir())}
    if as_json:
        print_json(
            {
                "model": str(folder),
                "parameters": config.n_params,
                "encoder": texts.encoder_name,
                "encoder_fingerprint": texts.encoder.fingerprint,
                "train_queries": trained.queries,
                "epoch": trained.epoch,
                "validation_mrr": list(trained.history),
                "seconds": seconds,
                "predicted": predicted,
                "files": sizes,
                **comparison.to_json(),
            }
        )
        return
    click.echo(
        f"{config.n_params:,} parameters from {trained.queries:,} sentences of "
        f"{len(texts.learnt)} articles; encoder {texts.encoder_name}, epoch {trained.epoch} of "
        f"{len(trained.history) - 1}, {format_seconds(seconds)}"
    )
    if predicted is not None:
        click.echo(_cost(predicted))
    from microdollar.cli.concepts_eval import show_comparison

    show_comparison(comparison)
    for name, size in sizes.items():
        click.echo(f"{model.path / name}  {format_bytes(size)}")


def _cost(predicted: dict[str, Any]) -> str:
    text = (
        f"predicted: {format_si(predicted['flops'], 'FLOP')}, "
        f"{format_bytes(predicted['memory_bytes'])}"
    )
    if predicted["seconds"] is not None:
        text += f", {format_seconds(predicted['seconds'])}"
        if predicted["dollars"] is not None:
            text += f", {format_dollars(predicted['dollars'])}"
    return text
