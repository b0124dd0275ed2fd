"""Squeeze a text: tokens, their scores, what is protected, the budget, and what is left."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError
from microdollar.learn.tokens.budget import budget_of, keep_best
from microdollar.learn.tokens.protect import mask, protected
from microdollar.learn.tokens.scorers.base import Scorer, make_scorer
from microdollar.learn.tokens.scorers.sentences import sentence_of_token
from microdollar.learn.tokens.tokenizers import Tokenizer, Tokens, make_tokenizer

GRANULARITIES = ("token", "sentence")
"""What is kept together: nothing, or whole sentences until one does not fit."""
NOT_MEASURED = "no model was given that reads the text back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeezed:
    """What is left of a text, and what was done."""

    tokens: int
    """Of the whole text."""
    budget: int
    """Tokens that the ratio allows."""
    kept: int
    """Tokens that are left: as many as the budget."""
    text: str
    """The kept tokens, copied."""
    keep: npt.NDArray[np.bool_] = field(repr=False, compare=False)
    """Which tokens are left, shape (tokens,)."""
    bits_lost: float | None
    """Bits that the dropped tokens take given the kept ones; None if nobody measured them."""
    bits_lost_missing: str | None
    """Why ``bits_lost`` is None; None if it is not."""
    seconds: float = field(compare=False)
    """Wall time of all of it."""


def squeeze(
    text: str,
    ratio: float,
    *,
    scorer: Scorer | str = "self-information",
    tokenizer: Tokenizer | str = "words",
    protect: Sequence[str] = (),
    kinds: Iterable[str] | None = None,
    granularity: str = "token",
    bits_lost: Callable[[Tokens, npt.NDArray[np.bool_]], float] | None = None,
) -> Squeezed:
    """Keep exactly the part of the tokens that was asked for.

    Args:
        text: any text; an empty one has no tokens and a budget of 0.
        ratio: part of the tokens to keep, above 0 and at most 1; halves of a token round up.
        scorer: what says which tokens matter, or its name.
        tokenizer: what cuts the text, or its name.
        protect: regular expressions of what to keep whatever its score.
        kinds: what else to protect, of ``protect.KINDS``; all of them if None.
        granularity: one of ``GRANULARITIES``.
        bits_lost: counts the bits of the dropped tokens given the kept ones.

    Raises:
        BudgetError: if the protected tokens alone exceed the budget.
        UsageError: for a ratio outside (0, 1], an unknown name, a bad pattern or a tokenizer
            that does not cover the text.

    >>> squeeze("Keep it short. Do not ramble.", 0.5, scorer="position").text
    'Keep it short not'
    """
    began = time.perf_counter()
    if granularity not in GRANULARITIES:
        raise UsageError(f"granularity is {granularity!r}. Give token or sentence.")
    budget_of(ratio, 0)  # before any work
    chosen = make_scorer(scorer) if isinstance(scorer, str) else scorer
    cutter = make_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer
    tokens = cutter.tokenize(text)
    budget = budget_of(ratio, len(tokens))
    must = mask(tokens, protected(text, protect, kinds))
    groups = sentence_of_token(tokens) if granularity == "sentence" else None
    keep = keep_best(chosen.score(tokens), budget, must, groups)
    lost = None if bits_lost is None else bits_lost(tokens, keep)
    return Squeezed(
        tokens=len(tokens),
        budget=budget,
        kept=int(np.count_nonzero(keep)),
        text=tokens.join(keep),
        keep=keep,
        bits_lost=lost,
        bits_lost_missing=NOT_MEASURED if lost is None else None,
        seconds=time.perf_counter() - began,
    )
