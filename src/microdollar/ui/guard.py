"""Who may talk to the page: this machine's own browser at the page's own address, in small words.

A name that a stranger points at 127.0.0.1 (DNS rebinding) is refused by the Host header; pages of
other origins by Origin and by fetch metadata (other sites may link to the page, and nothing else:
the resource isolation policy of web.dev/articles/fetch-metadata). A body is read up to a size and
within a time.
"""

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 300_000
"""Of one request: two pasted texts."""
BODY_SECONDS = 10.0
"""How long a body may take."""
FORM = "application/x-www-form-urlencoded"
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # With no-referrer a browser would call the origin of the page's own form "null".
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Refused(Exception):  # noqa: N818
    """A request that is not answered.

    Args:
        status: of HTTP.
        message: why, and what to do.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """Middleware around the page.

    Args:
        app: the page.
        port: that it is served at.
        body_seconds: how long a body may take.
    """

    def __init__(self, app: ASGIApp, port: int, *, body_seconds: float = BODY_SECONDS) -> None:
        names = ("127.0.0.1", "localhost", "[::1]")
        self._app = app
        self._hosts = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or say why not; every answer has the headers of safety."""
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            self._check(scope["method"], Headers(scope=scope))
            body = await self._body(scope, receive)
        except Refused as refused:
            answer = PlainTextResponse(
                f"{refused}\n", refused.status, headers={"connection": "close"}
            )
            await answer(scope, receive, with_headers)
            return
        await self._app(scope, _replayed(body), with_headers)

    def _check(self, method: str, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].casefold() not in self._hosts:
            raise Refused(421, "This page is at 127.0.0.1 and answers to no other name.")
        origins = headers.getlist("origin")
        if origins and origins != [f"http://{hosts[0].casefold()}"]:
            raise Refused(403, "Pages of other origins may not ask.")
        site = headers.get("sec-fetch-site", "same-origin")
        opened = (method, headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
        if site not in ("same-origin", "none") and opened != ("GET", "navigate", "document"):
            raise Refused(403, "Pages of other origins may only link here.")
        kind = headers.get("content-type", FORM).partition(";")[0].strip().casefold()
        if method == "POST" and kind != FORM:
            raise Refused(415, f"Send {FORM}.")
        length = headers.get("content-length", "0")
        if method != "POST" and (length != "0" or "transfer-encoding" in headers):
            # Nobody would read it, and a connection would stay open for as long as it drips.
            raise Refused(400, "Only a POST has a body.")
        if not length.isascii() or not length.isdecimal() or len(length) > 18:
            raise Refused(400, "The length of the body is no number.")
        if int(length) > MOST_BODY_BYTES:
            raise Refused(413, f"More than {MOST_BODY_BYTES:,} bytes.")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if scope["method"] != "POST":
            return b""
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self._body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "The body ended early.")
                    part = message.get("body", b"")
                    size += len(part)
                    if size > MOST_BODY_BYTES:
                        raise Refused(413, f"More than {MOST_BODY_BYTES:,} bytes.")
                    parts.append(part)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError as error:
            raise Refused(408, "The body took too long.") from error


def _replayed(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
