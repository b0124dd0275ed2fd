"""The model catalog: shapes of published models, each checked against its published count.

Models are looked up by name, by alias or by the last part of a hub name
(``meta-llama/Llama-3.1-8B``), in any case. The documents' own models are there too.
"""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from microdollar.errors import SpecError, UnknownNameError
from microdollar.spec.blocks import model_from_table
from microdollar.spec.hf import read_config, read_text
from microdollar.spec.model import ModelSpec


def load_model_spec(name_or_path: str | Path) -> ModelSpec:
    """The model of that name, or in that file or folder.

    Args:
        name_or_path: a name or alias of the catalog, a ``config.json``, a folder that has one,
            or a TOML file (a ``[model]`` table, or its fields at the top).

    Returns:
        Its sizes, layer by layer.

    Raises:
        UnknownNameError: if the catalog has no such model and there is no such path.
        SpecError: if the file holds no model.

    Examples:
        >>> load_model_spec("GPT2-small").name
        'gpt2'
    """
    text, path = str(name_or_path).strip(), Path(name_or_path)
    there = _exists(path)
    found = None if there and "/" in text else _find(text.casefold())
    if found is not None:
        return found
    if there or path.suffix.casefold() in (".json", ".toml"):
        return _read(path)
    raise _unknown(text, "Or give a config.json, its folder or a TOML file.")


def catalog_model(name: str) -> ModelSpec:
    """The model of that name or alias in the catalog; looks at no other file.

    Raises:
        UnknownNameError: if the catalog has no such model.

    Examples:
        >>> catalog_model("openai-community/gpt2").layers
        12
    """
    found = _find(name.strip().casefold())
    if found is None:
        raise _unknown(name, "Type: microdollar estimate --list-models")
    return found


def list_model_specs() -> tuple[ModelSpec, ...]:
    """Every model of the catalog, by file and in its order."""
    return tuple(_model(file, name) for file in _files() for name in _names(file))


def model_aliases() -> dict[str, tuple[str, ...]]:
    """Other names of each model, by name."""
    return {
        name: tuple(_rows(file)[name].get("aliases", ()))
        for file in _files()
        for name in _names(file)
    }


def parse_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        SpecError: if it can't be read or is no TOML.
    """
    import tomllib

    text = read_text(file)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise SpecError(f"{file} is not TOML: {reason}.") from error


def _unknown(name: str, hint: str) -> UnknownNameError:
    known = [known for file in _files() for known in _rows(file)]
    return UnknownNameError("model", name[:200], known, hint=hint)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _read(path: Path) -> ModelSpec:
    if path.suffix.casefold() != ".toml":
        return read_config(path)
    tables = parse_toml(path)
    where = f"{path} [model]" if "model" in tables else str(path)
    return model_from_table(tables.get("model", tables), name=path.stem, where=where)


def _find(name: str) -> ModelSpec | None:
    """The model by its folded name, or by the part after the last slash."""
    names = (name, name.rsplit("/", 1)[-1])
    # Most models are in the file of their first letters, so one small file is read, not all.
    first = re.match("[a-z]*", names[-1])
    likely = [file for file in _files() if first and file.stem == first[0]]
    for file in dict.fromkeys((*likely, *_files())):
        for wanted in names:
            if wanted in _rows(file):
                return _model(file, _rows(file)[wanted]["name"])
    return None


@cache
def _files() -> tuple[Path, ...]:
    return tuple(sorted((Path(__file__).parent / "catalog" / "models").glob("*.toml")))


@cache
def _tables(file: Path) -> dict[str, Any]:
    return parse_toml(file)


@cache
def _rows(file: Path) -> dict[str, dict[str, Any]]:
    """The rows of one file by name and by alias."""
    rows = _tables(file)["model"]
    return {name: row for row in rows for name in (row["name"], *row.get("aliases", ()))}


def _names(file: Path) -> list[str]:
    return [row["name"] for row in _tables(file)["model"]]


@cache
def _model(file: Path, name: str) -> ModelSpec:
    row, sources = _rows(file)[name], _tables(file).get("sources", {})
    keys = (row.get("parameters_source"), row.get("tokens_source"))
    words = (row.get("source"), *(sources[key] for key in keys if key))
    model = model_from_table(row["config"], name=name, where=f"catalog {name}")
    return replace(
        model,
        published_parameters=row.get("parameters"),
        published_tokens=row.get("tokens"),
        source="; ".join(word for word in words if word),
    )
