"""Weights of evidence, from documents that were held back from the counts.

Documents are counted in all folds but one, and read in that one. What is not a known piece of the
others is UNKNOWN there, as it will be in documents that nobody has seen. Weights of single
contexts make expected gains equal to found ones, by Newton's method: a convex problem of some
forty numbers. Those of what the text itself keeps are posteriors, by expectation maximisation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from microdollar.learn.tokens.reconstruct.counted_memory import BESIDE, KINDS
from microdollar.learn.tokens.reconstruct.counted_reading import (
    COPIES,
    FEATURES,
    LEAST_POWER,
    MOST_BASE,
    MOST_POWER,
    MOST_SHARE,
    RANKS,
    SLOTS,
    Reading,
    Text,
    Weights,
)
from microdollar.learn.tokens.reconstruct.counted_tables import Counts, Tables
from microdollar.learn.tokens.reconstruct.masks import draw_masks
from microdollar.learn.tokens.vocabulary import UNKNOWN

if TYPE_CHECKING:
    from microdollar.learn.tokens.reconstruct.counted_kernels import Asked

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Keep = npt.NDArray[np.bool_]

FOLDS = 5
SAMPLE = 5000
"""Dropped tokens that Newton's method looks at: it adds up products over the whole vocabulary."""
_STEPS, _CLOSE = 12, 1e-3
_ROUNDS = 20
_AT_ONCE = 32
_PRIOR = 5.0
"""Weight of the prior, in dropped tokens that it may be worth."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fold:
    """Held-back documents and the tables of the others."""

    reading: Reading
    texts: tuple[Text, ...]


def estimate(
    documents: Sequence[Ints],
    looks: Sequence[Ints],
    pieces: Sequence[Ints],
    class_of: Ints,
    distances: int,
) -> Weights:
    """The weights that documents give which were held back in turn.

    Args:
        documents: numbers of their pieces.
        looks: classes of their pieces as kept ones.
        pieces: any number for each piece, equal for equal ones, unknown ones too.
        class_of: class of each number where it is dropped, shape (V,).
        distances: of contexts.
    """
    plain = Weights.plain(distances)
    if len(documents) < 2:
        return plain
    folds = [
        _fold(documents, looks, pieces, class_of, plain, k, distances)
        for k in range(min(FOLDS, len(documents)))
    ]
    if not any(fold.texts for fold in folds):
        return plain
    weights = replace(_of_contexts(folds, plain, distances), copied=_of_copies(folds))
    folds = [replace(fold, reading=replace(fold.reading, weights=weights)) for fold in folds]
    return replace(weights, shares=_of_pairs(folds))


def gains(reading: Reading, asked: "Asked", features: Floats, some: slice) -> tuple[Floats, Ints]:
    """Every feature of every word at some dropped tokens, over the whole vocabulary.

    Returns:
        Features (m, 7 + 8, V), and which weight each has (m, 7 + 8): those of ``base``, then
        those of ``contexts`` row by row.
    """
    rows, classes = asked.pair_rows[some], asked.class_rows[some]
    places, looks = np.divmod(np.maximum(classes, 0), reading.classes)
    sides = places // (RANKS * reading.distances)
    in_table = (sides * reading.distances + places % reading.distances) * reading.classes + looks
    found = np.zeros((len(rows), FEATURES + 2 * SLOTS, reading.words))
    which = np.zeros(found.shape[:2], np.int64)
    found[:, :FEATURES] = features
    which[:, :FEATURES] = np.arange(FEATURES)
    which[:, FEATURES::2] = FEATURES + 2 * places
    which[:, FEATURES + 1 :: 2] = FEATURES + 2 * places + 1
    tables = reading.tables
    for i, slot in np.argwhere(classes >= 0).tolist():
        at = FEATURES + 2 * slot
        found[i, at] = tables.class_gain[in_table[i, slot]][reading.class_of]
        row = rows[i, slot]
        if row >= 0:
            entries = slice(tables.pair_start[row], tables.pair_start[row + 1])
            found[i, at + 1, tables.pair_word[entries]] = tables.pair_gain[entries]
    return found, which


def _fold(
    documents: Sequence[Ints],
    looks: Sequence[Ints],
    pieces: Sequence[Ints],
    class_of: Ints,
    plain: Weights,
    fold: int,
    distances: int,
) -> _Fold:
    inside = [place for place in range(len(documents)) if place % FOLDS != fold]
    counts = Counts.of(
        [documents[i] for i in inside], [looks[i] for i in inside], class_of, distances
    )
    reading = Reading(
        tables=Tables.of(counts, class_of), weights=plain, class_of=class_of, distances=distances
    )
    texts = []
    for place in range(fold, len(documents), FOLDS):
        numbers = np.where(counts.words[documents[place]] == 0, UNKNOWN, documents[place])
        if len(numbers) < 2:
            continue
        rng = np.random.default_rng(place)
        keep = draw_masks(numbers[np.newaxis], counts.words, rng)[0]
        name = pieces[place].tolist().__getitem__
        texts.append(Text.of(numbers, looks[place], keep, len(class_of), name))
    return _Fold(reading=reading, texts=tuple(texts))


def _of_contexts(folds: Sequence[_Fold], plain: Weights, distances: int) -> Weights:
    """Weights of features, by Newton's method from the plain ones."""
    prior = np.concatenate([plain.base, plain.contexts.ravel()])
    theta = prior
    # Texts without surprise ask for powers without end.
    least, most = np.full((2, len(theta)), [[LEAST_POWER], [MOST_POWER]])
    least[:FEATURES], most[:FEATURES] = -MOST_BASE, MOST_BASE
    held_back = [(fold.reading, text) for fold in folds for text in fold.texts]
    part = SAMPLE / sum(int(np.count_nonzero(~text.keep)) for _, text in held_back)
    best, found, step = -np.inf, theta, np.zeros(len(theta))
    for _ in range(_STEPS):
        goal = -_PRIOR / 2 * float(np.square(theta - prior).sum())
        slope = -_PRIOR * (theta - prior)
        curve = _PRIOR * np.eye(len(theta))
        for number, (reading, text) in enumerate(held_back):
            goal += _add(reading, text, theta, part, number, slope, curve)
        if goal > best:
            best, found, step = goal, theta, np.linalg.solve(curve, slope)
        else:  # further than the curve held: half as far
            step = step / 2
        if np.abs(step).max() < _CLOSE:
            break
        theta = np.clip(found + step, least, most)
    theta = found
    return replace(
        plain, base=theta[:FEATURES], contexts=theta[FEATURES:].reshape(SLOTS * distances, 2)
    )


def _add(
    reading: Reading,
    text: Text,
    theta: Floats,
    part: float,
    seed: int,
    slope: Floats,
    curve: Floats,
) -> float:
    """Add a document's found minus expected features, and their covariances.

    Returns:
        Log of the chance of what was sampled.
    """
    total = 0.0
    dropped = np.flatnonzero(~text.keep)
    size = min(len(dropped), int(np.ceil(part * len(dropped))))
    some = np.random.default_rng(seed).choice(len(dropped), size, replace=False)
    dropped = dropped[np.sort(some)]
    asked, _ = reading.asked(text, dropped)
    features = reading.features(text)
    for first in range(0, size, _AT_ONCE):
        chunk = slice(first, first + _AT_ONCE)
        found, which = gains(reading, asked, features, chunk)
        logs = reading.tables.log_base + np.einsum("mk,mkv->mv", theta[which], found)
        logs -= logs.max(1, keepdims=True)
        chance = np.exp(logs)
        sums = chance.sum(1, keepdims=True)
        chance /= sums
        target = text.numbers[dropped[chunk]]
        total += float((logs[np.arange(len(target)), target] - np.log(sums[:, 0])).sum())
        expected = np.einsum("mkv,mv->mk", found, chance)
        np.add.at(slope, which, found[np.arange(len(target)), :, target] - expected)
        found *= np.sqrt(chance)[:, np.newaxis]
        spread = found @ found.transpose(0, 2, 1) - expected[:, :, None] * expected[:, None, :]
        np.add.at(curve, (which[:, :, None], which[:, None, :]), spread)
    return total


def _of_copies(folds: Sequence[_Fold]) -> Floats:
    """Part of dropped unknown pieces that the text keeps elsewhere, by how many it keeps."""
    again, asked = Weights.plain(1).copied, np.ones(COPIES)
    for reading, text in ((fold.reading, text) for fold in folds for text in fold.texts):
        gone = text.pieces[~text.keep & (text.numbers == UNKNOWN)] - reading.words
        kind = min(int(text.times.sum()).bit_length(), COPIES - 1)
        again[kind] += np.count_nonzero(gone < len(text.times))
        asked[kind] += len(gone)
    return np.minimum(again / asked, MOST_SHARE)


def _of_pairs(folds: Sequence[_Fold]) -> Floats:
    """Shares of what the text keeps beside the same pieces, by expectation maximisation."""
    trained, own, kinds = [], [], []
    for reading, text in ((fold.reading, text) for fold in folds for text in fold.texts):
        for _, part, dropped in text.parts():
            asked, memory = reading.asked(part, dropped)
            alone, beside = reading.chances(part, dropped, asked, memory)
            unknown = dropped[part.numbers[dropped] == UNKNOWN]
            of_unknown = reading.of_unknown(part)[part.pieces[unknown] - reading.words]
            alone[part.numbers[dropped] == UNKNOWN] *= of_unknown
            trained.append(alone)
            own.append(beside)
            kinds.append(np.where(asked.own_rows < 0, -1, asked.kinds))
    alone, beside, kind = np.concatenate(trained), np.concatenate(own), np.concatenate(kinds)
    shares = Weights.plain(1).shares
    for _ in range(_ROUNDS):
        found, asked_for = _PRIOR * Weights.plain(1).shares, np.full(shares.shape, _PRIOR)
        share = np.where(kind < 0, 0.0, shares[np.arange(len(BESIDE)), kind])
        reached = [alone]
        for place in range(len(BESIDE)):
            here = share[:, place]
            reached.append((1 - here) * reached[-1] + here * beside[:, place])
        left = np.ones(len(alone))
        for place in reversed(range(len(BESIDE))):
            posterior = left * share[:, place] * beside[:, place] / reached[place + 1]
            here = kind[:, place] >= 0
            found[place] += np.bincount(kind[here, place], posterior[here], KINDS)
            asked_for[place] += np.bincount(kind[here, place], left[here], KINDS)
            left = left - posterior
        shares = np.minimum(found / asked_for, MOST_SHARE)
    return shares
