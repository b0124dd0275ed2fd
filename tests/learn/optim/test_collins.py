"""Collins used as torch's AdamW is: options, groups, schedulers, closures, hooks, copies."""

import copy
import pickle

import pytest
import torch
from torch import nn

from microdollar.learn.optim import Collins, optimizer_state_bytes

CODES = [
    {},
    {"m_state": "2bit"},
    {"m_state": "1bit"},
    {"m_state": "2bit", "release": False},
    {"m_state": "8bit", "v_state": "tile"},
    {"m_state": "bf16", "v_state": "8bit"},
    {"m_state": "none"},
    {"m_state": "sketch", "v_state": "sketch", "compression": 4},
]


def network(dtype=torch.float32):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 72), nn.Tanh(), nn.Linear(72, 64))
    return net.to(dtype)


def train(net, optimizer, steps=8, first=0, step=None):
    dtype = next(net.parameters()).dtype
    loss = torch.zeros(())
    for number in range(first, first + steps):
        x = torch.randn(16, 64, generator=torch.Generator().manual_seed(number)).to(dtype)
        optimizer.zero_grad()
        loss = (net(x) - x.roll(1, dims=1)).square().mean()
        loss.backward()
        (step or optimizer.step)()
    return loss.item()


def trained(options, steps=8, dtype=torch.float32, kind=Collins, named=False):
    net = network(dtype)
    params = net.named_parameters() if named else net.parameters()
    optimizer = kind(params, lr=3e-3, **options)
    train(net, optimizer, steps)
    return net, optimizer


def assert_same(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("way", [{}, {"foreach": False}, {"fused": False}, {"fused": True}])
@pytest.mark.parametrize("maximize", [False, True])
def test_exact_moments_are_adamws(way, maximize):
    options = {"weight_decay": 0.1, "maximize": maximize, "eps": 1e-6}
    ours, _ = trained({"m_state": "fp32", "v_state": "fp32", **options, **way})
    theirs, _ = trained({**options, "foreach": False}, kind=torch.optim.AdamW)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_one_by_one_it_does_adamws_operations_in_their_order():
    options = {"m_state": "fp32", "v_state": "fp32", "foreach": False, "fused": False}
    ours, optimizer = trained(options)
    theirs, adamw = trained({"foreach": False}, kind=torch.optim.AdamW)
    assert_same(ours, theirs)
    for a, b in zip(optimizer.state.values(), adamw.state.values(), strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("options", CODES)
def test_every_code_learns(options):
    net = network()
    before = train(net, torch.optim.SGD(net.parameters(), lr=0.0), 1)
    net, _ = trained(options, steps=30)
    # No second moment to speak of in the sketch of so small a matrix: any progress will do.
    assert train(net, torch.optim.SGD(net.parameters(), lr=0.0), 1) < 0.9 * before


def test_state_of_a_large_matrix_is_a_quarter_of_a_byte_a_parameter():
    weight = nn.Parameter(torch.randn(512, 2048))
    weight.grad = torch.randn(512, 2048)
    optimizer = Collins([weight])
    optimizer.step()
    # 2 bits, a bfloat16 scale for 256, a float32 for each row and column, a step counter.
    expected = weight.numel() // 4 + 512 * 8 * 2 + 4 * (512 + 2048) + 4
    assert optimizer_state_bytes(optimizer) == expected
    assert expected < 0.27 * weight.numel()


def test_mini_has_one_bit():
    weight = nn.Parameter(torch.randn(64, 128))
    weight.grad = torch.randn(64, 128)
    optimizer = Collins.mini([weight], lr=1e-2, weight_decay=0.0)
    optimizer.step()
    assert optimizer.state[weight]["m_codes"].shape == (64, 16)
    assert optimizer.param_groups[0]["weight_decay"] == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": -1.0}, "Invalid learning rate: -1.0"),
        ({"lr": float("nan")}, "Invalid learning rate: nan"),
        ({"eps": -1e-8}, "Invalid epsilon value"),
        ({"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
        ({"betas": (0.9, -0.1)}, "Invalid beta parameter at index 1: -0.1"),
        ({"weight_decay": -1}, "Invalid weight_decay value: -1"),
        ({"lr": torch.tensor([1e-3, 1e-3])}, "Tensor lr must be 1-element"),
        ({"betas": (torch.tensor(0.9), 0.99)}, "both floats or both Tensors"),
        ({"lr": torch.tensor(1e-3), "foreach": True}, "lr as a Tensor is not supported"),
        ({"m_state": "3bit"}, "m_state must be one of fp32, bf16, 8bit, 4bit, 2bit, 1bit, none"),
        ({"v_state": "4bit"}, "v_state must be one of .* got '4bit'"),
        ({"nonfinite": "ignore"}, "nonfinite must be one of skip, raise"),
        ({"rounding": "up"}, "rounding must be one of stochastic, nearest"),
        ({"release": 1}, "release must be True or False, got 1"),
        ({"exact_below": -1}, "exact_below must be a whole number"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"compression": 0}, "compression must be a whole number"),
        ({"sketch": {"wide": True}}, "sketch has options of SketchOptions"),
        ({"amsgrad": True}, "amsgrad=True is not available"),
    ],
)
def test_what_can_not_be_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Collins([nn.Parameter(torch.zeros(2))], **options)
    with pytest.raises(ValueError, match=words):
        Collins([{"params": [nn.Parameter(torch.zeros(2))], **options}])


def test_two_ways_at_once_are_refused():
    param = nn.Parameter(torch.zeros(2))
    with pytest.raises(RuntimeError, match="differentiable"):
        Collins([param], fused=True, differentiable=True)
    with pytest.raises(RuntimeError, match="foreach"):
        Collins([param], fused=True, foreach=True)


def test_the_cpu_is_not_captured():
    net = network()
    with pytest.raises(RuntimeError, match="capturable=True"):
        train(net, Collins(net.parameters(), capturable=True), 1)


def test_complex_parameters_are_refused_by_name():
    with pytest.raises(ValueError, match=r"parameter 'wave' is complex.*view_as_real"):
        Collins([("wave", torch.zeros(3, dtype=torch.complex64, requires_grad=True))])


def test_a_refused_group_is_not_added():
    optimizer = Collins([nn.Parameter(torch.zeros(2))])
    bad = {"params": [nn.Parameter(torch.zeros(2, dtype=torch.complex64))]}
    with pytest.raises(ValueError, match="complex"):
        optimizer.add_param_group(bad)
    with pytest.raises(ValueError, match="m_state"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))], "m_state": "no"})
    assert len(optimizer.param_groups) == 1


def test_groups_have_options_of_their_own():
    net = network()
    head, body = net[2].weight, [net[0].weight, net[0].bias, net[2].bias]
    optimizer = Collins([{"params": [head], "m_state": "8bit", "lr": 0.0}, {"params": body}])
    before = head.detach().clone()
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(3))], "weight_decay": 0.0})
    train(net, optimizer, 2)
    assert torch.equal(head, before)
    assert optimizer.state[head]["m_codes"].shape == (64, 72)
    assert optimizer.state[net[0].weight]["m_codes"].shape == (72, 16)


@pytest.mark.parametrize("options", [*CODES, {"m_state": "fp32", "v_state": "fp32"}])
def test_a_rate_in_a_tensor_is_the_same_rate(options):
    plain, _ = trained({**options, "betas": (0.8, 0.99)})
    net = network()
    betas = (torch.tensor(0.8), torch.tensor([0.99]))
    train(net, Collins(net.parameters(), lr=torch.tensor([3e-3]), betas=betas, **options))
    for a, b in zip(plain.parameters(), net.parameters(), strict=True):
        # 0.8 and 0.99 in float32 are other numbers, and a code at a tie turns over. A thousandth
        # of one step.
        assert (a - b).abs().quantile(0.99) < 3e-6


@pytest.mark.parametrize("rate_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_types_of_rate_and_parameter_mix(rate_dtype, dtype):
    """3e-3 of float32 is 4e-8 of itself away."""
    for m_state in ("4bit", "1bit", "fp32"):
        plain, _ = trained({"m_state": m_state}, dtype=dtype)
        net = network(dtype)
        rate = torch.tensor(3e-3, dtype=rate_dtype)
        train(net, Collins(net.parameters(), lr=rate, m_state=m_state))
        for a, b in zip(plain.parameters(), net.parameters(), strict=True):
            assert a.dtype == dtype
            # A bfloat16 that is rounded the other way is another number of the next gradient.
            assert (a - b).abs().mean() < (3e-4 if dtype == torch.bfloat16 else 1e-7)


def test_schedulers_change_the_rate():
    net = network()
    optimizer = Collins(net.parameters(), lr=1e-2)
    one_cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=10)
    rates, betas = set(), set()
    for number in range(6):
        train(net, optimizer, 1, first=number)
        one_cycle.step()
        rates.add(optimizer.param_groups[0]["lr"])
        betas.add(optimizer.param_groups[0]["betas"])
    # It moves beta1 too.
    assert len(rates) == len(betas) == 6


def test_a_closure_is_called_with_gradients_on_and_its_loss_returned():
    net = network()
    optimizer = Collins(net.parameters())

    def closure():
        optimizer.zero_grad()
        loss = net(torch.ones(2, 64)).square().mean()
        loss.backward()
        return loss

    with torch.no_grad():
        first = optimizer.step(closure)
    assert first.requires_grad
    assert optimizer.step(closure) < first


def test_hooks_run_around_a_step():
    net, calls = network(), []
    optimizer = Collins(net.parameters())
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    train(net, optimizer, 1)
    assert calls == ["before", "after"]


def test_a_parameter_without_gradient_stays_as_it_is():
    net = network()
    optimizer = Collins(net.parameters())
    frozen = net[0].weight.detach().clone()
    net[0].weight.requires_grad_(False)
    train(net, optimizer, 2)
    assert torch.equal(net[0].weight, frozen)
    assert net[0].weight not in optimizer.state
    net[0].weight.requires_grad_(True)
    train(net, optimizer, 1)
    optimizer.zero_grad(set_to_none=False)
    assert all(not param.grad.any() for param in net.parameters())


@pytest.mark.parametrize("options", [{}, {"m_state": "sketch"}])
@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_a_copy_goes_on_alike(options, way):
    net, optimizer = trained(options)
    if way == "pickle":
        net_copy, optimizer_copy = pickle.loads(pickle.dumps((net, optimizer)))
    else:
        net_copy, optimizer_copy = copy.deepcopy((net, optimizer))
    for one, its in ((net, optimizer), (net_copy, optimizer_copy)):
        train(one, its, 3, first=8)
    assert_same(net, net_copy)
    assert optimizer_copy.skipped_updates == 0


def test_many_small_tensors_are_joined():
    shapes = [(3,), (5, 7), (), (0,), (2, 3, 4), (700, 3)]
    results = []
    for way in ({}, {"fused": False}, {"foreach": False, "fused": False}):
        torch.manual_seed(0)
        params = [nn.Parameter(torch.randn(shape)) for shape in shapes]
        params += [nn.Parameter(torch.randn(9, dtype=torch.float64))]
        params += [nn.Parameter(torch.randn(6, 4).t())]
        optimizer = Collins(params, lr=1e-2, **way)
        for _ in range(3):
            for param in params:
                param.grad = torch.randn_like(param)
            optimizer.step()
        assert optimizer.state[params[6]]["exp_avg"].dtype == torch.float64
        results.append(params)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_gradients_flow_through_exact_moments():
    start = torch.randn(5, dtype=torch.float64, requires_grad=True)
    rate = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)

    def after(initial, lr, kind):
        param = initial.clone()
        param.grad = (initial**2).detach().requires_grad_(True)
        kind([param], lr=lr, differentiable=True).step()
        return param.square().sum()

    ours = torch.autograd.grad(after(start, rate, Collins), (start, rate))
    theirs = torch.autograd.grad(after(start, rate, torch.optim.AdamW), (start, rate))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_do_not_flow_through_codes():
    with pytest.raises(ValueError, match=r"differentiable=True needs exact moments.*2bit"):
        Collins(network().parameters(), differentiable=True)
