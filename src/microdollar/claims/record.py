"""What experiments gave: values by name, where and when they were measured, in one file each."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from microdollar.errors import SpecError
from microdollar.files import whole_file
from microdollar.spec.arithmetic import Interval

Values = Mapping[str, Interval | str]
"""By name: a number in base units with the ends of its spread, or why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One experiment that ran."""

    experiment: str
    key: str
    """Of its version, its seed and its data: another key is another measurement."""
    values: Values
    seconds: float
    """That it took; of one that was stopped and went on, the last part."""
    created_at: str
    machine: str
    command: str
    commit: str

    @property
    def said(self) -> str:
        """When, where and how, in one line."""
        return f"{self.created_at[:10]}, {self.machine}: {self.command}"


def write_record(record: Record, path: Path) -> None:
    """Write a record; the file is whole or what was there before."""
    with whole_file(path) as out:
        json.dump(asdict(record) | {"schema_version": 1}, out, indent=1, allow_nan=False)
        out.write("\n")


def read_record(text: str, where: str) -> Record:
    """A record out of its JSON.

    Args:
        text: of the file.
        where: its name, for errors.

    Raises:
        SpecError: if it is none.
    """
    try:
        found: dict[str, Any] = json.loads(text)
        if found.pop("schema_version") != 1:
            raise ValueError("another schema version")
        values = {name: _value(one) for name, one in found.pop("values").items()}
        record = Record(values=values, **found)
        texts = (record.experiment, record.key, record.created_at, record.machine, record.command)
        if not all(isinstance(one, str) for one in (*texts, record.commit)):
            raise TypeError("a field is no text")
        if not _is_number(record.seconds):
            raise TypeError("seconds is no number")
    # Deep nesting ends in a RecursionError, a whole number of many digits in an OverflowError.
    except (
        AttributeError,
        KeyError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise SpecError(
            f"{where} is no record of an experiment ({error!s:.80}). Delete it and run again."
        ) from None
    return record


def _value(found: object) -> Interval | str:
    if isinstance(found, str):
        return found
    if not isinstance(found, dict):
        raise TypeError("a value is neither a number nor a reason")
    interval = Interval(**found)
    if not all(map(_is_number, (interval.value, interval.low, interval.high))):
        raise ValueError("a value is not finite")
    return interval


def _is_number(found: object) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)


def recorded(experiment: str) -> Record | None:
    """The record that this package carries of an experiment; None if it carries none."""
    path = files("microdollar.claims").joinpath("recorded", f"{experiment}.json")
    if not path.is_file():
        return None
    return read_record(path.read_text("utf-8"), f"recorded/{experiment}.json")
