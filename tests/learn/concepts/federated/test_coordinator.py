"""Rounds, versions and restarts, without a network."""

import shutil

import numpy as np
import pytest

from microdollar.errors import DeltaError, JournalError, UsageError
from microdollar.learn.concepts.codec import decode_delta, encode_delta
from microdollar.learn.concepts.core.layout import CoreConfig, fingerprint, initial
from microdollar.learn.concepts.federated.aggregate import aggregate
from microdollar.learn.concepts.federated.coordinator import Coordinator, RoundRules, Upload
from microdollar.learn.concepts.federated.device import Device
from microdollar.learn.concepts.journal import Journal

CONFIG = CoreConfig(dim=8, width=4, heads=2, context=3)
START = initial(CONFIG)
N = CONFIG.n_params
MEAN = RoundRules(rule="mean", least_clients=1, method="int8")


def delta(seed, size=0.01):
    return (size * np.random.default_rng(seed).standard_normal(N)).astype(np.float32)


def upload(values, base, examples=1, **how):
    how = {"method": "fp32"} | how
    return Upload(data=encode_delta(values, base_fingerprint=base, **how), examples=examples)


@pytest.fixture
def journal(tmp_path):
    with Journal.create(tmp_path / "journal", CONFIG, START) as found:
        yield found


def reopened(journal, rules, folder):
    journal.close()
    fresh = Journal.open(journal.path)
    return fresh, Coordinator(fresh, rules, folder)


@pytest.mark.parametrize("rule", ["mean", "clipped-mean", "coordinate-median"])
def test_a_round_is_the_aggregate_coded(journal, rule):
    rules = RoundRules(rule=rule, method="topk-int8", share_down=0.2)
    coordinator = Coordinator(journal, rules)
    base = coordinator.fingerprint
    updates = {name: delta(i) for i, name in enumerate("abc")}
    examples = {"a": 1, "b": 2, "c": 3}
    report = coordinator.finish_round(
        {name: upload(values, base, examples[name]) for name, values in updates.items()}
    )
    together = aggregate(updates, rule, examples=examples)
    data = encode_delta(together, share=0.2, base_fingerprint=base)
    expected = START + decode_delta(data, N, base)
    np.testing.assert_array_equal(coordinator.params, expected)
    assert coordinator.fingerprint == fingerprint(expected, CONFIG)
    assert report.changed and report.number == 1 and report.accepted == ("a", "b", "c")
    assert report.delta_bytes == len(data)
    # What the code left out comes with the next round: an update of zeros brings it.
    zero = {name: upload(np.zeros(N, np.float32), coordinator.fingerprint, i + 1)
            for i, name in enumerate("abc")}  # fmt: skip
    left = together - decode_delta(data, N, base)
    zero["a"] = upload(1e-20 * delta(0), coordinator.fingerprint)
    zero["b"] = upload(1e-20 * delta(1), coordinator.fingerprint)
    before = coordinator.params
    assert coordinator.finish_round(zero).changed
    gained = coordinator.params - before
    assert np.count_nonzero(gained) == round(0.2 * N)
    largest = np.argsort(-np.abs(left))[: round(0.1 * N)]
    np.testing.assert_allclose(gained[largest], left[largest], rtol=0.02)


def test_bad_updates_are_named_and_the_others_count(journal):
    coordinator = Coordinator(journal, MEAN)
    base = coordinator.fingerprint
    good = upload(delta(0), base)
    old = upload(delta(1), fingerprint(START + 1, CONFIG))
    other = Upload(data=encode_delta(np.zeros(9, np.float32), base_fingerprint=base), examples=1)
    report = coordinator.finish_round(
        {
            "a-good": good,
            "cut": Upload(data=good.data[:-1], examples=1),
            "empty": Upload(data=b"", examples=1),
            "old": old,
            "other": other,
            "copy": good,
            "none": upload(delta(2), base, examples=0),
            "negative": upload(delta(3), base, examples=-5),
        }
    )
    assert report.accepted == ("a-good",)
    assert "bytes and says" in report.refused["cut"]
    assert "0 bytes" in report.refused["empty"]
    assert "for the model" in report.refused["old"]
    assert f"9 values for a model of {N}" in report.refused["other"]
    assert "does not count twice" in report.refused["copy"]
    assert "0 examples" in report.refused["none"]
    assert "-5 examples" in report.refused["negative"]
    expected = START + decode_delta(
        encode_delta(delta(0), method="int8", base_fingerprint=base), N, base
    )
    np.testing.assert_array_equal(coordinator.params, expected)


def test_too_few_change_nothing(journal):
    coordinator = Coordinator(journal, RoundRules(rule="mean", least_clients=2))
    report = coordinator.finish_round({"a": upload(delta(0), coordinator.fingerprint)})
    assert not report.changed and report.refused["a"] == "only 1 of 2 good updates came"
    np.testing.assert_array_equal(coordinator.params, START)
    assert coordinator.rounds == 0 and len(journal.entries) == 1


def test_a_sum_that_is_no_number_changes_nothing(journal):
    coordinator = Coordinator(journal, MEAN)
    huge = np.full(N, np.finfo(np.float32).max)
    first = coordinator.finish_round({"a": upload(huge, coordinator.fingerprint)})
    second = coordinator.finish_round({"a": upload(huge, coordinator.fingerprint)})
    assert first.changed and not second.changed
    assert "inf" in second.refused["a"] or "not be finite" in second.refused["a"]
    assert np.isfinite(coordinator.params).all() and coordinator.rounds == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rule": "krum"}, "rule 'krum'"),
        ({"method": "int4"}, "method 'int4'"),
        ({"malicious": -1}, "malicious is -1"),
        ({"least_clients": 0}, "least_clients 0"),
        ({"malicious": 4, "least_clients": 10}, "set least_clients to 11"),
        ({"rule": "trimmed-mean", "malicious": 2, "least_clients": 4}, "least_clients to 5"),
    ],
)
def test_rules_that_cannot_hold_are_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        RoundRules(**changes)


def run(coordinator, rounds, first=0):
    for number in range(first, first + rounds):
        base = coordinator.fingerprint
        coordinator.finish_round({n: upload(delta(9 * number + i), base)
                                  for i, n in enumerate("abc")})  # fmt: skip


def test_a_restarted_server_goes_on_bit_for_bit(tmp_path):
    rules = RoundRules(rule="mean", share_down=0.1)
    with Journal.create(tmp_path / "whole", CONFIG, START) as journal:
        coordinator = Coordinator(journal, rules)
        run(coordinator, 6)
        expected = coordinator.params
    journal = Journal.create(tmp_path / "journal", CONFIG, START)
    coordinator = Coordinator(journal, rules, tmp_path / "rounds")
    for number in range(6):
        run(coordinator, 1, first=number)
        journal, coordinator = reopened(journal, rules, tmp_path / "rounds")
    journal.close()
    np.testing.assert_array_equal(coordinator.params, expected)
    assert coordinator.rounds == 6
    assert len(list((tmp_path / "rounds").iterdir())) == 1


def test_killed_before_the_journal_has_the_round_it_never_was(tmp_path, monkeypatch):
    rules = RoundRules(rule="mean", share_down=0.1)
    journal = Journal.create(tmp_path / "journal", CONFIG, START)
    coordinator = Coordinator(journal, rules, tmp_path / "rounds")
    run(coordinator, 1)
    params, residual = coordinator.params.copy(), coordinator._residual.copy()
    sent = {n: upload(delta(50 + i), coordinator.fingerprint) for i, n in enumerate("abc")}

    def killed(*_):
        raise JournalError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", killed)
        with pytest.raises(JournalError, match="killed"):
            coordinator.finish_round(sent)
    np.testing.assert_array_equal(coordinator.params, params)
    journal, coordinator = reopened(journal, rules, tmp_path / "rounds")
    np.testing.assert_array_equal(coordinator.params, params)
    np.testing.assert_array_equal(coordinator._residual, residual)
    # The same updates may come again, and count once.
    assert coordinator.finish_round(sent).accepted == ("a", "b", "c")
    assert set(coordinator.finish_round(sent).refused) == {"a", "b", "c"}
    journal.close()


def test_killed_after_the_journal_has_the_round_it_counts(tmp_path, monkeypatch):
    rules = RoundRules(rule="mean", share_down=0.1)
    journal = Journal.create(tmp_path / "journal", CONFIG, START)
    coordinator = Coordinator(journal, rules, tmp_path / "rounds")
    sent = {n: upload(delta(i), coordinator.fingerprint) for i, n in enumerate("abc")}
    append = Journal.append

    def killed(self, *arguments):
        append(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            coordinator.finish_round(sent)
    journal, coordinator = reopened(journal, rules, tmp_path / "rounds")
    assert coordinator.rounds == 1 and coordinator._residual.any()
    assert all("twice" in why for why in coordinator.finish_round(sent).refused.values())
    journal.close()


def test_a_lost_or_foreign_state_file_is_refused(tmp_path):
    rules = RoundRules(rule="mean")
    journal = Journal.create(tmp_path / "journal", CONFIG, START)
    coordinator = Coordinator(journal, rules, tmp_path / "rounds")
    run(coordinator, 1)
    (path,) = (tmp_path / "rounds").iterdir()
    np.savez(path, residual=np.zeros(3, np.float32), taken=np.array([], "U64"))
    with pytest.raises(DeltaError, match=rf"shape \(3,\) for a model of {N}"):
        Coordinator(journal, rules, tmp_path / "rounds")
    shutil.rmtree(tmp_path / "rounds")
    with pytest.raises(DeltaError, match="is missing"):
        Coordinator(journal, rules, tmp_path / "rounds")
    journal.close()


def test_a_client_that_was_away_catches_up(journal):
    coordinator = Coordinator(journal, MEAN)
    device = Device.fresh(CONFIG, START)
    assert coordinator.chain_from(device.version) == []
    run(coordinator, 2)
    chain = coordinator.chain_from(device.version)
    assert len(chain) == 2
    device.catch_up(chain, b"", coordinator.fingerprint)
    np.testing.assert_array_equal(device.params, coordinator.params)
    # A version that this server never had gets the whole model.
    stranger = Device.fresh(CONFIG, START + 1)
    assert coordinator.chain_from(stranger.version) is None
    stranger.catch_up([], coordinator.params.tobytes(), coordinator.fingerprint)
    np.testing.assert_array_equal(stranger.params, coordinator.params)
    # So does one that is so far behind that the deltas are longer than that.
    run(coordinator, 8, first=2)
    assert coordinator.chain_from(fingerprint(START, CONFIG)) is None


def test_after_a_rollback_no_chain_leads_across_it(journal):
    coordinator = Coordinator(journal, MEAN)
    run(coordinator, 1)
    ahead = coordinator.fingerprint
    journal.rollback("base")
    coordinator = Coordinator(journal, MEAN)
    assert coordinator.chain_from(ahead) is None
    assert coordinator.chain_from(fingerprint(START, CONFIG)) == []
