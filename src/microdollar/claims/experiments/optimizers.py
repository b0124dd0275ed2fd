"""What optimizers keep and move for each parameter, and how long their steps take."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.parts import Part, kept, spread
from microdollar.claims.record import Values
from microdollar.spec.arithmetic import Interval
from microdollar.spec.model_catalog import load_model_spec
from microdollar.spec.parameter_shapes import model_shapes
from microdollar.work.formulas.collins import STATES, model_state_bytes, step_bytes

if TYPE_CHECKING:
    from torch.nn import Parameter

MODELS = {"128m": "gpt2", "350m": "gpt2-medium", "1b": "pythia-1b", "1300m": "opt-1.3b"}
"""The catalog's model nearest to each size of the document, whose tensors' shapes are taken."""
ROUNDS = 15
LAYERS, WIDTH = 14, 256
"""12.6 million parameters in 100 tensors of a GPT's shapes."""
COMPRESSION = 34
"""Of the document's code."""


def count(context: Context) -> Values:
    """Bytes of state a parameter, by formula: ``collins_SIZE`` and ``mini_SIZE``.

    ``factored_exponent`` is that of a factored second moment without momentum, of square matrices
    of 1,024 and 4,096 rows, in their parameters; ``adamw_exponent`` the same of AdamW.
    ``collins_moved`` is what a step of Collins reads and writes a parameter of a large matrix,
    from cached gradients to gradients read twice.
    """
    found: dict[str, Interval] = {}
    for size, name in MODELS.items():
        shapes = list(model_shapes(load_model_spec(name)))
        elements = sum(one.elements for one in shapes)
        tensors = [one.shape for one in shapes for _ in range(one.count)]
        for key, (m_state, v_state) in zip(("collins", "mini"), STATES.values(), strict=True):
            state = model_state_bytes(tensors, m_state, v_state)
            found[f"{key}_{size}"] = Interval.of(state / elements)
    for key, m_state, v_state in (("factored", "none", "factored"), ("adamw", "fp32", "fp32")):
        small, large = (model_state_bytes([(n, n)], m_state, v_state) for n in (1024, 4096))
        found[f"{key}_exponent"] = Interval.of(math.log(large / small) / math.log(16))
    side = 4096
    low, high = (step_bytes((side, side), cached=one) / side**2 for one in (True, False))
    found["collins_moved"] = Interval(value=(low + high) / 2, low=low, high=high)
    return found


def steps(context: Context) -> Values:
    """Seconds of a step beside torch's fused AdamW, and the bytes of state that are really held.

    One thread; the sides step in turn, and what counts is the ratio within a round, of the
    processor's seconds. ``NAME_speed`` is AdamW's time over its own, ``NAME_state`` its bytes a
    parameter; NAME is ``collins``, ``mini``, ``sketch`` (both moments at 32 elements a bucket) or
    ``code`` (the document's listing).
    """
    part = kept(context, "steps", partial(_steps, context))
    found = {name: Interval.of(part[name]) for name in part if name.endswith("_state")}
    for name in ("collins", "mini", "sketch", "code"):
        found[f"{name}_speed"] = spread([part[f"{name}_{k}"] for k in range(_rounds(name))])
    return found


def _rounds(name: str) -> int:
    return 3 if name == "code" else ROUNDS


def _shapes() -> Iterator[tuple[int, ...]]:
    yield from ((22 * WIDTH, WIDTH), (WIDTH, WIDTH))
    for _ in range(LAYERS):
        yield from ((3 * WIDTH, WIDTH), (WIDTH, WIDTH), (4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH))
        yield from ((WIDTH,), (WIDTH,), (3 * WIDTH,))


def _steps(context: Context) -> Part:
    import torch

    from microdollar.claims.experiments.listing import Listing
    from microdollar.learn.optim import Collins, optimizer_state_bytes

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(context.seed)
        grads = [torch.randn(shape) * 1e-3 for shape in _shapes()]
        many = sum(grad.numel() for grad in grads)

        def parameters() -> "list[Parameter]":
            made = [torch.nn.Parameter(torch.randn(grad.shape) * 0.02) for grad in grads]
            for one, grad in zip(made, grads, strict=True):
                one.grad = grad
            return made

        optimizers = {
            "adamw": torch.optim.AdamW(parameters(), fused=True),
            "collins": Collins(parameters()),
            "mini": Collins.mini(parameters()),
            "sketch": Collins(
                parameters(), m_state="sketch", v_state="sketch", compression=32, exact_below=0
            ),
        }
        listing = Listing(parameters(), compression=COMPRESSION, seed=context.seed)
        runs: dict[str, Callable[[], object]] = {n: one.step for n, one in optimizers.items()}
        for run in runs.values():
            run()
        found: dict[str, float] = {}
        for k in range(ROUNDS):
            context.progress(k, ROUNDS, "steps")
            found |= {f"{name}_{k}": _seconds(run) for name, run in runs.items()}
            if k < _rounds("code"):
                found[f"code_{k}"] = _seconds(listing.step)
            base = found.pop(f"adamw_{k}")
            for name in ("collins", "mini", "sketch", "code"):
                if k < _rounds(name):
                    found[f"{name}_{k}"] = base / found[f"{name}_{k}"]
        for name, one in optimizers.items():
            found[f"{name}_state"] = optimizer_state_bytes(one) / many
        found["code_state"] = listing.state_bytes / many
        return found
    finally:
        torch.set_num_threads(threads)


def _seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began
