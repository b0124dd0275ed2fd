"""Speed of counting, side by side in one run; writes results.json beside this file.

    python benchmarks/counting_speed/run.py ENWIK8 [--long TEXT] [--lmplz PROGRAM]

ENWIK8 is the first 2,000,000 bytes of enwik8. TEXT is any text of 100 MB or more, for the
cost from 1 to 100 MB. PROGRAM is KenLM's lmplz. Every comparison alternates its sides, at
least five times, and what is reported is the median of the ratios of neighbours. Of one
thread, the processor's time is compared and not the clock's, which also counts what else the
machine was doing; of several threads or programs, both are given. gcc is needed for the plain
hash-table loop.
"""

import argparse
import ctypes
import json
import math
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.counts.ngram.trie import Trie
from microdollar.learn.counts.scale.levels import count_levels

HERE = Path(__file__).parent
Bytes = npt.NDArray[np.uint8]
Loop = Callable[[Bytes, int, list[int]], tuple[float, list[int], list[int]]]
REPEATS = 7


def hash_loop() -> Loop:
    """The plain loop, compiled."""
    folder = Path(tempfile.mkdtemp())
    library = folder / "hashtable.so"
    command = ["gcc", "-O3", "-march=native", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*command, str(HERE / "hashtable.c")], check=True)
    count = ctypes.CDLL(str(library)).count_strings
    count.restype = ctypes.c_int64

    def run(data: Bytes, order: int, distinct: list[int]) -> tuple[float, list[int], list[int]]:
        many = order + 1
        sizes = [max(math.ceil(math.log2(kinds * 1.5 + 2)), 3) for kinds in distinct]
        log2_slots = (ctypes.c_int * many)(*sizes)
        out, sums = (ctypes.c_int64 * many)(), (ctypes.c_uint64 * many)()
        started = time.thread_time()
        total = count(
            data.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(len(data)), order, log2_slots,
            out, sums,
        )  # fmt: skip
        seconds = time.thread_time() - started
        assert total >= 0, "no memory"
        return seconds, list(out), list(sums)

    return run


def seconds_of(function: Callable[..., object], *arguments: object, **options: object) -> float:
    started = time.thread_time()
    function(*arguments, **options)
    return time.thread_time() - started


def side_by_side(data: Bytes, order: int, loop: Loop) -> dict[str, Any]:
    """Ratios of the plain loop's time to ours, after both gave the same counts."""
    blocks = count_levels(data, order, raw=True)
    distinct = [sum(len(block[k].symbol) for block in blocks) for k in range(order + 1)]
    squares = [
        sum(int((block[k].count.astype(np.uint64) ** 2).sum()) for block in blocks)
        for k in range(order + 1)
    ]
    _, found, sums = loop(data, order, distinct)
    assert found == distinct and sums == squares, "the two do not count the same"
    rows = []
    for _ in range(REPEATS):
        plain, _, _ = loop(data, order, distinct)
        ours = seconds_of(count_levels, data, order)
        raw = seconds_of(count_levels, data, order, raw=True)
        trie = Trie.empty(order, capacity=round(sum(distinct) * 1.03) + order)
        one_by_one = seconds_of(trie.count, data)
        rows.append((plain, ours, raw, one_by_one))
    columns = list(zip(*rows, strict=True))
    names = ("hash_loop_c", "sorted", "sorted_raw_counts", "trie_numba")
    return {
        "bytes": len(data),
        "order": order,
        "strings": sum(distinct),
        "median_cpu_seconds": {
            name: statistics.median(column) for name, column in zip(names, columns, strict=True)
        },
        "hash_loop_over_sorted": statistics.median(row[0] / row[1] for row in rows),
        "hash_loop_over_sorted_raw": statistics.median(row[0] / row[2] for row in rows),
        "hash_loop_over_trie": statistics.median(row[0] / row[3] for row in rows),
    }


def scoring(data: Bytes) -> dict[str, Any]:
    """Static scoring of the 200,000 bytes after the first 1,000,000."""
    model = NGram(order=10).fit(data[:1_000_000])
    test, context = data[1_000_000:1_200_000], data[999_900:1_000_000]
    model.bits(test, context=context)
    seconds = [seconds_of(model.bits, test, context=context) for _ in range(REPEATS)]
    return {
        "bytes": len(test),
        "bits_per_byte": float(model.bits(test, context=context).mean()),
        "median_megabytes_per_cpu_second": len(test) / statistics.median(seconds) / 1e6,
    }


STREAM = """
    import json, resource, sys, time
    from pathlib import Path
    from microdollar.learn.counts.scale.build import build
    from microdollar.learn.counts.scale.sources import LocalFile
    from microdollar.learn.counts.scale.threads import on_threads
    text, work = map(Path, sys.argv[1:3])
    memory, order = map(int, sys.argv[3:])
    def run(source, name):
        build(LocalFile(path=source), work / name, order=order, memory_bytes=memory,
              work_folder=work / ("runs-" + name), mapper=on_threads(1))
    small = work / "small"
    small.write_bytes(text.read_bytes()[:20_000] if text.stat().st_size < 2e6 else b"ab" * 9000)
    run(small, "first")
    pages = Path("/proc/self/statm")
    before = int(pages.read_text().split()[1]) * resource.getpagesize()
    started, cpu = time.perf_counter(), time.process_time()
    run(text, "model")
    status = Path("/proc/self/status").read_text()  # ru_maxrss would begin with the parent's
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    print(json.dumps({
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes_beyond_start": peak - before,
        "model_bytes": sum(p.stat().st_size for p in (work / "model").iterdir()),
    }))
"""


def stream(path: Path, size: int, order: int, memory: int) -> dict[str, Any]:
    """A streaming build of the first bytes of a file, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        with path.open("rb") as whole:
            text.write_bytes(whole.read(size))
        command = [sys.executable, "-c", textwrap.dedent(STREAM), text, folder, memory, order]
        done = subprocess.run([str(a) for a in command], capture_output=True, text=True, check=True)
        return {"bytes": size, **json.loads(done.stdout)}


def exponent(rows: list[dict[str, Any]], key: str) -> float:
    """Slope of log seconds over log bytes."""
    slope, _ = np.polyfit(
        [math.log(row["bytes"]) for row in rows], [math.log(row[key]) for row in rows], 1
    )
    return float(slope)


def linear(path: Path, order: int, memory: int) -> dict[str, Any]:
    """Cost from 1 to 100 MB."""
    rows = []
    for size in (1, 3, 10, 30, 100):
        size *= 1_000_000
        repeats = 3 if size <= 10_000_000 else 1
        runs = [stream(path, size, order, memory) for _ in range(repeats)]
        rows.append(min(runs, key=lambda row: row["cpu_seconds"]))
        print(rows[-1], flush=True)
    return {
        "order": order,
        "memory_bytes": memory,
        "rows": rows,
        "exponent_of_seconds": exponent(rows, "seconds"),
        "exponent_of_cpu_seconds": exponent(rows, "cpu_seconds"),
    }


def kenlm(program: str, data: Bytes, order: int) -> dict[str, Any]:
    """KenLM on the same bytes as tokens: each byte as a number, a newline as the end of a line."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "tokens"
        names = np.array([f"{value} " for value in range(256)])
        names[10] = "\n"
        text.write_text("".join(names[data]))
        command = [
            program, "-o", str(order + 1), "--text", str(text), "--arpa", f"{folder}/arpa",
            "--discount_fallback", "-S", "2G", "-T", folder, "--verbose_header",
        ]  # fmt: skip
        model, source = Path(folder) / "model", Path(folder) / "bytes"
        data.tofile(source)
        rows = []
        for _ in range(5):
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, check=False)
            theirs = time.perf_counter() - started
            if done.returncode:
                return {"order": order, "error": done.stderr.decode()[-300:]}
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            theirs_cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
            started, cpu = time.perf_counter(), time.process_time()
            NGram(order=order).fit(data).save(model)
            ours, ours_cpu = time.perf_counter() - started, time.process_time() - cpu
            streamed = stream(source, len(data), order, 1 << 30)
            rows.append(
                (theirs, theirs_cpu, ours, ours_cpu, streamed["seconds"], streamed["cpu_seconds"])
            )

    def ratio(left: int, right: int) -> float:
        return statistics.median(row[left] / row[right] for row in rows)

    return {
        "bytes": len(data),
        "order": order,
        "median_seconds": [statistics.median(column) for column in zip(*rows, strict=True)],
        "median_seconds_of": ["lmplz", "its cpu", "in memory", "cpu", "streaming", "cpu"],
        "lmplz_over_build_in_memory": ratio(0, 2),
        "lmplz_over_build_in_memory_cpu": ratio(1, 3),
        "lmplz_over_build_streaming": ratio(0, 4),
        "lmplz_over_build_streaming_cpu": ratio(1, 5),
        "note": "whole builds, files written; to lmplz each byte is a word and each line a "
        "sentence, --discount_fallback; it runs several threads",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("enwik8", type=Path)
    parser.add_argument("--long", type=Path)
    parser.add_argument("--lmplz")
    given = parser.parse_args()
    data = np.fromfile(given.enwik8, np.uint8)
    loop = hash_loop()
    results = {"machine": platform.processor() or platform.machine(), "python": sys.version[:6]}
    results["counting"] = [
        side_by_side(data[:size], order, loop)
        for size in (1_000_000, 2_000_000)
        for order in (5, 10)
    ]
    results["scoring"] = scoring(data)
    print(json.dumps(results, indent=1), flush=True)
    if given.lmplz:
        results["kenlm"] = [kenlm(given.lmplz, data[:1_000_000], order) for order in (5, 10)]
        print(json.dumps(results["kenlm"], indent=1), flush=True)
    if given.long:
        long = np.fromfile(given.long, np.uint8, 10_000_000)
        results["counting"].append(side_by_side(long, 10, loop))
        results["linear"] = linear(given.long, 10, 512 << 20)
    results["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
