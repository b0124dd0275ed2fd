"""Which files a report is made from: each is known by what is in it, whatever its name."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microdollar.estimator.limits.roofline import Ceiling, RooflinePoint
from microdollar.ledger import Record
from microdollar.report import checked
from microdollar.report.convert import from_sizes
from microdollar.report.nodes import (
    MAX_FILE_BYTES,
    ResultsError,
    check_size,
    read_json,
    read_json_lines,
)
from microdollar.report.optimizers import StepTimes, Task, parse_step_times, parse_tasks
from microdollar.report.scaling import Panel
from microdollar.report.schema import Results, parse_results
from microdollar.report.scores import Retrievals, Squeezed, parse_retrievals, parse_squeezed
from microdollar.report.study import as_comparison

Json = Mapping[str, Any]

MAX_FILES = 5_000
"""Files that are looked at in a folder."""
_SKIPPED = {"node_modules", "__pycache__"}
COMMANDS = {
    "comparisons": "microdollar demo, or microdollar compare CORPUS --out DIR",
    "predictions": "microdollar compare CORPUS --out DIR, or any command that fills the ledger",
    "plans": "microdollar report --plan NAME, or microdollar estimate MODEL --json",
    "optimizers": "python benchmarks/optim/run.py FILE run, in a checkout",
    "rooflines": "microdollar limits --roofline roof.svg --measure 50k --json",
    "laws": "microdollar scaling fit RUNS.csv -o LAW.json",
    "crossovers": "microdollar crossover --json",
    "tokens": "microdollar tokens eval FILE --json",
    "concepts": "microdollar concepts eval FILE --json",
    "claims": "microdollar report --claims",
}
"""What makes the source of each part of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Learners on the same bytes."""

    name: str
    """Where it is from."""
    results: Results
    data: Json | None = None
    """As it stood in the file, if it was in this form."""


@dataclass(slots=True, kw_only=True)
class Content:
    """Everything that a page is made from."""

    comparisons: list[Comparison] = field(default_factory=list)
    history: list[Record] = field(default_factory=list)
    """Rows of a ledger."""
    accuracy: list[checked.Accuracy] = field(default_factory=list)
    """Errors on published runs."""
    plans: list[checked.PlanCost] = field(default_factory=list)
    rooflines: list[tuple[str, list[Ceiling], list[RooflinePoint]]] = field(default_factory=list)
    laws: list[tuple[str, Any]] = field(default_factory=list)
    """Files of laws as they stand; who calls turns them into ``curves``."""
    runs: list[Path] = field(default_factory=list)
    """CSV files of runs, for the same."""
    plan_files: list[Path] = field(default_factory=list)
    """TOML files, for ``plans``."""
    curves: list[Panel] = field(default_factory=list)
    crossovers: list[Json] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    """Optimizers at equal tuning effort."""
    step_times: list[StepTimes] = field(default_factory=list)
    tokens: list[Squeezed] = field(default_factory=list)
    concepts: list[Retrievals] = field(default_factory=list)
    claims: list[checked.Claim] = field(default_factory=list)
    read: list[tuple[str, str]] = field(default_factory=list)
    """File, and what it is."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """File, and why it could not be read."""
    passed: list[str] = field(default_factory=list)
    """Files of a folder that hold nothing for a page."""


def of_results(data: Json, name: str = "results.json") -> Content:
    """The content of one comparison.

    Raises:
        ResultsError: if it is not the dictionary of a ``results.json``.
    """
    content = Content()
    _KINDS["comparison"][1](content, data, name)
    return content


def add_file(content: Content, path: Path) -> None:
    """Read one file into the content.

    Raises:
        ResultsError: if it can't be read, or is none of the known kinds.
    """
    if not _added_by_name(content, path):
        _add(content, path, _read(path))


def _added_by_name(content: Content, path: Path) -> bool:
    """Whether it is of a kind that others read: runs, or a plan."""
    lists = {".csv": content.runs, ".toml": content.plan_files}
    found = lists.get(path.suffix.casefold())
    if found is not None:
        found.append(path)
    return found is not None


def _add(content: Content, path: Path, data: Any) -> None:  # noqa: ANN401
    try:
        check_size(data)
        kind = _kind(data)
        if kind is None:
            raise ResultsError(
                "it is no results of microdollar that a page is made from: compare, experiments, "
                "crossover, limits --roofline, scaling fit, estimate, validate, tokens eval, "
                "concepts eval or claims, each with --json, runs of optimizers line by line, or a "
                "CSV file of runs."
            )
        what, add = _KINDS[kind]
        add(content, data, str(path))
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error
    content.read.append((str(path), what))


def add_folder(content: Content, folder: Path) -> None:
    """Read every file of a folder and below it that is of a known kind; the others are passed.

    A file of a known kind that is broken is named in ``refused``.

    Raises:
        ResultsError: if there are too many files to look at.
    """
    for number, path in enumerate(_files(folder)):
        if number >= MAX_FILES:
            raise ResultsError(f"{folder} holds more than {MAX_FILES:,} files. Name one within it.")
        if _added_by_name(content, path):
            continue
        try:
            data = _read(path)
        except ResultsError:
            data = None
        if _kind(data) is None:
            content.passed.append(str(path))
            continue
        try:
            _add(content, path, data)
        except ResultsError as error:
            content.refused.append((str(path), str(error).removeprefix(f"{path}: ")))


def _read(path: Path) -> Any:  # noqa: ANN401
    return (read_json_lines if path.suffix.casefold() == ".jsonl" else read_json)(path)


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(n for n in folders if n not in _SKIPPED and not n.startswith("."))
        for name in sorted(files):
            path = Path(here) / name
            ours = path.suffix.casefold() in (".json", ".jsonl", ".csv", ".toml")
            if ours and path.is_file() and path.stat().st_size <= MAX_FILE_BYTES:
                yield path


_KEYS: dict[str, tuple[str, ...]] = {
    "comparison": ("rows", "corpus", "device"),
    "study": ("experiments", "slices", "corpus"),
    "sizes": ("texts",),
    "crossover": ("rows", "crossovers", "grid"),
    "roofline": ("roofline", "joules_per_bit"),
    "laws": ("laws",),
    "plan": ("step_breakdown", "memory_bytes", "model"),
    "splits": ("splits",),
    "groups": ("groups", "fitted_on"),
    "tokens": ("rows", "reconstructor", "differences"),
    "concepts": ("models", "gain_over_best_training_free", "encoder"),
    "steps": ("runs", "machine"),
}
"""Keys by which an object is known; the first is what it is a list of."""
_ROW_KEYS: dict[str, tuple[str, ...]] = {
    "steps": ("threads", "type", "rows"),
    "claims": ("verdict",),
    "tasks": ("task", "optimizer", "lr", "state_bytes"),
}
"""Keys of the objects in a list."""


def _kind(data: object) -> str | None:
    if isinstance(data, list):
        return next((kind for kind in ("claims", "tasks") if _listed(data, kind)), None)
    if not isinstance(data, dict):
        return None
    for kind, keys in _KEYS.items():
        # The first is what it is a list of; of laws it may be an object by name.
        first = data.get(keys[0])
        items = list(first.values()) if isinstance(first, dict) else first
        listed = isinstance(items, list) and (not items or _listed(items, kind))
        if (listed or kind == "roofline") and all(data.get(key) is not None for key in keys):
            return kind if isinstance(first, list) or kind in ("roofline", "laws") else None
    return None


def _listed(items: Sequence[object], kind: str) -> bool:
    """Whether it is a list of objects that have the keys of that kind."""
    keys = _ROW_KEYS.get(kind, ())
    return bool(items) and all(isinstance(i, dict) and all(k in i for k in keys) for i in items)


def _add_comparison(content: Content, data: Json, name: str) -> None:
    results = parse_results(data)
    content.comparisons.append(Comparison(name=name, results=results, data=data))


def _add_study(content: Content, data: Json, name: str) -> None:
    try:
        found = [as_comparison(data, piece) for piece in data["slices"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultsError(f"it is no whole file of experiments: {error!r:.200}") from error
    content.comparisons += [
        Comparison(name=name, results=results) for results in found if results.rows
    ]


def _add_sizes(content: Content, data: Json, name: str) -> None:
    content.comparisons += [Comparison(name=name, results=one) for one in from_sizes(data)]


def _add_crossover(content: Content, data: Json, _: str) -> None:
    checked.check_crossover(data)
    content.crossovers.append(data)


def _add_roofline(content: Content, data: Json, _: str) -> None:
    content.rooflines.append(checked.parse_roofline(data))


def _add_laws(content: Content, data: Json, name: str) -> None:
    content.laws.append((name, data["laws"]))


def _add_plan(content: Content, data: Json, _: str) -> None:
    content.plans.append(checked.parse_plan(data))


def _add_splits(content: Content, data: Json, name: str) -> None:
    content.accuracy += checked.parse_accuracy(data, name)


def _add_tasks(content: Content, data: Any, _: str) -> None:  # noqa: ANN401
    content.tasks += parse_tasks(data)


def _add_steps(content: Content, data: Json, _: str) -> None:
    content.step_times += parse_step_times(data)


def _add_tokens(content: Content, data: Json, _: str) -> None:
    content.tokens.append(parse_squeezed(data))


def _add_concepts(content: Content, data: Json, _: str) -> None:
    content.concepts.append(parse_retrievals(data))


def _add_claims(content: Content, data: Any, _: str) -> None:  # noqa: ANN401
    content.claims += checked.parse_claims(data)


_KINDS: dict[str, tuple[str, Callable[[Content, Any, str], None]]] = {
    "comparison": ("learners compared", _add_comparison),
    "study": ("experiments on weights from counts", _add_study),
    "sizes": ("learners compared at several sizes", _add_sizes),
    "crossover": ("sequence layers over length", _add_crossover),
    "roofline": ("a roofline", _add_roofline),
    "laws": ("scaling laws", _add_laws),
    "plan": ("what a plan will cost", _add_plan),
    "splits": ("errors on published runs", _add_splits),
    "groups": ("errors on published runs", _add_splits),
    "tasks": ("optimizers, runs of each", _add_tasks),
    "steps": ("optimizers, time of a step", _add_steps),
    "tokens": ("tokens kept, by method", _add_tokens),
    "concepts": ("sentence vectors", _add_concepts),
    "claims": ("claims with their verdicts", _add_claims),
}
