"""The command line that gives the page's numbers."""

import shlex

from microdollar.ui.form import Picked


def command_line(picked: Picked) -> str:
    """``microdollar estimate ...`` for a POSIX shell."""
    words = ["microdollar", "estimate", picked.argument]
    for flag, value in picked.given:
        words += [f"{flag}={value}"] if value.startswith("-") else [flag, value]
    return shlex.join(words)
