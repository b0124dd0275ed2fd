"""Documents: what is copied, what is a document, and that no split ever overlaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import CorpusError
from microdollar.learn.tokens.texts import Document, read_documents, split

DUMP = """<mediawiki><page><title>Rust</title><text>'''Rust''' is [[iron]] that met water. It is
red.</text></page><page><title>Ash</title><text>#REDIRECT [[Rust]]</text></page></mediawiki>"""


def test_a_dump_gives_the_prose_of_its_pages(tmp_path):
    file = tmp_path / "dump.xml"
    file.write_text(DUMP)
    (found,) = read_documents([file], min_tokens=1)
    assert found.title == "Rust"
    assert found.text.startswith("Rust is iron that met water.")


@given(st.lists(st.text(alphabet="ab \n", max_size=30), max_size=20), st.integers(1, 12))
def test_a_plain_text_is_copied_in_pieces_of_whole_paragraphs(paragraphs, piece_words):
    from microdollar.learn.tokens.texts import _of_text

    text = "\n\n".join(paragraphs)
    pieces = [document.text for document in _of_text("name", text, piece_words)]
    assert "".join(pieces) == text
    if len(pieces) > 1:
        assert all(len(piece.split()) >= piece_words for piece in pieces)
        assert all(piece.rstrip(" \t").endswith("\n") for piece in pieces[:-1])


def test_pieces_are_numbered_and_a_short_file_has_its_name(tmp_path):
    long, short = tmp_path / "long.txt", tmp_path / "short.txt"
    long.write_text("one two three\n\nfour five six\n\nseven eight nine\n")
    short.write_text("one two three")
    titles = [d.title for d in read_documents([long, short], min_tokens=3, piece_words=3)]
    assert titles == ["long.txt#0", "long.txt#1", "long.txt#2", "short.txt"]


def test_a_folder_gives_its_files_by_path_without_hidden_ones(tmp_path):
    for name in ("b.txt", "a.txt", ".hidden"):
        (tmp_path / name).write_text(f"{name} has a few words")
    assert [d.title for d in read_documents([tmp_path], min_tokens=1)] == ["a.txt", "b.txt"]


def test_the_help_topics_of_python_are_there():
    assert any(d.title == "assert" for d in read_documents(["python-docs"]))


def test_a_file_cut_within_a_character_is_read_and_other_bytes_are_refused(tmp_path):
    file = tmp_path / "cut.txt"
    file.write_bytes("naïve words é".encode()[:-1])
    assert read_documents([file], min_tokens=1)[0].text == "naïve words "
    file.write_bytes(b"caf\xe9 words and more")
    with pytest.raises(CorpusError, match="byte 3 is 0xe9"):
        read_documents([file], min_tokens=1)


def test_what_is_not_there_or_too_short_is_an_error(tmp_path):
    with pytest.raises(CorpusError, match="there is no text called"):
        read_documents([tmp_path / "none"])
    (tmp_path / "short").write_text("few words")
    with pytest.raises(CorpusError, match="at least 100 tokens"):
        read_documents([tmp_path / "short"])


@given(st.sets(st.text(max_size=8), min_size=60, max_size=80), st.randoms())
def test_a_title_falls_to_the_same_part_whatever_else_is_there(titles, random):
    documents = [Document(title, "text") for title in sorted(titles)]
    try:
        parts = split(documents, test=40, validation=30)
    except CorpusError as error:
        assert "falls to" in str(error)
        return
    everything = [*parts.train, *parts.validation, *parts.test]
    assert sorted(d.title for d in everything) == sorted(titles)
    some = random.sample(documents, 50)
    try:
        fewer = split(some, test=40, validation=30)
    except CorpusError:
        return
    assert set(fewer.test) <= set(parts.test)
    assert set(fewer.train) <= set(parts.train)
