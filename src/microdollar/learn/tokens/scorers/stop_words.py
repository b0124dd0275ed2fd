"""Stop-word removal: what no training is needed for, and what a learnt scorer must beat."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from microdollar.learn.tokens.scorers.base import Scores
from microdollar.learn.tokens.scorers.characters import counts_in

if TYPE_CHECKING:
    from microdollar.learn.tokens.tokenizers import Tokens

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
"""Letters and digits of any script, with apostrophes within."""

_LISTED = """
    a about above after again all also am an and any are as at be because been before being
    below between both but by can could did do does doing down during each else ever few for
    from further had has have having he her here hers herself him himself his how i if in into
    is it its itself just may me might more most much must my myself of off on once one only or
    other our ours ourselves out over own per same shall she should so some such than that the
    their theirs them themselves then there these they this those though through thus to too
    under until up upon us very was we were what when where which while who whom whose why will
    with would yet you your yours yourself yourselves
    i'm i've i'll i'd you're you've you'll you'd he's he'll he'd she's she'll she'd it's it'll
    we're we've we'll we'd they're they've they'll they'd that's there's here's what's who's
    let's
"""
STOP_WORDS = frozenset(_LISTED.split())
"""English words of the closed classes (articles, pronouns, prepositions, conjunctions,
auxiliaries). Negations (no, not, never, without, ...) are not among them: dropping one turns a
sentence into its opposite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWords:
    """Content words first; stop words, punctuation and white space last. English only."""

    name: ClassVar[str] = "stop-words"

    def score(self, tokens: "Tokens") -> Scores:
        """1 for a token with a character of a content word, else 0; shape (n,)."""
        spans = [
            word.span()
            for word in WORD.finditer(tokens.text)
            if word.group().lower().replace("’", "'") not in STOP_WORDS
        ]
        if not spans:
            return np.zeros(len(tokens))
        edges = np.zeros(len(tokens.text) + 1, np.int8)
        starts, ends = np.array(spans).T
        edges[starts] += 1  # no two words share a start, and one may end where none begins
        edges[ends] -= 1
        return (counts_in(tokens, np.cumsum(edges[:-1]) > 0) > 0).astype(np.float64)
