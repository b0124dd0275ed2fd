"""Command lines about the plans of the page."""

import shlex

from microdollar.ui.form import Picked


def command_words(picked: Picked, *command: str) -> tuple[str, ...]:
    """``microdollar COMMAND ...`` for a POSIX shell, in pieces that belong together."""
    first = ("microdollar", *command, shlex.quote(picked.argument))
    # A value that begins with a dash would be read as an option.
    return first + tuple(
        f"{flag}={shlex.quote(value)}" if value.startswith("-") else f"{flag} {shlex.quote(value)}"
        for flag, value in picked.given
    )
