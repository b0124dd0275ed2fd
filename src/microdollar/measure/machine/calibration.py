"""Microbenchmarks: what this machine does in a second, measured in a few.

Every rate is the median of several repeats, each long enough for the clock. Compilation and
the first touch of memory are kept out. Shapes and sizes are those that small models and byte
counting use; a machine with other work on it gives lower rates and says so in ``spread``.
"""

import importlib.util
import math
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

from microdollar.errors import MissingExtraError
from microdollar.measure.machine.about import describe
from microdollar.spec.device import FUNCTIONS, Curve, Rates

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Report = Callable[[float, float, str], None]
"""Told ``done``, ``total`` and a label."""

MATMUL_SHAPES = (
    (1, 128, 128),
    (8, 128, 128),
    (32, 128, 128),
    (256, 128, 128),
    (1600, 256, 128),
    (4096, 256, 128),
    (1024, 1024, 1024),
)
"""(m, n, k), ascending in operations: recurrent steps, read-outs, then a large product."""

KIB, MIB = 2**10, 2**20
STREAM_BYTES = (256 * KIB, 4 * MIB, 32 * MIB, 256 * MIB)
INCREMENT_BYTES = (16 * KIB, 256 * KIB, 1 * MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB)
PROBE_NODES = (2**10, 2**12, 2**14, 2**16, 2**18, 2**20, 2**22)
FRESH_BYTES = (4 * MIB, 64 * MIB)
_FRESH_ARRAYS = 5
_PAGE = 4 * KIB
BYTES_PER_NODE = 40
"""Two slots of 4 bytes and a row of 32."""
ACCESSES = 256 * KIB  # of one run over a table
_ARRAY = 8 * KIB  # elements of the in-cache arrays
_SMALL_TABLE_SHARE = 8  # a table may take one part in this of the memory

_REPEATS = 5
_REPEAT_SECONDS = 0.008


def calibrate(progress: Report = lambda done, total, label: None) -> Rates:
    """Measure this machine for a few seconds.

    Args:
        progress: told how far it is, in steps.

    Returns:
        Rates; those of torch are absent where torch is not installed.

    Raises:
        MissingExtraError: if numba is not installed.
    """
    if importlib.util.find_spec("numba") is None:
        raise MissingExtraError("numba", "counts", "calibration")
    bench = _Bench(cores=describe().cores)
    steps: list[tuple[str, Callable[[_Bench], None]]] = [
        ("compiled arithmetic", _compiled_arithmetic),
        ("streaming", _streaming),
        ("new memory", _first_touch),
        ("increments", _increments),
        ("hash-table probes", _probes),
        ("numpy", _numpy),
    ]
    if importlib.util.find_spec("torch") is not None:
        steps.append(("torch", _torch))
    for done, (label, step) in enumerate(steps):
        progress(done, len(steps), label)
        step(bench)
    progress(len(steps), len(steps), "calibrated")
    return bench.rates()


@dataclass(slots=True)
class _Bench:
    """Rates measured so far, and how far repeats of the same thing lay apart."""

    cores: int
    matmul: dict[str, Curve] = field(default_factory=dict)
    matmul_gain: Curve = ((1.0, 1.0),)
    stream: Curve = ()
    stream_gain: float = 1.0
    elementwise: dict[str, float] = field(default_factory=dict)
    transcendental: dict[str, float] = field(default_factory=dict)
    first_touch: float = 0.0
    int_ops: float = 0.0
    increments: Curve = ()
    probes: Curve = ()
    random_gain: float = 1.0
    calls: dict[str, float] = field(default_factory=dict)
    log_ratios: list[float] = field(default_factory=list)

    def seconds(self, run: Callable[[], object]) -> float:
        """Median seconds of one ``run()``, over repeats of about 8 ms each."""
        run()
        start = time.perf_counter()
        run()
        once = max(time.perf_counter() - start, 1e-7)
        inner = max(1, min(20_000, round(_REPEAT_SECONDS / once)))
        taken = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            for _ in range(inner):
                run()
            taken.append((time.perf_counter() - start) / inner)
        median = sorted(taken)[_REPEATS // 2]
        self.log_ratios += [abs(math.log(seconds / median)) for seconds in taken]
        return median

    def together(self, runs: Sequence[Callable[[], object]]) -> float:
        """Median seconds until all of ``runs``, one a thread, are done."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(runs)) as pool:
            return self.seconds(lambda: [job.result() for job in [pool.submit(r) for r in runs]])

    def rates(self) -> Rates:
        ranked = sorted(self.log_ratios)
        return Rates(
            matmul_flops_per_second=self.matmul,
            matmul_thread_gain=self.matmul_gain,
            stream_bytes_per_second=self.stream,
            stream_thread_gain=self.stream_gain,
            elementwise_flops_per_second=self.elementwise,
            transcendental_flops_per_second=self.transcendental,
            first_touch_bytes_per_second=self.first_touch,
            int_ops_per_second=self.int_ops,
            increments_per_second=self.increments,
            probes_per_second=self.probes,
            random_thread_gain=self.random_gain,
            call_seconds=self.calls,
            spread=math.exp(ranked[min(len(ranked) - 1, math.ceil(0.8 * len(ranked)))]),
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _compiled_arithmetic(bench: _Bench) -> None:
    import numpy as np

    from microdollar.measure.machine import kernels

    for dtype in ("float32", "float64"):
        a = np.linspace(0.1, 2.0, _ARRAY, dtype=dtype)
        out = np.zeros_like(a)
        taken = bench.seconds(partial(kernels.multiply_add, a, out))
        bench.elementwise[f"compiled/{dtype}"] = 2 * a.size / taken
        loops = (kernels.exponentials, kernels.logarithms, kernels.hyperbolic_tangents)
        for name, loop in zip(FUNCTIONS, loops, strict=True):
            taken = bench.seconds(partial(loop, a, out))
            bench.transcendental[f"compiled/{dtype}/{name}"] = a.size / taken
    text = np.arange(4 * _ARRAY, dtype=np.uint8)
    hashes = np.zeros(text.size, np.uint64)
    taken = bench.seconds(lambda: kernels.integer_arithmetic(text, hashes))
    bench.int_ops = kernels.INTEGER_OPS_PER_BYTE * text.size / taken


def _streaming(bench: _Bench) -> None:
    import numpy as np

    from microdollar.measure.machine import kernels

    points = []
    for size in _sizes(STREAM_BYTES):
        source, out = np.ones(size // 16), np.zeros(size // 16)
        taken = bench.seconds(partial(kernels.stream, source, out))
        points.append((float(size), size / taken))
    bench.stream = tuple(points)
    if bench.cores > 1:
        halves = list(zip(np.split(source, 2), np.split(out, 2), strict=True))
        runs = [partial(kernels.stream, s, o) for s, o in halves]
        bench.stream_gain = _gain(bench, runs, single=taken / 2)


def _first_touch(bench: _Bench) -> None:
    """Arrays that are all held, so that each gets pages that this process never had.

    A page that was used and freed just now comes several times as fast as one that the system
    has to find, and in a virtual machine its host, too: learners that allocate much meet both.
    """
    import numpy as np

    size = max(_sizes(FRESH_BYTES))
    start = time.perf_counter()
    held = []
    for _ in range(_FRESH_ARRAYS):
        held.append(np.empty(size, np.uint8))
        held[-1][::_PAGE] = 1
    bench.first_touch = size * _FRESH_ARRAYS / (time.perf_counter() - start)


def _gain(bench: _Bench, runs: Sequence[Callable[[], object]], single: float) -> float:
    """Speed of all cores over that of one, scaled up from two threads."""
    pair = len(runs) * single / bench.together(runs)
    return max(1.0, 1.0 + (pair - 1.0) * (bench.cores - 1))


def _increments(bench: _Bench) -> None:
    import numpy as np

    from microdollar.measure.machine import kernels

    places = _text_like()
    points = []
    for size in _sizes(INCREMENT_BYTES):
        table = np.zeros(size // 4, np.uint32)
        taken = bench.seconds(partial(kernels.increments, table, places))
        points.append((float(size), places.size / taken))
    bench.increments = tuple(points)
    if bench.cores > 1:
        tables = [np.zeros(64 * KIB, np.uint32) for _ in range(2)]
        runs = [partial(kernels.increments, table, places) for table in tables]
        single = bench.seconds(runs[0])
        bench.random_gain = _gain(bench, runs, single)


def _text_like() -> "npt.NDArray[np.uint32]":
    """Words of four bytes, each byte as unequal as those of text: probability 1 / (2 + rank).

    Tables that count text are indexed by its bytes, so few of their cells get most of the
    increments, and caches hold those: uniform places would take more than twice as long.
    """
    import numpy as np

    chance = np.random.default_rng(1)
    weights = 1.0 / (2.0 + np.arange(256))
    value_of_rank = chance.permutation(256)
    drawn = chance.choice(value_of_rank, size=(ACCESSES, 4), p=weights / weights.sum())
    return drawn.astype(np.uint8).view(np.uint32).ravel()


def _probes(bench: _Bench) -> None:
    import numpy as np

    from microdollar.measure.machine import kernels

    chance = np.random.default_rng(1)
    places = chance.integers(0, 2**32, ACCESSES // 8, dtype=np.uint32)
    # Other keys in every run, or the caches would hold what a large table was asked for.
    salts = cycle(chance.integers(0, 2**32, (256, 8), dtype=np.uint32))
    points = []
    for size in _sizes(tuple(BYTES_PER_NODE * nodes for nodes in PROBE_NODES)):
        nodes = size // BYTES_PER_NODE
        slots, rows = np.zeros(2 * nodes, np.uint32), np.zeros((nodes, 4), np.int64)
        kernels.insert(slots, rows)
        taken = bench.seconds(
            lambda slots=slots, rows=rows: kernels.probes(slots, rows, places, next(salts))  # type: ignore[misc]
        )
        points.append((float(size), ACCESSES / taken))
    bench.probes = tuple(points)


def _sizes(sizes: tuple[int, ...]) -> Iterator[int]:
    """Those of ``sizes`` that fit comfortably into the memory; at least the first."""
    memory = describe().memory_bytes or 2**31
    yield sizes[0]
    yield from (size for size in sizes[1:] if size <= memory // _SMALL_TABLE_SHARE)


def _numpy(bench: _Bench) -> None:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):  # as the learners use it
        _numpy_on_one_thread(bench)


def _numpy_on_one_thread(bench: _Bench) -> None:
    import numpy as np

    tiny = np.ones((4, 4), np.float32)
    sum_of_tiny = np.zeros_like(tiny)
    bench.calls["numpy"] = bench.seconds(partial(np.add, tiny, tiny, out=sum_of_tiny))
    for dtype in ("float32", "float64"):
        a = np.linspace(0.1, 2.0, _ARRAY, dtype=dtype)
        out = np.empty_like(a)
        taken = bench.seconds(partial(np.multiply, a, a, out=out))
        bench.elementwise[f"numpy/{dtype}"] = a.size / _net(taken, bench.calls["numpy"])
        for name in FUNCTIONS:
            taken = bench.seconds(partial(getattr(np, name), a, out=out))
            bench.transcendental[f"numpy/{dtype}/{name}"] = a.size / _net(
                taken, bench.calls["numpy"]
            )
        bench.matmul[f"numpy/{dtype}"] = _matmul_curve(
            bench,
            partial(_numpy_factors, dtype),
            bench.calls["numpy"],
        )


def _numpy_factors(dtype: str, m: int, n: int, k: int) -> tuple[Any, Any]:
    import numpy as np

    return np.ones((m, k), dtype), np.ones((k, n), dtype)


def _net(taken: float, call: float) -> float:
    """Seconds without the overhead of the call, which is never the greater part of them."""
    return max(taken - call, taken / 2)


def _matmul_curve(
    bench: _Bench, factors: Callable[[int, int, int], tuple[Any, Any]], call: float
) -> Curve:
    points = []
    for m, n, k in MATMUL_SHAPES:
        left, right = factors(m, n, k)
        taken = bench.seconds(partial(operator.matmul, left, right))
        points.append((2.0 * m * n * k, 2.0 * m * n * k / _net(taken, call)))
    return tuple(points)


def _torch(bench: _Bench) -> None:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            tiny = torch.ones(4, 4)
            call = bench.seconds(partial(torch.add, tiny, tiny, out=torch.empty(4, 4)))
            bench.calls["torch"] = call
            for dtype in ("float32", "float64"):
                a = torch.linspace(0.1, 2.0, _ARRAY, dtype=getattr(torch, dtype))
                taken = bench.seconds(partial(torch.mul, a, a))
                bench.elementwise[f"torch/{dtype}"] = _ARRAY / _net(taken, call)
                for name in FUNCTIONS:
                    taken = bench.seconds(partial(getattr(torch, name), a))
                    bench.transcendental[f"torch/{dtype}/{name}"] = _ARRAY / _net(taken, call)
            for dtype in ("float32", "float64", "bfloat16"):
                bench.matmul[f"torch/{dtype}"] = _torch_matmul(bench, dtype, call)
            if bench.cores > 1:
                torch.set_num_threads(bench.cores)
                shared = _torch_matmul(bench, "float32", call)
                single = bench.matmul["torch/float32"]
                bench.matmul_gain = tuple(
                    (size, max(1.0, all_cores / one))
                    for (size, all_cores), (_, one) in zip(shared, single, strict=True)
                )
    finally:
        torch.set_num_threads(threads)


def _torch_matmul(bench: _Bench, dtype: str, call: float) -> Curve:
    import torch

    kind = getattr(torch, dtype)
    return _matmul_curve(
        bench, lambda m, n, k: (torch.ones(m, k, dtype=kind), torch.ones(k, n, dtype=kind)), call
    )
