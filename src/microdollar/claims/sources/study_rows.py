"""Rows of ``study.toml``: which numbers of the study the document prints, in words."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from microdollar.learn.study.rows import Measure
from microdollar.spec.tables import build, require_tables

Key = tuple[str, str]
"""Experiment of the study and row of it."""
_UNITS: dict[Measure, str] = {"bits": "bits/byte", "share": "%"}
_ENDS: dict[str, Measure] = {
    "distinct codes": "codes",
    "codes right": "share",
    "bytes right": "share",
    "decorrelation at d = 1": "share",
    "stretch of a step": "stretch",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Another way in which a printed number may come about."""

    only: str
    """What has to be so."""
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """What keeps the promise of a row: its figure has to reach the printed number."""

    part: str
    """Of this package."""
    what: str
    """What the figure is of."""
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One printed number."""

    id: str
    """Without the document."""
    key: Key
    says: str
    section: str = ""
    """All places; that of the published number if empty."""
    note: str = ""
    """May name values in braces."""
    only: str = ""
    """What has to be so for the row of the study to be what is printed."""
    also: tuple[Way, ...] = ()
    repeats: tuple[Key, ...] = ()
    """Where the document prints the same number of the same thing again."""
    unknown: str = ""
    """Why ours is none of the same thing, and what it would take."""
    kept: Keeper | None = None

    @property
    def measure(self) -> Measure:
        """What the number is of."""
        if self.key[0] == "weights":
            return "correlation"
        return next((what for end, what in _ENDS.items() if self.key[1].endswith(end)), "bits")

    @property
    def unit(self) -> str:
        """Of the claim."""
        return _UNITS.get(self.measure, "")

    @property
    def trained(self) -> bool:
        """Whether the published weights enter it, so that ours can be other ones."""
        return self.key[0] in ("weights", "substitution", "dynamics") or "trained" in self.key[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence that says which of two is better."""

    id: str
    text: str
    """As in ``microdollar.learn.study.published.COMPARISONS``."""
    says: str
    section: str = ""
    note: str = ""


@cache
def printed_rows() -> tuple[Row, ...]:
    """Every printed number, in the order of the study."""
    return tuple(_row(table) for table in require_tables(_file()["rows"], "study.toml rows"))


@cache
def sentences() -> tuple[Sentence, ...]:
    """Every sentence that compares two."""
    tables = require_tables(_file()["sentences"], "study.toml sentences")
    return tuple(build(Sentence, dict(table), "study.toml sentences") for table in tables)


def _file() -> dict[str, Any]:
    path = files("microdollar.claims.sources").joinpath("study.toml")
    return tomllib.loads(path.read_text("utf-8"))


def _row(table: Mapping[str, Any]) -> Row:
    where, fields = f"study.toml {table['id']}", dict(table)
    kept = fields.pop("kept", None)
    also = fields.pop("also", [])
    return build(
        Row,
        {name: value for name, value in fields.items() if name not in ("key", "repeats")},
        where,
        key=_key(table["key"]),
        repeats=tuple(map(_key, table.get("repeats", []))),
        also=tuple(Way(only=one["only"], key=_key(one["key"])) for one in also),
        kept=None if kept is None else Keeper(**{**kept, "key": _key(kept["key"])}),
    )


def _key(names: list[str]) -> Key:
    experiment, row = names
    return experiment, row
