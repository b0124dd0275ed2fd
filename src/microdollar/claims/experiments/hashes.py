"""The document's network in numbers: its weights, and the codes of its hashes."""

import math
from collections import Counter

from microdollar.claims.experiments.base import Context
from microdollar.claims.record import Values
from microdollar.learn.elman import shapes
from microdollar.learn.study import codes
from microdollar.spec.arithmetic import Interval


def run(context: Context) -> Values:
    """Distinct codes of 256 bytes under each design: ``mixed``, ``bit_extraction`` and so on.

    ``sharing`` bytes have the mixed code of another one. ``W_x``, ``W_h``, ``b_h``, ``W_y`` and
    ``b_y`` are the sizes of the arrays of 128 units, ``parameters`` their sum.
    """
    designs = {
        "mixed": codes.mixed(),
        "mixed_16": codes.mixed(16),
        "bit_extraction": codes.bit_extraction(),
        "semantic": codes.semantic(),
        "hybrid": codes.hybrid(),
    }
    of_code = Counter(signs.tobytes() for signs in designs["mixed"])
    sizes = {name: math.prod(shape) for name, shape in shapes(128).items()}
    found = {
        **{name: codes.distinct(signs) for name, signs in designs.items()},
        "sharing": sum(count for count in of_code.values() if count > 1),
        **sizes,
        "parameters": sum(sizes.values()),
    }
    return {name: Interval.of(float(value)) for name, value in found.items()}
