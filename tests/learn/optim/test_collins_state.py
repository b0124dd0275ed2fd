"""What Collins keeps: loading, other configurations, bad gradients, shapes, and odd parameters."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from microdollar.learn.optim import Collins, exact, reference

CODES = [
    {},
    {"m_state": "2bit", "v_state": "tile"},
    {"m_state": "1bit"},
    {"m_state": "bf16", "v_state": "8bit"},
    {"m_state": "sketch", "v_state": "sketch", "compression": 4},
]


def stepped(params, **options):
    """An optimizer of ``params`` after some steps of random gradients."""
    optimizer = Collins(params, lr=1e-2, **options)
    step(optimizer, 3, first=0)
    return optimizer


def step(optimizer, steps=1, first=100):
    for number in range(steps):
        torch.manual_seed(first + number)
        for group in optimizer.param_groups:
            for param in group["params"]:
                param.grad = torch.randn(param.shape).to(param.dtype)
        optimizer.step()


def parameters(dtype=torch.float32):
    torch.manual_seed(1)
    return [
        nn.Parameter(torch.randn(shape).to(dtype)) for shape in ((48, 130), (130,), (32, 8, 3, 3))
    ]


def rows_of(rows, values, many):
    """A sparse gradient of some rows."""
    size = (many, values.shape[1])
    return torch.sparse_coo_tensor(rows[None], values, size, check_invariants=True)


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def snapshot(optimizer):
    return copy.deepcopy(optimizer.state_dict())


def assert_unchanged(optimizer, before):
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert after["state"].keys() == before["state"].keys()
    for key, state in after["state"].items():
        assert all(torch.equal(value, before["state"][key][name]) for name, value in state.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("options", CODES)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(options, dtype):
    params = parameters(dtype)
    optimizer = stepped(params, **options)
    others = copy.deepcopy(params)
    resumed = Collins(others, lr=0.5, **options)
    resumed.load_state_dict(through_a_file(optimizer.state_dict()))
    for one, other in zip(params, others, strict=True):
        for name, value in optimizer.state[one].items():
            assert resumed.state[other][name].dtype == value.dtype
            assert resumed.state[other][name].data_ptr() != value.data_ptr()
    step(optimizer, 3)
    step(resumed, 3)
    for one, other in zip(params, others, strict=True):
        assert torch.equal(one, other)


def test_counts_may_be_numbers_and_older_options_may_lack():
    optimizer = stepped(parameters())
    state = optimizer.state_dict()
    for one in state["state"].values():
        one["step"] = one["step"].item()
    for name in ("foreach", "fused", "nonfinite", "rounding", "maximize", "release"):
        del state["param_groups"][0][name]
    optimizer.load_state_dict(state)
    step(optimizer)
    assert all(one["step"] == 4 for one in optimizer.state.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"m_state": "4bit"}, "m_state='2bit' here and '4bit' in the state dict"),
        ({"m_state": "1bit"}, "m_state='2bit' here and '1bit' in the state dict"),
        ({"v_state": "tile"}, "v_state='factored' here and 'tile'"),
        ({"exact_below": 10**6}, "exact_below=4096 here and 1000000"),
        ({"seed": 1}, "seed=0 here and 1"),
    ],
)
def test_a_state_of_other_options_is_refused(options, words):
    optimizer = stepped(parameters())
    before = snapshot(optimizer)
    with pytest.raises(ValueError, match=words):
        optimizer.load_state_dict(stepped(parameters(), **options).state_dict())
    assert_unchanged(optimizer, before)


def test_release_may_change_between_steps():
    """It says nothing about what a state means."""
    params = parameters()
    optimizer = stepped(params, m_state="2bit", release=False)
    others = copy.deepcopy(params)
    resumed = Collins(others, m_state="2bit")
    resumed.load_state_dict(optimizer.state_dict())
    # With the options that the state was saved with, as for any other of torch's optimizers.
    assert resumed.param_groups[0]["release"] is False
    resumed.param_groups[0]["release"] = True
    step(optimizer)
    step(resumed)
    assert not torch.equal(params[0], others[0])
    assert torch.equal(params[1], others[1])
    assert torch.equal(optimizer.state[params[0]]["m_codes"], resumed.state[others[0]]["m_codes"])


def test_adamws_state_is_refused():
    params = parameters()
    adamw = torch.optim.AdamW(params)
    step(adamw)
    optimizer = stepped(parameters())
    before = snapshot(optimizer)
    with pytest.raises(ValueError, match=r"no m_state, .*another optimizer.*m_state='2bit'"):
        optimizer.load_state_dict(adamw.state_dict())
    assert_unchanged(optimizer, before)


def test_a_state_of_another_shape_is_refused_by_name():
    def named(rows):
        return [("bias", nn.Parameter(torch.zeros(5))), ("w", nn.Parameter(torch.zeros(rows, 128)))]

    optimizer = stepped(named(32))
    before = snapshot(optimizer)
    with pytest.raises(ValueError, match=r"'w' of group 0 .*\(32, 32\).*\(32, 128\).*\(64, 32\)"):
        optimizer.load_state_dict(stepped(named(64)).state_dict())
    assert_unchanged(optimizer, before)
    state = snapshot(optimizer)
    state["state"][1]["m_codes"] = state["state"][1]["m_codes"].float()
    with pytest.raises(ValueError, match=r"m_codes .*torch\.uint8.*torch\.float32"):
        optimizer.load_state_dict(state)
    del state["state"][1]["v_col"]
    with pytest.raises(ValueError, match=r"should hold step, .*v_col.*it holds step"):
        optimizer.load_state_dict(state)
    assert_unchanged(optimizer, before)


@pytest.mark.parametrize("way", [{}, {"fused": False}, {"foreach": False, "fused": False}])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e25])
def test_a_tensor_whose_gradient_is_not_finite_is_left_out(bad, way):
    params = parameters()
    optimizer = stepped(params, **way)
    states = snapshot(optimizer)["state"]
    values = [param.detach().clone() for param in params]
    for param in params:
        param.grad = torch.ones_like(param)
    params[0].grad[3, 4] = bad
    params[1].grad[0] = bad
    optimizer.step()
    assert [torch.equal(a, b) for a, b in zip(params, values, strict=True)] == [True, True, False]
    for number in (0, 1):
        for name, value in optimizer.state[params[number]].items():
            assert torch.equal(value, states[number][name])
    assert optimizer.skipped_updates == 2


def test_raise_names_the_parameter_and_changes_nothing():
    params = parameters()
    named = [(f"layer.{number}", param) for number, param in enumerate(params)]
    optimizer = stepped(named, nonfinite="raise")
    before, values = snapshot(optimizer), [param.detach().clone() for param in params]
    params[2].grad[0, 0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"'layer\.2' of shape \(32, 8, 3, 3\)"):
        optimizer.step()
    assert_unchanged(optimizer, before)
    assert all(torch.equal(a, b) for a, b in zip(params, values, strict=True))


def test_a_shape_that_changed_is_refused():
    params = parameters()
    optimizer = stepped(params)
    last = params[2].detach().clone()
    params[0].data = torch.zeros(48, 131)
    params[0].grad = torch.zeros(48, 131)
    with pytest.raises(ValueError, match=r"v_col in the state of parameter 0"):
        optimizer.step()
    assert torch.equal(params[2], last)


@pytest.mark.parametrize("scale", [None, 8.0])
def test_a_scaler_leaves_scale_and_skipping_to_a_fused_step(scale):
    params, plain = parameters(), parameters()
    optimizer, reference = Collins(params, fused=True), Collins(plain, fused=True)
    for a, b in zip(params, plain, strict=True):
        b.grad = torch.randn_like(b)
        a.grad = b.grad * (scale or 1.0)
    assert optimizer._step_supports_amp_scaling
    optimizer.grad_scale = None if scale is None else torch.tensor(scale)
    optimizer.found_inf = torch.tensor(1.0)
    before = [param.detach().clone() for param in params]
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(params, before, strict=True))
    # Unscaled or not, gradients of a skipped step are of no use.
    for a, b in zip(params, plain, strict=True):
        a.grad = b.grad * (scale or 1.0)
    optimizer.found_inf = torch.tensor(0.0)
    optimizer.step()
    reference.step()
    for a, b in zip(params, plain, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("m_state", ["4bit", "2bit", "1bit"])
@pytest.mark.parametrize("fused", [True, None])
def test_torchs_scaler_works_with_it(m_state, fused):
    weight = nn.Parameter(torch.ones(64, 64))
    optimizer = Collins([weight], m_state=m_state, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for bad in (False, True):
        before = weight.detach().clone()
        optimizer.zero_grad()
        scaler.scale((weight * (float("inf") if bad else 0.5)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(before, weight) is bad
    assert scaler.get_scale() == 512.0


def test_strides_make_no_difference():
    torch.manual_seed(0)
    plain = [torch.randn(24, 16, 5, 5), torch.randn(96, 64), torch.randn(10, 6)]
    strided = [
        plain[0].clone().to(memory_format=torch.channels_last),
        plain[1].t().contiguous().t(),
        torch.stack([plain[2], plain[2]], dim=2)[..., 0],
    ]
    results = []
    for tensors in (plain, strided):
        params = [nn.Parameter(tensor) for tensor in tensors]
        strides = [param.stride() for param in params]
        # Compiled loops want contiguous tensors, and have their own rounding.
        optimizer = stepped(params, fused=False)
        assert [param.stride() for param in params] == strides
        results.append((params, optimizer))
    for a, b in zip(*(params for params, _ in results), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    (ours, ours_optimizer), (theirs, theirs_optimizer) = results
    for a, b in zip(ours, theirs, strict=True):
        for name, value in ours_optimizer.state[a].items():
            assert theirs_optimizer.state[b][name].shape == value.shape


def test_types_and_sizes_mix():
    params = [
        nn.Parameter(torch.randn(64, 64, dtype=torch.bfloat16)),
        nn.Parameter(torch.randn(64, 64, dtype=torch.float64)),
        nn.Parameter(torch.randn(64, dtype=torch.float16)),
        nn.Parameter(torch.tensor(1.0)),
        nn.Parameter(torch.zeros(0, 64)),
        nn.Parameter(torch.zeros(3, 0)),
    ]
    before = [param.detach().clone() for param in params]
    optimizer = stepped(params, exact_below=0)
    moved = [not torch.equal(a, b) for a, b in zip(params, before, strict=True)]
    assert moved == [True] * 4 + [False] * 2
    assert optimizer.state[params[2]]["exp_avg"].dtype == torch.float32
    # A float64 parameter is not rounded to float32 on its way.
    assert not torch.equal(params[1], params[1].float().double())


@pytest.mark.parametrize(
    "options",
    [{}, {"m_state": "8bit", "v_state": "tile"}, {"m_state": "2bit"}, {"m_state": "1bit"}],
)
@pytest.mark.parametrize("rows", [40, 400])
def test_sparse_gradients_move_only_the_rows_they_have(rows, options):
    table = nn.Embedding(rows, 32, sparse=True)
    optimizer = Collins(table.parameters(), lr=1e-2, **options)
    for _ in range(3):
        table.weight.grad = None
        before = table.weight.detach().clone()
        table(torch.tensor([3, 7, 7, 1])).square().sum().backward()
        optimizer.step()
        moved = (table.weight != before).any(dim=1).nonzero().flatten().tolist()
        assert moved == [1, 3, 7]
    momentum = optimizer.state[table.weight].get("exp_avg", None)
    if momentum is not None:
        assert momentum.any(dim=1).nonzero().flatten().tolist() == [1, 3, 7]


@pytest.mark.parametrize("m_state", ["4bit", "2bit", "1bit"])
def test_sparse_gradients_of_all_rows_are_dense_ones(m_state):
    torch.manual_seed(0)
    start = torch.randn(200, 40)
    params = [nn.Parameter(start.clone()) for _ in range(2)]
    options = {"lr": 1e-2, "m_state": m_state, "fused": False}
    one, other = (Collins([param], **options) for param in params)
    for number in range(3):
        grad = torch.randn(200, 40, generator=torch.Generator().manual_seed(number))
        params[0].grad = grad
        params[1].grad = rows_of(torch.arange(200), grad, 200)
        one.step()
        other.step()
    close = (params[0] - params[1]).abs() < 1e-6
    assert close.float().mean() > 0.999


def test_exact_rows_are_sparse_adams():
    torch.manual_seed(0)
    start = torch.randn(20, 8)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    options = {"lr": 1e-2, "eps": 1e-8}
    one = Collins([ours], weight_decay=0.0, **options)
    other = torch.optim.SparseAdam([theirs], **options)
    for rows in ([1, 5], [5, 7], [1]):
        values = torch.randn(len(rows), 8)
        for param in (ours, theirs):
            param.grad = rows_of(torch.tensor(rows), values, 20)
        one.step()
        other.step()
        # SparseAdam's eps stands before the correction, which 1e-8 does not show.
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_sparse_gradients_without_rows_say_what_to_do():
    weight = nn.Parameter(torch.zeros(64, 64))
    weight.grad = torch.ones(64, 64).to_sparse()
    with pytest.raises(ValueError, match=r"parameter 0 is sparse.*to_dense"):
        Collins([weight]).step()
    weight.grad = rows_of(torch.tensor([1]), torch.ones(1, 64), 64)
    with pytest.raises(ValueError, match="its moments are sketches"):
        Collins([weight], m_state="sketch", v_state="sketch").step()


@pytest.mark.parametrize(
    "options",
    [{}, {"v_state": "8bit"}, {"v_state": "tile"}, {"m_state": "2bit"}, {"m_state": "1bit"}],
)
def test_memory_of_a_step_does_not_grow_with_the_tensors(options, monkeypatch):
    """By chunks of 2^14 elements here, 2^19 as they are; compiled loops allocate less."""
    for module in (reference, exact):
        monkeypatch.setattr(module, "CHUNK", 2**14)
    params = [
        nn.Parameter(torch.zeros(1024, 512)),
        nn.Parameter(torch.zeros(2**18)),
        nn.Parameter(torch.zeros(64, 128, 8, 8).to(memory_format=torch.channels_last)),
    ]
    optimizer = stepped(params, fused=False, **options)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        optimizer.step()
    held = peak = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    # Twelve float32 of a chunk, and the flags of one gradient's norm; the tensors have 2 MB.
    assert 0 < peak < 12 * 4 * 2**14
