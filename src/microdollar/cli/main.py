"""The command ``microdollar``: a table of commands, each imported only when it is run.

Standard output carries data and nothing else; progress, notes and errors go to standard
error. ``microdollar --help`` imports neither numpy nor any command.
"""

import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

import click

from microdollar.cli.errors import describe
from microdollar.errors import UnknownNameError

COMMANDS = {
    "demo": (
        "microdollar.cli.demo",
        "demo",
        "The whole story on a small corpus: predict, learn, measure, compare, report.",
    ),
    "build": ("microdollar.cli.build", "build", "Write a model's weights down from counts."),
    "score": ("microdollar.cli.score", "score", "Bits per byte that a saved model needs."),
    "sample": ("microdollar.cli.sample", "sample", "Bytes drawn from a saved model."),
    "pack": ("microdollar.cli.pack", "pack", "Pack a file without loss."),
    "unpack": ("microdollar.cli.pack", "unpack", "Give back a packed file."),
    "compare": (
        "microdollar.cli.compare",
        "compare",
        "Predicted and measured cost and held-out quality of several learners.",
    ),
    "experiments": (
        "microdollar.cli.experiments",
        "experiments",
        "Every experiment on weights from counts, at two scales.",
    ),
    "estimate": (
        "microdollar.cli.estimate",
        "estimate",
        "What learning will cost, told before.",
    ),
    "validate": (
        "microdollar.cli.validate",
        "validate",
        "How wrong the predictions are on published runs.",
    ),
    "search": (
        "microdollar.cli.search",
        "search",
        "What fits, what is cheapest, what would save.",
    ),
    "scaling": (
        "microdollar.cli.scaling",
        "scaling",
        "What a ten times larger model gives, from runs.",
    ),
    "limits": (
        "microdollar.cli.limits",
        "limits",
        "How far a device or a run is from what physics allows.",
    ),
    "probe": (
        "microdollar.cli.probe",
        "probe",
        "A few real steps of your own training, extended to the whole run.",
    ),
    "crossover": (
        "microdollar.cli.crossover",
        "crossover",
        "At which length which sequence layer is cheapest here.",
    ),
    "calibrate": ("microdollar.cli.calibrate", "calibrate", "Measure what this machine can do."),
    "concepts": (
        "microdollar.cli.concepts",
        "concepts",
        "A small model of sentence vectors that learns on the device.",
    ),
    "squeeze": (
        "microdollar.cli.squeeze",
        "squeeze",
        "Keep an exact part of a text's tokens.",
    ),
    "tokens": (
        "microdollar.cli.tokens",
        "tokens",
        "Train what chooses tokens, and measure what is lost.",
    ),
    "claims": (
        "microdollar.cli.claims",
        "claims",
        "Every number of five documents, checked.",
    ),
    "ui": (
        "microdollar.cli.ui",
        "ui",
        "Plan on a local page: memory, time, price of one plan or of two.",
    ),
    "ledger": ("microdollar.cli.ledger", "ledger", "List, show, compare and export past runs."),
    "report": ("microdollar.cli.report", "report", "One HTML page from results."),
    "doctor": (
        "microdollar.cli.doctor",
        "doctor",
        "What is installed and what works here.",
    ),
}
"""Name of each command: its module, its attribute there, and its line in the help."""


class CommandTable(click.Group):
    """A group whose commands are the entries of ``COMMANDS``, imported when asked for."""

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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but an unknown name is answered with the nearest known one.

        Raises:
            UnknownNameError: naming the nearest commands.
        """
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UnknownNameError("command", args[0], COMMANDS, "Type: microdollar --help")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of the help text, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; with ``--debug``, show where an error came from."""
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            # Exit and Abort are how click ends a command, not faults.
            if ctx.params["debug"] and not isinstance(error, click.exceptions.Exit | click.Abort):
                traceback.print_exc()
            raise


@click.group(
    name="microdollar",
    cls=CommandTable,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check failed, 4 can't be estimated.",
)
@click.option(
    "--debug", is_flag=True, envvar="MICRODOLLAR_DEBUG", help="Show a traceback with every error."
)
@click.version_option(package_name="microdollar", prog_name="microdollar")
def cli(debug: bool) -> None:
    """What does learning cost, and what is the cheapest way to get it?"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: words after ``microdollar``; those of this process if None.
    """
    if sys.stdout is None:  # it was closed before the program began
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name need not be text, and a terminal need not know every character.
        sys.stdout.reconfigure(errors="backslashreplace")
    exit_code = 0
    try:
        with _interrupts():
            result = cli.main(
                None if arguments is None else list(arguments),
                prog_name="microdollar",
                standalone_mode=False,
            )
        exit_code = result if isinstance(result, int) else 0
        # A full disk shows when the buffer is written: better here than at exit.
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        exit_code = error.exit_code
    except SystemExit as error:
        # So ends click when the reader of a pipe went away.
        exit_code = error.code if isinstance(error.code, int) else 1
    except Exception as error:
        message, exit_code = describe(error)
        if message:
            click.echo(f"error: {message}", err=True)
    _settle_stdout()
    return exit_code


@contextmanager
def _interrupts() -> Iterator[None]:
    """Whatever fails after Ctrl-C was interrupted.

    An interrupt that comes while a loop is compiled is lost in a callback of the compiler, which
    fails for want of its result a moment later.

    Raises:
        Abort: in place of such a failure.
    """
    plain = signal.default_int_handler
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not plain
    ):
        yield
        return
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        plain(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if seen and not isinstance(error, click.Abort):
            raise click.Abort from error
        raise
    finally:
        signal.signal(signal.SIGINT, plain)


def _settle_stdout() -> None:
    """Where standard output can't take what is left, the interpreter shall not try at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
