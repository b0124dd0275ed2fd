"""Squeeze a text: tokens, their scores, what is protected, the budget, and what is left."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypedDict

import numpy as np
import numpy.typing as npt

from microdollar.errors import BudgetError, UsageError
from microdollar.learn.tokens.budget import budget_of, keep_best
from microdollar.learn.tokens.protect import KINDS, USUAL, Span, mask, protected
from microdollar.learn.tokens.quality_floor import least_budget
from microdollar.learn.tokens.reconstruct.base import Reader
from microdollar.learn.tokens.scorers.base import Scorer, make_scorer
from microdollar.learn.tokens.scorers.sentences import sentence_of_token
from microdollar.learn.tokens.tokenizers import Tokenizer, Tokens, make_tokenizer

BoolArray = npt.NDArray[np.bool_]

GRANULARITIES = ("token", "sentence")
"""What is kept together: nothing, or whole sentences until one does not fit."""
NOT_MEASURED = "no model was given that reads the text back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeezed:
    """What is left of a text, and what was done."""

    tokens: int
    """Of the whole text."""
    budget: int
    """Tokens that the ratio, or the bits that may be lost, allow."""
    kept: int
    """Tokens that are left: as many as the budget."""
    text: str
    """The kept tokens, copied."""
    cut: Tokens = field(repr=False, compare=False)
    """The tokens of the whole text."""
    keep: BoolArray = field(repr=False, compare=False)
    """Which tokens are left, shape (tokens,)."""
    bits_lost: float | None
    """Bits that the dropped tokens take given what the reconstructor says (``given``), for most
    the kept ones; None if nobody measured them."""
    bits_lost_missing: str | None
    """Why ``bits_lost`` is None; None if it is not."""
    seconds: float = field(compare=False)
    """Wall time of all of it."""


class Options(TypedDict, total=False):
    """What ``squeeze`` takes besides a text and how much of it to keep."""

    scorer: Scorer | str
    tokenizer: Tokenizer | str
    protect: Sequence[str]
    kinds: Iterable[str]
    granularity: str
    reconstructor: Reader | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How texts are squeezed: options that were checked before any work."""

    scorer: Scorer
    tokenizer: Tokenizer
    protect: tuple[str, ...]
    kinds: tuple[str, ...]
    granularity: str
    reconstructor: Reader | None

    @classmethod
    def of(
        cls,
        *,
        scorer: Scorer | str = "self-information",
        tokenizer: Tokenizer | str = "words",
        protect: Sequence[str] = (),
        kinds: Iterable[str] = USUAL,
        granularity: str = "token",
        reconstructor: Reader | None = None,
    ) -> Self:
        """Options of ``squeeze``, names replaced by what they name.

        Raises:
            UsageError: for an unknown name, or a pattern that is no regular expression.
        """
        if granularity not in GRANULARITIES:
            raise UsageError(f"granularity is {granularity!r}. Give token or sentence.")
        method = cls(
            scorer=make_scorer(scorer) if isinstance(scorer, str) else scorer,
            tokenizer=make_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer,
            protect=tuple(protect),
            kinds=tuple(kinds),
            granularity=granularity,
            reconstructor=reconstructor,
        )
        method.spans("")
        return method

    def spans(self, text: str) -> list[Span]:
        """What is protected in a text."""
        return protected(text, self.protect, self.kinds)

    def squeeze(
        self, tokens: Tokens, must: BoolArray, k: int | None, max_bits_lost: float = math.inf
    ) -> Squeezed:
        """Keep ``k`` of the tokens, or as few as do not lose more than some bits.

        Args:
            tokens: of the text.
            must: which are protected, shape (n,), at most ``k``.
            k: how many to keep; None for the least that ``quality_floor`` finds.
            max_bits_lost: what the dropped tokens may take together if ``k`` is None.
        """
        began = time.perf_counter()
        reader = self.reconstructor
        scores = self.scorer.score(tokens)
        groups = sentence_of_token(tokens) if self.granularity == "sentence" else None

        def kept(k: int) -> BoolArray:
            return keep_best(scores, k, must, groups)

        def lost(keep: BoolArray) -> float | None:
            return None if reader is None else float(reader.bits(tokens, keep).sum())

        if k is None:
            least = max(int(np.count_nonzero(must)), min(len(tokens), 1))
            k = least_budget(lambda k: lost(kept(k)) or 0.0, least, len(tokens), max_bits_lost)
        keep = kept(k)
        bits = lost(keep)
        return Squeezed(
            tokens=len(tokens),
            budget=k,
            kept=int(np.count_nonzero(keep)),
            text=tokens.join(keep),
            cut=tokens,
            keep=keep,
            bits_lost=bits,
            bits_lost_missing=NOT_MEASURED if bits is None else None,
            seconds=time.perf_counter() - began,
        )


def squeeze(
    text: str,
    ratio: float | None = None,
    *,
    max_bits_lost: float | None = None,
    scorer: Scorer | str = "self-information",
    tokenizer: Tokenizer | str = "words",
    protect: Sequence[str] = (),
    kinds: Iterable[str] = USUAL,
    granularity: str = "token",
    reconstructor: Reader | None = None,
) -> Squeezed:
    """Keep exactly the part of the tokens that was asked for.

    Args:
        text: any text; an empty one has no tokens and a budget of 0.
        ratio: part of the tokens to keep, above 0 and at most 1; halves of a token round up.
        max_bits_lost: instead of a ratio: bits that all dropped tokens may take together. The
            budget is then the one that ``quality_floor.least_budget`` finds.
        scorer: what says which tokens matter, or its name.
        tokenizer: what cuts the text, or its name.
        protect: regular expressions of what to keep whatever its score.
        kinds: what else to protect, of ``protect.KINDS``.
        granularity: one of ``GRANULARITIES``.
        reconstructor: measures what is lost. It must know the tokenizer's tokens;
            ``reconstruct.own_text.OwnText`` knows all, and needs no training.

    Returns:
        What is kept: its text, its tokens, and where they were.

    Raises:
        BudgetError: if the protected tokens alone exceed the budget; says of which kinds.
        UsageError: for a ratio outside (0, 1], an unknown name, a bad pattern or a tokenizer
            that does not cover the text; if not one of ratio and bits is given, or bits without
            a reconstructor.

    Examples:
        >>> squeeze("Keep it short. Do not ramble.", 0.5, scorer="position").text
        'Keep it short not'
    """
    began = time.perf_counter()
    if (ratio is None) == (max_bits_lost is None):
        raise UsageError("give either a ratio or max_bits_lost, the bits that may be lost.")
    if ratio is not None:
        budget_of(ratio, 0)  # before any work
    elif reconstructor is None:
        raise UsageError("max_bits_lost needs a reconstructor. Give one, or a ratio.")
    method = Method.of(
        scorer=scorer, tokenizer=tokenizer, protect=protect, kinds=kinds,
        granularity=granularity, reconstructor=reconstructor,
    )  # fmt: skip
    tokens = method.tokenizer.tokenize(text)
    spans = method.spans(text)
    must = mask(tokens, spans)
    if max_bits_lost is not None:
        found = method.squeeze(tokens, must, None, max_bits_lost)
    elif ratio is not None:
        budget, most = budget_of(ratio, len(tokens)), int(np.count_nonzero(must))
        if most > budget:
            raise over_budget(most, budget, len(tokens), tokens_of_kinds(tokens, spans))
        found = method.squeeze(tokens, must, budget)
    return replace(found, seconds=time.perf_counter() - began)


def tokens_of_kinds(tokens: Tokens, spans: Sequence[Span]) -> dict[str, int]:
    """How many tokens each kind of span protects, most first; a token may be of several."""
    kinds = {kind for _, _, kind in spans}
    counts = {
        kind: int(np.count_nonzero(mask(tokens, [span for span in spans if span[2] == kind])))
        for kind in kinds
    }
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def over_budget(protected: int, budget: int, n: int, kinds: Mapping[str, int]) -> BudgetError:
    """What to say when ``protected`` of ``n`` tokens must stay and ``budget`` may."""
    ratio = math.ceil(1000 * protected / n) / 1000
    most = next(iter(kinds))
    less = f"kinds without {most}" if most in KINDS else "fewer patterns to protect"
    return BudgetError(
        f"{protected:,} tokens are protected, but the budget is {budget:,} of {n:,} "
        f"({shares(kinds)}). "
        f"Give a ratio of {ratio:g} or more, or {less}."
    )


def shares(kinds: Mapping[str, int]) -> str:
    """How much of each kind, in words."""
    return ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())
