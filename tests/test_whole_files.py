"""Files that are written whole or not at all, and folders that can be written to."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from microdollar.errors import UsageError
from microdollar.files import require_writable, whole_file


def test_the_name_appears_with_the_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as out:
        out.write("π\n")
        assert not path.exists()
    assert path.read_bytes() == "π\n".encode()
    with whole_file(path, "wb") as out:
        out.write(b"\xff")
        assert path.read_bytes() == "π\n".encode()
    assert path.read_bytes() == b"\xff"
    assert list(tmp_path.iterdir()) == [path]


def test_it_has_the_permissions_of_an_ordinary_file(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with whole_file(tmp_path / "a"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space"), ValueError("x")])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(type(error)), whole_file(path) as out:
        out.write("new")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from microdollar.files import whole_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with whole_file(Path(sys.argv[1])) as out: out.write('x' * 5000)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far" / "a")
    with whole_file(tmp_path / "near") as out:
        out.write("x")
    assert (tmp_path / "near").is_symlink()
    assert (tmp_path / "far" / "a").read_text() == "x"


def test_a_pipe_is_written_into() -> None:
    reader, writer = os.pipe()
    with whole_file(Path(f"/dev/fd/{writer}")) as out:
        out.write("x")
    assert os.read(reader, 2) == b"x"
    os.close(reader)
    os.close(writer)


def test_a_folder_in_the_way_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), whole_file(tmp_path) as out:
        out.write("x")


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    with whole_file(tmp_path / ("a" * 255)) as out:
        out.write("x")
    assert len(list(tmp_path.iterdir())) == 1


def test_require_writable(tmp_path: Path) -> None:
    require_writable(tmp_path)
    require_writable(tmp_path / "new" / "below")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="is a file, so no folder can be made there"):
            require_writable(folder)


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for another than root
    with pytest.raises(UsageError, match="can't be written to"):
        require_writable(tmp_path / "new")
