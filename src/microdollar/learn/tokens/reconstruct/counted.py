"""Reading back with chances that are written down from counts, from both sides of each gap.

Without context a word is as likely as in training, more so where the text keeps it elsewhere. Each
of the two nearest kept tokens on either side multiplies that by what it knows of words and classes
of words at its distance, to a power (a product of experts, as Hinton 2002 calls it, normalised over
the whole vocabulary). What the text keeps beside the same piece in another place is mixed in
(Jelinek and Mercer 1980). ``counted_weights`` says how powers and shares are estimated.

An unknown piece costs ``UNKNOWN`` and its spelling, or what it takes to copy it from the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.files import (
    CONFIG_NAME,
    TENSORS_NAME,
    load_folder,
    save_folder,
    whole_folder,
)
from microdollar.learn.strict_json import bad, show
from microdollar.learn.tokens.reconstruct.base import KEPT, Bits, Keep, require_mask
from microdollar.learn.tokens.reconstruct.counted_memory import BESIDE
from microdollar.learn.tokens.reconstruct.counted_reading import Reading, Text, Weights
from microdollar.learn.tokens.reconstruct.counted_saved import MOST, damage, specs
from microdollar.learn.tokens.reconstruct.counted_tables import DISTANCES, Counts, Tables
from microdollar.learn.tokens.reconstruct.counted_weights import estimate
from microdollar.learn.tokens.reconstruct.piece_classes import PieceClasses
from microdollar.learn.tokens.tokenizers import Tokens
from microdollar.learn.tokens.vocabulary import FILE, UNKNOWN, Vocabulary, pieces_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NETWORK = "counted-reconstructor"
"""``network`` in the ``config.json`` of a saved model."""
_LEAST = 1e-300
"""Least chance of a copy: where nothing can be copied it has no other logarithm."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CountedReconstructor:
    """Counts, weights and a vocabulary; satisfies ``base.Reconstructor``."""

    vocabulary: Vocabulary
    counts: Counts = field(repr=False)
    classes: PieceClasses = field(repr=False)
    reading: Reading = field(repr=False)
    name: str = "counted"
    given: str = KEPT

    @classmethod
    def fit(
        cls,
        documents: Sequence[Tokens],
        vocabulary: Vocabulary,
        *,
        distances: int = DISTANCES,
    ) -> Self:
        """Count documents and estimate weights on each fifth of them.

        Args:
            documents: their tokens, by the vocabulary's tokenizer; of one alone or none, no
                weights can be estimated and plain ones are taken.
            vocabulary: of at most 2**20 numbers.
            distances: tokens away that a context may be.

        Raises:
            UsageError: if the vocabulary is larger, or ``distances`` is not from 1 to 64.
        """
        if len(vocabulary) > MOST or not 1 <= distances <= 64:
            raise UsageError(
                f"a vocabulary of {len(vocabulary)} and {distances} distances. "
                f"Give one of at most {MOST}, and 1 to 64 distances."
            )
        classes = PieceClasses.of(vocabulary)
        class_of = classes.of_number
        numbers = [vocabulary.numbers(tokens) for tokens in documents]
        looks = [classes.of_kept(*pair) for pair in zip(documents, numbers, strict=True)]
        known: dict[str, int] = {}
        pieces = [
            np.array([known.setdefault(piece, len(known)) for piece in pieces_of(tokens)], np.int64)
            for tokens in documents
        ]
        return cls._of(
            vocabulary,
            Counts.of(numbers, looks, class_of, distances),
            estimate(numbers, looks, pieces, class_of, distances),
        )

    @classmethod
    def _of(cls, vocabulary: Vocabulary, counts: Counts, weights: Weights) -> Self:
        classes = PieceClasses.of(vocabulary)
        reading = Reading(
            tables=Tables.of(counts, classes.of_number),
            weights=weights,
            class_of=classes.of_number,
            distances=len(counts.pairs),
        )
        return cls(vocabulary=vocabulary, counts=counts, classes=classes, reading=reading)

    def bits(self, tokens: Tokens, keep: Keep) -> Bits:
        """-log2 P of each dropped token given the kept ones, shape (n,); 0 for kept ones.

        Raises:
            UsageError: if ``keep`` is no mask of the tokens.
        """
        require_mask(tokens, keep)
        text = self._text(tokens, keep)
        reading = self.reading
        of_unknown = np.log2(np.maximum(reading.of_unknown(text), _LEAST))
        spelled = self.vocabulary.spelled_bits(tokens)
        bits = np.zeros(len(tokens))
        for places, part, dropped in text.parts():
            asked, own = reading.asked(part, dropped)
            trained, beside = reading.chances(part, dropped, asked, own)
            found = np.log2(trained)  # logarithms, for long unknown pieces have no chance else
            unknown = part.numbers[dropped] == UNKNOWN
            piece = part.pieces[dropped[unknown]] - reading.words
            spelling = of_unknown[-1] - spelled[places[unknown]]
            copied = np.where(piece < len(text.times), of_unknown[piece], -np.inf)
            found[unknown] += np.logaddexp2(spelling, copied)
            for place in range(len(BESIDE)):
                share = asked.shares[:, place]
                with np.errstate(divide="ignore"):
                    found = np.logaddexp2(
                        np.log2(1 - share) + found, np.log2(share * beside[:, place])
                    )
            bits[places] = -found
        return bits

    def fill(self, tokens: Tokens, keep: Keep) -> list[str]:
        """The pieces of all n tokens: kept ones copied, for others the most likely known piece.

        Raises:
            UsageError: if ``keep`` is no mask of the tokens.
        """
        require_mask(tokens, keep)
        text = self._text(tokens, keep)
        kept = np.flatnonzero(keep & (text.numbers == UNKNOWN))
        names = {int(text.pieces[at]): tokens.piece(at) for at in kept.tolist()}
        found = [tokens.piece(at) if kept else "" for at, kept in enumerate(keep.tolist())]
        for places, part, dropped in text.parts():
            best, _ = self.reading.likeliest(part, dropped)
            for at, piece in zip(places.tolist(), best.tolist(), strict=True):
                known = piece < self.reading.words
                found[at] = self.vocabulary.pieces[piece] if known else names[piece]
        return found

    def save(self, folder: Path) -> None:
        """Write ``config.json``, ``model.safetensors`` and ``vocabulary.json``, all or nothing.

        Raises:
            ModelFileError: if it can't be written, or the folder holds something else.
        """
        counts, weights = self.counts, self.reading.weights
        tensors: dict[str, npt.NDArray[Any]] = {
            "words": counts.words,
            "documents": counts.documents,
            "classes": counts.classes,
            "base": weights.base,
            "contexts": weights.contexts,
            "shares": weights.shares,
            "copied": weights.copied,
        }
        for place, (keys, found) in enumerate(counts.pairs):
            tensors[f"pair_keys_{place}"] = keys
            tensors[f"pair_counts_{place}"] = found
        facts = {
            "network": NETWORK,
            "distances": len(counts.pairs),
            "V": len(self.vocabulary),
            "K": len(self.classes),
            "fingerprint": self.vocabulary.fingerprint,
        }
        with whole_folder(folder, names=(CONFIG_NAME, TENSORS_NAME, FILE)) as fresh:
            save_folder(fresh / NETWORK, tensors, facts)
            for path in (fresh / NETWORK).iterdir():
                path.rename(fresh / path.name)
            (fresh / NETWORK).rmdir()
            self.vocabulary.save(fresh)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model that ``save`` wrote.

        Raises:
            ModelFileError: if something is missing, damaged, or of another vocabulary than the
                folder's.
        """
        folder = Path(folder)
        arrays, facts = load_folder(folder, network=NETWORK, tensors=specs)
        vocabulary = Vocabulary.load(folder)
        if vocabulary.fingerprint != facts.get("fingerprint"):
            bad(
                folder / FILE,
                f"another vocabulary ({vocabulary.fingerprint}) than was counted with "
                f"({show(facts.get('fingerprint'))})",
                "Train the model again, or name another folder.",
            )
        classes = PieceClasses.of(vocabulary)
        if (len(vocabulary), len(classes)) != (facts["V"], facts["K"]):
            bad(folder / CONFIG_NAME, "V and K are not those of the vocabulary")
        if what := damage(arrays, len(vocabulary), facts["distances"]):
            bad(folder / TENSORS_NAME, what)
        counts = Counts(
            words=arrays["words"],
            documents=arrays["documents"],
            classes=arrays["classes"],
            pairs=tuple(
                (arrays[f"pair_keys_{d}"], arrays[f"pair_counts_{d}"])
                for d in range(facts["distances"])
            ),
        )
        names = ("base", "contexts", "shares", "copied")
        return cls._of(vocabulary, counts, Weights(**{name: arrays[name] for name in names}))

    def _text(self, tokens: Tokens, keep: Keep) -> Text:
        numbers = self.vocabulary.numbers(tokens)
        looks = self.classes.of_kept(tokens, numbers)
        return Text.of(numbers, looks, keep, len(self.vocabulary), tokens.piece)
