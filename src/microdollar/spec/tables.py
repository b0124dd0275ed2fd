"""From a TOML or JSON table to a frozen dataclass: every key known, every value of its type."""

import math
import reprlib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from microdollar.errors import SpecError, nearest

_Built = TypeVar("_Built")
_WORDS = {int: "a whole number", bool: "true or false", str: "a text", float: "a finite number"}


def build(cls: type[_Built], table: object, where: str, **given: object) -> _Built:
    """An instance of a dataclass from a table.

    Args:
        cls: the dataclass; values are checked against its annotations where these are numbers,
            texts, flags, choices, or any of them or None.
        table: its fields.
        where: what the table is called in errors, e.g. ``[train]``.
        **given: fields that were read already and taken out of the table.

    Raises:
        SpecError: if the table is none, has an unknown key or a value of another type, or lacks
            a field; also what the dataclass itself refuses.
    """
    values, kind = require_table(table, where), cast("type", cls)
    hints, required = _hints(kind), _required(kind)
    require_keys(values, list(hints), where)
    for name, value in values.items():
        require_type(hints[name], value, f"{where} {name}")
    missing = [name for name in required if name not in values and name not in given]
    if missing:
        raise SpecError(f"{where} has no {missing[0]}. Needed: {', '.join(required)}.")
    return cls(**values, **given)


def require_table(value: object, where: str) -> Mapping[str, Any]:
    """Check that a value is a table.

    Raises:
        SpecError: if it is anything else.
    """
    if not isinstance(value, Mapping):
        raise SpecError(f"{where} must be a table of fields, got {reprlib.repr(value)}.")
    return value


def require_tables(value: object, where: str) -> list[Mapping[str, Any]]:
    """Check that a value is a list of tables.

    Raises:
        SpecError: if it is anything else.
    """
    if not isinstance(value, list | tuple):
        raise SpecError(f"{where} must be a list of tables, got {reprlib.repr(value)}.")
    return [require_table(entry, f"{where}[{index}]") for index, entry in enumerate(value)]


def require_keys(table: Mapping[str, Any], known: list[str], where: str) -> None:
    """Check that a table has no key but the known ones.

    Raises:
        SpecError: naming the key and the nearest known ones.
    """
    for key in table:
        if key not in known:
            near = nearest(str(key), known)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise SpecError(
                f"{where} has an unknown key {reprlib.repr(key)}.{hint} "
                f"Accepted: {', '.join(known)}."
            )


def require_type(hint: Any, value: object, where: str) -> None:  # noqa: ANN401
    """Check a value against an annotation.

    Raises:
        SpecError: naming the field, its value and what is accepted.
    """
    words = _refusal(hint, value)
    if words:
        raise SpecError(f"{where} is {reprlib.repr(value)}. Accepted: {words}.")


def _refusal(hint: Any, value: object) -> str:  # noqa: ANN401
    """What would be accepted, empty if the value is."""
    if get_origin(hint) in (Union, types.UnionType):
        refusals = [_refusal(option, value) for option in get_args(hint)]
        return "" if "" in refusals else " or ".join(refusals)
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        known = any(type(value) is type(choice) and value == choice for choice in choices)
        return "" if known else ", ".join(map(str, choices))
    if hint is types.NoneType:
        return "" if value is None else "nothing"
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if number and _is_finite(value) else _WORDS[float]
    if hint is int:
        return "" if isinstance(value, int) and not isinstance(value, bool) else _WORDS[int]
    if hint in (bool, str):
        return "" if isinstance(value, hint) else _WORDS[hint]
    return ""


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:  # an integer that no float can hold
        return False


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


@cache
def _required(cls: type) -> tuple[str, ...]:
    return tuple(
        field.name
        for field in fields(cls)
        if field.default is MISSING and field.default_factory is MISSING
    )
