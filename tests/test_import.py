"""``import microdollar`` is cheap, and gives every public name when it is asked for."""

import json
import subprocess
import sys

import pytest

import microdollar


def fresh(code: str) -> str:
    """What Python code prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_import_loads_nothing_heavy() -> None:
    loaded = set(
        json.loads(fresh("import microdollar, sys, json; print(json.dumps([*sys.modules]))"))
    )
    assert not loaded & {
        "numpy",
        "torch",
        "numba",
        "click",
        "rich",
        "sqlite3",
        "importlib.metadata",
    }
    assert {name for name in loaded if name.startswith("microdollar")} == {"microdollar"}


TIMES = """
import subprocess, sys, time

def best(text):
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", text], check=True)
        taken.append(time.perf_counter() - start)
    return min(taken)

print(best("import microdollar") / best("import numpy"))
"""


def test_import_costs_less_than_that_of_numpy() -> None:
    """Against another program in the same minute, for no machine is always as fast."""
    assert float(fresh(TIMES)) < 1.0


@pytest.mark.parametrize("name", microdollar.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(microdollar, name) is getattr(microdollar, name)
    assert name in dir(microdollar)


def test_star_import_gives_all_and_only_public_names() -> None:
    names: dict[str, object] = {}
    exec("from microdollar import *", names)
    assert set(microdollar.__all__) == set(names) - {"__builtins__"}
    assert microdollar.__all__ == sorted(microdollar.__all__)


def test_names_are_what_they_say() -> None:
    from importlib.metadata import version

    from microdollar.learn.registry import create

    assert microdollar.__version__ == version("microdollar")
    assert microdollar.learner is create
    assert issubclass(microdollar.MicrodollarError, Exception)
    quantity = microdollar.Quantity(value=1.0, basis="formula")
    assert quantity.low == 1.0


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = microdollar.nonsense


def test_log_messages_go_nowhere_unless_asked_for() -> None:
    code = "import microdollar, logging; logging.getLogger('microdollar').warning('unheard')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
