"""Sentences by their concept: those that are most like all others are kept whole.

The centroid method of extractive summaries (Radev et al. 2004) with vectors of sentences: a
sentence's score is the mean cosine of its vector to those of all others. With unit vectors that
is one product with their sum, so that the time is linear in the text. No PageRank as in
``textrank``: cosines of such vectors may be negative, and then they are no chances.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from microdollar.errors import CorpusError, MissingExtraError
from microdollar.learn.tokens.scorers.base import Scores
from microdollar.learn.tokens.scorers.sentences import sentence_of_character

if TYPE_CHECKING:
    from microdollar.learn.concepts.encoders import Encoder
    from microdollar.learn.tokens.tokenizers import Tokens

COUNTED = "counted"
"""Encoder that learns from the sentences at hand."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConceptSentences:
    """Sentences by how central their concept is, all tokens of one alike.

    Args:
        encoder: ``counted``, a name that ``concepts.encoders.make_encoder`` knows, or an encoder.
            None: ``minilm`` if it is installed, else ``counted``.

    Raises:
        MissingExtraError: if the encoder that was named needs what is not installed.
        UsageError: if there is no such encoder.
    """

    encoder: "Encoder | str | None" = None
    name: ClassVar[str] = "concept-sentences"
    _ready: "Encoder | None" = field(init=False, repr=False)
    """None for ``counted``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ready", _ready(self.encoder))

    def score(self, tokens: "Tokens") -> Scores:
        """Mean cosine of each token's sentence to the others, shape (n,), between -1 and 1.

        0 where there is one sentence, or too few for ``counted`` to learn from.
        """
        if not len(tokens):
            return np.zeros(0)
        sentence = sentence_of_character(tokens.text)
        starts = np.flatnonzero(np.diff(sentence, prepend=-1))
        ends = np.append(starts[1:], len(tokens.text))
        sentences = [
            tokens.text[a:b].strip() for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
        ]
        return self._centrality(sentences)[sentence[tokens.starts]]

    def _centrality(self, sentences: list[str]) -> Scores:
        encoder = self._ready or _counted(sentences)
        if encoder is None:
            return np.zeros(len(sentences))
        vectors = encoder.encode(sentences).astype(np.float64)
        own = (vectors * vectors).sum(1)  # 1, or 0 where nothing of a sentence is known
        found: Scores = (vectors @ vectors.sum(0) - own) / max(len(vectors) - 1, 1)
        return found


def _ready(encoder: "Encoder | str | None") -> "Encoder | None":
    from microdollar.learn.concepts.encoders import make_encoder

    if encoder is None:
        try:
            return make_encoder()
        except MissingExtraError:
            return None
    if isinstance(encoder, str):
        return None if encoder == COUNTED else make_encoder(encoder)
    return encoder


def _counted(sentences: list[str]) -> "Encoder | None":
    """Learnt from the sentences, of as many dimensions as they are enough for; None if of none."""
    from microdollar.learn.concepts.counted import fit

    for dim in (None, 8, 4, 2):
        try:
            return fit(sentences, dim=dim)
        except CorpusError:
            continue
    return None
