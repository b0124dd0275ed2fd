r"""Pack files here and with the usual compressors, unpack them again, and compare.

    python benchmarks/pack/run.py enwik8_first_2mb tinyshakespeare.txt --system \
        --out benchmarks/pack/results.json

With ``--system`` also texts that this machine carries: the sources of Python's standard library
with its help topics, and Debian's licences and copyright files; so these two differ from machine to
machine. Each compressor runs once, one thread, after a first short run that compiles.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from microdollar.errors import MissingExtraError
from microdollar.learn.corpus import load_corpus
from microdollar.learn.counts.pack import pack, unpack
from microdollar.learn.peers import bz2_9, ppmd, xz_9e, zlib_9

HERE = Path(__file__).parent
LIMIT = 4_000_000
"""Bytes of each text of the system."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--system", action="store_true", help="also texts of this machine")
    parser.add_argument("--order", type=int, help="longest context; else that of `pack`")
    parser.add_argument("--out", type=Path, help="write the result here as JSON")
    return parser.parse_args()


def joined(paths: list[Path]) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(paths))[:LIMIT]


def system_texts() -> dict[str, bytes]:
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    docs = load_corpus("python-docs").data.tobytes()
    texts = {"python help and stdlib": docs + joined(list(stdlib.glob("*.py")))}
    share = Path("/usr/share")
    licences = [p for p in share.glob("common-licenses/*") if p.is_file() and not p.is_symlink()]
    notices = [p for p in share.glob("doc/*/copyright") if p.is_file() and not p.is_symlink()]
    texts["debian licences"] = joined(licences) + joined(notices)
    words = share / "dict" / "words"
    if words.is_file():
        texts["debian words"] = words.read_bytes()
    return {name: text for name, text in texts.items() if len(text) > 1_000_000}


def zstd_19() -> Callable[[bytes], bytes] | None:
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        return None
    return lambda text: zstd.compress(text, level=19)


def measured(text: bytes, order: int | None) -> dict[str, dict[str, float]]:
    ways = {maker.name: maker.compress for maker in (zlib_9(), bz2_9(), xz_9e())}
    if (zstd := zstd_19()) is not None:
        ways["zstd -19"] = zstd
    try:
        ways |= {f"ppmd -o{size}": ppmd(size).compress for size in (6, 16)}
    except MissingExtraError as error:
        print(error)
    ways["microdollar pack"] = lambda data: pack(data, order=order)
    rows = {}
    for name, compress in ways.items():
        started = time.perf_counter()
        packed = compress(text)
        seconds = time.perf_counter() - started
        rows[name] = {
            "packed_bytes": len(packed),
            "bits_per_byte": 8 * len(packed) / len(text),
            "seconds": seconds,
            "megabytes_per_second": len(text) / 1e6 / seconds,
        }
    started = time.perf_counter()
    if unpack(packed) != text:
        raise SystemExit("other bytes came back")
    rows["microdollar pack"]["unpack_seconds"] = time.perf_counter() - started
    return rows


def output_of(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    return done.stdout.strip()


def main() -> None:
    given = arguments()
    texts = {path.name: path.read_bytes() for path in given.files}
    if given.system:
        texts |= system_texts()
    unpack(pack(b"what compiles is not timed " * 100))
    results = {}
    for name, text in texts.items():
        rows = measured(text, given.order)
        saved = 1 - rows["microdollar pack"]["packed_bytes"] / rows["xz"]["packed_bytes"]
        results[name] = {"bytes": len(text), "smaller_than_xz": saved, "compressors": rows}
        print(f"{name}, {len(text):,} bytes: {saved:.1%} smaller than xz -9e")
        for compressor, row in rows.items():
            print(
                f"  {compressor:17} {row['packed_bytes']:>9,}  {row['bits_per_byte']:.4f} bits per "
                f"byte  {row['megabytes_per_second']:7.2f} MB/s"
            )
    shown = [Path(part).name if Path(part) in given.files else part for part in sys.argv[1:]]
    row = {
        "command": " ".join(["python", "benchmarks/pack/run.py", *shown]),
        "commit": output_of("git", "rev-parse", "HEAD"),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            # Of all processes: above the number of cores, seconds are too long.
            "load_average": os.getloadavg(),
            "cores": os.cpu_count(),
        },
        "results": results,
    }
    if given.out:
        given.out.write_text(json.dumps(row, indent=2) + "\n")


if __name__ == "__main__":
    main()
