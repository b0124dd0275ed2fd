"""What a reconstructor is, and every one by name."""

from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from microdollar.errors import UnknownNameError, UsageError
from microdollar.learn.tokens.tokenizers import Tokens

Bits = npt.NDArray[np.float64]
Keep = npt.NDArray[np.bool_]

KEPT = "kept tokens"
"""What most reconstructors are given: the kept tokens and where something was dropped."""
BEFORE = "kept tokens and all before"
"""What one is given that reads from left to right and is told what it should have read."""

_HERE = "microdollar.learn.tokens.reconstruct"
RECONSTRUCTORS = {
    "counted": f"{_HERE}.counted:CountedReconstructor",
    "infiller": f"{_HERE}.infiller:InfillerReconstructor",
    "smollm2": f"{_HERE}.language_model:LanguageModelReconstructor",
}
"""``module:class`` of each; the class has ``load(folder)``."""


class Reader(Protocol):
    """A model that says what dropped tokens are worth.

    Kept tokens are copied, never predicted. Every dropped one leaves a mark in its place, so its
    position is known: at a budget of k of n tokens positions cost at most log2 C(n, k) bits,
    which is the same for all ways to choose them and is not counted.
    """

    @property
    def name(self) -> str:
        """As it is called on the command line."""

    @property
    def given(self) -> str:
        """What a dropped token is read from: ``KEPT``, ``BEFORE``, or said in other words."""

    def bits(self, tokens: Tokens, keep: Keep) -> Bits:
        """-log2 P(piece | what is given) of each dropped token, 0 for kept ones; shape (n,).

        Args:
            tokens: of the whole text.
            keep: which are kept, shape (n,).
        """


@runtime_checkable
class Reconstructor(Reader, Protocol):
    """A model that reads a squeezed text back."""

    def fill(self, tokens: Tokens, keep: Keep) -> list[str]:
        """The pieces of all n tokens: kept ones copied, for dropped ones the most likely.

        What the dropped tokens were is not looked at.
        """


def make_reconstructor(name: str, folder: Path | str) -> Reconstructor:
    """The reconstructor called ``name`` from the folder of its model.

    Raises:
        UnknownNameError: if there is no such reconstructor; lists all.
        ModelFileError: if the folder holds none of its models, or a damaged one.
    """
    if name not in RECONSTRUCTORS:
        raise UnknownNameError("reconstructor", name, sorted(RECONSTRUCTORS))
    module, attribute = RECONSTRUCTORS[name].split(":")
    found: Reconstructor = getattr(import_module(module), attribute).load(Path(folder))
    return found


def require_mask(tokens: Tokens, keep: Keep) -> None:
    """Refuse a mask that is not one truth value a token.

    Raises:
        UsageError: if it is not.
    """
    if np.shape(keep) != (len(tokens),) or np.asarray(keep).dtype != np.bool_:
        raise UsageError(
            f"keep has shape {np.shape(keep)} and type {np.asarray(keep).dtype} for {len(tokens)} "
            "tokens. Give one truth value for each."
        )
