"""What must not be dropped: spans of numbers, names of things, code and negations.

Each pattern reads a text in linear time, whatever the text: either a match is tried only where
none can have begun before, or what is tried is consumed. Negations are English ones. Patterns
of the user take the time that they take.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from microdollar.errors import UnknownNameError, UsageError
from microdollar.learn.tokens.tokenizers import Tokens

Span = tuple[int, int, str]
"""First character, character after the last, kind."""

_MONTH = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    "|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_YEAR = r"(?:,? \d{4})?"
_NTH = "(?:st|nd|rd|th)?"
# A digit first, then what is before it: with a boundary first, every character would be tried.
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
_URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.)[^\s<>\"'`|\\^{}]+", re.IGNORECASE)
# The look-behind admits one start a run of letters: without it, a run is read from each letter.
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
    found = [(start, end, kind) for kind, find in finders for start, end in find(text)]
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


def mask(tokens: Tokens, spans: Iterable[Span]) -> npt.NDArray[np.bool_]:
    """The tokens that share a character with a span, shape (n,)."""
    places = np.array([(start, end) for start, end, _ in spans], np.int64).reshape(-1, 2)
    places = places[places[:, 0] < places[:, 1]]
    first = np.searchsorted(tokens.ends, places[:, 0], side="right")
    after = np.searchsorted(tokens.starts, places[:, 1], side="left")
    n = len(tokens)
    changes = np.bincount(first, minlength=n + 1) - np.bincount(after, minlength=n + 1)
    return np.cumsum(changes)[:n] > 0


def _matches(pattern: re.Pattern[str]) -> Callable[[str], Iterator[tuple[int, int]]]:
    def find(text: str) -> Iterator[tuple[int, int]]:
        return (match.span() for match in pattern.finditer(text))

    return find


def _dates(text: str) -> Iterator[tuple[int, int]]:
    yield from _matches(_DATE)(text)
    yield from _matches(_MONTH_FIRST)(text)


def _urls(text: str) -> Iterator[tuple[int, int]]:
    """URLs without the punctuation of the sentence around them."""
    for match in _URL.finditer(text):
        yield match.start(), match.start() + len(match.group().rstrip(".,;:!?)]*_"))


def _code(text: str) -> Iterator[tuple[int, int]]:
    """Fenced blocks, and outside of them spans between backticks.

    A block that is not closed goes on to the end of the text (CommonMark 0.31, section 4.5).
    """
    start, opened, outside = 0, "", 0
    for match in _FENCE.finditer(text):
        marks = match.group(1)
        line_end = text.find("\n", match.end())
        line_end = len(text) if line_end < 0 else line_end
        if not opened:
            if _opens(text, match, line_end):
                start, opened = match.start(), marks
        elif marks.startswith(opened) and not text[match.end() : line_end].strip():
            yield from _spans_of_code(text, outside, start)
            yield start, line_end
            opened, outside = "", line_end
    if opened:
        yield from _spans_of_code(text, outside, start)
        yield start, len(text)
    else:
        yield from _spans_of_code(text, outside, len(text))


def _opens(text: str, fence: re.Match[str], line_end: int) -> bool:
    """Whether a fence opens a block; ```x``` is a span, and tildes below a line make a heading."""
    rest = text[fence.end() : line_end].strip()
    if fence.group(1)[0] == "`":
        return "`" not in rest
    before = text.rfind("\n", 0, max(fence.start() - 1, 0)) + 1
    return bool(rest) or not text[before : fence.start()].strip()


def _spans_of_code(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _CODE.finditer(text, start, end))


def _json_keys(text: str) -> Iterator[tuple[int, int]]:
    return (span for span in _closed_strings(text) if _COLON.match(text, span[1]))


def _quotes(text: str) -> Iterator[tuple[int, int]]:
    """Quoted strings that end on their line."""
    yield from _closed_strings(text)
    yield from _matches(_QUOTED)(text)


def _closed_strings(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _STRING.finditer(text) if match.group(1))


KINDS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "numbers": _matches(_NUMBER),
    "dates": _dates,
    "urls": _urls,
    "emails": _matches(_EMAIL),
    "code": _code,
    "json_keys": _json_keys,
    "quotes": _quotes,
    "negations": _matches(_NEGATION),
}
"""What finds the spans of each kind."""
