"""What a core refuses, and that it stays as it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.learn.concepts.core.layout import CoreConfig, fingerprint, initial, views
from microdollar.learn.concepts.core.model import Core

CONFIG = CoreConfig(dim=6, width=4, heads=2, context=3)
CONTEXTS = np.full((2, 3, 6), 0.4, np.float32)
TARGETS = np.eye(6, dtype=np.float32)[:2]
NEGATIVES = np.eye(6, dtype=np.float32)[2:]
GOOD = {
    "contexts": CONTEXTS, "lengths": [3, 1], "targets": TARGETS, "negatives": NEGATIVES,
    "tau": 0.1, "mask": None, "lr": 0.01, "weight_decay": 0.0,
}  # fmt: skip


def with_one(values, place, value):
    changed = values.copy()
    changed[place] = value
    return changed


BAD = [
    ({"contexts": CONTEXTS[:, :2]}, r"\(2, 3, 6\).*\(2, 2, 6\)"),
    ({"contexts": CONTEXTS[..., :5]}, r"\(2, 3, 5\)"),
    ({"contexts": CONTEXTS[:0], "targets": TARGETS[:0]}, "0 contexts"),
    ({"contexts": np.ones((3, 3, 6), np.float32), "targets": np.ones((3, 6))}, "room"),
    ({"contexts": CONTEXTS.astype(int)}, "int64"),
    ({"contexts": with_one(CONTEXTS, (0, 2, 1), np.nan)}, r"contexts hold nan at \(0, 2, 1\)"),
    ({"contexts": with_one(CONTEXTS, (1, 2, 0), -np.inf)}, "contexts hold -inf"),
    ({"contexts": with_one(CONTEXTS, (1, 2, 0), 1e30)}, "contexts hold 1.*e.30"),
    ({"lengths": [3]}, r"shape \(2,\)"),
    ({"lengths": [3, 0]}, "from 1 to 3, not 0 to 3"),
    ({"lengths": [4, 1]}, "from 1 to 3, not 1 to 4"),
    ({"lengths": [1.0, 2.0]}, "whole numbers"),
    ({"targets": TARGETS[:1]}, r"targets.*\(2, 6\).*\(1, 6\)"),
    ({"targets": with_one(TARGETS, (1, 0), np.nan)}, r"targets hold nan at \(1, 0\)"),
    ({"negatives": NEGATIVES[:, :3]}, r"negatives.*\(4, 3\)"),
    ({"negatives": NEGATIVES[0]}, "negatives"),
    ({"negatives": np.zeros((9, 6), np.float32)}, "9 negatives"),
    ({"negatives": with_one(NEGATIVES, (3, 5), np.inf)}, r"negatives hold inf at \(3, 5\)"),
    ({"tau": 0.0}, "tau"),
    ({"tau": float("nan")}, "tau"),
    ({"mask": np.ones((2, 5), bool)}, r"\(2, 6\).*\(2, 5\)"),
    ({"mask": np.ones((2, 6))}, "bool"),
    ({"lr": -0.1}, "lr"),
    ({"lr": float("inf")}, "lr"),
    ({"weight_decay": float("nan")}, "weight_decay"),
]


@pytest.mark.parametrize(("change", "said"), BAD)
@pytest.mark.parametrize("optimizer", ["adam", "adam-lowbit"])
def test_bad_input_changes_nothing(change, said, optimizer):
    core, spared = (Core(CONFIG, batch=2, negatives=8, optimizer=optimizer) for _ in range(2))
    for one in (core, spared):
        one.train_step(**GOOD)
    before = core.params.copy()
    with pytest.raises(UsageError, match=said):
        core.train_step(**{**GOOD, **change})
    assert core.params.tobytes() == before.tobytes()
    # Nor the optimizer's state: the next step is the one that another core makes.
    for one in (core, spared):
        one.train_step(**GOOD)
    assert core.params.tobytes() == spared.params.tobytes()


def test_predicting_refuses_the_same():
    core = Core(CONFIG, batch=2)
    for change in ("contexts", "lengths"):
        for bad, said in BAD:
            if change in bad and len(bad) == 1:
                with pytest.raises(UsageError, match=said):
                    core.predict(bad.get("contexts", CONTEXTS), bad.get("lengths"))


def test_learning_needs_a_prediction_of_these_parameters():
    core = Core(CONFIG, batch=2)
    rest = {key: value for key, value in GOOD.items() if key not in ("contexts", "lengths")}

    def learn():
        core.train_step(None, None, **rest)

    with pytest.raises(UsageError, match="no prediction"):
        learn()
    core.predict(CONTEXTS)
    learn()
    with pytest.raises(UsageError, match="no prediction"):
        learn()
    core.predict(CONTEXTS)
    core.load(initial(CONFIG, 1))
    with pytest.raises(UsageError, match="no prediction"):
        learn()
    core.predict(CONTEXTS[:1])
    with pytest.raises(UsageError, match="targets"):
        learn()


def test_parameters_that_are_none():
    core = Core(CONFIG)
    before = core.params.copy()
    for bad in (
        before[1:], before.reshape(1, -1), before.astype(int), with_one(before, 7, np.nan),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            core.load(bad)
        with pytest.raises(UsageError):
            Core(CONFIG, bad)
    assert core.params.tobytes() == before.tobytes()
    with pytest.raises(UsageError, match="keep_gradients"):
        _ = core.grads


def test_what_overflows_changes_nothing():
    core = Core(CONFIG, batch=2)
    for size in (1e20, 1e38):
        core.load(initial(CONFIG) + np.float32(size))
        before = core.params.copy()
        with pytest.raises(UsageError, match="finite"):
            core.predict(CONTEXTS)
        with pytest.raises(UsageError, match="finite"):
            core.train_step(**GOOD)
        assert core.params.tobytes() == before.tobytes()
    core.load(initial(CONFIG))
    before = core.params.copy()
    with pytest.raises(UsageError, match="larger tau"):
        core.train_step(**{**GOOD, "tau": 1e-38})
    assert core.params.tobytes() == before.tobytes()


@pytest.mark.parametrize(
    "sizes",
    [{"dim": 0}, {"width": -4}, {"heads": 3}, {"context": 1.5}, {"gain": float("nan")},
     {"gain": 0.0}, {"dim": True}],
)  # fmt: skip
def test_sizes_that_are_none(sizes):
    with pytest.raises(UsageError):
        CoreConfig(**{"dim": 6, "width": 4, "heads": 2, "context": 3} | sizes)


def test_a_prediction_is_the_callers():
    core = Core(CONFIG, batch=2)
    first = core.predict(CONTEXTS)
    kept = first.copy()
    core.predict(-CONTEXTS)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-6)


def test_writing_to_params_changes_the_model():
    core = Core(CONFIG)
    contexts = np.random.default_rng(0).standard_normal((1, 3, 6)).astype("f4")
    before = core.predict(contexts)
    core.params += np.float32(0.1)
    assert not np.allclose(core.predict(contexts), before)
    core.load(core.params - np.float32(0.1))
    np.testing.assert_allclose(core.predict(contexts), before, atol=1e-5)


def test_views_cover_the_vector_once():
    flat = np.zeros(CONFIG.n_params, np.float32)
    for tensor in views(flat, CONFIG).values():
        tensor += 1
    assert (flat == 1).all()
    assert all(tensor.ndim == 1 for tensor in list(views(flat, CONFIG).values())[:12])
    assert CONFIG.n_vectors == sum(
        tensor.size for tensor in views(flat, CONFIG).values() if tensor.ndim == 1
    )


@given(st.integers(0, CONFIG.n_params - 1), st.integers(0, 31))
def test_every_bit_counts_in_the_fingerprint(place, bit):
    params = initial(CONFIG, 3)
    changed = params.copy()
    changed.view(np.uint32)[place] ^= np.uint32(1 << bit)
    assert fingerprint(changed, CONFIG) != fingerprint(params, CONFIG)


def test_sizes_count_in_the_fingerprint():
    params = initial(CONFIG, 3)
    other = CoreConfig(dim=6, width=4, heads=1, context=3)
    assert fingerprint(params, other) != fingerprint(params, CONFIG)
    whole, same = CoreConfig(gain=1), CoreConfig(gain=1.0)
    large = initial(whole)
    assert fingerprint(large, whole) == fingerprint(large, same)


def test_initial_weights_are_normal():
    config = CoreConfig()
    tensors = views(initial(config, 5), config)
    for name in ("w_in", "w_q", "w_k", "w_v", "w_o", "places"):
        values = tensors[name]
        scaled = values.ravel() / (0.02 if name == "places" else len(values) ** -0.5)
        # Five standard errors of mean, variance and fourth moment.
        error = 5 / np.sqrt(scaled.size)
        assert abs(scaled.mean()) < error
        assert abs(scaled.var() - 1) < error * np.sqrt(2)
        assert abs((scaled**4).mean() - 3) < error * np.sqrt(96)
    assert not tensors["w_out"].any()
    assert initial(config, 5).tobytes() == initial(config, 5).tobytes()
    assert initial(config, 6).tobytes() != initial(config, 5).tobytes()
