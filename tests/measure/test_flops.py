"""The operator counter against counts by hand, and the closed form against the counter."""

import numpy as np
import pytest
import torch

from microdollar.learn.gradient.rnn import ElmanBPTT
from microdollar.measure.flops import count_flops
from microdollar.spec.data import DataSpec


def counted(run):
    return dict(count_flops(run).by_operator)


def test_products_and_what_they_are_added_to():
    a, b, c = torch.ones(3, 5), torch.ones(5, 7), torch.ones(3, 7)
    assert counted(lambda: a @ b) == {"mm": 2 * 3 * 5 * 7}
    assert counted(lambda: torch.addmm(c, a, b)) == {"addmm": 2 * 3 * 5 * 7 + 3 * 7}
    assert counted(lambda: torch.addmm(c, a, b, beta=0)) == {"addmm": 2 * 3 * 5 * 7}
    assert counted(lambda: c.addmm_(a, b)) == {"addmm_": 2 * 3 * 5 * 7 + 3 * 7}
    assert counted(lambda: torch.mm(a, b, out=c)) == {"mm": 2 * 3 * 5 * 7}


def test_arrays_one_operator_at_a_time():
    x, y = torch.rand(4, 6), torch.rand(4, 6)
    assert counted(lambda: x + y) == {"add": 24}
    assert counted(lambda: torch.add(x, y, alpha=2)) == {"add": 48}
    assert counted(lambda: x.tanh_()) == {"tanh_": 24}
    assert counted(lambda: x.sum(0)) == {"sum": 24}
    assert counted(lambda: x.mean()) == {"mean": 25}
    assert counted(lambda: torch.softmax(x, -1)) == {"_softmax": 96}
    assert counted(lambda: torch.softmax(x, -1, out=y)) == {"softmax": 96}
    assert counted(lambda: torch.addcmul(x, x, y, value=-1)) == {"addcmul": 48}
    assert counted(lambda: torch.addcmul(x, x, y, value=3.0)) == {"addcmul": 72}
    assert counted(lambda: torch.linalg.vector_norm(x)) == {"linalg_vector_norm": 48}
    assert counted(lambda: torch._foreach_mul([x, y], 2.0)) == {"_foreach_mul": 48}
    rows = torch.tensor([0, 0, 3, 3])
    assert counted(lambda: x.index_add_(0, rows, y)) == {"index_add_": 24}


def test_copies_comparisons_and_integers_are_free_but_covered():
    x, i = torch.rand(4, 6), torch.arange(24)
    for run in (
        lambda: x.clone(),
        lambda: x > 0.5,
        lambda: x.relu(),
        lambda: x.view(-1)[i],
        lambda: i + i,
        lambda: x.max(),
        lambda: torch.empty(3).uniform_(),
    ):
        count = count_flops(run)
        assert (count.flops, count.coverage, dict(count.uncounted)) == (0, 1.0, {})


def test_an_operator_without_a_rule_is_named_and_lowers_the_coverage():
    x = torch.rand(100)
    count = count_flops(lambda: torch.special.i0(x * 2.0) * 2.0)
    assert dict(count.uncounted) == {"i0": 1}
    assert count.coverage == pytest.approx(2 / 3)
    quantity = count.quantity()
    assert quantity.value == 200
    assert quantity.basis == "counter"
    assert quantity.coverage == pytest.approx(2 / 3)
    assert "i0 x 1" in quantity.reason


def test_nothing_run_is_all_covered():
    assert count_flops(lambda: None).quantity().value == 0


def test_backward_of_a_linear_layer_with_cross_entropy():
    """n rows, k inputs, m classes; the input needs no gradient."""
    n, k, m = 5, 4, 3
    layer = torch.nn.Linear(k, m)
    x, y = torch.rand(n, k), torch.tensor([0, 1, 2, 0, 1])

    def step():
        torch.nn.functional.cross_entropy(layer(x), y).backward()

    assert counted(step) == {
        "addmm": 2 * n * k * m + n * m,
        "_log_softmax": 4 * n * m,
        "nll_loss_forward": n,
        "_log_softmax_backward_data": 4 * n * m,
        "mm": 2 * n * k * m,
        "sum": n * m,
    }


@pytest.mark.parametrize(("options", "each"), [({}, 13), ({"weight_decay": 0.1}, 15)])
def test_fused_adam_has_a_rule(options, each):
    weights = torch.ones(50, requires_grad=True)
    weights.grad = torch.ones(50)
    adam = torch.optim.Adam([weights], fused=True, **options)
    adam.step()
    count = count_flops(adam.step)
    assert dict(count.by_operator) == {"_fused_adam_": each * 50, "_foreach_add_": 1}
    assert count.coverage == 1.0


@pytest.mark.parametrize(
    ("hidden", "batch", "bptt", "data_bytes", "epochs"),
    [
        (8, 4, 5, 103, 2),
        (16, 3, 7, 500, 1),
        (5, 32, 50, 40, 3),
        (128, 32, 50, 4000, 1),
        (8, 1, 5, 2, 1),
        (33, 2, 1, 30, 2),
    ],
)
def test_closed_form_of_the_elman_run_is_what_is_executed(hidden, batch, bptt, data_bytes, epochs):
    """Exact, and every operator of the run has a rule."""
    learner = ElmanBPTT(hidden=hidden, batch=batch, bptt=bptt, epochs=epochs)
    data = np.random.default_rng(0).integers(0, 256, data_bytes).astype(np.uint8)
    count = count_flops(lambda: learner.fit(data))
    assert count.flops == learner.work(DataSpec(bytes=data_bytes)).flops
    assert count.coverage == 1.0
    assert not count.uncounted
