"""A plan as a TOML file that ``microdollar estimate`` reads."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from microdollar.errors import UnknownNameError
from microdollar.spec.dump import model_to_table, plan_to_table
from microdollar.spec.model import ModelSpec
from microdollar.spec.model_catalog import catalog_model
from microdollar.spec.training import Layout, ServingPlan, TrainingPlan, TrainSpec

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def plan_toml(plan: TrainingPlan | ServingPlan) -> str:
    """A plan's TOML; models of the catalog are named, others written out in blocks.

    Fields that have their default are left out, but for sequence, batches and precision.
    """
    if isinstance(plan, TrainingPlan):
        table = plan_to_table(plan)
        table["train"] = _changed(table["train"], TrainSpec)
        table["others"] = [
            {**entry, "model": _model(other.model)}
            for entry, other in zip(table["others"], plan.others, strict=True)
        ]
        names = ("stack", "pue", "region", "train", "others")
        work = {name: table[name] for name in names if name in table}
    else:
        given = {field.name: getattr(plan, field.name) for field in fields(plan)}
        left_out = ("model", "device", "layout")
        work = {"serve": {key: value for key, value in given.items() if key not in left_out}}
    layout = {field.name: getattr(plan.layout, field.name) for field in fields(Layout)}
    parts = {
        "model": _model(plan.model),
        "device": plan.device,
        **work,
        "layout": _changed(layout, Layout),
    }
    return to_toml({key: value for key, value in parts.items() if value})


def _model(model: ModelSpec) -> str | dict[str, Any]:
    try:
        known = catalog_model(model.name)
    except UnknownNameError:
        known = None
    return model.name if known == model else model_to_table(model)


def _changed(table: Mapping[str, Any], cls: type[TrainSpec] | type[Layout]) -> dict[str, Any]:
    kept = ("precision", "optimizer")
    defaults = {field.name: field.default for field in fields(cls) if field.default is not MISSING}
    return {
        key: value
        for key, value in table.items()
        if value is not None and (key in kept or key not in defaults or value != defaults[key])
    }


def to_toml(table: Mapping[str, Any]) -> str:
    """A table of numbers, texts, flags, lists and tables as TOML text.

    None and empty lists are left out.

    Examples:
        >>> print(to_toml({"model": "gpt2", "train": {"sequence": 1024}}), end="")
        model = "gpt2"
        <BLANKLINE>
        [train]
        sequence = 1024
    """
    lines = list(_lines(table, ""))
    return "\n".join(lines).strip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: str) -> list[str]:
    plain = {k: v for k, v in table.items() if v not in (None, [], ()) and not _is_tables(v)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        here = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, Mapping):
            lines += ["", f"[{here}]", *_lines(value, here)]
        elif _is_tables(value):
            for entry in value:
                lines += ["", f"[[{here}]]", *_lines(entry, here)]
    return lines


def _is_tables(value: object) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and isinstance(value[0], Mapping)
    return isinstance(value, Mapping)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(entry) for entry in value)}]"
    return '"' + "".join(_escaped(char) for char in str(value)) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char < " " or "\x7f" <= char <= "\x9f":
        return f"\\u{ord(char):04x}"
    # A lone surrogate, which JSON can hold and UTF-8 can't.
    return "�" if "\ud800" <= char <= "\udfff" else char
