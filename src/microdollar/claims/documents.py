"""The five documents whose numbers are checked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One of them."""

    id: str
    title: str
    about: str
    """In one sentence, what it asks."""


DOCUMENTS = {
    document.id: document
    for document in (
        Document(
            id="analytic-cost",
            title="Computational Cost of Analytic Weight Construction vs. Gradient Descent"
            " Training (2026)",
            about="what weights from counts cost against gradient descent",
        ),
        Document(
            id="weight-construction",
            title="Weight Construction (2026)",
            about="whether all weights of a recurrent network follow from data statistics",
        ),
        Document(
            id="training-time",
            title="Corrected Mathematical Framework for Training Time Estimation",
            about="how long a token-compression system trains on a laptop",
        ),
        Document(
            id="efficient-reasoning",
            title="Efficient Reasoning: The Economics of Algorithms (chapter 11)",
            about="energy, attention, scaling laws and an optimizer with sketched state",
        ),
        Document(
            id="lnsp-resources",
            title="GPT vs LNSP Backpropagation Resource Comparison (2025)",
            about="what a concept model needs against a language model",
        ),
    )
}
