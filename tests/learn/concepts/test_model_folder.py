"""A concept model's folder: whole or not at all, and nothing in it can change unseen."""

import json
from pathlib import Path

import numpy as np
import pytest

from microdollar.errors import JournalError, ModelFileError, UsageError
from microdollar.learn.concepts.codec import encode_delta
from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.corpus import Article
from microdollar.learn.concepts.journal import Journal
from microdollar.learn.concepts.model_folder import (
    JOURNAL,
    LEARNT,
    STORE,
    EncoderFacts,
    ModelFolder,
    article_hash,
)
from microdollar.learn.concepts.store import ConceptStore

CONFIG = CoreConfig(dim=8, width=8, heads=2, context=3)
ENCODER = EncoderFacts(name="vectors", dim=8, fingerprint="ab" * 32)
ARTICLES = [Article("one", ("First sentence.", "Second one.")), Article("two", ("Third.",))]


def write(path: Path, seed: int = 0) -> ModelFolder:
    store = ConceptStore(np.eye(8, dtype=np.float32), list("abcdefgh"), ENCODER.fingerprint)
    return ModelFolder.write(
        path, initial(CONFIG, seed), CONFIG, ENCODER,
        articles=ARTICLES, training={"passes": 2}, parts={STORE: store.save},
    )  # fmt: skip


def change(path: Path, seed: int = 1) -> None:
    """Let the model learn something."""
    with Journal.open(path / JOURNAL) as journal:
        params = journal.restore()
        delta = np.random.default_rng(seed).normal(0, 0.01, len(params)).astype(np.float32)
        journal.append(encode_delta(delta, base_fingerprint=journal.head.after), params, {})


def test_round_trip(tmp_path: Path) -> None:
    written = write(tmp_path / "model")
    found = ModelFolder.open(tmp_path / "model")
    assert found == written
    assert found.config == CONFIG and found.encoder == ENCODER and found.training == {"passes": 2}
    np.testing.assert_array_equal(found.params(), initial(CONFIG))
    assert found.learnt() == {article_hash(article) for article in ARTICLES}
    assert found.has_store and not found.has_encoder
    store = ConceptStore.load(found.path / STORE, ENCODER.fingerprint)
    assert store.text(2) == "c"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_title_is_not_what_was_learnt() -> None:
    one = Article("other title", ARTICLES[0].sentences)
    assert article_hash(one) == article_hash(ARTICLES[0])
    assert article_hash(ARTICLES[0]) != article_hash(ARTICLES[1])


def test_present_parameters_are_the_journals(tmp_path: Path) -> None:
    model = write(tmp_path / "model")
    change(model.path)
    found = ModelFolder.open(model.path).params()
    assert np.any(found != initial(CONFIG))
    with model.journal() as journal:
        np.testing.assert_array_equal(found, journal.restore())


@pytest.mark.parametrize("name", [STORE, LEARNT])
def test_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    model = write(tmp_path / "model")
    data = bytearray((model.path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (model.path / name).write_bytes(data)
    with pytest.raises(ModelFileError, match=f"{name}: changed since"):
        ModelFolder.open(model.path)
    (model.path / name).unlink()
    with pytest.raises(ModelFileError, match=f"{name}: no such file"):
        ModelFolder.open(model.path)


def test_journal_of_another_model_is_refused(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), write(tmp_path / "other", seed=7)
    (other.path / JOURNAL).replace(one.path / JOURNAL)
    with pytest.raises(ModelFileError, match="history of another model"):
        ModelFolder.open(one.path).params()


def test_damaged_journal_is_refused(tmp_path: Path) -> None:
    model = write(tmp_path / "model")
    data = bytearray((model.path / JOURNAL).read_bytes())
    data[-100] ^= 1
    (model.path / JOURNAL).write_bytes(data)
    with pytest.raises(JournalError, match="entry 0 is damaged"):
        model.params()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("core", {"dim": 8}), ("core", 5), ("encoder", {"name": "x"}), ("files", {"../x": "0"}),
        ("files", 3), ("base", None), ("network", "ngram"),
        ("encoder", {"name": 3, "dim": 8, "fingerprint": "a"}),
        ("encoder", {"name": "x", "dim": 9, "fingerprint": "a"}),
        ("core", {"dim": -8, "width": 8, "heads": 2, "context": 3, "gain": 0.1}),
    ],
)  # fmt: skip
def test_unusable_config_is_refused(tmp_path: Path, key: str, value: object) -> None:
    model = write(tmp_path / "model")
    where = model.path / "config.json"
    facts = json.loads(where.read_text())
    where.write_text(json.dumps({**facts, key: value}))
    with pytest.raises(ModelFileError):
        ModelFolder.open(model.path).params()


def test_training_again_replaces_a_model_but_not_what_it_learned(tmp_path: Path) -> None:
    model = write(tmp_path / "model")
    again = write(tmp_path / "model", seed=5)
    np.testing.assert_array_equal(again.params(), initial(CONFIG, 5))
    change(model.path)
    with pytest.raises(UsageError, match="learned 1 changes"):
        write(tmp_path / "model")
    assert np.any(again.params() != initial(CONFIG, 5))


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ModelFileError, match="left as it is"):
        write(tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "mine"


def test_failed_writing_leaves_the_old_model(tmp_path: Path) -> None:
    model = write(tmp_path / "model")

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    with pytest.raises(ModelFileError, match="No space left"):
        ModelFolder.write(model.path, initial(CONFIG, 3), CONFIG, ENCODER, parts={STORE: fail})
    np.testing.assert_array_equal(ModelFolder.open(model.path).params(), initial(CONFIG))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_encoder_of_another_size_is_refused(tmp_path: Path) -> None:
    wide = EncoderFacts(name="x", dim=9, fingerprint="")
    with pytest.raises(UsageError, match="encoder of 9 numbers for a model of 8"):
        ModelFolder.write(tmp_path / "model", initial(CONFIG), CONFIG, wide)
    assert not any(tmp_path.iterdir())
