"""Count skip-bigrams here and in C, alternately, and print the ratio of the medians.

    python benchmarks/skipgrams/run.py FILE --out benchmarks/skipgrams/results.json

The C loop is compiled with ``gcc -O3 -march=native`` into a temporary folder. It fills one
32-bit table an offset; ours does the same and adds each table to a 64-bit one besides.
"""

import argparse
import ctypes
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from microdollar.learn.counts.skipgrams import count_skipgrams

COMPILE = ("gcc", "-O3", "-march=native", "-shared", "-fPIC")
HERE = Path(__file__).parent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--bytes", type=int, default=1_000_000)
    parser.add_argument("--offsets", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--threads", type=int, default=2, help="of the second timing of ours")
    parser.add_argument("--out", type=Path, help="write the result here as JSON")
    return parser.parse_args()


def compiled_counter(folder: Path) -> Callable[[np.ndarray, int], np.ndarray]:
    library = folder / "skipgrams.so"
    subprocess.run([*COMPILE, "-o", library, HERE / "skipgrams.c"], check=True)
    function = ctypes.CDLL(str(library)).count_pairs
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
    function.restype = None

    def count(data: np.ndarray, offsets: int) -> np.ndarray:
        tables = np.zeros((offsets, 256, 256), dtype=np.uint32)
        for offset in range(offsets):
            function(data.ctypes.data, data.size, offset + 1, tables[offset].ctypes.data)
        return tables

    return count


def alternated(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    return taken


def output_of(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    return done.stdout.strip()


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    given = arguments()
    text = np.fromfile(given.file, dtype=np.uint8, count=given.bytes)
    inputs = {"text": text, "one value": np.zeros_like(text)}
    inputs["random"] = np.random.default_rng(0).integers(0, 256, text.size, dtype=np.uint8)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        in_c = compiled_counter(Path(folder))
        for name, data in inputs.items():
            ours = count_skipgrams(data, given.offsets)
            if not np.array_equal(ours, in_c(data, given.offsets)):
                raise SystemExit(f"the counts of {name} differ")
            several = f"ours, {given.threads} threads"
            ways = {
                "C, 1 thread": lambda data=data: in_c(data, given.offsets),
                "ours, 1 thread": lambda data=data: count_skipgrams(data, given.offsets),
                several: lambda data=data: count_skipgrams(
                    data, given.offsets, threads=given.threads
                ),
            }
            taken = alternated(ways, given.repeats)
            medians = {way: statistics.median(times) for way, times in taken.items()}
            pairs = zip(taken["ours, 1 thread"], taken["C, 1 thread"], strict=True)
            ratio = statistics.median(mine / peer for mine, peer in pairs)
            results[name] = {
                "median_seconds": medians,
                "best_seconds": {way: min(times) for way, times in taken.items()},
                "ratio_to_c_one_thread": ratio,
                "gain_of_threads": medians["ours, 1 thread"] / medians[several],
            }
            print(f"{name}: {ratio:.2f} times C on one thread;", end=" ")
            print(", ".join(f"{way} {1e3 * value:.2f} ms" for way, value in medians.items()))
    shown = [given.file.name if part == str(given.file) else part for part in sys.argv[1:]]
    row = {
        "command": " ".join(["python", "benchmarks/skipgrams/run.py", *shown]),
        "commit": output_of("git", "rev-parse", "HEAD"),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": processor(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "compiler": output_of("gcc", "--version").partition("\n")[0],
            "compile": " ".join(COMPILE),
        },
        "bytes": int(text.size),
        "offsets": given.offsets,
        "repeats": given.repeats,
        "results": results,
    }
    if given.out:
        given.out.write_text(json.dumps(row, indent=2) + "\n")


if __name__ == "__main__":
    main()
