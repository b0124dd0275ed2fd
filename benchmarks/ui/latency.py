r"""How long the planner page takes to answer, over many random plans.

    python benchmarks/ui/latency.py --plans 1500 --out benchmarks/ui/latency.json

The real server runs in a process of its own with an empty folder of the user; one client sends
one form after another over a connection that stays open, each a change of a plan of the page: a
random model of the catalog, device, batch, layout and optimizer, every fourth with a second plan
beside it. Each form is sent three times. Said are the wall time until a whole answer is there, of
all requests and of the fastest of each three (what other work on the machine adds is in the former
only), and the processor time that the server took (of all requests over their number). Only plans
that have an answer count; the first hundred forms do not.
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
REPEATS = 3
FORM = {"content-type": "application/x-www-form-urlencoded"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plans", type=int, default=1500, help="answers that count")
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


def ask(client: http.client.HTTPConnection, form: dict[str, str]) -> tuple[int, float]:
    """Status of the answer, and seconds until all of it is there."""
    start = time.perf_counter()
    client.request("POST", "/results", urlencode(form), FORM)
    answer = client.getresponse()
    answer.read()
    return answer.status, time.perf_counter() - start


def summary(seconds: list[float]) -> dict[str, float]:
    milliseconds = sorted(1e3 * second for second in seconds)
    return {
        "requests": len(milliseconds),
        "median_ms": round(statistics.median(milliseconds), 2),
        "p99_ms": round(milliseconds[int(0.99 * len(milliseconds))], 2),
        "worst_ms": round(milliseconds[-1], 2),
        "within_100_ms": sum(one < 100 for one in milliseconds) / len(milliseconds),
    }


def measure(plans: int, seed: int) -> dict[str, object]:
    chance = random.Random(seed)
    seconds, best, refused, slowest = [], [], 0, {}
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
            for _ in range(WARM):
                ask(client, random_form(chance))
            before = processor_seconds(server.pid)
            while len(best) < plans:
                form = random_form(chance)
                status, took = ask(client, form)
                if status != 200:
                    refused += 1
                    continue
                times = [took, *(ask(client, form)[1] for _ in range(REPEATS - 1))]
                if min(times) > max(best, default=0.0):
                    slowest = form
                seconds += times
                best.append(min(times))
            asked = len(seconds) + refused
            used = (processor_seconds(server.pid) - before) / asked
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    return {
        "plans": len(best),
        "refused": refused,
        "all_requests": summary(seconds),
        "fastest_of_three": summary(best),
        "server_processor_ms_mean": round(1e3 * used, 2),
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
    result["load_average"] = round(os.getloadavg()[0], 1)
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
