"""What each part of the counted model is worth, and its scores on bytes never looked at.

Usage: python run.py FILE [--test] [--parts] [-o results.json]

A test takes some 20 seconds on an idle machine, all parts some minutes. Frozen scoring goes on all
cores that the process may use: for those of one, start it with ``taskset -c 0``. CPU seconds are of
building, frozen and adaptive scoring.

With ``--parts``, every part is left out, and every part is added alone to the n-gram chain, on
development bytes of FILE: learnt from 0 to 900,000 and scored on the next 100,000, and learnt
from 1,200,000 to 1,900,000 and scored on the next 100,000. With ``--test``, the models as they
are by default are learnt from the first 1,000,000 bytes and scored on the next 200,000; a file
of fewer than 2,000,000 bytes is split 90 to 10. Nothing is chosen on those bytes.

An existing results file is added to, so that parts and tests can be run apart.
"""

import argparse
import json
import platform
import resource
import time
from pathlib import Path

import numpy as np

from microdollar.learn.base import CONTEXT_BYTES
from microdollar.learn.counts.mixed.learner import PARTS
from microdollar.learn.registry import create

SLICES = {
    "0-900k-1000k": (0, 900_000, 1_000_000),
    "1200k-1900k-2000k": (1_200_000, 1_900_000, 2_000_000),
}


def measure(data: np.ndarray, at: tuple[int, int, int], learner: str, **options: str) -> dict:
    """Scores and seconds of one learner on one slice."""
    start, cut, end = at
    train, test = data[start:cut], data[cut:end]
    context = train[-CONTEXT_BYTES:]
    made = create(learner, **options)
    passed, used = [time.perf_counter()], [time.process_time()]

    def stop() -> None:
        passed.append(time.perf_counter())
        used.append(time.process_time())

    model = made.fit(train)
    stop()
    frozen = model.bits_per_byte(test, context=context)
    stop()
    adaptive = model.adaptive_bits_per_byte(test, context=context)
    stop()
    (build, still, moving), cpu = np.diff(passed), np.diff(used)
    return {
        "learner": learner,
        "options": options,
        "bytes": list(at),
        "frozen": round(frozen, 4),
        "adaptive": round(adaptive, 4),
        "build_seconds": round(build, 2),
        "frozen_seconds": round(still, 3),
        "adaptive_seconds": round(moving, 3),
        "frozen_megabytes_per_second": round(len(test) / 1e6 / still, 2),
        "adaptive_megabytes_per_second": round(len(test) / 1e6 / moving, 2),
        "cpu_seconds": [round(each, 3) for each in cpu],
    }


def show(name: str, row: dict, against: dict | None) -> None:
    """One line."""
    text = f"{name:44} {row['frozen']:.4f} {row['adaptive']:.4f}"
    if against:
        gains = (row[kind] - against[kind] for kind in ("frozen", "adaptive"))
        text += "  " + " ".join(f"{gain:+.4f}" for gain in gains)
    print(text + f"  built in {row['build_seconds']:.1f} s", flush=True)


def parts(data: np.ndarray) -> dict:
    """Every part left out, and every part added alone."""
    out: dict = {}
    everything = sorted(set(PARTS) - {"chain"})
    for name, at in SLICES.items():
        if len(data) < at[2]:
            continue
        rows = out[name] = {}
        rows["ngram"] = measure(data, at, "ngram")
        show(f"{name} ngram", rows["ngram"], None)
        rows["counted"] = whole = measure(data, at, "counted")
        show(f"{name} counted", whole, rows["ngram"])
        for part in PARTS:
            row = rows[f"without {part}"] = measure(data, at, "counted", without=part)
            show(f"{name} without {part}", row, whole)
        bare = rows["chain alone"] = measure(data, at, "counted", without=",".join(everything))
        show(f"{name} chain alone", bare, rows["ngram"])
        for part in everything:
            others = ",".join(each for each in everything if each != part)
            row = rows[f"chain and {part}"] = measure(data, at, "counted", without=others)
            show(f"{name} chain and {part}", row, bare)
    return out


def main() -> None:
    """Run what was asked for and write it down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--test", action="store_true")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).with_name("results.json"))
    asked = parser.parse_args()
    data = np.fromfile(asked.file, np.uint8)
    results = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    results["machine"] = (
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
    )
    for learner in ("ngram", "counted"):
        create(learner).warm_up()
    if asked.parts:
        results["parts"] = {**results.get("parts", {}), asked.file.name: parts(data)}
    if asked.test:
        cut = 1_000_000 if len(data) >= 2_000_000 else len(data) * 9 // 10
        at = (0, cut, 1_200_000 if len(data) >= 2_000_000 else len(data))
        rows = {name: measure(data, at, name) for name in ("ngram", "counted")}
        show("test ngram", rows["ngram"], None)
        show("test counted", rows["counted"], rows["ngram"])
        rows["peak_process_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        results["test"] = {**results.get("test", {}), asked.file.name: rows}
    asked.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
