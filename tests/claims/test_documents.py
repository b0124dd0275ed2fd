"""Sections in the order in which one reads them."""

import pytest

from microdollar.claims.documents import DOCUMENTS
from microdollar.errors import SpecError

IN_ORDER = {
    "analytic-cost": (
        "title, abstract", "abstract", "2.1", "2.9", "2.10", "table 2, 1 epoch",
        "table 2, 10 epochs", "3, 5", "table 4, H = 512", "table 4, H = 1,024", "5",
    ),
    "weight-construction": ("abstract", "1", "6", "6b", "10"),
    "efficient-reasoning": ("I", "V, 8.2", "6.1", "8.4, figure 11.6", "IX"),
    "lnsp-resources": ("key findings", "memory", "memory, realistic", "storage", "savings"),
}  # fmt: skip


@pytest.mark.parametrize("document", IN_ORDER)
def test_sections_are_in_reading_order(document):
    place = DOCUMENTS[document].place
    assert sorted(reversed(IN_ORDER[document]), key=place) == list(IN_ORDER[document])


def test_a_section_that_the_document_has_not_is_refused():
    with pytest.raises(SpecError, match=r"training-time has no section '10'. Accepted: 1, 2"):
        DOCUMENTS["training-time"].place("10.2")
