"""Tokens as spans of characters: dropping some and joining the rest copies the rest exactly.

White space belongs to the token after it, at the end of the text to the token before it, so
the spans cover the text without gaps whatever the tokenizer.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from microdollar.errors import MissingExtraError, UsageError

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_ONE_EACH = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Kana and Han, written without spaces: a token each."""
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0df3\u0e31-\u0e4e"
"""Signs that combine with letters but are none to ``\\w``: Hebrew, Arabic, Indic, Thai and all."""
_JOINED = f"(?:[{_MARKS}\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]|\u200d\\S)*"
"""What makes one emoji of several code points: selectors, skin tones, zero width joiners."""
_WORD = f"(?:[^\\W{_ONE_EACH}]|[{_MARKS}])"
# In text without white space at its end every try succeeds, so the time is linear.
_TOKEN = re.compile(f"\\s*(?:{_WORD}+(?:['’]{_WORD}+)*|\\S{_JOINED})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A text cut into spans of characters that cover it in order, without overlap.

    Raises:
        UsageError: if they do not; names the first character at fault.
    """

    text: str
    starts: IntArray
    """First character of each token, shape (n,)."""
    ends: IntArray
    """Character after each token, shape (n,)."""
    ids: IntArray
    """What kind of token each is, shape (n,): equal for equal tokens of any text."""

    def __post_init__(self) -> None:
        expected = np.concatenate([[0], self.ends])
        actual = np.concatenate([self.starts, [len(self.text)]])
        if not len(self.starts) == len(self.ends) == len(self.ids):
            raise UsageError("starts, ends and ids differ in length. Give one of each a token.")
        wrong = np.flatnonzero(
            (expected != actual) | np.concatenate([self.ends <= self.starts, [False]])
        )
        if len(wrong):
            place = int(min(expected[wrong[0]], actual[wrong[0]]))
            raise UsageError(_not_covered(self.text, place, "these tokens"))

    def __len__(self) -> int:
        return len(self.starts)

    def piece(self, i: int) -> str:
        """The characters of token ``i``, with the white space before it."""
        return self.text[self.starts[i] : self.ends[i]]

    def join(self, keep: BoolArray) -> str:
        """The text of the kept tokens, shape (n,), copied exactly."""
        points = np.frombuffer(self.text.encode("utf-32-le", "surrogatepass"), "<u4")
        left = points[np.repeat(keep, self.ends - self.starts)]
        return left.tobytes().decode("utf-32-le", "surrogatepass")

    def runs(self, chosen: BoolArray) -> list[tuple[int, int]]:
        """First character and the one after the last of each run of chosen tokens, (n,)."""
        edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
        firsts = self.starts[edges[::2]].tolist()
        lasts = self.ends[edges[1::2] - 1].tolist()
        return list(zip(firsts, lasts, strict=True))


class Tokenizer(Protocol):
    """Something that cuts any text into tokens."""

    @property
    def name(self) -> str:
        """What ``make_tokenizer`` knows it by."""

    def tokenize(self, text: str) -> Tokens:
        """The tokens of a text; none if it is empty."""


@dataclass(frozen=True, slots=True)
class Characters:
    """``bytes``: a token for each character, so that none is cut; ids are code points.

    A character is one unit of the budget, however many bytes UTF-8 takes for it: of ASCII text
    a token is a byte.
    """

    name: str = "bytes"

    def tokenize(self, text: str) -> Tokens:
        """A token a character, white space too."""
        code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        places = np.arange(len(text) + 1)
        return Tokens(
            text=text, starts=places[:-1], ends=places[1:], ids=code_points.astype(np.int64)
        )


@dataclass(frozen=True, slots=True)
class Words:
    """``words``: runs of letters and digits, each other sign alone; ids are hashes of the word.

    Kana and Han characters are a token each; an emoji of several code points is one token.
    """

    name: str = "words"

    def tokenize(self, text: str) -> Tokens:
        """A token a word or sign; a text of white space only is one token."""
        pieces = _TOKEN.findall(text.rstrip())
        ends = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
        known = {piece: _hash(piece.lstrip()) for piece in set(pieces)}
        ids = np.fromiter(map(known.__getitem__, pieces), np.int64, len(pieces))
        return _cover(text, ends, ids)


@dataclass(frozen=True, slots=True)
class HuggingFace:
    """A tokenizer of the Hugging Face libraries, special tokens left out.

    Tokens that share a character (byte-level ones cut it) are kept or dropped together: they
    are one token here, with the id of the first.
    """

    name: str
    encode: Callable[[str], tuple[list[tuple[int, int]], list[int]]]
    """The spans in characters, and the ids."""

    def tokenize(self, text: str) -> Tokens:
        """The tokenizer's tokens.

        Raises:
            UsageError: if it leaves out, or reorders, anything but white space.
        """
        try:
            spans, found = self.encode(text)
        except (UnicodeEncodeError, TypeError) as error:
            raise UsageError(
                f"{self.name} can't encode this text: {error}. Give text that UTF-8 can hold."
            ) from error
        places = np.array(spans, np.int64).reshape(-1, 2)
        ids = np.array(found, np.int64)
        filled = places[:, 1] > places[:, 0]
        starts, ends, ids = places[filled, 0], places[filled, 1], ids[filled]
        reached = np.concatenate([[0], np.maximum.accumulate(ends)])
        back = np.flatnonzero(starts[1:] < starts[:-1])
        if len(back):
            raise UsageError(_not_covered(text, int(starts[back[0] + 1]), self.name))
        new = np.flatnonzero(starts >= reached[:-1])
        for a, b in zip(reached[:-1][new].tolist(), starts[new].tolist(), strict=True):
            _require_space(text, a, b, self.name)
        _require_space(text, int(reached[-1]), len(text), self.name)
        lasts = np.concatenate([new[1:], [len(starts)]]) if len(new) else new
        return _cover(text, reached[lasts], ids[new])


def make_tokenizer(name: str) -> Tokenizer:
    """``bytes``, ``words``, or a Hugging Face tokenizer by folder, ``tokenizer.json`` or name.

    Raises:
        UsageError: if there is no such tokenizer, or it does not say where its tokens are.
        MissingExtraError: if it needs a library that is not installed.
    """
    if name == "bytes":
        return Characters()
    if name == "words":
        return Words()
    path = Path(name)
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.is_file() and file.suffix == ".json":
        return HuggingFace(name, _from_file(file))
    return HuggingFace(name, _from_name(name))


def _from_file(file: Path) -> Callable[[str], tuple[list[tuple[int, int]], list[int]]]:
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise MissingExtraError("tokenizers", "tokens", f"the tokenizer {file}") from error
    try:
        loaded = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises no narrower one
        raise UsageError(f"{file} is no tokenizer: {error}. Name another.") from error
    loaded.no_truncation()
    loaded.no_padding()

    def encode(text: str) -> tuple[list[tuple[int, int]], list[int]]:
        encoding = loaded.encode(text, add_special_tokens=False)
        return encoding.offsets, encoding.ids

    return encode


def _from_name(name: str) -> Callable[[str], tuple[list[tuple[int, int]], list[int]]]:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise MissingExtraError("transformers", "tokens", f"the tokenizer {name}") from error
    try:
        loaded: Any = transformers.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no tokenizer {name!r}: {str(error).splitlines()[0]} "
            "Type bytes, words, or the folder or name of a Hugging Face tokenizer."
        ) from error
    if not loaded.is_fast:
        raise UsageError(f"{name} does not say where its tokens are. Name a fast tokenizer.")

    def encode(text: str) -> tuple[list[tuple[int, int]], list[int]]:
        found = loaded(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return found["offset_mapping"], found["input_ids"]

    return encode


def _cover(text: str, ends: IntArray, ids: IntArray) -> Tokens:
    """Tokens with the white space before them, the last with that after it."""
    if not len(ends) and text:  # only white space
        ends, ids = np.array([len(text)]), np.array([-1])
    ends = ends.copy()
    ends[-1:] = len(text)
    starts = np.concatenate([np.zeros(min(len(ends), 1), np.int64), ends[:-1]])
    return Tokens(text=text, starts=starts, ends=ends, ids=ids)


def _hash(word: str) -> int:
    """63 bits that are the same in every run, so that counts carry over to other texts."""
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _require_space(text: str, start: int, end: int, name: str) -> None:
    if start < end and not text[start:end].isspace():
        left = len(text[start:end]) - len(text[start:end].lstrip())
        raise UsageError(_not_covered(text, start + left, name))


def _not_covered(text: str, place: int, name: str) -> str:
    return (
        f"{name} does not cover the text from character {place} on: "
        f"{text[place : place + 12]!r}. Use another tokenizer: words covers any text."
    )
