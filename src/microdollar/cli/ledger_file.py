"""Which ledger a command reads or writes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from microdollar.cli.options import FOLDER

if TYPE_CHECKING:
    from microdollar.ledger import Ledger

Command = TypeVar("Command", bound=Callable[..., Any])


def ledger_option(command: Command) -> Command:
    """Add ``--ledger``, passed on as ``path``."""
    return click.option(
        "--ledger",
        "path",
        type=FOLDER,
        metavar="FILE",
        help="The ledger; otherwise ledger.db in MICRODOLLAR_HOME or the application folder.",
    )(command)


def open_ledger(path: Path | None) -> "Ledger":
    """The ledger named after the subcommand, else before it, else the default one."""
    from microdollar.ledger import Ledger

    return Ledger(path if path is not None else click.get_current_context().obj)
