"""The sat-rnn: every weight of an Elman network written down from counts.

Source: weight-construction document, section 4. Its pseudo-count and scale were chosen on
the bytes that it scored; here they are chosen on the end of the training bytes, held back.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from microdollar.errors import UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.counts.hashing import HASHES, MAX_BITS
from microdollar.spec.data import DataSpec
from microdollar.work.formulas.counting_work import satrnn_work
from microdollar.work.ops import Work

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.elman import ElmanModel

DEFAULT_ALPHA = 1.0
DEFAULT_SCALE = 0.1
"""Pseudo-count and scale where there are too few bytes to hold any back."""
ALPHAS = (1.0, 4.0, 16.0, 64.0)
"""Pseudo-counts tried; the scale is searched with the first."""
SCALE_TRIALS = 12
"""Values of the scale tried within 0 and 1; the loss is convex in it."""
MAX_HELD_BACK = 10_000
MIN_HELD_BACK = 100


class SatRNN:
    """Weights from counts: a shift register of byte codes and a log-ratio readout.

    Args:
        hidden: units. At least ``offsets * hash_bits``; what is beyond stays zero.
        offsets: past bytes that the units carry.
        hash_bits: units for each past byte.
        hash: code of a byte: ``bijective`` (every byte has its own at 8 bits) or
            ``document`` (the published hash, 170 codes for 256 bytes at 8 bits).
        alpha: pseudo-count of the log-ratios; None to choose it on held-back training bytes.
        scale: factor of the log-ratios; None to choose it likewise.
        threads: threads that count.

    Raises:
        UsageError: if a value is out of range or the units don't suffice.
    """

    name = "satrnn"

    def __init__(
        self,
        *,
        hidden: int = 128,
        offsets: int = 16,
        hash_bits: int = 8,
        hash: str = "bijective",
        alpha: float | None = None,
        scale: float | None = None,
        threads: int = 2,
    ) -> None:
        if threads < 1:
            raise UsageError(f"threads must be at least 1, got {threads}.")
        check_carrier(hidden=hidden, offsets=offsets, hash_bits=hash_bits, hash_name=hash)
        if alpha is not None and not 0 < alpha < 1e9:
            raise UsageError(f"alpha must be above 0 and below 1e9, got {alpha}.")
        if scale is not None and not 0 <= scale < 1e3:
            raise UsageError(f"scale must be at least 0 and below 1000, got {scale}.")
        self.hidden, self.offsets, self.hash_bits, self.hash = hidden, offsets, hash_bits, hash
        self.alpha, self.scale, self.threads = alpha, scale, threads

    def config(self) -> dict[str, Any]:
        """The arguments that make this learner again."""
        return {
            "hidden": self.hidden,
            "offsets": self.offsets,
            "hash_bits": self.hash_bits,
            "hash": self.hash,
            "alpha": self.alpha,
            "scale": self.scale,
            "threads": self.threads,
        }

    def work(self, data: DataSpec) -> Work:
        """Operations and memory of ``fit``; exact counts."""
        alphas = len(ALPHAS) if self.alpha is None else 1
        return satrnn_work(
            data_bytes=data.bytes,
            hidden=self.hidden,
            offsets=self.offsets,
            bits=self.hash_bits,
            held_back=self._held_back(data.bytes),
            alphas=alphas,
            trials=alphas - 1 + (SCALE_TRIALS if self.scale is None else 1),
            threads=self.threads,
        )

    def _held_back(self, data_bytes: int) -> int:
        """Last training bytes that choose what was not given; 0 if nothing is to be chosen."""
        held = min(data_bytes // 10, MAX_HELD_BACK)
        given = self.alpha is not None and self.scale is not None
        return 0 if given or held < MIN_HELD_BACK else held

    def warm_up(self) -> None:
        """Compile the counting loop and the recurrence."""
        import numpy as np

        SatRNN(threads=1).fit(np.arange(2048, dtype=np.uint8))

    def fit(self, data: "ByteArray", *, progress: Progress = silent) -> "ElmanModel":
        """Count, choose the pseudo-count and the scale if asked to, and write the weights.

        No bytes at all give the uniform model.
        """
        from microdollar.learn.counts import satrnn_weights as parts
        from microdollar.learn.counts.hashing import byte_signs
        from microdollar.learn.counts.skipgrams import byte_counts, count_skipgrams
        from microdollar.work import tally

        signs = byte_signs(self.hash, self.hash_bits)
        model = parts.shift_register(
            self.name,
            hidden=self.hidden,
            offsets=self.offsets,
            bits=self.hash_bits,
            hash_name=self.hash,
        )
        alpha = DEFAULT_ALPHA if self.alpha is None else self.alpha
        scale = DEFAULT_SCALE if self.scale is None else self.scale
        held = self._held_back(len(data))
        cut = len(data) - held
        tables = count_skipgrams(data[:cut], self.offsets, threads=self.threads)
        progress(1, 3, "counted")
        if held:
            alpha, scale = parts.choose(
                parts.states_from(model, data, cut, self.offsets),
                data[cut:],
                parts.pooled_counts(tables, signs),
                parts.log_marginal(byte_counts(data, tables)),
                alphas=ALPHAS if self.alpha is None else (self.alpha,),
                scale=self.scale,
                trials=SCALE_TRIALS,
            )
            count_skipgrams(data, self.offsets, start=cut, into=tables, threads=self.threads)
        progress(2, 3, "chosen")
        ratios = parts.log_ratios(*parts.pooled_counts(tables, signs), alpha) * scale
        model.W_y[:, : len(ratios)] = ratios.T
        tally.add("scale log-ratios", flops=ratios.size, int_ops=0)
        model.b_y[:] = parts.log_marginal(byte_counts(data, tables))
        progress(3, 3, "written")
        chosen = {"alpha": alpha, "scale": scale, "held_back_bytes": held}
        return replace(model, config=self.config() | chosen)


def check_carrier(*, hidden: int, offsets: int, hash_bits: int, hash_name: str) -> None:
    """Refuse a shift register that can't be built.

    Raises:
        UsageError: says what to change.
    """
    if hash_name not in HASHES:
        raise UsageError(f"unknown hash {hash_name!r}. Known: {', '.join(HASHES)}.")
    if offsets < 1 or not 1 <= hash_bits <= MAX_BITS:
        raise UsageError(
            f"want offsets of at least 1 and 1 to {MAX_BITS} hash bits, "
            f"got {offsets} and {hash_bits}."
        )
    if hidden < offsets * hash_bits:
        fewer = f" or --offsets {hidden // hash_bits}" if hidden >= hash_bits else ""
        raise UsageError(
            f"{offsets} offsets of {hash_bits} hash bits need {offsets * hash_bits} hidden units, "
            f"got {hidden}. Type --hidden {offsets * hash_bits}{fewer}."
        )
