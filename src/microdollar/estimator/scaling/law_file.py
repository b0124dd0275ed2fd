"""Laws as JSON: what ``scaling fit -o`` writes and ``scaling predict`` reads."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microdollar.errors import UsageError
from microdollar.estimator.scaling.bootstrap import MOST_REPEATS
from microdollar.estimator.scaling.forms import FORMS, make_form
from microdollar.estimator.scaling.law import Interval, Law
from microdollar.estimator.scaling.points import AXES, UNITS

MOST_BYTES = 50_000_000
KIND = "microdollar scaling laws"
VERSION = 1
_MOST_LAWS = 1000
_LARGEST = 1e308


def to_json(law: Law) -> dict[str, Any]:
    """A plain dictionary of everything, the resampled fits too."""
    return {
        "name": law.name,
        "form": law.form.name,
        "irreducible": law.form.irreducible,
        "formula": law.form.formula,
        "parameters": dict(law.parameters),
        "intervals": {
            name: [interval_json(one) for one in law.intervals(name)]
            for name in law.form.parameters
        },
        "unit": law.unit,
        "source": law.source,
        "points": law.points,
        "ranges": {axis: list(ends) for axis, ends in law.ranges.items()},
        "residual_scale": law.residual_scale,
        "huber_delta": law.huber_delta,
        "flops_per_param_token": law.flops_per_param_token,
        "flops_per_token": law.flops_per_token,
        "resampled": law.resampled,
        "draws": [[float(f"{value:.8g}") for value in draw] for draw in law.draws],
    }


def interval_json(interval: Interval) -> dict[str, float]:
    """``level``, ``low`` and ``high``."""
    return {"level": interval.level, "low": interval.low, "high": interval.high}


def file_json(laws: list[Law]) -> dict[str, Any]:
    """The content of a file of laws."""
    return {"kind": KIND, "version": VERSION, "laws": [to_json(law) for law in laws]}


def read_laws(path: Path) -> dict[str, Law]:
    """Laws of a file, by name.

    Raises:
        UsageError: if it is no file of laws; says what is wrong.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"can't read {path} ({error.strerror}).") from error
    except ValueError as error:
        raise UsageError(f"can't read a file of that name ({error}).") from error
    if len(raw) > MOST_BYTES:
        raise UsageError(f"{path} is larger than {MOST_BYTES // 10**6} MB: no file of laws.")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is not JSON ({str(error)[:80]}). Write it again: scaling fit -o {path.name}"
        ) from error
    if not isinstance(data, dict) or data.get("kind") != KIND or data.get("version") != VERSION:
        raise UsageError(f"{path} is no file of scaling laws. Write one: scaling fit FILE -o LAW")
    laws = data.get("laws")
    if not isinstance(laws, list) or not 0 < len(laws) <= _MOST_LAWS:
        raise UsageError(f"{path}: 'laws' is not a list of laws.")
    found: dict[str, Law] = {}
    for place, law in enumerate(laws):
        try:
            read = from_json(law)
        except UsageError as error:
            raise UsageError(f"{path}, law {place}: {error}") from error
        if read.name in found:
            raise UsageError(f"{path}: two laws have the name {read.name[:60]!r}.")
        found[read.name] = read
    return found


def from_json(data: object) -> Law:
    """The inverse of ``to_json``, for data of doubtful origin.

    Raises:
        UsageError: naming the first key that is missing or has an impossible value.
    """
    if not isinstance(data, dict):
        raise UsageError("it is not an object.")
    name, source, unit = (_text(data, key) for key in ("name", "source", "unit"))
    if unit not in UNITS:
        raise UsageError(f"'unit' {unit[:60]!r} is none of {', '.join(UNITS)}.")
    form_name, irreducible = _text(data, "form"), data.get("irreducible")
    if form_name not in FORMS or not isinstance(irreducible, bool):
        raise UsageError(f"'form' {form_name[:60]!r} or 'irreducible' is not known.")
    form = make_form(form_name, irreducible=irreducible)
    parameters = data.get("parameters")
    if not isinstance(parameters, dict) or set(parameters) != set(form.parameters):
        raise UsageError(f"'parameters' are not {', '.join(form.parameters)}.")
    draws = data.get("draws")
    if not isinstance(draws, list) or len(draws) > MOST_REPEATS:
        raise UsageError(f"'draws' is not a list of at most {MOST_REPEATS:,} fits.")
    for draw in draws:
        if not isinstance(draw, list) or len(draw) != len(form.parameters):
            raise UsageError(f"'draws' has a fit that is not {len(form.parameters)} numbers.")
    return Law(
        form=form,
        parameters={key: _positive(parameters[key], key) for key in form.parameters},
        unit=unit,
        name=name,
        source=source,
        points=int(_number(data.get("points"), "points")),
        ranges=_ranges(data.get("ranges")),
        residual_scale=_number(data.get("residual_scale"), "residual_scale"),
        huber_delta=_number(data.get("huber_delta"), "huber_delta"),
        flops_per_param_token=_positive(data.get("flops_per_param_token"), "flops_per_param_token"),
        flops_per_token=None
        if data.get("flops_per_token") is None
        else _positive(data["flops_per_token"], "flops_per_token"),
        resampled=_text(data, "resampled"),
        draws=tuple(tuple(_positive(value, "draws") for value in draw) for draw in draws),
    )


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or len(value) > 1000:
        raise UsageError(f"{key!r} is not text.")
    return value


def _number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{key!r} is not a number.")
    if not 0 <= value <= _LARGEST or not math.isfinite(value):
        raise UsageError(
            f"{key!r} is {str(value)[:20]}, which is not a finite number of 0 or more."
        )
    return float(value)


def _positive(value: object, key: str) -> float:
    number = _number(value, key)
    if number == 0:
        raise UsageError(f"{key!r} is 0, not a positive number.")
    return number


def _ranges(data: object) -> dict[Any, tuple[float, float]]:
    if not isinstance(data, dict) or not set(data) <= set(AXES):
        raise UsageError(f"'ranges' are not those of {', '.join(AXES)}.")
    found = {}
    for axis, ends in data.items():
        if not isinstance(ends, list) or len(ends) != 2:
            raise UsageError(f"the range of {axis} is not two numbers.")
        low, high = (_positive(end, axis) for end in ends)
        if low > high:
            raise UsageError(f"the range of {axis} ends before it begins.")
        found[axis] = (low, high)
    return found
