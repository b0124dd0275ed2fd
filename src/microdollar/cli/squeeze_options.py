"""What ``squeeze`` is told by names: the scorer, who reads back, and what is protected."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from microdollar.errors import UsageError

if TYPE_CHECKING:
    from microdollar.learn.tokens.reconstruct.base import Reader
    from microdollar.learn.tokens.scorers.base import Scorer
    from microdollar.learn.tokens.squeeze import Options

_POLICY, _INFILLER = "policy", "infiller"
_NOT_ASKED = "nothing is measured without --model, --reconstructor or --json"


def squeeze_options(
    scorer: str | None,
    model: Path | None,
    reconstructor: str | None,
    tokenizer: str,
    kinds: str | None,
    protect: tuple[str, ...],
    granularity: str,
    *,
    needs_reader: bool,
    measures: bool,
) -> "tuple[Options, dict[str, Any]]":
    """Options of the Python function, and what they are called.

    ``measures``: whether the bits lost are to be said even if no model was named.

    Raises:
        UsageError: if bits are to be known and nothing that was named knows them.
    """
    from microdollar.learn.tokens.protect import KINDS, USUAL
    from microdollar.learn.tokens.reconstruct.own_text import OwnText

    name = scorer or ("self-information" if model is None else _POLICY)
    named = {None: USUAL, "all": tuple(KINDS), "none": ()}
    chosen = named[kinds] if kinds in named else _split(str(kinds))
    reader: Reader | None
    missing: str | None
    if model is not None or reconstructor is not None:
        reader, missing = _reader(model, reconstructor, tokenizer)
    elif measures:
        reader, missing = OwnText(), None
    else:
        reader, missing = None, _NOT_ASKED
    if needs_reader and reader is None:
        raise UsageError(f"--max-bits-lost needs to know the bits: {missing}.")
    options: Options = {
        "scorer": _scorer(name, model, tokenizer),
        "tokenizer": tokenizer,
        "protect": protect,
        "kinds": chosen,
        "granularity": granularity,
        "reconstructor": reader,
    }
    facts = {
        "scorer": name,
        "tokenizer": tokenizer,
        "granularity": granularity,
        "kinds": list(chosen),
        "protect": list(protect),
        "model": None if model is None else str(model),
        "reconstructor": None if reader is None else reader.name,
        "reconstructor_given": None if reader is None else reader.given,
        "bits_lost_missing": missing,
    }
    return options, facts


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(","))


def _scorer(name: str, model: Path | None, tokenizer: str) -> "Scorer":
    """The scorer called NAME or NAME=MODEL.

    Raises:
        UsageError: if it is a policy without a model, or one for other tokens.
    """
    from microdollar.learn.tokens.scorers.base import make_scorer

    plain, _, folder = name.partition("=")
    if plain != _POLICY:
        return make_scorer(plain, **({"model": Path(folder)} if folder else {}))
    from microdollar.learn.tokens.policy.folder import PolicyModel

    place = Path(folder) if folder else model
    if place is None:
        raise UsageError("the scorer policy needs a --model. Train one: microdollar tokens train")
    policy = PolicyModel.load(place)
    known = policy.vocabulary.tokenizer
    if known != tokenizer:
        raise UsageError(
            f"the policy in {place} knows tokens of {known}, not of {tokenizer}. "
            f"Give --tokenizer {known}, or another --scorer."
        )
    return make_scorer(plain, model=policy)


def _reader(
    model: Path | None, reconstructor: str | None, tokenizer: str
) -> "tuple[Reader | None, str | None]":
    """Who measures what is lost, or why nobody does."""
    from microdollar.learn.tokens.evaluate.readers import open_reader

    if reconstructor in (None, _INFILLER):
        if model is None:
            raise UsageError("the infiller is a part of a model. Give a --model, or its folder.")
        if not (model / _INFILLER).is_dir():
            return None, f"{model} holds no infiller that reads the text back"
        reconstructor = str(model / _INFILLER)
    reader = open_reader(str(reconstructor))
    vocabulary = getattr(reader, "vocabulary", None)
    if vocabulary is not None and vocabulary.tokenizer != tokenizer:
        return None, f"{reader.name} reads tokens of {vocabulary.tokenizer}, not of {tokenizer}"
    getattr(reader, "network", None)  # what it loads late would count as squeezing
    return reader, None
