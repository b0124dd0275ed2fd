"""What optimizers reached with how much state, and how long their steps take, field by field."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microdollar.report.nodes import MAX_LIST, Node, ResultsError, clean

MAX_RUNS = 5_000
"""Training runs of one file."""
BASE = "AdamW"
"""The optimizer that others are held against."""
_DIVERGED_NATS = 20.0
"""A loss above it is no result: assumed, far above chance of any vocabulary here, ln(32,000)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """One optimizer on one task, at the learning rate that was best on the development slice."""

    optimizer: str
    origin: str
    """Whose code it is."""
    state_bytes_per_parameter: float
    rate: float | None
    """None if every run diverged."""
    edge: bool
    """Whether the rate is the lowest or highest that was tried."""
    nats: tuple[float, ...]
    """Held-out losses at that rate, one a seed."""

    @property
    def mean(self) -> float | None:
        """Of the seeds; None if there is no loss."""
        return statistics.mean(self.nats) if self.nats else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None with fewer than two."""
        return statistics.stdev(self.nats) if len(self.nats) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Optimizers on the same task with the same effort of tuning, the lowest loss first."""

    name: str
    parameters: int
    steps: int
    optimizers: tuple[Tuned, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Time of an optimizer's step."""

    name: str
    seconds: float
    """Median by the clock."""
    ratio: float
    """Median over rounds of the ratio to the first optimizer of the same round."""
    state_bytes_per_parameter: float | None
    """None for what is no optimizer, such as a copy of memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """Steps of optimizers on the same parameters."""

    machine: str
    parameters: int
    dtype: str
    threads: int
    rows: tuple[StepTime, ...]


def parse_tasks(data: Sequence[object]) -> list[Task]:
    """Training runs, one object each, as ``benchmarks/optim/run.py`` writes them line by line.

    Of each task the runs with the most steps count. An optimizer's learning rate is the one whose
    run with seed 0 has the lowest loss on the development slice; every seed at that rate counts.

    Raises:
        ResultsError: naming the run and field that is missing or wrong.
    """
    if len(data) > MAX_RUNS:
        raise ResultsError(f"runs: {len(data):,} of them, at most {MAX_RUNS:,} are accepted")
    tasks: dict[str, list[_Run]] = {}
    for number, item in enumerate(data):
        run = _run(Node(item, f"runs[{number}]"))
        tasks.setdefault(run.task, []).append(run)
    return [_task(name, runs) for name, runs in tasks.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    task: str
    optimizer: str
    origin: str
    rate: float
    seed: int
    steps: int
    parameters: int
    state_bytes: float
    dev: float | None
    test: float | None


def _run(node: Node) -> _Run:
    packed = node.number_or_none("packed_state_bytes")
    held = node.integer("state_bytes")
    test, dev = node.number_or_none("test_nats"), node.number_or_none("dev_nats")
    lost = test is None or dev is None or test > _DIVERGED_NATS
    return _Run(
        task=node.text("task"),
        optimizer=node.text("optimizer"),
        origin=node.text("origin"),
        rate=node.positive("lr"),
        seed=node.integer("seed"),
        steps=node.integer("steps"),
        parameters=_count(node, "parameters"),
        # A code of few bits may be tried out in whole bytes; packed is what it needs.
        state_bytes=held if packed is None else packed,
        dev=None if lost else dev,
        test=None if lost else test,
    )


def _task(name: str, runs: Sequence[_Run]) -> Task:
    steps = max(run.steps for run in runs)
    full = [run for run in runs if run.steps == steps]
    names = dict.fromkeys(run.optimizer for run in full)
    found = [_tuned([run for run in full if run.optimizer == one]) for one in names]
    # Those without a loss stand last.
    found.sort(key=lambda one: (one.mean is None, one.mean or 0.0))
    return Task(name=name, parameters=full[0].parameters, steps=steps, optimizers=tuple(found))


def _tuned(runs: Sequence[_Run]) -> Tuned:
    first = runs[0]
    grid = [run for run in runs if run.seed == 0]
    best = min(
        (run for run in grid if run.dev is not None), key=lambda run: run.dev or 0.0, default=None
    )
    rates = [run.rate for run in grid]
    at = [run for run in runs if best and run.rate == best.rate]
    return Tuned(
        optimizer=first.optimizer,
        origin=first.origin,
        state_bytes_per_parameter=first.state_bytes / first.parameters,
        rate=best.rate if best else None,
        edge=best is not None and best.rate in (min(rates), max(rates)),
        nats=tuple(run.test for run in at if run.test is not None),
    )


def parse_step_times(data: Mapping[str, Any]) -> list[StepTimes]:
    """The object that ``benchmarks/optim_speed/run.py`` writes.

    Raises:
        ResultsError: naming the field that is missing or wrong.
    """
    top = Node(data, "steps")
    machine = top.child("machine").text("processor")
    found = []
    for run in top.children("runs", MAX_LIST):
        rows = run.child("rows")
        times = tuple(
            _step_time(clean(name), rows.child(name)) for name in list(rows.data)[:MAX_LIST]
        )
        if not any(time.state_bytes_per_parameter for time in times):
            run.fail("rows", "want optimizers with the bytes of their state")
        found.append(
            StepTimes(
                machine=machine,
                parameters=_count(run, "parameters"),
                dtype=run.text("type").removeprefix("torch."),
                threads=_count(run, "threads"),
                rows=times,
            )
        )
    return found


def _step_time(name: str, node: Node) -> StepTime:
    key = "state_bytes_per_parameter"
    return StepTime(
        name=name,
        seconds=node.positive("median_seconds"),
        ratio=node.positive("ratio_of_seconds"),
        state_bytes_per_parameter=node.number_or_none(key) if key in node.data else None,
    )


def _count(node: Node, key: str) -> int:
    found = node.integer(key)
    if found < 1:
        node.fail(key, "want 1 or more")
    return found
