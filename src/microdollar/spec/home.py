"""The user's folder: where ledger, calibrations and downloads are kept."""

import os
from pathlib import Path

LEDGER_NAME = "ledger.db"
"""The user's own ledger, in that folder."""


def home_folder() -> Path:
    """``MICRODOLLAR_HOME`` if that is set, else the application folder of this system.

    It need not exist yet; who writes into it makes it.
    """
    if home := os.environ.get("MICRODOLLAR_HOME"):
        return Path(home).expanduser()
    from click import get_app_dir

    return Path(get_app_dir("microdollar"))
