"""The build on a Dask cluster writes the same file, whatever happens to its workers."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from microdollar.errors import CorpusError
from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.counts.scale import build as build_module
from microdollar.learn.counts.scale.build import build
from microdollar.learn.counts.scale.cluster import dask_client, on_cluster
from microdollar.learn.counts.scale.sources import RemoteFiles, source_of

pytest.importorskip("fsspec")


def text_of(length):
    rng = np.random.default_rng(0)
    return np.cumsum(rng.integers(-2, 3, length)).astype(np.uint8).tobytes()


def test_files_of_a_pattern_are_joined_by_newlines(tmp_path):
    parts = [b"first", b"", b"third part"]
    for index, part in enumerate(parts):
        (tmp_path / f"part-{index}.txt").write_bytes(part)
    whole = b"\n".join(parts)
    source = source_of(f"file://{tmp_path}/part-*.txt")
    assert isinstance(source, RemoteFiles)
    assert source.size == len(whole)
    for start in range(len(whole)):
        for stop in range(start, len(whole) + 1):
            assert source.read(start, stop).tobytes() == whole[start:stop]
    before = source.identity
    (tmp_path / "part-1.txt").write_bytes(b"new")
    assert source_of(f"file://{tmp_path}/part-*.txt").identity != before


def test_a_url_that_is_not_there(tmp_path):
    for url in (f"file://{tmp_path}/none.txt", f"file://{tmp_path}/*.txt", "nonsense://x/y"):
        with pytest.raises(CorpusError):
            _ = source_of(url).size


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what a killed worker leaves behind is not ours
def test_four_workers_and_one_is_killed(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    text = text_of(400_000)
    (tmp_path / "text").write_bytes(text)
    NGram(order=8).fit(np.frombuffer(text, np.uint8)).save(tmp_path / "memory")
    monkeypatch.setattr(build_module, "PIECE_BYTES", 4000)
    monkeypatch.setattr(build_module, "_PIECE_MEMORY", 0)
    monkeypatch.setattr(build_module, "MIN_MEMORY_BYTES", 0)
    monkeypatch.setattr("microdollar.learn.counts.scale.evidence._BYTES_PER_STRING", 0)
    killed = []
    with dask_client("local", 4) as client:
        # So that runs take long enough to be interrupted.
        client.run(lambda: time.sleep(0))
        pids = list(client.run(os.getpid).values())
        assert len(pids) == 4

        def kill(done, total, label=""):
            if not killed and label == "counting" and done > 0:
                killed.append(pids[0])
                os.kill(pids[0], signal.SIGKILL)

        build(
            source_of(f"file://{tmp_path}/text"),
            tmp_path / "model",
            order=8,
            memory_bytes=48 * 4000 * 4,
            work_folder=tmp_path / "work",
            mapper=on_cluster(client),
            workers=4,
            progress=kill,
        )
    assert killed
    assert threading.active_count() < 50
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "memory" / name).read_bytes()
