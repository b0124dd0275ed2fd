"""``microdollar build``: what it writes, what it says, and what it leaves when it fails."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microdollar.cli.main import main
from microdollar.learn.load import load_model
from microdollar.learn.registry import create

TEXT = b"What does learning cost, and what is the cheapest way to get it?\n" * 40


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    return path


def test_ngram_is_what_the_learner_makes(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "models" / "ngram"
    assert main(["build", str(corpus), "-o", str(out), "--order", "4", "--json"]) == 0
    printed, err = capsys.readouterr()
    said = json.loads(printed)
    assert err == ""
    data = np.frombuffer(bytearray(TEXT), dtype=np.uint8)
    want = create("ngram", order=4).fit(data)
    assert load_model(out).bits_per_byte(data) == want.bits_per_byte(data)
    assert said["schema_version"] == 1
    assert said["network"] == "ngram"
    assert said["options"]["order"] == 4
    assert said["train_bytes"] == len(TEXT)
    assert said["parameters"] == want.parameters
    assert said["seconds"] > 0
    assert said["files"] == {path.name: path.stat().st_size for path in out.iterdir()}
    assert set(said["files"]) == {"model.safetensors", "config.json"}
    assert said["bytes"] == sum(said["files"].values())


def test_satrnn_has_its_options(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sat"
    words = ["build", str(corpus), "-o", str(out), "--network", "satrnn"]
    assert main([*words, "--offsets", "4", "--hidden", "32"]) == 0
    printed, err = capsys.readouterr()
    # 256*32 + 32*32 + 32 + 256*32 + 256
    assert printed.startswith("satrnn: 17,696 parameters from 2,600 bytes in ")
    assert str(out / "model.safetensors") in printed
    assert err == ""
    assert load_model(out).parameters == 17_696


def test_first_bytes_only(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--order", "3", "--train-bytes", "1k", "--json"]
    assert main(["build", str(corpus), "-o", str(tmp_path / "a"), *words]) == 0
    assert json.loads(capsys.readouterr().out)["train_bytes"] == 1000
    corpus.write_bytes(TEXT[:1000])
    assert main(["build", str(corpus), "-o", str(tmp_path / "b"), "--order", "3"]) == 0
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_standard_input_and_folder_are_corpora(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(TEXT)))
    assert main(["build", "-", "-o", str(tmp_path / "a"), "--order", "2"]) == 0
    folder = tmp_path / "folder"
    folder.mkdir()
    corpus.rename(folder / "text")
    (folder / "broken").symlink_to("nowhere")
    assert main(["build", str(folder), "-o", str(tmp_path / "b"), "--order", "2"]) == 0
    name = "model.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert capsys.readouterr().err == (
        f"note: left out {folder / 'broken'}: no such file or directory\n"
    )


def test_model_that_is_there_is_replaced(corpus: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "model")
    assert main(["build", str(corpus), "-o", out, "--order", "2"]) == 0
    assert main(["build", str(corpus), "-o", out, "--network", "satrnn"]) == 0
    assert load_model(out).name == "satrnn"


Prepare = Callable[[Path], list[str]]


def other_files(tmp_path: Path) -> list[str]:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    return ["text"]


def file_in_the_way(tmp_path: Path) -> list[str]:
    (tmp_path / "out").touch()
    return ["text"]


def empty_folder(tmp_path: Path) -> list[str]:
    (tmp_path / "empty" / "below").mkdir(parents=True)
    return ["empty"]


def empty_file(tmp_path: Path) -> list[str]:
    (tmp_path / "nothing").touch()
    return ["nothing"]


@pytest.mark.parametrize(
    ("prepare", "code", "said"),
    [
        (lambda _: ["txet"], 1, "no file or corpus called 'txet'. Did you mean text?"),
        (empty_file, 1, "corpus 'nothing' is empty. Name a file"),
        (empty_folder, 1, "folder empty holds no readable file"),
        (
            lambda _: ["text", "--train-bytes", "12", "--order", "12"],
            1,
            "12 training bytes of 'text' are not more than the longest context of ngram, 12 "
            "(order). Give --order 11 or more than 12 bytes.",
        ),
        (
            lambda _: ["text", "--train-bytes", "1M"],
            1,
            "corpus 'text' has 2,600 bytes; 1,000,000 training bytes from byte 0 on would end at "
            "1,000,000. Give --train-bytes 2600 or fewer.",
        ),
        (
            lambda _: ["text", "--network", "ngrm"],
            2,
            "'ngrm' is not one of 'ngram', 'counted', 'satrnn'",
        ),
        (lambda _: ["text", "--order", "1000"], 2, "order 1000 is not within"),
        (lambda _: ["text", "--hidden", "9"], 2, "--hidden belongs to --network satrnn, not to"),
        (
            lambda _: ["text", "--network", "satrnn", "--hidden", "9"],
            2,
            "need 128 hidden units, got 9. Type --hidden 128 or --offsets 1.",
        ),
        (other_files, 2, "out holds other files than a model's. Name a new folder."),
        (file_in_the_way, 2, "out is a file, so no folder can be made there."),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    prepare: Prepare,
    code: int,
    said: str,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["build", *words, "-o", "out"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_one_byte_can_not_hold_a_context(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_bytes(b"a")
    assert main(["build", str(tmp_path / "a"), "-o", str(tmp_path / "out")]) == 1
    assert "Give more than" in capsys.readouterr().err


def child(code: str, *words: object) -> subprocess.Popen[str]:
    """A process of its own that runs ``code`` and then ``microdollar words``."""
    script = (
        "import sys\nfrom microdollar.learn.registry import create\n"
        "create('ngram').warm_up()\n"  # compiled loops are kept now, while the disk has room
        f"{code}\nfrom microdollar.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_full_disk_leaves_nothing(corpus: Path, tmp_path: Path) -> None:
    """A file may not grow beyond 10 kB, which ends a write as a full disk does."""
    corpus.write_bytes(os.urandom(5000))
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, {resource.RLIM_INFINITY}))"
    )
    process = child(limit, "build", corpus, "-o", tmp_path / "new" / "model")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out == ""
    assert err.startswith("error: can't write the model to")
    assert err.count("\n") <= 2
    assert "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == [corpus]


MID_FIT = """
from microdollar.learn.counts.ngram.learner import NGram
learn = NGram.fit
def fit(self, data, **options):
    if len(data) > 1_000_000:
        print('learning', file=sys.stderr, flush=True)
    return learn(self, data, **options)
NGram.fit = fit
"""


def test_interrupted_in_the_middle_of_learning(corpus: Path, tmp_path: Path) -> None:
    corpus.write_bytes(np.random.default_rng(0).bytes(10_000_000))
    process = child(MID_FIT, "build", corpus, "-o", tmp_path / "out", "--order", "6")
    assert process.stderr is not None
    while "learning" not in process.stderr.readline():
        assert process.poll() is None
    threading.Event().wait(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out == ""
    assert err.strip() == "error: interrupted"
    assert sorted(tmp_path.iterdir()) == [corpus]


def test_interrupted_while_it_reads(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "microdollar", "build", "-", "-o", str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write("x" * 1_000_000)  # returns when most of it was read
    process.stdin.flush()
    threading.Event().wait(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "error: interrupted"
    assert list(tmp_path.iterdir()) == []
