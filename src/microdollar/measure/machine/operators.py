"""What torch's operators take on this machine: microbenchmarks for the cost of training steps.

Two kinds of numbers. Grids: seconds of one operator over a grid of sizes, on arrays that are
not in the nearest caches. Calls: what an operator costs beside its kernel within a step (the
module's Python, autograd's graph), from a chain of tiny layers, which no one trains. An
optimizer's operators are measured where they are, in AdamW's step. All of it for one thread and
for all cores.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle, product
from statistics import median
from typing import TYPE_CHECKING, Any

from microdollar.errors import MissingExtraError
from microdollar.measure.machine.about import describe
from microdollar.spec.operator_rates import Grid, OperatorRates

if TYPE_CHECKING:
    from microdollar.measure.machine.operator_cases_torch import Call, Case

Sizes = tuple[int, ...]
Report = Callable[[float, float, str], None]
"""Told ``done``, ``total`` and a label."""

_PASSES = 3
_REPEATS = 3
_REPEAT_SECONDS = 0.001
_HELD_BYTES = 16 * 2**20
_FRESH_BYTES = 48 * 2**20
_OPTIMIZED = (16, 1024, 8192, 32_000, 34_048, 131_072, 524_288, 2_097_152)
"""Elements of a parameter; torch splits one of 32,768 among threads."""
_OPTIMIZER_BYTES, _MOST_PARAMETERS, _OPTIMIZER_STEPS = 64 * 2**20, 12, 5
_SWEPT_BYTES = 64 * 2**20
"""Gone through before an optimizer's step: more than this process's part of the last cache."""
_LAYERS, _WIDTH = 24, 8
_ROWS, _IN_ROW = 1024, 32
_STEPS = 15


def measure_operators(progress: Report = lambda done, total, label: None) -> OperatorRates:
    """Measure every class of operators, for about a minute and a half.

    Args:
        progress: told how far it is.

    Raises:
        MissingExtraError: if torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "measuring its operators") from error

    from microdollar.measure.machine.operator_cases_torch import cases

    found = cases()
    counts = sorted({1, describe().cores})
    # Whole passes, not repeats at once: other work on the machine comes and goes within seconds.
    passes = [(number, threads) for number in range(_PASSES) for threads in counts]
    points: dict[str, list[dict[Sizes, float]]] = {}
    calls: dict[str, list[float]] = {}
    fresh = []
    before, state = torch.get_num_threads(), torch.get_rng_state()
    try:
        for done, (number, threads) in enumerate(passes):
            torch.set_num_threads(threads)
            cores = "1 thread" if threads == 1 else f"{threads} threads"
            label = f"torch's operators on {cores}, pass {number + 1}"
            progress(done, len(passes), label)
            for phase, taken in _call_seconds().items():
                calls.setdefault(f"{threads}/{phase}", []).append(taken)
            with torch.no_grad():
                for place, case in enumerate(found):
                    progress(done + place / len(found), len(passes), label)
                    points.setdefault(f"{threads}/{case.name}", []).append(_measured(case))
            points.setdefault(f"{threads}/optimizer", []).append(_optimizer_points())
            fresh.append(_fresh_seconds_per_byte())
    finally:
        torch.set_num_threads(before)
        torch.set_rng_state(state)
    progress(len(passes), len(passes), "operators measured")
    grids = {
        f"{n}/{case.name}": _grid(case, points[f"{n}/{case.name}"])
        for n in counts
        for case in found
    }
    for threads in counts:
        grids[f"{threads}/optimizer"] = _optimizer_grid(points[f"{threads}/optimizer"])
    return OperatorRates(
        grids=grids,
        call_seconds={key: median(taken) for key, taken in calls.items()},
        fresh_seconds_per_byte=median(fresh),
    )


def _measured(case: "Case") -> dict[Sizes, float]:
    return {
        sizes: _seconds(case.make(*sizes), hot=case.hot)
        for sizes in product(*case.axes)
        if case.fits(*sizes)
    }


def _grid(case: "Case", passes: list[dict[Sizes, float]]) -> Grid:
    """Medians of some passes, with what was not measured in proportion to what was."""
    taken: dict[Sizes, float] = {}
    for sizes in product(*case.axes):
        if sizes in passes[0]:
            taken[sizes] = median(each[sizes] for each in passes)
        else:
            taken[sizes] = _extended(case.axes, sizes, taken)
    *first, last = case.axes
    axes = (*(tuple(map(float, axis)) for axis in first), tuple(case.unit * size for size in last))
    return Grid(axes=axes, seconds=tuple(taken.values()))


def _extended(axes: tuple[Sizes, ...], sizes: Sizes, taken: dict[Sizes, float]) -> float:
    """In proportion, from the point below along the largest size that has one."""
    _, place = max((size, place) for place, size in enumerate(sizes) if size > axes[place][0])
    below = axes[place][axes[place].index(sizes[place]) - 1]
    near = (*sizes[:place], below, *sizes[place + 1 :])
    return taken[near] * sizes[place] / below


def _seconds(calls: "list[Call]", *, hot: bool = False) -> float:
    """Seconds of one call, taking turns: the median of three repeats of about 1 ms each.

    Results are held for a while: a step keeps them for its backward pass, so each goes to other
    memory than the one before, which no cache holds. Where ``hot``, only the first call is made,
    and its result goes to the memory that the last one left.
    """
    now = _clock()
    size = _result_bytes(calls[0]())
    if hot:
        calls = calls[:1]
    held: deque[object] = deque(maxlen=max(1, min(len(calls), _HELD_BYTES // max(size, 1))))
    start = now()
    held.append(calls[-1]())
    once = max(now() - start, 1e-7)
    inner = max(1, min(2_000, round(_REPEAT_SECONDS / once)))
    turns = cycle(calls)
    taken = [once] if inner == 1 else []
    while len(taken) < _REPEATS:
        start = now()
        for _ in range(inner):
            held.append(next(turns)())
        taken.append((now() - start) / inner)
    return median(taken)


def _clock() -> Callable[[], float]:
    """What one thread works, which other programs do not lengthen; of several the wall clock."""
    import torch

    fine = time.get_clock_info("thread_time").resolution <= _REPEAT_SECONDS / 1000
    return time.thread_time if torch.get_num_threads() == 1 and fine else time.perf_counter


def _result_bytes(result: object) -> int:
    parts: tuple[Any, ...] = result if isinstance(result, tuple) else (result,)
    return sum(part.nbytes for part in parts if hasattr(part, "nbytes"))


def _optimizer_points() -> dict[Sizes, float]:
    """Seconds of an AdamW step for one parameter, by its elements.

    Other memory is gone through before each: a step of training comes back to its parameters
    only after a whole forward and backward pass. What a step costs beside its parameters is
    shared out among a dozen of them.
    """
    import torch

    now = _clock()
    taken: dict[Sizes, float] = {}
    other = torch.zeros(_SWEPT_BYTES // 4)
    for elements in _OPTIMIZED:
        count = max(2, min(_MOST_PARAMETERS, _OPTIMIZER_BYTES // (16 * elements)))
        parameters = [torch.nn.Parameter(torch.rand(elements)) for _ in range(count)]
        for parameter in parameters:
            parameter.grad = torch.rand(elements)
        optimizer = torch.optim.AdamW(parameters)
        steps = []
        for _ in range(_OPTIMIZER_STEPS):
            other.add_(1.0)
            start = now()
            optimizer.step()
            steps.append(now() - start)
        taken[(elements,)] = median(steps[1:]) / count
    return taken


def _optimizer_grid(passes: list[dict[Sizes, float]]) -> Grid:
    """Seconds of one of AdamW's operators over the bytes that it goes through.

    For each parameter they are two on a counter of steps and eight on the parameter's size, which
    go through 21 arrays of it (see torch.optim.adamw, single tensor).
    """
    each = [median(found[sizes] for found in passes) for sizes in sorted(passes[0])]
    small = each[0] / 10
    seconds = tuple(max((one - 2 * small) / 8, small) for one in each)
    return Grid(axes=(tuple(21 / 8 * 4 * elements for elements in _OPTIMIZED),), seconds=seconds)


def _fresh_seconds_per_byte() -> float:
    """What writing memory costs more when the system has just handed it out."""
    import torch

    held = torch.empty(_FRESH_BYTES, dtype=torch.uint8)
    again = _seconds([lambda: held.fill_(1)])
    fresh = _seconds([lambda: torch.empty(_FRESH_BYTES, dtype=torch.uint8).fill_(1)])
    return max(fresh - again, fresh / 10) / _FRESH_BYTES


def _call_seconds() -> dict[str, float]:
    """Seconds of one operator by phase of a step of tiny layers, and of the same in a loop."""
    import torch

    x = torch.randn(_WIDTH, _WIDTH)
    y = torch.randn(_LAYERS, _WIDTH, _WIDTH)
    makers: list[Call] = [x.t, lambda: y[3], lambda: y[2:9], lambda: y.view(-1, _WIDTH)]
    view = sum(_seconds([each]) for each in makers) / len(makers)
    found = {"view": view}
    for phase, (taken, operators, views) in _tiny_step().items():
        found[phase] = max(taken - views * view, taken / 2) / operators
    with torch.no_grad():
        for phase, calls in _hot_calls().items():
            found[f"{phase} hot"] = sum(_seconds([call]) for call in calls) / len(calls)
        found["forward plain"] = _plain_seconds()
        found["row"] = _row_seconds()
    return found


def _plain_seconds() -> float:
    """An operator of functions called one after the other, where nothing is recorded."""
    import torch

    x, weight = torch.rand(_WIDTH, _WIDTH), torch.rand(_WIDTH, _WIDTH)

    def chain() -> None:
        y = x
        for _ in range(_LAYERS):
            y = y + torch.tanh(torch.mm(y, weight))

    return _seconds([chain]) / (3 * _LAYERS)


def _row_seconds() -> float:
    """What a row more costs an elementwise operator, beside the same numbers in one row."""
    import torch

    a, b = torch.rand(_ROWS, 2 * _IN_ROW), torch.rand(_ROWS, 2 * _IN_ROW)
    whole = _seconds([partial(torch.mul, a.view(-1), b.view(-1))]) / 2
    half = _seconds([partial(torch.mul, a[:, :_IN_ROW], b[:, :_IN_ROW])])
    return max(half - whole, half / 10) / _ROWS


def _hot_calls() -> "dict[str, list[Call]]":
    """What each phase of a tiny step does, one call at a time on the same arrays."""
    import torch

    a, b = torch.rand(_WIDTH, _WIDTH), torch.rand(_WIDTH, _WIDTH)
    multiply: Call = lambda: torch.mm(a, b)  # noqa: E731
    add: Call = lambda: torch.add(a, b)  # noqa: E731
    return {
        "forward": [multiply, lambda: torch.tanh(a), add],
        "backward": [
            lambda: torch.ops.aten.tanh_backward(a, b),
            multiply,
            multiply,
            lambda: torch.sum(a, 0),
            add,
        ],
    }


def _tiny_step() -> dict[str, tuple[float, int, int]]:
    """By phase of a step: median seconds, operators, and operators that only make a view."""
    import torch

    layers = [torch.nn.Linear(_WIDTH, _WIDTH) for _ in range(_LAYERS)]
    parameters = [p for layer in layers for p in layer.parameters()]
    given = torch.randn(_WIDTH, _WIDTH)
    loss: list[Any] = [None]

    def forward() -> None:
        x = given
        for layer in layers:
            x = x + torch.tanh(layer(x))
        loss[0] = x.mean()

    def backward() -> None:
        loss[0].backward()

    now = _clock()
    phases = {"forward": forward, "backward": backward}
    taken: dict[str, list[float]] = {phase: [] for phase in phases}
    for _ in range(_STEPS):
        for parameter in parameters:
            parameter.grad = None
        for phase, run in phases.items():
            start = now()
            run()
            taken[phase].append(now() - start)
    counts = dict(_counted(phases))
    return {phase: (sorted(each)[_STEPS // 2], *counts[phase]) for phase, each in taken.items()}


def _counted(phases: Mapping[str, Callable[[], object]]) -> Iterator[tuple[str, tuple[int, int]]]:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):  # type: ignore[misc, no-untyped-call, unused-ignore]
        operators = 0
        views = 0

        def __torch_dispatch__(
            self,
            func: Any,  # noqa: ANN401
            types: object,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> object:
            if func.is_view:
                self.views += 1
            elif func.namespace == "aten":
                self.operators += 1
            return func(*args, **(kwargs or {}))

    for phase, run in phases.items():
        with Count() as count:  # type: ignore[no-untyped-call, unused-ignore]
            run()
        yield phase, (count.operators, count.views)
