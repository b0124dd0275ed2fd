"""A readout fitted by gradient descent on the fixed dynamics of a shift register.

Source: analytic-cost document, section 2.3, and weight-construction document, section 5: W_x
and W_h are constructed, only W_y and b_y are optimised. The loss is convex in them.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from microdollar.errors import UsageError
from microdollar.learn.base import Progress, silent
from microdollar.learn.counts.satrnn import check_carrier
from microdollar.spec.data import DataSpec
from microdollar.work.formulas.counting_work import readout_work
from microdollar.work.ops import Work

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.elman import ElmanModel


class ReadoutSGD:
    """The sat-rnn's shift register with a readout found by minibatch Adam.

    Starts from W_y = 0 and b_y = ln P(byte). Deterministic for a seed and one BLAS.

    Args:
        hidden: units. At least ``offsets * hash_bits``; what is beyond stays zero.
        offsets: past bytes that the units carry; so many first bytes are not learnt from.
        hash_bits: units for each past byte.
        hash: code of a byte, ``bijective`` or ``document``.
        epochs: passes over the training bytes.
        batch: positions of one step.
        learning_rate: Adam's step at the start; it falls to zero along half a cosine.
        seed: of the order of positions.

    Raises:
        UsageError: if a value is out of range or the units don't suffice.
    """

    name = "readout-sgd"

    def __init__(
        self,
        *,
        hidden: int = 128,
        offsets: int = 16,
        hash_bits: int = 8,
        hash: str = "bijective",
        epochs: int = 3,
        batch: int = 1024,
        learning_rate: float = 0.02,
        seed: int = 0,
    ) -> None:
        check_carrier(hidden=hidden, offsets=offsets, hash_bits=hash_bits, hash_name=hash)
        for option, value in (("epochs", epochs), ("batch", batch)):
            if value < 1:
                raise UsageError(f"{option} must be at least 1, got {value}.")
        if not 0 < learning_rate < float("inf"):
            raise UsageError(f"learning_rate must be above 0 and finite, got {learning_rate}.")
        if not 0 <= seed < 2**63:
            raise UsageError(f"seed must be within 0 and 2**63 - 1, got {seed}.")
        self.hidden, self.offsets, self.hash_bits, self.hash = hidden, offsets, hash_bits, hash
        self.epochs, self.batch, self.learning_rate, self.seed = epochs, batch, learning_rate, seed

    def config(self) -> dict[str, Any]:
        """The arguments that make this learner again."""
        return {
            "hidden": self.hidden,
            "offsets": self.offsets,
            "hash_bits": self.hash_bits,
            "hash": self.hash,
            "epochs": self.epochs,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
        }

    def work(self, data: DataSpec) -> Work:
        """Operations and memory of ``fit``; exact counts."""
        return readout_work(
            data_bytes=data.bytes,
            hidden=self.hidden,
            offsets=self.offsets,
            bits=self.hash_bits,
            epochs=self.epochs,
            batch=self.batch,
        )

    def warm_up(self) -> None:
        """Compile the recurrence and load the array library."""
        import numpy as np

        ReadoutSGD(epochs=1).fit(np.arange(256, dtype=np.uint8))

    def fit(self, data: "ByteArray", *, progress: Progress = silent) -> "ElmanModel":
        """Generate the states once, then fit the readout.

        With no more bytes than offsets there is no position whose units are all set: then the
        model is its marginal, and with no bytes at all it is uniform.
        """
        from threadpoolctl import threadpool_limits

        from microdollar.learn.counts import satrnn_weights
        from microdollar.learn.gradient import readout_numpy

        model = satrnn_weights.shift_register(
            self.name,
            hidden=self.hidden,
            offsets=self.offsets,
            bits=self.hash_bits,
            hash_name=self.hash,
        )
        units = self.offsets * self.hash_bits
        packed = readout_numpy.packed_signs(model, data, units, progress)
        model.b_y[:] = satrnn_weights.log_marginal(readout_numpy.byte_counts(data))
        # One thread: BLAS threads that share cores with other work wait for one another.
        with threadpool_limits(limits=1, user_api="blas"):
            readout_numpy.fit_readout(
                packed[self.offsets :],
                data[self.offsets :],
                model.W_y[:, :units],
                model.b_y,
                readout_numpy.Schedule(
                    epochs=self.epochs,
                    batch=self.batch,
                    learning_rate=self.learning_rate,
                    seed=self.seed,
                ),
                progress,
            )
        return replace(model, config=self.config())
