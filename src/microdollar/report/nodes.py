"""JSON from a stranger: read with bounds, and looked at field by field with the path in errors."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from microdollar.errors import MicrodollarError

MAX_FILE_BYTES = 16_000_000
MAX_ITEMS = 200_000
"""Numbers, strings, lists and objects in one file."""
MAX_DEPTH = 12
MAX_TEXT = 20_000
"""Characters of one string."""
MAX_NUMBER = 1e60
"""Largest number, and one over the smallest that is not zero."""
MAX_LIST = 1_000
"""Assumptions, notes and steps of one breakdown."""


class ResultsError(MicrodollarError):
    """Results that are truncated, foreign, hostile or from another version."""


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Any JSON file of at most ``MAX_FILE_BYTES``; NaN and infinities are refused.

    Raises:
        ResultsError: if it can't be read, is too large or is not such JSON.
    """
    return _parsed(_bytes(path), str(path))


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ResultsError(
            f"can't read {path}: {why}. "
            "Type: microdollar demo --out demo, which writes demo/results.json."
        ) from error
    if len(text) > MAX_FILE_BYTES:
        raise ResultsError(f"{path} has more than {MAX_FILE_BYTES:,} bytes, so it is no results.")
    return text


def _parsed(text: bytes, name: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ResultsError(f"{name} nests too deep to be results of microdollar.") from error
    except ValueError as error:
        raise ResultsError(f"{name} is not JSON ({error}). Run what wrote it again.") from error


def read_json_lines(path: Path) -> list[Any]:
    """A file with a JSON value on each line, as ``read_json`` reads one.

    Raises:
        ResultsError: if it can't be read, is too large, or a line is not such JSON.
    """
    found = []
    for number, line in enumerate(_bytes(path).splitlines(), 1):
        if line.strip():
            found.append(_parsed(line, f"line {number} of {path}"))
    return found


class Node:
    """A JSON object and the path that leads to it; each method refuses what is not of its type."""

    __slots__ = ("data", "path")

    def __init__(self, data: object, path: str) -> None:
        if not isinstance(data, dict):
            raise ResultsError(f"{path}: want an object, got {_kind(data)}")
        self.data: dict[str, Any] = data
        self.path = path

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise with the path of a field."""
        raise ResultsError(f"{self.path}.{clean(key)[:80]}: {problem}")

    def value(self, key: str) -> object:
        """Whatever it is; a key that is missing is an error."""
        if key not in self.data:
            self.fail(key, "missing")
        return self.data[key]

    def child(self, key: str) -> "Node":
        """An object within."""
        return Node(self.value(key), f"{self.path}.{key}")

    def children(self, key: str, limit: int) -> list["Node"]:
        """A list of objects, at most so many."""
        items = self._list(key, limit)
        return [Node(item, f"{self.path}.{key}[{i}]") for i, item in enumerate(items)]

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        items = self._list(key, MAX_LIST)
        for i, item in enumerate(items):
            if not isinstance(item, str):
                self.fail(f"{key}[{i}]", f"want text, got {_kind(item)}")
        return [clean(item) for item in items]

    def _list(self, key: str, limit: int) -> list[Any]:
        items = self.value(key)
        if not isinstance(items, list):
            self.fail(key, f"want a list, got {_kind(items)}")
        if len(items) > limit:
            self.fail(key, f"has {len(items):,} entries, at most {limit:,} are accepted")
        return items

    def text(self, key: str) -> str:
        """A text, without what can't be printed."""
        value = self.value(key)
        if not isinstance(value, str):
            self.fail(key, f"want text, got {_kind(value)}")
        return clean(value)

    def text_or_none(self, key: str) -> str | None:
        """A text, or null."""
        return None if self.value(key) is None else self.text(key)

    def integer(self, key: str) -> int:
        """A whole number from 0 to 2**63 - 1."""
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
            self.fail(key, f"want a whole number from 0 to 2**63 - 1, got {_kind(value)}")
        return value

    def number_or_none(self, key: str) -> float | None:
        """A number that is not negative, or null."""
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            self.fail(key, f"want a number that is not negative, or null; got {_kind(value)}")
        return self._within(key, value)

    def real_or_none(self, key: str) -> float | None:
        """Any finite number, or null."""
        value = self.value(key)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            self.fail(key, f"want a number or null, got {_kind(value)}")
        return None if value is None else self._within(key, value)

    def _within(self, key: str, value: float) -> float:
        # Beyond this, products and axes of logarithms leave what a float holds.
        if value and not 1 / MAX_NUMBER <= abs(value) <= MAX_NUMBER:
            self.fail(key, f"{_kind(value)} is no number that anything here can cost")
        return value

    def positive(self, key: str) -> float:
        """A number above zero."""
        value = self.number_or_none(key)
        if not value:
            self.fail(key, f"want a number above zero, got {_kind(value)}")
        return float(value)

    def span(self, key: str) -> tuple[int, int] | None:
        """First byte and the byte after the last one, or null."""
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 2 or not all(type(v) is int for v in value):
            self.fail(key, "want two whole numbers: the first byte, and the one after the last")
        if not 0 <= value[0] <= value[1]:
            self.fail(key, f"want 0 <= start <= end, got {value[0]} and {value[1]}")
        return value[0], value[1]


def check_size(data: object) -> None:
    """Refuse more values, deeper nesting or longer texts than results have.

    Raises:
        ResultsError: if there are.
    """
    # Without recursion, so that deep nesting ends in an error and not in a full stack.
    count = 0
    stack: list[Iterator[object]] = [iter([data])]
    while stack:
        item = next(stack[-1], stack)
        if item is stack:
            stack.pop()
            continue
        count += 1
        if count > MAX_ITEMS or len(stack) > MAX_DEPTH:
            raise ResultsError(
                f"results hold more than {MAX_ITEMS:,} values or nest deeper than {MAX_DEPTH}, "
                "which no comparison writes."
            )
        if isinstance(item, dict):
            if not all(isinstance(key, str) and len(key) <= MAX_TEXT for key in item):
                raise ResultsError(f"keys must be text of at most {MAX_TEXT:,} characters.")
            stack.append(iter(item.values()))
        elif isinstance(item, list):
            stack.append(iter(item))
        elif isinstance(item, str):
            if len(item) > MAX_TEXT:
                raise ResultsError(f"a text has {len(item):,} characters, at most {MAX_TEXT:,}.")
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise ResultsError(f"{item} is not a number that JSON can hold.")
        elif isinstance(item, int):
            if abs(item) > 10**300:
                raise ResultsError("a whole number has more than 300 digits.")
        elif item is not None:
            raise ResultsError(f"{_kind(item)} can't be in results: only what JSON can hold.")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


def clean(text: str) -> str:
    """Text without what can't be printed."""
    # Control characters and lone surrogates (file names can hold them) can't be printed.
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    if value is None:
        return "null"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.6g}" if abs(value) < 10**300 else "a very large number"
    return names.get(type(value), type(value).__name__)
