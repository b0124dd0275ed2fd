"""What ten times the weights take off the loss, by the laws that were published."""

from microdollar.claims.experiments.base import Context
from microdollar.claims.record import Values
from microdollar.estimator.scaling.halved import tables
from microdollar.spec.arithmetic import Interval

STEPS = ("1b_10b", "10b_100b", "100b_1t")


def run(context: Context) -> Values:
    """Part of the loss that each tenfold takes off, and each part over the one before.

    By the law of weights alone (``kaplan_STEP``, the document's own form) and by the law of weights
    and data with unlimited data (``chinchilla_STEP``) and with the best data for the computation
    (``best_STEP``); ``kaplan_ratio`` and so on are the second part over the first.
    """
    found: dict[str, Interval] = {}
    names = {
        ("kaplan-params", "unlimited"): "kaplan",
        ("chinchilla", "unlimited"): "chinchilla",
        ("chinchilla", "best for the compute"): "best",
    }
    for table in tables():
        name = names.get((table.law, table.data))
        if name is None:
            continue
        for step, part in zip(STEPS, table.reductions, strict=True):
            found[f"{name}_{step}"] = Interval.of(part)
        found[f"{name}_ratio"] = Interval.of(table.ratios[0])
    return found
