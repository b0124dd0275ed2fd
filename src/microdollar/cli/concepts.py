"""``microdollar concepts``: a small model of sentence vectors that learns on the device."""

import os

import click

from microdollar.cli.concepts_eval import evaluate
from microdollar.cli.concepts_federated import join, serve_federated
from microdollar.cli.concepts_rollback import rollback
from microdollar.cli.concepts_stream import stream
from microdollar.cli.concepts_train import train


@click.group(short_help="A small model of sentence vectors that learns on the device.")
def concepts() -> None:
    """Predict the next sentence as a vector, learn while running, undo, and share without text.

    A model is a folder: the parameters and the history of their changes, the concepts with
    their texts, and which encoder made them. docs/concepts.md says what it is and is not.
    """
    # Before numpy is imported: threads make products this small slower, many times where other
    # programs run too. PyTorch, which encodes, has its own setting.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


for _command in (train, evaluate, stream, rollback, serve_federated, join):
    concepts.add_command(_command)
