"""A plan: what is to be learnt, how, and on which device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from microdollar.errors import SpecError
from microdollar.spec.data import DataSpec
from microdollar.spec.tables import build, require_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run that can be predicted, measured and written to the ledger.

    Examples:
        >>> import microdollar as md
        >>> data = md.DataSpec(bytes=1_000_000)
        >>> plan = md.Plan(learner="rnn-bptt", data=data, options={"epochs": 1}, device="l4")
        >>> md.estimate(plan).cost.flops.basis
        'formula'
    """

    learner: str
    """Name of a learner: ``ngram``, ``satrnn``, ``readout-sgd``, ``rnn-bptt``."""
    data: DataSpec
    """What is learnt from."""
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


def learner_plan(top: Mapping[str, Any]) -> Plan:
    """A plan from the tables of a file (``microdollar.spec.load``).

    The learner checks its own name and options when it is made.

    Raises:
        SpecError: if the data have no size, or a table is none.
    """
    data = build(DataSpec, top["data"], "[data]")
    if data.distinct_ngrams is not None or data.bytes < 1:
        raise SpecError("[data] takes bytes, a whole number from 1, and a name.")
    return Plan(
        learner=top["learner"],
        data=data,
        options=dict(require_table(top.get("options", {}), "[options]")),
        device=top["device"],
    )
