"""The ClientApp: ordinary local training inside, coded deltas outside.

The inner function is what any Flower ClientApp has: parameters in, parameters out, as an
ArrayRecord. Around it lies ``DeltaMod``, which turns the server's message into parameters
and the parameters learned into a coded delta. Flower's privacy mods go between the two
(``privacy``), so they clip and blur what was learned before it is coded, and coding is only
post-processing of that.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable, Mod

from microdollar.errors import MicrodollarError
from microdollar.learn.concepts.core.layout import CoreConfig, Floats
from microdollar.learn.concepts.federated.device import Device

REFUSED = 70
"""Code of an error reply: the client could not use the server's message."""
FINISH = f"{MessageType.QUERY}.finish"
"""Type of a server's last message, which brings the final model."""
STATE = "microdollar.device"
"""Record of a context that holds a client's state between messages."""


class Learner(Protocol):
    """What trains on one client's data."""

    @property
    def examples(self) -> int:
        """How many there are."""

    def train(self, params: Floats, seed: int) -> Floats:
        """Parameters learned, (n_params,), from ``params``."""


class Memory:
    """Where a client's state lies between messages: the context, or a file that outlasts it.

    Args:
        config: of the model.
        params: what a client that never took part starts from, (n_params,).
        path: of the file of a client; None for clients that are never killed (simulation).
    """

    def __init__(
        self,
        config: CoreConfig,
        params: Floats,
        path: Callable[[Context], Path | None] = lambda context: None,
    ) -> None:
        self.config, self.params, self.path = config, params, path

    def load(self, context: Context) -> Device:
        """The state of the context's client.

        Raises:
            DeltaError: if it is damaged or another model's.
        """
        path = self.path(context)
        if path is not None:
            return self.read(path)
        if STATE in context.state:
            data = context.state.config_records[STATE]["state"]
            assert isinstance(data, bytes)
            return Device.from_bytes(self.config, data)
        return Device.fresh(self.config, self.params)

    def read(self, path: Path) -> Device:
        """The state in a file; a fresh one if there is none.

        Raises:
            DeltaError: if it is damaged or another model's.
        """
        return Device.load(path, self.config, self.params)

    def save(self, context: Context, device: Device) -> None:
        """Keep it, in the file before anything is sent."""
        path = self.path(context)
        if path is not None:
            device.save(path)
        else:
            context.state[STATE] = ConfigRecord({"state": device.to_bytes()})

    def catch_up(self, context: Context, sync: ConfigRecord) -> Device:
        """Bring the context's client to the version that the server sent, and keep it.

        Raises:
            KeyError: if something is missing in the message.
            DeltaError: if it doesn't lead to that version, or the state is damaged.
        """
        device = self.load(context)
        device.settle(bool(sync["taken"]))
        device.catch_up(_list(sync["chain"]), _bytes(sync["whole"]), str(sync["version"]))
        self.save(context, device)
        return device


class DeltaMod:
    """Between Flower's transport and a ClientApp's train function: coded deltas both ways."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Bring the client to the server's version, train, and code what was learned."""
        try:
            sync = message.content.config_records["sync"]
            device = self.memory.catch_up(context, sync)
            message.content = RecordDict(
                {"arrays": ArrayRecord([device.params]), "config": ConfigRecord(dict(sync))}
            )
            reply = call_next(message, context)
            if reply.has_error():
                return reply
            (learned,) = reply.content.array_records["arrays"].to_numpy_ndarrays()
            data = device.update(learned, str(sync["method"]), float(str(sync["share"])))
            self.memory.save(context, device)
        except (KeyError, MicrodollarError) as error:
            # A broken client must not end the server's round.
            return Message(Error(REFUSED, f"{type(error).__name__}: {error}"), reply_to=message)
        reply.content = RecordDict(
            {"update": ConfigRecord({"data": data}), **reply.content.metric_records}
        )
        return reply


def client_app(
    memory: Memory, learner: Callable[[Context], Learner], privacy: Sequence[Mod] = ()
) -> ClientApp:
    """A client.

    Args:
        memory: of its state.
        learner: what trains, for the client of a context.
        privacy: Flower's mods, e.g. ``flwr.clientapp.mod.LocalDpMod``; they see and change the
            parameters before and after local training.
    """
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        try:
            device = memory.load(context)
        except MicrodollarError as error:
            return Message(Error(REFUSED, f"{type(error).__name__}: {error}"), reply_to=message)
        known = ConfigRecord({"version": device.version, "pending": device.pending_digest})
        return Message(RecordDict({"device": known}), reply_to=message)

    @app.query("finish")
    def finish(message: Message, context: Context) -> Message:
        try:
            memory.catch_up(context, message.content.config_records["sync"])
        except (KeyError, MicrodollarError) as error:
            return Message(Error(REFUSED, f"{type(error).__name__}: {error}"), reply_to=message)
        return Message(RecordDict(), reply_to=message)

    @app.train(mods=[DeltaMod(memory), *privacy])
    def train(message: Message, context: Context) -> Message:
        (params,) = message.content.array_records["arrays"].to_numpy_ndarrays()
        seed = int(str(message.content.config_records["config"]["seed"]))
        own = learner(context)
        learned = own.train(params, seed + context.node_id % 2**32)
        metrics = MetricRecord({"num-examples": own.examples})
        content = RecordDict({"arrays": ArrayRecord([learned]), "metrics": metrics})
        return Message(content, reply_to=message)

    return app


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def _list(value: object) -> list[bytes]:
    assert isinstance(value, list)
    return [_bytes(item) for item in value]
