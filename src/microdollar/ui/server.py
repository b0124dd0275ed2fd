"""Serving the page to this machine, and to it alone."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from microdollar.ui.app import create_app

HEAD_SECONDS = 10.0
"""How long a connection may take to send the head of a request."""
MOST_CONNECTIONS = 64


class Patient(H11Protocol):
    """HTTP/1.1 that hangs up on a client whose request never comes whole."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Wait no longer once a request's head is whole; wait for that of a next one."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def open_sockets(port: int) -> list[socket.socket]:
    """Listening sockets at 127.0.0.1 and, where there is one, ::1, both with the same port.

    Args:
        port: 0 for any that is free.

    Raises:
        OSError: if the port is taken or may not be used.
    """
    first = _listening(socket.AF_INET, "127.0.0.1", port)
    found = [first]
    with suppress(OSError):
        found.append(_listening(socket.AF_INET6, "::1", first.getsockname()[1]))
    return found


def _listening(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    # Only where the protocol is named does asyncio send small parts of an answer at once; else each
    # answer waits 40 ms for an acknowledgement.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let others take the port
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((address, port))
        found.listen(MOST_CONNECTIONS)
    except BaseException:
        found.close()
        raise
    return found


def configuration(port: int) -> uvicorn.Config:
    """How the page is served: quietly, over plain HTTP/1.1, to few at once.

    Raises:
        MissingExtraError: if jinja2 is not installed.
    """
    return uvicorn.Config(
        create_app(port),
        http=Patient,
        ws="none",
        lifespan="off",
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )


def serve(sockets: list[socket.socket], ready: Callable[[str], None]) -> None:
    """Serve the page until interrupted; returns then.

    Args:
        sockets: of ``open_sockets``.
        ready: told the page's address once it answers.

    Raises:
        MissingExtraError: if jinja2 is not installed.
    """
    port = sockets[0].getsockname()[1]
    server = uvicorn.Server(configuration(port))
    # A request that is cut off by the end is no fault.
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)

    async def run() -> None:
        task = asyncio.ensure_future(server.serve(sockets=sockets))
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        if server.started:
            ready(f"http://127.0.0.1:{port}/")
        await task

    with suppress(KeyboardInterrupt):
        asyncio.run(run())
