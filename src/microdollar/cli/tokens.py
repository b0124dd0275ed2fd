"""``microdollar tokens``: train what chooses tokens, and compare it with what needs no training."""

import os
from importlib import import_module

import click

COMMANDS = {
    "train": (
        "microdollar.cli.tokens_train",
        "train",
        "Train a reconstructor and a policy that chooses what to keep.",
    ),
    "eval": (
        "microdollar.cli.tokens_eval",
        "evaluate",
        "What scorers lose at equal budgets, on documents never seen.",
    ),
}
"""Name of each command: its module, its attribute there, and its line in the help."""


class _Group(click.Group):
    """A group whose commands are imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of the help text, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(cls=_Group, short_help="Train what chooses tokens, and measure what is lost.")
def tokens() -> None:
    """Keep an exact part of a text's tokens, so that the rest can be read back.

    `microdollar squeeze` uses what is trained and compared here. docs/tokens.md says what it is
    and is not.
    """
    # Before numpy is imported: threads make products this small slower, many times where other
    # programs run too. PyTorch has its own setting.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
