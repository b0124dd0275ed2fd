"""The five documents whose numbers are checked."""

import re
from dataclasses import dataclass

from microdollar.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One of them."""

    id: str
    title: str
    about: str
    """In one sentence, what it asks."""
    sections: tuple[str, ...]
    """Its sections and tables as claims name them, in the order in which one reads them."""

    def place(self, section: str) -> tuple[int, tuple[tuple[float, str], ...]]:
        """Sorts what claims call their section into reading order: 2.9 before 2.10.

        Args:
            section: ``"2.10"`` or ``"table 4, H = 128, conclusion"``; the first name counts.

        Raises:
            SpecError: if the document has no such section.
        """
        first = re.split("[.,;]", section, maxsplit=1)[0]
        if first not in self.sections:
            raise SpecError(
                f"{self.id} has no section {first!r:.40}. Accepted: {', '.join(self.sections)}."
            )
        rest = re.findall(r"(\d+(?:,\d{3})*)|([A-Za-z]+)", section.removeprefix(first))
        return self.sections.index(first), tuple(
            (float(digits.replace(",", "") or "inf"), word) for digits, word in rest
        )


DOCUMENTS = {
    document.id: document
    for document in (
        Document(
            id="analytic-cost",
            title="Computational Cost of Analytic Weight Construction vs. Gradient Descent"
            " Training (2026)",
            about="what weights from counts cost against gradient descent",
            sections=(
                "title",
                "abstract",
                "1",
                "2",
                "table 2",
                "3",
                "table 3",
                "4",
                "table 4",
                "5",
                "table 5",
                "6",
                "7",
                "8",
            ),
        ),
        Document(
            id="weight-construction",
            title="Weight Construction (2026)",
            about="whether all weights of a recurrent network follow from data statistics. Its 520"
            " bytes of text are not published: ours are the 1,024 bytes of enwik8 that its programs"
            " and weights come with, and 1,000,000",
            sections=("abstract", "1", "2", "3", "4", "5", "6", "6b", "7", "8", "9", "10"),
        ),
        Document(
            id="training-time",
            title="Corrected Mathematical Framework for Training Time Estimation",
            about="how long a token-compression system trains on a laptop",
            sections=(*"123456789", "conclusion"),
        ),
        Document(
            id="efficient-reasoning",
            title="Efficient Reasoning: The Economics of Algorithms (chapter 11)",
            about="energy, attention, scaling laws and an optimizer with sketched state",
            sections=("I", "II", "III", "IV", "V", "6", "7", "8", "IX"),
        ),
        Document(
            id="lnsp-resources",
            title="GPT vs LNSP Backpropagation Resource Comparison (2025)",
            about="what a concept model needs against a language model",
            sections=(
                "key findings",
                "specifications",
                "memory",
                "storage",
                "operations",
                "savings",
                "differences",
                "feasibility",
            ),
        ),
    )
}
