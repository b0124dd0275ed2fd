"""``microdollar ui``: a local page that prices plans as one changes them."""

import errno
import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from microdollar.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    import socket

PORT = 8642
"""Where the page is if that port is free."""
_PACKAGES = ("h11", "jinja2", "starlette", "uvicorn")


@click.command(short_help="Plan on a local page: memory, time, price of one plan or of two.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help=f"Where to serve it; 0 for any free port.  [default: {PORT}, or a free one]",
)
@click.option(
    "--open/--no-open",
    "opens",
    default=None,
    help="Open it in a browser.  [default: where there is a screen]",
)
def ui(port: int | None, opens: bool | None) -> None:
    """Serve a page that prices plans as one changes them, until Ctrl-C.

    Pick or paste a model, a device and a plan; see memory, time, energy and dollars with their
    80 % intervals; compare two plans; copy the command or the TOML. The page is served to this
    machine alone (127.0.0.1), and opens no file that it is told of. Its address is printed.

    Example: microdollar ui --port 9000
    """
    sockets = _sockets(port)
    from microdollar.ui.server import serve

    def ready(address: str) -> None:
        click.echo(address)
        sys.stdout.flush()
        click.echo("Press Ctrl-C to end it.", err=True)
        if _has_screen() if opens is None else opens:
            import threading
            import webbrowser

            # Some browsers keep who opens them waiting until they are closed.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    serve(sockets, ready)


def _sockets(port: int | None) -> "list[socket.socket]":
    if missing := [package for package in _PACKAGES if find_spec(package) is None]:
        raise MissingExtraError(", ".join(missing), "ui", "the planner page")
    from microdollar.ui.server import open_sockets

    wanted = PORT if port is None else port
    try:
        return open_sockets(wanted)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            click.echo(f"Port {wanted} is taken; another one is used.", err=True)
            return open_sockets(0)
        if error.errno == errno.EACCES:
            raise UsageError(f"port {wanted} may not be used. Give one above 1,023.") from error
        raise


def _has_screen() -> bool:
    """Whether a browser would have a window: one of the terminal would take the terminal."""
    if not sys.stdout.isatty():
        return False
    return (
        os.name == "nt"
        or sys.platform == "darwin"
        or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    )
