"""Parameter types and options that several commands share."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from microdollar.errors import UsageError
from microdollar.units import parse_bytes, parse_count

Command = TypeVar("Command", bound=Callable[..., Any])

SCHEMA_VERSION = 1
"""Of every object that ``--json`` prints; grows when a key changes its meaning or goes away."""

CORPUS_HELP = "A file, a folder, - (standard input), enwik8 or python-docs."


class _Number(click.ParamType):  # type: ignore[type-arg]
    """A whole number that may be written 1000000, 1_000_000, 1M or 1e6."""

    def __init__(self, name: str, parse: Callable[[str], int], least: int) -> None:
        self.name = name
        self._parse = parse
        self._least = least

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Parse text; numbers pass through.

        Raises:
            click.BadParameter: if it is not such a number or too small.
        """
        try:
            number = value if isinstance(value, int) else self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)
        if number < self._least:
            self.fail(f"{value} is less than {self._least}.", param, ctx)
        return number


COUNT = _Number("count", parse_count, 1)
"""A count of at least 1."""
BYTES = _Number("bytes", parse_bytes, 1)
"""A number of bytes, at least 1; ``1M`` and ``1MB`` are 10**6, ``1MiB`` is 2**20."""
OFFSET = _Number("byte", parse_bytes, 0)
"""A position in a text, from 0."""


class _Corpus(click.ParamType):  # type: ignore[type-arg]
    name = "corpus"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """The name as typed; whether it exists is found out when it is read."""
        if not value:
            self.fail(f"an empty name. {CORPUS_HELP}", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The built-in names, then files and folders."""
        names = [name for name in ("enwik8", "python-docs") if name.startswith(incomplete)]
        return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


CORPUS = _Corpus()
"""Anything that ``microdollar.learn.corpus.load_corpus`` reads."""


class _PathName(click.Path):
    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """As ``click.Path``, but an empty name is not the folder that one is in."""
        if value == "":
            self.fail("an empty name.", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = _PathName(path_type=Path)
"""A folder; whether it exists or can be made is the command's business."""
FILE = _PathName(path_type=Path, dir_okay=False, allow_dash=True)
"""A file that may be there or not, but no folder."""


class _Seconds(click.ParamType):  # type: ignore[type-arg]
    name = "seconds"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """A positive, finite number."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            self.fail(f"{value!r} is not a number of seconds above 0.", param, ctx)
        return seconds


SECONDS = _Seconds()
"""A duration above zero."""


def json_option(command: Command) -> Command:
    """Add ``--json``, passed on as ``as_json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object instead of words."
    )(command)


def print_json(data: Mapping[str, Any]) -> None:
    """One object with its ``schema_version`` on standard output; NaN and infinity are errors."""
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **data}, indent=2, allow_nan=False))
