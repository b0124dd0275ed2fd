"""The n-gram learner: count, weigh evidence on held-back bytes, write the weights down."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from microdollar.errors import UsageError
from microdollar.learn.base import Progress, silent
from microdollar.spec.data import DataSpec
from microdollar.work.formulas.ngram import SLACK, held_back_bytes, ngram_work
from microdollar.work.ops import Work

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.counts.ngram.model import NGramModel

_MAX_ORDER = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class NGram:
    """Interpolated Kneser-Ney as a network, with every weight written down from counts.

    The last tenth of the training bytes is first scored with the counts of the rest, to see
    how far each class of context can be trusted (``discounts``), and then counted like the
    rest. Nothing else is fitted, and no gradient is taken.
    """

    order: int = 10
    """Longest context, in bytes."""
    name: ClassVar[str] = "ngram"

    def __post_init__(self) -> None:
        if not 0 <= self.order <= _MAX_ORDER:
            raise UsageError(
                f"order {self.order} is not within 0 and {_MAX_ORDER}. Type --order 10."
            )

    def config(self) -> dict[str, Any]:
        """The arguments that make this learner again."""
        return asdict(self)

    def describe(self, data: "ByteArray", name: str | None = None) -> DataSpec:
        """Size of the data and a sample of its distinct strings, which the cost depends on."""
        from microdollar.learn.counts.ngram.distinct import describe

        return describe(data, order=self.order, name=name)

    def work(self, data: DataSpec) -> Work:
        """Operations and memory of ``fit`` on such data."""
        return ngram_work(data.bytes, self.order, data.distinct_ngrams)

    def warm_up(self) -> None:
        """Compile the loops by learning a short text."""
        import numpy as np

        from microdollar.learn.counts.scale.grams import no_grams
        from microdollar.learn.counts.scale.merge import merge_two

        text = np.tile(np.arange(256, dtype=np.uint8), 80)
        model = self.fit(text)
        merge_two(no_grams(), no_grams())  # a longer text is counted in pieces
        model.bits(text[:100], context=text[:20])
        model.adaptive_bits(text[:100])
        model.sample(2, context=text[:4])

    def fit(self, data: "ByteArray", *, progress: Progress = silent) -> "NGramModel":
        """Learn from bytes, shape (n,) uint8; no bytes at all give the uniform model.

        Raises:
            CorpusError: if there are more distinct strings than node numbers.
        """
        import numpy as np

        from microdollar.learn.counts.ngram.chain import score_chain
        from microdollar.learn.counts.ngram.discounts import Evidence, modified_kneser_ney
        from microdollar.learn.counts.ngram.model import from_counts
        from microdollar.learn.counts.scale.tries import counted_trie

        data = np.ascontiguousarray(data, dtype=np.uint8)
        held_back = held_back_bytes(len(data))
        early, late = data[: len(data) - held_back], data[len(data) - held_back :]
        progress(0, 1, "counting")
        growth = SLACK * len(data) / max(len(early), 1)
        trie = counted_trie(early, self.order, growth=growth)
        frozen, adaptive = Evidence.none(self.order), Evidence.none(self.order)
        if held_back:
            discounts = modified_kneser_ney(trie.counts_of_counts())
            cursor = trie.cursor
            progress(len(data), len(data) * 1.5, "weighing evidence")
            score_chain(trie, late, discounts, frozen, weigh=True, learn=False)
            trie.cursor = cursor
            score_chain(trie, late, discounts, adaptive, weigh=True, learn=True)
        discounts = modified_kneser_ney(trie.counts_of_counts())
        progress(len(data) * 1.3, len(data) * 1.5, "writing weights")
        model = from_counts(trie, discounts, frozen, adaptive, len(data))
        progress(1, 1, "written")
        return model
