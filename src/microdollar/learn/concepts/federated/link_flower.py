"""The server's end of Flower's transport: its Fleet API over TLS, and a Grid behind it.

Flower's own SuperLink serves three APIs on one port: that of the clients (Fleet), that of its
operators (Control) and that of its worker processes (Runtime). Without Flower's commercial
edition the Control API asks nobody who they are: whoever reaches the port may register a
client key of their own, or start a run with code of their own. So this server lets through
the Fleet API only, registers the clients' keys itself, and runs the ServerApp in its own
process, without shipping code to anyone.
"""

import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from flwr.app import Message, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.common.constant import (
    HEARTBEAT_DEFAULT_INTERVAL,
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    SUPERLINK_NODE_ID,
)
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import NoObjectInStoreError
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.main import create_app

from microdollar.errors import UsageError
from microdollar.learn.concepts.federated.grid_flower import OneRunGrid

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_PULL_EVERY_SECONDS = 0.1
_FLEET = "/v1/fleet/"


class FleetOnly:
    """Refuses everything but the clients' API, and messages that are too long.

    Args:
        app: an ASGI application.
        largest_bytes: of a request's body.
    """

    def __init__(self, app: Application, largest_bytes: int) -> None:
        self.app, self.largest_bytes = app, largest_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 404 or 413."""
        if scope["type"] == "http":
            status = self._refusal(scope)
            if status:
                await send({"type": "http.response.start", "status": status, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> int:
        if not scope["path"].startswith(_FLEET):
            return 404
        # Without a length the body could be endless; Flower's clients always state it.
        length = dict(scope["headers"]).get(b"content-length", b"")
        return 0 if length.isdigit() and int(length) <= self.largest_bytes else 413


class FleetServer:
    """Flower's Fleet API in a thread; a context manager.

    Args:
        keys: public keys that may take part, PEM, by client.
        host: address to listen on.
        port: 0 for any free one.
        certificate: path, PEM.
        private_key: path, PEM.
        largest_bytes: of a request.

    Attributes:
        port: that it listens on.
        state: Flower's LinkState.

    Raises:
        UsageError: if it can't listen there.
    """

    def __init__(
        self,
        keys: Mapping[str, bytes],
        host: str,
        port: int,
        certificate: Path,
        private_key: Path,
        largest_bytes: int,
    ) -> None:
        app = create_app()
        app.state.enable_supernode_auth = True
        self.state = app.state.linkstate_factory.state()
        for key in keys.values():
            self.state.create_node(
                NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, HEARTBEAT_DEFAULT_INTERVAL
            )
        try:
            self._socket = socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
            )
        except OSError as error:
            raise UsageError(
                f"can't listen on {host}, port {port} ({error.strerror}). Choose another."
            ) from error
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                FleetOnly(app, largest_bytes), ssl_certfile=str(certificate),
                ssl_keyfile=str(private_key), access_log=False, ws="none", log_level="warning",
            )
        )  # fmt: skip
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self) -> "FleetServer":
        """Start, and wait until it listens."""
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                self._socket.close()
                raise UsageError("Flower's Fleet API did not start; its log says why.")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class LinkGrid(OneRunGrid):
    """Messages of this process to the clients of a ``FleetServer``; a context manager.

    Flower ends a run whose process doesn't say now and then that it lives: a thread does.

    Args:
        server: that the clients are connected to.
    """

    def __init__(self, server: FleetServer) -> None:
        self.state = server.state
        run_id = self.state.create_run(
            None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        self._run: Run = self.state.get_run_info(run_ids=[run_id])[0]
        task_id = self._run.primary_task_id
        self.state.claim_task(task_id)
        self.state.activate_task(task_id)
        TaskIdentity.run_id, TaskIdentity.node_id = run_id, SUPERLINK_NODE_ID
        TaskIdentity.task_id = task_id
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "LinkGrid":
        """Keep the run alive."""
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let it end."""
        self._stop.set()
        self._heart.join()

    @property
    def run(self) -> Run:
        """As it is now; Flower counts its traffic in it."""
        found: Run = self.state.get_run_info(run_ids=[self._run.run_id])[0]
        return found

    def get_node_ids(self) -> Iterable[int]:
        """Clients that are connected."""
        return sorted(self.state.get_nodes(self._run.run_id))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Put them where the clients fetch them; ids of those that were taken."""
        return [name for message in messages if (name := self._push(message))]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are there, each once."""
        replies = self.state.get_message_res(set(message_ids), self._run.run_id)
        found = [self._inflated(reply) for reply in replies]
        self._forget(found)
        return found

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send and wait until all have answered or ``timeout`` seconds are over."""
        waiting = set(self.push_messages(messages))
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        found: list[Message] = []
        halfway: list[Message] = []
        while waiting and time.monotonic() < end:
            # A copy, since Flower takes out of the set what is there.
            halfway += self.state.get_message_res(set(waiting), self._run.run_id)
            complete = [self._is_whole(reply) for reply in halfway]
            whole = [reply for reply, done in zip(halfway, complete, strict=True) if done]
            halfway = [reply for reply, done in zip(halfway, complete, strict=True) if not done]
            found += [self._inflated(reply) for reply in whole]
            waiting -= {reply.metadata.reply_to_message_id for reply in whole}
            self._forget(whole)
            if waiting:
                time.sleep(_PULL_EVERY_SECONDS)
        # Who was too late: what they were asked, and what they may still answer, is dropped.
        self.state.delete_messages(message_ins_ids=waiting)
        for name in waiting:
            self.state.object_store.delete(name)
        return found

    def _push(self, message: Message) -> str:
        with no_object_id_recompute():
            name: str = message.object_id
            message.metadata.__dict__["_message_id"] = name
            tree, parts = get_object_tree(message), get_all_nested_objects(message)
            session = self.state.start_session(self._run.run_id)
            bare = remove_content_from_message(message)
            stored, missing = self.state.store_message_and_object_tree(bare, tree, session)
            for part in missing if stored else ():
                self.state.store_object(self._run.run_id, session, part, parts[part].deflate())
        return name if stored else ""

    def _is_whole(self, reply: Message) -> bool:
        """Whether all parts of it have come; an error is made here and has none."""
        return reply.has_error() or self._parts(reply) is not None

    def _parts(self, reply: Message) -> dict[str, bytes] | None:
        store = self.state.object_store
        try:
            tree = store.get_object_tree(reply.metadata.message_id)
        except NoObjectInStoreError:
            return None
        parts = {part.object_id: store.get(part.object_id) for part in iterate_object_tree(tree)}
        return parts if all(parts.values()) else None

    def _inflated(self, reply: Message) -> Message:
        """With its content, but the metadata that Flower has checked, not what it says itself."""
        parts = self._parts(reply)
        if reply.has_error() or parts is None:
            return reply
        try:
            inflated = inflate_object_from_contents(reply.metadata.message_id, parts)
            assert isinstance(inflated, Message)
            if inflated.has_error():
                return make_message(metadata=reply.metadata, error=inflated.error)
            return make_message(metadata=reply.metadata, content=inflated.content)
        except Exception:  # whatever a hostile client may have put there
            return make_message(metadata=reply.metadata, content=RecordDict())

    def _forget(self, replies: list[Message]) -> None:
        names = {reply.metadata.reply_to_message_id for reply in replies}
        self.state.delete_messages(message_ins_ids=names)
        for reply in replies:
            self.state.object_store.delete(reply.metadata.message_id)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_DEFAULT_INTERVAL / 2):
            self.state.acknowledge_task_heartbeat(self._run.primary_task_id)
