"""Predict a whole grid, measure what can be measured, and keep it in a file."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from microdollar.cost import Cost, Quantity
from microdollar.errors import MicrodollarError, MissingExtraError, UsageError
from microdollar.files import whole_file
from microdollar.run.crossover.crossings import Pair, crossings
from microdollar.run.crossover.grid import Accuracy, Grid, Point, Row, accuracy, with_probes
from microdollar.run.provenance import commit, versions
from microdollar.spec.device import DeviceSpec
from microdollar.units import format_bytes, format_seconds

SCHEMA_VERSION = 1
MEMORY_SHARE = 0.8
"""Of what is free: the rest is for what counts besides tensors, and for others."""
RUNS_BESIDE = 6
"""Runs of a point beside the timed ones: two to warm up, and two under counters that slow short
operators down."""
_LARGEST_FILE_BYTES = 50_000_000

Report = Callable[[float, float, str], None]
"""Told ``done``, ``total`` and a label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What a grid came to."""

    grid: Grid
    device: DeviceSpec
    rows: tuple[Row, ...]
    complete: bool = True
    """Whether every point of the grid was reached."""

    @property
    def crossovers(self) -> tuple[Pair, ...]:
        """Where layers overtake each other."""
        return crossings(self.rows, seed=self.grid.seed)

    @property
    def accuracy(self) -> tuple[Accuracy, ...]:
        """How wrong the predictions were."""
        return accuracy(self.rows)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return {
            "grid": self.grid.to_json(),
            "machine": {
                "name": self.device.name,
                "cores": self.device.cores,
                "source": self.device.source,
            },
            "complete": self.complete,
            "rows": [row.to_json() for row in self.rows],
            "crossovers": [pair.to_json() for pair in self.crossovers],
            "accuracy": [asdict(each) for each in self.accuracy],
        }


def run_grid(
    grid: Grid,
    device: DeviceSpec,
    *,
    measures: bool = True,
    output: Path | None = None,
    free_bytes: float | None = None,
    progress: Report = lambda done, total, label: None,
) -> Study:
    """Predict every point and measure those that fit into memory and time.

    Args:
        grid: the points.
        device: where they are predicted; it has to be this machine if ``measures``.
        measures: whether they are run, too.
        output: a file to keep what is measured in, and to go on from.
        free_bytes: memory that may be used; what the system says is free if None.
        progress: told how far it is, in predicted seconds.

    Returns:
        Rows in the order of the grid; after Ctrl-C those that there are, if there is a file.

    Raises:
        CannotEstimateError: if a point can't be predicted.
        MicrodollarError: if the file is of something else or can't be read.
        MissingExtraError: if torch is not installed.
    """
    try:
        from microdollar.run.crossover.predict_torch import predict
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "a sequence layer") from error
    kept = _Kept(output, grid, device)
    points = grid.points()
    rows: list[Row] = []
    complete = True
    try:
        for done, point in enumerate(points):
            progress(done, len(points), "predicting")
            rows.append(predict(point, device))
        if measures:
            _measure(rows, grid, device, kept, free_bytes, progress)
    except KeyboardInterrupt:
        if output is None or not rows:
            raise
        complete = False
    study = Study(grid=grid, device=device, rows=_corrected(rows), complete=complete)
    kept.write(study)
    return study


def _corrected(rows: list[Row]) -> tuple[Row, ...]:
    """Rows with what their probes correct, in the order given."""
    made = {row.point: row for row in with_probes(rows)}
    return tuple(made[row.point] for row in rows)


def _measure(
    rows: list[Row],
    grid: Grid,
    device: DeviceSpec,
    kept: "_Kept",
    free_bytes: float | None,
    progress: Report,
) -> None:
    from microdollar.run.crossover.measure_torch import measure

    runs = grid.repeats + RUNS_BESIDE
    expected = [runs * (row.predicted.seconds.value or 0.0) for row in rows]
    total = sum(each for each in expected if each <= grid.most_seconds) or 1.0
    done = 0.0
    for place, row in enumerate(rows):
        point = row.point
        progress(done, total, "measuring")
        if (before := kept.rows.get(point)) is not None:
            rows[place] = replace(row, **before)
            continue
        reason = _too_much(row, expected[place], grid, free_bytes)
        if reason is None:
            try:
                found = measure(point, device, repeats=grid.repeats, seed=grid.seed)
                rows[place] = replace(row, measured=found.cost, cpu_seconds=found.cpu_seconds)
            except MemoryError as error:
                reason = f"not enough memory after all: {error}"
            done += expected[place]
        if reason is not None:
            rows[place] = replace(row, reason=reason)
        kept.add(rows[place])
    progress(total, total, "measured")


def _too_much(row: Row, expected: float, grid: Grid, free_bytes: float | None) -> str | None:
    """Why a point is not run; None if it is."""
    needed, free = row.predicted.memory_bytes.high or 0.0, free_bytes
    if free is None:
        free = _free_bytes()
    if free is not None and needed > MEMORY_SHARE * free:
        return f"not run: needs {format_bytes(needed)} of memory, {format_bytes(free)} are free"
    if expected > grid.most_seconds:
        return (
            f"not run: would take {format_seconds(expected)}, --most-seconds is "
            f"{format_seconds(grid.most_seconds)}"
        )
    return None


def _free_bytes() -> float | None:
    """Memory that can be had without swapping; None if the system does not say."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            table = dict(line.split(":", 1) for line in file)
        return 1024.0 * int(table["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None


class _Kept:
    """Measured points in a file, written anew after each."""

    def __init__(self, path: Path | None, grid: Grid, device: DeviceSpec) -> None:
        self._path = path
        self._identity = {
            "machine": device.name,
            "cores": device.cores,
            "torch": versions().get("torch"),
            "repeats": grid.repeats,
            "seed": grid.seed,
        }
        self.rows: dict[Point, dict[str, Any]] = {}
        if path is not None and path.exists():
            self.rows = self._read(path)

    def add(self, row: Row) -> None:
        """Keep a row that was measured, or was not for a reason."""
        if row.measured is not None:
            self.rows[row.point] = {"measured": row.measured, "cpu_seconds": row.cpu_seconds}
            self._write({})

    def write(self, study: Study) -> None:
        """Keep everything."""
        self._write(study.to_json())

    def _write(self, data: dict[str, Any]) -> None:
        if self._path is None:
            return
        content = {
            "schema_version": SCHEMA_VERSION,
            "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit() if data else None,
            "identity": self._identity,
            "points": [
                {
                    "point": asdict(point),
                    "measured": kept["measured"].to_json(),
                    "cpu_seconds": kept["cpu_seconds"].to_json(),
                }
                for point, kept in self.rows.items()
            ],
            **data,
        }
        with whole_file(self._path) as out:
            json.dump(content, out, indent=1, allow_nan=False)

    def _read(self, path: Path) -> dict[Point, dict[str, Any]]:
        try:
            with path.open("rb") as file:
                content = json.loads(file.read(_LARGEST_FILE_BYTES))
            identity, points = content["identity"], content["points"]
            rows = {
                Point(**each["point"]): {
                    "measured": Cost.from_json(each["measured"]),
                    "cpu_seconds": Quantity.from_json(each["cpu_seconds"]),
                }
                for each in points
            }
        except OSError as error:
            raise MicrodollarError(f"{path}: can't be read ({error.strerror}).") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(
                f"{path} is there and is not a file of this command. Name another --output."
            ) from error
        if identity != self._identity:
            names = [name for name in self._identity if identity.get(name) != self._identity[name]]
            raise UsageError(
                f"{path} was measured with another {' and '.join(names)}. "
                "Name another --output, or give the same settings."
            )
        return rows
