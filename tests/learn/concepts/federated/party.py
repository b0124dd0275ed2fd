"""A server or a client in a process of its own, to be killed.

python party.py server FOLDER JOURNAL PORT ROUNDS
python party.py client FOLDER PORT AUTHORITY NUMBER
"""

import sys
import time
from pathlib import Path

import numpy as np

from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.federated.coordinator import RoundRules
from microdollar.learn.concepts.federated.deploy import join, serve_federated
from microdollar.learn.concepts.journal import Journal

CONFIG = CoreConfig(dim=8, width=4, heads=2, context=3)
START = initial(CONFIG)
STEP = np.float32(2.0**-10)
RULES = RoundRules(rule="mean", method="fp32", least_clients=3)


class Counter:
    """Client i learns to add STEP to parameter i, and counts in a file how often it did."""

    examples = 1

    def __init__(self, folder, number):
        self.folder, self.number = folder, number

    def train(self, params, seed):
        if (self.folder / "hang").exists():
            (self.folder / "hanging").touch()
            time.sleep(600)
        learned = params.copy()
        learned[self.number] += STEP
        with (self.folder / "learned").open("a") as out:
            out.write("1")
        return learned


def serve(folder, journal, port, rounds):
    with Journal.open(Path(journal)) as opened:
        serve_federated(
            Path(folder), opened, rules=RULES, rounds=int(rounds), port=int(port),
            round_seconds=6.0, wait_seconds=60.0,
            on_ready=lambda port: Path(folder, "port").write_text(str(port)),
            on_round=lambda report: Path(folder, "done").write_text(str(report.number)),
        )  # fmt: skip


def client(folder, port, authority, number):
    params = join(
        Path(folder), f"127.0.0.1:{port}", Path(authority), config=CONFIG, params=START,
        learner=Counter(Path(folder), int(number)), wait_seconds=60.0,
    )  # fmt: skip
    np.save(Path(folder, "final.npy"), params)


if __name__ == "__main__":
    {"server": serve, "client": client}[sys.argv[1]](*sys.argv[2:])
