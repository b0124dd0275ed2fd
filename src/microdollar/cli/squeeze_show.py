"""A text with what was dropped: struck through on a terminal, in brackets elsewhere."""

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from microdollar.learn.tokens.tokenizers import Tokens

STYLE = "dim strike"
"""Of what was dropped: told from the rest without colour, on light and dark grounds."""


def show_block(tokens: "Tokens", keep: "npt.NDArray[np.bool_]") -> None:
    """Print all tokens, the dropped ones marked: ``kept[-dropped-]`` where no terminal reads."""
    if not _is_terminal():
        click.echo("".join(_marked(part, kept) for part, kept in parts(tokens, keep)), nl=False)
        return
    from rich.console import Console
    from rich.text import Text

    line = Text(end="")
    for part, kept in parts(tokens, keep):
        ink = len(part) - len(part.lstrip())  # white space is not struck
        line.append(part[:ink])
        line.append(part[ink:], None if kept else STYLE)
    Console(highlight=False).print(line, soft_wrap=True, end="")


def parts(tokens: "Tokens", keep: "npt.NDArray[np.bool_]") -> list[tuple[str, bool]]:
    """The text in runs of kept and of dropped tokens, and which each is."""
    runs = sorted(
        [(*run, True) for run in tokens.runs(keep)] + [(*run, False) for run in tokens.runs(~keep)]
    )
    return [(tokens.text[start:end], kept) for start, end, kept in runs]


def _marked(part: str, kept: bool) -> str:
    """White space before what is dropped stays outside of the brackets."""
    if kept:
        return part
    ink = part.lstrip()
    return f"{part[: len(part) - len(ink)]}[-{ink}-]" if ink else part


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
