"""Every prediction and every measurement, append-only."""

from microdollar.ledger.compare import Comparison, Summary, compare, summarize
from microdollar.ledger.record import Assumption, Record
from microdollar.ledger.store import Imported, Ledger, default_path

__all__ = [
    "Assumption",
    "Comparison",
    "Imported",
    "Ledger",
    "Record",
    "Summary",
    "compare",
    "default_path",
    "summarize",
]
