"""The build in bounded memory writes the very file that the build in memory writes."""

import hashlib
import itertools
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from microdollar.errors import CorpusError, UsageError
from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.counts.ngram.model import NGramModel
from microdollar.learn.counts.scale import build as build_module
from microdollar.learn.counts.scale import merge, runs
from microdollar.learn.counts.scale.build import build
from microdollar.learn.counts.scale.sources import LocalFile, source_of
from microdollar.learn.counts.scale.threads import on_threads

MEMORY = 256 << 20


def prose(length: int, seed: int = 0) -> bytes:
    """Words drawn by rank, so that strings repeat as they do in a language."""
    rng = np.random.default_rng(seed)
    words = ["".join(map(chr, rng.integers(97, 123, rng.integers(1, 9)))) for _ in range(2000)]
    ranks = np.minimum(rng.zipf(1.3, length // 3), 2000) - 1
    return " ".join(words[rank] for rank in ranks).encode()[:length]


def digest(folder):
    return [
        hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("model.safetensors", "config.json")
    ]


def in_memory(text, order, folder):
    NGram(order=order).fit(np.frombuffer(text, np.uint8)).save(folder)
    return digest(folder)


def streamed(path, order, folder, work, *, memory=MEMORY, workers=1):
    build(
        LocalFile(path=path),
        folder,
        order=order,
        memory_bytes=memory,
        work_folder=work,
        mapper=on_threads(workers),
        workers=workers,
    )
    return digest(folder)


@pytest.mark.parametrize(
    ("text", "order"),
    [
        (prose(60_000), 10),
        (prose(30_000), 15),
        (prose(30_000), 0),
        (prose(30_000), 3),
        (bytes(range(256)) * 60, 6),
        (b"\0" * 20_000, 9),
        (np.random.default_rng(1).integers(0, 256, 20_000, np.uint8).tobytes(), 8),
        (b"abc", 10),
        (b"a", 2),
        (b"", 4),
    ],
)
def test_same_bytes_as_in_memory(tmp_path, text, order):
    (tmp_path / "text").write_bytes(text)
    expected = in_memory(text, order, tmp_path / "memory")
    assert streamed(tmp_path / "text", order, tmp_path / "model", tmp_path / "work") == expected
    assert list((tmp_path / "work").iterdir()) == []
    model = NGramModel.load(tmp_path / "model")
    assert model.next_byte(np.frombuffer(text[:4], np.uint8)).sum() == pytest.approx(1.0)


def test_neither_memory_nor_workers_nor_the_division_of_the_text_make_a_difference(
    tmp_path, monkeypatch
):
    text = prose(60_000, seed=3)
    (tmp_path / "text").write_bytes(text)
    expected = in_memory(text, 7, tmp_path / "memory")
    monkeypatch.setattr(build_module, "PIECE_BYTES", 1000)
    monkeypatch.setattr(build_module, "_PIECE_MEMORY", 0)
    monkeypatch.setattr(merge, "MOST_RUNS", 4)  # several rounds of merging
    for turn, (memory, workers) in enumerate(itertools.product((100_000, 4_000_000), (1, 2))):
        monkeypatch.setattr(build_module, "MIN_MEMORY_BYTES", memory // 2)
        monkeypatch.setattr("microdollar.learn.counts.scale.evidence._BYTES_PER_STRING", 0)
        got = streamed(
            tmp_path / "text", 7, tmp_path / f"m{turn}", tmp_path / f"w{turn}",
            memory=memory, workers=workers,
        )  # fmt: skip
        assert got == expected


KILLED = """
    import sys, time
    from pathlib import Path
    from microdollar.learn.counts.scale import build as module, runs, threads
    from microdollar.learn.counts.scale.sources import LocalFile
    module.PIECE_BYTES, module._PIECE_MEMORY, module.MIN_MEMORY_BYTES = 1000, 0, 0
    slow = threads.write_run
    def write(path, blocks, most):
        time.sleep(0.05)
        return slow(path, blocks, most)
    threads.write_run = write
    text, out, work = map(Path, sys.argv[1:])
    module.build(LocalFile(path=text), out, order=8, memory_bytes=100_000, work_folder=work,
                 mapper=threads.on_threads(1))
"""


def test_a_killed_build_goes_on_where_it_was(tmp_path, monkeypatch):
    text = prose(60_000, seed=4)
    (tmp_path / "text").write_bytes(text)
    work = tmp_path / "work"
    command = [sys.executable, "-c", textwrap.dedent(KILLED)]
    paths = [str(tmp_path / "text"), str(tmp_path / "model"), str(work)]
    process = subprocess.Popen([*command, *paths])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(work.glob("*.run"))) < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("*.run")}
    assert 5 <= len(before) < 30
    assert not (tmp_path / "model").exists()
    counted = []
    count_part = build_module.count_part

    def noted(source, order, start, stop):
        counted.append((start, stop))
        return count_part(source, order, start, stop)

    monkeypatch.setattr("microdollar.learn.counts.scale.threads.count_part", noted)
    monkeypatch.setattr(build_module, "PIECE_BYTES", 1000)
    got = streamed(tmp_path / "text", 8, tmp_path / "model", work)
    tasks = len(runs_of(text))
    assert len(counted) == tasks - len(before)
    assert got == in_memory(text, 8, tmp_path / "memory")


def runs_of(text):
    """Parts of 2,000 bytes, before the held-back tenth and in it."""
    early = len(text) - len(text) // 10
    return [*range(0, early, 2000), *range(early, len(text), 2000)]


def test_a_damaged_run_is_counted_again(tmp_path):
    text = prose(20_000)
    (tmp_path / "text").write_bytes(text)
    work = tmp_path / "work"
    source = LocalFile(path=tmp_path / "text")
    plan = runs.Plan(source=source.identity, text_bytes=20_000, order=5, run_bytes=1 << 20)
    runs.settle_plan(work, plan)
    grams = build_module.count_part(source, 5, 0, 18_000)
    run = runs.write_run(work / "early-000000.run", [grams], len(grams))
    raw = bytearray(run.path.read_bytes())
    raw[100] ^= 1
    run.path.write_bytes(raw)
    assert runs.open_run(run.path) is None
    got = streamed(tmp_path / "text", 5, tmp_path / "model", work)
    assert got == in_memory(text, 5, tmp_path / "memory")


def test_refusals(tmp_path):
    (tmp_path / "text").write_bytes(prose(3000))
    arguments = (tmp_path / "text", 5, tmp_path / "model", tmp_path / "work")
    with pytest.raises(UsageError, match="order 16"):
        streamed(tmp_path / "text", 16, tmp_path / "model", tmp_path / "work")
    with pytest.raises(UsageError, match="--memory"):
        streamed(*arguments, memory=1 << 20)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="other files"):
        streamed(tmp_path / "text", 5, tmp_path / "model", tmp_path / "other")
    plan = runs.Plan(source="another", text_bytes=3000, order=5, run_bytes=1 << 20)
    runs.settle_plan(tmp_path / "work", plan)
    with pytest.raises(UsageError, match="belongs to a build"):
        streamed(*arguments)
    with pytest.raises(CorpusError, match="not a file"):
        source_of(str(tmp_path / "none"))


BOUNDED = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from microdollar.learn.counts.ngram.learner import NGram
    from microdollar.learn.counts.scale.build import build
    from microdollar.learn.counts.scale.sources import LocalFile
    from microdollar.learn.counts.scale.threads import on_threads
    text, out, work, memory = map(Path, sys.argv[1:])
    small = text.with_name("small")
    small.write_bytes(text.read_bytes()[:20_000])
    def run(source, folder):
        build(LocalFile(path=source), folder, order=10, memory_bytes=int(memory.name),
              work_folder=work, mapper=on_threads(1))
    run(small, out.with_name("first"))  # compile
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = now + int(memory.name)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    run(text, out)
    try:
        NGram(order=10).fit(np.fromfile(text, np.uint8))
    except MemoryError:
        print("the build in memory does not fit")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
@pytest.mark.slow
def test_memory_is_bounded(tmp_path):
    """Under a limit of the address space that the build in memory breaks."""
    text = prose(8 << 20)
    (tmp_path / "text").write_bytes(text)
    paths = [str(tmp_path / name) for name in ("text", "model", "work")]
    command = [sys.executable, "-c", textwrap.dedent(BOUNDED), *paths, str(288 << 20)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "does not fit" in done.stdout
    assert digest(tmp_path / "model") == in_memory(text, 10, tmp_path / "memory")
