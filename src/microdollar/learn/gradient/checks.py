"""What the options of the LSTM and the GPT must keep to, and the text that they need."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from microdollar.errors import CorpusError, MissingExtraError, UsageError

SMALLEST = 2
"""Bytes of the shortest text with something to predict."""
PRODUCTS = ("float32", "bfloat16")


def check(learner: Any, *, counts: tuple[str, ...]) -> None:  # noqa: ANN401
    """Refuse an option out of range; ``counts`` names whole numbers beyond those of both.

    Raises:
        UsageError: names the option and its value.
    """
    for option in (*counts, "steps", "batch", "threads"):
        if getattr(learner, option) < 1:
            raise UsageError(f"{option} must be at least 1, got {getattr(learner, option)}.")
    for option in ("warm_up_steps", "validations", "weight_decay"):
        if not 0 <= getattr(learner, option) < float("inf"):
            raise UsageError(f"{option} must be 0 or more, got {getattr(learner, option)}.")
    for option in ("learning_rate", "clip"):
        if not 0 < getattr(learner, option) < float("inf"):
            value = getattr(learner, option)
            raise UsageError(f"{option} must be above 0 and finite, got {value}.")
    check_chance("dropout", learner.dropout)
    if learner.products not in PRODUCTS:
        raise UsageError(f"products must be {' or '.join(PRODUCTS)}, got {learner.products!r}.")
    if not 0 <= learner.seed < 2**62:
        raise UsageError(f"seed must be within 0 and 2**62 - 1, got {learner.seed}.")


def check_chance(option: str, value: float) -> None:
    """Refuse a chance of 1 or more, which would leave nothing.

    Raises:
        UsageError: names the option and its value.
    """
    if not 0 <= value < 1:
        raise UsageError(f"{option} must be at least 0 and below 1, got {value}.")


def need(data_bytes: int) -> None:
    """Refuse a text with nothing to predict.

    Raises:
        CorpusError: if there are fewer than two bytes.
    """
    if data_bytes < SMALLEST:
        raise CorpusError(
            f"{data_bytes} byte{'s' * (data_bytes != 1)} of training text: there is nothing to "
            f"predict. Give at least {SMALLEST}."
        )


@contextmanager
def torch_needed(purpose: str = "training a network") -> Iterator[None]:
    """Around an import of torch: says what to install where there is none.

    Raises:
        MissingExtraError: if torch is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("torch", "torch", purpose) from error
