"""Flower is told not to report its use before it is first imported."""

from contextlib import suppress

from microdollar.errors import MissingExtraError
from microdollar.learn.concepts.federated.flower import require_flower

with suppress(MissingExtraError):  # the modules that need it are skipped
    require_flower("tests of federated learning")
