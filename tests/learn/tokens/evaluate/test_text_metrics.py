"""BLEU, chrF and ROUGE against the libraries called directly, LCS against its table."""

import importlib
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.learn.tokens.evaluate.text_metrics import NAMES, TextMetrics, f_of_lcs, lcs_length
from microdollar.learn.tokens.tokenizers import Words

TEXTS = (
    "The cost of learning is 5.2 dollars. Nobody's bill was higher, said Dr. Smith!\n\n"
    "Then it fell.",
    "A second document, which is not as long. It ends here.",
)
WORDS = st.lists(st.sampled_from("abcd"), max_size=12)


def table_lcs(a: list, b: list) -> int:
    @cache
    def longest(i: int, j: int) -> int:
        if not i or not j:
            return 0
        if a[i - 1] == b[j - 1]:
            return longest(i - 1, j - 1) + 1
        return max(longest(i - 1, j), longest(i, j - 1))

    return longest(len(a), len(b))


@given(WORDS, WORDS)
def test_lcs_is_that_of_the_table(a: list[str], b: list[str]) -> None:
    assert lcs_length(a, b) == table_lcs(a, b)


def test_rouge_l_is_that_of_the_library_at_any_length() -> None:
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    rng = np.random.default_rng(0)
    library = rouge_scorer.RougeScorer(["rougeL"])
    for size in (1, 63, 64, 65, 300):
        a, b = (" ".join(f"w{w}" for w in rng.integers(0, 40, size)) for _ in range(2))
        want = library.score(a, b)["rougeL"].fmeasure
        assert f_of_lcs(a.split(), b.split()) == pytest.approx(want, abs=1e-12)


def reading(text: str, wrong: str) -> tuple[list[str], str]:
    """Every third piece of a text replaced by a word."""
    tokens = Words().tokenize(text)
    pieces = [tokens.piece(i) if i % 3 else wrong for i in range(len(tokens))]
    return pieces, "".join(pieces)


def test_scores_are_those_of_the_libraries() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    metrics = TextMetrics([Words().tokenize(text) for text in TEXTS])
    pieces, texts = zip(*(reading(text, " house") for text in TEXTS), strict=True)
    found = metrics.score(pieces)
    assert tuple(found) == NAMES
    # The sentences by hand: the readings have a piece for each of the original.
    originals = ["The cost of learning is 5.2 dollars.", "Nobody's bill was higher, said Dr.",
                 "Smith!", "Then it fell.", "A second document, which is not as long.",
                 "It ends here."]  # fmt: skip
    sizes = [len(Words().tokenize(sentence)) for sentence in originals]
    every = [piece for each in pieces for piece in each]
    ends = np.cumsum(sizes)
    assert ends[-1] == len(every)
    read = ["".join(every[b - a : b]).strip() for a, b in zip(sizes, ends, strict=True)]
    bleu = sacrebleu.BLEU(effective_order=True)
    assert found["bleu"] == pytest.approx(bleu.corpus_score(read, [originals]).score, abs=1e-9)
    assert metrics.signatures["bleu"].startswith(str(bleu.get_signature()))
    chrf = sacrebleu.CHRF().corpus_score(read, [originals]).score
    assert found["chrf"] == pytest.approx(chrf, abs=1e-9)
    library = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [library.score(a, b) for a, b in zip(TEXTS, texts, strict=True)]
    for ours, theirs in (("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")):
        want = 100 * np.mean([score[theirs].fmeasure for score in scores])
        assert found[ours] == pytest.approx(want, abs=1e-9)


def test_the_original_is_perfect_and_nothing_is_worth_nothing() -> None:
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    tokens = [Words().tokenize(text) for text in TEXTS]
    metrics = TextMetrics(tokens)
    whole = metrics.score([[each.piece(i) for i in range(len(each))] for each in tokens])
    assert all(score == pytest.approx(100) for score in whole.values())
    nothing = metrics.score([[""] * len(each) for each in tokens])
    assert all(score == pytest.approx(0) for score in nothing.values())


@pytest.mark.parametrize(
    ("package", "lost"), [("sacrebleu", NAMES[:2]), ("rouge_score", NAMES[2:])]
)
def test_a_missing_library_is_a_reason_and_no_error(
    package: str, lost: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = importlib.import_module

    def without(name: str, *arguments: object) -> object:
        if name.startswith(package):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return imported(name, *arguments)

    monkeypatch.setattr("microdollar.learn.tokens.evaluate.text_metrics.import_module", without)
    tokens = Words().tokenize(TEXTS[0])
    metrics = TextMetrics([tokens])
    found = metrics.score([[tokens.piece(i) for i in range(len(tokens))]])
    assert {name for name in NAMES if found[name] is None} >= set(lost)
    assert all("pip install" in metrics.missing[name] for name in lost)
    assert not set(lost) & set(metrics.signatures)
