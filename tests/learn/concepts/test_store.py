import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import MissingExtraError, ModelFileError, UsageError
from microdollar.learn.concepts import store as module
from microdollar.learn.concepts.baselines import unit
from microdollar.learn.concepts.store import ConceptStore

MADE_BY = "a" * 64


def rows(n, dim=7, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((n, dim)))


def made(n=50, **options):
    return ConceptStore(rows(n), [f"text {i}" for i in range(n)], MADE_BY, **options)


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 9), st.data())
@settings(deadline=None, max_examples=40)
def test_search_is_a_full_sort(n, q, piece, data):
    k = data.draw(st.integers(1, n))
    shut = data.draw(st.lists(st.lists(st.integers(0, n - 1), max_size=5), min_size=q, max_size=q))
    store, queries = made(n), rows(q, seed=1)
    before, module._PIECE = module._PIECE, piece
    try:
        found, scores = store.search(queries, k, shut)
    finally:
        module._PIECE = before
    cosines = queries @ store.vectors.T
    for i in range(q):
        order = [r for r in np.argsort(-cosines[i], kind="stable") if r not in shut[i]][:k]
        assert found[i].tolist() == order + [-1] * (k - len(order))
        np.testing.assert_allclose(scores[i][: len(order)], cosines[i][order], atol=1e-6)
        assert (scores[i][len(order) :] == -np.inf).all()


def test_equal_concepts_come_in_the_order_of_their_rows():
    store = ConceptStore(np.repeat(rows(1), 5, axis=0), list("abcde"), MADE_BY)
    assert store.search(rows(1), 3)[0].tolist() == [[0, 1, 2]]


def test_saved_and_loaded_is_the_same(tmp_path):
    store = made()
    store.add(rows(1, seed=3), ["with a line\nbreak and ünïcode"], MADE_BY)
    path = tmp_path / "store.npz"
    store.save(path)
    again = ConceptStore.load(path, MADE_BY)
    np.testing.assert_array_equal(again.vectors, store.vectors)
    assert [again.text(i) for i in range(len(again))] == [store.text(i) for i in range(len(store))]
    assert again.encoder_fingerprint == MADE_BY


def test_an_empty_store(tmp_path):
    store = ConceptStore(rows(0), [], MADE_BY)
    store.save(tmp_path / "s")
    again = ConceptStore.load(tmp_path / "s")
    assert len(again) == 0
    assert again.search(rows(2), 1)[0].tolist() == [[-1], [-1]]


@pytest.mark.parametrize("at", [0, 0.3, 0.6, 0.9, 0.999])
def test_a_changed_or_short_file_is_refused(tmp_path, at):
    path = tmp_path / "store.npz"
    made().save(path)
    data = path.read_bytes()
    place = int(at * (len(data) - 1))
    path.write_bytes(data[:place])
    with pytest.raises(ModelFileError, match="Make the store again"):
        ConceptStore.load(path)


def test_other_content_than_its_hash_is_refused(tmp_path):
    path = tmp_path / "store.npz"
    made().save(path)
    with np.load(path) as file:
        parts = {name: file[name].copy() for name in file.files}
    parts["vectors"] = parts["vectors"][::-1]
    np.savez(path, **parts)
    with pytest.raises(ModelFileError, match="content and hash differ"):
        ConceptStore.load(path)
    parts["header"] = np.frombuffer(json.dumps({"format": "else"}).encode(), np.uint8)
    np.savez(path, **parts)
    with pytest.raises(ModelFileError, match="no concept store"):
        ConceptStore.load(path)


def test_another_encoder_is_refused_everywhere(tmp_path):
    store = made()
    with pytest.raises(UsageError, match=r"aaaaaaaaaaaa.*bbbbbbbbbbbb"):
        store.add(rows(1), ["x"], "b" * 64)
    store.save(tmp_path / "s")
    with pytest.raises(UsageError, match="Encode the texts again"):
        ConceptStore.load(tmp_path / "s", "b" * 64)


@pytest.mark.parametrize(
    "vectors", [rows(2, dim=6), rows(2)[0], np.full((2, 7), np.nan, np.float32), 2 * rows(2)]
)
def test_vectors_that_cannot_be_leave_the_store_as_it_was(vectors):
    store = made()
    with pytest.raises(UsageError):
        store.add(vectors, ["x", "y"], MADE_BY)
    with pytest.raises(UsageError):
        store.search(vectors, 1)
    with pytest.raises(UsageError, match="2 vectors for 1 texts"):
        store.add(rows(2), ["x"], MADE_BY)
    assert len(store) == 50


def test_searches_that_cannot_be():
    store = made(5)
    for k in (0, 6):
        with pytest.raises(UsageError, match=f"k is {k}"):
            store.search(rows(1), k)
    with pytest.raises(UsageError, match="rows to exclude"):
        store.search(rows(1), 1, [[5]])
    with pytest.raises(UsageError, match="2 sets to exclude"):
        store.search(rows(1), 1, [[1], [2]])
    with pytest.raises(UsageError, match="known: exact"):
        made(index="magic")


def test_the_store_cannot_be_written_to_from_outside():
    with pytest.raises(ValueError, match="read-only"):
        made().vectors[0] = 0


def test_a_graph_finds_nearly_what_a_full_search_finds():
    try:
        graph = made(2000, index="graph")
    except MissingExtraError as error:
        pytest.skip(str(error))
    queries = rows(50, seed=2)
    shut = [[i] for i in range(50)]
    found, scores = graph.search(queries, 10, shut)
    exact, best = made(2000).search(queries, 10, shut)
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)])
    assert shared >= 0.95
    np.testing.assert_allclose(scores[:, 0], best[:, 0], atol=0.02)
