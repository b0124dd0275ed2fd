import bz2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import CorpusError
from microdollar.learn.concepts.corpus import (
    Article,
    Rules,
    articles_of,
    read_articles,
    split_articles,
    split_sentences,
)
from microdollar.learn.concepts.web import html_paragraphs
from microdollar.learn.concepts.wiki import is_dump, pages, prose_lines, wikitext_articles

SENTENCE = "This is a sentence about number {} that is long enough to be kept."
PROSE = " ".join(SENTENCE.format(i) for i in range(30))

DUMP = f"""<mediawiki>
<page><title>Old name</title><text xml:space="preserve">#REDIRECT [[New name]]</text></page>
<page><title>Cats &amp;amp; dogs</title><text xml:space="preserve">{{{{Infobox|a={{{{b}}}}}}}}
'''Cats''' are [[animal|animals]] of [[Europe]]&lt;ref name="x"&gt;A book.&lt;/ref&gt;.
[[Image:Cat.jpg|thumb|A [[cat]] that sits]]
== Heading ==
* a list
{{| class="table"
| cell || cell
|}}
See [http://example.org the page] at 5&amp;nbsp;km. {PROSE}
[[de:Katze]]
</text></page>
<page><title>Cut off</title><text>The dump ends here, in the middle of a sen"""


def test_a_dump_gives_titles_and_prose_without_markup():
    found = dict(pages(DUMP))
    assert is_dump(DUMP)
    assert list(found) == ["Cats &amp; dogs", "Cut off"]
    lines = found["Cats &amp; dogs"].splitlines()
    assert lines[0] == "Cats are animals of Europe ."
    assert lines[1].startswith("See the page at 5 km. This is a sentence about number 0")
    assert len(lines) == 2


def test_nested_and_unclosed_markup_leaves_no_brackets():
    lines = prose_lines("A {{lang|{{x|{{y}}}}}} b [[a|[[c]] d]] e {{never closed\nNext line")
    assert "{" not in "".join(lines)
    assert "[" not in "".join(lines)
    assert lines[-1] == "Next line"


@given(st.text(alphabet="ab {}[]|<>=*'&;/\n", max_size=200))
def test_any_markup_is_survived(markup):
    for line in prose_lines(markup):
        assert line == line.strip() != ""


def test_sentences_end_before_a_capital_and_have_bounds():
    text = (
        'He said "this is long enough to be a sentence." Then a second one that is long enough. '
        "Short one. and no capital e.g. here it does not end, since it goes on in small letters."
    )
    assert split_sentences(text, Rules(min_chars=30)) == [
        'He said "this is long enough to be a sentence.',
        "Then a second one that is long enough.",
        "Short one. and no capital e.g. here it does not end, since it goes on in small letters.",
    ]
    assert split_sentences("A" * 500 + ".") == []


def test_files_folders_and_docs(tmp_path):
    (tmp_path / "b.txt").write_text(PROSE.replace(". ", ".\n"))
    (tmp_path / "a.html").write_text(f"<html><p>{PROSE}</p></html>")
    (tmp_path / ".hidden.txt").write_text(PROSE)
    (tmp_path / "c.bin").write_bytes(b"\0")
    (tmp_path / "short.txt").write_text("Too short.")
    found = read_articles(tmp_path)
    assert [(a.title, len(a.sentences)) for a in found] == [("a", 30), ("b", 30)]
    assert found[0].sentences == found[1].sentences
    (tmp_path / "d.xml.bz2").write_bytes(bz2.compress(DUMP.encode()))
    assert [a.title for a in read_articles(tmp_path / "d.xml.bz2")] == ["Cats &amp; dogs"]
    docs = read_articles("python-docs")
    assert len(docs) > 10
    assert all(len(a.sentences) >= 20 for a in docs)


def test_limits_hold(tmp_path):
    (tmp_path / "a.txt").write_text(PROSE)
    assert len(read_articles(tmp_path, rules=Rules(max_sentences=21))[0].sentences) == 21
    with pytest.raises(CorpusError, match="no article of 20 sentences"):
        read_articles(tmp_path / "a.txt", limit_bytes=200)


@pytest.mark.parametrize("name", ["nothing-there", "./nothing/there.txt"])
def test_what_is_not_there_is_named(name):
    with pytest.raises(CorpusError, match=name):
        read_articles(name)


def test_a_damaged_archive_is_refused(tmp_path):
    (tmp_path / "a.bz2").write_bytes(bz2.compress(b"abc" * 1000)[:30])
    with pytest.raises(CorpusError, match="can't be read"):
        read_articles(tmp_path / "a.bz2")


def test_wikitext_is_joined_again():
    text = (
        " \n = Homarus = \n \n A crab , 3 @.@ 5 cm ( 1 in ) long , isn 't <unk> red @-@ brown . \n"
        ' = = Part = = \n \n It said " no " . \n = Next one = \n \n Text . \n'
    )
    assert list(wikitext_articles(text)) == [
        ("Homarus", 'A crab, 3.5 cm (1 in) long, isn \'t red-brown.\nIt said "no".'),
        ("Next one", "Text."),
    ]


def test_html_keeps_paragraphs_only():
    page = (
        "<head><title>T</title><style>p {}</style></head><h1>Head</h1><div>In <b>a</b> div<p>One"
        "<br>two &amp; three<p>Open <pre>code</pre><script>x < 1</script> end<table><p>no</table>"
    )
    assert html_paragraphs(page) == ["In a div", "One two & three", "Open end"]


@given(st.text(alphabet="<>/pdivre sxcb&", max_size=100))
def test_any_html_is_survived(page):
    assert all(line.strip() for line in html_paragraphs(page))


@given(st.integers(3, 60), st.integers(0, 5))
def test_splits_are_whole_articles_once_each(n, seed):
    articles = [Article(str(i), ("x",)) for i in range(n)]
    parts = split_articles(articles, seed)
    assert sorted((a.title for part in parts for a in part), key=int) == [str(i) for i in range(n)]
    assert all(parts)
    assert parts == split_articles(articles, seed)


def test_too_few_to_split():
    with pytest.raises(CorpusError, match="at least 3"):
        split_articles([Article("a", ()), Article("b", ())])


def test_short_articles_are_left_out():
    assert articles_of([("a", PROSE), ("b", SENTENCE.format(0))]) == [
        Article("a", tuple(SENTENCE.format(i) for i in range(30)))
    ]
