"""Rows of ``tables/*.toml``: sums of the document's numbers and of values of experiments.

A row has the fields of ``microdollar.claims.row.Claim`` and some of:

- ``own``: the document's own sum, in base units, of its own numbers;
- ``from``: experiments whose values ``ours``, readings and ``kept`` may name;
- ``ours``: our sum, in base units;
- ``how``: how ours was found, in words;
- ``reading``: tables of ``condition`` and ``ours``;
- ``kept``: a table of ``part``, ``what``, ``ours``, ``unit``, ``at`` and ``bound`` (a sum);
- ``takes``: what a check would take, if there is none of ours.
"""

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from microdollar.claims.documents import DOCUMENTS
from microdollar.claims.row import Claim, Finding, Kept, Reading
from microdollar.claims.world import World
from microdollar.errors import SpecError
from microdollar.spec.arithmetic import Interval, evaluate, names_in
from microdollar.spec.tables import build, require_table, require_tables

_OF_FINDING = ("own", "from", "ours", "how", "reading", "kept", "takes")


def table_rows(document: str, world: World) -> Iterator[tuple[Claim, Finding]]:
    """Rows of a document's tables, ``tables/DOCUMENT*.toml``, with what was found for each.

    Raises:
        SpecError: naming the row and the field that is wrong.
    """
    folder = files("microdollar.claims").joinpath("tables")
    for path in sorted(folder.iterdir(), key=lambda one: one.name):
        if path.name.startswith(document) and path.name.endswith(".toml"):
            yield from read_rows(path.read_text("utf-8"), path.name, world)


def read_rows(text: str, where: str, world: World) -> Iterator[tuple[Claim, Finding]]:
    """Rows of one file.

    Raises:
        SpecError: naming the row and the field that is wrong.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{where}: {error}") from error
    document = table.get("document")
    if document not in DOCUMENTS:
        raise SpecError(f"{where}: document {document!r:.40} is none of {', '.join(DOCUMENTS)}.")
    for row in require_tables(table.get("claims", []), f"{where} claims"):
        place = f"{where} {row.get('id', '?')}"
        try:
            yield _row(row, place, document, world)
        except SpecError as error:
            text = str(error)
            raise (error if place in text else SpecError(f"{place}: {text}")) from None


def _row(row: Mapping[str, Any], where: str, document: str, world: World) -> tuple[Claim, Finding]:
    fields = {name: value for name, value in row.items() if name not in _OF_FINDING}
    needs = tuple(fields.pop("needs", ["arithmetic"]))
    replaces = tuple(fields.pop("replaces", []))
    fields = {name: float(one) if _whole(one) else one for name, one in fields.items()}
    claim = build(Claim, fields | {"document": document}, where, needs=needs, replaces=replaces)
    names, reasons, measured = world.names(row.get("from", []))
    sums = _Sums(names, reasons)
    ours = sums.of(row.get("ours"))
    kept = row.get("kept")
    finding = Finding(
        how=row.get("how", "") or ("" if "own" not in row else f"its own sum: {row['own']}"),
        ours=ours if isinstance(ours, Interval) else None,
        reason=ours if isinstance(ours, str) else row.get("takes", ""),
        own=None if "own" not in row else evaluate(row["own"]).value,
        readings=tuple(_readings(row.get("reading", []), sums, where)),
        kept=None if kept is None else _kept(kept, sums, where),
        measured=measured,
    )
    if ours is None and finding.own is None and not finding.reason:
        raise SpecError(f"{where}: it has neither own, ours nor takes.")
    return claim, finding


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class _Sums:
    """Sums over the values that a row may name."""

    def __init__(self, names: Mapping[str, Interval], reasons: Mapping[str, str]) -> None:
        self._names, self._reasons = names, reasons

    def of(self, text: object) -> Interval | str | None:
        """The value, why there is none, or None if there is no sum."""
        if text is None:
            return None
        if not isinstance(text, str):
            raise SpecError(f"a sum is a text, got {text!r:.40}.")
        for name in sorted(names_in(text)):
            if name in self._reasons:
                return self._reasons[name]
        if "" in self._reasons and names_in(text) - self._names.keys():
            return self._reasons[""]
        return evaluate(text, self._names)


def _readings(tables: object, sums: _Sums, where: str) -> Iterator[Reading]:
    for table in require_tables(tables, f"{where} reading"):
        value = sums.of(table.get("ours"))
        if isinstance(value, Interval):
            yield Reading(condition=str(table["condition"]), value=value.value)


def _kept(table: object, sums: _Sums, where: str) -> Kept | None:
    fields = dict(require_table(table, f"{where} kept"))
    value, bound = sums.of(fields.pop("ours", None)), sums.of(fields.pop("bound", None))
    if not isinstance(value, Interval) or not isinstance(bound, Interval):
        return None
    return build(Kept, fields, f"{where} kept", value=value.value, bound=bound.value)
