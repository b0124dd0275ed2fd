"""Numbers of a real step, against sums that need no torch."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from microdollar.claims.experiments.gpt2_step import Measured, Shape, measure, overhead_seconds
from microdollar.claims.record import recorded

SMALL = Shape(vocabulary=500, width=64, layers=2, heads=4, length=64, accumulation=3)


@pytest.fixture(scope="module")
def measured() -> Measured:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    found = measure(SMALL)
    torch.set_num_threads(before)
    return found


def weights(shape):
    """Tables, layers with their biases and norms, and the last norm; the head is the table."""
    w = shape.width
    return (shape.vocabulary + shape.length) * w + shape.layers * (12 * w * w + 13 * w) + 2 * w


def products(shape):
    """Forward: projections and feed-forward, both products of attention, the head."""
    tokens, w = shape.batch * shape.length, shape.width
    layer = 2 * 12 * tokens * w * w + 2 * 2 * tokens * shape.length * w
    return shape.layers * layer + 2 * tokens * w * shape.vocabulary


def test_weights_and_products_are_those_of_the_shape(measured):
    assert measured.parameters == weights(SMALL)
    assert measured.forward_flops == products(SMALL)
    assert measured.step_flops == 3 * measured.forward_flops


def test_the_record_is_of_gpt2_small():
    values = recorded("gpt2_step").values
    assert values["parameters"].value == weights(Shape())
    assert values["forward_flops"].value == products(Shape())
    # Weights, gradients and both moments, and one number for each logit, are alive at some time.
    least = 16 * weights(Shape()) + 4 * 2 * 1024 * 50_257
    assert least < values["peak_bytes"].value < values["accumulated_bytes"].value
    assert values["accumulated_bytes"].value < values["process_bytes"].value


def test_accumulation_keeps_one_copy_of_the_gradients_not_one_a_micro_batch(measured):
    more = measured.accumulated_bytes - measured.peak_bytes
    assert more == pytest.approx(4 * measured.parameters, rel=0.01)


def test_memory_holds_four_numbers_a_weight_and_the_logits(measured):
    assert measured.peak_bytes > 16 * measured.parameters
    assert measured.peak_bytes > 4 * SMALL.batch * SMALL.length * SMALL.vocabulary


def test_overhead_is_a_time_for_each_repeat():
    found = overhead_seconds(3)
    assert len(found) == 3
    assert min(found) > 0
