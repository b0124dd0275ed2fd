"""The whole training on a small text: it learns, and goes on after a kill as if there were none."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from microdollar.errors import ModelFileError, UsageError  # noqa: E402
from microdollar.learn.tokens.policy.config import parse_config  # noqa: E402
from microdollar.learn.tokens.policy.folder import PolicyModel  # noqa: E402
from microdollar.learn.tokens.policy.train_torch import (  # noqa: E402
    CHECKPOINT,
    train,
    training_folder,
)
from microdollar.learn.tokens.reconstruct.infiller import InfillerReconstructor  # noqa: E402
from microdollar.learn.tokens.scorers.base import make_scorer  # noqa: E402
from microdollar.learn.tokens.texts import Document, Split  # noqa: E402
from microdollar.learn.tokens.tokenizers import Words  # noqa: E402

CONFIG = {
    "run": {"threads": 1, "products": "float32", "vocabulary": 40, "length": 32,
            "checkpoint_steps": 3},
    "policy": {"known": 30, "buckets": 4, "width": 8, "inner": 12, "kernel": 3,
               "dilations": [1, 2]},
    "infiller": {"width": 8, "heads": 2, "layers": 1, "inner": 16, "length": 16, "copying": 4},
    "infiller_training": {"epochs": 2, "batch": 4, "learning_rate": 0.02},
    "supervised": {"readings": 2, "policy_readings": 1, "epochs": 4, "spacing": 4},
    "joint": {"epochs": 2, "micro_batch": 2, "accumulation": 2, "samples": 2, "window": 3,
              "validations": 2, "entropy_bonus": 0.01},
}  # fmt: skip
NOUNS = ("cat", "dog", "owl", "emu", "yak", "ant", "bee", "cow")


def text(seed, sentences=12):
    rng = np.random.default_rng(seed)
    return "".join(
        f" the {NOUNS[rng.integers(8)]} saw the {NOUNS[rng.integers(8)]} and it ran."
        for _ in range(sentences)
    )


@pytest.fixture(scope="module")
def documents():
    parts = [tuple(Document(f"{k}{i}", text(10 * k + i)) for i in range(4)) for k in range(3)]
    return Split(train=parts[0], validation=parts[1][:2], test=parts[2])


def config(**joint):
    return parse_config({**CONFIG, "joint": {**CONFIG["joint"], **joint}})


class KilledError(Exception):
    pass


def killer(after):
    calls = [0]

    def progress(done, total, label=""):
        calls[0] += 1
        if calls[0] == after:
            raise KilledError

    return progress


def weights_of(folder):
    model = PolicyModel.load(folder)
    infiller = InfillerReconstructor.load(folder / "infiller", model.vocabulary)
    return {**model.network.weights, **{f"infiller {k}": w for k, w in infiller.weights.items()}}


@pytest.fixture(scope="module")
def whole(documents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "model"
    return folder, train(documents, folder, config())


@pytest.mark.parametrize("optimizer", ["adamw", "collins"])
def test_a_killed_training_goes_on_to_the_same_bits(documents, whole, tmp_path, optimizer):
    options = config(optimizer=optimizer, reconstructor_optimizer=optimizer)
    expected_folder = whole[0]
    if optimizer == "collins":
        expected_folder = tmp_path / "collins"
        train(documents, expected_folder, options)
    folder, kills = tmp_path / "model", 0
    for after in (12, 4, 9, 9, 9, 12, 400):
        try:
            train(documents, folder, options, resume=True, progress=killer(after))
        except KilledError:
            kills += 1
            assert not folder.exists()
            assert (training_folder(folder) / CHECKPOINT).exists()
        else:
            break
    assert kills >= 4 and folder.exists() and not training_folder(folder).exists()
    expected = weights_of(expected_folder)
    for name, weight in weights_of(folder).items():
        np.testing.assert_array_equal(weight, expected[name], err_msg=name)
    lines = [(json.loads(line)["step"], line) for line in logged(folder)]
    assert lines == [(json.loads(line)["step"], line) for line in logged(expected_folder)]


def logged(folder):
    return (folder / "logs" / "events.jsonl").read_text().splitlines()


def test_it_keeps_what_can_not_be_guessed(whole):
    tokens = Words().tokenize(text(99))
    scores = make_scorer("policy", model=whole[0]).score(tokens)
    nouns = np.array([tokens.piece(i).strip() in NOUNS for i in range(len(tokens))])
    assert scores[nouns].mean() > scores[~nouns].mean() + scores.std() / 2


def test_what_was_trained_is_told(whole):
    _, trained = whole
    facts = trained.model.facts
    assert set(facts) >= {"reconstructor", "supervised", "supervised again", "joint", "config"}
    assert trained.steps == max(json.loads(line)["step"] for line in logged(whole[0]))


def test_a_training_that_has_not_ended_is_not_overwritten(documents, tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(KilledError):
        train(documents, folder, config(), progress=killer(12))
    with pytest.raises(UsageError, match="--resume"):
        train(documents, folder, config())
    with pytest.raises(UsageError, match="other settings"):
        train(documents, folder, config(samples=3), resume=True)
    fewer = Split(train=documents.train[:3], validation=documents.validation, test=())
    with pytest.raises(UsageError, match="other texts"):
        train(fewer, folder, config(), resume=True)
    checkpoint = training_folder(folder) / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match="damaged"):
        train(documents, folder, config(), resume=True)


def test_self_critical_and_no_stage_before(documents, tmp_path):
    options = parse_config(
        {
            **CONFIG,
            "supervised": {"epochs": 0},
            "joint": {**CONFIG["joint"], "baseline": "self-critical", "window": -1,
                      "reconstructor_every": 0},
        }
    )  # fmt: skip
    infiller = train(documents, tmp_path / "first", options).infiller
    before = {name: weight.copy() for name, weight in infiller.weights.items()}
    again = train(documents, tmp_path / "second", options, infiller=infiller)
    for name, weight in again.infiller.weights.items():
        np.testing.assert_array_equal(weight, before[name])
