"""Every number of the five documents as data, how it is checked, and what follows.

``tables/`` holds the rows, ``experiments/`` what is computed or measured for them, ``recorded/``
what the last measurement of each experiment gave. No verdict is typed: ``.verdict`` derives
each from numbers and a stated tolerance.
"""

from microdollar.claims.check import check_claims
from microdollar.claims.documents import DOCUMENTS, Document
from microdollar.claims.row import Claim, Finding, Kept, Need, Reading
from microdollar.claims.verdict import VERDICTS, Checked, Verdict, judge
from microdollar.claims.world import World

__all__ = [
    "DOCUMENTS",
    "VERDICTS",
    "Checked",
    "Claim",
    "Document",
    "Finding",
    "Kept",
    "Need",
    "Reading",
    "Verdict",
    "World",
    "check_claims",
    "judge",
]
