"""The client's end of Flower's transport: fetch a message, answer it, and outlast what fails.

Unlike Flower's SuperNode it runs the ClientApp of this package in its own process: no code
comes from the server. A server that is away for a while is waited for; one that was restarted
knows the client by its key and gets it back at once.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.constant import HEARTBEAT_MIN_INTERVAL
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from microdollar.errors import FederationError

FAILED = 71
"""Code of an error reply: the ClientApp raised."""
_LOOK_EVERY_SECONDS = 0.3


class FleetNode:
    """One client of a server; a context manager.

    Args:
        address: ``host:port`` of the server.
        authority: path of the certificate that the server's is checked against, PEM.
        key: private key of the client.
        memory: file that remembers under which id the server knows this client.

    Raises:
        FederationError: if the server refuses the key, or its certificate is not the
            authority's.
    """

    def __init__(
        self, address: str, authority: Path, key: ec.EllipticCurvePrivateKey, memory: Path
    ) -> None:
        self.address = address
        self._public = public_key_to_bytes(key.public_key())
        self._memory = memory
        self._client = FleetHttpClient.from_server_address(
            address, False, authority.read_bytes(),
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                NodeAuthHttpInterceptor(key, key.public_key()),
            ],
        )  # fmt: skip
        self._node = Node(node_id=0)
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "FleetNode":
        """Start to tell the server that the client is there, once connected."""
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Say good-bye, if the server listens."""
        self._stop.set()
        self._heart.join()
        if self._node.node_id:
            with suppress(httpx.HTTPError, RuntimeError):
                self._client.DeactivateNode(DeactivateNodeRequest(node_id=self._node.node_id))
        self._client.close()

    def connect(self) -> None:
        """Be known to the server.

        Raises:
            httpx.TransportError: if it can't be reached.
            FederationError: if it refuses.
        """
        request = ActivateNodeRequest(
            public_key=self._public, heartbeat_interval=HEARTBEAT_MIN_INTERVAL
        )
        try:
            self._node = Node(node_id=self._client.ActivateNode(request).node_id)
        except httpx.HTTPStatusError as error:
            # Killed and restarted within seconds, this client still counts as connected.
            last = int(self._memory.read_text()) if self._memory.exists() else 0
            self._node = Node(node_id=last)
            if not last or not self._says_it_lives():
                raise FederationError(
                    f"{self.address} refuses this client ({_reason(error)}). Give the operator "
                    "its public key, and start only one client with it."
                ) from error
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise FederationError(
                    f"{self.address} has a certificate that the authority at hand did not sign "
                    f"({str(error)[:120]}). Get the server's ca.pem."
                ) from error
            raise
        self._memory.write_text(str(self._node.node_id))

    def serve_once(self, app: ClientApp, context: Context) -> str | None:
        """Answer one message, if there is one.

        Returns:
            Its type; None if there was none.

        Raises:
            httpx.HTTPError: if the server can't be reached or refuses.
        """
        pulled = self._client.PullMessages(PullMessagesRequest(node=self._node))
        if not pulled.messages_list:
            return None
        head = message_from_proto(pulled.messages_list[0])
        run, name = head.metadata.run_id, head.metadata.message_id
        message = self._content(run, name, pulled.message_object_trees[0])
        self._client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=self._node, run_id=run, message_object_id=name)
        )
        context.run_id, context.node_id = run, self._node.node_id
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run, context.node_id, 1
        started = time.monotonic()
        try:
            reply = app(message, context)
        except Exception as error:  # the server hears of it, the client stays
            reply = Message(Error(FAILED, f"{type(error).__name__}: {error}"), reply_to=message)
        self._push(run, reply, time.monotonic() - started)
        found: str = head.metadata.message_type
        return found

    def _content(self, run: int, name: str, tree: ObjectTree) -> Message:
        parts = {}
        for part in iterate_object_tree(tree):
            request = PullObjectRequest(node=self._node, run_id=run, object_id=part.object_id)
            parts[part.object_id] = self._client.PullObject(request).object_content
        message = inflate_object_from_contents(name, parts)
        assert isinstance(message, Message)
        message.metadata.__dict__["_message_id"] = name
        return message

    def _push(self, run: int, reply: Message, seconds: float) -> None:
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            parts = get_all_nested_objects(reply)
            answer = self._client.PushMessages(
                PushMessagesRequest(
                    node=self._node,
                    messages_list=[message_to_proto(remove_content_from_message(reply))],
                    message_object_trees=[get_object_tree(reply)],
                    clientapp_runtime_list=[seconds],
                )
            )
            for part in answer.objects_to_push:
                self._client.PushObject(
                    PushObjectRequest(
                        node=self._node, run_id=run, object_id=part,
                        object_content=parts[part].deflate(), session_id=answer.session_id,
                    )
                )  # fmt: skip

    def _says_it_lives(self) -> bool:
        request = SendNodeHeartbeatRequest(
            node=self._node, heartbeat_interval=HEARTBEAT_MIN_INTERVAL
        )
        try:
            return bool(self._client.SendNodeHeartbeat(request).success)
        except (httpx.HTTPError, RuntimeError):
            return False

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_MIN_INTERVAL / 2):
            if self._node.node_id:
                self._says_it_lives()


def take_part(
    node: FleetNode,
    app: ClientApp,
    *,
    wait_seconds: float,
    is_last: Callable[[str], bool],
    on_event: Callable[[str], None],
) -> None:
    """Answer the server's messages until its last one.

    Args:
        node: not yet connected.
        app: what answers.
        wait_seconds: how long a server that can't be reached is waited for.
        is_last: whether a message of this type ends it.
        on_event: called with a line of text for each message and each time that the server is
            lost or found.

    Raises:
        FederationError: if the server refuses the client, or stays away too long.
    """
    context = Context(run_id=0, node_id=0, node_config={}, state=RecordDict(), run_config={})
    connected, seen = False, time.monotonic()
    while True:
        try:
            if not connected:
                node.connect()
                connected = True
                on_event(f"connected to {node.address}")
            kind = node.serve_once(app, context)
            seen = time.monotonic()
        except (httpx.HTTPError, RuntimeError) as error:
            if connected:
                on_event(f"lost {node.address} ({_reason(error)})")
            connected, kind = False, None
            if time.monotonic() - seen > wait_seconds:
                raise FederationError(
                    f"{node.address} could not be reached for {wait_seconds:g} s "
                    f"({_reason(error)}). Join again later: nothing that was learned is lost."
                ) from error
        if kind is None:
            time.sleep(_LOOK_EVERY_SECONDS)
            continue
        on_event(f"answered {kind}")
        if is_last(kind):
            return


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.response.status_code}: {error.response.text[:120]}"
    return f"{type(error).__name__}: {str(error)[:120]}"
