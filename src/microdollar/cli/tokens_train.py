"""``microdollar tokens train``: a policy that chooses tokens, and what reads them back."""

import time
from pathlib import Path

import click

from microdollar.cli.ledger_file import ledger_option
from microdollar.cli.options import FILE, FOLDER, json_option, print_json
from microdollar.cli.progress import Bar
from microdollar.errors import MissingExtraError, UsageError
from microdollar.files import require_writable
from microdollar.units import format_bytes, format_seconds


@click.command(short_help="Train a policy and its reconstructor on texts.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("-o", "--out", "folder", type=FOLDER, metavar="MODEL", help="Where to.")
@click.option("--config", "config_file", type=FILE, metavar="FILE",
              help="All settings, TOML; what it leaves out has its default.")  # fmt: skip
@click.option("--resume", is_flag=True,
              help="Go on with a training of MODEL that was interrupted.")  # fmt: skip
@click.option("--predict", is_flag=True, help="Say what it will cost, and train nothing.")
@click.option("--probe", is_flag=True,
              help="Time ten real steps of each kind, say what all will take, and keep nothing.",
              )  # fmt: skip
@ledger_option
@json_option
def train(
    files: tuple[str, ...],
    folder: Path | None,
    config_file: Path | None,
    resume: bool,
    predict: bool,
    probe: bool,
    path: Path | None,
    as_json: bool,
) -> None:
    """Train on the documents of each FILE (python-docs if none) and write the model to MODEL.

    A reconstructor learns to read texts with gaps; a policy learns, first by regression on what
    dropping each token costs, then by reinforcement, which tokens to keep. A fifth of the
    documents is kept apart for `tokens eval`, a tenth is for choices.

    While it runs, MODEL.training holds a checkpoint and the logs: lines of JSON, and
    TensorBoard's files if tensorboardX is installed. A run that was interrupted goes on with
    --resume and ends with the same model.

    What it will cost is said before, if this machine was calibrated, and kept in the ledger with
    what it did, so that the next prediction is better.

    \b
    Examples:
      microdollar tokens train -o model
      microdollar tokens train articles/ --predict
      microdollar tokens train articles/ -o model --config examples/tokens/small.toml
      microdollar squeeze prompt.txt --ratio 0.5 --scorer policy --model model
    """  # noqa: D301
    from microdollar.learn.tokens.policy.config import TrainConfig, read_config
    from microdollar.learn.tokens.texts import read_documents, split

    if predict and probe:
        raise UsageError("give --predict or --probe, not both.")
    config = TrainConfig() if config_file is None else read_config(config_file)
    names = files or ("python-docs",)
    if folder is None and not (predict or probe):
        raise UsageError("where to? Give -o MODEL, or --predict to know the cost only.")
    if folder is not None:
        require_writable(folder)
    documents = split(read_documents(names, min_tokens=config.run.min_tokens))
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("torch", "tokens", "training a policy") from error
    if predict or probe or folder is None:
        from microdollar.cli.tokens_cost import say_prediction, say_probe

        (say_probe if probe else say_prediction)(documents, config, path, as_json=as_json)
        return
    from microdollar.cli.tokens_cost import trained_with_row

    started = time.perf_counter()
    with Bar(quiet=as_json) as progress:
        trained, predicted = trained_with_row(
            documents, folder, config, path, resume=resume, progress=progress
        )
    seconds = time.perf_counter() - started
    history = {key: value for key, value in trained.model.facts.items() if key != "config"}
    sizes = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    parameters = {
        "policy": trained.model.network.config.parameters,
        "reconstructor": trained.infiller.config.parameters,
    }
    if as_json:
        print_json(
            {
                "model": str(folder),
                "texts": list(names),
                "documents": {
                    "train": len(documents.train),
                    "validation": len(documents.validation),
                    "test": len(documents.test),
                },
                "parameters": parameters,
                "seconds": seconds,
                "predicted": predicted,
                **history,
                "files": sizes,
            }
        )
        return
    click.echo(
        f"policy of {parameters['policy']:,} parameters and reconstructor of "
        f"{parameters['reconstructor']:,} from {len(documents.train)} documents, "
        f"{trained.steps:,} steps, {format_seconds(seconds)}"
    )
    for name in ("supervised", "supervised again", "joint"):
        if name in history:
            click.echo(f"{name}: {_bits(history[name]['validation_bits_per_token'])}")
    for name, size in sizes.items():
        click.echo(f"{folder / name}  {format_bytes(size)}")


def _bits(found: "dict[str, float] | list[list[float]]") -> str:
    """The best of what was compared, in words."""
    values = list(found.values()) if isinstance(found, dict) else [bits for _, bits in found]
    return (
        f"{min(values):.3f} bits lost for each token of the validation documents, "
        "mean over the ratios"
    )
