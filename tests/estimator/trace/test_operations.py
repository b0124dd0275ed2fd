"""Counted operations against torch's counter, a counted real run, and closed forms."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from microdollar.estimator.model_flops import count_flops
from microdollar.estimator.trace import trace, trace_step
from microdollar.measure.flops import count_flops as count_run
from microdollar.spec.hf import model_from_config
from microdollar.spec.training import TrainSpec

BATCH, LENGTH, VOCABULARY = 2, 32, 64


class Attention(nn.Module):
    """One causal attention and a linear layer."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(16, 48)

    def forward(self, x):
        q, k, v = self.qkv(x).view(BATCH, LENGTH, 3, 4, 4).permute(2, 0, 3, 1, 4)
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def convolutions():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ConvTranspose2d(16, 6, 2, stride=2),
    )


MODULES = {
    "convolutions": (convolutions, (BATCH, 3, 20, 20)),
    "attention": (Attention, (BATCH, LENGTH, 16)),
    "gru": (lambda: nn.GRU(16, 8), (LENGTH, BATCH, 16)),
    "mlp": (lambda: nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4)), (8, 16)),
}


def mean(output):
    return (output[0] if isinstance(output, tuple) else output).pow(2).mean()


@pytest.mark.parametrize("name", MODULES)
def test_products_are_what_torchs_counter_counts(name):
    make, shape = MODULES[name]
    module, x = make(), torch.randn(shape)
    with sdpa_kernel(SDPBackend.MATH):  # the counter takes the CPU's fused kernel for nothing
        with FlopCounterMode(display=False) as counter:
            mean(module(x)).backward()
        traced = trace_step(module, x, loss=mean)
    assert traced.product_flops == counter.get_total_flops()
    shown = sum(
        2 * op.repeats * op.batch * op.shape[0] * op.shape[1] * op.shape[2]
        for op in traced.work.ops
        if op.kind == "matmul"
    )
    assert shown == counter.get_total_flops()
    assert traced.masked_flops == 0


@pytest.mark.parametrize("name", MODULES)
def test_all_operations_are_those_of_a_real_step(name):
    make, shape = MODULES[name]
    module, x = make(), torch.randn(shape)
    counted = count_run(lambda: mean(module(x)).backward())
    traced = trace_step(module, x, loss=mean)
    assert traced.work.flops == counted.flops == sum(traced.by_phase.values())
    assert not traced.unknown


def test_groups_of_a_convolution_in_both_directions():
    layers = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 3, groups=4, padding=1))
    with FlopCounterMode(display=False) as counter:
        mean(layers(torch.randn(BATCH, 3, 9, 9))).backward()
    traced = trace_step(layers, torch.randn(BATCH, 3, 9, 9), loss=mean)
    positions = BATCH * 9 * 9
    # The image needs no gradient. torch's counter forgets the groups in the weights' gradient.
    form = 2 * positions * (2 * 3 * 8 + 3 * 16 * 2 * 9)
    assert traced.product_flops == form
    assert counter.get_total_flops() == form + 2 * positions * 16 * 2 * 9 * (4 - 1)
    backward = next(op for op in traced.work.ops if op.batch == 8)
    assert backward.flops == 2 * 2 * positions * 16 * 2 * 9


def test_causal_attention_counts_what_the_kernel_looks_at():
    traced = trace_step(Attention(), torch.randn(BATCH, LENGTH, 16), loss=mean)
    attention = sum(op.total_flops for op in traced.work.ops if "attention" in op.operator)
    pairs = BATCH * 4 * LENGTH * (LENGTH + 1) // 2
    # Two products forward and five backward of width 4, and the softmax.
    assert attention == pairs * (7 * 2 * 4 + 8)
    full = attention * LENGTH * LENGTH // (LENGTH * (LENGTH + 1) // 2)
    assert traced.masked_flops == full - attention
    assert any("causal" in note for note in traced.work.notes)


def families():
    return {
        "gpt2": (
            "GPT2LMHeadModel",
            "GPT2Config",
            {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": LENGTH},
        ),
        "llama": (
            "LlamaForCausalLM",
            "LlamaConfig",
            {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "intermediate_size": 88},
        ),
        "bert": (
            "BertForMaskedLM",
            "BertConfig",
            {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
             "intermediate_size": 64},
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", families())
def test_products_equal_the_closed_form(name):
    transformers = pytest.importorskip("transformers")
    model, config, sizes = families()[name]
    described = getattr(transformers, config)(
        vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=0, **sizes
    )
    tokens = torch.zeros(BATCH, LENGTH, dtype=torch.long)
    module = getattr(transformers, model)(described).eval()  # dropout would rule out the kernel
    traced = trace_step(module, {"input_ids": tokens, "labels": tokens}, optimizer="adamw")
    spec = model_from_config({**described.to_dict(), "architectures": [model]})
    train = TrainSpec(sequence=LENGTH, micro_batch=BATCH, global_batch=BATCH)
    form = count_flops(spec, train)
    assert traced.product_flops == form.hardware * BATCH * LENGTH
    assert any("the one that the module returns" in note for note in traced.work.notes)
    # In torch's own products over the whole square the count is the full convention's.
    with sdpa_kernel(SDPBackend.MATH):
        square = trace_step(module, {"input_ids": tokens, "labels": tokens})
    assert square.product_flops == form.full_attention * BATCH * LENGTH


def test_an_operator_without_a_formula_is_named():
    class Rare(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return torch.special.i0(self.weight) * x

    traced = trace_step(Rare(), torch.ones(4))
    assert "special_i0" in traced.unknown or "i0" in traced.unknown
    assert any("without a formula" in note and "i0" in note for note in traced.work.notes)


def test_work_has_phases_bytes_and_calls():
    module = nn.Linear(8, 4)
    work = trace(module, torch.zeros(16, 8), loss=mean, optimizer="sgd", threads=3)
    forward = next(op for op in work.ops if op.name == "forward: addmm")
    assert (forward.shape, forward.batch, forward.repeats) == ((16, 4, 8), 1, 1)
    assert forward.flops == 2 * 16 * 4 * 8 + 16 * 4
    assert forward.bytes_moved == 4 * (16 * 8 + 8 * 4 + 4 + 16 * 4)
    assert forward.fresh_bytes == 4 * 16 * 4
    assert (forward.operator, forward.runtime, forward.threads) == ("addmm", "torch", 3)
    assert {op.name.split(":")[0] for op in work.ops} == {
        "forward", "loss", "backward", "optimizer",
    }  # fmt: skip
    assert work.int_ops_uncounted


@pytest.mark.parametrize(
    ("function", "forward", "backward"),
    [
        (functional.logsigmoid, 3, 4),  # exp, log, difference; and like a softplus
        # The distance 1, exp, log, sum; backward: two sigmoids of it and products with them.
        (lambda x: torch.logaddexp(x, x.flip(0)), 4, None),
    ],
)
def test_logarithms_of_sums_are_counted(function, forward, backward):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(10, 10))

        def forward(self):
            return function(self.weight)

    traced = trace_step(Layer(), (), loss=lambda y: y.sum())
    assert traced.by_phase["forward"] == 100 * forward
    if backward is not None:
        assert traced.by_phase["backward"] == 100 * backward
    assert not traced.unknown
