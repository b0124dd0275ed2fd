"""What is lost as far as the text itself tells, where no model was trained that reads it back.

An n-gram network that knows nothing at first learns the text as it reads. The bits of a dropped
token are those that it takes given *all* before it, dropped tokens too: what a reader who has
guessed everything right so far still has to be told. In a short text that is too much, as
everything is new in it; and it does not know what is kept later. It compares scorers badly (the
one that keeps what it finds surprising is the best by its own measure) but says how much is gone.
"""

from dataclasses import dataclass, field

import numpy as np

from microdollar.learn.tokens.reconstruct.base import Bits, Keep
from microdollar.learn.tokens.scorers.self_information import SelfInformation
from microdollar.learn.tokens.tokenizers import Tokens

ALL_BEFORE = "all before"


@dataclass(frozen=True, slots=True)
class OwnText:
    """Counts bits of dropped tokens of any tokenizer; can't fill gaps."""

    name: str = "own-text"
    given: str = ALL_BEFORE
    _network: SelfInformation = field(default_factory=SelfInformation, repr=False)

    def bits(self, tokens: Tokens, keep: Keep) -> Bits:
        """-log2 P of each dropped token given all before it, 0 for kept ones; shape (n,)."""
        return np.where(keep, 0.0, self._network.score(tokens))
