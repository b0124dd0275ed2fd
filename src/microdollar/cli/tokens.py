"""``microdollar tokens``: train what chooses tokens, and compare it with what needs no training."""

import os

import click

from microdollar.cli.tokens_eval import evaluate
from microdollar.cli.tokens_train import train


@click.group(short_help="Train what chooses tokens, and measure what is lost.")
def tokens() -> None:
    """Keep an exact part of a text's tokens, so that the rest can be read back.

    `microdollar squeeze` uses what is trained and compared here. docs/tokens.md says what it is
    and is not.
    """
    # Before numpy is imported: threads make products this small slower, many times where other
    # programs run too. PyTorch has its own setting.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


for _command in (train, evaluate):
    tokens.add_command(_command)
