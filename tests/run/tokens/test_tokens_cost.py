"""What a training of a policy costs: counts and traces against the training itself."""

import json
from dataclasses import replace

import numpy as np
import pytest

from microdollar.cli.main import main
from microdollar.estimator.trace import trace_step
from microdollar.learn.tokens.policy.config import parse_config
from microdollar.learn.tokens.policy.joint_torch import JointStage
from microdollar.learn.tokens.policy.supervised_torch import SupervisedStage
from microdollar.learn.tokens.policy.train_torch import prepare
from microdollar.learn.tokens.texts import Document, split
from microdollar.ledger import Ledger
from microdollar.measure.flops import count_flops
from microdollar.run.probe import step_memory
from microdollar.run.tokens import units_torch
from microdollar.run.tokens.counts import Company, Texts, least_kept, units
from microdollar.run.tokens.estimate import STAGES, estimate_training, stage_works
from microdollar.run.tokens.probe_torch import probe_training
from microdollar.run.tokens.track import LEARNER, texts_of, tracked_training

SMALL = {
    "run": {"vocabulary": 60, "min_tokens": 20, "length": 64, "threads": 1, "products": "float32"},
    "policy": {"known": 40, "buckets": 4, "width": 8, "inner": 8, "kernel": 3, "dilations": [1]},
    "infiller": {
        "width": 8, "heads": 2, "layers": 1, "inner": 8, "length": 32, "window": 16, "copying": 4,
    },
    "infiller_training": {"epochs": 2, "batch": 4},
    "supervised": {"readings": 2, "policy_readings": 1, "epochs": 2, "batch": 2},
    "joint": {"epochs": 2, "samples": 2, "micro_batch": 2, "accumulation": 2, "validations": 1},
}  # fmt: skip
COMPANY = Company(pairs=90, of_a_token=9.0, vocabulary=50, classes=5)
WORDS = ("the", "a", "cat", "dog", "ran", "sat", "on", "mats")


@pytest.fixture
def config():
    return parse_config(SMALL)


@pytest.fixture
def documents():
    rng = np.random.default_rng(0)
    return split([Document(f"page {i}", " ".join(rng.choice(WORDS, 150))) for i in range(30)])


def test_steps_are_as_many_as_the_training_takes(config, documents):
    work = prepare(documents, config)
    found = units(config, texts_of(documents, config))
    regress = [unit for unit in found if unit.kind == "regress"]
    stage = SupervisedStage(work, again=False)
    assert regress[0].updates == stage.total - stage.readings
    (descend,) = [unit for unit in found if unit.kind == "descend"]
    assert descend.times == JointStage(work).total
    assert {unit.stage for unit in found} == set(STAGES)


def test_stages_that_are_left_out_cost_nothing(config):
    texts = Texts(train=(500, 700), validation=(300,), company=COMPANY)
    alone = replace(
        config,
        supervised=replace(config.supervised, epochs=0, readings=0),
        joint=replace(config.joint, epochs=0),
    )
    assert set(stage_works(alone, texts)) == {"preparation", "reconstructor"}


def test_twice_the_epochs_are_twice_the_steps(config):
    texts = Texts(train=(500, 700), validation=(300,), company=COMPANY)
    twice = replace(config, infiller_training=replace(config.infiller_training, epochs=4))

    def steps(of):
        return sum(
            u.times for u in units(of, texts) if (u.stage, u.kind) == ("reconstructor", "fit")
        )

    assert steps(twice) == pytest.approx(2 * steps(config))


def test_the_largest_step_drops_more_than_the_mean_and_no_more_than_masks_do(config):
    few, many = least_kept(config, 1000), least_kept(config, 10**9)
    assert 0.2 <= many <= few < 0.55


def test_a_traced_step_has_the_operations_of_a_real_one(config, documents):
    """Products are equal; what depends on how many pairs were counted is so on average."""
    work = prepare(documents, config)
    texts = texts_of(documents, config)
    module, inputs, make = units_torch.regressing(config)
    traced = trace_step(module, inputs, loss=units_torch.itself, optimizer=make, threads=1)
    stage = SupervisedStage(work, again=False)
    stage.readings = 0
    stage.step()
    real = count_flops(stage.step).quantity().value
    assert sum(traced.by_phase.values()) == pytest.approx(real, rel=0.1)
    assert texts.company.pairs > 0


def test_a_probe_times_every_kind_of_step(config, documents):
    found = probe_training(documents, config, steps=3)
    assert [(kind.stage, kind.name) for kind in found.kinds] == [
        ("preparation", "texts to numbers"), ("reconstructor", "steps"),
        ("reconstructor", "ends of epochs"), ("supervised", "readings"),
        ("supervised", "regression"), ("joint", "steps"), ("joint", "validations"),
    ]  # fmt: skip
    total = sum(kind.total.value for kind in found.kinds)
    assert found.seconds.value == pytest.approx(total)
    assert found.seconds.low <= total <= found.seconds.high
    assert found.memory_bytes.value > 4 * config.infiller.parameters
    json.dumps(found.to_json())


def test_predicted_memory_is_that_of_real_steps(config, documents):
    """Of so small networks the texts' arrays are a part that is not predicted."""
    others = step_memory(lambda: None).value  # what tests before this one left behind
    found = probe_training(documents, config, steps=2).memory_bytes.value - others
    works = stage_works(config, texts_of(documents, config))
    assert works["reconstructor"].memory_bytes == pytest.approx(found, rel=0.3)


def test_a_training_has_a_row_and_the_next_prediction_learns_from_it(
    config, documents, tmp_path, device
):
    book = Ledger(tmp_path / "ledger.db")
    arguments = {"device": device, "ledger": book}
    _, first, measured = tracked_training(documents, tmp_path / "a", config, **arguments)
    (row,) = book.rows(learner=LEARNER)
    assert row.measured.seconds.value == measured.seconds.value > 0
    assert row.predicted.seconds.value == first.estimate.cost.seconds.value
    again = estimate_training(config, texts_of(documents, config), device)
    assert again.estimate.cost.seconds.value == pytest.approx(first.estimate.cost.seconds.value)
    assert sum(first.stages.values()) == pytest.approx(first.estimate.cost.seconds.value)
    _, second, _ = tracked_training(documents, tmp_path / "b", config, **arguments)
    factor = measured.seconds.value / first.estimate.cost.seconds.value
    if 0.1 < factor < 10:
        assert second.estimate.cost.seconds.value == pytest.approx(
            first.estimate.cost.seconds.value * factor, rel=0.5
        )


def test_predict_and_probe_exclude_each_other(tmp_path, capsys):
    assert main(["tokens", "train", "--predict", "--probe"]) == 2
    assert "not both" in capsys.readouterr().err
    assert main(["tokens", "train"]) == 2
    assert "-o MODEL" in capsys.readouterr().err
