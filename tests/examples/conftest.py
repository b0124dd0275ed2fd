"""A user's folder of its own, in which this machine was measured already."""

import pytest

from microdollar.measure.machine import describe
from microdollar.run.device import save_rates


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, rates):
    """A folder for the ledger, which holds a calibration of this machine."""
    folder = tmp_path / "home"
    monkeypatch.setenv("MICRODOLLAR_HOME", str(folder))
    save_rates(describe(), rates)
    return folder
