"""A plan: what is to be learnt, how, and on which device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from microdollar.spec.data import DataSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run that can be predicted, measured and written to the ledger."""

    learner: str
    """Name of a learner: ``ngram``, ``satrnn``, ``readout-sgd``, ``rnn-bptt``."""
    data: DataSpec
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the learner; what is not named keeps the learner's default."""
    device: str = "this"
    """Name in the catalog, or ``this`` for the machine that runs."""

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, for the ledger."""
        return {
            "learner": self.learner,
            "options": dict(self.options),
            "device": self.device,
            "train_bytes": self.data.bytes,
            "corpus": self.data.name,
        }
