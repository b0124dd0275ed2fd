"""Training memory: bounds that always hold, and modules whose peak was traced."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.cost import Quantity
from microdollar.estimator.memory import MemoryFit, probability_fits, training_memory, usable_bytes
from microdollar.spec.device_catalog import list_devices, load_device
from microdollar.spec.model import Block, ModelSpec, Recurrent
from microdollar.spec.training import OtherModel, TrainingPlan

from .plans import gpt, llama, plan

A100 = load_device("a100-80gb")
CPU = next(device for device in list_devices() if device.kind == "CPU")


def allocated(made: TrainingPlan) -> float:
    value = training_memory(made, A100).allocated.value
    assert value is not None
    return value


PLANS = st.fixed_dictionaries(
    {
        "micro_batch": st.integers(1, 64),
        "sequence": st.integers(1, 8192),
        "precision": st.sampled_from(["float32", "bfloat16", "float16", "float8"]),
        "optimizer": st.sampled_from(["sgd", "adamw", "adamw-8bit", "adafactor", "muon"]),
        "recompute": st.sampled_from(["none", "selective", "full"]),
        "attention": st.sampled_from(["fused", "naive"]),
        "dropout": st.booleans(),
        "compiled": st.booleans(),
        "offload": st.sampled_from(["none", "optimizer", "all"]),
        "tp": st.sampled_from([1, 2, 4]),
        "pp": st.integers(1, 6),
        "cp": st.sampled_from([1, 2]),
        "dp": st.sampled_from([1, 3, 8]),
        "zero": st.integers(0, 3),
        "interleave": st.sampled_from([1, 2]),
        "sequence_parallel": st.booleans(),
    }
)
STACKS = st.sampled_from(
    [None, "huggingface", "megatron", "megatron-deepspeed", "torchtitan", "torchtitan-compile"]
)


@given(fields=PLANS, stack=STACKS, grouped=st.booleans())
@settings(max_examples=60, deadline=None)
def test_three_memories_in_order_and_parts_that_sum(fields, stack, grouped):
    model = llama(256, 6, 8, 4) if grouped else gpt(256, 6, 8)
    found = training_memory(plan(model, stack=stack, **fields), A100)
    assert found.allocated.value <= found.reserved.value <= found.process.value
    for quantity in (found.allocated, found.reserved, found.process):
        assert 0 < quantity.low < quantity.value < quantity.high < math.inf
    assert sum(part.value for part in found.breakdown) == pytest.approx(found.allocated.value)
    assert all(part.value > 0 for part in found.breakdown)
    assert 0 <= found.fits <= 1


@given(fields=PLANS, stack=STACKS, grow=st.sampled_from(["micro_batch", "sequence", "layers"]))
@settings(max_examples=60, deadline=None)
def test_more_of_anything_never_takes_less(fields, stack, grow):
    layers = 6
    small = allocated(plan(gpt(256, layers, 8), stack=stack, **fields))
    if grow == "layers":
        # As many more as keep the split over the stages alike.
        layers += fields["pp"] * 6
    else:
        fields = {**fields, grow: fields[grow] * 2}
    large = allocated(plan(gpt(256, layers, 8), stack=stack, **fields))
    assert large >= small * (1 - 1e-9)


@given(fields=PLANS, stack=STACKS)
@settings(max_examples=60, deadline=None)
def test_sharding_and_recomputation_never_take_more(fields, stack):
    model = gpt(256, 6, 8)

    def by(name, values):
        return [allocated(plan(model, stack=stack, **{**fields, name: v})) for v in values]

    zero = by("zero", (0, 1, 2, 3))
    assert all(more <= less * (1 + 1e-9) for less, more in pairwise(zero))
    none, selective, full = by("recompute", ("none", "selective", "full"))
    assert full <= selective * (1 + 1e-9)
    assert selective <= none * (1 + 1e-9)


def test_the_first_stage_of_a_pipeline_is_fuller_than_an_even_share():
    model = gpt(512, 8, 8, 50_000, tied=True)
    one = allocated(plan(model, global_batch=16))
    four = allocated(plan(model, pp=4, global_batch=16))
    assert one / 4 < four < one


def test_another_model_adds_its_weights():
    made = plan(gpt())
    policy = TrainingPlan(
        model=made.model,
        train=made.train,
        device=made.device,
        others=(OtherModel(model=llama(512, 12)), OtherModel(model=llama(), trains=True)),
    )
    assert allocated(policy) > allocated(made)


def test_usable_memory_is_less_than_the_label_says():
    assert usable_bytes(load_device("T4")) == 14_912 * 2**20
    assert usable_bytes(A100) == pytest.approx(79.3 * 2**30, rel=1e-3)


def test_probability_of_fitting_at_the_ends_of_the_interval():
    usable = usable_bytes(A100)
    at = Quantity.around(usable, 1.2, "formula")
    assert probability_fits(at, A100) == pytest.approx(0.5)
    under = Quantity.around(usable / 1.2, 1.2, "formula")
    assert probability_fits(under, A100) == pytest.approx(0.9, abs=1e-6)
    over = Quantity.around(usable * 1.2, 1.2, "formula")
    assert probability_fits(over, A100) == pytest.approx(0.1, abs=1e-6)
    assert probability_fits(over, A100, cache_bytes=usable * 0.4) == pytest.approx(0.5)
    assert probability_fits(Quantity.missing("unknown"), A100) is None


SIZES = [(128, 2, 256, 8), (256, 4, 1000, 4), (512, 3, 16_000, 1)]


@pytest.mark.parametrize("kind", ["gpt", "llama"])
@pytest.mark.parametrize(("hidden", "layers", "vocab", "batch"), SIZES)
def test_small_modules_against_their_trace(kind, hidden, layers, vocab, batch):
    """Allocated peak in float32 on a CPU within 3 % of a replay of every allocation."""
    torch = pytest.importorskip("torch")
    from microdollar.estimator.trace import trace_step

    from .modules import decoder

    heads, sequence = 4, 128
    with torch.device("meta"):
        module = decoder(kind, hidden, layers, heads, vocab, sequence)
    tokens = torch.zeros(batch, sequence, dtype=torch.long, device="meta")

    def loss(output, targets):
        return torch.nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten())

    traced = trace_step(module, (tokens,), targets=tokens, loss=loss, optimizer="adamw")
    if kind == "gpt":
        model = gpt(hidden, layers, heads, vocab, positions=sequence)
    else:
        model = llama(hidden, layers, heads, 2, vocab)
    made = plan(model, device=CPU.name, sequence=sequence, micro_batch=batch, precision="float32")
    got = training_memory(made, CPU, MemoryFit()).allocated.value
    assert got == pytest.approx(traced.peak_bytes, rel=0.03)


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_recurrent_modules_against_their_trace(cell):
    """Two layers of torch.nn.RNN, GRU and LSTM within 3 % of the replay."""
    torch = pytest.importorskip("torch")
    from microdollar.estimator.trace import trace_step

    from .modules import recurrent

    width, vocab, sequence, batch = 128, 256, 64, 16
    with torch.device("meta"):
        module = recurrent(cell, vocab, width, layers=2)
    tokens = torch.zeros(batch, sequence, dtype=torch.long, device="meta")

    def loss(output, targets):
        return torch.nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten())

    traced = trace_step(module, (tokens,), targets=tokens, loss=loss, optimizer="adamw")
    layer = Block(count=2, mixers=(Recurrent(cell=cell, state=width),), feed_forward=None, norms=0)
    model = ModelSpec(
        name=cell, family="rnn", hidden=width, vocab=vocab, blocks=(layer,), final_norms=0
    )
    made = plan(model, device=CPU.name, sequence=sequence, micro_batch=batch, precision="float32")
    got = training_memory(made, CPU, MemoryFit()).allocated.value
    assert got == pytest.approx(traced.peak_bytes, rel=0.03)
