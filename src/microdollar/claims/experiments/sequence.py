"""How the work and the time of sequence layers grow: counted, and measured on this machine."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from math import log

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.parts import Part, alone, kept, spread
from microdollar.claims.record import Values
from microdollar.run.crossover.grid import Mode, Point
from microdollar.spec.arithmetic import Interval
from microdollar.work.formulas.sequence_forms import FormSizes, product_flops, projections

LINEAR = ("linear-attention", "state-space", "rwkv")
WIDTH = 128
LENGTHS = (2048, 8192)
"""Between which time is measured: the shorter is long enough for its squares to be most of it."""
ROUNDS: Mapping[str, int] = {"forward": 7, "decode": 41}
SHORTEST_SECONDS = 0.02
"""A round of a point runs as often as this takes: a clock's own time weighs on what is shorter."""
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**31)}
"""glibc adapts these to what ran before, so that arrays of one length cost page faults and those
of the other none: naive attention came out at 2.33 after other experiments, RWKV at 1.22 alone."""


def count(context: Context) -> Values:
    """Exponents of operations, from lengths of 65,536 to 131,072 or at a width doubled.

    ``attention_n`` and ``attention_d`` of scores and their use in the length and the width;
    ``LAYER_n`` of a whole layer in the length, ``linear_attention_d`` of what replaces the scores,
    with one head, in the width; ``LAYER_step`` of one more token in the tokens before.
    """
    length = 65_536
    found = {
        "attention_n": _growth(_scores(2 * length, WIDTH), _scores(length, WIDTH)),
        "attention_d": _growth(_scores(length, 2 * WIDTH), _scores(length, WIDTH)),
        "linear_attention_d": _growth(_sums(length, 8192), _sums(length, 4096)),
        "attention_step": _growth(*_products("attention", "decode", length)),
    }
    for layer in LINEAR:
        name = layer.replace("-", "_")
        found[f"{name}_n"] = _growth(*_products(layer, "forward", length))
        found[f"{name}_step"] = _growth(*_products(layer, "decode", length))
    return {name: Interval.of(value) for name, value in found.items()}


def _growth(more: float, less: float) -> float:
    return log(more / less) / log(2)


def _products(layer: str, mode: str, length: int) -> tuple[int, int]:
    sizes = FormSizes(width=WIDTH, inner=2 * WIDTH, dt_rank=8)
    longer = product_flops(layer, mode, 2 * length, sizes)
    return longer, product_flops(layer, mode, length, sizes)


def _scores(length: int, width: int) -> int:
    sizes = FormSizes(width=width)
    whole = product_flops("attention-naive", "forward", length, sizes)
    return whole - projections(length, sizes)


def _sums(length: int, width: int) -> int:
    """Of linear attention with one head of the whole width, less its projections."""
    sizes = FormSizes(width=width, heads=1)
    whole = product_flops("linear-attention", "forward", length, sizes)
    return whole - projections(length, sizes)


def measure(context: Context) -> Values:
    """Exponents of measured seconds of the processor, one thread, 128 features.

    ``LAYER_seconds`` from 2,048 to 8,192 positions, ``LAYER_step_seconds`` of one more token after
    so many; ``attention`` is the naive form. The two lengths run in turn, and what counts is their
    ratio within a round: other work on the machine disturbs both.
    """
    values: dict[str, Interval] = {}
    jobs: list[tuple[str, Mode]] = [
        (layer, mode) for layer in ("attention-naive", *LINEAR) for mode in ("forward", "decode")
    ]
    for number, (layer, mode) in enumerate(jobs):
        context.progress(number, len(jobs), f"{layer}, {mode}")
        rounds = ROUNDS[mode]
        find = partial(_exponents, layer, mode, rounds, context.seed)
        part = kept(context, f"{layer}-{mode}", find)
        name = layer.replace("attention-naive", "attention").replace("-", "_")
        step = "_step" if mode == "decode" else ""
        values[f"{name}{step}_seconds"] = spread([part[f"{k}"] for k in range(rounds)])
    context.progress(1, 1, "")
    return values


def _exponents(layer: str, mode: Mode, rounds: int, seed: int) -> Part:
    """One a round, from a process of its own, whose allocator does not adapt."""
    return alone(__name__, layer, mode, WIDTH, *LENGTHS, rounds, seed, env=ALLOCATOR)


def _child(
    layer: str, mode: Mode, width: int, short: int, long: int, rounds: int, seed: int
) -> Part:
    """What the process of its own measures."""
    import torch

    from microdollar.run.crossover.module_torch import build, runner

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    runs = []
    for length in (short, long):
        point = Point(layer=layer, mode=mode, width=width, length=length)
        run = runner(mode, *build(point))
        _seconds(run, 1)
        inner = max(1, round(SHORTEST_SECONDS / _seconds(run, 1)))
        runs.append((run, inner))
    found = {}
    for k in range(rounds):
        shorter, longer = (_seconds(run, inner) for run, inner in runs)
        found[f"{k}"] = log(longer / shorter) / log(long / short)
    return found


def _seconds(run: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        run()
    return max(time.process_time() - began, 1e-7) / times


if __name__ == "__main__":
    _mode: Mode = "decode" if sys.argv[2] == "decode" else "forward"
    _found = _child(sys.argv[1], _mode, *map(int, sys.argv[3:8]))
    sys.stdout.write(json.dumps(_found) + "\n")
