"""How the work and the time of sequence layers grow: counted, and measured on this machine."""

from functools import partial
from math import log

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.parts import Part, kept
from microdollar.claims.record import Values
from microdollar.run.crossover.grid import Mode, Point
from microdollar.spec.arithmetic import Interval
from microdollar.work.formulas.sequence_forms import FormSizes, product_flops, projections

LINEAR = ("linear-attention", "state-space", "rwkv")
WIDTH = 128
LENGTHS = (2048, 8192)
"""Between which time is measured: the shorter is long enough for its squares to be most of it."""
REPEATS = 5


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
    so many; ``attention`` is the naive form. Low and high are from the 80 % intervals of the two
    times.
    """
    values: dict[str, Interval] = {}
    jobs: list[tuple[str, Mode]] = [
        (layer, mode) for layer in ("attention-naive", *LINEAR) for mode in ("forward", "decode")
    ]
    for number, (layer, mode) in enumerate(jobs):
        context.progress(number, len(jobs), f"{layer}, {mode}")
        part = kept(context, f"{layer}-{mode}", partial(_seconds, layer, mode, context.seed))
        span = log(LENGTHS[1] / LENGTHS[0])
        name = layer.replace("attention-naive", "attention").replace("-", "_")
        values[f"{name}{'_step' if mode == 'decode' else ''}_seconds"] = Interval(
            value=log(part["long"] / part["short"]) / span,
            low=log(part["long_low"] / part["short_high"]) / span,
            high=log(part["long_high"] / part["short_low"]) / span,
        )
    context.progress(1, 1, "")
    return values


def _seconds(layer: str, mode: Mode, seed: int) -> Part:
    from microdollar.run.crossover.measure_torch import measure as measured
    from microdollar.spec.device_catalog import load_device

    device = load_device("epyc-7b13")
    found: dict[str, float] = {}
    for name, length in zip(("short", "long"), LENGTHS, strict=True):
        point = Point(layer=layer, mode=mode, width=WIDTH, length=length)
        seconds = measured(point, device, repeats=REPEATS, seed=seed).cpu_seconds
        assert seconds.value is not None
        found[name] = seconds.value
        found[f"{name}_low"] = seconds.low or seconds.value
        found[f"{name}_high"] = seconds.high or seconds.value
    return found
