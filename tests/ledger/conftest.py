"""A record with every field set, for the tests of the ledger."""

import pytest

from microdollar.cost import Cost, Quantity
from microdollar.ledger import Assumption, Ledger, Record


def _cost(seconds, basis):
    q = Quantity
    return Cost(
        flops=q(value=5.94e12, basis="formula", coverage=0.98),
        int_ops=q(value=16_000_000, basis="formula"),
        memory_bytes=q(value=33_554_432, low=3e7, high=4e7, basis=basis),
        seconds=q(value=seconds, low=seconds / 2, high=seconds * 2, basis=basis),
        joules=q.missing("no sensor"),
        dollars=q(value=seconds * 1e-5, low=seconds * 5e-6, high=seconds * 2e-5, basis="assumed"),
    )


@pytest.fixture
def make_record():
    """Builds records; ``n`` tells them apart."""

    def make(n=0, **changes):
        return Record(
            **{
                "learner": "ngram",
                "plan": {"learner": "ngram", "options": {"order": 8}, "train_bytes": n},
                "device": {"name": "this", "cores": 2},
                "predicted": _cost(1.0, "calibrated"),
                "measured": _cost(1.5, "clock"),
                "scores": {"test_bits_per_byte": 2.25, "adaptive_bits_per_byte": None},
                "score_reasons": {"adaptive_bits_per_byte": "not asked for"},
                "assumptions": (Assumption(key="price_dollars_per_hour", value=0.03, source="x"),),
                "versions": {"python": "3.11", "numpy": "2"},
                "git": "abc",
                "started_at": f"2026-01-01T00:00:00.{n:06d}Z",
                "note": f"row {n}, π",
            }
            | changes
        )

    return make


@pytest.fixture
def ledger(tmp_path):
    """A ledger that does not exist yet."""
    return Ledger(tmp_path / "home" / "ledger.db")
