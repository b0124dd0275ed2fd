"""Learners and saved models by name. Imports a learner's module only when it is asked for."""

import inspect
from importlib import import_module
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

from microdollar.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from microdollar.learn.base import Learner

LEARNERS = {
    "ngram": "microdollar.learn.counts.ngram.learner:NGram",
    "counted": "microdollar.learn.counts.mixed.learner:Counted",
    "satrnn": "microdollar.learn.counts.satrnn:SatRNN",
    "readout-sgd": "microdollar.learn.gradient.readout:ReadoutSGD",
    "rnn-bptt": "microdollar.learn.gradient.rnn:ElmanBPTT",
    "lstm-bptt": "microdollar.learn.gradient.lstm:LSTMBPTT",
    "gpt": "microdollar.learn.gradient.gpt:GPT",
}
"""``module:class`` of each learner; the class takes keyword arguments only."""
NEED_TORCH = ("rnn-bptt", "lstm-bptt", "gpt")
"""Learners that need torch to fit, though not to be predicted."""


def create(name: str, **options: Any) -> "Learner":  # noqa: ANN401
    """The learner called ``name`` with ``options`` in place of its defaults.

    Args:
        name: one of ``LEARNERS``.
        **options: arguments of the learner's class.

    Returns:
        A learner, which can tell its work, fit and say how it was made.

    Raises:
        UnknownNameError: if there is no such learner.
        UsageError: if an option is not one of its arguments, or has an unusable value.

    Examples:
        >>> import microdollar as md
        >>> md.learner("rnn-bptt", epochs=3).config()["epochs"]
        3
    """
    if name not in LEARNERS:
        raise UnknownNameError("learner", name, LEARNERS)
    module, attribute = LEARNERS[name].split(":")
    factory = getattr(import_module(module), attribute)
    accepted = inspect.signature(factory).parameters
    if unknown := sorted(set(options) - set(accepted)):
        raise UsageError(
            f"{name} has no option {unknown[0]!r}. It accepts: {', '.join(accepted) or 'none'}."
        )
    for option, value in options.items():
        _check(f"{name}: {option}", value, accepted[option].annotation)
    learner: Learner = factory(**options)
    return learner


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _check(what: str, value: object, annotation: object) -> None:
    """Refuse a value of another type, which could be estimated and then not run."""
    kinds = get_args(annotation) or (annotation,)
    fits = type(value) in kinds or (type(value) is int and float in kinds)
    if not fits and all(kind in (*_WORDS, NoneType) for kind in kinds):
        wanted = " or ".join(_WORDS.get(kind, "nothing") for kind in kinds)
        raise UsageError(f"{what} must be {wanted}, got {str(value)[:60]!r}.")
