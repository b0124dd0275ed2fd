"""JSON of doubtful origin: one object, no key twice, no number that is none."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from microdollar.errors import ModelFileError


def bad(
    path: Path, what: str, hint: str = "Build the model again, or name another folder."
) -> NoReturn:
    """Say what is wrong with a model's file: where, what, and what to type.

    Raises:
        ModelFileError: always.
    """
    raise ModelFileError(f"{path}: {what}. {hint}")


def show(value: object) -> str:
    """A value from a file, short and printable."""
    text = ascii(value) if not isinstance(value, int) or abs(value) < 2**64 else "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."


def json_object(path: Path, raw: bytes, what: str) -> dict[str, Any]:
    """Parse an object that has each key once and finite numbers only.

    Raises:
        ModelFileError: if ``raw`` is anything else; it names ``path`` and ``what``.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        json.dumps(value, ensure_ascii=False).encode()  # fails on half a surrogate pair
    except RecursionError:
        bad(path, f"{what} is nested too deeply")
    except ValueError as error:
        bad(path, f"{what} is not valid JSON ({show(str(error))})")
    if not isinstance(value, dict):
        bad(path, f"{what} is not a JSON object")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same key twice")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number beyond the range of a double")
    return value
