"""The table of torch's operators against counts by hand and against torch's own kernels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.work.operators import (
    CPU_ATTENTION,
    arithmetic,
    attended_pairs,
    lstm_workspace_bytes,
)


class Array:
    def __init__(self, *shape):
        self.shape = shape

    def numel(self):
        size = 1
        for length in self.shape:
            size *= length
        return size

    def is_floating_point(self):
        return True


@given(st.integers(0, 30), st.integers(1, 30), st.booleans())
def test_attended_pairs_by_counting(queries, keys, causal):
    seen = sum(not causal or key <= query for query in range(queries) for key in range(keys))
    assert attended_pairs(queries, keys, causal) == seen


@pytest.mark.parametrize(("causal", "pairs"), [(False, 36), (True, 21)])
def test_fused_attention_on_the_cpu(causal, pairs):
    query = Array(2, 3, 6, 8)
    counted = arithmetic(
        CPU_ATTENTION, False, (query, query, query, 0.0, causal), {}, [query] * 3, [query]
    )
    # Scores and the weighted sum, 8 multiply-accumulates each, and 4 of the softmax.
    assert counted == 2 * 3 * pairs * (2 * 8 + 2 * 8 + 4)


def test_an_operator_without_a_rule_is_none_and_not_zero():
    assert arithmetic("a_new_operator", False, (Array(3),), {}, [Array(3)], [Array(3)]) is None


@pytest.mark.parametrize("width", [4, 2])
@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "hidden"),
    [(3, 2, 8, 8), (16, 4, 128, 32), (20, 3, 100, 256), (7, 5, 24, 40), (5, 2, 512, 100)],
)
def test_lstm_workspace_is_what_torch_allocates(steps, batch, inputs, hidden, width):
    torch = pytest.importorskip("torch")
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.mkldnn_rnn_layer.default:
                sizes.append(result[3].untyped_storage().nbytes())
            return result

    dtype = torch.float32 if width == 4 else torch.bfloat16
    lstm = torch.nn.LSTM(inputs, hidden, dtype=dtype)
    with Watch():
        lstm(torch.zeros(steps, batch, inputs, dtype=dtype))
    if not sizes:
        pytest.skip(f"this processor has no LSTM kernel of {dtype}")
    assert sizes == [lstm_workspace_bytes(steps, batch, inputs, hidden, width)]
