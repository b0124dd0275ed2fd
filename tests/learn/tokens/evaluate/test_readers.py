"""Who is scored, and that nobody who reads back has learnt from it."""

from pathlib import Path

import numpy as np
import pytest

from microdollar.errors import CorpusError, ModelFileError, UnknownNameError, UsageError
from microdollar.learn.tokens.evaluate.readers import counted, open_reading, unseen
from microdollar.learn.tokens.reconstruct.base import Reconstructor
from microdollar.learn.tokens.texts import read_documents, split
from microdollar.learn.tokens.tokenizers import Words

WORDS = ["".join(pair) for pair in zip("bdfgklmnprst" * 9, "aeiou" * 21, strict=False)]


def prose(number: int, words: int = 240) -> str:
    """Words of all texts, and one that stands in no other."""
    drawn = np.random.default_rng(number).choice(WORDS, words).tolist()
    drawn[::20] = [f"only{number}"] * len(drawn[::20])
    return ". ".join(" ".join(drawn[i : i + 12]) for i in range(0, words, 12)) + "."


def page(number: int) -> str:
    text = prose(number)
    return f"<page><title>Page {number}</title><text>{text}</text></page>\n"


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "dump.xml"
    path.write_text("<mediawiki>\n" + "".join(page(number) for number in range(40)))
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    folder = tmp_path / "plain"
    folder.mkdir()
    for number in range(50, 57):
        (folder / f"{number}.txt").write_text(prose(number))
    return folder


def has_learnt(reader: Reconstructor, number: int) -> bool:
    return f" only{number}" in reader.vocabulary.pieces


def test_dumps_are_split_and_plain_texts_are_whole(dump: Path, plain: Path) -> None:
    train, test, others = unseen([dump, plain])
    parts = split(read_documents([dump]))
    assert train == list(parts.train) and test == list(parts.test) and len(others) == 7


def test_no_reader_has_learnt_what_it_reads(dump: Path, plain: Path) -> None:
    found = counted([dump, plain])
    tested = {document.title for document in split(read_documents([dump])).test}
    titles = [document.title for document in found.documents]
    assert titles == [*(t for t in titles if t in tested), *sorted(p.name for p in plain.iterdir())]
    for document, reader in zip(found.documents, found.readers, strict=True):
        number = int(document.title.removeprefix("Page ").removesuffix(".txt"))
        assert not has_learnt(reader, number)
        others = [n for n in range(50, 57) if has_learnt(reader, n)]
        assert len(others) == (0 if document.title in tested else 3 if number % 2 == 0 else 4)
    assert found.reconstructor["name"] == "counted"
    assert "training pages and the other half of 7 documents" in found.learnt_from


def test_a_limit_leaves_all_to_learn_from(plain: Path) -> None:
    found = counted([plain], limit=2)
    assert len(found.documents) == len(found.readers) == 2
    assert [document.title for document in found.documents] == ["50.txt", "53.txt"]
    assert has_learnt(found.readers[0], 55) and "7 documents" in found.learnt_from


def test_a_short_text_is_cut_in_smaller_pieces(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("\n\n".join(prose(number, 120) for number in range(3)))
    found = counted([path])
    assert len(found.documents) > 1
    path.write_text(prose(1, 120))
    with pytest.raises(CorpusError, match="may not be learnt from"):
        counted([path])


def test_a_saved_reconstructor_reads_everything(plain: Path, tmp_path: Path) -> None:
    reader = counted([plain]).readers[0]
    folder = tmp_path / "counted"
    reader.save(folder)
    found = open_reading([plain], str(folder))
    assert len(found.documents) == 7 and found.reconstructor["given"] == "kept tokens"
    tokens = Words().tokenize(found.documents[0].text)
    keep = np.arange(len(tokens)) % 2 == 0
    np.testing.assert_allclose(found.readers[0].bits(tokens, keep), reader.bits(tokens, keep))


def test_of_texts_that_were_trained_on_the_test_part_is_scored(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.txt").write_text(prose(number, 120))
    counted([folder]).readers[0].save(tmp_path / "counted")
    found = open_reading([folder], str(tmp_path / "counted"), held_out=True)
    assert found.documents == list(split(read_documents([folder])).test)
    assert 0 < len(found.documents) < 20


def test_what_does_not_read_back_is_an_error(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="count"):
        open_reading([plain], "countd")
    with pytest.raises(UsageError, match="--model"):
        open_reading([plain], "infiller")
    with pytest.raises(ModelFileError, match="no infiller"):
        open_reading([plain], model=tmp_path)
    with pytest.raises(ModelFileError, match=r"config\.json can't be read"):
        open_reading([plain], str(plain))
    (plain / "config.json").write_text('{"network": "lstm"}')
    with pytest.raises(ModelFileError, match="holds no reconstructor"):
        open_reading([plain], str(plain))
