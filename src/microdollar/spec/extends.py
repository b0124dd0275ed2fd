"""``extends``: a plan that is another plan with some of its tables changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microdollar.errors import SpecError, UnknownNameError
from microdollar.spec.model_catalog import parse_toml
from microdollar.spec.tables import require_type

KINDS = ("train", "serve", "learner")
"""A plan has one of these."""
DEEPEST = 8
"""Plans that one plan may extend, one through the other."""
_MERGED = ("train", "layout", "serve", "data", "options")
"""Tables whose keys are replaced one by one; every other key as a whole."""
_BELONG = {
    "train": ("layout", "others", "stack", "pue", "region"),
    "serve": ("layout",),
    "learner": ("data", "options"),
}


def extended(
    table: Mapping[str, Any], folder: Path | None, shipped: Mapping[str, Path]
) -> dict[str, Any]:
    """A plan's table with what it extends filled in; where both have a key, its own counts.

    Args:
        table: as parsed from TOML.
        folder: where its relative paths start; the current one if None.
        shipped: plans of the package by name, which ``extends`` may name.

    Raises:
        UnknownNameError: if there is no such plan.
        SpecError: if plans extend each other in a circle, or too many.
    """
    chain, seen, here = [dict(table)], list[Path](), folder
    while "extends" in chain[-1]:
        name = chain[-1].pop("extends")
        require_type(str, name, "extends")
        path = _path(name, here, shipped)
        if path in seen:
            raise SpecError(f"extends {name!r:.100} leads back to itself.")
        if len(seen) == DEEPEST:
            raise SpecError(f"extends {name!r:.100} is one too many, at most {DEEPEST}.")
        seen.append(path)
        here = path.parent
        chain.append(_anchored(parse_toml(path), here))
    found = chain.pop()
    while chain:
        found = _over(chain.pop(), found)
    return found


def refuse_files(table: Mapping[str, Any]) -> None:
    """Check that a plan extends none but those of the package, which name no file.

    Raises:
        SpecError: if it names a file.
    """
    name = table.get("extends")
    if isinstance(name, str) and is_path(name):
        raise SpecError(f"extends {name!r:.100} is a file. Here it is the name of a plan.")


def is_path(text: str) -> bool:
    """Whether a text is meant as a path: a bare name is the catalog's."""
    plain = "\0" not in text and len(text) < 1000
    return plain and ("/" in text or text.casefold().endswith((".json", ".toml")))


def _path(name: str, folder: Path | None, shipped: Mapping[str, Path]) -> Path:
    if not is_path(name):
        if name.strip().casefold() not in shipped:
            raise UnknownNameError("plan", name[:200], shipped, hint="Or give a TOML file.")
        return shipped[name.strip().casefold()].resolve()
    if not name.casefold().endswith(".toml"):
        raise SpecError(f"extends {name!r:.100} is no TOML file.")
    return ((folder or Path()) / name).resolve()


def _anchored(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same with absolute paths, for a plan in another folder.

    What a document says is of its own plan, not of one that is changed: it stays behind.
    """
    found = {key: value for key, value in table.items() if key != "document"}
    if "model" in found:
        found["model"] = _absolute(found["model"], folder)
    if isinstance(found.get("others"), list):
        found["others"] = [
            {**other, "model": _absolute(other["model"], folder)}
            if isinstance(other, Mapping) and "model" in other
            else other
            for other in found["others"]
        ]
    return found


def _absolute(model: object, folder: Path) -> object:
    if isinstance(model, str) and is_path(model):
        path = folder / model
        if path.is_file() or (path / "config.json").is_file():
            return str(path)
    return model


def _over(own: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(base)
    mine = [kind for kind in KINDS if kind in own]
    if mine:  # what makes it another kind of plan replaces all that was of the old one
        for kind in set(KINDS) - set(mine):
            if kept.pop(kind, None) is not None:
                for key in set(_BELONG[kind]) - set(_BELONG[mine[0]]):
                    kept.pop(key, None)
    for key, value in own.items():
        before = kept.get(key)
        if key in _MERGED and isinstance(value, Mapping) and isinstance(before, Mapping):
            kept[key] = {**before, **value}
        else:
            kept[key] = value
    return kept
