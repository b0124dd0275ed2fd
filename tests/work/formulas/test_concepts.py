"""What the concept model does, against the core that does it and PyTorch's count of the twin."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.estimator.compose import estimate_work
from microdollar.learn.concepts.core import loss as loss_module
from microdollar.learn.concepts.core import network as network_module
from microdollar.learn.concepts.core.layout import CoreConfig
from microdollar.learn.concepts.core.model import Core
from microdollar.spec.device_catalog import load_device
from microdollar.work.formulas.concepts import (
    OPTIMIZERS,
    ConceptSizes,
    arena_buffers,
    prediction_work,
    step_work,
    training_work,
    twin_step_products,
)

SIZES = st.builds(
    lambda dim, heads, per_head, context: ConceptSizes(
        dim=dim, width=heads * per_head, heads=heads, context=context
    ),
    st.integers(1, 70), st.integers(1, 5), st.integers(1, 30), st.integers(1, 9),
)  # fmt: skip


def config_of(sizes: ConceptSizes) -> CoreConfig:
    return CoreConfig(dim=sizes.dim, width=sizes.width, heads=sizes.heads, context=sizes.context)


class Counting:
    """numpy, with the operations of its matrix products added up."""

    def __init__(self) -> None:
        self.flops = 0

    def __getattr__(self, name: str):
        return getattr(np, name)

    def matmul(self, a, b, out=None):
        found = np.matmul(a, b, out=out)
        self.flops += 2 * found.size * a.shape[-1]
        return found


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting()
    for module in (network_module, loss_module):
        monkeypatch.setattr(module, "np", counting)
    return counting


def unit(*shape: int) -> np.ndarray:
    found = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def products(work) -> int:
    return sum(op.total_flops for op in work.ops if op.kind == "matmul")


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("places", [2, 6])
def test_products_are_those_that_the_core_does(counted, batch: int, places: int) -> None:
    sizes = ConceptSizes(dim=24, width=12, heads=3, context=6)
    core = Core(config_of(sizes), batch=batch, negatives=7)
    contexts, lengths = unit(batch, 6, 24), np.full(batch, places)
    core.predict(contexts, lengths)
    assert counted.flops == products(prediction_work(sizes, batch=batch, places=places))
    counted.flops = 0
    core.train_step(contexts, lengths, unit(batch, 24), unit(7, 24), 0.1, lr=1e-3)
    assert counted.flops == products(step_work(sizes, batch=batch, negatives=7, places=places))


@given(SIZES, st.integers(1, 6), st.integers(0, 20), st.sampled_from([*OPTIMIZERS]), st.booleans())
def test_bytes_are_those_of_the_arena(sizes, batch, negatives, optimizer, keep) -> None:
    core = Core(
        config_of(sizes), batch=batch, negatives=negatives, optimizer=optimizer,
        keep_gradients=keep,
    )  # fmt: skip
    found = {
        buffer.name: buffer.bytes
        for buffer in arena_buffers(
            sizes, batch=batch, negatives=negatives, optimizer=optimizer, keep_gradients=keep
        )
    }
    assert sum(found.values()) == core.arena.total_bytes
    del found["alignment"]
    assert found == core.arena.bytes


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_bytes_of_the_document_model(optimizer: str) -> None:
    """384-256-384, one context of 16: at most 8 MB with Adam, 4 MB with few bits."""
    sizes = ConceptSizes()
    assert sizes.parameters == CoreConfig().n_params
    work = step_work(sizes, optimizer=optimizer)
    core = Core(CoreConfig(), optimizer=optimizer)
    assert work.memory_bytes == core.arena.total_bytes
    assert work.memory_bytes <= (4e6 if "bit" in optimizer else 8e6)


@pytest.mark.parametrize("batch", [1, 3])
def test_products_of_the_twin(batch: int) -> None:
    torch = pytest.importorskip("torch")
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from microdollar.learn.concepts.twin import Twin, contrast

    sizes = ConceptSizes(dim=24, width=12, heads=3, context=6)
    twin = Twin(config_of(sizes))
    contexts, targets, negatives = (
        torch.from_numpy(unit(*shape)) for shape in ((batch, 6, 24), (batch, 24), (7, 24))
    )
    # Written out: fused kernels compute their scores again in the backward pass.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        contrast(twin(contexts), targets, negatives, 0.1).backward()
    assert counter.get_total_flops() == twin_step_products(sizes, batch=batch, candidates=batch + 7)


def test_core_does_less_than_the_twin() -> None:
    """At 16 places keys and values are most of the twin's products."""
    sizes = ConceptSizes()
    ours = products(step_work(sizes, batch=16, negatives=256))
    assert ours < 0.6 * twin_step_products(sizes, batch=16, candidates=272)


@given(SIZES, st.integers(1, 6), st.integers(0, 20))
def test_more_is_never_less(sizes, batch, negatives) -> None:
    less = step_work(sizes, batch=batch, negatives=negatives)
    more = step_work(sizes, batch=batch + 2, negatives=negatives + 1)
    assert 0 < less.flops < more.flops
    assert less.memory_bytes <= more.memory_bytes
    alone = prediction_work(sizes, batch=batch)
    assert alone.flops < less.flops
    assert alone.memory_bytes <= less.memory_bytes


def test_a_training_is_its_steps_and_scorings(rates) -> None:
    sizes = ConceptSizes(dim=24, width=12, heads=3, context=6)
    amounts = {"steps": 30, "batch": 4, "negatives": 50, "queries": 20, "candidates": 25}
    work = training_work(sizes, scorings=3, **amounts)
    step = step_work(sizes, batch=4, negatives=50)
    scored = prediction_work(sizes, batch=20).flops + 2 * 20 * 25 * 24
    assert work.flops == 30 * step.flops + 3 * scored
    device = replace(load_device("t4"), rates=rates)
    cost = estimate_work(work, device).cost
    assert cost.seconds.value > 0
    assert cost.flops.value == work.flops
    twice = training_work(sizes, scorings=3, **{**amounts, "steps": 60})
    assert estimate_work(twice, device).cost.seconds.value > cost.seconds.value


def test_names_of_ops_are_distinct() -> None:
    names = [op.name for op in step_work(ConceptSizes()).ops]
    assert len(set(names)) == len(names)
    assert math.isclose(step_work(ConceptSizes()).flops, 2.35e7, rel_tol=0.5)


def test_what_can_not_be_is_refused() -> None:
    with pytest.raises(UsageError, match="optimizer 'lion' is unknown"):
        step_work(ConceptSizes(), optimizer="lion")
    with pytest.raises(UsageError, match="can't be"):
        ConceptSizes(width=10, heads=4)
