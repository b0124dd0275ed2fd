"""``microdollar demo``: the main job, on text that every Python carries."""

from pathlib import Path

import click

from microdollar.cli.compare import require_entries, run_comparison, show
from microdollar.cli.options import FOLDER, json_option
from microdollar.cli.progress import Bar
from microdollar.files import require_writable

CORPUS_NAME = "python-docs"
TRAIN_SHARE = 0.8
RNN_SECONDS = 40.0
"""The network that is trained gets as many epochs as are predicted to fit, at most 20."""
MOST_EPOCHS = 20
LEARNERS = ("ngram", "satrnn", "readout-sgd", "rnn-bptt")


@click.command(short_help="The whole story on a small corpus, in under two minutes.")
@click.option(
    "--out", "folder", type=FOLDER, default=Path("demo"), show_default=True, metavar="DIR"
)
@click.option("--ledger", "ledger_path", type=FOLDER, metavar="FILE", help="Another ledger.")
@json_option
def demo(folder: Path, ledger_path: Path | None, as_json: bool) -> None:
    """Predict, learn, measure and compare on Python's own documentation.

    Four ways to learn a language model from the first four fifths of the text, scored on the
    rest: two that write every weight down from counts, and two that take gradients. DIR gets
    report.html, the page to look at, and results.json.
    """
    from microdollar.run.compare import Entry

    require_writable(folder)
    require_entries([Entry(learner=name) for name in LEARNERS])
    train_bytes, test_bytes, epochs = _sizes(quiet=as_json)
    entries = [
        Entry(learner=name, options={"epochs": epochs} if name == "rnn-bptt" else {})
        for name in LEARNERS
    ]
    results = run_comparison(
        entries,
        CORPUS_NAME,
        train_bytes=train_bytes,
        test_bytes=test_bytes,
        folder=folder,
        ledger_path=ledger_path,
        peers=True,
        quiet=as_json,
    )
    show(results, folder, as_json=as_json)


def _sizes(*, quiet: bool) -> tuple[int, int, int]:
    """Training bytes, test bytes, and the epochs that fit the time by our own estimate."""
    from microdollar.estimator.compose import estimate_work
    from microdollar.learn.corpus import load_corpus
    from microdollar.learn.registry import create
    from microdollar.run.device import this_device
    from microdollar.spec import DataSpec

    with Bar(quiet=quiet) as progress:
        total = len(load_corpus(CORPUS_NAME, progress=progress).data)
        device = this_device(calibrate_if_missing=True, progress=progress)
    train_bytes = round(total * TRAIN_SHARE)
    one_epoch = create("rnn-bptt", epochs=1).work(DataSpec(bytes=train_bytes))
    seconds = estimate_work(one_epoch, device).cost.seconds.value
    assert seconds is not None
    epochs = max(1, min(MOST_EPOCHS, int(RNN_SECONDS / seconds)))
    return train_bytes, total - train_bytes, epochs
