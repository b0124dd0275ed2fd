"""What a scorer is, and every scorer by name."""

import inspect
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from microdollar.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from microdollar.learn.tokens.tokenizers import Tokens

Scores = npt.NDArray[np.float64]
"""One number for each token, shape (n,); finite; the higher, the sooner it is kept."""

_HERE = "microdollar.learn.tokens.scorers"
SCORERS = {
    "random": f"{_HERE}.simple:Random",
    "frequency": f"{_HERE}.simple:Frequency",
    "length": f"{_HERE}.simple:Length",
    "entropy": f"{_HERE}.simple:Entropy",
    "position": f"{_HERE}.simple:Position",
    "ends": f"{_HERE}.simple:Ends",
    "stop-words": f"{_HERE}.stop_words:StopWords",
    "self-information": f"{_HERE}.self_information:SelfInformation",
    "textrank": f"{_HERE}.textrank:TextRank",
    "policy": f"{_HERE}.policy:Policy",
    "concept-sentences": f"{_HERE}.concepts:ConceptSentences",
    "smollm2": f"{_HERE}.language_model:LanguageModel",
}
"""``module:class`` of each scorer; the class takes keyword arguments only."""

REVERSED = {
    "rare": "frequency",
    "short": "length",
    "low-entropy": "entropy",
    "last": "position",
    "middle": "ends",
    "low-self-information": "self-information",
}
"""Names of scorers that are others with the sign turned; same options."""


@runtime_checkable
class Scorer(Protocol):
    """A way to say which tokens matter."""

    @property
    def name(self) -> str:
        """As typed on the command line."""

    def score(self, tokens: "Tokens") -> Scores:
        """A score for each token, shape (n,); higher is kept sooner; no token, no score.

        The same tokens have the same scores every time.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversed:
    """Another scorer with the sign turned: what that drops first, this keeps first."""

    name: str
    scorer: Scorer

    def score(self, tokens: "Tokens") -> Scores:
        """Minus the other's scores, shape (n,)."""
        return -self.scorer.score(tokens)


def scorer_names() -> list[str]:
    """Every name that ``make_scorer`` knows, sorted."""
    return sorted([*SCORERS, *REVERSED])


def make_scorer(name: str, **options: Any) -> Scorer:  # noqa: ANN401
    """The scorer called ``name``.

    Args:
        name: one of ``SCORERS`` or ``REVERSED``, or the folder of a causal transformer.
        options: keyword arguments of its class, e.g. ``seed`` of ``random``.

    Raises:
        UnknownNameError: if there is no such scorer; lists all.
        UsageError: if an option is not one of its arguments, or has an unusable value.
    """
    names = scorer_names()
    if name not in names:
        if Path(name).is_dir():
            return make_scorer("smollm2", model=name, **options)
        raise UnknownNameError("scorer", name, names, f"Scorers: {', '.join(names)}.")
    module, attribute = SCORERS[REVERSED.get(name, name)].split(":")
    factory = getattr(import_module(module), attribute)
    accepted = inspect.signature(factory).parameters
    if unknown := sorted(set(options) - set(accepted)):
        raise UsageError(
            f"the scorer {name} has no option {unknown[0]!r}. "
            f"It accepts: {', '.join(accepted) or 'none'}."
        )
    scorer: Scorer = factory(**options)
    return Reversed(name=name, scorer=scorer) if name in REVERSED else scorer
