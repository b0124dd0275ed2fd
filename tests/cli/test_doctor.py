"""``microdollar doctor``: what it finds, and when it fails."""

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest

from microdollar.cli.errors import EXTRAS
from microdollar.cli.main import main
from microdollar.measure.machine import describe
from microdollar.run.device import calibration_path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path))
    return tmp_path


def found(capsys: pytest.CaptureFixture[str], code: int = 0) -> dict:
    assert main(["doctor", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_sound_machine(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = found(capsys)
    assert said["schema_version"] == 1
    assert said["problems"] == []
    assert said["microdollar"] == metadata.version("microdollar")
    assert said["cores"] >= 1
    packages = {package["name"]: package for package in said["packages"]}
    assert set(packages) == {"click", "numpy", "rich", *EXTRAS}
    assert packages["numpy"]["version"] == metadata.version("numpy")
    for name, package in packages.items():
        assert (package["needed_for"] == "every command") == (name not in EXTRAS)
    assert said["ledger"] == {
        "file": str(home / "ledger.db"),
        "exists": False,
        "rows": 0,
        "problem": None,
    }
    assert said["calibration"]["measured_at"] is None
    assert {sensor["name"] for sensor in said["sensors"]} == {"RAPL", "NVML"}
    assert str(home) in {folder["folder"] for folder in said["folders"]}
    assert list(home.iterdir()) == []


def test_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert f"numpy        {metadata.version('numpy')}" in out
    assert "not measured yet. Type: microdollar calibrate" in out
    assert err == ""


def test_missing_package_is_no_fault_but_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    really = metadata.version

    def without_pyppmd(name: str) -> str:
        if name == "pyppmd":
            raise metadata.PackageNotFoundError(name)
        return really(name)

    monkeypatch.setattr(metadata, "version", without_pyppmd)
    said = found(capsys)
    package = next(package for package in said["packages"] if package["name"] == "pyppmd")
    assert package["version"] is None
    assert package["install"] == "pip install 'microdollar[counts]'"
    assert said["problems"] == []
    assert main(["doctor"]) == 0
    assert "not installed; for comparing with PPMd. Type: pip" in capsys.readouterr().out


def test_package_that_can_not_be_imported_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyppmd", None)
    said = found(capsys, code=3)
    assert len(said["problems"]) == 1
    assert said["problems"][0].startswith("pyppmd ")
    assert "can't be imported" in said["problems"][0]


def test_damaged_ledger_and_calibration_fail(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "ledger.db").write_bytes(b"not a ledger at all, but long enough to be one" * 100)
    path = calibration_path(describe())
    path.parent.mkdir()
    path.write_text("{")
    assert main(["doctor", "--json"]) == 3
    out, err = capsys.readouterr()
    problems = json.loads(out)["problems"]
    assert len(problems) == 2
    assert str(path) in problems[0]
    assert "is not a ledger" in problems[1]
    assert err == f"error: {problems[0]} (and 1 more)\n"
    assert main(["doctor"]) == 3
    assert capsys.readouterr().out.count("BROKEN") == 2


def test_home_that_can_not_be_made_fails(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("MICRODOLLAR_HOME", str(home / "file" / "below"))
    problems = found(capsys, code=3)["problems"]
    assert any("is a file, not a folder" in problem for problem in problems)


def test_every_extra_that_is_named_exists() -> None:
    known = set(metadata.metadata("microdollar").get_all("Provides-Extra") or [])
    assert set(EXTRAS.values()) <= known
