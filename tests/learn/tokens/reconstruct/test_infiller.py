"""The infiller: bits are those of a masked softmax written out, training is reproducible."""

import dataclasses
import json
import math

import numpy as np
import pytest

from microdollar.errors import CorpusError, ModelFileError, UnknownNameError, UsageError
from microdollar.learn.tokens.reconstruct.base import Reconstructor, make_reconstructor
from microdollar.learn.tokens.reconstruct.infiller import (
    InfillerConfig,
    InfillerReconstructor,
    InfillerTraining,
    cut,
    places,
)
from microdollar.learn.tokens.tokenizers import make_tokenizer
from microdollar.learn.tokens.vocabulary import UNKNOWN, Vocabulary, pieces_of

torch = pytest.importorskip("torch")

from microdollar.learn.tokens.reconstruct.infiller_torch import Infiller  # noqa: E402
from microdollar.learn.tokens.reconstruct.neighbours_torch import distances  # noqa: E402
from microdollar.learn.tokens.reconstruct.train_infiller_torch import fit_infiller  # noqa: E402

WORDS = make_tokenizer("words")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SENTENCES = [
    "the cat sat on the mat and the dog sat on the log.",
    "a small bird sang in a tall tree, and a small cat heard it.",
    "the dog ran to the tall tree and sat on the mat.",
]
TEXTS = [" ".join(SENTENCES[(i + j) % 3] for j in range(4)) for i in range(6)]
TINY = {
    "width": 16,
    "layers": 2,
    "heads": 2,
    "inner": 32,
    "length": 32,
    "copying": 8,
    "dropout": 0.0,
}


@pytest.fixture(scope="module")
def documents():
    return [WORDS.tokenize(text) for text in TEXTS]


@pytest.fixture(scope="module")
def vocabulary(documents):
    return Vocabulary.of(documents, 30)


def _fit(documents, vocabulary, **options):
    config = InfillerConfig(vocabulary=len(vocabulary), **TINY)
    chosen = {"epochs": 3, "batch": 4, "learning_rate": 5e-3} | options
    return fit_infiller(documents, vocabulary, config, InfillerTraining(**chosen))


@pytest.fixture(scope="module")
def trained(documents, vocabulary):
    return _fit(documents, vocabulary, epochs=60, learning_rate=2e-2)


COUNTED = [np.random.default_rng(i).integers(2, 20, 80) for i in range(3)]


def _network(size=20, **changes):
    config = InfillerConfig(vocabulary=size, **(TINY | changes))
    network = Infiller(config, seed=3)
    with torch.no_grad():
        for parameter in network.parameters():  # so that no part is still at 0
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=network.draw))
        network.copies.fill_(-2.0)
        network.shares.copy_(torch.linspace(-2, -5, size).log_softmax(0))
        network.count(COUNTED)
    return network.double().eval()


def _reference(network, numbers, keep, *, counted=False):
    """Bits of one chunk without padding, place by place, the mixture written out in plain loops.

    With ``counted``, the chunk is one of those counted, and each gap is taken out of the counts.
    """
    config = network.config
    heads, part = config.heads, config.width // config.heads
    n = len(numbers)
    p = dict(network.named_parameters())

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return x * p[name] + p[name.replace("scale", "shift")]

    seen = torch.where(keep, numbers, torch.tensor(1))
    x = p["table"][seen] * p["scale"] + p["places"][:n]
    for i in range(config.layers):
        y = norm(x, f"norm_1_scale_{i}") @ p[f"attend_weight_{i}"].T + p[f"attend_bias_{i}"]
        q, k, v = y.view(n, 3, heads, part).unbind(1)
        out = torch.empty(n, heads, part, dtype=torch.float64)
        for h in range(heads):
            for a in range(n):
                scores = torch.stack(
                    [
                        q[a, h] @ k[b, h] / math.sqrt(part)
                        + p[f"distances_{i}"][h, b - a + config.length - 1]
                        for b in range(n)
                    ]
                )
                out[a, h] = torch.softmax(scores, 0) @ v[:, h]
        x = x + out.reshape(n, -1) @ p[f"project_weight_{i}"].T + p[f"project_bias_{i}"]
        y = norm(x, f"norm_2_scale_{i}") @ p[f"up_weight_{i}"].T + p[f"up_bias_{i}"]
        x = x + torch.nn.functional.gelu(y) @ p[f"down_weight_{i}"].T + p[f"down_bias_{i}"]
    x = norm(x, "norm_scale")
    bits = []
    for a in range(n):
        if keep[a]:
            bits.append(torch.zeros((), dtype=torch.float64))
            continue
        evidence = [_evidence(network, numbers, keep, a, v, counted) for v in range(len(p["bias"]))]
        chances = torch.softmax(p["table"] @ x[a] + p["bias"] + torch.stack(evidence), 0)
        asked = p["ask_weight"] @ x[a] + p["ask_bias"]
        weights = [
            ((asked @ (p["answer_weight"] @ x[b])) / math.sqrt(config.copying) + p["copies"]).exp()
            for b in range(n)
            if keep[b]
        ]
        right = [w for w, b in zip(weights, torch.where(keep)[0], strict=True)
                 if numbers[b] == numbers[a]]  # fmt: skip
        bits.append(-torch.log2((chances[numbers[a]] + sum(right)) / (1 + sum(weights))))
    return torch.stack(bits)


def _evidence(network, numbers, keep, place, piece, counted):
    """What the kept neighbours of a place add to the logit of a piece, counted here and now."""
    found = torch.zeros((), dtype=torch.float64)
    for row, d in enumerate(distances(network.config.steps)):
        if not 0 <= place + d < len(numbers) or not keep[place + d]:
            continue
        near, total, both = int(numbers[place + d]), 0, 0
        for document in COUNTED:
            for i, v in enumerate(document.tolist()):
                if 0 <= i + d < len(document) and document[i + d] == near:
                    total += 1
                    both += v == piece
        ratio = math.log(max(both, 1) / max(total, 1)) - float(network.shares[piece])
        if abs(d) > 1 and ratio <= math.log(2):
            continue
        if counted and piece == numbers[place] and both:
            both -= 1
            ratio = math.log(max(both, 1) / total) - float(network.shares[piece])
        if both:
            kind = min(int(math.log2(both)), 5)
            found = found + network.slopes[row, kind] * ratio + network.shifts[row, kind]
    return found


def _chunk(seed, n, size=20):
    draw = torch.Generator().manual_seed(seed)
    numbers = torch.randint(2, size, (n,), generator=draw)
    return numbers, torch.rand(n, generator=draw) < 0.6


@pytest.mark.parametrize("counted", [False, True])
def test_bits_and_gradients_are_those_of_the_mixture_written_out(counted):
    """When the text is one that was counted, and otherwise."""
    network = _network()
    numbers, keep = _chunk(0, 14)
    numbers = torch.from_numpy(COUNTED[0][:14]) if counted else numbers
    found = network.dropped_bits(numbers[None], keep[None], counted=counted)[0]
    expected = _reference(network, numbers, keep, counted=counted)
    assert not keep.all()
    assert (expected[~keep] > 0).all()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)  # the ratios are float32
    weights = torch.arange(1.0, 15, dtype=torch.float64)
    slopes = [
        torch.autograd.grad((bits * weights).sum(), list(network.parameters()))
        for bits in (found, expected)
    ]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_chances_sum_to_one_and_agree_with_the_bits():
    network = _network()
    numbers, keep = _chunk(1, 20)
    chances = network.probabilities(numbers[None], keep[None])
    torch.testing.assert_close(chances.sum(1), torch.ones(len(chances), dtype=torch.float64))
    bits = network.dropped_bits(numbers[None], keep[None])[0][~keep]
    own = chances.gather(1, numbers[~keep][:, None])[:, 0]
    torch.testing.assert_close(-torch.log2(own), bits)


def test_padding_and_company_change_nothing():
    network = _network().float()
    one, kept = _chunk(2, 9)
    other, other_kept = _chunk(3, 25)
    rows = torch.zeros(2, 25, dtype=torch.int64)
    keep = torch.ones(2, 25, dtype=torch.bool)
    rows[0, :9], keep[0, :9], rows[1], keep[1] = one, kept, other, other_kept
    together = network.dropped_bits(rows, keep)
    alone = network.dropped_bits(one[None], kept[None])
    torch.testing.assert_close(together[0, :9], alone[0], rtol=0, atol=1e-4)
    assert (together[0, 9:] == 0).all()
    assert (together[keep] == 0).all()


def test_nothing_kept_or_nothing_dropped():
    network = _network()
    numbers, _ = _chunk(4, 6)
    none = network.dropped_bits(numbers[None], torch.zeros(1, 6, dtype=torch.bool))
    assert (none > 0).all()
    all_kept = network.dropped_bits(numbers[None], torch.ones(1, 6, dtype=torch.bool))
    assert (all_kept == 0).all()


def test_the_reconstructor_is_one_and_adds_spelling(trained, vocabulary):
    assert isinstance(trained, Reconstructor)
    tokens = WORDS.tokenize("the cat sat on the zeppelin.")
    keep = np.array([True, False, True, False, True, False, True])
    bits = trained.bits(tokens, keep)
    assert (bits[keep] == 0).all()
    assert vocabulary.numbers(tokens)[5] == UNKNOWN
    plain = trained.network.dropped_bits(
        torch.from_numpy(vocabulary.numbers(tokens))[None], torch.from_numpy(keep)[None]
    )[0].numpy()
    np.testing.assert_allclose(bits - plain, vocabulary.spelled_bits(tokens) * ~keep, atol=1e-5)
    assert bits[5] > 10


def test_it_learns_and_fills_in(trained, documents):
    """Far better than the shares of pieces in training, at masks that it never saw."""
    counts = trained.vocabulary.counts
    bits, unigram, right, dropped = 0.0, 0.0, 0, 0
    for i, tokens in enumerate(documents):
        keep = np.random.default_rng([9, i]).random(len(tokens)) < 0.6
        numbers = trained.vocabulary.numbers(tokens)
        bits += trained.bits(tokens, keep).sum()
        unigram -= np.log2(counts[numbers[~keep]] / counts.sum()).sum()
        filled, truth = trained.fill(tokens, keep), pieces_of(tokens)
        assert [f for f, k in zip(filled, keep, strict=True) if k] == [
            t for t, k in zip(truth, keep, strict=True) if k
        ]
        right += sum(f == t for f, t, k in zip(filled, truth, keep, strict=True) if not k)
        dropped += int((~keep).sum())
    assert bits < 0.6 * unigram
    assert right > 0.4 * dropped


def test_fill_never_looks_at_what_was_dropped(trained):
    one = WORDS.tokenize("the cat sat on the mat and ran.")
    other = WORDS.tokenize("the dog sat on the log and sang.")
    keep = np.array([True, False, True, True, True, False, True, False, True])
    assert trained.fill(one, keep) == trained.fill(other, keep)
    assert "" not in trained.fill(one, np.zeros(9, np.bool_))


def test_long_texts_are_chunks_of_their_own(trained):
    text = " ".join(TEXTS * 2)
    tokens = WORDS.tokenize(text)
    keep = np.random.default_rng(0).random(len(tokens)) < 0.5
    whole = trained.bits(tokens, keep)
    length = trained.config.length
    assert len(tokens) > 17 * length  # more than a batch
    for a in (0, 32 * 5, len(tokens) // length * length):
        part = WORDS.tokenize(text[tokens.starts[a] : tokens.ends[min(a + 32, len(tokens)) - 1]])
        np.testing.assert_allclose(
            trained.bits(part, keep[a : a + 32]), whole[a : a + 32], atol=1e-3
        )


@pytest.mark.parametrize("text", ["", "the", "  ", "zzz \U0001f600 \u4e16"])
def test_short_and_strange_texts(trained, text):
    tokens = WORDS.tokenize(text)
    for keep in (np.zeros(len(tokens), np.bool_), np.ones(len(tokens), np.bool_)):
        bits = trained.bits(tokens, keep)
        assert bits.shape == (len(tokens),)
        assert np.isfinite(bits).all()
        assert (bits[keep] == 0).all()
        assert len(trained.fill(tokens, keep)) == len(tokens)


def test_a_mask_of_another_shape_or_type_is_refused(trained):
    tokens = WORDS.tokenize("the cat")
    for keep in (np.ones(3, np.bool_), np.ones(2)):
        with pytest.raises(UsageError, match="keep has shape"):
            trained.bits(tokens, keep)
        with pytest.raises(UsageError, match="keep has shape"):
            trained.fill(tokens, keep)


def test_saved_and_loaded_it_is_the_same(trained, vocabulary, tmp_path):
    trained.save(tmp_path / "model")
    trained.save(tmp_path / "model")  # replaces its own
    loaded = make_reconstructor("infiller", tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json", "model.safetensors", "vocabulary.json",
    ]  # fmt: skip
    assert loaded.config == trained.config
    assert loaded.facts == json.loads(json.dumps(dict(trained.facts)))
    tokens = WORDS.tokenize(TEXTS[0])
    keep = np.arange(len(tokens)) % 3 == 0
    np.testing.assert_array_equal(loaded.bits(tokens, keep), trained.bits(tokens, keep))
    InfillerReconstructor.load(tmp_path / "model", vocabulary)


def test_another_vocabulary_is_refused(trained, documents, tmp_path):
    trained.save(tmp_path / "model")
    other = Vocabulary.of([WORDS.tokenize("quite other words than those")], 30)
    with pytest.raises(UsageError, match="another vocabulary"):
        InfillerReconstructor.load(tmp_path / "model", other)
    with pytest.raises(UsageError, match="vocabulary of"):
        dataclasses.replace(trained, vocabulary=other)
    other.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="another vocabulary"):
        InfillerReconstructor.load(tmp_path / "model")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").write_bytes(b"no"),
        lambda folder: (folder / "vocabulary.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{}"),
        lambda folder: _change(folder, lambda facts: facts["sizes"].update(heads=3)),
        lambda folder: _change(folder, lambda facts: facts["sizes"].update(width="wide")),
        lambda folder: _change(folder, lambda facts: facts["sizes"].update(layers=3)),
        lambda folder: _change(folder, lambda facts: facts.pop("fingerprint")),
        lambda folder: _change(folder, lambda facts: facts.update(network="gpt")),
    ],
)
def test_damaged_files_are_model_file_errors(trained, tmp_path, damage):
    trained.save(tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(ModelFileError, match=str(tmp_path)):
        InfillerReconstructor.load(tmp_path / "model")


def _change(folder, change):
    facts = json.loads((folder / "config.json").read_text())
    change(facts)
    (folder / "config.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"width": 0}, UsageError), ({"heads": 3}, UsageError), ({"vocabulary": 3}, UsageError),
        ({"dropout": 1.0}, UsageError),
    ],
)  # fmt: skip
def test_sizes_out_of_range_are_refused(changes, error):
    with pytest.raises(error, match=next(iter(changes))):
        InfillerConfig(**({"vocabulary": 20} | TINY | changes))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"epochs": 0}, UsageError), ({"learning_rate": math.inf}, UsageError),
        ({"weight_decay": -1.0}, UsageError), ({"unseen": 1.0}, UsageError),
        ({"optimizer": "sgd"}, UnknownNameError), ({"products": "int8"}, UsageError),
        ({"seed": -1}, UsageError),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(changes, error):
    with pytest.raises(error, match=next(iter(changes))):
        InfillerTraining(**changes)


def test_chunks_cover_a_text_once():
    for n, offset in ((0, 0), (1, 0), (10, 0), (10, 3), (12, 11), (4, 4)):
        chunks = cut(n, 4, min(offset, 4))
        covered = [i for a, b in chunks for i in range(a, b)]
        assert covered == list(range(n))
        assert all(0 < b - a <= 4 for a, b in chunks)
    at, padding = places([(0, 3), (3, 5)])
    assert at[~padding].tolist() == [0, 1, 2, 3, 4]
    assert padding.tolist() == [[False] * 3, [False, False, True]]


def test_nothing_to_learn_from_is_an_error(vocabulary):
    with pytest.raises(CorpusError, match="no token"):
        _fit([WORDS.tokenize("")], vocabulary)
