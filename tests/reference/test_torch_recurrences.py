"""Recurrent formulas against torch's cells, and against recurrences written out step by step."""

import pytest

torch = pytest.importorskip("torch")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from microdollar.work.formulas.recurrent import recurrent  # noqa: E402
from microdollar.work.formulas.sequence import linear_attention, state_space  # noqa: E402
from microdollar.work.formulas.terms import Product  # noqa: E402

BATCH, SEQUENCE = 3, 7
CELLS = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


def flops(layer):
    return sum(term.full_flops for term in layer if isinstance(term, Product))


@pytest.mark.parametrize("cell", CELLS)
def test_products_of_a_cell_equal_torchs(cell):
    # Meta tensors take the written-out path; the CPU's fused LSTM is invisible to the counter.
    module = CELLS[cell](20, 12, batch_first=True, device="meta")
    x = torch.empty(BATCH, SEQUENCE, 20, device="meta", requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        out, _ = module(x)
    forward = flops(recurrent(batch=BATCH, sequence=SEQUENCE, inputs=20, state=12, cell=cell))
    assert counter.get_total_flops() == forward
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    # torch stops at the first state, which needs no gradient: one step's share is missing.
    gates = {"elman": 1, "gru": 3, "lstm": 4}[cell]
    first = 2 * BATCH * 12 * gates * 12
    assert counter.get_total_flops() == 2 * forward - first


def test_linear_attention_equals_its_recurrence():
    heads, dim, hidden = 2, 5, 16
    q, k, v = (torch.randn(BATCH * heads, SEQUENCE, dim) for _ in range(3))
    state = torch.zeros(BATCH * heads, dim, dim)
    projection = torch.randn(hidden, heads * dim)
    x = torch.randn(BATCH * SEQUENCE, hidden)
    with FlopCounterMode(display=False) as counter:
        for _ in range(3):
            y = x @ projection
        for step in range(SEQUENCE):
            state = state + torch.bmm(k[:, step, :, None], v[:, step, None, :])
            torch.bmm(q[:, step, None, :], state)
        y @ projection.T
    layer = linear_attention(tokens=BATCH * SEQUENCE, hidden=hidden, heads=heads, head_dim=dim)
    assert counter.get_total_flops() == flops(layer)


def test_a_selective_scan_equals_its_recurrence():
    hidden, inner, state, conv, rank = 16, 24, 5, 4, 3
    tokens = BATCH * SEQUENCE
    x = torch.randn(tokens, hidden)
    with FlopCounterMode(display=False) as counter:
        mixed = x @ torch.randn(hidden, 2 * inner)
        taps = torch.randn(tokens * inner, 1, conv) @ torch.randn(tokens * inner, conv, 1)
        u = taps.reshape(tokens, inner)
        selected = u @ torch.randn(inner, rank + 2 * state)
        selected[:, :rank] @ torch.randn(rank, inner)
        h = torch.zeros(BATCH, inner, state)
        for step in range(SEQUENCE):
            b, c = torch.randn(BATCH, 1, state), torch.randn(BATCH, state, 1)
            h = torch.rand(BATCH, inner, state) * h + u[step : step + 1, :, None] * b
            torch.bmm(h, c)
        (u * mixed[:, :inner]) @ torch.randn(inner, hidden)
    layer = state_space(
        tokens=tokens, hidden=hidden, inner=inner, state=state, conv=conv, dt_rank=rank
    )
    assert counter.get_total_flops() == flops(layer)
