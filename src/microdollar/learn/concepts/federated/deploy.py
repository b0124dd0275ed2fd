"""A federation over the network: the server, and a client, as functions that block until done.

Both need the ``federated`` extra (Flower). The transport is Flower's, over TLS with a
certificate of the federation's own authority; clients are known by their keys (see
``microdollar.learn.concepts.federated.keys``). Nothing that either side has learned is lost
if one of them is killed: the server's history is a journal, the client's state a file.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from microdollar.errors import UsageError
from microdollar.learn.concepts.core.layout import CoreConfig, Floats
from microdollar.learn.concepts.federated.coordinator import Coordinator, RoundReport, RoundRules
from microdollar.learn.concepts.federated.flower import require_flower
from microdollar.learn.concepts.federated.keys import (
    PRIVATE,
    client_public_keys,
    load_client_key,
    server_certificate,
)
from microdollar.learn.concepts.journal import Journal

if TYPE_CHECKING:
    from flwr.clientapp.typing import Mod

DEVICE, NODE = "device.npz", "node"
"""Files of a client: what it must not lose, and its id at the server."""


class Learner(Protocol):
    """What trains on one client's data; ``.local.LocalLearner`` is one."""

    @property
    def examples(self) -> int:
        """How many there are."""

    def train(self, params: Floats, seed: int) -> Floats:
        """Parameters learned, (n_params,), from ``params``."""


def serve_federated(
    folder: Path,
    journal: Journal,
    *,
    rules: RoundRules,
    rounds: int,
    host: str = "127.0.0.1",
    listen: str | None = None,
    port: int = 0,
    seed: int = 0,
    wait_seconds: float = 3600.0,
    round_seconds: float = 600.0,
    on_ready: Callable[[int], None] = lambda port: None,
    on_round: Callable[[RoundReport], None] = lambda report: None,
) -> dict[str, int]:
    """Serve until the journal has ``rounds`` rounds; start it again to go on after a crash.

    Args:
        folder: of certificates, of clients' public keys (``clients/NAME.pub``), and of what the
            rounds leave over.
        journal: of the model, open for writing.
        rules: how updates become one.
        rounds: in all, those before a restart included.
        host: name or address under which clients reach the server; the certificate is for it.
        listen: address to listen on, ``host`` if None; ``0.0.0.0`` is all.
        port: 0 for any free one.
        seed: of the clients' training.
        wait_seconds: how long a round waits for enough clients.
        round_seconds: how long it waits for answers.
        on_ready: called with the port when clients may connect.
        on_round: called after each round.

    Returns:
        ``rounds`` in the journal; ``bytes_sent`` and ``bytes_received`` over the transport by
        this process, as Flower counts them (bodies, without TLS and HTTP headers).

    Raises:
        MissingExtraError: without Flower.
        UsageError: if no client may take part, too few come, or the port is taken.
        FederationError: if clients come but don't answer.
    """
    require_flower("serve-federated")
    from microdollar.learn.concepts.federated.link_flower import FleetServer, LinkGrid
    from microdollar.learn.concepts.federated.server_flower import DeltaStrategy, run_rounds

    keys = client_public_keys(folder)
    coordinator = Coordinator(journal, rules, folder / "rounds")
    certificate, private_key = server_certificate(folder, host)
    # A client's longest request is an update of all parameters, and some headers.
    largest = coordinator.params.nbytes + (1 << 16)
    with (
        FleetServer(keys, listen or host, port, certificate, private_key, largest) as server,
        LinkGrid(server) as grid,
    ):
        on_ready(server.port)
        strategy = DeltaStrategy(
            coordinator, seed=seed, wait_seconds=wait_seconds, on_round=on_round,
            query_seconds=min(60.0, round_seconds),
        )  # fmt: skip
        run_rounds(strategy, grid, rounds, round_seconds)
        run = grid.run
    return {
        "rounds": coordinator.rounds,
        "bytes_sent": run.bytes_sent,
        "bytes_received": run.bytes_recv,
    }


def join(
    folder: Path,
    address: str,
    authority: Path,
    *,
    config: CoreConfig,
    params: Floats,
    learner: Learner,
    privacy: "Sequence[Mod]" = (),
    wait_seconds: float = 3600.0,
    on_event: Callable[[str], None] = lambda line: None,
) -> Floats:
    """Take part until the server has done its rounds; start it again to go on after a crash.

    Args:
        folder: of the client's key (``.keys.make_client_key``) and of its state.
        address: ``host:port`` of the server.
        authority: the server's ``ca.pem``.
        config: of the model.
        params: to start from, if this client never took part; the server sends its own, whole,
            if it doesn't know these.
        learner: on the client's own data.
        privacy: Flower's mods; see ``local_privacy``.
        wait_seconds: how long a server that can't be reached is waited for.
        on_event: called with a line of text for each message.

    Returns:
        The final model, (n_params,).

    Raises:
        MissingExtraError: without Flower.
        UsageError: without a key or the authority's certificate.
        FederationError: if the server refuses the client or stays away.
        DeltaError: if the client's state is damaged.
    """
    require_flower("join")
    from microdollar.learn.concepts.federated.client_flower import FINISH, Memory, client_app
    from microdollar.learn.concepts.federated.node_flower import FleetNode, take_part

    if not authority.is_file():
        raise UsageError(f"{authority} is no file. Get the server's ca.pem.")
    key = load_client_key(folder / PRIVATE)
    memory = Memory(config, params, lambda context: folder / DEVICE)
    app = client_app(memory, lambda context: learner, privacy)
    with FleetNode(address, authority, key, folder / NODE) as node:
        take_part(
            node, app, wait_seconds=wait_seconds, is_last=lambda kind: kind == FINISH,
            on_event=on_event,
        )  # fmt: skip
    return memory.read(folder / DEVICE).params


def local_privacy(clip: float, epsilon: float, delta: float) -> "Mod":
    """Flower's mod that clips what a client learned and adds Gaussian noise to it.

    Args:
        clip: largest Euclidean norm of what was learned in a round. Two updates are at most
            twice that apart, which is the noise's sensitivity: whatever data the client has,
            an update of one round is (``epsilon``, ``delta``)-indistinguishable from one of
            any other data. Over rounds the budgets add up.
        epsilon: budget of one round; the mechanism's proof needs at most 1.
        delta: probability with which it may fail.

    Raises:
        MissingExtraError: without Flower.
        UsageError: for numbers that give no guarantee.
    """
    require_flower("differential privacy")
    from flwr.clientapp.mod import LocalDpMod

    if not (clip > 0 and 0 < epsilon <= 1 and 0 < delta < 1):
        raise UsageError(
            f"clip {clip}, epsilon {epsilon}, delta {delta} give no privacy: positive numbers, "
            "epsilon at most 1 and delta below 1 are needed."
        )
    return LocalDpMod(clip, 2 * clip, epsilon, delta)
