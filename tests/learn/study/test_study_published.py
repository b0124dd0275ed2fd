"""What the published programs give on the first 1,024 bytes of enwik8, all training numbers."""

from pathlib import Path

import numpy as np
import pytest

from microdollar.learn.study import Slice, Study, counted, readout
from microdollar.learn.study.codes import mixed
from microdollar.learn.study.fixed import Fixed
from microdollar.learn.study.halves import _log_ratio
from microdollar.learn.study.published import agrees
from microdollar.learn.study.readouts import FROM_PI, STEP_RATE, _counted_rows

ENWIK8 = Path(__file__).parents[4] / "shared" / "data" / "enwik8_first_2mb"


@pytest.fixture(scope="module")
def study():
    """The document's setting A."""
    if not ENWIK8.exists():
        pytest.skip("needs enwik8")
    text = np.fromfile(ENWIK8, dtype=np.uint8, count=2048)
    return Study(slice=Slice(name="1024", train=text[:1024], test=text[1024:]))


def test_counted_readouts(study):
    rows = {row.key: row for row in _counted_rows(study, Fixed.of(study, mixed()), mixed())}
    assert rows["log-ratio"].train == pytest.approx(2.491, abs=1e-3)
    assert rows["log-ratio"].detail["alpha"] == 2.5
    assert rows["log-ratio"].detail["scale"] == pytest.approx(0.10)
    assert rows["least-squares log-ratio"].train == pytest.approx(2.468, abs=1e-3)
    assert rows["naive Bayes on bytes"].train == pytest.approx(4.39, abs=1e-2)


def test_continuum(study):
    fixed = Fixed.of(study, mixed())
    W_y, chosen = fixed.pseudo_inverse()
    assert chosen["scale"] == 16.5
    assert chosen["bits"] == pytest.approx(1.454, abs=1e-3)
    stepped = readout.descend(fixed.learn, W_y, fixed.b_y, [STEP_RATE] * 20)
    assert readout.bits(fixed.train, *stepped) == pytest.approx(0.967, abs=1e-3)
    far = readout.descend(fixed.learn, W_y, fixed.b_y, FROM_PI)
    assert readout.bits(fixed.train, *far) == pytest.approx(0.476, abs=2e-3)
    wide = Fixed.of(study, mixed(16)).pseudo_inverse()[1]
    assert wide["bits"] == pytest.approx(0.509, abs=1e-3)


def test_published_halves(study):
    from dataclasses import replace

    data = study.slice.train
    clean = replace(study, slice=Slice(name="512", train=data[:512], test=data[512:]))
    rows = {row.key: row for row in _log_ratio(study, clean, mixed())}
    assert rows["log-ratio, as published: first half"].train == pytest.approx(2.05, abs=0.01)
    assert rows["log-ratio, as published: second half"].train == pytest.approx(2.96, abs=0.01)


def test_bayes_is_the_sum_of_log_ratios():
    text = np.frombuffer(b"abracadabra, abracadabra", np.uint8)
    tables = counted.tables_of(text, 3)
    b_y = readout.log_marginal(text)
    ratios = counted.bayes_ratios(tables, b_y)
    counts = tables[1][ord("a")]
    expected = np.log((counts + 0.5) / (counts.sum() + 128)) - b_y
    np.testing.assert_allclose(ratios[1, ord("a")], expected, atol=1e-5)
    total = 0.0
    for p in range(1, len(text)):
        past = [g for g in range(3) if p - 1 - g >= 0]
        scores = b_y + 0.2 * sum(ratios[g, text[p - 1 - g]] for g in past)
        total -= np.log2(np.exp(scores[text[p]]) / np.exp(scores).sum())
    (found,) = counted.bayes_bits(text, 1, ratios, b_y, (0.2,))
    assert found == pytest.approx(total / (len(text) - 1), abs=1e-5)


def test_tolerances():
    assert agrees(1.93, 1.89, "bits") and not agrees(2.0, 1.89, "bits")
    assert agrees(0.44, 0.40, "correlation") and not agrees(0.34, 0.40, "correlation")
    assert agrees(170.0, 170.0, "codes") and not agrees(169.0, 170.0, "codes")
