"""The trained policy: what costs most to read back is kept. No torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from microdollar.errors import UsageError
from microdollar.learn.tokens.policy.folder import PolicyModel
from microdollar.learn.tokens.scorers.base import Scores

if TYPE_CHECKING:
    from microdollar.learn.tokens.tokenizers import Tokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Policy:
    """Scores of a network that ``microdollar tokens train`` trained.

    Args:
        model: a model or the folder of one.

    Raises:
        ModelFileError: if the folder holds no policy, or a damaged one.
        UsageError: if no model is given.
    """

    model: PolicyModel | Path | str | None = None
    name: ClassVar[str] = "policy"
    _ready: PolicyModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.model is None:
            raise UsageError("the scorer policy needs a model. Train one: microdollar tokens train")
        ready = self.model if isinstance(self.model, PolicyModel) else None
        object.__setattr__(self, "_ready", ready or PolicyModel.load(Path(str(self.model))))

    def score(self, tokens: "Tokens") -> Scores:
        """Of each token what is lost without it, about, in units of the training; shape (n,)."""
        return self._ready.network.scores(self._ready.features(tokens))
