"""``microdollar concepts eval``: retrieval of the next sentence, beside what learns nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.concepts_parts import (
    encoder_options,
    split_texts,
    text_options,
    train_model,
    unseen_texts,
)
from microdollar.cli.options import FOLDER, json_option, print_json
from microdollar.cli.progress import Bar

if TYPE_CHECKING:
    from microdollar.learn.concepts.train import Comparison


@click.command("eval", short_help="Retrieval of the next sentence, beside what learns nothing.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--model", type=FOLDER, metavar="MODEL", help="Score this one; else train one.")
@encoder_options
@text_options
@json_option
def evaluate(
    files: tuple[str, ...],
    model: Path | None,
    encoder: str | None,
    engine: str,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Score a concept model on articles of FILE... that it has not seen.

    Without --model the articles are split: a third to test, a sixth to stop by, and a model is
    trained on the rest (and on --also). With it, only articles that the model was not trained on
    count. Each query is a sentence with those before it; candidates are all sentences of the
    test articles but its context. Intervals (95 %) draw whole articles.

    Beside it: copying the last sentence, fixed mixes of the context, and ridge regression. The
    gain is over the best that learns nothing, chosen on the validation articles.

    \b
    Examples:
      microdollar concepts eval enwik8 --bytes 2M --json
      microdollar concepts eval notes/ --model model
    """  # noqa: D301
    from microdollar.learn.concepts.core.layout import CoreConfig
    from microdollar.learn.concepts.model_folder import ModelFolder
    from microdollar.learn.concepts.train import core_predictor, evaluate_models

    with Bar(quiet=as_json) as progress:
        if model is None:
            texts = split_texts(files, encoder, options, progress)
            config = CoreConfig(dim=texts.encoder.dim, context=texts.context)
            params = train_model(texts, config, options, engine=engine, progress=progress).params
        else:
            folder = ModelFolder.open(model)
            texts = unseen_texts(folder, files, encoder, options, progress)
            config, params = folder.config, folder.params()
        progress(0, 0, "scoring")
        comparison = evaluate_models(
            texts.train, texts.validation, texts.test, {"lnsp": core_predictor(config, params)}
        )
    if as_json:
        print_json(
            {
                "files": list(files),
                "model": None if model is None else str(model),
                "encoder": texts.encoder_name,
                "train_articles": len(texts.learnt),
                **comparison.to_json(),
            }
        )
    else:
        show_comparison(comparison)


def show_comparison(comparison: "Comparison") -> None:
    """A line a model, and the gain."""
    click.echo(
        f"{comparison.queries:,} queries of {comparison.articles} articles, "
        f"{comparison.candidates:,} candidates, contexts of up to {comparison.context}"
    )
    click.echo(f"  {'':<14} {'MRR':>6} {'95 %':>16} {'R@1':>6} {'R@5':>6} {'R@10':>6} {'cos':>6}")
    for each in comparison.models:
        click.echo(
            f"  {each.name:<14} {each.mrr:6.4f} {each.mrr_low:8.4f} {each.mrr_high:7.4f} "
            f"{each.r1:6.3f} {each.r5:6.3f} {each.r10:6.3f} {each.cosine:6.3f}"
        )
    gain = comparison.gain_over_best_training_free
    verdict = "" if gain.low > 0 or gain.high < 0 else "; that is within noise"
    click.echo(
        f"over {gain.over}: {gain.gain:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}, paired, "
        f"95 % by article){verdict}"
    )
