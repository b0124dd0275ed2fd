r"""How long the planner page takes to answer, over many random plans.

    python benchmarks/ui/latency.py --plans 2000 --out benchmarks/ui/latency.json

The real server runs in a process of its own with an empty folder of the user; one client sends
one form after another over a connection that stays open, each a change of a plan of the page: a
random model of the catalog, device, batch, layout and optimizer, every fourth with a second plan
beside it. Said are the wall time until the whole answer is there, and the processor time that the
server took for it (all requests over their number), which other work on the machine disturbs less.
Only plans that have an answer count; the first hundred are not counted.
"""

import argparse
import http.client
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from microdollar.run.provenance import commit, versions
from microdollar.spec.training import OPTIMIZERS
from microdollar.ui.fields import device_choices, model_names

WARM = 100
FORM = {"content-type": "application/x-www-form-urlencoded"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plans", type=int, default=2000, help="answers that count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the result here as JSON")
    return parser.parse_args()


def random_plan(chance: random.Random, prefix: str) -> dict[str, str]:
    count = chance.choice([1, 2, 4, 8, 16, 64, 256, 1024])
    micro = chance.choice([1, 2, 4, 8])
    tp = chance.choice([n for n in (1, 2, 4, 8) if count % n == 0])
    values = {
        "model": chance.choice(model_names()),
        "device": chance.choice(device_choices())[0],
        "count": count,
        "tp": tp,
        "sequence": chance.choice([256, 512]),
        "batch": count // tp * micro * chance.choice([1, 2, 8]),
        "micro_batch": micro,
        "zero": chance.choice([0, 1, 2, 3]),
        "optimizer": chance.choice(OPTIMIZERS),
        "recompute": chance.choice(["none", "selective", "full"]),
    }
    if chance.random() < 0.8:
        values["tokens"] = chance.choice(["1G", "20G", "300G", "15T"])
    if chance.random() < 0.2:
        values |= {"task": "serve", "generate": chance.choice([1, 200, 2000])}
    return {prefix + name: str(value) for name, value in values.items()}


def random_form(chance: random.Random) -> dict[str, str]:
    form = random_plan(chance, "")
    if chance.random() < 0.25:
        form |= {"compare": "on", **random_plan(chance, "b-")}
    return form


def processor_seconds(process: int) -> float:
    """Of all threads of a process, from its start (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(plans: int, seed: int) -> dict[str, object]:
    chance = random.Random(seed)
    seconds, refused, slowest = [], 0, {}
    with tempfile.TemporaryDirectory() as home:
        server = subprocess.Popen(
            [sys.executable, "-m", "microdollar", "ui", "--port", "0", "--no-open"],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"MICRODOLLAR_HOME": home},
        )
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().rstrip("/\n").rpartition(":")[2])
            client = http.client.HTTPConnection("127.0.0.1", port)
            warm, asked, before = 0, 0, 0.0
            while len(seconds) < plans:
                form = random_form(chance)
                start = time.perf_counter()
                client.request("POST", "/results", urlencode(form), FORM)
                answer = client.getresponse()
                answer.read()
                took = time.perf_counter() - start
                warm += 1
                if warm == WARM:
                    before = processor_seconds(server.pid)
                if warm <= WARM:
                    continue
                asked += 1
                if answer.status != 200:
                    refused += 1
                    continue
                if took > max(seconds, default=0.0):
                    slowest = form
                seconds.append(took)
            used = (processor_seconds(server.pid) - before) / asked
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    milliseconds = sorted(1e3 * second for second in seconds)
    return {
        "answers": len(milliseconds),
        "refused": refused,
        "median_ms": statistics.median(milliseconds),
        "p99_ms": milliseconds[int(0.99 * len(milliseconds))],
        "worst_ms": milliseconds[-1],
        "within_100_ms": sum(one < 100 for one in milliseconds) / len(milliseconds),
        "server_processor_ms_mean": 1e3 * used,
        "slowest": slowest,
    }


def main() -> None:
    options = arguments()
    result = {
        "command": " ".join(["python", "benchmarks/ui/latency.py", *sys.argv[1:]]),
        "commit": commit(),
        "versions": versions(),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
        },
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": options.seed,
        **measure(options.plans, options.seed),
    }
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
