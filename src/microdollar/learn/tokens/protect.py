"""What must not be dropped: spans of numbers, names of things, code and negations.

Each pattern reads a text in linear time, whatever the text: either a match is tried only where
none can have begun before, or what is tried is consumed. Patterns are tried only at characters
that a match can begin at, found for the whole text at once: that takes a tenth of the time of a
search from every character. Negations are English ones. Patterns of the user take the time that
they take.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from microdollar.errors import UnknownNameError, UsageError
from microdollar.learn.tokens.scorers.characters import are_digits, code_points
from microdollar.learn.tokens.tokenizers import Tokens

Span = tuple[int, int, str]
"""First character, character after the last, kind."""
Places = npt.NDArray[np.int64]

_MONTH = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    "|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_YEAR = r"(?:,? \d{4})?"
_NTH = "(?:st|nd|rd|th)?"
_DATE = re.compile(
    r"\d(?<!\w\d)(?:"
    r"\d{3}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|\d?[/.-]\d{1,2}[/.-]\d{2,4}\b"
    rf"|\d?{_NTH} {_MONTH}\b{_YEAR}"
    r"|\d?:\d\d(?::\d\d)?(?: ?[AaPp]\.?[Mm]\b)?"
    r")|\d{4}年(?:\d{1,2}月(?:\d{1,2}日)?)?"
)
_MONTH_FIRST = re.compile(rf"{_MONTH}\.? (?:\d{{4}}|\d{{1,2}}{_NTH}\b{_YEAR})")
_NUMBER = re.compile(r"[-+−]?[$€£¥]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?[%‰]?")
_MONTH_BEFORE = re.compile(rf"{_MONTH}\.? \Z")
_LONGEST_MONTH = len("September. ")
_URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.)[^\s<>\"'`|\\^{}]+", re.IGNORECASE)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_CODE = re.compile(r"(?<!`)`+[^`\n]+`+")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nothing|nobody|nowhere|neither|nor|without|cannot|\w+n['’]t)\b",
    re.IGNORECASE,
)
# Strings that are not closed on their line match too, so that their characters are consumed.
_STRING = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*("?)')
_COLON = re.compile(r"\s*:")
_QUOTED = re.compile(r"“[^“”\n]*”|«[^«»\n]*»|「[^「」\n]*」|(?<!\w)'[^'\n]*'(?!\w)")


@dataclass(slots=True)
class _Page:
    """A text with what the finders look for first."""

    text: str
    points: npt.NDArray[np.uint32] = field(init=False)
    """Code points, shape (characters,), with a 0 before and two after the text."""
    numbers: Places = field(init=False)
    """Characters that runs of digits begin at."""

    def __post_init__(self) -> None:
        self.points = np.zeros(len(self.text) + 3, np.uint32)
        self.points[1:-2] = code_points(self.text)
        digits = are_digits(self.points)
        self.numbers = np.flatnonzero(digits[1:] & ~digits[:-1])

    def of(self, signs: str) -> Places:
        """Places of some characters, in order."""
        return np.flatnonzero(_any_of(self.points, signs)) - 1

    def is_at(self, places: Places, signs: str) -> npt.NDArray[np.bool_]:
        """Whether each place, -1 to the one after the end, has one of some characters."""
        return _any_of(self.points[places + 1], signs)


def _any_of(points: npt.NDArray[np.uint32], signs: str) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = points == ord(signs[0])
    for sign in signs[1:]:
        found |= points == ord(sign)
    return found


def protected(
    text: str, patterns: Sequence[str] = (), kinds: Iterable[str] | None = None
) -> list[Span]:
    """The spans of a text to keep, by place; they may overlap.

    Args:
        text: any text.
        patterns: regular expressions of the user; what a named group matched last has the
            name of that group as its kind, all else is of the kind ``pattern``.
        kinds: some of ``KINDS``; all if None.

    Raises:
        UnknownNameError: for a kind that is none of ``KINDS``.
        UsageError: for a pattern that is no regular expression.
    """
    finders = []
    for kind in KINDS if kinds is None else kinds:
        if kind not in KINDS:
            raise UnknownNameError("kind of protected text", kind, KINDS)
        finders.append((kind, KINDS[kind]))
    page = _Page(text)
    found = [(start, end, kind) for kind, find in finders for start, end in find(page)]
    for pattern in patterns:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f"{pattern!r} is no regular expression: {error}. Escape what is meant literally."
            ) from error
        found += [
            (match.start(), match.end(), match.lastgroup or "pattern")
            for match in compiled.finditer(text)
            if match.end() > match.start()
        ]
    return sorted(found)


def mask(tokens: Tokens, spans: Sequence[Span]) -> npt.NDArray[np.bool_]:
    """The tokens that share a character with a span, shape (n,)."""
    count = len(spans)
    starts = np.fromiter((span[0] for span in spans), np.int64, count)
    ends = np.fromiter((span[1] for span in spans), np.int64, count)
    filled = starts < ends
    first = np.searchsorted(tokens.ends, starts[filled], side="right")
    after = np.searchsorted(tokens.starts, ends[filled], side="left")
    n = len(tokens)
    changes = np.bincount(first, minlength=n + 1) - np.bincount(after, minlength=n + 1)
    return np.cumsum(changes)[:n] > 0


def _tried(
    pattern: re.Pattern[str], page: _Page, places: Iterable[int], end: int | None = None
) -> Iterator[tuple[int, int]]:
    """Matches that begin at some of the places, which are in order; no two overlap."""
    end = len(page.text) if end is None else end
    free = 0
    for place in places:
        if place >= free and (match := pattern.match(page.text, place, end)):
            free = match.end()
            yield match.span()


def _word_start(text: str, end: int, others: str) -> int:
    """First of the letters, digits and other characters before a place without a gap."""
    while end and (text[end - 1].isalnum() or text[end - 1] in others):
        end -= 1
    return end


def _numbers(page: _Page) -> Iterator[tuple[int, int]]:
    starts = page.numbers - page.is_at(page.numbers - 1, "$€£¥")
    starts -= page.is_at(starts - 1, "-+−")
    return _tried(_NUMBER, page, starts.tolist())


def _dates(page: _Page) -> Iterator[tuple[int, int]]:
    wide = page.of("年") - 4
    yield from _tried(_DATE, page, np.union1d(page.numbers, wide[wide >= 0]).tolist())
    days = page.numbers[page.is_at(page.numbers - 1, " ")]
    named = (_MONTH_BEFORE.search(page.text, max(i - _LONGEST_MONTH, 0), i) for i in days.tolist())
    yield from _tried(_MONTH_FIRST, page, [match.start() for match in named if match])


def _urls(page: _Page) -> Iterator[tuple[int, int]]:
    """URLs without the punctuation of the sentence around them."""
    colons = page.of(":")
    colons = colons[page.is_at(colons + 1, "/")]
    schemes = [colons - len(name) for name in ("https", "http", "ftp")]
    dots = page.of(".")
    for _ in "www":
        dots = dots[page.is_at(dots - 1, "wW")] - 1
    starts = np.unique(np.concatenate([*schemes, dots]))
    for start, end in _tried(_URL, page, starts[starts >= 0].tolist()):
        yield start, start + len(page.text[start:end].rstrip(".,;:!?)]*_"))


def _emails(page: _Page) -> Iterator[tuple[int, int]]:
    return _tried(
        _EMAIL, page, [_word_start(page.text, at, "_.+-") for at in page.of("@").tolist()]
    )


def _code(page: _Page) -> Iterator[tuple[int, int]]:
    """Fenced blocks, and outside of them spans between backticks.

    A block that is not closed goes on to the end of the text (CommonMark 0.31, section 4.5).
    """
    text = page.text
    signs = page.of("`~")
    runs = signs[np.diff(signs, prepend=-2) > 1].tolist()
    ticks = page.of("`")
    spans = ticks[np.diff(ticks, prepend=-2) > 1].tolist()

    def outside(start: int, end: int) -> Iterator[tuple[int, int]]:
        inside = spans[bisect_left(spans, start) : bisect_left(spans, end)]
        return _tried(_CODE, page, inside, end)

    start, opened, closed = 0, "", 0
    for match in _fences(text, runs):
        marks = match.group(1)
        line_end = text.find("\n", match.end())
        line_end = len(text) if line_end < 0 else line_end
        if not opened:
            if _opens(text, match, line_end):
                start, opened = match.start(), marks
        elif marks.startswith(opened) and not text[match.end() : line_end].strip():
            yield from outside(closed, start)
            yield start, line_end
            opened, closed = "", line_end
    if opened:
        yield from outside(closed, start)
        yield start, len(text)
    else:
        yield from outside(closed, len(text))


def _fences(text: str, runs: Iterable[int]) -> Iterator[re.Match[str]]:
    """Three or more of a sign at the begin of a line or after up to three blanks."""
    for run in runs:
        start = text.rfind("\n", max(run - 4, 0), run) + 1
        if run - start < 4 and (match := _FENCE.match(text, start)):
            yield match


def _opens(text: str, fence: re.Match[str], line_end: int) -> bool:
    """Whether a fence opens a block; ```x``` is a span, and tildes below a line make a heading."""
    rest = text[fence.end() : line_end].strip()
    if fence.group(1)[0] == "`":
        return "`" not in rest
    before = text.rfind("\n", 0, max(fence.start() - 1, 0)) + 1
    return bool(rest) or not text[before : fence.start()].strip()


def _negations(page: _Page) -> Iterator[tuple[int, int]]:
    points = page.points | 0x20  # small letters of capital ones
    first, second, before = points[1:-1], points[2:], points[:-2]
    starts = (first == ord("n")) & ((second == ord("o")) | (second == ord("e")))
    starts |= (first == ord("c")) & (second == ord("a"))
    starts |= (first == ord("w")) & ((second == ord("i")) | (second == ord("ı")))
    starts &= (before < ord("a")) | (before > ord("z"))
    signs = page.of("'’")
    signs = signs[page.is_at(signs - 1, "nN") & page.is_at(signs + 1, "tT")]
    words = [_word_start(page.text, at, "_") for at in signs.tolist()]
    places = np.union1d(np.flatnonzero(starts), np.array(words, np.int64))
    return _tried(_NEGATION, page, places.tolist())


def _json_keys(page: _Page) -> Iterator[tuple[int, int]]:
    return (span for span in _closed_strings(page) if _COLON.match(page.text, span[1]))


def _quotes(page: _Page) -> Iterator[tuple[int, int]]:
    """Quoted strings that end on their line."""
    yield from _closed_strings(page)
    yield from _tried(_QUOTED, page, page.of("“«「'").tolist())


def _closed_strings(page: _Page) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _STRING.finditer(page.text) if match.group(1))


KINDS: dict[str, Callable[[_Page], Iterator[tuple[int, int]]]] = {
    "numbers": _numbers,
    "dates": _dates,
    "urls": _urls,
    "emails": _emails,
    "code": _code,
    "json_keys": _json_keys,
    "quotes": _quotes,
    "negations": _negations,
}
"""What finds the spans of each kind."""

USUAL = tuple(kind for kind in KINDS if kind != "quotes")
"""What is protected unless other kinds are asked for: all but quoted strings. Those are a quarter
of Python source and half of JSON, so that with them half of the source files here can't be cut
to 0.3, and prose is quoted by the paragraph."""
