"""Learners side by side: what they are shown, what they are scored on, and what is written."""

import dataclasses
import json

import numpy as np
import pytest

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError, CorpusError, LedgerError, UsageError
from microdollar.learn.base import CONTEXT_BYTES
from microdollar.learn.corpus import Corpus, split
from microdollar.report.schema import ResultsError, parse_results
from microdollar.run import compare as module
from microdollar.run.compare import Entry, compare

TEXT = np.frombuffer(
    bytearray(" ".join(f"{n} bytes cost {n * n} operations." for n in range(700)).encode()),
    dtype=np.uint8,
)
CORPUS = Corpus(data=TEXT, name="text", sha256="ab" * 32)
SPLIT = split(CORPUS, train_bytes=12_000, test_bytes=3_000)
ALL = (
    Entry(learner="rnn-bptt", options={"hidden": 16, "epochs": 1}),
    Entry(learner="readout-sgd", options={"hidden": 32, "offsets": 4, "epochs": 1}),
    Entry(learner="satrnn", options={"hidden": 32, "offsets": 4}),
    Entry(learner="ngram", options={"order": 8}),
)


def run(entries, device, ledger, **options):
    settings = {"device": device, "command": "microdollar compare", "ledger": ledger} | options
    return compare(entries, CORPUS, SPLIT, **settings)


KEPT = {}
"""Results of all learners and all compressors, and their ledger; made once."""


@pytest.fixture
def everything(device, ledger):
    if not KEPT:
        KEPT.update(data=run(ALL, device, ledger), ledger=ledger)
    return KEPT["data"]


def row_of(results, learner):
    (row,) = (row for row in results["rows"] if row["learner"] == learner)
    return row


def test_the_reader_of_results_accepts_it(everything):
    parsed = parse_results(json.loads(json.dumps(everything, allow_nan=False)))
    assert {row.learner for row in parsed.rows} > {entry.learner for entry in ALL}
    assert parsed.corpus.train_range == (0, 12_000)
    assert parsed.corpus.test_range == (12_000, 15_000)
    assert parsed.device.name == "bench"


def test_every_row_has_what_the_file_promises(everything):
    keys = {"learner", "predicted", "measured", "parameters", "train_bits_per_byte"}
    keys |= {"test_bits_per_byte", "test_bits_per_byte_adaptive"}
    for row in everything["rows"]:
        assert keys <= set(row)
        for cost in (row["predicted"], row["measured"]):
            if cost is None:
                assert row["kind"] == "compressor"
                continue
            names = {"flops", "int_ops", "seconds", "joules", "dollars", "memory_bytes"}
            assert set(cost) == names
            for quantity in cost.values():
                assert {"value", "low", "high", "basis", "reason"} <= set(quantity)
                assert quantity["value"] is not None or quantity["reason"]


def test_rows_are_ordered_by_what_they_cost(everything):
    dollars = [row["measured"]["dollars"]["value"] for row in everything["rows"]]
    assert dollars == sorted(dollars)


def test_without_a_price_rows_are_ordered_by_time_and_unknown_comes_last():
    def row(dollars, seconds):
        return {"measured": {"dollars": {"value": dollars}, "seconds": {"value": seconds}}}

    rows = [row(None, None), row(None, 2.0), row(None, 1.0), row(3.0, 9.0), row(1.0, 9.0)]
    assert sorted(rows, key=module._cost_of) == rows[::-1]


def test_frozen_and_adaptive_scores_are_kept_apart(everything):
    for row in everything["rows"]:
        frozen, adaptive = row["test_bits_per_byte"], row["test_bits_per_byte_adaptive"]
        if row["kind"] == "compressor":
            assert frozen is None and row["train_bits_per_byte"] is None and adaptive > 0
        elif row["learner"] == "ngram":
            assert 0 < adaptive < 8 and 0 < frozen < 8 and adaptive != frozen
        else:
            assert adaptive is None and 0 < frozen < 8
    assert {row["learner"] for row in everything["rows"] if row["kind"] == "compressor"} >= {
        "zlib",
        "bz2",
        "xz",
    }


def test_kinds_and_parameters(everything):
    kinds = {entry.learner: row_of(everything, entry.learner)["kind"] for entry in ALL}
    assert kinds == {
        "ngram": "counted",
        "satrnn": "counted",
        "readout-sgd": "trained",
        "rnn-bptt": "trained",
    }
    for entry in ALL:
        row = row_of(everything, entry.learner)
        assert row["parameters"] > 0
        assert row["options"].items() >= dict(entry.options).items()


def test_each_learner_is_one_row_of_the_ledger(everything):
    rows = {row.id: row for row in KEPT["ledger"].rows()}
    assert len(rows) == len(ALL)
    for entry in ALL:
        row = row_of(everything, entry.learner)
        kept = rows[row["ledger_row"]]
        assert kept.learner == entry.learner
        assert kept.scores["test_bits_per_byte"] == row["test_bits_per_byte"]
        assert kept.measured.to_json()["seconds"]["value"] == row["measured"]["seconds"]["value"]


def test_operations_and_memory_are_what_was_predicted(everything):
    """Within a tenth."""
    for entry in ALL:
        row = row_of(everything, entry.learner)
        for name in ("flops", "memory_bytes"):
            predicted, measured = row["predicted"][name]["value"], row["measured"][name]["value"]
            assert predicted == pytest.approx(measured, rel=0.1), (entry.learner, name)


def test_compressors_are_left_out_on_request(device, ledger):
    found = run(ALL[3:], device, ledger, peers=False)
    assert [row["learner"] for row in found["rows"]] == ["ngram"]


@pytest.mark.usefixtures("fixed")
def test_the_fit_sees_training_bytes_only_and_the_score_the_bytes_after_them(
    device, ledger, monkeypatch
):
    made = []
    fit = module.track

    def remember(*args, **options):
        manager = fit(*args, **options)

        class Remember:
            def __enter__(self):
                run = manager.__enter__()
                learn = run.learner.fit

                def watched(data, **more):
                    made.append(learn(data, **more))
                    return made[-1]

                run.learner.fit = watched
                return run

            def __exit__(self, *error):
                return manager.__exit__(*error)

        return Remember()

    monkeypatch.setattr(module, "track", remember)
    run([Entry(learner="fixed")], device, ledger, peers=False)
    (model,) = made
    train, test = TEXT[:12_000].tobytes(), TEXT[12_000:15_000].tobytes()
    assert model.train.tobytes() == train
    assert model.scored == [(test, train[-CONTEXT_BYTES:]), (train, None)]


def test_results_that_overlap_are_refused_by_their_reader(everything):
    changed = dict(everything, corpus=everything["corpus"] | {"test_range": [11_999, 14_999]})
    with pytest.raises(ResultsError, match="not held out"):
        parse_results(changed)


@pytest.mark.usefixtures("fixed")
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (Entry(learner="ngram", options={"order": 300}), UsageError),
        (Entry(learner="ngram", options={"ordr": 3}), UsageError),
        (Entry(learner="fixed", options={"fail": True}), CorpusError),
    ],
)
def test_an_error_says_why_and_is_no_result(device, ledger, wrong, error):
    with pytest.raises(error):
        run([Entry(learner="fixed"), wrong], device, ledger, peers=False)
    # What can be seen beforehand is seen before anything ran.
    assert len(ledger.rows()) == (2 if error is CorpusError else 0)


@pytest.mark.usefixtures("fixed")
def test_what_can_not_be_predicted_is_said_before_anything_ran(device, ledger):
    blind = dataclasses.replace(device, rates=None)
    with pytest.raises(CannotEstimateError):
        run(ALL, blind, ledger)
    assert ledger.rows() == []


@pytest.mark.usefixtures("fixed")
def test_a_missing_price_is_not_zero_dollars(device, ledger):
    free = dataclasses.replace(device, dollars_per_hour=Quantity.missing("no price"))
    found = run([Entry(learner="fixed")], free, ledger)
    parse_results(found)
    for row in found["rows"]:
        assert row["measured"]["dollars"] == Quantity.missing("no price").to_json()
    seconds = [row["measured"]["seconds"]["value"] for row in found["rows"]]
    assert seconds == sorted(seconds)


@pytest.mark.usefixtures("fixed")
def test_progress_names_each_learner_and_an_interrupt_ends_it(device, ledger):
    labels = []

    def interrupt(done, total, label=""):
        labels.append(label)
        if label.startswith("ngram: counting"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([Entry(learner="fixed"), *ALL[3:]], device, ledger, progress=interrupt)
    assert any(label.startswith("fixed: ") for label in labels)
    notes = [row.note for row in ledger.rows()]
    assert sum(note is None for note in notes) == 1
    assert sum("KeyboardInterrupt" in (note or "") for note in notes) == 1


@pytest.mark.usefixtures("fixed")
def test_a_full_ledger_ends_it_with_an_error(device, ledger, monkeypatch):
    def full(record):
        raise LedgerError("disk full")

    monkeypatch.setattr(ledger, "append", full)
    with pytest.raises(LedgerError, match="disk full"):
        run([Entry(learner="fixed")], device, ledger, peers=False)
