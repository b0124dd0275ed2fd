"""Which code and which packages a run used."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("microdollar", "numpy", "numba", "torch", "pyppmd")


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that the numbers depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Commit of the checkout that this package runs from, ``-dirty`` if it was changed.

    None if it runs from an installed copy, or git is not there.
    """
    file = Path(__file__).resolve()
    here = file.parent.parent  # the whole package
    try:
        if _git(here, "ls-files", "--error-unmatch", str(file)) is None:
            return None
        head = _git(here, "rev-parse", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.TimeoutExpired):
        return None
    if head is None:
        return None
    return f"{head}-dirty" if changed else head


def _git(folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None
