"""The published figures one by one, and properties of the count of what is executed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.work.formulas.elman import (
    Segments,
    elman_flops_published,
    elman_flops_table_2,
    elman_flops_table_4,
    elman_parameters,
    elman_training,
)

N, E, V = 1_000_000, 20, 256


def rounded(value, digits):
    return float(f"{value:.{digits - 1}e}")


@pytest.mark.parametrize(
    ("hidden", "parameters"),
    [
        (128, 82_304),
        (256, 197_120),
        (512, 525_056),
        (1024, 1_574_144),
        (2048, 5_245_184),
        (4096, 18_878_720),
    ],
)
def test_parameters_of_table_4(hidden, parameters):
    assert elman_parameters(hidden) == parameters


def test_formula_of_section_2_1_gives_the_abstract():
    assert elman_flops_published(128, 1, 1) == 294_912
    assert rounded(elman_flops_published(128, N, E), 2) == 5.9e12


@pytest.mark.parametrize(
    ("epochs", "madds", "flops"),
    [
        (1, 1.47e11, 2.97e11),
        (10, 1.47e12, 2.97e12),
        (20, 2.95e12, 5.94e12),
        (50, 7.37e12, 1.49e13),
    ],
)
def test_table_2_holds_lower_order_terms_in_one_column_only(epochs, madds, flops):
    assert rounded(elman_flops_published(128, N, epochs) / 2, 3) == madds
    assert rounded(elman_flops_table_2(128, N, epochs), 3) == flops
    assert rounded(elman_flops_published(128, N, epochs), 3) != flops


def test_297088_for_each_byte_is_the_sum_of_the_printed_terms():
    H = 128
    forward = 2 * H**2 + 2 * V * H + 3 * H + 4 * V
    backward = 4 * H**2 + 4 * V * H + 3 * H + H + V
    assert elman_flops_table_2(H, 1, 1) == forward + backward == 297_088
    assert round(forward, -2) == 99_700
    assert round(backward, -2) == 197_400


@pytest.mark.parametrize(
    ("hidden", "total", "ratio"),
    [
        (128, 6.5e12, 43_600),
        (256, 1.7e13, 115_900),
        (512, 5.2e13, 345_300),
        (1024, 1.7e14, 1_135_000),
        (2048, 6.2e14, 3_977_000),
        (4096, 2.4e15, 14_260_000),
    ],
)
def test_table_4_follows_from_a_tenth_more_and_not_from_table_2(hidden, total, ratio):
    G = 16
    counting = 9 * N * G + 4 * G * V**2 + G * hidden * V + G * hidden
    flops = elman_flops_table_4(hidden, N, E)
    assert rounded(flops, 2) == total
    digits = len(str(ratio).rstrip("0"))
    assert rounded(flops / counting, digits) == ratio
    assert rounded(elman_flops_table_2(hidden, N, E) / counting, digits) != ratio


@given(data_bytes=st.integers(2, 10**9), batch=st.integers(1, 300), bptt=st.integers(1, 300))
def test_segments_hold_almost_every_prediction(data_bytes, batch, bptt):
    cut = Segments.of(data_bytes, batch, bptt)
    used = cut.streams * cut.length
    assert 1 <= cut.streams <= batch
    assert data_bytes - 1 - cut.streams < used <= data_bytes - 1
    assert cut.full * bptt + cut.rest == cut.length
    assert cut.steps == math.ceil(cut.length / bptt)
    assert cut.streams == 1 or cut.full >= 1


@given(
    hidden=st.integers(1, 300),
    data_bytes=st.integers(2, 10**7),
    batch=st.integers(1, 64),
    bptt=st.integers(1, 100),
    epochs=st.integers(1, 5),
)
def test_products_are_the_published_ones_less_the_first_step_of_each_segment(
    hidden, data_bytes, batch, bptt, epochs
):
    work = elman_training(
        hidden=hidden, data_bytes=data_bytes, epochs=epochs, batch=batch, bptt=bptt
    )
    cut = Segments.of(data_bytes, batch, bptt)
    products = [op for op in work.ops if op.kind == "matmul"]
    predictions = cut.streams * cut.length
    published = elman_flops_published(hidden, predictions, epochs)
    unneeded = 2 * hidden**2 * cut.streams * cut.steps * epochs
    assert sum(op.total_flops for op in products) == published - unneeded
    assert all(op.flops == 2 * math.prod(op.shape) for op in products)
    names = [op.name for op in work.ops]
    assert len(names) == len(set(names))
    assert all(op.calls >= 0 and op.runtime == "torch" for op in work.ops)


def test_work_of_the_documents_run_lies_within_one_percent_of_table_2():
    work = elman_training(hidden=128, data_bytes=N, epochs=E, batch=32, bptt=50)
    assert work.flops == pytest.approx(elman_flops_table_2(128, N, E), rel=0.01)
    assert work.int_ops == 0


def test_the_optimizer_share_falls_with_the_batch():
    def share(batch):
        work = elman_training(hidden=128, data_bytes=N, epochs=1, batch=batch, bptt=50)
        update = sum(op.total_flops for op in work.ops if op.name == "clip and Adam")
        return update / elman_flops_published(128, N, 1)

    assert share(1) == pytest.approx(0.0893, abs=5e-4)
    assert share(32) == pytest.approx(0.0028, abs=5e-5)
