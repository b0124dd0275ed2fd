"""``microdollar concepts serve-federated`` and ``join``: learn together without sending text."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from microdollar.cli.concepts_text import (
    ENCODER_HELP,
    articles_in,
    document_numbers,
    encoder_of,
    sentences_of,
)
from microdollar.cli.options import COUNT, FOLDER, SECONDS, json_option, print_json
from microdollar.cli.progress import Bar
from microdollar.errors import UsageError
from microdollar.units import format_bytes

if TYPE_CHECKING:
    from microdollar.learn.concepts.core.layout import Floats
    from microdollar.learn.concepts.federated.coordinator import RoundReport
    from microdollar.learn.concepts.federated.local import LocalLearner
    from microdollar.learn.concepts.model_folder import ModelFolder

RULES = ("multi-krum", "clipped-mean", "trimmed-mean", "coordinate-median", "mean")
METHODS = ("topk-int8", "int8", "fp16", "fp32")


@click.command("serve-federated", short_help="Gather what clients learned, robustly, over TLS.")
@click.argument("model", type=FOLDER, metavar="MODEL")
@click.option("--keys", type=FOLDER, required=True, metavar="DIR",
              help="Certificates, and clients' public keys, clients/NAME.pub.")  # fmt: skip
@click.option("--rounds", type=COUNT, default=10, show_default=True,
              help="In all, those before a restart included.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Name or address under which clients reach this machine.")  # fmt: skip
@click.option("--listen", metavar="ADDRESS", help="Listen here, if not at --host; 0.0.0.0 is all.")
@click.option("--port", type=click.IntRange(0, 65535), default=9443, show_default=True,
              help="0: any free one.")  # fmt: skip
@click.option("--rule", type=click.Choice(RULES), default="multi-krum", show_default=True,
              help="How updates become one.")  # fmt: skip
@click.option("--malicious", type=click.IntRange(0), default=0, show_default=True,
              help="Hostile clients to bear.")  # fmt: skip
@click.option("--least-clients", type=COUNT, default=3, show_default=True,
              help="With fewer good updates a round changes nothing.")  # fmt: skip
@click.option("--method", type=click.Choice(METHODS), default="topk-int8", show_default=True,
              help="How deltas are coded, both ways.")  # fmt: skip
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), default=0.01,
              show_default=True, help="Of the parameters that topk-int8 sends.")  # fmt: skip
@click.option("--round-seconds", type=SECONDS, default=600.0, show_default=True,
              help="That a round waits for answers.")  # fmt: skip
@json_option
def serve_federated(
    model: Path,
    keys: Path,
    rounds: int,
    host: str,
    listen: str | None,
    port: int,
    rule: str,
    malicious: int,
    least_clients: int,
    method: str,
    share: float,
    round_seconds: float,
    as_json: bool,
) -> None:
    """Let clients with a known key improve MODEL, round by round; then end.

    Clients send coded changes of weights, never text. That is not privacy: vectors and changes
    can be inverted, by whoever runs the server too. Each round is an entry of the model's
    journal, so `rollback` undoes one, and a server that was killed goes on with the same command.

    The first start makes DIR/ca.pem, which clients need to know this server by.

    \b
    Examples:
      microdollar concepts serve-federated model --keys fleet --host fleet.example.org
    """  # noqa: D301
    from microdollar.learn.concepts.federated.coordinator import RoundRules
    from microdollar.learn.concepts.federated.deploy import serve_federated as serve
    from microdollar.learn.concepts.model_folder import ModelFolder

    _quieten()
    rules = RoundRules(
        rule=rule, malicious=malicious, least_clients=least_clients, method=method,
        share_up=share, share_down=share,
    )  # fmt: skip
    folder = ModelFolder.open(model)
    with folder.journal(write=True) as journal, Bar(quiet=as_json) as progress:

        def told(report: "RoundReport") -> None:
            progress.note(_line(report))
            for client, reason in report.refused.items():
                progress.note(f"  {client} refused: {reason}")

        found = serve(
            keys, journal, rules=rules, rounds=rounds, host=host, listen=listen, port=port,
            round_seconds=round_seconds, on_round=told,
            on_ready=lambda at: progress.note(f"serving on {listen or host}:{at}; {keys}/ca.pem"),
        )  # fmt: skip
        head = journal.head
    if as_json:
        print_json({"model": str(model), **found, "entry": head.index, "fingerprint": head.after})
        return
    click.echo(
        f"{found['rounds']} rounds done; {format_bytes(found['bytes_received'])} received, "
        f"{format_bytes(found['bytes_sent'])} sent; journal entry {head.index}"
    )


@click.command(short_help="Improve a shared model with own text, which stays here.")
@click.argument("model", type=FOLDER, metavar="MODEL")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--keys", type=FOLDER, required=True, metavar="DIR",
              help="This client's key, and what it must not lose between rounds.")  # fmt: skip
@click.option("--make-key", is_flag=True, help="Make the key pair, say where it is, and end.")
@click.option("--server", metavar="HOST:PORT", help="Of the server.")
@click.option("--authority", type=FOLDER, metavar="FILE", help="The server's ca.pem.")
@click.option("--encoder", metavar="NAME", help=f"Where the model's encoder is: {ENCODER_HELP}")
@click.option("--privacy", type=(float, float, float), metavar="CLIP EPSILON DELTA",
              help="Clip what was learned and add noise: local differential privacy.")  # fmt: skip
@json_option
def join(
    model: Path,
    files: tuple[str, ...],
    keys: Path,
    make_key: bool,
    server: str | None,
    authority: Path | None,
    encoder: str | None,
    privacy: tuple[float, float, float] | None,
    as_json: bool,
) -> None:
    """Train MODEL on FILE... whenever the server asks, and send it the coded change.

    Text and vectors stay here, changes of weights leave; from these, text can in part be
    inferred (docs/concepts.md). With --privacy each round's change is clipped and blurred
    before it is coded.

    When the server is done, its model is the present state of MODEL; `rollback` undoes that.
    After a crash of either side the same command goes on.

    \b
    Examples:
      microdollar concepts join model --keys me --make-key
      microdollar concepts join model notes/ --keys me --server host:9443 --authority ca.pem
    """  # noqa: D301
    from microdollar.learn.concepts.federated.keys import make_client_key

    if make_key:
        public = make_client_key(keys)
        if as_json:
            print_json({"public_key": str(public)})
        else:
            click.echo(f"{public} is for the server's operator, as clients/NAME.pub. Then join.")
        return
    if not files or server is None or authority is None:
        raise UsageError(
            "to join, give FILE..., --server HOST:PORT and --authority ca.pem; before: --make-key."
        )
    from microdollar.learn.concepts.federated.deploy import join as take_part
    from microdollar.learn.concepts.federated.deploy import local_privacy
    from microdollar.learn.concepts.model_folder import ModelFolder

    _quieten()
    with Bar(quiet=as_json) as progress:
        folder = ModelFolder.open(model)
        learner = _learner(folder, files, encoder, progress)
        before = folder.params()
        after = take_part(
            keys, server, authority, config=folder.config, params=before, learner=learner,
            privacy=[local_privacy(*privacy)] if privacy else [], on_event=progress.note,
        )  # fmt: skip
        entry = _take_over(folder, after)
    if as_json:
        print_json({"model": str(model), "examples": learner.examples, "entry": entry})
    else:
        click.echo(f"{model} has the shared model now: journal entry {entry}")


def _quieten() -> None:
    """Of Flower's log leave warnings: a round is told by our own note."""
    logging.getLogger("flwr").addFilter(lambda record: record.levelno >= logging.WARNING)


def _line(report: "RoundReport") -> str:
    what = "new weights" if report.changed else "nothing changed"
    return (
        f"round {report.number}: {what}; {len(report.accepted)} updates, "
        f"{format_bytes(report.bytes_up)} up, {format_bytes(report.delta_bytes)} down to each"
    )


def _learner(
    model: "ModelFolder", files: tuple[str, ...], encoder: str | None, progress: Bar
) -> "LocalLearner":
    from microdollar.learn.concepts.corpus import Rules
    from microdollar.learn.concepts.federated.local import LocalLearner, LocalTraining
    from microdollar.learn.concepts.sequences import Sequences

    rules = Rules(min_sentences=2)
    articles = [article for file in files for article in articles_in(file, progress, rules=rules)]
    vectors = encoder_of(model, encoder).encode(sentences_of(articles), progress)
    data = Sequences(vectors, document_numbers(articles), model.config.context)
    return LocalLearner(model.config, data, LocalTraining())


def _take_over(model: "ModelFolder", params: "Floats") -> int:
    """Make parameters the present state; returns the journal's last entry.

    A second change is what rounding left of the first, 2**-24 of it, so that the state is exact.
    """
    import numpy as np

    from microdollar.learn.concepts.codec import encode_delta

    with model.journal(write=True) as journal:
        present = journal.restore()
        while not np.array_equal(present, params):
            delta = encode_delta(
                params - present, method="fp32", base_fingerprint=journal.head.after
            )
            journal.append(delta, present, {})
        return journal.head.index
