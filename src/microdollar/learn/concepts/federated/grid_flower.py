"""Flower in one process: a Grid that calls ClientApps directly, without Ray, sockets or disk."""

from collections.abc import Iterable, Mapping
from itertools import count

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

FAILED = 71
"""Code of an error reply: the ClientApp raised."""


class OneRunGrid(Grid):
    """What every Grid of one run has."""

    def set_run(self, run: Run) -> None:
        """There is one run."""

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """As Flower's own; deprecated there in favour of ``Message(...)``."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)


class InProcessGrid(OneRunGrid):
    """Clients of one process, one after the other, so that every run gives the same bits.

    Args:
        clients: by node id, from 2 up (1 is the server's).

    Attributes:
        contexts: of each client; what it keeps between messages.
        bytes_down: of all messages to clients, as Flower would put them on the wire.
        bytes_up: of all their replies.
    """

    def __init__(self, clients: Mapping[int, ClientApp]) -> None:
        # Flower stamps every message with the task that makes it, of which a process has one.
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, SUPERLINK_NODE_ID, 1
        self.clients = dict(sorted(clients.items()))
        self.contexts = {
            node: Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
            for node in self.clients
        }
        self.bytes_down = self.bytes_up = 0
        self._replies: dict[str, Message] = {}
        self._ids = count(1)

    @property
    def run(self) -> Run:
        """Of this process."""
        return Run.create_empty(run_id=1)

    def get_node_ids(self) -> Iterable[int]:
        """All clients."""
        return list(self.clients)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let the clients answer."""
        found = []
        for message in messages:
            node = message.metadata.dst_node_id
            self.bytes_down += wire_bytes(message)
            try:
                reply = self.clients[node](message, self.contexts[node])
            except Exception as error:  # as on a device: the server hears that it failed
                reason = f"{type(error).__name__}: {error}"
                reply = Message(Error(FAILED, reason), reply_to=message)
            self.bytes_up += wire_bytes(reply)
            found.append(str(next(self._ids)))
            self._replies[found[-1]] = reply
        return found

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Their answers, once."""
        return [self._replies.pop(name) for name in message_ids if name in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Both in one."""
        return self.pull_messages(self.push_messages(messages))


def wire_bytes(message: Message) -> int:
    """Of a message's content in Flower's serialization, without transport headers."""
    if message.has_error():
        return len(message.error.reason or "")
    return sum(len(part.deflate()) for part in get_all_nested_objects(message.content).values())
