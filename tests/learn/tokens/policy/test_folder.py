import json

import numpy as np
import pytest

from microdollar.errors import ModelFileError, UsageError
from microdollar.learn.tokens.policy.features import features
from microdollar.learn.tokens.policy.folder import PolicyModel
from microdollar.learn.tokens.policy.pairs import Pairs
from microdollar.learn.tokens.scorers.base import Scorer, make_scorer
from microdollar.learn.tokens.scorers.policy import Policy
from microdollar.learn.tokens.tokenizers import Words
from microdollar.learn.tokens.vocabulary import Vocabulary

from .networks import TINY, random_network

TEXT = "The cat sat on the mat, and the dog sat on the log."


@pytest.fixture
def model():
    vocabulary = Vocabulary.of([Words().tokenize(TEXT)], 12)
    pairs = Pairs.of([vocabulary.numbers(Words().tokenize(TEXT))], len(vocabulary))
    return PolicyModel(
        network=random_network(), vocabulary=vocabulary, pairs=pairs, facts={"steps": 3}
    )


def test_a_saved_policy_scores_as_before(model, tmp_path):
    model.save(tmp_path / "model", logs=lambda folder: (folder / "a.txt").write_text("1"))
    scorer = make_scorer("policy", model=tmp_path / "model")
    assert isinstance(scorer, Scorer)
    tokens = Words().tokenize(TEXT + " A zebra?")
    seen = features(tokens, model.vocabulary, model.pairs, known=TINY.known, buckets=TINY.buckets)
    np.testing.assert_array_equal(scorer.score(tokens), model.network.scores(seen))
    np.testing.assert_array_equal(Policy(model=model).score(tokens), scorer.score(tokens))
    assert scorer.score(Words().tokenize("")).shape == (0,)
    assert PolicyModel.load(tmp_path / "model").facts == {"steps": 3}
    model.save(tmp_path / "model")  # in place of itself
    assert not (tmp_path / "model" / "logs").exists()


def test_a_scorer_without_a_model():
    with pytest.raises(UsageError, match="tokens train"):
        make_scorer("policy")
    with pytest.raises(ModelFileError):
        make_scorer("policy", model="no such folder")


def test_damaged_folders(model, tmp_path):
    folder = tmp_path / "model"
    model.save(folder)
    config = folder / "config.json"
    facts = json.loads(config.read_text())
    for change in (
        {"policy": {**facts["policy"], "width": 9}},
        {"policy": {**facts["policy"], "kernel": 2}},
        {"policy": {}},
        {"fingerprint": "0"},
        {"network": "infiller"},
    ):
        config.write_text(json.dumps({**facts, **change}))
        with pytest.raises(ModelFileError):
            PolicyModel.load(folder)
    config.write_text(json.dumps(facts))
    (folder / "vocabulary.json").unlink()
    with pytest.raises(ModelFileError):
        PolicyModel.load(folder)


def test_a_folder_of_something_else_is_left_alone(model, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ModelFileError, match="left as it is"):
        model.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
