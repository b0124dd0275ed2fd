"""Flower's apps and strategy in one process, against plain loops and Flower's own FedAvg."""

import sys

import numpy as np
import pytest

pytest.importorskip("flwr")

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

from microdollar.learn.concepts.codec import encode_delta
from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.federated.client_flower import DeltaMod, Memory, client_app
from microdollar.learn.concepts.federated.coordinator import Coordinator, RoundRules
from microdollar.learn.concepts.federated.deploy import local_privacy
from microdollar.learn.concepts.federated.grid_flower import InProcessGrid
from microdollar.learn.concepts.federated.local import LocalLearner, LocalTraining
from microdollar.learn.concepts.federated.server_flower import DeltaStrategy, run_rounds
from microdollar.learn.concepts.journal import Journal
from microdollar.learn.concepts.sequences import Sequences

CONFIG = CoreConfig(dim=12, width=8, heads=2, context=3)
START = initial(CONFIG)
FP32 = RoundRules(rule="mean", method="fp32", least_clients=1)


def learner(seed, articles=3):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((articles * 6, 12))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    numbers = np.repeat(np.arange(articles), 6)
    data = Sequences(rows.astype(np.float32), numbers, CONFIG.context)
    return LocalLearner(CONFIG, data, LocalTraining(batch=8, negatives=10, learning_rate=1e-3))


class Fixed:
    """Learns the same in every round."""

    examples = 1

    def __init__(self, step):
        self.step = step

    def train(self, params, seed):
        return params + self.step


class Failing:
    examples = 1

    def train(self, params, seed):
        raise ValueError("no battery")


def grid_of(learners, start=START, privacy=()):
    return InProcessGrid(
        {
            node: client_app(Memory(CONFIG, start), lambda context, own=own: own, privacy)
            for node, own in learners.items()
        }
    )


def run(tmp_path, grid, rules, rounds, name="journal", reports=None):
    with Journal.create(tmp_path / name, CONFIG, START) as journal:
        coordinator = Coordinator(journal, rules)
        on_round = None if reports is None else reports.append
        result = run_rounds(DeltaStrategy(coordinator, on_round=on_round), grid, rounds, 5.0)
        return coordinator, result


def devices(grid):
    memory = Memory(CONFIG, START)
    return {node: memory.load(context) for node, context in grid.contexts.items()}


def test_it_is_fedavg(tmp_path):
    learners = {2: learner(0, 2), 3: learner(1, 3), 4: learner(2, 4)}
    coordinator, _ = run(tmp_path, grid_of(learners), FP32, rounds=3)
    params = START
    for number in range(3):
        deltas = {
            node: own.train(params, 1_000_003 * number + node) - params
            for node, own in learners.items()
        }
        total = sum(own.examples for own in learners.values())
        mean = sum(own.examples / total * deltas[n].astype(float) for n, own in learners.items())
        params = params + mean.astype(np.float32)
    np.testing.assert_allclose(coordinator.params, params, rtol=0, atol=1e-7)


def test_flowers_fedavg_gives_the_same(tmp_path):
    learners = {2: learner(0, 2), 3: learner(1, 3), 4: learner(2, 4)}
    coordinator, _ = run(tmp_path, grid_of(learners), FP32, rounds=1)
    app = ClientApp()

    @app.train()
    def train(message, context):
        own = learners[context.node_id]
        (params,) = message.content.array_records["arrays"].to_numpy_ndarrays()
        learned = own.train(params, context.node_id)
        metrics = MetricRecord({"num-examples": own.examples})
        content = {"arrays": ArrayRecord([learned]), "metrics": metrics}
        return Message(RecordDict(content), reply_to=message)

    strategy = FedAvg(fraction_evaluate=0.0, min_evaluate_nodes=0)
    grid = InProcessGrid(dict.fromkeys(learners, app))
    result = strategy.start(grid, ArrayRecord([START]), num_rounds=1, timeout=5.0)
    (params,) = result.arrays.to_numpy_ndarrays()
    np.testing.assert_allclose(coordinator.params, params, rtol=0, atol=1e-6)


def test_all_end_with_the_same_bits_and_every_run_is_the_same(tmp_path):
    rules = RoundRules(rule="multi-krum", malicious=1, least_clients=5, share_up=0.1)
    found = []
    for name, order in [("a", (2, 3, 4, 5, 6)), ("b", (6, 4, 2, 5, 3))]:
        grid = grid_of({node: learner(node) for node in order})
        coordinator, _ = run(tmp_path, grid, rules, 4, name)
        found.append(coordinator.params)
        for device in devices(grid).values():
            np.testing.assert_array_equal(device.params, coordinator.params)
            assert device.version == coordinator.fingerprint
    np.testing.assert_array_equal(found[0], found[1])
    assert "ray" not in sys.modules


def test_the_bytes_are_those_of_the_messages(tmp_path):
    rules = RoundRules(rule="mean", share_up=0.1, share_down=0.05)
    grid = grid_of({node: learner(node) for node in (2, 3, 4)})
    reports = []
    _, result = run(tmp_path, grid, rules, 3, reports=reports)
    metrics = result.train_metrics_clientapp
    up = sum(int(metrics[number]["bytes-up"]) for number in (1, 2, 3))
    down = sum(int(metrics[number]["bytes-down"]) for number in (1, 2, 3))
    assert up == sum(report.bytes_up for report in reports)
    # A round brings each client the delta of the round before; the last one comes at the end.
    assert down == 3 * sum(report.delta_bytes for report in reports[:2])
    assert up < grid.bytes_up < up + 3 * 3 * 2_000
    assert down < grid.bytes_down < down + 3 * (2_000 * 4 + 2_000)


def test_a_client_that_fails_does_not_end_the_round(tmp_path):
    grid = grid_of({2: learner(2), 3: Failing(), 4: learner(4)})
    reports = []
    run(tmp_path, grid, FP32, 2, reports=reports)
    assert [len(report.accepted) for report in reports] == [2, 2]
    diverging = Fixed(np.full_like(START, np.nan))
    reports = []
    run(tmp_path, grid_of({2: learner(2), 3: diverging}), FP32, 1, "nan", reports)
    assert reports[0].accepted == ("2",)


def test_hostile_messages_are_refused_one_by_one(tmp_path, monkeypatch):
    grid = grid_of({node: learner(node) for node in range(2, 8)})
    call = DeltaMod.__call__
    other = encode_delta(START, method="fp32", base_fingerprint="0" * 64)

    def hostile(mod, message, context, call_next):
        reply = call(mod, message, context, call_next)
        records = {
            3: {"update": ConfigRecord({"data": b"\xff" * 50})},
            4: {"update": ConfigRecord({"data": other})},
            5: {},
            6: {"update": ConfigRecord({"data": "text"})},
        }
        if context.node_id in records:
            content = dict(reply.content.metric_records) | records[context.node_id]
            reply.content = RecordDict(content)
        return reply

    monkeypatch.setattr(DeltaMod, "__call__", hostile)
    reports = []
    run(tmp_path, grid, FP32, 1, reports=reports)
    assert reports[0].accepted == ("2", "7")
    assert set(reports[0].refused) == {"3", "4"}


def test_a_client_of_another_version_gets_the_whole_model(tmp_path):
    grid = grid_of({2: learner(2)}, start=START + 1)
    coordinator, _ = run(tmp_path, grid, FP32, 1)
    np.testing.assert_array_equal(devices(grid)[2].params, coordinator.params)
    assert grid.bytes_down > START.nbytes


def test_a_done_journal_needs_no_rounds(tmp_path):
    grid = grid_of({2: learner(2)})
    coordinator, _ = run(tmp_path, grid, FP32, 1)
    with Journal.open(tmp_path / "journal") as journal:
        assert run_rounds(DeltaStrategy(Coordinator(journal, FP32)), grid, 1, 5.0) is None
        assert journal.head.after == coordinator.fingerprint


def test_flowers_privacy_mod_clips_and_blurs_before_coding(tmp_path):
    step = np.zeros_like(START)
    step[0] = 100.0
    epsilon, delta, clip = 0.5, 1e-5, 1e-3
    grid = grid_of({2: Fixed(step)}, privacy=[local_privacy(clip, epsilon, delta)])
    coordinator, _ = run(tmp_path, grid, FP32, 1)
    moved = coordinator.params - START
    sigma = 2 * clip * np.sqrt(2 * np.log(1.25 / delta)) / epsilon
    assert abs(moved[1:].std() / sigma - 1) < 0.15
    assert abs(moved[0]) < clip + 6 * sigma
