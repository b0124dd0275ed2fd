"""Operations against the document's formulas, and a small measurement that goes on."""

import json

import numpy as np
import pytest

from microdollar.claims.experiments import construction
from microdollar.claims.experiments.base import Context
from microdollar.learn.corpus import Corpus
from microdollar.work.formulas.elman import elman_flops_published


def test_counts_are_near_the_formula_of_training_and_below_nine_a_pair():
    found = {name: one.value for name, one in construction.count(Context()).items()}
    for width in construction.WIDTHS:
        assert found[f"training_{width}"] == pytest.approx(
            elman_flops_published(width, 1_000_000, 20), rel=0.01
        )
        assert found[f"construction_{width}"] < 9 * 1e6 * 16
    assert found["byte_one_stream"] > found["byte"]
    assert 1 < found["training_exponent_128_256"] < found["training_exponent_2048_4096"] < 2


def test_a_measurement_is_kept_by_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(construction, "TRAIN_BYTES", 4_000)
    monkeypatch.setattr(construction, "TEST_BYTES", 500)
    monkeypatch.setattr(construction, "EPOCHS", 1)
    monkeypatch.setattr(construction, "READOUT_EPOCHS", 1)
    monkeypatch.setattr(construction, "REHEARSED_STEPS", 2)
    pytest.importorskip("torch")
    data = np.frombuffer(b"the cat sat on the mat. " * 200, dtype=np.uint8).copy()
    context = Context(folder=tmp_path, corpus=Corpus(data=data, name="t", sha256="0"))
    found = construction.measure(context)
    for name in ("construction", "chosen", "ngram", "readout", "training", "one_stream"):
        one = found[f"{name}_seconds"]
        assert 0 < one.low <= one.value <= one.high
    assert found["ngram_bits"].value < 1  # the text repeats
    (tmp_path / "ngram.json").unlink()
    changed = json.loads((tmp_path / "training.json").read_text()) | {"bits": 7.5}
    (tmp_path / "training.json").write_text(json.dumps(changed))
    again = construction.measure(context)
    assert again["training_bits"].value == 7.5
    assert again["ngram_bits"] == found["ngram_bits"]
