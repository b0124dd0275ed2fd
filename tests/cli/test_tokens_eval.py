"""``microdollar tokens eval`` on texts that every Python carries."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from microdollar.cli.main import main
from microdollar.learn.tokens.budget import budget_of
from microdollar.learn.tokens.texts import read_documents
from microdollar.learn.tokens.tokenizers import Words

KEYS = {
    "scorer", "ratio", "kept", "bits_per_dropped_token", "low", "high", "bleu", "rouge_l",
    "tokens_per_second", "accuracy", "recall_numbers", "recall_names", "recall_content",
    "cloze_accuracy", "documents",
}  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    chosen = sorted(read_documents(["python-docs"]), key=lambda document: len(document.text))[10:18]
    for document in chosen:
        (folder / f"{document.title}.txt").write_text(document.text)
    return folder


def test_json_has_what_it_promises(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tokens", "eval", str(texts), "--ratios", "0.3,0.7,0.3", "--json"]
    assert main([*words, "--scorers", "rare,random,self-information"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1 and found["chosen"] == "rare"
    assert found["reconstructor"]["name"] == "counted"
    assert found["ratios"] == [0.3, 0.7]
    assert len(found["rows"]) == 6 and len(found["differences"]) == 4
    sizes = [len(Words().tokenize(path.read_text())) for path in texts.iterdir()]
    for row in found["rows"]:
        assert set(row) >= KEYS
        assert row["kept"] == sum(budget_of(row["ratio"], n) for n in sizes)
        assert row["tokens"] == found["tokens"] == sum(sizes) and row["documents"] == 8
        assert 0 < row["low"] <= row["bits_per_dropped_token"] <= row["high"] < 40
        assert 0 <= row["accuracy"] <= 1 and row["tokens_per_second"] > 0
    bits = {(row["scorer"], row["ratio"]): row["bits_per_dropped_token"] for row in found["rows"]}
    for each in found["differences"]:
        want = bits[each["over"], each["ratio"]] - bits["rare", each["ratio"]]
        assert each["fewer_bits_per_dropped_token"] == pytest.approx(want)
        assert each["low"] <= each["fewer_bits_per_dropped_token"] <= each["high"]
    for each in found["kept_subset"]:
        assert each["rouge_1"] == pytest.approx(each["rouge_by_size"], abs=1e-9)
    assert found["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:yes|tok:13a")


def test_words_and_a_picture(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "bits.svg"
    words = ["tokens", "eval", str(texts), "--ratios", "0.5,1", "--bits-only", "--documents", "3"]
    words += ["--scorers", "length,short", "--chosen", "short", "--plot", str(plot)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "3 documents" in out and "read back by counted from kept tokens" in out
    assert "the other half of 8 documents" in out
    assert out.index("  length") < out.index("  short"), "best first"
    assert "nothing dropped" in out and "by short (paired, 95 %) than by" in out
    assert "BLEU" in out and "rouge" not in out
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")


def test_protected_text_is_kept_by_every_scorer(
    texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tokens", "eval", str(texts), "--ratios", "0.6", "--scorers", "random", "--json"]
    assert main([*words, "--kinds", "numbers", "--protect", "Python"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["recall_numbers"] == 1
    assert main([*words, "--protect", r"\w"]) == 1
    assert "are protected, but the budget is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ratios", "0.5,x"], "'x', which is no number"),
        (["--ratios", "1.5"], "above 0 and at most 1"),
        (["--scorers", "randm"], "Did you mean random"),
        (["--scorers", "random,random"], "named twice"),
        (["--scorers", "policy"], "needs a --model"),
        (["--scorers", "random", "--chosen", "rare"], "not among the scorers"),
        (["--plot", "bits.png"], "does not end in .svg"),
        (["--kinds", "numbrs"], "Did you mean numbers"),
        (["--reconstructor", "infiller"], "--model"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str], said: str, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokens", "eval", str(texts), *words]) == 2
    err = capsys.readouterr().err
    assert said in err and err.startswith("error: ") and err.count("\n") == 1


def test_help_imports_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokens", "--help"]) == 0
    out = capsys.readouterr().out
    assert "eval" in out and "train" in out
    assert main(["tokens", "eval", "--help"]) == 0
    assert "exactly equal budgets" in capsys.readouterr().out
