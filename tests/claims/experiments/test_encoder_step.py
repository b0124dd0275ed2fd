"""Numbers of a real step of an encoder, against sums that need no torch."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from microdollar.claims.experiments.encoder_step import Shape, measure
from microdollar.claims.record import recorded

SMALL = Shape(vocabulary=300, width=48, layers=2, heads=4, length=32, narrow=16, concept=24)


def weights(shape):
    """Tables and their norm, layers with biases and norms, both compressions."""
    w, n = shape.width, shape.narrow
    tables = (shape.vocabulary + shape.length + 2) * w
    return tables + shape.layers * (12 * w * w + 13 * w) + (w + 1) * n + (n + 1) * shape.concept


def products(shape):
    """Forward: projections and feed-forward, both products of attention, both compressions."""
    w, tokens = shape.width, shape.length
    layer = 2 * 12 * tokens * w * w + 2 * 2 * tokens * tokens * w
    return shape.layers * layer + 2 * shape.narrow * (w + shape.concept)


def test_a_small_encoder():
    found = measure(SMALL)
    assert found["parameters"] == weights(SMALL)
    assert found["forward_flops"] == products(SMALL)
    assert 2.5 * products(SMALL) < found["step_flops"] < 3.5 * products(SMALL)
    assert found["peak_bytes"] > 16 * found["parameters"]


def test_the_record_is_of_the_documents_encoder():
    values = recorded("encoder_step").values
    assert values["parameters"].value == weights(Shape())
    assert values["forward_flops"].value == products(Shape())
    assert values["peak_bytes"].value > 16 * weights(Shape())
