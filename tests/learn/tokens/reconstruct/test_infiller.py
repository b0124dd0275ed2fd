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
    text_numbers,
)
from microdollar.learn.tokens.reconstruct.piece_classes import PieceClasses
from microdollar.learn.tokens.tokenizers import make_tokenizer
from microdollar.learn.tokens.vocabulary import UNKNOWN, Vocabulary, pieces_of

torch = pytest.importorskip("torch")

from microdollar.learn.tokens.reconstruct.infiller_torch import RECENT, Infiller  # noqa: E402
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
    "reach": 32,
    "window": 16,
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
CLASSES = np.arange(20) % 3
SHARES = np.log(np.linspace(2, 1, 20) / 30)


def _network():
    sizes = TINY | {"length": 48, "window": 16, "classes": 3, "class_steps": 2, "steps": 2}
    network = Infiller(InfillerConfig(vocabulary=20, **sizes), seed=3)
    network.count(COUNTED, SHARES, CLASSES)
    with torch.no_grad():
        for parameter in network.parameters():  # so that no part is still at 0
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=network.draw))
        network.copies.fill_(-2.0)
    return network.double().eval()


def _hidden(network, numbers, keep):
    """The encoder of one window, attention in plain loops."""
    config = network.config
    heads, part = config.heads, config.width // config.heads
    n = len(numbers)
    p = dict(network.named_parameters())

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return x * p[name] + p[name.replace("scale", "shift")]

    seen = torch.where(keep, torch.where(numbers < 20, numbers, 2), 1)
    x = p["table"][seen] * p["scale"] + p["places"][:n]
    for i in range(config.layers):
        y = norm(x, f"norm_1_scale_{i}") @ p[f"attend_weight_{i}"].T + p[f"attend_bias_{i}"]
        q, k, v = y.view(n, 3, heads, part).unbind(1)
        out = []
        for a in range(n):
            for h in range(heads):
                scores = torch.stack(
                    [
                        q[a, h] @ k[b, h] / math.sqrt(part)
                        + p[f"distances_{i}"][h, b - a + config.window - 1]
                        for b in range(n)
                    ]
                )
                out.append(torch.softmax(scores, 0) @ v[:, h])
        out = torch.cat(out).view(n, -1)
        x = x + out @ p[f"project_weight_{i}"].T + p[f"project_bias_{i}"]
        y = norm(x, f"norm_2_scale_{i}") @ p[f"up_weight_{i}"].T + p[f"up_bias_{i}"]
        x = x + torch.nn.functional.gelu(y) @ p[f"down_weight_{i}"].T + p[f"down_bias_{i}"]
    return norm(x, "norm_scale")


def _reference(network, numbers, keep, spelled, *, counted=False):
    """Bits of one chunk without padding, place by place, the mixture written out in plain loops.

    With ``counted``, the chunk is one of those counted, and the document of each gap is taken out
    of the counts.
    """
    config, p = network.config, dict(network.named_parameters())
    windows = zip(numbers.split(config.window), keep.split(config.window), strict=True)
    x = torch.cat([_hidden(network, *window) for window in windows])
    bits = []
    for a in range(len(numbers)):
        if keep[a]:
            bits.append(torch.zeros((), dtype=torch.float64))
            continue
        evidence = [_evidence(network, numbers, keep, a, v, counted) for v in range(20)]
        chances = torch.softmax(p["table"] @ x[a] + p["bias"] + torch.stack(evidence), 0)
        asked = p["ask_weight"] @ x[a] + p["ask_bias"]
        right, total = torch.zeros(()), torch.zeros(())
        for b in range(len(numbers)):
            if keep[b]:
                score = asked @ (p["answer_weight"] @ x[b]) / math.sqrt(config.copying)
                recent = RECENT[int(math.log2(abs(a - b)))]
                score = score + p["copies"] + recent
                for side, power in zip((-1, 1), p["beside"], strict=True):
                    inside = 0 <= a + side < len(keep) and 0 <= b + side < len(keep)
                    if inside and keep[a + side] and keep[b + side]:
                        near = int(numbers[a + side])
                        if near == numbers[b + side]:
                            score = score - power * SHARES[near if near < 20 else 2]
                weight = score.exp()
                total = total + weight
                right = right + weight * bool(numbers[b] == numbers[a])
        known = int(numbers[a]) if numbers[a] < 20 else 2
        own = chances[known] * 2 ** -float(spelled[a])
        bits.append(-torch.log2((own + right) / (1 + total)))
    return torch.stack(bits)


def _evidence(network, numbers, keep, place, piece, counted):
    """What the kept neighbours of a place add to the logit of a piece, counted here and now."""
    known = torch.where(numbers < 20, numbers, 2)
    found = torch.zeros((), dtype=torch.float64)
    for row, d in enumerate(distances(network.config.steps)):
        if not 0 <= place + d < len(known) or not keep[place + d]:
            continue
        near, total, both, those = int(known[place + d]), 0, 0, set()
        beyond = int(numbers[place + d]) - 20
        looks = CLASSES[near] if beyond < 0 else beyond % 3
        found = found + network.company[row, looks, CLASSES[piece]]
        for number, document in enumerate(COUNTED):
            for i, v in enumerate(document.tolist()):
                if 0 <= i + d < len(document) and document[i + d] == near:
                    total += 1
                    both += v == piece
                    those |= {number} if v == piece else set()
        ratio = math.log(max(both, 1) / max(total, 1)) - SHARES[piece]
        if abs(d) > 1 and ratio <= math.log(2):
            continue
        if counted and piece == known[place] and both:
            both = both * (len(those) - 1) // len(those)
            ratio = math.log(max(both, 1) / total) - SHARES[piece]
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
    """When the text is one that was counted, and otherwise; two windows, copied unknown pieces."""
    network = _network()
    numbers, keep = _chunk(0, 22)
    numbers = torch.from_numpy(COUNTED[0][:22]).clone() if counted else numbers
    numbers[[3, 9, 20, 12]] = torch.tensor([22, 22, 22, 25])
    numbers[[2, 8, 13, 19]] = 7
    keep[[3, 12, 20]], keep[[2, 8, 9, 13, 19]] = False, True
    spelled = torch.where(numbers < 20, 0.0, 25.0)
    found = network.dropped_bits(numbers[None], keep[None], counted=counted, spelled=spelled[None])[
        0
    ]
    expected = _reference(network, numbers, keep, spelled, counted=counted)
    assert (expected[~keep] > 0).all()
    assert expected[12] > 25 > expected[3]  # only the other one is kept elsewhere
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # the ratios are float32
    weights = torch.arange(1.0, 23, dtype=torch.float64)
    slopes = [
        torch.autograd.grad((bits * weights).sum(), list(network.parameters()))
        for bits in (found, expected)
    ]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_chances_sum_to_one_and_agree_with_the_bits():
    network = _network()
    numbers, keep = _chunk(1, 20)
    chances = network.probabilities(numbers[None], keep[None])
    torch.testing.assert_close(chances.sum(1), torch.ones(len(chances), dtype=torch.float64))
    bits = network.dropped_bits(numbers[None], keep[None])[0][~keep]
    own = chances.gather(1, numbers[~keep][:, None])[:, 0]
    torch.testing.assert_close(-torch.log2(own), bits)


def test_unknown_pieces_are_numbered_by_piece_and_looks(vocabulary):
    tokens = WORDS.tokenize("the Xanadu of xanadu was Xanadu 1999 cat")
    numbers = text_numbers(vocabulary, tokens)
    classes = PieceClasses.of(vocabulary)
    known = vocabulary.numbers(tokens)
    unknown = known == UNKNOWN
    assert unknown[[1, 3, 5]].all()
    assert (numbers[~unknown] == known[~unknown]).all()
    assert (numbers[unknown] >= len(vocabulary)).all()
    assert numbers[1] == numbers[5]
    assert len(set(numbers[unknown].tolist())) == len(
        {tokens.piece(i) for i in np.where(unknown)[0]}
    )
    looks = (numbers[unknown] - len(vocabulary)) % len(classes)
    assert (looks == classes.of_kept(tokens, known)[unknown]).all()


def test_many_rows_are_read_in_parts():
    network = _network().float()
    numbers = torch.randint(2, 20, (300, 20), generator=network.draw)
    keep = torch.rand(300, 20, generator=network.draw) < 0.5
    whole = network.dropped_bits(numbers, keep)  # with gradients, all at once
    with torch.no_grad():
        parts = network.dropped_bits(numbers, keep)
    torch.testing.assert_close(whole.detach(), parts, rtol=0, atol=1e-4)


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


def test_the_reconstructor_adds_spelling_unless_the_piece_is_copied(trained, vocabulary):
    assert isinstance(trained, Reconstructor)
    tokens = WORDS.tokenize("the cat saw a zeppelin on the zeppelin.")
    numbers = vocabulary.numbers(tokens)
    assert numbers[4] == numbers[7] == UNKNOWN
    keep = np.array([True, False, True, False, True, False, True, False, True])
    copied = trained.bits(tokens, keep)
    assert (copied[keep] == 0).all()
    alone = trained.bits(tokens, keep & (np.arange(9) != 4))
    spelled = vocabulary.spelled_bits(tokens)[7]
    assert alone[7] > spelled > copied[7]
    plain = trained.network.dropped_bits(
        torch.from_numpy(numbers)[None], torch.from_numpy(keep)[None]
    )[0].numpy()
    known = ~keep & (numbers != UNKNOWN)
    np.testing.assert_allclose(copied[known], plain[known], atol=1e-4)


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
    assert len(tokens) > 17 * length
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
