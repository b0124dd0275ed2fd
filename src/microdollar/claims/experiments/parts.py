"""What experiments share: parts kept, spreads, counted products, processes of their own."""

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from microdollar.claims.experiments.base import Context
from microdollar.files import whole_file
from microdollar.spec.arithmetic import Interval

Part = Mapping[str, float]
"""Numbers by name."""


def kept(context: Context, name: str, find: Callable[[], Part]) -> Part:
    """Numbers of a part: those of an earlier run, else found now and kept.

    Args:
        context: whose folder holds parts; without one nothing is kept.
        name: of the part, unique in the experiment, usable as a file's name.
        find: called if there is none yet.
    """
    if context.folder is None:
        return find()
    path = context.folder / f"{name}.json"
    try:
        found = json.loads(path.read_text("utf-8"))
        if found and all(isinstance(one, float) and math.isfinite(one) for one in found.values()):
            return dict(found)
    except (OSError, ValueError, AttributeError, RecursionError):
        pass
    made = {key: float(value) for key, value in find().items()}
    context.folder.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as out:
        json.dump(made, out, indent=1, allow_nan=False)
    return made


def spread(numbers: Sequence[float]) -> Interval:
    """Median of repeated numbers, between those that hold 80 % of them.

    Of fewer than ten the ends are the least and the largest.
    """
    ordered = sorted(numbers)
    middle = statistics.median(ordered)
    if len(ordered) < 10:
        return Interval(value=middle, low=ordered[0], high=ordered[-1])
    tenths = statistics.quantiles(ordered, n=10, method="inclusive")
    return Interval(value=middle, low=tenths[0], high=tenths[-1])


def products(loss: Callable[[], Any]) -> tuple[int, int]:
    """Products of a forward pass, and of it and the backward pass, as torch counts operations.

    Args:
        loss: the forward pass; gives a scalar tensor that has gradients.
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter:
        found = loss()
        forward = counter.get_total_flops()
        found.backward()
        both = counter.get_total_flops()
    return int(forward), int(both)


def alone(module: str, *words: object, env: Mapping[str, str] | None = None) -> dict[str, float]:
    """Numbers that a module prints as JSON, last of all, when it runs in a process of its own.

    Args:
        module: its full name.
        words: what it is given on its command line.
        env: variables beside those of this process.

    Raises:
        RuntimeError: if it fails; says its last line.
    """
    ran = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        capture_output=True, text=True, check=False, env=os.environ | dict(env or {}),
    )  # fmt: skip
    if ran.returncode:
        last = ran.stderr.strip().splitlines()[-1:]
        raise RuntimeError(f"{' '.join((module, *map(str, words)))} failed: {' '.join(last):.300}")
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found
