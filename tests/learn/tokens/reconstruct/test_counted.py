"""The counted reconstructor against sums written out over the whole vocabulary."""

import dataclasses
import math
import shutil
from collections import Counter, defaultdict
from functools import cache

import numpy as np
import pytest

from microdollar.errors import ModelFileError, UsageError
from microdollar.learn.tokens.reconstruct import counted_reading
from microdollar.learn.tokens.reconstruct.counted import CountedReconstructor
from microdollar.learn.tokens.reconstruct.counted_memory import BESIDE
from microdollar.learn.tokens.reconstruct.counted_weights import gains
from microdollar.learn.tokens.tokenizers import Tokens, make_tokenizer
from microdollar.learn.tokens.vocabulary import SPECIAL, UNKNOWN, Vocabulary, pieces_of

WORDS = make_tokenizer("words")
NAMES = ["Ada", "Bob", "Cy", "Dee", "Eve", "Flo"]


def _document(seed: int) -> Tokens:
    """Sentences of a small grammar about two people whom few other documents know."""
    rng = np.random.default_rng(seed)
    who = [*rng.choice(NAMES, 2, replace=False), f"Person{seed}"]
    verbs, things = ["sees", "likes", "draws"], ["cat", "dog", "tall tree", "river"]
    sentences = [
        f"{rng.choice(who)} {rng.choice(verbs)} the {rng.choice(things)} of {rng.choice(who)}."
        for _ in range(12)
    ]
    return WORDS.tokenize(" ".join(sentences))


@cache
def documents() -> list[Tokens]:
    return [_document(seed) for seed in range(10)]


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary.of(documents(), 26)


@cache
def model() -> CountedReconstructor:
    return CountedReconstructor.fit(documents(), vocabulary())


class Reference:
    """The same chances by dictionaries and loops, from the documents and the model's weights."""

    def __init__(self, reader: CountedReconstructor):
        self.v, self.w = reader.vocabulary, reader.reading.weights
        self.distances, self.classes = reader.reading.distances, reader.classes
        self.of = reader.classes.of_number.tolist()
        self.words, self.having = Counter(), Counter()
        self.pairs = defaultdict(Counter)  # by side, distance and context
        self.kinds = defaultdict(Counter)
        for tokens in documents():
            numbers = self.v.numbers(tokens).tolist()
            looks = self.classes.of_kept(tokens, np.array(numbers)).tolist()
            self.words.update(numbers)
            self.having.update(set(numbers))
            for i, word in enumerate(numbers):
                for side, sign in ((0, -1), (1, 1)):
                    for d in range(1, self.distances + 1):
                        j = i + sign * d
                        if 0 <= j < len(numbers):
                            self.pairs[side, d, numbers[j]][word] += 1
                            self.kinds[side, d, looks[j]][self.of[word]] += 1
        whole = sum(self.words.values()) + 0.3 * (len(self.v) - 2)
        self.base = {w: (self.words[w] + 0.3) / whole for w in range(2, len(self.v))}
        self.discounts = {}
        for d in range(1, self.distances + 1):
            rows = [row for key, row in self.pairs.items() if key[:2] == (0, d)]
            self.discounts[d] = self._discounts(Counter(c for r in rows for c in r.values()))

    @staticmethod
    def _discounts(n: Counter) -> list[float]:
        found = [0.5, 1.0, 1.5]
        if n[1] and n[2]:
            y = n[1] / (n[1] + 2 * n[2])
            found[0] = 1 - 2 * y * n[2] / n[1]
            found[1] = 2 - 3 * y * n[3] / n[2]
            if n[3]:
                found[2] = 3 - 4 * y * n[4] / n[3]
        return [min(max(f, 0.05 * k), 0.95 * k) for k, f in enumerate(found, 1)]

    def _class_log(self, side: int, d: int, look: int, word: int) -> float:
        row = self.kinds[side, d, look]
        mass = sum(p for w, p in self.base.items() if self.of[w] == self.of[word])
        distinct = max(len(row), 1)
        chance = (row[self.of[word]] + distinct * mass) / (sum(row.values()) + distinct)
        return math.log(chance / mass)

    def _word_log(self, side: int, d: int, context: int, word: int) -> float:
        row = self.pairs[side, d, context]
        if not row[word]:
            return 0.0
        taken = {w: self.discounts[d][min(c, 3) - 1] for w, c in row.items()}
        ratio = math.exp(self._class_log(side, d, self.of[context], word))
        lower = sum(taken.values()) * self.base[word] * ratio
        return math.log((row[word] - taken[word] + lower) / lower)

    def chances(self, pieces: list[str], keep: list[bool], place: int) -> dict[str | int, float]:
        """Of every known number, and of every kept unknown piece; the rest is to be spelled."""
        tokens = _of(pieces)
        numbers = self.v.numbers(tokens).tolist()
        looks = self.classes.of_kept(tokens, np.array(numbers)).tolist()
        kept = [i for i, k in enumerate(keep) if k]
        found = Counter(numbers[i] for i in kept)
        slots = [*kept[: len([i for i in kept if i < place])][::-1][:2]]
        slots = [*slots, *[None] * (2 - len(slots)), *[i for i in kept if i > place][:2]]
        flats = {w: math.log(p) for w, p in self.base.items() if w != UNKNOWN}
        flats[UNKNOWN] = min(flats.values())
        rare = sum(p * flats[w] for w, p in self.base.items())
        rare = rare - np.mean([flats[numbers[i]] for i in kept]) if kept else 0.0
        logs = {}
        for word, mass in self.base.items():
            often = math.log1p(found[word] / (3000 * mass))
            unknown, flat, spread = float(word == UNKNOWN), 0.0, 0.0
            if word != UNKNOWN:
                flat = math.log(mass)
                spread = math.log((self.having[word] + 0.3) / (self.words[word] + 0.3))
            features = [often, unknown, spread, flat]
            features += [rare * often, rare * unknown, rare * flat]
            log = math.log(mass) + sum(w * f for w, f in zip(self.w.base, features, strict=True))
            for slot, i in enumerate(slots):
                d = abs(i - place) if i is not None else 99
                if d > self.distances:
                    continue
                side, row = slot // 2, slot * self.distances + d - 1
                log += self.w.contexts[row, 0] * self._class_log(side, d, looks[i], word)
                if numbers[i] != UNKNOWN:
                    log += self.w.contexts[row, 1] * self._word_log(side, d, numbers[i], word)
            logs[word] = log
        whole = sum(map(math.exp, logs.values()))
        chance: dict[str | int, float] = {w: math.exp(log) / whole for w, log in logs.items()}
        unknown = Counter(pieces[i] for i in kept if numbers[i] == UNKNOWN)
        times = sum(unknown.values())
        copied = self.w.copied[min(times.bit_length(), 11)]
        for piece, count in unknown.items():
            chance[piece] = chance[UNKNOWN] * copied * count / times
        chance[UNKNOWN] *= 1 - copied
        names = [pieces[i] if numbers[i] == UNKNOWN else numbers[i] for i in range(len(pieces))]
        for which, step in enumerate(BESIDE):
            context = place + step
            if not (0 <= context < len(pieces) and keep[context]):
                continue
            row = Counter(
                names[i]
                for i in kept
                if 0 <= i + step < len(pieces)
                and keep[i + step]
                and names[i + step] == names[context]
            )
            total = sum(row.values())
            if total:
                often = min(int(math.log2(total)), 4)
                varied = 0 if len(row) == 1 else 1 if 2 * len(row) <= total else 2
                share = self.w.shares[which, 3 * often + varied]
                chance = {
                    name: (1 - share) * p + share * row[name] / total for name, p in chance.items()
                }
        return chance


def _of(pieces: list[str]) -> Tokens:
    ends = np.cumsum([len(piece) for piece in pieces])
    return Tokens(text="".join(pieces), starts=ends - [len(p) for p in pieces], ends=ends, ids=ends)


def _mixed_text() -> list[str]:
    """Documents that were not counted, with unknown names that come again."""
    return [*pieces_of(_document(77)), " Xanadu", " sees", *pieces_of(_document(78))]


@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.9])
def test_chances_are_those_of_dictionaries_and_loops(ratio):
    reference, pieces = Reference(model()), _mixed_text()
    tokens = _of(pieces)
    keep = np.random.default_rng(5).random(len(pieces)) < ratio
    bits, filled = model().bits(tokens, keep), model().fill(tokens, keep)
    numbers, spelled = vocabulary().numbers(tokens), vocabulary().spelled_bits(tokens)
    seen = set()
    for place in np.flatnonzero(~keep).tolist():
        chance = reference.chances(pieces, keep.tolist(), place)
        assert sum(chance.values()) == pytest.approx(1)
        own = chance.get(pieces[place], 0.0)
        if numbers[place] == UNKNOWN:
            want = own + chance[UNKNOWN] * 2.0 ** -spelled[place]
            seen.add("copied" if own else "spelled")
        else:
            want = chance[int(numbers[place])]
            seen.add("known")
        assert 2.0 ** -bits[place] == pytest.approx(want, rel=1e-5)  # gains are float32
        best = max(p for name, p in chance.items() if name != UNKNOWN)
        number = vocabulary().numbers(_of([filled[place]]))[0]
        chosen = chance[int(number) if number != UNKNOWN else filled[place]]
        assert chosen == pytest.approx(best, rel=1e-5)
    assert seen >= {"known", "copied"}


def test_gains_over_the_whole_vocabulary_give_the_same_chances():
    reading, tokens = model().reading, documents()[3]
    numbers = vocabulary().numbers(tokens)
    keep = np.random.default_rng(2).random(len(tokens)) < 0.5
    text = counted_reading.Text.of(
        numbers, model().classes.of_kept(tokens, numbers), keep, len(vocabulary()), tokens.piece
    )
    dropped = np.flatnonzero(~keep)
    asked, own = reading.asked(text, dropped)
    found, which = gains(reading, asked, reading.features(text), slice(None))
    theta = np.concatenate([reading.weights.base, reading.weights.contexts.ravel()])
    logs = reading.tables.log_base + np.einsum("mk,mkv->mv", theta[which], found)
    dense = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
    sparse, _ = reading.chances(text, dropped, asked, own)
    np.testing.assert_allclose(sparse, dense[np.arange(len(dropped)), numbers[dropped]], rtol=1e-5)


def _mean_bits(reader: CountedReconstructor) -> float:
    total = count = 0.0
    for seed in range(100, 112):
        tokens = _document(seed)
        keep = np.random.default_rng(seed).random(len(tokens)) < 0.5
        total += reader.bits(tokens, keep).sum()
        count += np.count_nonzero(~keep)
    return total / count


def _with(reader: CountedReconstructor, **weights) -> CountedReconstructor:
    changed = dataclasses.replace(reader.reading.weights, **weights)
    return dataclasses.replace(reader, reading=dataclasses.replace(reader.reading, weights=changed))


def test_both_sides_read_better_than_either_and_that_better_than_none():
    weights = model().reading.weights
    half = len(weights.contexts) // 2
    forward, backward = weights.contexts.copy(), weights.contexts.copy()
    forward[half:], backward[:half] = 0, 0
    only = {
        "forward": _with(model(), contexts=forward, shares=weights.shares * [[1], [0], [1], [0]]),
        "backward": _with(model(), contexts=backward, shares=weights.shares * [[0], [1], [0], [1]]),
    }
    none = _with(model(), contexts=weights.contexts * 0, shares=weights.shares * 0)
    for reader in only.values():
        assert _mean_bits(model()) < _mean_bits(reader) - 0.1
        assert _mean_bits(reader) < _mean_bits(none) - 0.1


def test_estimated_weights_and_repetition_pay_on_unseen_documents():
    plain = counted_reading.Weights.plain(4)
    weights = model().reading.weights
    assert _mean_bits(model()) < _mean_bits(_with(model(), base=plain.base, copied=plain.copied,
        contexts=plain.contexts, shares=plain.shares))  # fmt: skip
    for forget in ("shares", "copied"):
        without = _with(model(), **{forget: getattr(weights, forget) * 0})
        assert _mean_bits(model()) < _mean_bits(without)


def test_one_document_or_none_takes_plain_weights():
    for few in (documents()[:1], []):
        reader = CountedReconstructor.fit(few, vocabulary())
        plain = counted_reading.Weights.plain(4)
        np.testing.assert_array_equal(reader.reading.weights.contexts, plain.contexts)
        tokens = documents()[5]
        assert np.isfinite(reader.bits(tokens, np.zeros(len(tokens), np.bool_))).all()


@pytest.mark.parametrize("pieces", [[" a"], [" a", " b"], [f" {n}" for n in range(60)]])
def test_texts_without_surprise_give_finite_bits(pieces):
    texts = [_of([pieces[(i + j) % len(pieces)] for i in range(90)]) for j in range(6)]
    reader = CountedReconstructor.fit(texts, Vocabulary.of(texts, 40))
    assert 0 <= reader.reading.weights.contexts.min() <= reader.reading.weights.contexts.max() <= 2
    for tokens in (*texts, _document(5)):
        bits = reader.bits(tokens, np.arange(len(tokens)) % 3 == 0)
        assert np.isfinite(bits).all()
        assert (bits >= 0).all()


def test_two_fits_are_equal():
    again = CountedReconstructor.fit(documents(), vocabulary())
    for name in ("base", "contexts", "shares", "copied"):
        np.testing.assert_array_equal(
            getattr(again.reading.weights, name), getattr(model().reading.weights, name)
        )


def test_far_blocks_of_a_long_text_are_forgotten(monkeypatch):
    monkeypatch.setattr(counted_reading, "BLOCK", 64)
    tokens = WORDS.tokenize(" ".join(document.text for document in documents()))
    rng = np.random.default_rng(0)
    keep = rng.random(len(tokens)) < 0.5
    first = model().bits(tokens, keep)
    other = np.where(np.arange(len(tokens)) < 256, keep, rng.random(len(tokens)) < 0.9)
    known = vocabulary().numbers(tokens) != UNKNOWN  # copies of unknown ones come from anywhere
    second = model().bits(tokens, other)
    np.testing.assert_allclose(second[:128][known[:128]], first[:128][known[:128]], rtol=1e-12)
    assert not np.array_equal(second[192:256], first[192:256])
    assert ((first > 0) == ~keep).all()


@pytest.mark.parametrize("distances", [0, 65])
def test_impossible_distances_are_refused(distances):
    with pytest.raises(UsageError, match="distances"):
        CountedReconstructor.fit(documents(), vocabulary(), distances=distances)


def _broken(kind: str, folder) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    if kind == "cut":
        path.write_bytes(data[:-5])
    elif kind == "no vocabulary":
        (folder / "vocabulary.json").unlink()
    elif kind == "no tensors":
        path.unlink()
    elif kind == "other vocabulary":
        Vocabulary.of(documents(), 25).save(folder)
    elif kind == "config":
        text = (folder / "config.json").read_text()
        (folder / "config.json").write_text(text.replace('"distances": 4', '"distances": 5'))
    else:
        raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind", ["cut", "no vocabulary", "no tensors", "other vocabulary", "config"]
)
def test_a_damaged_folder_is_one_clear_error(kind, tmp_path):
    model().save(tmp_path / "model")
    _broken(kind, tmp_path / "model")
    with pytest.raises(ModelFileError):
        CountedReconstructor.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"words": -1}, "words holds numbers outside"),
        ({"documents": 2**40}, "documents holds numbers outside"),
        ({"classes": -3}, "classes holds numbers outside"),
        ({"base": math.nan}, "base holds numbers outside"),
        ({"contexts": 2.1}, "outside 0.0 to 2.0"),
        ({"shares": 1.0}, "outside 0.0 to 0.999"),
        ({"copied": -0.1}, "outside 0.0 to 0.999"),
    ],
)
def test_impossible_numbers_in_a_file_are_refused(change, said, tmp_path):
    (name, value), = change.items()  # fmt: skip
    counts, weights = model().counts, model().reading.weights
    owner = counts if hasattr(counts, name) else weights
    array = getattr(owner, name).copy()
    array.flat[-1] = value
    broken = dataclasses.replace(owner, **{name: array})
    reading = model().reading
    if owner is weights:
        reading = dataclasses.replace(reading, weights=broken)
    else:
        counts = broken
    dataclasses.replace(model(), counts=counts, reading=reading).save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=said):
        CountedReconstructor.load(tmp_path / "model")


@pytest.mark.parametrize(("change", "said"), [("swap", "order"), ("most", "outside"),
                                              ("count", "outside")])  # fmt: skip
def test_impossible_pairs_in_a_file_are_refused(change, said, tmp_path):
    keys, found = (array.copy() for array in model().counts.pairs[2])
    if change == "swap":
        keys[:2] = keys[1::-1]
    elif change == "most":
        keys[-1] = len(vocabulary()) ** 2
    else:
        found[0] = 0
    pairs = (*model().counts.pairs[:2], (keys, found), model().counts.pairs[3])
    counts = dataclasses.replace(model().counts, pairs=pairs)
    dataclasses.replace(model(), counts=counts).save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=said):
        CountedReconstructor.load(tmp_path / "model")


def test_saving_replaces_a_model_and_nothing_else(tmp_path):
    folder = tmp_path / "model"
    model().save(folder)
    model().save(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "vocabulary.json",
    ]
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "letter.txt").write_text("mine")
    with pytest.raises(ModelFileError):
        model().save(folder)
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


def test_classes_tell_words_apart_by_their_looks():
    classes = model().classes
    assert classes.of_number[UNKNOWN] == 0
    assert len(np.unique(classes.of_number[SPECIAL:])) == len(vocabulary()) - SPECIAL  # few words
    often = [f"w{number:03}x" for number in range(100)] * 3
    rare = [f"{a}{b}{c}" for a in "bcdf" for b in "lmnp" for c in ("aing", "eing", "oed", "ued")]
    rest = [*rare, *map(str, range(10, 40)), *(f"x{k}y" for k in range(9)), *"!?-"]
    found = type(classes).of(Vocabulary.of([WORDS.tokenize(" ".join(["", *often, *rest]))], 900))
    looks = found.of_looks
    assert sorted(looks) == [
        "space digits 2",
        "space lowering",
        "space loweroed",
        "space lowerued",
        "space mixed",
        "space sign",
    ]
    words = [" zzzing", " zzoed", " zz", " 77", " 7x", " ☃", "\n☃"]
    tokens = _of(words)
    kept = found.of_kept(tokens, np.full(len(words), UNKNOWN))
    assert kept.tolist() == [102, 103, 0, 101, 105, 106, 0]
