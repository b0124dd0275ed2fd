"""``microdollar doctor``: what is installed, what can be measured, and what is broken here."""

import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import click

from microdollar.cli.errors import EXTRAS
from microdollar.cli.options import json_option, print_json
from microdollar.errors import CheckFailedError, MicrodollarError
from microdollar.units import format_bytes, format_seconds

CORE = ("click", "numpy", "rich")
NEEDED_FOR = {
    "numba": "building and scoring from counts, calibrate",
    "llvmlite": "building and scoring from counts, calibrate",
    "pooch": "downloading enwik8",
    "pyppmd": "comparing with PPMd",
    "safetensors": "saving and loading models",
    "threadpoolctl": "learning from counts, calibrate",
    "torch": "the trained baselines",
    "jinja2": "the HTML report",
    "matplotlib": "the figures of the report",
    "pyarrow": "Parquet files",
    "flwr": "learning concepts together",
    "cryptography": "learning concepts together",
    "httpx": "learning concepts together",
    "starlette": "the planner page",
    "uvicorn": "the planner page",
    "h11": "the planner page",
    "transformers": "sentence encoders, SmolLM2",
    "tokenizers": "sentence encoders, tokens of other models",
    "gguf": "SmolLM2 as a scorer or a reader",
    "rouge_score": "ROUGE in tokens eval",
    "sacrebleu": "BLEU and chrF in tokens eval",
    "sentence_transformers": "sentence encoders by name",
    "faiss": "an index of many concepts",
    "model2vec": "distilling a sentence encoder",
}
"""What each optional package is for."""
APART = {"sentence_transformers": "pip install sentence-transformers"}
"""What to type for a package that no extra brings."""
DISTRIBUTIONS = {"faiss": "faiss-cpu"}
"""Where a package's name is not that by which it is installed."""


@click.command(short_help="What is installed and what works here.")
@json_option
def doctor(as_json: bool) -> None:
    """Show what is installed, what can be measured and where things are kept.

    Ends with exit code 3 if something that a command needs is broken. An optional package that
    is not installed is not broken: the line to type is shown.
    """
    found = examine()
    if as_json:
        print_json(found)
    else:
        for line in _lines(found):
            click.echo(line)
    if problems := found["problems"]:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckFailedError(f"{problems[0]}{more}")


def examine() -> dict[str, Any]:
    """Everything that ``doctor`` prints; ``problems`` is what makes it fail."""
    from microdollar.measure.machine import describe

    machine = describe()
    packages = [_package(name) for name in (*CORE, *EXTRAS)]
    found: dict[str, Any] = {
        "microdollar": metadata.version("microdollar"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": machine.name,
        "cores": machine.cores,
        "memory_bytes": machine.memory_bytes,
        "packages": packages,
        "sensors": _sensors(),
        "calibration": _calibration(),
        "ledger": _ledger(),
        "folders": [_folder(what, path) for what, path in _folders()],
    }
    parts = [*packages, found["calibration"], found["ledger"], *found["folders"]]
    return {**found, "problems": [part["problem"] for part in parts if part["problem"]]}


def _package(name: str) -> dict[str, Any]:
    """Version of a package; a problem if it is there and can't be imported, or must be there."""
    row: dict[str, Any] = {
        "name": name,
        "version": None,
        "needed_for": "every command" if name in CORE else NEEDED_FOR[name],
        "install": None,
        "problem": None,
    }
    extra = EXTRAS.get(name)
    install = f"pip install 'microdollar[{extra}]'" if extra else "pip install microdollar"
    install = APART.get(name, install)
    try:
        version = metadata.version(DISTRIBUTIONS.get(name, name))
    except metadata.PackageNotFoundError:
        problem = None if extra else f"{name} is not installed. Type: {install}"
        return {**row, "install": install, "problem": problem}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module(name)
    except Exception as error:  # whatever a broken package raises
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        problem = f"{name} {version} can't be imported: {reason}. Type: {install}"
        return {**row, "version": version, "install": install, "problem": problem}
    return {**row, "version": version}


def _sensors() -> list[dict[str, Any]]:
    """The energy counters that are known, and why one can't be read; no reason if it can."""
    from microdollar.measure.power import default_sensors

    rows: list[dict[str, Any]] = []
    for sensor in default_sensors():
        try:
            sensor.read_joules()
        except OSError as error:
            rows.append({"name": sensor.name, "reason": str(error)})
        else:
            rows.append({"name": sensor.name, "reason": None})
    return rows


def _calibration() -> dict[str, Any]:
    from microdollar.measure.machine import describe
    from microdollar.run.device import calibration_path, load_rates

    machine = describe()
    row: dict[str, Any] = {
        "file": str(calibration_path(machine)),
        "measured_at": None,
        "age_seconds": None,
        "problem": None,
    }
    try:
        rates = load_rates(machine)
        if rates is None:
            return row
        age = datetime.now(UTC) - datetime.fromisoformat(rates.measured_at)
    except (MicrodollarError, ValueError, TypeError) as error:
        return {**row, "problem": str(error)}
    return {**row, "measured_at": rates.measured_at, "age_seconds": age.total_seconds()}


def _ledger() -> dict[str, Any]:
    from microdollar.ledger import Ledger

    ledger = Ledger()
    row: dict[str, Any] = {
        "file": str(ledger.path),
        "exists": ledger.path.exists(),
        "rows": None,
        "problem": None,
    }
    try:
        return {**row, "rows": len(ledger.rows())}
    except MicrodollarError as error:
        return {**row, "problem": str(error)}


def _folders() -> Iterator[tuple[str, Path]]:
    """What is kept, and the folder where."""
    from microdollar.learn.corpus_enwik8 import cache_folder
    from microdollar.ledger import default_path
    from microdollar.measure.machine import describe
    from microdollar.run.device import calibration_path

    yield "ledger", default_path().parent
    yield "calibrations", calibration_path(describe()).parent
    yield "downloads", cache_folder()
    yield "temporary files", Path(tempfile.gettempdir())


def _folder(what: str, path: Path) -> dict[str, Any]:
    """Whether files can be made in a folder, or the folder itself if it is not there yet."""
    row: dict[str, Any] = {"what": what, "folder": str(path), "problem": None}
    above = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        reason = "can't be written to" if above.is_dir() else "is a file, not a folder"
        return {**row, "problem": f"{above} {reason}, but {what} go there. Set MICRODOLLAR_HOME."}
    return row


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    memory = found["memory_bytes"]
    yield f"microdollar {found['microdollar']}, Python {found['python']} ({sys.executable})"
    yield f"{found['system']}"
    yield (
        f"{found['processor']}, {found['cores']} cores, "
        f"{'memory unknown' if memory is None else format_bytes(memory)}"
    )
    yield "\nPackages"
    for package in found["packages"]:
        yield f"  {_mark(package):<6} {package['name']:<12} {_package_words(package)}"
    yield "\nEnergy"
    for sensor in found["sensors"]:
        state = f"no value: {sensor['reason']}" if sensor["reason"] else "readable"
        yield f"  {'-' if sensor['reason'] else 'ok':<6} {sensor['name']:<12} {state}"
    yield "\nKept here"
    calibration, ledger = found["calibration"], found["ledger"]
    age = calibration["age_seconds"]
    state = "not measured yet. Type: microdollar calibrate"
    if age is not None:
        state = f"{format_seconds(max(age, 0))} old, {calibration['file']}"
    state = calibration["problem"] or state
    yield f"  {_mark(calibration, age is not None):<6} {'calibration':<12} {state}"
    state = f"{ledger['rows']} rows, " if ledger["exists"] else "none yet, it will be "
    yield f"  {_mark(ledger):<6} {'ledger':<12} {ledger['problem'] or state + ledger['file']}"
    yield "\nFolders to write to"
    for folder in found["folders"]:
        yield f"  {_mark(folder):<6} {folder['what']:<15} {folder['problem'] or folder['folder']}"


def _package_words(package: Mapping[str, Any]) -> str:
    if package["problem"]:
        return str(package["problem"])
    if package["version"]:
        return str(package["version"])
    return f"not installed; for {package['needed_for']}. Type: {package['install']}"


def _mark(part: Mapping[str, Any], present: bool = True) -> str:
    if part["problem"]:
        return "BROKEN"
    return "ok" if present and part.get("version", "") is not None else "-"
