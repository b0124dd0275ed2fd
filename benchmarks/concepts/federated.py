"""Federated against central training, with hostile clients, and with coded deltas.

    python benchmarks/concepts/federated.py VECTORS.npz --out results.json [--test]

VECTORS.npz: ``vectors`` float32 (n, dim) of unit length, ``article`` (n,), ``split`` (articles,)
of ``train``, ``validation`` or ``test``. The training articles are dealt to 20 clients; each
makes one pass over its own in each of 10 rounds. Central training makes 10 passes over all of
them, with the same learner; its learning rate is the best of ``CENTRAL_RATES`` by the mean over
seeds of MRR on the validation articles. Everything else that was chosen was chosen by them,
too. Test articles are scored with ``--test``, once.

``--share 0.04`` is what two percent of the full weights' bytes allow.

Rows of cases differ in the aggregation rule, the codec, and who is hostile: of 20 clients,
four send what they learned times -50 (two of them), times -1, or noise of five times its size.
"""

import argparse
import json
import logging
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from microdollar.learn.concepts.codec import encoded_bytes
from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.evaluate import rank_queries
from microdollar.learn.concepts.federated.coordinator import Coordinator, RoundRules
from microdollar.learn.concepts.federated.flower import require_flower
from microdollar.learn.concepts.federated.local import LocalLearner, LocalTraining
from microdollar.learn.concepts.journal import Journal
from microdollar.learn.concepts.sequences import Sequences
from microdollar.learn.concepts.train import core_predictor

CLIENTS, ROUNDS, HOSTILE = 20, 10, 4
CENTRAL_RATES = (3e-6, 1e-5, 3e-5, 1e-4)
FEDERATED_RATE = 3e-4
SHARE = 0.04
ATTACKS = ("scaled", "sign", "random", "scaled")
ROBUST = {"malicious": HOSTILE, "least_clients": 2 * HOSTILE + 3}
CASES = {
    "mean, fp32": ({"rule": "mean", "method": "fp32"}, False),
    "mean, coded": ({"rule": "mean"}, False),
    "multi-krum, coded": ({"rule": "multi-krum", **ROBUST}, False),
    "mean, coded, hostile": ({"rule": "mean"}, True),
    "multi-krum, coded, hostile": ({"rule": "multi-krum", **ROBUST}, True),
    "clipped-mean, coded, hostile": ({"rule": "clipped-mean"}, True),
    "coordinate-median, fp32, hostile": ({"rule": "coordinate-median", "method": "fp32"}, True),
    "trimmed-mean, fp32, hostile": ({"rule": "trimmed-mean", "method": "fp32", **ROBUST}, True),
}


class Hostile:
    """A client that answers with something else than what it learned."""

    def __init__(self, learner: LocalLearner, attack: str) -> None:
        self.learner, self.attack, self.examples = learner, attack, learner.examples

    def train(self, params: np.ndarray, seed: int) -> np.ndarray:
        delta = self.learner.train(params, seed) - params
        if self.attack == "scaled":
            delta *= -50
        elif self.attack == "sign":
            delta *= -1
        else:
            rng = np.random.default_rng(seed)
            delta = rng.standard_normal(len(delta), np.float32) * (5 * delta.std())
        return params + delta


def load(path: Path, context: int) -> dict[str, Sequences]:
    with np.load(path, allow_pickle=False) as found:
        whole = Sequences(found["vectors"], found["article"].astype(np.int64), context)
        split = found["split"]
    parts = ("train", "validation", "test")
    return {name: whole.select(np.flatnonzero(split == name)) for name in parts}


def deal(data: Sequences, seed: int) -> list[Sequences]:
    """The articles in hands of equally many, at random."""
    articles = np.random.default_rng(seed).permutation(np.unique(data.articles))
    return [data.select(articles[hand::CLIENTS]) for hand in range(CLIENTS)]


def central(config: CoreConfig, data: Sequences, rate: float, seed: int) -> np.ndarray:
    training = LocalTraining(passes=ROUNDS, batch=64, learning_rate=rate)
    return LocalLearner(config, data, training).train(initial(config), seed)


def federated(
    config: CoreConfig, data: Sequences, rules: RoundRules, hostile: bool, seed: int, rate: float
) -> tuple[np.ndarray, dict[str, float]]:
    require_flower("the federated benchmark")
    from microdollar.learn.concepts.federated.client_flower import Memory, client_app
    from microdollar.learn.concepts.federated.grid_flower import InProcessGrid
    from microdollar.learn.concepts.federated.server_flower import DeltaStrategy, run_rounds

    logging.getLogger("flwr").setLevel(logging.ERROR)
    training = LocalTraining(learning_rate=rate)
    learners = [LocalLearner(config, hand, training) for hand in deal(data, seed)]
    chosen = np.random.default_rng(seed).choice(CLIENTS, HOSTILE, replace=False) if hostile else []
    for client, attack in zip(chosen, ATTACKS[: len(chosen)], strict=True):
        learners[client] = Hostile(learners[client], attack)
    apps = {
        client + 2: client_app(Memory(config, initial(config)), lambda context, own=own: own)
        for client, own in enumerate(learners)
    }
    grid = InProcessGrid(apps)
    reports = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Journal.create(Path(folder) / "journal", config, initial(config)) as journal,
    ):
        coordinator = Coordinator(journal, rules)
        strategy = DeltaStrategy(coordinator, seed=seed, on_round=reports.append)
        run_rounds(strategy, grid, ROUNDS, 60.0)
        params = coordinator.params.copy()
    up = sum(report.bytes_up for report in reports) / (ROUNDS * CLIENTS)
    down = sum(report.delta_bytes for report in reports) / ROUNDS
    return params, {
        "bytes_up_a_client_a_round": up,
        "bytes_down_a_client_a_round": down,
        "share_of_full_weights_both_ways": (up + down) / (2 * params.nbytes),
        "wire_bytes_up": grid.bytes_up,
        "wire_bytes_down": grid.bytes_down,
    }


def scores(config: CoreConfig, params: np.ndarray, parts: dict[str, Sequences]) -> dict[str, float]:
    predict = core_predictor(config, params)
    return {name: rank_queries(predict, part).mrr for name, part in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--context", type=int, default=16)
    parser.add_argument("--rate", type=float, default=FEDERATED_RATE)
    parser.add_argument("--share", type=float, default=SHARE, help="of the values sent")
    parser.add_argument("--cases", nargs="+", default=["central", *CASES])
    parser.add_argument("--add-to", type=Path, help="results of a run of other cases")
    parser.add_argument("--test", action="store_true")
    given = parser.parse_args()
    data = load(given.vectors, given.context)
    config = CoreConfig(dim=data["train"].vectors.shape[1], context=given.context)
    held = {name: data[name] for name in (["validation", "test"] if given.test else ["validation"])}
    seeds = range(given.seeds)
    rows = [{"case": "untrained", "seed": 0, "mrr": scores(config, initial(config), held)}]
    print(json.dumps(rows[-1]), flush=True)

    def add(case: str, seed: int, params: np.ndarray, began: float, **more: float) -> None:
        mrr = scores(config, params, held)
        spent = time.process_time() - began
        rows.append({"case": case, "seed": seed, "mrr": mrr, "cpu_seconds": spent, **more})
        print(json.dumps(rows[-1]), flush=True)
        if given.out:
            write(given.out, given, config, data, rows)

    if given.add_to:
        rows += json.loads(given.add_to.read_text())["rows"][1:]
    for rate in CENTRAL_RATES if "central" in given.cases else ():
        for seed in seeds:
            began = time.process_time()
            params = central(config, data["train"], rate, seed)
            add("central", seed, params, began, rate=rate)
    for name, (rules, hostile) in CASES.items():
        if name not in given.cases:
            continue
        for seed in seeds:
            began = time.process_time()
            both = {"share_up": given.share, "share_down": given.share, **rules}
            params, sent = federated(
                config, data["train"], RoundRules(**both), hostile, seed, given.rate
            )
            sent |= {"share": given.share} if both.get("method") is None else {}
            add(name, seed, params, began, **sent)
    summary = summarise(rows, list(held))
    print(json.dumps(summary, indent=1))
    if given.out:
        write(given.out, given, config, data, rows, summary)


def summarise(rows: list[dict], parts: list[str]) -> dict[str, object]:
    """Means over seeds, and how far each lies from the central training chosen on validation."""

    def mean(part: str, case: str, rate: float | None = None, share: float | None = None) -> float:
        found = [
            row["mrr"][part]
            for row in rows
            if (row["case"], row.get("rate"), row.get("share")) == (case, rate, share)
        ]
        return float(np.mean(found))

    rate = max(CENTRAL_RATES, key=lambda rate: mean("validation", "central", rate))
    ours = {(row["case"], row.get("share")) for row in rows if row["case"] in CASES}
    cases = sorted(ours, key=lambda key: (list(CASES).index(key[0]), key[1] or 0))
    found: dict[str, object] = {"central_rate": rate}
    for part in parts:
        level = mean(part, "central", rate)
        found[part] = {"untrained": mean(part, "untrained"), "central": level} | {
            f"{case}, {share:.0%}" if share else case: {
                "mrr": mean(part, case, share=share),
                "against_central": mean(part, case, share=share) / level - 1,
            }
            for case, share in cases
        }
    return found


def write(
    path: Path,
    given: argparse.Namespace,
    config: CoreConfig,
    data: dict[str, Sequences],
    rows: list[dict],
    summary: dict[str, object] | None = None,
) -> None:
    said = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    result = {
        "command": shlex.join(["python", "benchmarks/concepts/federated.py", *sys.argv[1:]]),
        "commit": said.stdout.strip(),
        "machine": {
            "cpu": names[0] if names else platform.processor(),
            "threads": 1,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "parameters": config.n_params,
        "full_weights_bytes": 4 * config.n_params,
        "coded_bytes": encoded_bytes(config.n_params, "topk-int8", given.share),
        "clients": CLIENTS,
        "rounds": ROUNDS,
        "federated_rate": given.rate,
        "articles": {name: len(np.unique(part.articles)) for name, part in data.items()},
        "queries": {name: len(part.queries) for name, part in data.items()},
        "summary": summary,
        "rows": rows,
    }
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
