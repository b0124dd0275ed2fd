"""Ledger rows as JSON lines or CSV, and JSON lines from elsewhere as rows.

A JSON line is one row with every field, so it can be appended to another ledger. CSV is
for spreadsheets and data frames: one line a row, the unit in every column's name, an empty
cell where a number is missing and the reason beside it.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from io import StringIO
from typing import Any, NoReturn, TextIO

from microdollar.cost import Cost
from microdollar.errors import LedgerError
from microdollar.ledger.record import Record, canonical

SCHEMA_VERSION = 1
"""Of a JSON line; grows when a key changes its meaning or goes away."""
MAX_LINE_CHARACTERS = 2**22
MAX_CHARACTERS = 2**28

_PARTS = ("", "_low", "_high", "_basis", "_reason")


def row_to_json(record: Record) -> dict[str, Any]:
    """A row with its number, its content hash and every field."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": record.id,
        "content_hash": record.content_hash(),
        **record.to_json(),
    }


def to_json_lines(records: Iterable[Record]) -> Iterator[str]:
    """One line a row, each with its line feed."""
    return (
        json.dumps(row_to_json(record), ensure_ascii=False, allow_nan=False) + "\n"
        for record in records
    )


def to_csv(records: Iterable[Record]) -> Iterator[str]:
    """A header line and one line a row (RFC 4180, with line feeds).

    Scores get a column for each name that occurs in any of the rows; plan, device, versions
    and assumptions are JSON in one cell.
    """
    rows = [_flat(record) for record in records]
    scores = sorted({name for row in rows for name in row if name.startswith("score_")})
    columns = [*_COLUMNS, *scores, *_JSON_COLUMNS]
    for row in ({name: name for name in columns}, *rows):
        line = StringIO()
        csv.DictWriter(line, columns, lineterminator="\n").writerow(row)
        yield line.getvalue()


def read_json_lines(file: TextIO) -> list[Record]:
    """Rows of JSON lines that this or another machine wrote; empty lines are skipped.

    Raises:
        LedgerError: naming the first line that is too long, no JSON, no row, from a newer
            microdollar, or changed since it was exported.
    """
    records: list[Record] = []
    number = total = 0
    while True:
        number += 1
        try:
            line = file.readline(MAX_LINE_CHARACTERS + 1)
            total += len(line)
            if len(line) > MAX_LINE_CHARACTERS or total > MAX_CHARACTERS:
                raise LedgerError("more text than rows of a ledger have")
            if not line:
                return records
            if line.strip():
                records.append(_parse(line))
        except RecursionError as error:
            raise _at_line(number, "nested too deeply") from error
        except (LedgerError, ValueError, OSError) as error:
            raise _at_line(number, str(error)[:300]) from error


def _at_line(number: int, what: str) -> LedgerError:
    return LedgerError(
        f"line {number}: {what}. Nothing was imported; export the rows again with "
        "microdollar ledger export."
    )


def _parse(line: str) -> Record:
    data = json.loads(line, parse_constant=_refuse_constant)
    if not isinstance(data, dict):
        raise LedgerError("a row must be a JSON object")
    version = data.pop("schema_version", SCHEMA_VERSION)
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise LedgerError(f"schema_version {str(version)[:20]} is not known here")
    data.pop("id", None)
    stated = data.pop("content_hash", None)
    record = Record.from_json(data)
    if stated is not None and stated != record.content_hash():
        raise LedgerError("it was changed since it was exported (its content_hash differs)")
    return record


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


_JSON_COLUMNS = ("plan_json", "device_json", "assumptions_json", "versions_json")
_COLUMNS = (
    *("id", "content_hash", "started_at", "learner", "device", "git", "note"),
    *(
        f"{phase}_{field.name}{part}"
        for phase in ("predicted", "measured")
        for field in fields(Cost)
        for part in _PARTS
    ),
    *(f"measured_{name}_coverage" for name in ("flops", "int_ops")),
)


def _flat(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": record.id,
        "content_hash": record.content_hash(),
        "started_at": record.started_at,
        "learner": record.learner,
        "device": record.device_name,
        "git": record.git,
        "note": record.note,
        "plan_json": canonical(record.plan),
        "device_json": canonical(record.device),
        "assumptions_json": canonical(record.to_json()["assumptions"]),
        "versions_json": canonical(record.versions),
    }
    for phase, cost in (("predicted", record.predicted), ("measured", record.measured)):
        for name, quantity in cost.items() if cost else ():
            parts = (quantity.value, quantity.low, quantity.high, quantity.basis, quantity.reason)
            row |= {f"{phase}_{name}{p}": v for p, v in zip(_PARTS, parts, strict=True)}
            if phase == "measured" and name in ("flops", "int_ops"):
                row[f"measured_{name}_coverage"] = quantity.coverage
    for name, value in record.scores.items():
        row[f"score_{name}"] = value
        row[f"score_{name}_reason"] = record.score_reasons.get(name)
    return row
