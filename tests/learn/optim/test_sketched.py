"""The published Collins and its options: against AdamW, a re-implementation, and geometry."""

import copy
import io
import math
from itertools import product
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from microdollar.learn.optim import Collins, optimizer_state_bytes, sketched
from microdollar.learn.optim.layout import Matrix
from microdollar.learn.optim.reference import Step, matrix_step
from microdollar.learn.optim.reference import new_state as plain_state
from microdollar.learn.optim.sketch_places import Local, SketchOptions, add, places_of, read
from microdollar.learn.optim.sketched import CHUNK, new_state, sketched_step

CPU = torch.device("cpu")
BETA1, BETA2, LR, DECAY, EPS = 0.9, 0.99, 1e-2, 0.1, 1e-8


def step_of(count, **options):
    rates = {"lr": LR, "weight_decay": DECAY} | options
    return Step(
        beta1=BETA1, beta2=BETA2, eps=EPS, correction1=1 - BETA1**count,
        correction2=1 - BETA2**count, **rates,
    )  # fmt: skip


class Trained:
    """A matrix that gets one gradient after another."""

    def __init__(self, shape, options, *, index=0, states=("sketch", "sketch"), seed=0):
        self.draw = torch.Generator().manual_seed(seed)
        self.param = torch.randn(shape, generator=self.draw)
        self.options, self.index, self.states = options, index, states
        self.state = new_state(Matrix(*shape), options, *states, CPU)
        self.state["step"] = torch.tensor(0.0)

    def step(self, grad=None, **rates):
        if grad is None:
            grad = torch.randn(self.param.shape, generator=self.draw)
        self.state["step"] += 1
        sketched_step(
            self.param, grad, self.state, step_of(int(self.state["step"]), **rates), self.options,
            self.index, m_state=self.states[0], v_state=self.states[1],
        )  # fmt: skip
        return self

    def steps(self, count, **rates):
        for _ in range(count):
            self.step(**rates)
        return self


class in_plain_torch:  # noqa: N801
    """The same step without the compiled loops."""

    def __enter__(self):
        self.patch = patch.object(sketched, "_plain_on_cpu", lambda tensor: False)
        self.patch.__enter__()

    def __exit__(self, *raised):
        self.patch.__exit__(*raised)


def test_without_collisions_it_is_adamw():
    """One row to a tile: rotated and signed, but no two elements in a bucket."""
    run = Trained((64, 65), SketchOptions(compression=1, local=True))
    theirs = torch.nn.Parameter(run.param.clone())
    adamw = torch.optim.AdamW([theirs], LR, (BETA1, BETA2), EPS, DECAY)
    for _ in range(20):
        theirs.grad = torch.randn(64, 65, generator=run.draw)
        run.step(theirs.grad)
        adamw.step()
    torch.testing.assert_close(run.param, theirs.detach(), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("separate", [False, True])
def test_it_is_the_published_step(separate):
    """Re-implemented in float64 from the chapter's pseudo-code and the code's weight decay."""
    options = SketchOptions(compression=8, separate=separate)
    run = Trained((40, 50), options, index=5)
    places = places_of(2000, options, 5)
    (h, s), (h_v, _) = ([t.numpy() for t in p.places(0, 2000, CPU)] for p in places)
    assert separate != np.array_equal(h, h_v)
    p, M, V = run.param.double().numpy().ravel(), np.zeros(250), np.zeros(250)
    for t in range(1, 11):
        grad = torch.randn(40, 50, generator=run.draw)
        run.step(grad)
        g = grad.double().numpy().ravel()
        sums, squares = np.zeros(250), np.zeros(250)
        np.add.at(sums, h, s * g)
        np.add.at(squares, h_v, g * g)
        M, V = BETA1 * M + (1 - BETA1) * sums, BETA2 * V + (1 - BETA2) * squares
        m, v = M[h] * s / (1 - BETA1**t), V[h_v] / (1 - BETA2**t)
        p = p * (1 - LR * DECAY) - LR * m / (np.sqrt(v) + EPS)
    # An element alone with a small v divides rounding errors of float32 by it.
    np.testing.assert_allclose(run.param.numpy().ravel(), p, atol=1e-5)


ALL = [
    {"local": local, "separate": separate, "fresh": fresh, "rehash_steps": rehash}
    for local, separate, fresh, rehash in product([0, 1], [0, 1], [0, 1], [0, 3])
]


@pytest.mark.parametrize("options", ALL)
@pytest.mark.parametrize(("shape", "compression"), [((70, 61), 1), ((130, 200), 32), ((5, 3), 4)])
def test_the_compiled_step_is_the_plain_one(options, shape, compression):
    options = SketchOptions(compression=compression, **options)
    compiled = Trained(shape, options, index=3).steps(8, maximize=True)
    with in_plain_torch():
        plain = Trained(shape, options, index=3).steps(8, maximize=True)
    torch.testing.assert_close(compiled.param, plain.param, rtol=1e-4, atol=1e-5)
    for name in ("m_sketch", "v_sketch"):
        torch.testing.assert_close(compiled.state[name], plain.state[name], rtol=1e-4, atol=1e-5)


def rank_of_updates(**options):
    """Rank of 300 updates of 4,096 numbers at compression 32: 128 buckets."""
    run = Trained((64, 64), SketchOptions(compression=32, **options))
    before, updates = run.param.clone(), []
    for _ in range(300):
        run.step(weight_decay=0.0)
        updates.append((run.param - before).flatten())
        before = run.param.clone()
    return int(torch.linalg.matrix_rank(torch.stack(updates), rtol=1e-3))


@pytest.mark.parametrize("local", [False, True])
def test_updates_stay_in_as_many_dimensions_as_there_are_buckets(local):
    assert rank_of_updates(local=local) == 128


@pytest.mark.parametrize("options", [{"rehash_steps": 100}, {"fresh": True}])
@pytest.mark.parametrize("local", [False, True])
def test_rehashes_and_the_fresh_gradient_leave_the_subspace(options, local):
    assert rank_of_updates(local=local, **options) == 300


@pytest.mark.parametrize("local", [False, True])
def test_separate_hashes_hardly_do(local):
    """The second moment turns the 128 dimensions a little as it changes."""
    assert 128 < rank_of_updates(local=local, separate=True) < 200


def cosine(options, steps=30, side=256):
    """Cosine of the last step with Adam's, for gradients of independent normal numbers."""
    run = Trained((side, side), options)
    adam = plain_state(Matrix(side, side), "fp32", "fp32", CPU)
    for count in range(1, steps + 1):
        grad, before = torch.randn(side, side, generator=run.draw), run.param.clone()
        run.step(grad, weight_decay=0.0)
        theirs = torch.zeros(side, side)
        rates = step_of(count, weight_decay=0.0)
        matrix_step(theirs, grad, adam, rates, m_state="fp32", v_state="fp32")
    moved = run.param - before
    return float(torch.cosine_similarity(moved.flatten(), theirs.flatten(), dim=0))


@pytest.mark.parametrize("compression", [8, 32])
@pytest.mark.parametrize("local", [False, True])
def test_the_cosine_with_adams_step_is_one_over_the_root_of_the_compression(local, compression):
    """Within 8 %: three standard deviations of the mean over 2,048 buckets are 7 %."""
    expected = 1 / math.sqrt(compression)
    found = cosine(SketchOptions(compression=compression, local=local))
    assert found == pytest.approx(expected, rel=0.08)


def test_the_fresh_gradient_brings_the_direction_nearer():
    """The newest of the gradients is (1 - b1) g, of root 0.1^2 / (0.1 / 1.9) = 0.436 of m."""
    fresh = cosine(SketchOptions(compression=32, local=True, fresh=True))
    expected = math.sqrt(0.19 + 0.81 / 32)
    assert fresh == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("v_state", ["fp32", "factored", "tile", "8bit"])
def test_a_sketched_momentum_beside_another_second_moment(v_state):
    """Without collisions it is the plain step; with them, as large as the published one."""
    one = Trained((64, 64), SketchOptions(compression=1, local=True), states=("sketch", v_state))
    theirs = one.param.clone()
    state = plain_state(Matrix(64, 64), "fp32", v_state, CPU)
    for count in range(1, 6):
        grad = torch.randn(64, 64, generator=one.draw)
        one.step(grad)
        matrix_step(theirs, grad, state, step_of(count), m_state="fp32", v_state=v_state)
    torch.testing.assert_close(one.param, theirs, rtol=1e-4, atol=1e-5)
    options = SketchOptions(compression=16, local=True)
    mixed, both = (
        Trained((64, 64), options, states=states)
        for states in (("sketch", v_state), ("sketch", "sketch"))
    )
    start = mixed.param.clone()
    sizes = [float((run.steps(10).param - start).norm()) for run in (mixed, both)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.3)


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("v_state", ["fp32", "factored", "tile", "8bit"])
def test_collisions_with_small_second_moments_make_no_large_steps(v_state, local):
    """Rows of gradients of 1 to 1e-6 and of 0, and what collides with them.

    An element alone in its bucket with a v moves by the root of the compression more than Adam
    does; with v common to many, by up to four deviations of chance.
    """
    compression = 16
    options = SketchOptions(compression=compression, local=local)
    run = Trained((64, 64), options, states=("sketch", v_state))
    adam = plain_state(Matrix(64, 64), "fp32", "fp32", CPU)
    size = torch.logspace(0, -6, 64)[:, None]
    size[40:] = 0
    largest = 0.0
    for count in range(1, 21):
        before = run.param.clone()
        grad = torch.randn(64, 64, generator=run.draw) * size
        run.step(grad, weight_decay=0.0)
        moved = run.param - before
        theirs = torch.zeros(64, 64)
        rates = step_of(count, weight_decay=0.0)
        matrix_step(theirs, grad, adam, rates, m_state="fp32", v_state="fp32")
        assert not moved[40:].any()
        largest = max(largest, float(moved.abs().max() / theirs.abs().max()))
    assert largest < 4 * math.sqrt(compression)
    cosine = torch.cosine_similarity(moved.flatten(), theirs.flatten(), dim=0)
    assert cosine > 1 / math.sqrt(compression)


@pytest.mark.parametrize("m_state", ["fp32", "none"])
def test_a_sketched_second_moment_beside_another_momentum(m_state):
    """It is the mean of a bucket: with gradients of one size everywhere, AdamW's moment."""
    run = Trained((64, 64), SketchOptions(local=True), states=(m_state, "sketch"))
    theirs = run.param.clone()
    state = plain_state(Matrix(64, 64), m_state, "fp32", CPU)
    for count in range(1, 6):
        grad = torch.randn(64, 64, generator=run.draw).sign()
        run.step(grad)
        matrix_step(theirs, grad, state, step_of(count), m_state=m_state, v_state="fp32")
    torch.testing.assert_close(run.param, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("local", [False, True])
def test_other_strides_and_types_are_the_same_step(local):
    options = SketchOptions(compression=8, local=local)
    grads = torch.randn(4, 48, 96)
    usual, turned, half = (Trained((48, 96), options) for _ in range(3))
    turned.param = turned.param.T.contiguous().T
    half.param = half.param.double()
    for grad in grads:
        usual.step(grad)
        turned.step(grad.T.contiguous().T)
        half.step(grad.double())
    assert not turned.param.is_contiguous()
    torch.testing.assert_close(turned.param, usual.param, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(half.param.float(), usual.param, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"local": True, "rehash_steps": 3, "separate": True}])
def test_chance_comes_from_seed_and_index_alone(options):
    def run(chance, index=1, seed=2):
        torch.manual_seed(chance)
        options_ = SketchOptions(compression=8, seed=seed, **options)
        return Trained((64, 64), options_, index=index).steps(7).param

    assert torch.equal(run(0), run(1))
    assert not torch.equal(run(0), run(0, index=2))
    assert not torch.equal(run(0), run(0, seed=3))


@pytest.mark.parametrize("options", ALL[1::2])
def test_a_saved_state_goes_on_bit_for_bit(options):
    """Saved right before, at and after a rehash."""
    grads = torch.randn(10, 64, 64)
    through = Trained((64, 64), SketchOptions(compression=8, **options))
    for stop in (3, 4, 5):
        first = Trained((64, 64), SketchOptions(compression=8, **options))
        for grad in grads[:stop]:
            first.step(grad)
        file = io.BytesIO()
        torch.save((first.param, first.state), file)
        file.seek(0)
        again = Trained((64, 64), SketchOptions(compression=8, **options))
        again.param, again.state = torch.load(file)
        for grad in grads[stop:]:
            again.step(grad)
        if stop == 3:
            for grad in grads:
                through.step(grad)
        assert torch.equal(again.param, through.param)
        assert torch.equal(again.state["v_sketch"], through.state["v_sketch"])


@pytest.mark.parametrize("local", [False, True])
def test_a_rehash_projects_the_momentum_and_keeps_the_mean_of_the_second_moment(local):
    options = SketchOptions(compression=8, local=local, rehash_steps=4)
    run = Trained((64, 64), options).steps(4)
    old, new = (places_of(4096, options, 0, epoch)[0] for epoch in (0, 1))
    m, v = run.state["m_sketch"].clone(), run.state["v_sketch"].clone()
    sketched._rehash(run.state, 4096, options, 0, epoch=1)
    before = read(m, old, 0, 4096, signed=True)
    after = read(run.state["m_sketch"], new, 0, 4096, signed=True)
    ratio = len(m) / 4096
    # A projection, what is left is orthogonal: exactly where all buckets have as many elements.
    left = float(after @ (before - after)) / float(after @ after)
    assert abs(left) < (1e-3 if local else 0.1)
    assert float(after.norm()) == pytest.approx(math.sqrt(ratio) * float(before.norm()), rel=0.2)
    expected = torch.zeros_like(v)
    add(expected, new, 0, read(v, old, 0, 4096, signed=False) * ratio, signed=False)
    torch.testing.assert_close(run.state["v_sketch"], expected)
    assert float(expected.sum()) == pytest.approx(float(v.sum()), rel=0.2)


class Largest(TorchDispatchMode):
    """Remembers the most elements of a tensor that any operation returned anew."""

    def __init__(self, known):
        super().__init__()
        self.known, self.elements = {t.data_ptr() for t in known}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() not in (
                self.known
            ):
                self.elements = max(self.elements, leaf.untyped_storage().nbytes() // 8)
        return out


@pytest.mark.parametrize("local", [False, True])
def test_a_step_needs_little_memory_of_its_own(local):
    """Eight bytes for each element of a range at most, in any one tensor."""
    run = Trained((700, 1000), SketchOptions(compression=32, local=local))
    grad = torch.randn(700, 1000)
    with in_plain_torch(), Largest([run.param, grad, *run.state.values()]) as largest:
        run.step(grad)
    assert 0 < largest.elements <= CHUNK


def test_state_is_two_sketches_of_the_compression():
    for numel, compression, local in product([4096, 10_007, 2**20 + 3], [8, 32, 34, 64], [0, 1]):
        options = SketchOptions(compression=compression, local=bool(local))
        state = new_state(Matrix(1, numel), options, "sketch", "sketch", CPU)
        assert state.keys() == {"m_sketch", "v_sketch"}
        for kept in state.values():
            assert kept.dtype == torch.float32
            # Tiles are filled up, by an eighth of the buckets at most twice.
            assert numel // compression <= len(kept) <= numel / compression * (1.26 if local else 1)


def test_the_published_code_has_at_least_1024_buckets():
    m, _ = places_of(4096, SketchOptions(min_buckets=1024), 0)
    assert m.buckets == 1024
    local, _ = places_of(4096, SketchOptions(min_buckets=1024, local=True), 0)
    assert isinstance(local, Local)
    assert local.buckets == 1024
    assert places_of(500, SketchOptions(min_buckets=1024), 0)[0].buckets == 500


def test_multiply_shift_has_a_power_of_two_of_buckets():
    m, _ = places_of(70_000, SketchOptions(family="multiply-shift"), 0)
    assert m.buckets == 2048
    Trained((70, 100), SketchOptions(family="multiply-shift")).steps(2)


def test_tensors_beyond_the_smaller_field_get_the_larger():
    m, _ = places_of(2**31 + 5, SketchOptions(), 0)
    assert m.bucket.keys == m.sign.keys == 2**61 - 1
    with pytest.raises(ValueError, match="elements apart"):
        places_of(2**33, SketchOptions(family="multiply-shift"), 0)


def test_nothing_happens_to_an_empty_matrix_or_where_nothing_is_kept():
    options = SketchOptions()
    empty = torch.empty(0, 5)
    sketched_step(empty, empty, {"step": torch.tensor(1.0)}, step_of(1), options, 0)
    run = Trained((64, 64), options)
    before = run.param.clone()
    run.step(torch.full((64, 64), math.nan), keep=torch.tensor(False))
    assert torch.equal(run.param, before)
    assert not run.state["m_sketch"].any()


def collins(weight, **sketch):
    return Collins([weight], m_state="sketch", v_state="sketch", compression=8, sketch=sketch)


@pytest.mark.parametrize("sketch", [{}, {"local": True, "rehash_steps": 2}])
def test_as_an_optimizer_it_takes_any_memory_format_and_resumes(sketch):
    torch.manual_seed(0)
    usual = torch.nn.Parameter(torch.randn(32, 16, 3, 3))
    last = torch.nn.Parameter(usual.detach().clone().to(memory_format=torch.channels_last))
    one, other = collins(usual, **sketch), collins(last, **sketch)
    for count in range(6):
        grad = torch.randn(32, 16, 3, 3)
        usual.grad, last.grad = grad, grad.to(memory_format=torch.channels_last)
        one.step()
        if count == 3:
            saved = copy.deepcopy(other.state_dict())
            other = collins(last, **sketch)
            other.load_state_dict(saved)
        other.step()
    torch.testing.assert_close(last.detach(), usual.detach(), rtol=1e-4, atol=1e-6)
    assert optimizer_state_bytes(one) == pytest.approx(2 * 4 * usual.numel() / 8, rel=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": 0}, {"compression": 1.5}, {"rehash_steps": -1}, {"min_buckets": 0},
        {"seed": -1}, {"width": 100}, {"width": 2**17}, {"family": "murmur"},
        {"local": True, "compression": 2**17},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused_by_name(options):
    name = list(options)[-1]
    with pytest.raises(ValueError, match=f"{name} must be"):
        SketchOptions(**options)
