import numpy as np

from microdollar.learn.tokens.policy.features import NUMERIC
from microdollar.learn.tokens.policy.material import (
    Material,
    draw_spans,
    make_batch,
    steps_in_pass,
)
from microdollar.learn.tokens.policy.pairs import Pairs
from microdollar.learn.tokens.tokenizers import Words
from microdollar.learn.tokens.vocabulary import PAD, UNKNOWN, Vocabulary, pieces_of

from .networks import TINY

TEXTS = ["a cat and a dog and an emu", "a dog saw a cat and ran", "an owl and a bee saw it"]


def pairs_of(cut, vocabulary):
    return Pairs.of([vocabulary.numbers(tokens) for tokens in cut], len(vocabulary))


def test_a_training_document_is_seen_as_a_new_one():
    cut = [Words().tokenize(text) for text in TEXTS]
    everything = Vocabulary.of(cut, 100)
    for i, tokens in enumerate(cut):
        rest = [other for j, other in enumerate(cut) if j != i]
        others = Vocabulary.of(rest, 100)
        seen = Material.of(tokens, everything, pairs_of(cut, everything), TINY, seen=True)
        new = Material.of(tokens, others, pairs_of(rest, others), TINY)
        for name in ("count in training", "left neighbour", "right neighbour"):
            at = NUMERIC.index(name)
            np.testing.assert_allclose(
                seen.features.numeric[:, at], new.features.numeric[:, at], atol=1e-6
            )
        np.testing.assert_array_equal(seen.numbers == UNKNOWN, new.numbers == UNKNOWN)
        pieces = pieces_of(tokens)
        for number, piece in zip(seen.numbers, pieces, strict=True):
            assert number == UNKNOWN or everything.pieces[number] == piece
        assert ((seen.spelled_bits > 0) == (seen.numbers == UNKNOWN)).all()
        plain = Material.of(tokens, everything, pairs_of(cut, everything), TINY)
        np.testing.assert_array_equal(plain.numbers, everything.numbers(tokens))


def test_spans_cover_every_token_once():
    sizes = [5, 1, 40, 16]
    for seed in range(5):
        spans = draw_spans(sizes, 16, np.random.default_rng(seed))
        times = [np.zeros(n, int) for n in sizes]
        for document, start, end in spans:
            assert 0 < end - start <= 16
            times[document][start:end] += 1
        assert all((each == 1).all() for each in times)
        # A pass has that many full steps however it is cut.
        assert len(spans) >= 2 * (steps_in_pass(sizes, 16, 2) - 1) + 1


def test_a_batch_is_the_documents_places():
    cut = [Words().tokenize(text) for text in TEXTS]
    vocabulary = Vocabulary.of(cut, 100)
    documents = [Material.of(tokens, vocabulary, pairs_of(cut, vocabulary), TINY) for tokens in cut]
    batch = make_batch(documents, [(1, 2, 5), (0, 0, 4)], 6)
    np.testing.assert_array_equal(batch.numbers[0], [*documents[1].numbers[2:5], PAD, PAD, PAD])
    np.testing.assert_array_equal(batch.rows[1, :4], documents[0].features.rows[:4])
    np.testing.assert_array_equal(batch.present.sum(1), [3, 4])
    arrays = [np.arange(len(document), dtype=np.float32) for document in documents]
    np.testing.assert_array_equal(batch.gather(arrays), [[2, 3, 4, 0, 0, 0], [0, 1, 2, 3, 0, 0]])
