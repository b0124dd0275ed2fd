"""The user's folder is one rule, and everything that is kept goes there."""

from pathlib import Path

import click
import pytest

from microdollar.learn.corpus_enwik8 import cache_folder
from microdollar.ledger import default_path
from microdollar.measure.machine import describe
from microdollar.run.device import calibration_path
from microdollar.spec.home import home_folder


def test_a_tilde_is_the_home_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("MICRODOLLAR_HOME", "~/kept")
    assert home_folder() == Path("/somewhere/kept")
    assert default_path() == Path("/somewhere/kept/ledger.db")
    assert cache_folder() == Path("/somewhere/kept/corpora")
    assert calibration_path(describe()).parent == Path("/somewhere/kept/calibrations")


@pytest.mark.parametrize("value", [None, ""])
def test_without_it_the_application_folder(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("MICRODOLLAR_HOME", raising=False)
    else:
        monkeypatch.setenv("MICRODOLLAR_HOME", value)
    assert home_folder() == Path(click.get_app_dir("microdollar"))
