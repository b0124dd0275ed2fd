"""Learning from a stream: what it sees, what it lets in, and that a kill changes nothing."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from microdollar.errors import JournalError, UsageError
from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.concepts.journal import Journal
from microdollar.learn.concepts.replay import ReplayConfig
from microdollar.learn.concepts.stream import StreamConfig, StreamLearner

MODEL = CoreConfig(dim=12, width=8, heads=2, context=3, gain=1.0)
CONFIG = StreamConfig(
    every=8, steps=4, lr=0.01, tau=0.1, method="fp32", evidence=64,
    replay=ReplayConfig(concepts=128, reservoir=16),
)  # fmt: skip
DOCUMENT = 20
"""Concepts of a document of the generated streams."""


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def noise(count, seed=0):
    """Concepts that nothing can be learned from."""
    return unit(np.random.default_rng(seed).standard_normal((count, MODEL.dim)))


def turning(count, seed=0):
    """Each concept is the one before it, turned: to be learned by weights."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(np.random.default_rng(99).standard_normal((MODEL.dim, MODEL.dim)))
    rows = unit(rng.standard_normal((count, MODEL.dim)))
    for i in range(1, count):
        if i % DOCUMENT:
            rows[i] = unit(turn @ rows[i - 1] + 0.1 * rng.standard_normal(MODEL.dim))
    return rows


def recurring(count, seed=0):
    """A few habits in any order: what follows a concept is the same each time."""
    rng = np.random.default_rng(seed)
    habits = unit(rng.standard_normal((12, 2, MODEL.dim)))
    rows = habits[rng.integers(12, size=count // 2 + 1)].reshape(-1, MODEL.dim)[:count]
    return unit(rows + 0.05 * rng.standard_normal(rows.shape))


def make_core(params=None):
    return Core(MODEL, params, batch=16, negatives=32)


@pytest.fixture
def learner(tmp_path):
    """Makes learners of one journal and one state in a folder; closes the journals."""
    opened = []

    def make(config=CONFIG, name="a", **more):
        path = tmp_path / f"{name}.journal"
        if opened and opened[-1].path == path:
            opened[-1].close()
        if path.exists():
            journal = Journal.open(path)
        else:
            journal = Journal.create(path, MODEL, initial(MODEL), encoder="e" * 64)
        opened.append(journal)
        return StreamLearner(make_core(), journal, tmp_path / f"{name}.state", config, **more)

    yield make
    for journal in opened:
        journal.close()


def feed(learner, rows, until=None):
    """Give a stream from where the learner stands."""
    seen = []
    for position in range(learner.position, len(rows) if until is None else until):
        if position % DOCUMENT == 0:
            learner.begin_document()
        seen.append(learner.observe(rows[position]))
    return seen


def content(learner):
    """All that a learner knows, as bytes."""
    arrays = [*learner.replay.arrays, learner._ranks, learner.core.params]
    return [array.tobytes() for array in arrays], learner.strength, learner.position


def mrr(seen, name="reciprocal_rank", start=0):
    return np.mean([getattr(o, name) for o in seen[start:] if getattr(o, name) is not None])


class TestPrediction:
    def test_ranks_against_counting_by_hand(self, learner):
        rows, reference = noise(90), make_core()
        seen = feed(learner(replace(CONFIG, every=0)), rows)
        for position, observation in enumerate(seen):
            assert observation.position == position
            start = max(position - position % DOCUMENT, position - MODEL.context)
            if start == position:
                assert observation.reciprocal_rank is None
                continue
            context = np.zeros((1, MODEL.context, MODEL.dim), np.float32)
            context[0, start - position :] = rows[start:position]
            answer = reference.predict(context, np.array([position - start]))[0]
            scores = rows[:start] @ answer
            higher = int((scores > rows[position] @ answer).sum())
            assert observation.reciprocal_rank_of_weights == 1 / (1 + higher)

    def test_predict_is_what_observe_ranks_and_has_unit_length(self, learner):
        stream = learner()
        assert stream.predict() is None
        feed(stream, noise(30), 25)
        first, second = stream.predict(), stream.predict()
        assert np.array_equal(first, second)
        assert np.linalg.norm(first) == pytest.approx(1, abs=1e-6)
        context, length = stream.replay.present()
        again = stream.predict_for(context[None], np.array([length]))[0]
        assert np.allclose(first, again, atol=1e-6)
        stream.begin_document()
        assert stream.predict() is None


class TestWeights:
    def test_what_can_be_learned_is_learned_and_journalled(self, learner):
        rows = turning(700)
        stream = learner()
        seen = feed(stream, rows)
        frozen = feed(learner(replace(CONFIG, every=0, strengths=()), "frozen"), rows)
        accepted = [o.verdict for o in seen if o.verdict and o.verdict.accepted]
        deltas = [entry for entry in stream.journal.entries if entry.kind == "delta"]
        assert len(accepted) == len(deltas) > 3
        assert mrr(seen, "reciprocal_rank_of_weights", 400) > 1.3 * mrr(frozen, start=400)
        assert stream.core.params.tobytes() == stream.journal.restore().tobytes()
        for verdict, entry in zip(accepted, deltas, strict=True):
            assert entry.gate["gain"] == verdict.gain > 0

    def test_noise_changes_little(self, learner):
        seen = feed(learner(replace(CONFIG, strengths=())), noise(400))
        proposed = [o.verdict for o in seen if o.verdict]
        # 1 % by design; more than a tenth of 35 or more has probability below 1e-3.
        assert sum(v.accepted for v in proposed) <= len(proposed) / 10

    def test_a_ruinous_rate_changes_nothing_of_what_was_learned(self, learner, tmp_path):
        stream = learner()
        feed(stream, turning(500))
        learned = stream.core.params.copy()
        Journal.create(tmp_path / "b.journal", MODEL, learned).close()
        reckless = learner(replace(CONFIG, lr=3.0, strengths=()), "b")
        seen = feed(reckless, turning(250, seed=1))
        assert sum(o.verdict is not None for o in seen) > 10
        assert reckless.core.params.tobytes() == learned.tobytes()
        assert len(reckless.journal.entries) == 1

    def test_a_proposal_that_diverges_is_rejected(self, learner, monkeypatch):
        stream = learner()
        train = stream.core.train_step

        def diverge(*args, **more):
            loss = train(*args, **more)
            stream.core.params[3] = np.nan
            return loss

        monkeypatch.setattr(stream.core, "train_step", diverge)
        seen = feed(stream, turning(300))
        verdicts = [o.verdict for o in seen if o.verdict]
        assert verdicts
        assert not any(v.accepted or v.after for v in verdicts)
        assert stream.core.params.tobytes() == initial(MODEL).tobytes()

    def test_nothing_held_back_is_trained_on(self, learner, monkeypatch):
        rows = turning(400)
        stream = learner()
        train, trained = stream.core.train_step, []

        def watch(contexts, lengths, targets, *args, **more):
            trained.extend(row.tobytes() for row in targets)
            return train(contexts, lengths, targets, *args, **more)

        monkeypatch.setattr(stream.core, "train_step", watch)
        feed(stream, rows)
        assert len(set(trained)) > 150
        held = {rows[position].tobytes() for position in range(0, 400, 4)}
        assert not held & set(trained)

    def test_the_window_keeps_what_the_ring_forgot(self, learner):
        stream = learner(replace(CONFIG, every=0, strengths=()))
        feed(stream, noise(600))
        kept = stream.replay.arena["reservoir"]["positions"]
        assert (kept < stream.replay.oldest).all()
        assert len(set(kept.tolist())) == CONFIG.replay.reservoir


class TestMemory:
    def test_habits_are_remembered(self, learner):
        stream = learner(replace(CONFIG, every=0))
        seen = feed(stream, recurring(500))
        assert stream.strength > 0
        assert mrr(seen, start=200) > 1.3 * mrr(seen, "reciprocal_rank_of_weights", 200)

    def test_it_stays_off_or_goes_off_where_it_does_not_help(self, learner):
        rows = noise(600)
        seen = feed(learner(replace(CONFIG, every=0)), rows)
        assert mrr(seen) > 0.97 * mrr(seen, "reciprocal_rank_of_weights")
        harmful = replace(CONFIG, every=0, strengths=(50.0,), strength=50.0, evidence=256)
        misled = learner(harmful, "b")
        rows = turning(700, seed=1)
        rows[1::2] = rows[0::2]  # the last concept once more, which frozen weights predict
        feed(misled, rows)
        assert misled.strength == 0


class TestResume:
    def test_where_it_was_saved(self, learner):
        rows = turning(300)
        whole = learner(name="whole")
        expected = feed(whole, rows)
        parts = learner(name="parts")
        feed(parts, rows, 137)
        parts.save()
        resumed = learner(name="parts")
        assert resumed.position == 137
        assert content(resumed) == content(parts)
        assert feed(resumed, rows) == expected[137:]
        assert content(resumed) == content(whole)

    def test_killed_at_any_moment(self, learner, tmp_path):
        rows = turning(360)
        whole = learner(name="whole")
        feed(whole, rows)
        learner(name="killed").journal.close()
        fork = multiprocessing.get_context("fork")
        rng = np.random.default_rng(0)
        for _ in range(200):
            child = fork.Process(target=_go_on, args=(tmp_path, rows))
            child.start()
            time.sleep(rng.uniform(0.01, 0.15))
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            if child.exitcode == 0:
                break
        last = learner(name="killed")
        feed(last, rows)
        assert content(last) == content(whole)
        states, expected = (
            [entry.after for entry in stream.journal.entries if entry.kind != "checkpoint"]
            for stream in (last, whole)
        )
        assert states == expected

    @pytest.mark.parametrize("written", [False, True])
    def test_killed_between_the_state_and_the_journal(self, learner, monkeypatch, written):
        rows = turning(240)
        whole = learner(name="whole")
        feed(whole, rows)
        stream = learner(name="cut")
        append = stream.journal.append

        def killed(*args):
            if written:
                append(*args)
            raise KeyboardInterrupt

        monkeypatch.setattr(stream.journal, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            feed(stream, rows)
        resumed = learner(name="cut")
        assert resumed.journal.entries[1].kind == "delta"
        feed(resumed, rows)
        assert content(resumed) == content(whole)

    def test_a_rollback_is_bit_exact_and_outlives_a_restart(self, learner):
        rows = turning(300)
        stream = learner()
        feed(stream, rows, 280)
        last = stream.journal.head.index
        changed = stream.core.params.copy()
        stream.rollback("base")
        assert stream.core.params.tobytes() == initial(MODEL).tobytes()
        again = learner()
        assert again.core.params.tobytes() == initial(MODEL).tobytes()
        feed(again, rows, 290)
        again.rollback(last)
        assert again.core.params.tobytes() == changed.tobytes()
        feed(again, rows)

    def test_a_journal_that_can_not_be_written_leaves_the_model_as_it_was(
        self, learner, monkeypatch
    ):
        rows = turning(300)
        stream = learner()

        def full(*args):
            raise JournalError("no room")

        before = stream.core.params.copy()
        with monkeypatch.context() as patched:
            patched.setattr(stream.journal, "append", full)
            with pytest.raises(JournalError):
                feed(stream, rows)
        assert stream.core.params.tobytes() == before.tobytes()
        feed(stream, rows)  # and goes on
        assert len(stream.journal.entries) > 1


class TestRefused:
    @pytest.mark.parametrize(
        "bad",
        [
            np.zeros(MODEL.dim + 1, np.float32), np.zeros((1, MODEL.dim), np.float32),
            np.full(MODEL.dim, np.nan, np.float32), np.full(MODEL.dim, np.inf, np.float32),
            np.zeros(MODEL.dim, np.float32), np.ones(MODEL.dim, np.float32),
            np.ones(MODEL.dim, np.int64), np.array(["a"] * MODEL.dim),
        ],
    )  # fmt: skip
    def test_vectors_that_are_no_concepts(self, learner, bad):
        stream = learner()
        feed(stream, noise(100), 70)
        before, entries = content(stream), len(stream.journal.entries)
        with pytest.raises(UsageError):
            stream.observe(bad)
        assert content(stream) == before
        assert len(stream.journal.entries) == entries

    def test_another_encoder_model_journal_or_settings(self, learner, tmp_path):
        stream = learner()
        feed(stream, noise(50))
        state, files = tmp_path / "a.state", {}
        for path in tmp_path.iterdir():
            files[path] = path.read_bytes()
        with pytest.raises(JournalError, match="encoder"):
            learner(encoder="f" * 64)
        with pytest.raises(UsageError, match="other settings"):
            learner(replace(CONFIG, lr=0.02))
        other = replace(MODEL, heads=1)
        journal = Journal.open(tmp_path / "a.journal", write=False)
        with journal, pytest.raises(JournalError, match="model's own"):
            StreamLearner(Core(other), journal, state)
        fresh = Journal.create(tmp_path / "b.journal", MODEL, initial(MODEL))
        with fresh, pytest.raises(JournalError, match="another journal"):
            StreamLearner(make_core(), fresh, state, CONFIG)
        for path, whole in files.items():
            assert path.read_bytes() == whole
        learner(encoder="e" * 64)

    def test_a_damaged_state(self, learner, tmp_path):
        feed(learner(), noise(50))
        path = tmp_path / "a.state"
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        for place in [*rng.integers(0, len(whole), 20), 0, len(whole) - 1]:
            wrong = bytearray(whole)
            wrong[place] ^= 1
            for content_ in (wrong, whole[:place]):
                path.write_bytes(content_)
                with pytest.raises(JournalError):
                    learner()
        path.write_bytes(whole)
        assert learner().position == 48

    def test_a_journal_that_lost_what_the_state_knows(self, learner, tmp_path):
        stream = learner()
        feed(stream, turning(300))
        assert len(stream.journal.entries) > 2
        end = stream.journal._file.records[1].end
        stream.journal.close()
        os.truncate(tmp_path / "a.journal", end)
        with pytest.raises(JournalError, match="lost entries"):
            learner()

    @pytest.mark.parametrize(
        "bad",
        [
            {"every": -1}, {"steps": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"tau": -1.0},
            {"method": "zip"}, {"share": 0.0}, {"strengths": (0.0,)}, {"strength": 0.3},
            {"evidence": 1}, {"doubt": 0.0}, {"weight_decay": -0.1},
        ],
    )  # fmt: skip
    def test_settings_that_can_not_be(self, bad):
        with pytest.raises(UsageError):
            StreamConfig(**bad)


def test_memory_is_bounded_and_counted(learner):
    stream = learner()
    counted = stream.tensor_bytes
    feed(stream, turning(200))
    assert stream.tensor_bytes == counted
    arrays = [*stream.replay.arrays, stream._ranks, stream._present, stream._experts]
    ours = sum(n for part, n in counted.items() if part.startswith("stream "))
    assert ours == sum(-(-array.nbytes // 64) * 64 for array in arrays)
    assert counted["parameters"] >= 4 * MODEL.n_params


def test_time_is_told_by_part(learner):
    ticks = iter(range(10**9))
    stream = learner(clock=lambda: next(ticks))
    feed(stream, turning(200))
    assert set(stream.seconds) == {"predict", "memory", "learn", "gate", "journal"}
    assert all(stream.seconds.values())


def _go_on(folder, rows):
    journal = Journal.open(folder / "killed.journal")
    feed(StreamLearner(make_core(), journal, folder / "killed.state", CONFIG), rows)
