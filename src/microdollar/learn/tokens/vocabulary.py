"""A closed vocabulary of pieces, and what spelling a piece outside of it costs.

Pieces are tokens with the white space before them. Numbers 0 to 2 stand for no token, a dropped
one and an unknown one; the others follow by how often they were seen. An unknown piece costs what
a model says of ``UNKNOWN`` and, after that, its letters under character trigrams of the distinct
pieces that were seen, so that every text has a finite length and no model is paid for not knowing.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from microdollar.errors import ModelFileError, UsageError
from microdollar.files import whole_file
from microdollar.learn.strict_json import json_object
from microdollar.learn.tokens.tokenizers import Tokens

PAD, DROPPED, UNKNOWN = 0, 1, 2
SPECIAL = 3
"""Numbers that are no piece."""
FILE = "vocabulary.json"
_KINDS = 1 << 8
_END = _KINDS
"""After the last byte of a piece."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Vocabulary:
    """Pieces that have a number, and how often each was seen.

    Raises:
        UsageError: if pieces and counts don't belong together.
    """

    pieces: tuple[str, ...]
    """By number, shape (size,); the first three are empty."""
    counts: Ints = field(repr=False, compare=False)
    """Times each was seen in training, shape (size,); that of UNKNOWN is of all left out."""
    spelling: Ints = field(repr=False, compare=False)
    """Bytes u, v, w and the count of w after u and v in distinct pieces, shape (m, 4)."""
    tokenizer: str = "words"

    def __post_init__(self) -> None:
        if len(self.pieces) != len(self.counts) or any(self.pieces[:SPECIAL]):
            raise UsageError("pieces and counts of a vocabulary differ in length.")
        if len(set(self.pieces[SPECIAL:])) != len(self) - SPECIAL or not all(self.pieces[SPECIAL:]):
            raise UsageError("a piece is twice in a vocabulary, or is empty.")

    @classmethod
    def of(
        cls, documents: Iterable[Tokens], size: int = 8192, *, tokenizer: str = "words"
    ) -> "Vocabulary":
        """The most frequent pieces of training documents, the earlier in order of equal ones.

        Args:
            documents: their tokens.
            size: numbers, with the special ones; fewer if there are fewer pieces.
            tokenizer: what cut them.

        Raises:
            UsageError: if ``size`` leaves no room, or there are no tokens.
        """
        seen: Counter[str] = Counter()
        for tokens in documents:
            seen.update(pieces_of(tokens))
        if size <= SPECIAL or not seen:
            raise UsageError(
                f"a vocabulary of {size} from {len(seen)} kinds of pieces has none. "
                f"Give a size above {SPECIAL} and a text."
            )
        order = sorted(seen, key=lambda piece: (-seen[piece], piece))
        known, unknown = order[: size - SPECIAL], order[size - SPECIAL :]
        counts = [0, 0, sum(seen[piece] for piece in unknown), *(seen[piece] for piece in known)]
        triples: Counter[tuple[int, int, int]] = Counter()
        for piece in order:
            data = [_END, _END, *_bytes(piece), _END]
            triples.update(zip(data, data[1:], data[2:], strict=False))
        spelling = np.array([(*key, count) for key, count in sorted(triples.items())], np.int64)
        return cls(("", "", "", *known), np.array(counts, np.int64), spelling, tokenizer)

    def __len__(self) -> int:
        return len(self.pieces)

    def numbers(self, tokens: Tokens) -> Ints:
        """Number of each token's piece, shape (n,): 2 for an unknown one."""
        known = self._numbers
        return np.array([known.get(piece, UNKNOWN) for piece in pieces_of(tokens)], np.int64)

    def spelled_bits(self, tokens: Tokens) -> Floats:
        """What spelling each unknown piece costs after UNKNOWN; 0 for known ones, shape (n,)."""
        known, spelled = self._numbers, self._spelled
        found = np.zeros(len(tokens))
        for i, piece in enumerate(pieces_of(tokens)):
            if piece not in known:
                if piece not in spelled:
                    spelled[piece] = self._spell(piece)
                found[i] = spelled[piece]
        return found

    @cached_property
    def fingerprint(self) -> str:
        """Of the tokenizer and all pieces, 16 hexadecimal digits: equal for equal ones."""
        text = json.dumps([self.tokenizer, self.pieces])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def save(self, folder: Path) -> None:
        """Write ``vocabulary.json`` into a folder."""
        facts = {
            "tokenizer": self.tokenizer,
            "pieces": self.pieces[SPECIAL:],
            "counts": self.counts.tolist(),
            "spelling": self.spelling.tolist(),
        }
        with whole_file(Path(folder) / FILE) as file:
            json.dump(facts, file)

    @classmethod
    def load(cls, folder: Path) -> "Vocabulary":
        """The vocabulary that ``save`` wrote.

        Raises:
            ModelFileError: if there is none, or it is damaged.
        """
        path = Path(folder) / FILE
        try:
            facts = json_object(path, path.read_bytes(), "a vocabulary")
            pieces = tuple(_text(piece) for piece in facts["pieces"])
            counts = np.array(facts["counts"], np.int64)
            spelling = np.array(facts["spelling"], np.int64)
            if counts.ndim != 1 or (counts < 0).any() or spelling.shape[1:] != (4,):
                raise ValueError("counts are no counts")
            if (spelling < 0).any() or (spelling[:, :3] > _END).any():
                raise ValueError("spelling holds no bytes")
            return cls(("", "", "", *pieces), counts, spelling, _text(facts["tokenizer"]))
        except OSError as error:
            raise ModelFileError(f"{path} can't be read: {error.strerror or error}.") from error
        except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
            raise ModelFileError(f"{path} is damaged: {error}. Train the model again.") from error

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {piece: number for number, piece in enumerate(self.pieces) if piece}

    @cached_property
    def _spelled(self) -> dict[str, float]:
        return {}

    @cached_property
    def _tables(self) -> tuple[dict[tuple[int, ...], float], ...]:
        """Counts of bytes after two, after one and after none, and how often each came before."""
        tables: tuple[dict[tuple[int, ...], float], ...] = ({}, {}, {}, {}, {}, {})
        for u, v, w, count in self.spelling.tolist():
            for order, context in ((0, ()), (1, (v,)), (2, (u, v))):
                counts, totals = tables[order], tables[3 + order]
                counts[*context, w] = counts.get((*context, w), 0) + count
                totals[context] = totals.get(context, 0) + count
        return tables

    def _spell(self, piece: str) -> float:
        """Bits of the bytes of a piece and its end; sums to 1 over all strings, known ones too.

        The shorter context counts as one more observation: (c(uvw) + P(w | v)) / (c(uv) + 1).
        """
        data = [_END, _END, *_bytes(piece), _END]
        bits = 0.0
        for at in range(2, len(data)):
            chance = 1 / (_KINDS + 1)
            for order in range(3):
                context = tuple(data[at - order : at])
                count = self._tables[order].get((*context, data[at]), 0)
                chance = (count + chance) / (self._tables[3 + order].get(context, 0) + 1)
            bits -= math.log2(chance)
        return bits


def pieces_of(tokens: Tokens) -> list[str]:
    """The characters of each token, with the white space before it."""
    text = tokens.text
    places = zip(tokens.starts.tolist(), tokens.ends.tolist(), strict=True)
    return [text[start:end] for start, end in places]


def _bytes(piece: str) -> bytes:
    return piece.encode("utf-8", "surrogatepass")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
