"""Install the wheel with one extra at a time, and try what each is for.

    python tests/wheel/check.py dist/microdollar-*.whl [EXTRA...]

For every extra that ``smokes.toml`` knows (or those named; ``core`` is none): a fresh virtual
environment under ``dist/extras``, the wheel with that extra alone and the versions of
``constraints.txt``, and then

- the distributions that are there agree with each other (``pip check``),
- every module of the package imports, or lacks a package that the program knows to name
  (``microdollar.cli.errors.EXTRAS``),
- the extra's smokes pass,
- each command whose packages are not there, or not all of them, ends with exit code 1 and a line
  that says what to type.

Prints a table, and ends with 1 if anything failed. An environment is removed when it is done.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMOKES = tomllib.loads(Path(__file__).with_name("smokes.toml").read_text("utf-8"))
EXTRAS = tuple(dict.fromkeys(smoke["extra"] for smoke in SMOKES["smoke"]))
PACKAGES = {package for missing in SMOKES["missing"] for package in missing["needs"]}
LIMIT_SECONDS = 600

IMPORT_ALL = """
import importlib, pkgutil, sys, microdollar
from microdollar.cli.errors import EXTRAS
from microdollar.errors import MissingExtraError
bad, count = [], 0
for module in pkgutil.walk_packages(microdollar.__path__, "microdollar."):
    if module.name.endswith("__main__"): continue
    count += 1
    try:
        importlib.import_module(module.name)
    except MissingExtraError:
        pass
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] not in {*EXTRAS, "triton"}:
            bad.append(f"{module.name} needs {error.name}, which no extra brings")
print(count, "modules")
sys.exit("\\n".join(bad) or 0)
"""


@dataclass
class Outcome:
    """What came out of one environment."""

    extra: str
    megabytes: int = 0
    install_seconds: float = 0.0
    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    named: int = 0
    """Missing packages that a command named as it should."""


class Environment:
    """A virtual environment with the wheel and one extra, and an empty folder to work in."""

    def __init__(self, wheel: Path, extra: str) -> None:
        self.folder = ROOT / "dist" / "extras" / extra
        shutil.rmtree(self.folder, ignore_errors=True)
        self.work = self.folder / "work"
        self.work.mkdir(parents=True)
        self.bin = self.folder / "venv" / "bin"
        self.variables = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))},
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "MICRODOLLAR_HOME": str(self.folder / "home"),
            "REPO": str(ROOT),
        }
        wanted = str(wheel) if extra == "core" else f"{wheel}[{extra}]"
        subprocess.run([sys.executable, "-m", "venv", self.folder / "venv"], check=True)
        subprocess.run(
            [self.bin / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet",
             "--no-compile", "--constraint", ROOT / "constraints.txt", wanted],
            check=True,
        )  # fmt: skip

    def run(self, lines: str) -> subprocess.CompletedProcess[str]:
        """Lines of bash, the first that fails ending them; what they say is one text."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", lines],
            cwd=self.work,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    def has(self, package: str) -> bool:
        """Whether a package can be imported there."""
        code = f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({package!r}))"
        return self.run(f'python -c "{code}"').returncode == 0

    def megabytes(self) -> int:
        """Of all files that were installed."""
        files = (path for path in (self.folder / "venv").rglob("*") if path.is_file())
        return round(sum(path.lstat().st_size for path in files) / 1e6)


def check(wheel: Path, extra: str) -> Outcome:
    """Everything in one environment."""
    outcome = Outcome(extra)
    started = time.monotonic()
    there = Environment(wheel, extra)
    outcome.install_seconds = time.monotonic() - started
    outcome.megabytes = there.megabytes()
    checks = [
        ("agrees", "python -m pip --disable-pip-version-check check", "No broken"),
        ("imports", f"python -W ignore -c '{IMPORT_ALL}'", r"\d+ modules"),
    ]
    checks += [
        (smoke["does"], smoke["run"], smoke["prints"])
        for smoke in SMOKES["smoke"]
        if smoke["extra"] == extra
    ]
    for does, run, prints in checks:
        done = there.run(run)
        if done.returncode == 0 and re.search(prints, done.stdout):
            outcome.passed.append(does)
        else:
            outcome.failed.append(f"{does}: exit code {done.returncode}\n{done.stdout[-2000:]}")
    present = {package: there.has(package) for package in sorted(PACKAGES)}
    for missing in SMOKES["missing"]:
        lacking = [extra for package, extra in missing["needs"].items() if not present[package]]
        # Where all of them lack, it is as without any extra.
        if not lacking or (extra != "core" and len(lacking) == len(missing["needs"])):
            continue
        done = there.run(missing["run"])
        last = (done.stdout.splitlines() or [""])[-1]
        every = ",".join(dict.fromkeys(lacking))
        typed = tuple(f"Type: pip install 'microdollar[{one}]'" for one in (lacking[0], every))
        if done.returncode == 1 and last.startswith("error: ") and last.endswith(typed):
            outcome.named += 1
        else:
            outcome.failed.append(f"{missing['run']}: exit code {done.returncode}\n{done.stdout}")
    shutil.rmtree(there.folder)
    return outcome


def main(words: list[str]) -> int:
    """The table for the extras that were named, or all; 1 if something failed."""
    wheel, wanted = Path(words[0]).resolve(), words[1:] or list(EXTRAS)
    if unknown := set(wanted) - set(EXTRAS):
        sys.exit(f"no smokes for {', '.join(sorted(unknown))}. There are: {', '.join(EXTRAS)}")
    print(f"{'extra':<10} {'size':>8} {'install':>8}  missing named  works", flush=True)
    failures = []
    for extra in wanted:
        done = check(wheel, extra)
        print(
            f"{extra:<10} {done.megabytes:>5} MB {done.install_seconds:>6.0f} s "
            f"{done.named:>14}  {', '.join(done.passed)}",
            flush=True,
        )
        failures += [f"{extra}: {failure}" for failure in done.failed]
    for failure in failures:
        print(f"\nFAILED {failure}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
