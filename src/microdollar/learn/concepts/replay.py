"""What a stream has shown: the last concepts in a ring, and pairs from all of it in a reservoir.

Vectors only, no text; of fixed size. A pair is a concept and those before it in its document.
Every ``held_every``-th pair is held back: it is never trained on, and it judges changes. Held
pairs that leave the ring go through reservoir sampling (Vitter 1985, algorithm R), so that the
window keeps pairs of everything that came by, and forgetting is seen.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.concepts.core.arena import Arena, Array
from microdollar.learn.concepts.gate import Doubles, Floats, Ints, reciprocal_ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """Sizes of a replay; bytes follow from them and from the model's.

    Raises:
        UsageError: for sizes that can't be.
    """

    concepts: int = 512
    """In the ring."""
    reservoir: int = 48
    """Held pairs of all that came before."""
    held_every: int = 4
    """One of so many pairs is held back."""

    def __post_init__(self) -> None:
        if self.concepts < 2 or self.reservoir < 0 or self.held_every < 2:
            raise UsageError(f"sizes of a replay that can't be: {self}.")


class Replay:
    """A ring of the last concepts with a prediction of each, and a reservoir of held pairs.

    Positions count the stream's concepts from 0. A concept stays until ``concepts`` others
    have come after it.

    Args:
        config: sizes.
        dim: of a concept.
        context: T, the most concepts that a prediction sees.

    Attributes:
        arena: the memory.
        count: concepts so far; the next one's position.
    """

    def __init__(self, config: ReplayConfig, dim: int, context: int) -> None:
        if config.concepts < 2 * context:
            raise UsageError(
                f"a ring of {config.concepts} concepts for contexts of {context}: "
                f"at least {2 * context} are needed."
            )
        n, r = config.concepts, config.reservoir
        self.config, self.dim, self.context = config, dim, context
        self.arena = Arena({
            "ring": {
                "vectors": ((n, dim), np.float32), "predictions": ((n, dim), np.float32),
                "starts": ((n,), np.int64),
            },
            "reservoir": {
                # Halves: a component of a unit vector is off by at most 2**-12.
                "contexts": ((r, context, dim), np.float16), "targets": ((r, dim), np.float16),
                "predictions": ((r, dim), np.float32),
                "lengths": ((r,), np.int64), "positions": ((r,), np.int64),
            },
            "counts": {"numbers": ((3,), np.int64)},
        })  # fmt: skip
        self._ring, self._kept = self.arena["ring"], self.arena["reservoir"]
        self._numbers = self.arena["counts"]["numbers"]

    @property
    def arrays(self) -> list[Array]:
        """All of its state, in a fixed order."""
        parts = (self._ring, self._kept, self.arena["counts"])
        return [array for part in parts for array in part.values()]

    @property
    def count(self) -> int:
        """Concepts so far."""
        return int(self._numbers[0])

    @property
    def start(self) -> int:
        """First position of the present document."""
        return int(self._numbers[1])

    @property
    def oldest(self) -> int:
        """First position in the ring."""
        return max(0, self.count - self.config.concepts)

    def begin_document(self) -> None:
        """The next concept has none before it."""
        self._numbers[1] = self.count

    def add(self, vector: Floats, prediction: Floats | None) -> None:
        """Append a concept (dim,), with what was predicted for it (None without a context)."""
        self._offer_to_reservoir()
        slot = self.count % self.config.concepts
        self._ring["vectors"][slot] = vector
        self._ring["predictions"][slot] = vector if prediction is None else prediction
        self._ring["starts"][slot] = self.start
        self._numbers[0] += 1

    def vectors(self, positions: Ints) -> Floats:
        """Concepts in the ring, (n, dim)."""
        found: Floats = self._ring["vectors"][positions % self.config.concepts]
        return found

    def contexts(self, positions: Ints) -> tuple[Floats, Ints]:
        """What came before each: (n, T, dim), the newest last, zero where nothing is; lengths."""
        places = positions[:, None] + np.arange(-self.context, 0)
        there = places >= np.maximum(self._starts(positions), self.oldest)[:, None]
        found: Floats = self._ring["vectors"][places % self.config.concepts]
        found[~there] = 0
        return found, there.sum(1)

    def present(self) -> tuple[Floats, int]:
        """The context of the next concept: (T, dim), the newest last; length, perhaps 0."""
        length = min(self.count - max(self.start, self.oldest), self.context)
        found = np.zeros((self.context, self.dim), np.float32)
        if length:
            found[-length:] = self.vectors(np.arange(self.count - length, self.count))
        return found, length

    def pairs(self, *, held: bool) -> Ints:
        """Positions in the ring that have a context, whole: those held back, or the others."""
        positions = np.arange(self.oldest, self.count)
        starts = self._starts(positions)
        whole = np.maximum(starts, positions - self.context) >= self.oldest
        found: Ints = positions[(starts < positions) & whole & (self._is_held(positions) == held)]
        return found

    def recall(self, last: Floats, least: float, doubt: float, fading: float) -> Floats:
        """By how much predictions were off where the last concept was like this one, (dim,).

        The weighted mean of truth - prediction over the pairs in the ring, i.e. a kernel
        regression (Nadaraya 1964; Watson 1964) that is drawn to zero where nothing similar has
        come by:

            sum_i w_i (c_i - p_i) / (doubt + sum_i w_i)
            w_i = fading ** age_i * max(0, c_(i-1) . last - least)
        """
        n, first = self.config.concepts, self.oldest + 1
        by_slot = np.zeros(min(self.count, n), np.float32)
        vectors = self._ring["vectors"][: len(by_slot)]
        predictions = self._ring["predictions"][: len(by_slot)]
        if self.count <= first:
            return np.zeros(self.dim, np.float32)
        positions = np.arange(first, self.count)
        weights = np.maximum((vectors @ last)[(positions - 1) % n] - np.float32(least), 0)
        weights *= np.float32(fading) ** np.arange(len(positions) - 1, -1, -1, dtype=np.float32)
        weights[self._starts(positions) == positions] = 0
        by_slot[positions % n] = weights
        found: Floats = by_slot @ vectors - by_slot @ predictions
        found /= np.float32(doubt) + by_slot.sum()
        return found

    def ranks_of(self, predictions: Floats, truth: Floats) -> Doubles:
        """Reciprocal ranks of the next concept among those known, its context left out.

        Args:
            predictions: (K, dim), of different predictors.
            truth: (dim,).
        """
        filled = min(self.count, self.config.concepts)
        excluded = np.zeros(filled, bool)
        length = min(self.count - max(self.start, self.oldest), self.context)
        excluded[np.arange(self.count - length, self.count) % self.config.concepts] = True
        return reciprocal_ranks(
            predictions, np.broadcast_to(truth, predictions.shape),
            self._ring["vectors"][:filled], np.broadcast_to(excluded, (len(predictions), filled)),
        )  # fmt: skip

    def held(self) -> "Window":
        """The pairs that judge, as they are now."""
        positions = self.pairs(held=True)
        kept = self._reservoir_size()
        return Window(self, positions, kept)

    def _is_held(self, positions: Ints) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = positions % self.config.held_every == 0
        return found

    def _starts(self, positions: Ints) -> Ints:
        found: Ints = self._ring["starts"][positions % self.config.concepts]
        return found

    def _reservoir_size(self) -> int:
        return min(int(self._numbers[2]), self.config.reservoir)

    def _offer_to_reservoir(self) -> None:
        """The held pairs whose context is about to lose its first concept."""
        if self.count < self.config.concepts:
            return
        positions = np.arange(self.oldest + 1, self.oldest + self.context + 1)
        starts = self._starts(positions)
        first = np.maximum(starts, positions - self.context)
        whole = (starts < positions) & (first == self.oldest)
        leaving = positions[whole & self._is_held(positions)]
        if not len(leaving):
            return
        contexts, lengths = self.contexts(leaving)
        for row, position in enumerate(leaving):
            seen = int(self._numbers[2])
            # Seeded by its position: a stream that is resumed draws what it would have drawn.
            drawn = int(np.random.default_rng((int(position), seen)).integers(seen + 1))
            place = seen if seen < self.config.reservoir else drawn
            self._numbers[2] += 1
            if place >= self.config.reservoir:
                continue
            kept, slot = self._kept, position % self.config.concepts
            kept["contexts"][place], kept["lengths"][place] = contexts[row], lengths[row]
            kept["targets"][place] = self._ring["vectors"][slot]
            kept["predictions"][place] = self._ring["predictions"][slot]
            kept["positions"][place] = position


class Window:
    """The held pairs at one moment: those in the ring first, then the reservoir's."""

    def __init__(self, replay: Replay, positions: Ints, kept: int) -> None:
        self._replay, self._positions, self._kept = replay, positions, kept

    def __len__(self) -> int:
        return len(self._positions) + self._kept

    def contexts(self, rows: slice) -> tuple[Floats, Ints]:
        """(n, T, dim) and lengths (n,)."""
        ours = self._positions[rows]
        contexts, lengths = self._replay.contexts(ours)
        first = len(self._positions)
        begin, end, _ = rows.indices(len(self))
        theirs = slice(max(0, begin - first), max(0, end - first))
        kept = self._replay.arena["reservoir"]
        halves = kept["contexts"][: self._kept][theirs].astype(np.float32)
        return (
            np.concatenate([contexts, halves]),
            np.concatenate([lengths, kept["lengths"][: self._kept][theirs]]),
        )

    @property
    def predictions(self) -> Floats:
        """Of the accepted model, (n, dim)."""
        replay = self._replay
        slots = self._positions % replay.config.concepts
        kept = replay.arena["reservoir"]["predictions"][: self._kept]
        return np.concatenate([replay.arena["ring"]["predictions"][slots], kept])

    @predictions.setter
    def predictions(self, values: Floats) -> None:
        replay, first = self._replay, len(self._positions)
        slots = self._positions % replay.config.concepts
        replay.arena["ring"]["predictions"][slots] = values[:first]
        replay.arena["reservoir"]["predictions"][: self._kept] = values[first:]

    def reciprocal_ranks(self, predictions: Floats) -> Doubles:
        """Among all concepts in the ring and the reservoir's targets, contexts left out."""
        replay = self._replay
        n = replay.config.concepts
        filled = min(replay.count, n)
        kept = replay.arena["reservoir"]
        targets = kept["targets"][: self._kept].astype(np.float32)
        candidates = np.concatenate([replay.arena["ring"]["vectors"][:filled], targets])
        truths = np.concatenate([replay.vectors(self._positions), targets])
        known = np.empty(len(candidates), np.int64)  # positions of the candidates
        ring = np.arange(replay.oldest, replay.count)
        known[ring % n] = ring
        known[filled:] = kept["positions"][: self._kept]
        at = np.concatenate([self._positions, known[filled:]])
        _, lengths = replay.contexts(self._positions)
        lengths = np.concatenate([lengths, kept["lengths"][: self._kept]])
        # A query's own concept may be a candidate twice: once is enough.
        excluded = (known <= at[:, None]) & (known >= (at - lengths)[:, None])
        return reciprocal_ranks(predictions, truths, candidates, excluded)
