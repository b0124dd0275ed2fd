"""A step that torch compiles whole, which is also the path of an accelerator: flags, no values."""

import shutil

import pytest
import torch
import torch._dynamo
from torch import nn

from microdollar.learn.optim import Collins, update

OPTIONS = [
    {"nonfinite": "skip"},
    {"m_state": "2bit", "v_state": "tile"},
    {"m_state": "1bit"},
    {"m_state": "bf16", "v_state": "8bit", "maximize": True},
]


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def run(options, backend, dtype, steps=4):
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(shape).to(dtype)) for shape in ((64, 80), (80,), (3, 3))]
    optimizer = Collins(params, lr=1e-2, **options)
    step = optimizer.step
    if backend:
        step = torch.compile(step, backend=backend, fullgraph=True)
    for number in range(steps):
        for param in params:
            param.grad = torch.randn(param.shape).to(dtype)
        if number == 2:
            params[0].grad[1, 1] = float("nan")
            params[2].grad[0, 0] = float("inf")
        step()
    return params, optimizer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_compiled_step_does_the_same_without_a_graph_break(options, dtype):
    ours, optimizer = run({**options, "fused": False}, "eager", dtype)
    expected, reference = run({**options, "fused": False}, None, dtype)
    for a, b in zip(ours, expected, strict=True):
        # Sums in another order turn a code over, or a rounding, at a tie here and there.
        close = torch.isclose(a, b, rtol=1e-5, atol=1e-6)
        assert close.float().mean() > 0.995
    assert optimizer.skipped_updates == reference.skipped_updates == 2
    assert [float(state["step"]) for state in optimizer.state.values()] == [3, 4, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "options",
    [*OPTIONS, {"m_state": "none", "v_state": "none"}, {"lr": torch.tensor(1e-2)}],
)
def test_an_accelerator_is_asked_for_no_value(options, dtype):
    """A tensor on ``meta`` has none to give, and does not go with tensors that are elsewhere."""
    shapes = ((64, 80), (9,), (3, 3), (64, 8, 5, 5), (0,))
    params = [nn.Parameter(torch.empty(shape, device="meta", dtype=dtype)) for shape in shapes]
    for foreach in (None, False):
        optimizer = Collins(params, **{"foreach": foreach, **options})
        for param in params:
            param.grad = torch.empty_like(param)
        optimizer.step()
        optimizer.step()
        assert {state["step"].device.type for state in optimizer.state.values()} == {"meta"}


@pytest.mark.parametrize("foreach", [None, False])
@pytest.mark.parametrize("found", [None, 0.0, 1.0])
def test_flags_do_what_asking_does(found, foreach, monkeypatch):
    results = []
    for asked in (True, False):
        if not asked:
            monkeypatch.setattr(update, "_on_host", lambda *_: False)
        torch.manual_seed(0)
        params = [nn.Parameter(torch.randn(shape)) for shape in ((64, 80), (80,), (3, 3), (7,))]
        optimizer = Collins(params, lr=1e-2, fused=False, foreach=foreach)
        if found is not None:
            optimizer.found_inf = torch.tensor(found)
        for number in range(3):
            for param in params:
                param.grad = torch.randn_like(param)
            if number == 1:
                params[0].grad[1, 1] = params[2].grad[0, 0] = float("nan")
            optimizer.step()
        results.append((params, optimizer))
    (ours, one), (theirs, other) = results
    for a, b in zip(ours, theirs, strict=True):
        assert torch.isclose(a, b, rtol=1e-5, atol=1e-7).float().mean() > 0.999
        assert one.state[a]["step"] == other.state[b]["step"] == (0 if found else 3 - (a.dim() > 1))
    # What GradScaler leaves out, it counts itself.
    assert one.skipped_updates == other.skipped_updates == (0 if found else 2)


@pytest.mark.filterwarnings("ignore")
def test_another_rate_in_a_tensor_does_not_compile_again():
    weight = nn.Parameter(torch.randn(64, 64))
    optimizer = Collins([weight], lr=torch.tensor(1e-2))
    step = torch.compile(optimizer.step, backend="eager", fullgraph=True)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    moved = []
    with torch._dynamo.config.patch(error_on_recompile=False):
        weight.grad = torch.ones_like(weight)
        step()
        step()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(3):
            before = weight.detach().clone()
            step()
            moved.append(float((weight - before).abs().mean()))
            scheduler.step()
    assert moved[0] > 1.5 * moved[1] > 2 * moved[2]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="inductor compiles with gcc")
def test_inductor_compiles_it():
    ours, optimizer = run({"fused": False}, "inductor", torch.float32, steps=2)
    expected, _ = run({"fused": False}, None, torch.float32, steps=2)
    for a, b in zip(ours, expected, strict=True):
        # It does not round the scale of a block to bfloat16 before it uses it.
        assert torch.isclose(a, b, rtol=1e-3, atol=1e-4).float().mean() > 0.98
    assert all(float(state["step"]) == 2 for state in optimizer.state.values())
