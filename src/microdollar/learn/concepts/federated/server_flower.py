"""The ServerApp: a Flower strategy around a ``.coordinator.Coordinator``."""

import time
from collections.abc import Callable, Iterable
from logging import WARNING

from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.common import log
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import Result, Strategy

from microdollar.errors import FederationError, UsageError
from microdollar.learn.concepts.federated.client_flower import FINISH
from microdollar.learn.concepts.federated.coordinator import (
    Coordinator,
    RoundReport,
    Upload,
    digest,
)

_LOOK_EVERY_SECONDS = 0.2
_MOST_TRIES = 3


class DeltaStrategy(Strategy):
    """Sends each client the deltas that it lacks, takes coded deltas, aggregates robustly.

    Unlike Flower's own strategies it never sends or takes whole models, but to a client whose
    version is unknown; refuses malformed updates one by one; and writes every round to a
    journal, from which a server that was killed goes on.

    Args:
        coordinator: the model and its history.
        seed: of the clients' training, with the round's number.
        wait_seconds: how long a round waits for enough clients to connect.
        query_seconds: how long it waits for clients to say which version they have.
        on_round: called with the report of each round.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        seed: int = 0,
        wait_seconds: float = 3600.0,
        query_seconds: float = 60.0,
        on_round: Callable[[RoundReport], None] | None = None,
    ) -> None:
        self.coordinator, self.seed = coordinator, seed
        self.wait_seconds, self.query_seconds = wait_seconds, query_seconds
        self.on_round = on_round
        self._versions: dict[int, tuple[str, str]] = {}
        self._bytes_down = 0

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One message a client: the deltas since its version.

        Raises:
            UsageError: if too few clients connect in time.
        """
        nodes = self._wait_for_nodes(grid)
        self._ask_versions([node for node in nodes if node not in self._versions], grid)
        self._bytes_down = 0
        return [self._sync(node, MessageType.TRAIN) for node in nodes if node in self._versions]

    def finish(self, grid: Grid) -> None:
        """Give all connected clients the final model."""
        nodes = sorted(grid.get_node_ids())
        self._ask_versions([node for node in nodes if node not in self._versions], grid)
        messages = [self._sync(node, FINISH) for node in nodes if node in self._versions]
        for reply in grid.send_and_receive(messages, timeout=self.query_seconds):
            if reply.has_error():
                log(WARNING, "client %s: %s", reply.metadata.src_node_id, reply.error.reason)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Finish the round; the metrics count its bytes and clients."""
        base = self.coordinator.fingerprint
        uploads: dict[str, Upload] = {}
        # Who doesn't answer is asked for its version in the next round.
        self._versions = {}
        for reply in replies:
            node = reply.metadata.src_node_id
            upload = _upload(reply)
            if upload is None:
                reason = reply.error.reason if reply.has_error() else "no update in it"
                log(WARNING, "client %s: %s", node, reason)
            else:
                uploads[str(node)] = upload
                self._versions[node] = (base, digest(upload.data))
        report = self.coordinator.finish_round(uploads)
        for name, reason in report.refused.items():
            log(WARNING, "client %s: %s", name, reason)
        if self.on_round is not None:
            self.on_round(report)
        metrics = MetricRecord(
            {
                "round": report.number,
                "changed": int(report.changed),
                "clients": len(report.accepted),
                "refused": len(report.refused),
                "bytes-up": report.bytes_up,
                "bytes-down": self._bytes_down,
            }
        )
        return ArrayRecord([self.coordinator.params]), metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: the model is evaluated where the held-back articles are."""
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Nothing."""
        return None

    def summary(self) -> None:
        """Flower's log has the rounds; the journal has the rest."""

    def _wait_for_nodes(self, grid: Grid) -> list[int]:
        least = self.coordinator.rules.least_clients
        end = time.monotonic() + self.wait_seconds
        while len(nodes := sorted(grid.get_node_ids())) < least:
            if time.monotonic() >= end:
                raise UsageError(
                    f"{len(nodes)} clients are connected, {least} are needed. Start more, or set "
                    "least_clients lower."
                )
            time.sleep(_LOOK_EVERY_SECONDS)
        return nodes

    def _ask_versions(self, nodes: list[int], grid: Grid) -> None:
        if not nodes:
            return
        asked = [Message(RecordDict(), node, MessageType.QUERY) for node in nodes]
        for reply in grid.send_and_receive(asked, timeout=self.query_seconds):
            node = reply.metadata.src_node_id
            if reply.has_error():
                log(WARNING, "client %s: %s", node, reply.error.reason)
                continue
            known = reply.content.config_records.get("device", ConfigRecord())
            self._versions[node] = (str(known.get("version", "")), str(known.get("pending", "")))

    def _sync(self, node: int, kind: str) -> Message:
        coordinator = self.coordinator
        version, pending = self._versions[node]
        chain = coordinator.chain_from(version)
        whole = b"" if chain is not None else coordinator.params.astype("<f4").tobytes()
        sync = ConfigRecord(
            {
                "version": coordinator.fingerprint,
                "chain": chain or [],
                "whole": whole,
                "taken": bool(pending) and coordinator.was_taken(pending),
                "method": coordinator.rules.method,
                "share": coordinator.rules.share_up,
                "seed": self.seed + 1_000_003 * coordinator.rounds,
            }
        )
        self._bytes_down += len(whole) + sum(map(len, chain or []))
        return Message(
            RecordDict({"sync": sync}),
            node,
            kind,
            group_id=str(coordinator.rounds + 1),
        )


def run_rounds(
    strategy: DeltaStrategy, grid: Grid, rounds: int, round_seconds: float
) -> Result | None:
    """Go on until the journal has ``rounds`` rounds, and give the clients the final model.

    Returns:
        Flower's result; None if the journal had them already.

    Raises:
        UsageError: if too few clients connect.
        FederationError: if rounds stay without enough answers, three times over.
    """
    result, tries = None, 0
    while (left := rounds - strategy.coordinator.rounds) > 0:
        if tries == _MOST_TRIES:
            raise FederationError(
                f"{left} of {rounds} rounds are still to be done: too few clients answer in "
                f"{round_seconds:g} s. Give them longer, or set least_clients lower."
            )
        arrays = ArrayRecord([strategy.coordinator.params])
        result = strategy.start(grid, arrays, num_rounds=left, timeout=round_seconds)
        tries += 1
    strategy.finish(grid)
    return result


def server_app(strategy: DeltaStrategy, rounds: int, round_seconds: float = 3600.0) -> ServerApp:
    """A server that runs until the journal has ``rounds`` rounds.

    Args:
        strategy: with the model.
        rounds: in all, those before a restart included.
        round_seconds: how long a round waits for answers.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        run_rounds(strategy, grid, rounds, round_seconds)

    return app


def _upload(reply: Message) -> Upload | None:
    if reply.has_error():
        return None
    data = reply.content.config_records.get("update", ConfigRecord()).get("data")
    examples = reply.content.metric_records.get("metrics", MetricRecord()).get("num-examples")
    if not isinstance(data, bytes) or not isinstance(examples, int):
        return None
    return Upload(data=data, examples=examples)
