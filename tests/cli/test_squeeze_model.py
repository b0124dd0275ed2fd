"""``microdollar squeeze`` with models: real ones, small and made in place."""

import json
from pathlib import Path

import numpy as np
import pytest

from microdollar.cli.main import main
from microdollar.learn.registry import create
from microdollar.learn.tokens.policy.folder import PolicyModel
from microdollar.learn.tokens.policy.network import PolicyConfig, initial
from microdollar.learn.tokens.policy.pairs import Pairs
from microdollar.learn.tokens.reconstruct.counted import CountedReconstructor
from microdollar.learn.tokens.tokenizers import make_tokenizer
from microdollar.learn.tokens.vocabulary import Vocabulary

WORDS = make_tokenizer("words")
SENTENCES = ["the cat sees a tall tree by the river. ", "a dog likes the cat and the old tree. "]
TEXT = "".join(SENTENCES * 4).strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text, a policy, a reconstructor of counts and an n-gram network."""
    base = tmp_path_factory.mktemp("models")
    (base / "text").write_text(TEXT, encoding="utf-8")
    order = np.random.default_rng(0).integers(0, 2, (12, 30))
    documents = [WORDS.tokenize("".join(SENTENCES[i] for i in row)) for row in order]
    vocabulary = Vocabulary.of(documents)
    CountedReconstructor.fit(documents, vocabulary).save(base / "counted")
    pairs = Pairs.of([vocabulary.numbers(each) for each in documents], len(vocabulary))
    network = initial(PolicyConfig())
    PolicyModel(network=network, vocabulary=vocabulary, pairs=pairs).save(base / "policy")
    data = np.frombuffer(TEXT.encode(), np.uint8)
    create("ngram", order=3).fit(data).save(base / "ngram")
    return base


@pytest.fixture(autouse=True)
def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names as a user types them."""
    monkeypatch.chdir(folder)


def said(*words: str, capfd: pytest.CaptureFixture[str]) -> dict:
    assert main(["squeeze", "text", *words, "--json"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return json.loads(out)


def test_bits_lost_are_those_of_the_reconstructor(capfd):
    got = said("--ratio", "0.5", "--scorer", "length", "--reconstructor", "counted", capfd=capfd)
    tokens = WORDS.tokenize(TEXT)
    dropped = np.zeros(len(TEXT), bool)
    for start, end in got["dropped"]:
        dropped[start:end] = True
    keep = ~dropped[tokens.ends - 1]
    assert keep.sum() == got["kept"] == got["budget"]
    reader = CountedReconstructor.load(Path("counted"))
    assert got["bits_lost"] == pytest.approx(reader.bits(tokens, keep).sum())
    assert got["bits_lost_missing"] is None
    assert got["reconstructor"] == "counted"


def test_the_quality_floor_is_kept_and_one_token_fewer_breaks_it(capfd):
    words = ["--scorer", "length", "--reconstructor", "counted"]
    half = said("--ratio", "0.5", *words, capfd=capfd)
    most = 0.6 * half["bits_lost"]
    got = said("--max-bits-lost", str(most), *words, capfd=capfd)
    assert got["bits_lost"] <= most
    assert got["kept"] == got["budget"] > half["kept"]
    assert got["seconds"] > half["seconds"] / 5  # several readings instead of one
    below = said("--ratio", str((got["kept"] - 1) / got["tokens"]), *words, capfd=capfd)
    assert below["kept"] == got["kept"] - 1
    assert below["bits_lost"] > most


def test_all_may_be_lost_and_nothing_may_be_lost(capfd):
    words = ["--scorer", "length", "--reconstructor", "counted"]
    assert said("--max-bits-lost", "1e9", *words, capfd=capfd)["kept"] == 1
    got = said("--max-bits-lost", "0", *words, capfd=capfd)
    assert (got["kept"], got["text"]) == (got["tokens"], TEXT)


def test_a_policy_is_the_scorer_of_its_model(capfd):
    got = said("--ratio", "0.5", "--model", "policy", capfd=capfd)
    assert got["scorer"] == "policy"
    assert got["bits_lost_missing"] == "policy holds no infiller that reads the text back"
    assert said("--ratio", "0.5", "--scorer", "policy=policy", capfd=capfd)["text"] == got["text"]


def test_a_frozen_network_scores(capfd):
    got = said("--ratio", "0.5", "--scorer", "self-information=ngram", capfd=capfd)
    assert got["scorer"] == "self-information=ngram"
    assert got["kept"] == got["budget"]


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["--ratio", "0.5", "--model", "policy", "--tokenizer", "bytes"], 2, "knows tokens of wo"),
        (["--max-bits-lost", "9", "--model", "policy"], 2, "policy holds no infiller"),
        (["--max-bits-lost", "-9", "--reconstructor", "counted"], 2, "-9.0 bits may be lost"),
        (["--ratio", "0.5", "--model", "ngram"], 1, "ngram"),
        (["--ratio", "0.5", "--reconstructor", "infiller"], 2, "is a part of a model"),
        (["--ratio", "0.5", "--reconstructor", "nobody"], 2, "unknown reconstructor 'nobody'"),
    ],
)
def test_models_that_do_not_fit(words, code, what, capfd):
    assert main(["squeeze", "text", *words]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ") and what in err


def test_bits_of_other_tokens_are_not_made_up(capfd):
    words = ["--scorer", "length", "--reconstructor", "counted", "--tokenizer", "bytes"]
    got = said("--ratio", "0.5", *words, capfd=capfd)
    assert got["bits_lost"] is None
    assert got["bits_lost_missing"] == "counted reads tokens of words, not of bytes"
    assert main(["squeeze", "text", "--max-bits-lost", "9", *words]) == 2
    assert "not of bytes" in capfd.readouterr().err
