"""Every command and snippet of the documents, run as a new user would paste it.

The blocks of a page run in order, in one empty folder, with a user's folder of their own. Below a
command stands what it prints, word for word; ``...`` stands for anything. A comment right above a
block says what can't be seen from it:

- ``<!-- file: NAME -->``: the reader saves it under that name.
- ``<!-- given: PATH -->``: the reader has such a file; here it is PATH of the repository.
- ``<!-- numbers vary -->``: what it prints depends on the machine; numbers are not compared.
- ``<!-- prints -->``: what the Python block before it prints.
- ``<!-- not run: WHY -->``: it can't run here.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from microdollar.cli.main import cli, main

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", "examples", "benchmarks")
GENERATED_HELP = "docs/commands.md"
"""Its blocks are what ``--help`` prints; tests/test_docs.py compares them."""
PAGES = sorted([*ROOT.glob("*.md"), *(p for name in FOLDERS for p in (ROOT / name).rglob("*.md"))])
RUN = ("console", "python", "toml")
SHOWN = ("", "text", "bibtex")
"""Pictures, formulas and output: nothing to run."""
MOST_NOT_RUN = 12
BLOCK = re.compile(
    r"(?P<above>(?:^<!--.*?-->\n)*)^```(?P<kind>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
MARK = re.compile(r"<!-- (file|given|numbers vary|prints|not run)(?:: (.*?))? -->")
UNIT = r"([numµ]s|s|min|h|[kMG]?B(/s)?|[kMGT]?FLOP/s|µ\$)"
NUMBER = re.compile(rf"[+-]?\d[\d.,]*(e[+-]\d+)?( ?{UNIT}(?!\w))?")
SHELL = re.compile(r"[|<>;&*$`]")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block with its marks."""

    page: str
    line: int
    kind: str
    code: str
    marks: dict

    @property
    def place(self):
        return f"{self.page}:{self.line}"


def blocks_of(path):
    """The fenced blocks of a page, in order."""
    text = path.read_text("utf-8")
    for found in BLOCK.finditer(text):
        yield Block(
            page=path.relative_to(ROOT).as_posix(),
            line=text.count("\n", 0, found.start("code")),
            kind=found["kind"],
            code=found["code"],
            marks=dict(MARK.findall(found["above"])),
        )


BLOCKS = [b for path in PAGES for b in blocks_of(path) if b.page != GENERATED_HELP]
TO_RUN = sorted({b.page for b in BLOCKS if b.kind in RUN and "not run" not in b.marks})


def steps_of(code):
    """Each command of a console block and what is printed below it."""
    assert code.startswith("$ "), "a console block begins with a prompt"
    for step in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, printed = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*)\n(.*)", step, re.DOTALL).groups()
        yield command.replace("\\\n", " "), printed


def masked(text):
    """``text`` with every number and its unit taken out."""
    return " ".join(NUMBER.sub("#", text).split())


def compare(expected, printed, block, command):
    """Compare what is documented with what was printed."""
    if not expected.strip():
        return
    if "numbers vary" in block.marks:
        expected, printed = masked(expected), masked(printed)
    parts = expected.rstrip().split("...")
    form = ".*".join(re.escape(part) for part in parts)
    same = re.fullmatch(form, printed.rstrip(), re.DOTALL)
    assert same, f"{block.place}: {command}\nprints\n{printed}\ndocumented is\n{expected}"


def run_in_process(words):
    """What the command prints on standard output; it has to succeed."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    said = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = main(words)
    assert code == 0, f"{shlex.join(words)} ended with {code}\n{said.getvalue()}"
    return raw.getvalue().decode("utf-8", "replace")


def run_in_shell(command):
    done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stderr}"
    return done.stdout


def run_console(block):
    for command, expected in steps_of(block.code):
        words = shlex.split(command, comments=True)
        if words[0] == "microdollar" and not SHELL.search(command.partition(" # ")[0]):
            printed = run_in_process(words[1:])
        else:
            printed = run_in_shell(command)
        compare(expected, printed, block, command)


def run_python(block, names):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * block.line + block.code, block.page, "exec"), names)
    return out.getvalue()


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A user's folder in which this machine was measured once, as on a first use."""
    home = tmp_path_factory.mktemp("calibrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MICRODOLLAR_HOME", str(home))
        run_in_process(["calibrate", "--quick"])
    return home


@pytest.fixture
def here(tmp_path, monkeypatch, calibrated):
    """An empty folder to work in and a user's folder that only holds the calibration."""
    shutil.copytree(calibrated, tmp_path / "home")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "path", [str(work), *sys.path])
    return work


@pytest.mark.parametrize("page", TO_RUN)
def test_blocks_run(page, here):
    names = {"__name__": "__main__"}
    printed = ""
    for block in (b for b in BLOCKS if b.page == page and "not run" not in b.marks):
        if given := block.marks.get("given"):
            shutil.copy(ROOT / given, here)
        if name := block.marks.get("file"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(block.code, "utf-8")
        elif block.kind == "python":
            printed = run_python(block, names)
        elif block.kind == "console":
            run_console(block)
        elif "prints" in block.marks:
            compare(block.code, printed, block, "the Python block before it")
        if block.kind == "toml":
            tomllib.loads(block.code)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_blocks_say_what_they_are(block):
    assert block.kind in (*RUN, *SHOWN), f"{block.place}: a block of {block.kind} is never run"
    if block.kind not in RUN:
        typed = re.search(r"^(\$ |microdollar |python |import |make )", block.code, re.MULTILINE)
        assert not typed, f"{block.place}: what is typed belongs in a console or python block"
    if "not run" in block.marks:
        assert len(block.marks["not run"]) > 8, f"{block.place}: say why it is not run"


def test_few_blocks_are_not_run():
    left = [f"{b.place}: {b.marks['not run']}" for b in BLOCKS if "not run" in b.marks]
    assert len(left) <= MOST_NOT_RUN, "\n".join(left)


def not_run_commands():
    """Commands of blocks that are not run, and those in sentences that have an option."""
    for block in BLOCKS:
        if "not run" in block.marks and block.kind == "console":
            for command, _ in steps_of(block.code):
                if command.startswith("microdollar "):
                    yield pytest.param(command, id=f"{block.place} {command[:40]}")
    for path in PAGES:
        page = path.relative_to(ROOT).as_posix()
        if page == "CHANGELOG.md":
            continue
        for code in re.findall(r"`(microdollar [^`]*?--[^`]*)`", path.read_text("utf-8")):
            if not re.search(r"\.\.\.|--help|COMMAND", code):
                command = " ".join(code.split()).partition(" > ")[0]
                yield pytest.param(command, id=f"{page} {command[:60]}")


@pytest.mark.parametrize("command", [*not_run_commands()])
def test_commands_that_are_not_run_parse(command):
    """An option that does not exist, or one that is missing, raises."""
    _, *words = shlex.split(command, comments=True)
    with cli.make_context("microdollar", words) as context:
        while hasattr(context.command, "resolve_command"):
            rest = [*context._protected_args, *context.args]
            name, command, rest = context.command.resolve_command(context, rest)
            context = command.make_context(name, rest, parent=context)
