"""Whether Flower is there, without importing it: modules named ``*_flower`` need it."""

import importlib.util
import os

from microdollar.errors import MissingExtraError

PINNED = "1.41.0"
"""The version whose transport and messages this package was tested with."""


def require_flower(need: str) -> None:
    """Prepare for importing Flower; call it before any ``*_flower`` module is imported.

    Flower reports its use and looks for updates over the network unless told not to before it
    is imported; unless the user has set these variables, it is told not to.

    Raises:
        MissingExtraError: if it is not installed; ``need`` says what needs it.
    """
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    if importlib.util.find_spec("flwr") is None:
        raise MissingExtraError("flwr", "federated", need)
