"""The counted learner: every kind of context counted, every weight counted, in one pass."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from microdollar.errors import UnknownNameError, UsageError
from microdollar.learn.base import Progress, silent
from microdollar.spec.data import DataSpec
from microdollar.work.formulas.counted import counted_work, line_slots, match_slots, phases
from microdollar.work.ops import Work

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.counts.mixed.model import CountedModel

_MAX_ORDER = 255
PARTS = {
    "two": (0,),
    "words": (1, 2, 4),
    "skip": (3,),
    "blurred": (5,),
    "markup": (6, 7),
    "indirect": (8,),
    "match": (9,),
    "chain": (11,),
    "calibration": (12,),
    "drift": (13,),
}
"""What ``without`` may name, and its places among the inputs, the calibration and the drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The n-gram chain, word, skip, markup and indirect contexts and the longest match, mixed.

    The first part of the text is only counted. On the next, opinions are weighed while
    counting goes on; on the last tenth also while the counts stand still, for frozen scores.
    """

    order: int = 10
    """Longest context of the n-gram chain, in bytes."""
    without: str = ""
    """Parts to leave out, with commas, to see what each is worth."""
    name: ClassVar[str] = "counted"

    def __post_init__(self) -> None:
        if not 0 <= self.order <= _MAX_ORDER:
            raise UsageError(
                f"order {self.order} is not within 0 and {_MAX_ORDER}. Type --order 10."
            )
        for part in filter(None, self.without.split(",")):
            if part not in PARTS:
                raise UnknownNameError("part", part, PARTS)

    def config(self) -> dict[str, Any]:
        """The arguments that make this learner again."""
        return asdict(self)

    def describe(self, data: "ByteArray", name: str | None = None) -> DataSpec:
        """Size of the data and a sample of its distinct strings, which the cost depends on."""
        from microdollar.learn.counts.ngram.distinct import describe

        return describe(data, order=self.order, name=name)

    def work(self, data: DataSpec) -> Work:
        """Operations and memory of ``fit`` on such data."""
        return counted_work(data.bytes, self.order, data.distinct_ngrams)

    def warm_up(self) -> None:
        """Compile the loops by learning a short text."""
        import numpy as np

        model = self.fit(np.tile(np.arange(256, dtype=np.uint8), 80))
        model.bits(model.text[:100], context=model.text[:20])
        model.adaptive_bits(model.text[:100])
        model.next_byte(model.text[:4])

    def fit(self, data: "ByteArray", *, progress: Progress = silent) -> "CountedModel":
        """Learn from bytes, shape (n,) uint8; no bytes at all give the uniform model.

        Raises:
            CorpusError: if there are more distinct strings than node numbers.
        """
        import numpy as np

        from microdollar.learn.counts.mixed.ahead import Gap, Memory
        from microdollar.learn.counts.mixed.chain import chain_of
        from microdollar.learn.counts.mixed.contexts import PLACE_WORDS
        from microdollar.learn.counts.mixed.histories import empty_lines
        from microdollar.learn.counts.mixed.model import CountedModel
        from microdollar.learn.counts.mixed.state import State, remembered
        from microdollar.learn.counts.mixed.strings import Strings
        from microdollar.learn.counts.mixed.weights import DRIFT, copied, fresh_weights, reopened
        from microdollar.learn.counts.ngram.discounts import modified_kneser_ney
        from microdollar.learn.counts.scale.tries import counted_trie

        data = np.array(data, dtype=np.uint8)
        counted, held_back = phases(len(data))
        progress(0, 1, "counting")
        trie = counted_trie(data[:counted], self.order)
        memory = Memory(
            empty_lines(line_slots(len(data))),
            np.zeros(match_slots(len(data)), np.uint32),
            np.zeros(1 << 16, np.uint16),
        )
        adaptive = fresh_weights(self.order)
        place = np.zeros(PLACE_WORDS, np.uint64)
        memory = remembered(data, 0, counted, place, memory, adaptive.chances)
        progress(len(data) / 4, len(data), "counting")
        discounts = modified_kneser_ney(trie.counts_of_counts())
        without = self._left_out()
        state = State(
            strings=Strings.of(trie), memory=memory, weights=adaptive, place=place,
            chain=chain_of(discounts, adaptive), without=without,
        )  # fmt: skip
        del trie, memory
        late, gap = len(data) - held_back, Gap(0, 0, 0)
        state.stand(counted, data[:counted])
        state.score(data[:late], gap, weighing=True, counting=True, drift=DRIFT)
        progress(len(data) * 3 / 4, len(data), "weighing evidence")
        frozen = adaptive
        if held_back:
            frozen = reopened(adaptive)
            still = State(
                strings=state.strings, memory=state.memory, weights=frozen, place=place.copy(),
                chain=chain_of(discounts, frozen), without=without,
            )  # fmt: skip
            still.stand(late, data[:late])
            still.score(data, Gap(0, late, len(data)), weighing=True, counting=False)
            state.score(data, gap, weighing=True, counting=True, drift=DRIFT)
        model = CountedModel(
            text=data,
            strings=state.strings,
            memory=state.memory,
            discounts=modified_kneser_ney(state.strings.counts_of_counts()),
            frozen=frozen if held_back else copied(adaptive),
            adaptive=adaptive,
            without=without,
        )
        progress(1, 1, "written")
        return model

    def _left_out(self) -> "npt.NDArray[np.bool_]":
        import numpy as np

        from microdollar.learn.counts.mixed.weights import INPUTS

        out = np.zeros(INPUTS + 2, np.bool_)
        for part in filter(None, self.without.split(",")):
            out[list(PARTS[part])] = True
        return out
