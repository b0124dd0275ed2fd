"""Published runs: a CSV file of what training was measured to cost, read into plans.

Two sets of columns are understood, those of ``published_runs.csv`` (one metric a row) and those
of vTrain's ground truth (one step time a row). Numbers are in base units from here on.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from microdollar.errors import UsageError
from microdollar.spec.device_spelling import read_device
from microdollar.spec.run_models import VTRAIN_VOCAB
from microdollar.spec.run_plans import RowFacts, row_plan, row_stack
from microdollar.spec.run_text import read_run_text
from microdollar.spec.run_units import METRICS, base_value
from microdollar.spec.training import Precision, TrainingPlan

MAX_ROWS = 1_000_000
MAX_BYTES = 2**29
LONG_COLUMNS = ("model", "hardware", "metric", "value", "unit")
"""Columns that a file in the form of ``published_runs.csv`` needs."""
MORE_COLUMNS = (
    *("params", "tokens", "seq_len", "layers", "d_model", "heads", "kv_heads", "vocab"),
    *("num_devices", "precision", "source_url_or_title", "config", "provenance"),
)
"""Columns that it may have."""
VTRAIN_COLUMNS = (
    *("# gpus", "global batch", "micro batch", "hidden size", "attention heads", "# layers"),
    *("sequence length", "tensor parallelism", "data parallelism", "pipeline parallelism"),
    "iteration time (ms)",
)
"""Columns of vTrain's ground truth; ``Parameters (billion)`` may lead."""
VTRAIN_SOURCE = "vTrain ground truth (github:VIA-Research/vTrain)"
_LARGEST = {
    "layers": 100_000,
    "d_model": 10_000_000,
    "heads": 1_000_000,
    "kv_heads": 1_000_000,
    "vocab": 100_000_000,
    "seq_len": 10**9,
    "num_devices": 10**8,
    "params": 10**18,
    "tokens": 10**21,
}
"""Sizes beyond these are errors of the file, not runs."""
_LARGEST_VALUE = 1e30
_PRECISIONS: tuple[tuple[str, Precision], ...] = (
    ("fp8", "float8"),
    ("bf16", "bfloat16"),
    ("bfloat16", "bfloat16"),
    ("fp16", "float16"),
    ("float16", "float16"),
    ("tf32", "tf32"),
    ("fp32", "float32"),
    ("float32", "float32"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row: a number that someone published about a training run."""

    row: int
    """Its number among the data rows of its file, from 1."""
    label: str
    """The model as printed."""
    metric: str
    """In lower case: ``iteration_time``, ``mfu``, ``peak_memory_nvidia_smi``, ..."""
    value: float
    """Seconds, bytes, joules, watts, tokens per second and device, FLOP/s and device,
    device-seconds (``gpu_hours``, ``chip_hours``) or a ratio (``mfu``, ``hfu``)."""
    unit: str
    """As printed."""
    plan: TrainingPlan | None
    plan_missing: str | None
    """Why there is no plan."""
    assumed: tuple[str, ...] = ()
    """What the plan assumes where the row leaves it open."""
    hardware: str
    """As printed."""
    device: str | None
    """Its name in the catalog."""
    device_missing: str | None
    devices: int | None
    precision: Precision | None
    parameters: float | None
    active_parameters: float | None
    """Of a mixture of experts, where the row states them."""
    tokens: float | None
    sequence: int | None
    stack: str | None
    """Software that trained: ``megatron-deepspeed``, ``llm-foundry``, ..."""
    config: str
    provenance: str
    measured: bool
    """Whether its provenance says that it was measured, not derived or reported."""
    source: str


def read_runs(path: Path) -> list[Run]:
    """Every row of a file of published runs.

    A row that no plan can be made of has ``plan_missing``; a cell that can't be read is an error.

    Args:
        path: a CSV file in UTF-8 with a header, in the columns of ``published_runs.csv``
            (``LONG_COLUMNS`` are needed) or of vTrain's ground truth.

    Raises:
        UsageError: if the file can't be read, has other columns, no rows or a bad cell; names
            the file, row, field and value.
    """
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES} bytes. Give a part of it.")
        with path.open(encoding="utf-8-sig", newline="") as file:
            runs = list(_runs(path, csv.reader(file, strict=True)))
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8: save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise UsageError(f"{path} is not a CSV file: {error}.") from error
    if not runs:
        raise UsageError(f"{path} has a header but no rows.")
    return runs


def _runs(path: Path, lines: Iterator[list[str]]) -> Iterator[Run]:
    header = [cell.strip().casefold() for cell in next(lines, [])]
    if not any(header):
        raise UsageError(f"{path} is empty. Needed is a header: {', '.join(LONG_COLUMNS)}, ...")
    vtrain = _is_vtrain(path, header)
    row = 0
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        row += 1
        if row > MAX_ROWS:
            raise UsageError(f"{path} has more than {MAX_ROWS} rows. Give a part of it.")
        if len(cells) != len(header):
            raise UsageError(f"{path}, row {row}: {len(cells)} fields, the header {len(header)}.")
        named = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        try:
            yield _run(row, _from_vtrain(named) if vtrain else named)
        except UsageError as error:
            raise UsageError(f"{path}, row {row}: {error}") from error


def _is_vtrain(path: Path, header: list[str]) -> bool:
    if twice := next((name for name in header if name and header.count(name) > 1), None):
        raise UsageError(f"{path}: column {twice[:40]!r} occurs twice.")
    missing = {
        names: [name for name in names if name not in header]
        for names in (LONG_COLUMNS, VTRAIN_COLUMNS)
    }
    for names, absent in missing.items():
        if not absent:
            return names is VTRAIN_COLUMNS
    # The set of which more is there is the one that was meant.
    names = max(missing, key=lambda names: len(names) - len(missing[names]))
    raise UsageError(
        f"{path}: column {missing[names][0]!r} is missing. Needed are {', '.join(names)}."
    )


def _from_vtrain(cells: dict[str, str]) -> dict[str, str]:
    """A row of vTrain's in the other columns."""
    sizes = {name: _size(cells, name, 10**9) for name in VTRAIN_COLUMNS[:-1]}
    if empty := next((name for name, size in sizes.items() if size is None), None):
        raise UsageError(f"{empty} is empty.")
    billions = _number(cells, "parameters (billion)", 1e9)
    h, layers = sizes["hidden size"], sizes["# layers"]
    config = (
        f"TP{sizes['tensor parallelism']} DP{sizes['data parallelism']} "
        f"PP{sizes['pipeline parallelism']} micro-batch {sizes['micro batch']} "
        f"global batch {sizes['global batch']}, 1F1B, full recompute, Megatron-DeepSpeed"
    )
    return {
        "model": f"GPT {billions:g}B (vTrain)" if billions else f"GPT h{h} L{layers} (vTrain)",
        "params": f"{billions * 1e9:.0f}" if billions else "",
        "seq_len": str(sizes["sequence length"]),
        "layers": str(layers),
        "d_model": str(h),
        "heads": str(sizes["attention heads"]),
        "vocab": str(VTRAIN_VOCAB),
        "hardware": "A100-SXM-80GB",
        "num_devices": str(sizes["# gpus"]),
        "precision": "fp16",
        "metric": "iteration_time",
        "value": cells["iteration time (ms)"],
        "unit": "ms",
        "source_url_or_title": VTRAIN_SOURCE,
        "config": config,
        "provenance": "measured",
    }


def _run(row: int, cells: dict[str, str]) -> Run:
    metric, unit = cells["metric"].casefold(), cells["unit"]
    value = _number(cells, "value", _LARGEST_VALUE)
    if not metric or value is None:
        raise UsageError(f"{'value' if metric else 'metric'} is empty.")
    source, config = cells.get("source_url_or_title", ""), cells.get("config", "")
    vocab = _size(cells, "vocab")
    if vocab is None and "vtrain" in source.casefold():
        vocab = VTRAIN_VOCAB
    spelling = read_device(cells["hardware"])
    facts = RowFacts(
        label=cells["model"],
        parameters=_number(cells, "params"),
        tokens=_number(cells, "tokens"),
        sequence=_size(cells, "seq_len"),
        layers=_size(cells, "layers"),
        hidden=_size(cells, "d_model"),
        heads=_size(cells, "heads"),
        kv_heads=_size(cells, "kv_heads"),
        vocab=vocab,
        device=spelling.device,
        device_missing=spelling.missing,
        devices=_size(cells, "num_devices"),
        precision=_precision(cells.get("precision", "")),
        config=config,
        source=source,
    )
    made = row_plan(facts)
    return Run(
        row=row,
        label=facts.label,
        metric=metric,
        value=base_value(metric, value, unit),
        unit=unit,
        plan=made.plan,
        plan_missing=made.missing,
        assumed=(*((spelling.assumed,) if spelling.assumed else ()), *made.assumed),
        hardware=cells["hardware"],
        device=facts.device,
        device_missing=facts.device_missing,
        devices=facts.devices,
        precision=facts.precision,
        parameters=facts.parameters,
        active_parameters=read_run_text(config).active_parameters,
        tokens=facts.tokens,
        sequence=facts.sequence,
        stack=row_stack(facts.label, source, config),
        config=config,
        provenance=cells.get("provenance", ""),
        measured=cells.get("provenance", "").casefold().startswith("measured"),
        source=source,
    )


def _number(cells: dict[str, str], name: str, largest: float | None = None) -> float | None:
    """A number that is not negative; None if the cell is empty."""
    text = cells.get(name, "")
    if not text:
        return None
    limit = _LARGEST[name] if largest is None else largest
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    positive = number >= 0 if name == "value" else number > 0
    if not (math.isfinite(number) and positive and number <= limit):
        least = "from 0" if name == "value" else "above 0"
        raise UsageError(f"{name} {text[:40]!r} is not a number {least} and at most {limit:g}.")
    return number


def _size(cells: dict[str, str], name: str, largest: float | None = None) -> int | None:
    """A whole number from 1 (``32.0`` is one); None if the cell is empty."""
    number = _number(cells, name, largest)
    if number is None:
        return None
    if number != int(number):
        raise UsageError(f"{name} {cells[name][:40]!r} is not a whole number.")
    return int(number)


def _precision(text: str) -> Precision | None:
    """The precision of products; None if none or several are named."""
    low = text.casefold()
    found = {precision for part, precision in _PRECISIONS if part in low}
    return found.pop() if len(found) == 1 else None


def known_metrics() -> tuple[str, ...]:
    """Names that ``metric`` is read with; a row of any other is kept, but not predicted."""
    return tuple(METRICS)
