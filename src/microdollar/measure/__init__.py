"""The same quantities from a real run. Sees no prediction."""

from microdollar.measure.meter import Meter
from microdollar.measure.reading import Reading

__all__ = ["Meter", "Reading"]
