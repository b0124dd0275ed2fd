"""Collins against torch's AdamW."""

import pytest
import torch

from microdollar.learn.optim import Collins, optimizer_state_bytes


def _train(make, steps=30):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.Tanh(), torch.nn.Linear(96, 64))
    optimizer = make(net.parameters())
    for _ in range(steps):
        x = torch.randn(16, 64)
        optimizer.zero_grad()
        (net(x) - x.roll(1, dims=1)).square().mean().backward()
        optimizer.step()
    return net, optimizer


@pytest.mark.parametrize("maximize", [False, True])
def test_with_moments_in_float32_it_is_adamw(maximize):
    options = {"lr": 3e-3, "weight_decay": 0.1, "maximize": maximize}
    ours, _ = _train(lambda p: Collins(p, m_state="fp32", v_state="fp32", **options))
    theirs, _ = _train(lambda p: torch.optim.AdamW(p, **options))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_state_of_a_large_matrix_is_half_a_byte_a_parameter():
    weight = torch.nn.Parameter(torch.randn(512, 2048))
    weight.grad = torch.randn(512, 2048)
    optimizer = Collins([weight])
    optimizer.step()
    # 4 bits, a bfloat16 scale for 128, a float32 for each row and column, a step counter.
    expected = weight.numel() // 2 + 512 * 16 * 2 + 4 * (512 + 2048) + 4
    assert optimizer_state_bytes(optimizer) == expected
    assert expected < 0.53 * weight.numel()
