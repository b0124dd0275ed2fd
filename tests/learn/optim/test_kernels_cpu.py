"""Compiled steps against the plain torch step."""

from dataclasses import replace

import pytest
import torch

from microdollar.learn.optim import kernels_cpu, rounding
from microdollar.learn.optim.kernels_cpu import Job, matrix_step, matrix_steps, usable
from microdollar.learn.optim.layout import BLOCK, Matrix
from microdollar.learn.optim.momentum import MOMENTUM
from microdollar.learn.optim.reference import Step, new_state
from microdollar.learn.optim.reference import matrix_step as plain_step

# Whole blocks, odd columns, a short last block, less than a block, several pieces.
SHAPES = [(16, 256), (40, 131), (17, 300), (130, 16), (32, 2049), (16, 128), (19, 1344)]
CODED = ("8bit", "4bit", "2bit", "1bit")
STEP = Step(
    lr=2e-3,
    beta1=0.9,
    beta2=0.99,
    eps=1e-8,
    weight_decay=0.1,
    correction1=1 - 0.9**4,
    correction2=1 - 0.99**4,
)


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _gradient(shape, dtype=torch.float32, scale=1e-3):
    rows, cols = shape
    spread = torch.rand(rows, 1) * torch.rand(1, cols)
    return (torch.randn(shape) * spread * scale).to(dtype)


def _start(shape, m_state, v_state, dtype=torch.float32, seed=0):
    """A parameter and a state that has seen two gradients."""
    torch.manual_seed(seed)
    param = torch.randn(shape).to(dtype)
    state = new_state(Matrix(*shape), m_state, v_state, param.device)
    for _ in range(2):
        plain_step(param, _gradient(shape), state, STEP, m_state=m_state, v_state=v_state)
    return param, state


def _copy(state):
    return {name: tensor.clone() for name, tensor in state.items()}


def _unequal(a, b):
    return float((a != b).float().mean())


def _same_codes(state, other, shape, m_state):
    """Which elements are kept as the same momentum, (rows, cols)."""
    if m_state == "none":
        return torch.ones(shape, dtype=torch.bool)
    kept = [MOMENTUM[m_state].decode(one, slice(0, shape[0]), shape[1]) for one in (state, other)]
    return kept[0].sub(kept[1]).abs() <= 1e-5 * kept[1].abs() + 1e-12


def _check_step(param, grad, state, step, m_state, v_state):
    """The compiled step against the plain one, of copies."""
    kinds = {"m_state": m_state, "v_state": v_state}
    got, got_state, want, want_state = param.clone(), _copy(state), param.clone(), _copy(state)
    plain_step(want, grad, want_state, step, **kinds)
    assert usable(param, grad, m_state, v_state)
    assert matrix_step(got, grad, got_state, step, **kinds)
    # Rounding in another order moves a few momenta, and scales of blocks, over the edge of a code;
    # and what a code loses moves the parameter.
    moved = 0
    if m_state in CODED:
        moved = int((got_state["m_scale"] != want_state["m_scale"]).sum())
    same = _same_codes(got_state, want_state, param.shape, m_state)
    few = 1e-2 if m_state == "bf16" else 1e-4
    assert int((~same).sum()) <= 2 + few * param.numel() + BLOCK * moved
    blocks = -(-param.shape[1] // BLOCK) * param.shape[0]
    assert moved <= 1 + 0.01 * blocks
    assert bool(torch.isfinite(got).all())
    # To float32's rounding of parameters of size 1, and of the largest step.
    near = 2e-6 * float((want - param).abs().max())
    torch.testing.assert_close(got[same], want[same], rtol=1e-6, atol=near)
    for name, tensor in got_state.items():
        if tensor.dtype == torch.float32:
            # Of the largest, since old and new momentum may cancel.
            near = 1e-6 * float(want_state[name].abs().max())
            torch.testing.assert_close(tensor, want_state[name], rtol=5e-6, atol=near)


@pytest.mark.parametrize("m_state", kernels_cpu.M_KINDS)
@pytest.mark.parametrize("v_state", kernels_cpu.V_KINDS)
@pytest.mark.parametrize("release", [True, False])
def test_a_step_is_that_of_plain_torch(m_state, v_state, release):
    for seed, shape in enumerate(SHAPES):
        for grad_dtype in (torch.float32, torch.bfloat16):
            param, state = _start(shape, m_state, v_state, seed=seed)
            step = replace(STEP, maximize=seed % 2 == 1, release=release)
            _check_step(param, _gradient(shape, grad_dtype), state, step, m_state, v_state)


def test_share_of_unequal_codes_over_many_states():
    unequal = {"4bit": [], "2bit": [], "1bit": []}
    for m_state, shares in unequal.items():
        for seed in range(8):
            param, state = _start((64, 512), m_state, "factored", seed=seed)
            want_state, grad = _copy(state), _gradient((64, 512))
            kinds = {"m_state": m_state, "v_state": "factored"}
            plain_step(param.clone(), grad, want_state, STEP, **kinds)
            matrix_step(param, grad, state, STEP, **kinds)
            shares.append(_unequal(state["m_codes"], want_state["m_codes"]))
        assert sum(shares) / len(shares) < 1e-5


@pytest.mark.parametrize("eps", [0.0, 1e-8, 1e-5, 1e-3, 1.0])
@pytest.mark.parametrize("m_state", ["4bit", "1bit"])
def test_eps_counts_as_much_where_roots_are_small(eps, m_state):
    param, state = _start((40, 300), m_state, "factored")
    step = replace(STEP, eps=eps)
    _check_step(param, _gradient((40, 300)), state, step, m_state, "factored")


@pytest.mark.parametrize("m_state", CODED)
def test_rows_and_columns_that_never_had_a_gradient(m_state):
    grad = _gradient((32, 512))
    grad[3], grad[:, 7], grad[:, 256:] = 0, 0, 0
    param, state = (
        torch.randn(32, 512),
        new_state(Matrix(32, 512), m_state, "factored", grad.device),
    )
    _check_step(param, grad, state, STEP, m_state, "factored")


@pytest.mark.parametrize("how", ["nearest", "stochastic"])
@pytest.mark.parametrize("shape", [(40, 131), (64, 2049)])
def test_bfloat16_parameters_are_rounded_as_plain_torch_rounds(how, shape):
    step = replace(STEP, rounding=how, key=rounding.key_of(7, 3, 4))
    param, state = _start(shape, "4bit", "factored", torch.bfloat16)
    grad = _gradient(shape, torch.bfloat16)
    want, want_state = param.clone(), _copy(state)
    plain_step(want, grad, want_state, step, m_state="4bit", v_state="factored")
    matrix_step(param, grad, state, step, m_state="4bit", v_state="factored")
    same = _same_codes(state, want_state, shape, "4bit")
    assert _unequal(param[same], want[same]) < 4e-4
    torch.testing.assert_close(param[same], want[same], rtol=2**-7, atol=0)


@pytest.mark.parametrize(
    ("m_state", "v_state"),
    [("4bit", "factored"), ("4bit", "tile"), ("2bit", "factored"), ("1bit", "factored")],
)
def test_results_do_not_depend_on_the_number_of_threads(m_state, v_state):
    shapes = [(600, 513), (40, 131), (96, 300), (530, 517)]
    results = []
    for threads, together in ((1, True), (2, True), (3, False)):
        starts = [_start(shape, m_state, v_state, seed=1) for shape in shapes]
        torch.manual_seed(5)
        jobs = [
            Job(param=p, grad=_gradient(p.shape), state=s, step=STEP, m_state=m_state,
                v_state=v_state)
            for p, s in starts
        ]  # fmt: skip
        torch.set_num_threads(threads)
        if together:
            assert matrix_steps(jobs) == [True] * len(jobs)
        else:
            assert [matrix_steps([job])[0] for job in jobs] == [True] * len(jobs)
        torch.set_num_threads(1)
        results.append([t for job in jobs for t in (job.param, *job.state.values())])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), -float("inf"), 1e30])
@pytest.mark.parametrize("v_state", kernels_cpu.V_KINDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_gradient_that_is_not_finite_changes_nothing(bad, v_state, threads):
    for dtype in (torch.float32, torch.bfloat16):
        param, state = _start((530, 517), "4bit", v_state)
        grad = _gradient((530, 517), dtype)
        grad[529, 516] = bad
        torch.set_num_threads(threads)
        before, state_before, version = param.clone(), _copy(state), param._version
        assert not matrix_step(param, grad, state, STEP, m_state="4bit", v_state=v_state)
        torch.set_num_threads(1)
        assert torch.equal(param, before) and param._version == version
        assert all(torch.equal(state[name], state_before[name]) for name in state)


@pytest.mark.parametrize("m_state", kernels_cpu.M_KINDS)
@pytest.mark.parametrize("shape", [(17, 131), (130, 16), (16, 2049)])
def test_nothing_is_written_out_of_bounds(m_state, shape):
    """Every tensor lies between margins that must stay as they are."""
    margin = 64

    def framed(tensor):
        whole = torch.full((tensor.numel() + 2 * margin,), 1, dtype=tensor.dtype)
        inside = whole[margin:-margin].view(tensor.shape)
        inside.copy_(tensor)
        return whole, inside

    for v_state in kernels_cpu.V_KINDS:
        param, state = _start(shape, m_state, v_state)
        wholes, insides = {}, {}
        for name, tensor in (state | {"p": param, "g": _gradient(shape)}).items():
            wholes[name], insides[name] = framed(tensor)
        p, g = insides.pop("p"), insides.pop("g")
        assert matrix_step(p, g, insides, STEP, m_state=m_state, v_state=v_state)
        for name, whole in wholes.items():
            assert bool((whole[:margin] == 1).all() and (whole[-margin:] == 1).all()), name


def test_what_it_cannot_do_is_said_beforehand():
    good = torch.zeros(32, 32)
    assert usable(good, good, "4bit", "factored")
    assert not usable(good, good, "4bit", "8bit")
    assert not usable(good, good, "sketch", "factored")
    for other in (
        good.t()[:, ::2], good.double(), good.half(), good.to_sparse(), good[:0], good.to("meta"),
        None,
    ):  # fmt: skip
        assert not usable(other, good, "4bit", "factored")
        assert not usable(good, other, "4bit", "factored")


def test_a_state_of_another_shape_is_refused_and_nothing_is_changed():
    param, state = _start((40, 131), "4bit", "factored")
    before = param.clone()
    for name, wrong in (
        ("m_codes", torch.zeros(40, 65, dtype=torch.uint8)),
        ("m_scale", torch.zeros(40, 2)),
        ("v_col", torch.zeros(262)[::2]),
    ):
        with pytest.raises(ValueError, match=name):
            matrix_step(param, param, state | {name: wrong}, STEP, m_state="4bit",
                        v_state="factored")  # fmt: skip
    with pytest.raises(ValueError, match="gradient"):
        matrix_step(param, param[:20], state, STEP, m_state="4bit", v_state="factored")
    assert torch.equal(param, before)


def test_a_parameter_counts_as_changed_in_place():
    param, state = _start((32, 64), "4bit", "factored")
    version = param._version
    matrix_step(param, _gradient((32, 64)), state, STEP, m_state="4bit", v_state="factored")
    assert param._version > version
