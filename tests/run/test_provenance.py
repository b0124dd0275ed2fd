"""Which code a run used."""

import shutil
import subprocess
from pathlib import Path

import pytest

from microdollar.run import provenance

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *words: str) -> None:
    name = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of its own, which the module under test takes for the one it is in."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    folder = tmp_path / "package"
    (folder / "run").mkdir(parents=True)
    (folder / "run" / "provenance.py").touch()
    (folder / "units.py").touch()
    monkeypatch.setattr(provenance, "__file__", str(folder / "run" / "provenance.py"))
    return folder


def test_no_checkout_has_no_commit(package: Path) -> None:
    assert provenance.commit() is None


@needs_git
def test_a_copy_inside_somebody_s_repository_has_no_commit(package: Path) -> None:
    git(package, "init")
    (package / "other").touch()
    git(package, "add", "other")
    git(package, "commit", "-m", "x")
    assert provenance.commit() is None


@needs_git
def test_a_change_anywhere_in_the_package_is_told(package: Path) -> None:
    git(package.parent, "init")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-m", "x")
    commit = provenance.commit()
    assert commit is not None and len(commit) == 40
    (package.parent / "untracked").touch()
    assert provenance.commit() == commit
    (package / "units.py").write_text("x = 1\n")
    assert provenance.commit() == f"{commit}-dirty"


def test_without_git_there_is_no_commit(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(package))
    assert provenance.commit() is None


def test_versions_are_those_of_what_is_installed() -> None:
    found = provenance.versions()
    assert {"python", "microdollar", "numpy"} <= set(found)
    assert all(version and version[0].isdigit() for version in found.values())
