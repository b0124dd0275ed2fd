"""The command line's frame: what is imported, what is said, and with which code it ends."""

import errno
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version

import click
import pytest

from microdollar.cli import main as cli_main
from microdollar.cli.main import COMMANDS, cli, main
from microdollar.errors import CannotEstimateError, CheckFailedError, UsageError

Fail = Callable[[BaseException], None]


def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "microdollar", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Make a command ``fail`` that raises what it is given."""

    def register(error: BaseException) -> None:
        @click.command()
        def command() -> None:
            raise error

        module = types.SimpleNamespace(fail=command)
        monkeypatch.setitem(sys.modules, "fake_command", module)
        monkeypatch.setitem(COMMANDS, "fail", ("fake_command", "fail", "Fails."))

    monkeypatch.delenv("MICRODOLLAR_DEBUG", raising=False)
    return register


def test_help_imports_no_heavy_package_and_no_command() -> None:
    code = (
        "import sys; from microdollar.cli.main import main; code = main(['--help']);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stderr.split())
    assert not loaded & {"numpy", "torch", "numba", "rich", "matplotlib", "sqlite3", "jinja2"}
    assert not {f"microdollar.cli.{name}" for name in COMMANDS} & loaded
    for name, (_, _, line) in COMMANDS.items():
        assert name in done.stdout
        assert line.split()[0] in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    # In its own process: a command that was called without its group keeps its own help option.
    done = run(name, "--help")
    out, err = done.stdout, done.stderr
    assert done.returncode == 0
    assert out.startswith(f"Usage: microdollar {name}")
    assert "-h, --help" in out
    # A sentence on what the command does stands between the usage and the options.
    assert len(out.split("\n\n")[1].split()) >= 4
    assert err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_named_as_it_is_typed(name: str) -> None:
    group = cli_main.cli
    with click.Context(group) as ctx:
        command = group.get_command(ctx, name)
    assert command is not None
    assert command.name == name


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"microdollar, version {version('microdollar')}\n"


def test_nothing_typed_shows_the_help_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: microdollar")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["biuld"], "unknown command 'biuld'. Did you mean build? Type: microdollar --help"),
        (["--nonsense"], "No such option '--nonsense'. Type: microdollar --help"),
        (["build"], "Missing argument 'CORPUS'. Type: microdollar build --help"),
        (["sample", "x", "--bytes", "1.5"], "'1.5' is not a whole number"),
        (["sample", "x", "--bytes", "0"], "0 is less than 1"),
        (["sample", "x", "--bytes", "-3"], "'-3' is not a number"),
    ],
)
def test_wrong_usage_is_one_line_with_what_to_type(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("wrong. Type: x"), 2, "wrong. Type: x"),
        (CheckFailedError("over budget"), 3, "over budget"),
        (CannotEstimateError("no rate"), 4, "no rate"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.txt"), 1, "a.txt: no such file"),
        (PermissionError(errno.EACCES, "Permission denied", "b"), 1, "b: permission denied. Name"),
        (
            OSError(errno.ENOSPC, "No space left on device", "m"),
            1,
            "m: no room to write it (no space left on device). Free some space",
        ),
        (MemoryError("Unable to allocate 9 TiB"), 1, "out of memory. Give fewer bytes"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ModuleNotFoundError("x", name="torch.nn"), 1, "pip install 'microdollar[torch]'"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
        (click.ClickException("said by click"), 1, "said by click"),
    ],
)
def test_errors_are_one_line_and_have_a_code(
    error: BaseException,
    code: int,
    said: str,
    fail: Fail,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail(error)
    assert main(["fail"]) == code
    err = capsys.readouterr().err.strip()
    assert err.startswith("error: " if said else "")
    assert said in err
    assert "Traceback" not in err
    assert "\n" not in err


def test_fault_of_the_program_says_so_without_traceback(
    fail: Fail, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(ZeroDivisionError("division by zero\nsecond line"))
    assert main(["fail"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: unexpected ZeroDivisionError: division by zero\n")
    assert "MICRODOLLAR_DEBUG=1" in err
    assert err.count("\n") == 2


@pytest.mark.parametrize("how", ["option", "environment"])
def test_debug_shows_the_traceback_as_well(
    how: str,
    fail: Fail,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail(UsageError("wrong"))
    if how == "environment":
        monkeypatch.setenv("MICRODOLLAR_DEBUG", "1")
    assert main(["--debug", "fail"] if how == "option" else ["fail"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: wrong\n")


def test_exit_code_of_a_command_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @click.pass_context
    def command(ctx: click.Context) -> None:
        click.echo("data")
        ctx.exit(3)

    monkeypatch.setitem(sys.modules, "fake_command", types.SimpleNamespace(fail=command))
    monkeypatch.setitem(COMMANDS, "fail", ("fake_command", "fail", "Fails."))
    assert main(["fail"]) == 3
    assert capsys.readouterr().out == "data\n"


def test_full_disk_under_standard_output() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "microdollar", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: no room to write it")
    assert done.stderr.count("\n") == 1


def test_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "microdollar", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(os.name != "posix", reason="a shell closes standard output")
@pytest.mark.parametrize("words", ["--help", "estimate gpt2 --device l4 --json"])
def test_closed_standard_output_is_no_fault(words: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m microdollar {words} >&-', sys.executable],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_file_name_that_is_not_text() -> None:
    done = run("build", os.fsdecode(b"\xff\xfe"), "-o", "out")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no file or corpus called" in done.stderr


def test_what_fails_after_an_interrupt_was_interrupted(monkeypatch, capsys):
    def lose_it(*args, **options):
        with suppress(KeyboardInterrupt):  # as a callback of a compiler does
            signal.raise_signal(signal.SIGINT)
        raise RuntimeError("no compiled object yet")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(cli, "main", lose_it)
        assert main(["doctor"]) == 130
        assert capsys.readouterr().err == "error: interrupted\n"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
