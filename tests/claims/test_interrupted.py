"""A run that is ended in the middle, whatever way, goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

PARTS = 6
CHILD = f"""
import json, sys, time, types
from pathlib import Path

import numpy as np

from microdollar.claims.experiments import EXPERIMENTS, Experiment
from microdollar.claims.experiments.parts import kept, spread
from microdollar.claims.world import World
from microdollar.learn.corpus import Corpus

folder, stop = Path(sys.argv[1]), int(sys.argv[2])

def run(context):
    found = []
    for part in range({PARTS}):
        def find():
            if part == stop:
                (folder / "waits").touch()
                time.sleep(600)
            return {{"x": part + time.time() % 1}}
        found.append(kept(context, f"part-{{part}}", find)["x"])
    return {{"all": spread(found)}}

module = types.ModuleType("microdollar.claims.experiments.parted")
module.run = run
sys.modules[module.__name__] = module
EXPERIMENTS["parted"] = Experiment(name="parted", title="parted", home="parted:run", corpus_bytes=4)
corpus = Corpus(data=np.zeros(4, np.uint8), name="zeros", sha256="0")
print(World(run="all", corpus=corpus, folder=folder).names(["parted"])[0]["all"].value)
"""


def start(folder, stop):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(stop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def parts(folder):
    found = {path.name: path.read_text("utf-8") for path in folder.glob("parted-*/part-*.json")}
    assert all(json.loads(text) for text in found.values())
    return found


@pytest.mark.skipif(os.name != "posix", reason="signals of a POSIX system")
def test_what_was_found_before_the_end_is_kept(tmp_path):
    before = {}
    for stop, how in ((1, signal.SIGINT), (3, signal.SIGTERM), (4, signal.SIGKILL)):
        process = start(tmp_path, stop)
        while not (tmp_path / "waits").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(how)
        process.communicate(timeout=60)
        assert process.returncode != 0
        (tmp_path / "waits").unlink()
        assert not (tmp_path / "parted.json").exists()
        now = parts(tmp_path)
        assert len(now) == stop
        assert now.items() >= before.items()
        before = now
    # Of two at once in one folder both end well, and the record of one of them is kept whole.
    both = [start(tmp_path, -1) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    now = parts(tmp_path)
    assert now.items() >= before.items()
    kept = json.loads((tmp_path / "parted.json").read_text("utf-8"))["values"]["all"]["value"]
    assert [process.returncode for process in both] == [0, 0]
    assert kept in [float(text) for text in said]
    last = start(tmp_path, 0)
    assert float(last.communicate(timeout=120)[0]) == kept
