"""The step of a matrix: what its code loses of momentum moves the parameter at once."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from microdollar.learn.optim import Collins
from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.momentum import MOMENTUM
from microdollar.learn.optim.reference import Step, matrix_step, new_state

CPU = torch.device("cpu")
CODES = ("fp32", "bf16", "8bit", "4bit", "2bit", "1bit")
SHAPE = (24, 300)
LR = 0.01


def gradients(count, shape=SHAPE):
    """Of a common direction and chance, rows of other sizes, one of outliers."""
    draw = torch.Generator().manual_seed(0)
    common = torch.randn(shape, generator=draw)
    size = torch.logspace(-2, 1, shape[0])[:, None]
    found = [(common + torch.randn(shape, generator=draw)) * size for _ in range(count)]
    for one in found:
        one[3, ::70] *= 50
    return found


def kept(state, m_state):
    """The momentum that is kept, float64."""
    return MOMENTUM[m_state].decode(state, slice(0, SHAPE[0]), SHAPE[1]).double()


def near(found, wanted, scale):
    """Within float32's rounding of numbers as large as ``scale``, over some 100 operations."""
    off = ((found - wanted).abs() / (scale.abs().amax(dim=1, keepdim=True) + 1)).max()
    assert off < 1e-5, f"{off:.2g}"


@pytest.mark.parametrize("beta1", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("m_state", CODES)
def test_each_gradient_has_its_whole_effect_now_or_through_what_is_kept(m_state, beta1):
    """Of moments that are not bias-corrected: p_t - lr b/(1-b) q_t = p_0 - lr (g_1 + ... + g_t).

    With q coded as badly as it may be. What is kept moves p by lr (b + b^2 + ...) q later.
    """
    param = torch.zeros(SHAPE)
    state = new_state(Matrix(*SHAPE), m_state, "none", CPU)
    step = Step(
        lr=LR, beta1=beta1, beta2=0.99, eps=0.0, weight_decay=0.0, correction1=1.0, correction2=1.0
    )
    total = torch.zeros(SHAPE, dtype=torch.float64)
    for grad in gradients(40):
        matrix_step(param, grad, state, step, m_state=m_state, v_state="none")
        total -= LR * grad.double()
        later = LR * beta1 / (1 - beta1) * kept(state, m_state)
        near(param.double() - later, total, total.abs() + later.abs())


@pytest.mark.parametrize("fused", [False, None])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("m_state", CODES)
def test_the_optimizer_adds_to_that_what_bias_correction_adds(m_state, maximize, fused):
    """Of m_s = b q_(s-1) + (1-b) g_s it adds lr (1/(1 - b^s) - 1) m_s, and nothing else.

    By plain torch and by compiled loops.
    """
    beta1 = 0.9
    param = nn.Parameter(torch.zeros(SHAPE))
    optimizer = Collins(
        [param], LR, (beta1, 0.99), eps=0.0, weight_decay=0.0, m_state=m_state, v_state="none",
        maximize=maximize, fused=fused, exact_below=0,
    )  # fmt: skip
    up = 1 if maximize else -1
    total = torch.zeros(SHAPE, dtype=torch.float64)
    before = torch.zeros(SHAPE, dtype=torch.float64)
    for count, grad in enumerate(gradients(25), start=1):
        param.grad = grad
        optimizer.step()
        momentum = beta1 * before - up * (1 - beta1) * grad.double()
        total += up * LR * grad.double()
        total -= LR * (1 / (1 - beta1**count) - 1) * momentum
        before = kept(optimizer.state[param], m_state)
        later = LR * beta1 / (1 - beta1) * before
        near(param.detach().double() - later, total, total.abs() + later.abs())


@pytest.mark.parametrize(("m_state", "lost"), [("8bit", 0.002), ("2bit", 0.03), ("1bit", 0.05)])
def test_after_the_last_gradient_only_the_released_parameter_has_had_them_all(m_state, lost):
    """``lost``: of the effect of 20 gradients, at least so much without release."""
    found = {}
    given = gradients(20)
    total = -LR * torch.stack(given).double().sum(dim=0)
    for release in (True, False):
        param = torch.zeros(SHAPE)
        state = new_state(Matrix(*SHAPE), m_state, "none", CPU)
        step = Step(
            lr=LR, beta1=0.9, beta2=0.99, eps=0.0, weight_decay=0.0, correction1=1.0,
            correction2=1.0, release=release,
        )  # fmt: skip
        for grad in given + [torch.zeros(SHAPE)] * 200:
            matrix_step(param, grad, state, step, m_state=m_state, v_state="none")
        found[release] = float((param.double() - total).norm() / total.norm())
    assert found[True] < 1e-6
    assert found[False] > lost


@pytest.mark.parametrize("v_state", ["factored", "tile", "fp32"])
@pytest.mark.parametrize("m_state", CODES)
def test_without_release_it_is_adamw_whose_momentum_is_rounded_between_steps(m_state, v_state):
    """The usual rule, in float64 but for what is kept: u = m / correction1 / (root + eps)."""
    given = gradients(10)
    param = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    wanted = param.double()
    state = new_state(Matrix(*SHAPE), m_state, v_state, CPU)
    square = torch.zeros(SHAPE, dtype=torch.float64)
    for count, grad in enumerate(given, start=1):
        step = Step(
            lr=LR, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.1, correction1=1 - 0.9**count,
            correction2=1 - 0.99**count, release=False,
        )  # fmt: skip
        momentum = 0.9 * kept(state, m_state) + 0.1 * grad.double()
        square = 0.99 * square + 0.01 * grad.double() ** 2
        second = square
        if v_state == "factored":
            second = second.mean(1)[:, None] * second.mean(0) / second.mean()
        elif v_state == "tile":
            short = [
                part.mean(dim=1, keepdim=True).expand_as(part) for part in second.split(256, 1)
            ]
            second = torch.cat(short, dim=1)
        root = (second / step.correction2).sqrt() + step.eps
        wanted = wanted * (1 - LR * 0.1) - LR * momentum / step.correction1 / root
        matrix_step(param, grad, state, step, m_state=m_state, v_state=v_state)
        torch.testing.assert_close(param.double(), wanted, rtol=1e-5, atol=1e-6)


@dataclass(frozen=True)
class Nothing:
    """A code of which every momentum is decoded as zero."""

    def new(self, matrix, device):
        return {}

    def decode(self, state, rows, cols):
        return torch.zeros(rows.stop - rows.start, cols)

    def encode(self, state, rows, momentum, keep=None):
        return torch.zeros_like(momentum)


@pytest.mark.parametrize("beta1", [0.0, 0.9, 0.999])
def test_releasing_all_momentum_is_a_step_without_any(beta1, monkeypatch):
    """But for bias correction, of which a step without momentum has none."""
    monkeypatch.setitem(MOMENTUM, "nothing", Nothing())
    params = [torch.zeros(SHAPE), torch.zeros(SHAPE)]
    states = [new_state(Matrix(*SHAPE), "none", "factored", CPU) for _ in params]
    step = Step(
        lr=LR, beta1=beta1, beta2=0.99, eps=1e-8, weight_decay=0.1, correction1=1.0,
        correction2=0.01,
    )  # fmt: skip
    for grad in gradients(5):
        for param, state, m_state in zip(params, states, ("none", "nothing"), strict=True):
            matrix_step(param, grad, state, step, m_state=m_state, v_state="factored")
    # (1 - b) g is rounded before it is divided by 1 - b.
    torch.testing.assert_close(params[0], params[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("m_state", ["fp32", "none"])
def test_where_nothing_is_lost_release_makes_no_difference(m_state):
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    results = []
    step = Step(
        lr=LR, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.1, correction1=0.5, correction2=0.5
    )
    for release in (True, False):
        param, state = start.clone(), new_state(Matrix(*SHAPE), m_state, "factored", CPU)
        for grad in gradients(5):
            matrix_step(
                param, grad, state, replace(step, release=release), m_state=m_state,
                v_state="factored",
            )  # fmt: skip
        results.append(param)
    assert torch.equal(*results)


def test_sparse_gradients_release_too():
    """All rows touched in every step, the law is the same; the factor is then of all rows."""
    param = nn.Parameter(torch.zeros(SHAPE))
    options = {"eps": 0.0, "weight_decay": 0.0, "m_state": "1bit", "v_state": "none"}
    optimizer = Collins([param], LR, exact_below=0, **options)
    dense = nn.Parameter(torch.zeros(SHAPE))
    other = Collins([dense], LR, exact_below=0, fused=False, **options)
    rows = torch.arange(SHAPE[0])[None]
    for grad in gradients(8):
        param.grad = torch.sparse_coo_tensor(rows, grad, SHAPE, check_invariants=True)
        dense.grad = grad
        optimizer.step()
        other.step()
    torch.testing.assert_close(param, dense, rtol=1e-6, atol=1e-7)
