"""``microdollar build``: a model whose weights are written down from counts."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.checks import require_fit
from microdollar.cli.options import (
    BYTES,
    CORPUS,
    COUNT,
    FOLDER,
    json_option,
    print_json,
)
from microdollar.cli.progress import Bar
from microdollar.errors import UsageError
from microdollar.files import require_writable
from microdollar.run.counting import BoundedBuild, build_bounded
from microdollar.run.shrink import Loss, Smaller, bytes_after, shrink
from microdollar.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.base import Learner
    from microdollar.learn.counts.encoding import EncodingCheck

CHECKED_BYTES = 20_000
"""Training bytes over which the states of a sat-rnn are decoded again."""

_OPTIONS = {"ngram": ("order",), "counted": ("order",), "satrnn": ("offsets", "hidden")}
"""Learners that build without a gradient, and the options of each."""


@click.command(short_help="Write a model's weights down from counts.")
@click.argument("corpus", type=CORPUS)
@click.option("-o", "--out", "folder", type=FOLDER, required=True, metavar="DIR", help="Where to.")
@click.option(
    "--network",
    type=click.Choice(list(_OPTIONS)),
    default="ngram",
    show_default=True,
    help="Telescoped n-gram network; counted: it and more contexts, mixed, better and slower; "
    "or the 128-unit sat-rnn.",
)
@click.option("--order", type=COUNT, metavar="K", help="Longest n-gram context in bytes.")
@click.option("--offsets", type=COUNT, metavar="G", help="Past bytes that are looked at (satrnn).")
@click.option("--hidden", type=COUNT, metavar="H", help="Hidden units (satrnn).")
@click.option("--train-bytes", type=BYTES, metavar="N", help="Use the first N bytes only, e.g. 1M.")
@click.option(
    "--memory",
    type=BYTES,
    metavar="BYTES",
    help="Build in so much memory, whatever the size of the text (ngram), e.g. 1GB.",
)
@click.option(
    "--work-folder",
    type=FOLDER,
    metavar="DIR",
    help="Where sorted counts are kept meanwhile; a killed build goes on from there.",
)
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Count on a Dask cluster, e.g. tcp://10.0.0.1:8786, or local for one on this machine.",
)
@click.option("--workers", type=COUNT, metavar="N", help="Threads, or workers of a local cluster.")
@click.option(
    "--prune-count", type=COUNT, metavar="C", help="Leave out strings counted less often (ngram)."
)
@click.option(
    "--prune-bits",
    type=click.FloatRange(min=0),
    metavar="B",
    help="Leave out strings that save fewer bits of the training text (ngram).",
)
@click.option(
    "--weight-bits",
    type=click.IntRange(1, 8),
    metavar="B",
    help="Keep weights in so many bits, 1 to 8 (ngram).",
)
@json_option
def build(
    corpus: str,
    folder: Path,
    network: str,
    train_bytes: int | None,
    memory: int | None,
    work_folder: Path | None,
    cluster: str | None,
    workers: int | None,
    prune_count: int | None,
    prune_bits: float | None,
    weight_bits: int | None,
    as_json: bool,
    **options: int | None,
) -> None:
    """Write a model of CORPUS to DIR, its weights computed from counts: no gradient, no epochs.

    DIR gets model.safetensors and config.json, both or neither. A model that is already there
    is replaced when the new one is complete.

    CORPUS is a file, a folder, - (standard input), enwik8 or python-docs. With --memory,
    --work-folder, --cluster or --workers it is a file, enwik8 or a URL (s3://, gs://, http://,
    also with a pattern such as part-*.txt), and the model is the same byte for byte.
    """
    from microdollar.learn.corpus import load_corpus, split
    from microdollar.learn.files import read_config
    from microdollar.learn.registry import create

    learner = create(network, **_given(network, options))
    _check_target(folder)
    smaller = Smaller(prune_count=prune_count, prune_bits=prune_bits, weight_bits=weight_bits)
    if smaller.asked_for and network != "ngram":
        raise UsageError(
            "--prune-count, --prune-bits and --weight-bits are for --network ngram, "
            f"not {network}. Leave them out."
        )
    how = BoundedBuild(
        memory_bytes=memory, work_folder=work_folder, cluster=cluster, workers=workers
    )
    if how.asked_for or "://" in corpus:
        if network != "ngram":
            raise UsageError(
                f"--memory, --work-folder, --cluster, --workers and URLs are for --network ngram, "
                f"not {network}. Leave them out."
            )
        with Bar(quiet=as_json) as progress:
            started = time.perf_counter()
            order = learner.config()["order"]
            learnt = build_bounded(
                how, corpus, folder, order=order, train_bytes=train_bytes, progress=progress
            )
            seconds = time.perf_counter() - started
        parameters = read_config(folder)["parameters"]
        loss = _shrunk(folder, smaller, corpus, learnt)
        _report(learner, corpus, folder, learnt, parameters, seconds, None, loss, as_json=as_json)
        return
    with Bar(quiet=as_json) as progress:
        text = load_corpus(corpus, limit=train_bytes, progress=progress)
        for note in text.notes:
            progress.note(f"note: {note}")
        train = split(text, train_bytes=train_bytes).train
        require_fit(learner, corpus, len(train), typed=_OPTIONS[network])
        progress(0, 0, "compiling")
        learner.warm_up()
        started = time.perf_counter()
        model = learner.fit(train, progress=progress)
        seconds = time.perf_counter() - started
        encoding = _encoding(model, train) if network == "satrnn" else None
        progress(0, 0, "saving")
        model.save(folder)
    _report(
        learner, corpus, folder, len(train), model.parameters, seconds, encoding,
        _shrunk(folder, smaller, corpus, len(train)), as_json=as_json,
    )  # fmt: skip


def _report(
    learner: "Learner",
    corpus: str,
    folder: Path,
    train_bytes: int,
    parameters: int,
    seconds: float,
    encoding: "EncodingCheck | None",
    loss: Loss | None,
    *,
    as_json: bool,
) -> None:
    """Say what was built."""
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    if as_json:
        print_json(
            {
                "network": learner.name,
                "options": learner.config(),
                "corpus": corpus,
                "train_bytes": train_bytes,
                "parameters": parameters,
                "folder": str(folder),
                "files": files,
                "bytes": sum(files.values()),
                "seconds": seconds,
                "encoding": None if encoding is None else asdict(encoding),
                "smaller": None if loss is None else asdict(loss),
            }
        )
        return
    click.echo(
        f"{learner.name}: {parameters:,} parameters from {train_bytes:,} bytes "
        f"in {format_seconds(seconds)}"
    )
    if encoding is not None:
        click.echo(
            f"encoding: {encoding.codes_right:,} of {encoding.codes:,} codes of past bytes right, "
            f"{encoding.bytes_recovered:,} bytes recovered, over {encoding.positions:,} states"
        )
    if loss is not None:
        click.echo(f"strings: {loss.strings:,} of {loss.strings_before:,} kept")
        if loss.bits_per_byte is None or loss.bits_per_byte_before is None:
            click.echo("loss: not known; no bytes follow those learnt (see --train-bytes)")
        else:
            click.echo(
                f"loss: {loss.bits_per_byte - loss.bits_per_byte_before:+.4f} to "
                f"{loss.bits_per_byte:.4f} bits per byte, static, on the next "
                f"{loss.test_bytes:,} bytes"
            )
    for name, size in files.items():
        click.echo(f"{folder / name}  {format_bytes(size)}")


def _shrunk(folder: Path, smaller: Smaller, corpus: str, learnt: int) -> Loss | None:
    """Make the model smaller if that was asked for, and say what it lost."""
    if not smaller.asked_for:
        return None
    from microdollar.learn.files import read_config

    order = read_config(folder)["order"]
    return shrink(folder, smaller, *bytes_after(corpus, learnt, order))


def _encoding(model: Any, train: "ByteArray") -> "EncodingCheck":  # noqa: ANN401
    """Whether the states hold the past bytes, by running the network.

    Raises:
        CheckFailedError: if a code is wrong.
    """
    from microdollar.learn.counts.encoding import check_encoding

    check = check_encoding(model, train[:CHECKED_BYTES])
    check.require(exact=False)
    return check


def _given(network: str, options: dict[str, int | None]) -> dict[str, Any]:
    """The options that were typed; those of another network are an error."""
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in _OPTIONS[network]:
            owner = next(other for other, names in _OPTIONS.items() if name in names)
            raise UsageError(
                f"--{name} belongs to --network {owner}, not to {network}. "
                f"Leave it out or type --network {owner}."
            )
    return given


def _check_target(folder: Path) -> None:
    """Find out before the work, not after it, that the model can't be written there."""
    require_writable(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").exists():
        raise UsageError(f"{folder} holds other files than a model's. Name a new folder.")
