"""The codes of the documents' hashes, counted."""

from microdollar.claims.experiments.base import Context
from microdollar.claims.record import Values
from microdollar.learn.study import codes
from microdollar.spec.arithmetic import Interval


def run(context: Context) -> Values:
    """Distinct codes of 256 bytes under each design: ``mixed``, ``bit_extraction`` and so on."""
    designs = {
        "mixed": codes.mixed(),
        "mixed_16": codes.mixed(16),
        "bit_extraction": codes.bit_extraction(),
        "semantic": codes.semantic(),
        "hybrid": codes.hybrid(),
    }
    return {name: Interval.of(float(codes.distinct(signs))) for name, signs in designs.items()}
