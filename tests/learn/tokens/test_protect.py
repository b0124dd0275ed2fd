"""Protected spans: what is found, which tokens that protects, and how the time grows."""

import re
import statistics
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import UnknownNameError, UsageError
from microdollar.learn.tokens import protect
from microdollar.learn.tokens.protect import KINDS, USUAL, mask, protected
from microdollar.learn.tokens.tokenizers import make_tokenizer

SIGNS = st.text(alphabet="ab1.@-:/\"'`~\\\n \t{}[]$%+“”年wn’t", max_size=60)


def found(text, kind):
    return [text[start:end] for start, end, _ in protected(text, kinds=[kind])]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("numbers", "It is -3.5e-7, $1,234.50 or 40% of GPT2.",
         ["-3.5e-7", "$1,234.50", "40%", "2"]),
        ("dates", "On 2024-05-06T07:08:09Z, 6 May 2024 and May 6th, 2024.",
         ["2024-05-06T07:08:09Z", "6 May 2024", "May 2024", "May 6th, 2024"]),
        ("dates", "at 10:30 pm, 1/2/2024, 2024年5月6日; I may go",
         ["10:30 pm", "1/2/2024", "2024年5月6日"]),
        ("urls", "See (https://a.b/c?d=1#e), or www.x.org.", ["https://a.b/c?d=1#e", "www.x.org"]),
        ("emails", "Write to a.b+c@d-e.co.uk. Not to a@b", ["a.b+c@d-e.co.uk"]),
        ("code", "Use `x` or ``y``, not this.", ["`x`", "``y``"]),
        ("code", "a\n```py\n`x` = 1\n```\nb `c`\n\n~~~\nd",
         ["```py\n`x` = 1\n```", "`c`", "~~~\nd"]),
        ("code", "Title\n~~~~~\n\nText\nOther\n~~~~~\n", []),
        ("code", "```\na\n````\nb", ["```\na\n````"]),
        ("json_keys", '{"a\\"b" : [1, "c"], "d": {}}', ['"a\\"b"', '"d"']),
        ("quotes", "He said \"no\", “yes” and 'so', don't open \"this.", ['"no"', "“yes”", "'so'"]),
        ("negations", "Nothing is not here, cannot, won't, didn’t; note knot.",
         ["Nothing", "not", "cannot", "won't", "didn’t"]),
    ],
)  # fmt: skip
def test_what_is_found(kind, text, expected):
    assert found(text, kind) == expected


def test_patterns_of_the_user():
    spans = protected("see CASE-12 in Paris", [r"(?P<case>CASE-\d+)", "Paris", "x*"], kinds=[])
    assert spans == [(4, 11, "case"), (15, 20, "pattern")]
    with pytest.raises(UsageError, match=re.escape("'(' is no regular expression")):
        protected("", ["("])
    with pytest.raises(UnknownNameError, match="numbers"):
        protected("", kinds=["number"])


@given(SIGNS)
def test_spans_lie_in_the_text_in_order(text):
    spans = protected(text)
    assert spans == sorted(spans)
    assert all(0 <= start < end <= len(text) and kind in KINDS for start, end, kind in spans)


FRAGMENTS = [
    "http://", "https:", "//", "www.", "WwW.", "b.c", "@", "x-y", " ", "\n", "1", "23", "2024", "-",
    "/", ".", ":", "年", "5月", "May", "Sept", "Sep.", "September. ", " 5", "th", "’t", "n't", "n",
    "'", "not", "No", "cannot", "can", "wıthout", "é", "_", "$", "−", "%", "E5", "“", "”", "「",
    "」", "٣", "漢", "pm", " am", "T10:30", "+01:00", "<", ",",
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "patterns"),
    [
        ("numbers", ["_NUMBER"]),
        ("dates", ["_DATE", "_MONTH_FIRST"]),
        ("emails", ["_EMAIL"]),
        ("negations", ["_NEGATION"]),
    ],
)
@given(text=st.lists(st.sampled_from(FRAGMENTS), max_size=20).map("".join))
def test_a_search_from_every_character_finds_the_same(kind, patterns, text):
    spans = [
        (*match.span(), kind)
        for pattern in patterns
        for match in getattr(protect, pattern).finditer(text)
    ]
    assert protected(text, kinds=[kind]) == sorted(spans)


def test_quotes_are_not_usual():
    assert set(KINDS) - set(USUAL) == {"quotes"}


@pytest.mark.parametrize("name", ["bytes", "words"])
@given(text=SIGNS, places=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6))
def test_mask_is_every_token_that_shares_a_character(name, text, places):
    tokens = make_tokenizer(name).tokenize(text)
    size = len(text)
    spans = [(min(*pair, size), min(max(pair), size), "pattern") for pair in places]
    expected = [
        any(max(a, start) < min(b, end) for start, end, _ in spans)
        for a, b in zip(tokens.starts.tolist(), tokens.ends.tolist(), strict=True)
    ]
    assert mask(tokens, spans).tolist() == expected


HOSTILE = {
    "letters": lambda n: "a" * n,
    "mail": lambda n: "a.-" * (n // 3) + "@",
    "mails": lambda n: "a@" * (n // 2),
    "domain": lambda n: "a@" + "b-" * (n // 2),
    "digits": lambda n: "1" * n + "x",
    "groups": lambda n: "1," * (n // 2),
    "signs": lambda n: "+-" * (n // 2),
    "urls": lambda n: "http://" * (n // 7),
    "dots after": lambda n: "http://" + "." * n,
    "backticks": lambda n: "`" * n,
    "open code": lambda n: "` " * (n // 4) + "``a" * (n // 6),
    "fences": lambda n: "```\n~~~~\n" * (n // 9),
    "open fences": lambda n: "~~~~\n" + "```\n~~~\n" * (n // 8),
    "headings": lambda n: "a\n~~~\n" * (n // 6),
    "escapes": lambda n: '\\"' * (n // 2),
    "open strings": lambda n: '"a\\"' * (n // 4),
    "backslashes": lambda n: '"' + "\\" * n,
    "spaces": lambda n: '"a"' + " " * n,
    "spaced strings": lambda n: ('"a"' + " " * 50) * (n // 53),
    "apostrophes": lambda n: "'" * n,
    "open quotes": lambda n: "“" * n,
    "n't": lambda n: "n" * n + "'",
    "days": lambda n: "May 1st " * (n // 8),
    "newlines": lambda n: "\n " * (n // 2),
}


def seconds(text):
    began = time.process_time()
    protected(text)
    return time.process_time() - began


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear_in_hostile_text(name):
    short, long = HOSTILE[name](6_000), HOSTILE[name](24_000)
    ratios = [seconds(long) / max(seconds(short), 1e-6) for _ in range(7)]
    assert statistics.median(ratios) < 8, ratios  # 4 if linear, 16 if quadratic


def test_mask_of_nothing():
    tokens = make_tokenizer("words").tokenize("")
    assert mask(tokens, []).shape == (0,)
    assert mask(tokens, []).dtype == np.bool_
