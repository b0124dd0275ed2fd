"""What every scorer loses at equal budgets: Wikipedia pages nobody learnt from, and Shakespeare.

    OMP_NUM_THREADS=1 python benchmarks/tokens/quality.py enwik8_first_2mb tinyshakespeare.txt \
        --policy supervised=MODEL --policy rl=MODEL --reader MODEL/infiller --reader counted \
        --scorer smollm2 --chosen policy-rl --cache CACHE

The first text is a dump: its pages are split by title; scorers that learn and the counted reader
learn from its training pages, and its test pages are scored. The second is a plain text that
nobody learns from; so many of its documents are scored, evenly spaced, by the same readers.

Beside the scorers as they come (those that count, count the text at hand), the same with what the
training pages say: ``rare+train``, ``entropy+train``, ``self-information+train`` (an n-gram network
of the training pages that goes on learning). Every scorer at a ratio is a line of the cache, so an
interrupted run goes on; delete the cache when scorers, readers or measures have changed.

``results/*.json`` and ``results/table.md`` are written at the end, and ``results/bits.svg``.
"""

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import table

from microdollar.learn.tokens.evaluate.measure import (
    Item,
    Outcome,
    Scored,
    cloze_of_whole,
    make_items,
    measure,
    score_items,
)
from microdollar.learn.tokens.evaluate.readers import open_reader, spaced, unseen
from microdollar.learn.tokens.evaluate.run import Evaluation
from microdollar.learn.tokens.evaluate.text_metrics import TextMetrics
from microdollar.learn.tokens.reconstruct.base import Reconstructor
from microdollar.learn.tokens.reconstruct.counted import CountedReconstructor
from microdollar.learn.tokens.scorers.base import Reversed, Scorer, make_scorer, scorer_names
from microdollar.learn.tokens.texts import Document
from microdollar.learn.tokens.tokenizers import Words
from microdollar.learn.tokens.vocabulary import Vocabulary
from microdollar.measure.machine import describe

RESULTS = Path(__file__).parent / "results"
NEED_MORE = ("policy", "smollm2", "concept-sentences")
"""Scorers that are not run unless they are named: they need a model, or minutes."""
ORDER = 6
"""Longest context of the n-gram network, as that of ``self-information``."""


def digest(path: Path) -> str:
    """Of a folder's files or of one file: the names and all bytes."""
    total = hashlib.blake2b(digest_size=8)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def scorers_of(
    args: argparse.Namespace, train: Sequence[Document]
) -> dict[str, Callable[[], Scorer]]:
    """What makes each scorer, by its name in the table."""
    found: dict[str, Callable[[], Scorer]] = {}
    for given in args.policy:
        name, _, folder = given.partition("=")
        found[f"policy-{name}"] = partial(make_scorer, "policy", model=Path(folder))
    plain = [name for name in scorer_names() if name not in NEED_MORE]
    for name in plain + args.scorer:
        found[name] = partial(make_scorer, name)

    @cache
    def text() -> str:
        return "\n\n".join(document.text for document in train)

    def counting(name: str) -> Scorer:
        return make_scorer(name, reference=Words().tokenize(text()))

    def informed() -> Scorer:
        from microdollar.learn.counts.ngram.learner import NGram

        model = NGram(order=ORDER).fit(np.frombuffer(text().encode(), np.uint8))
        return make_scorer("self-information", model=model, adaptive=True)

    found["rare+train"] = lambda: Reversed(name="rare", scorer=counting("frequency"))
    found["entropy+train"] = lambda: counting("entropy")
    found["self-information+train"] = informed
    return found


class Cache:
    """Outcomes and scores of one text under one folder."""

    def __init__(self, folder: Path, documents: Sequence[Document]) -> None:
        whole = json.dumps([asdict(document) for document in documents]).encode()
        self.folder = folder / hashlib.blake2b(whole, digest_size=8).hexdigest()
        self.folder.mkdir(parents=True, exist_ok=True)

    def outcomes(self, reader: str) -> dict[tuple[str, float], Outcome]:
        """What a reader measured before; a line that was cut off counts for nothing."""
        found = {}
        path = self.folder / f"{reader}.jsonl"
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[row["scorer"], row["ratio"]] = Outcome(**row["outcome"])
        return found

    def add(self, reader: str, scorer: str, ratio: float, outcome: Outcome) -> None:
        """Write one line; a line before it that was cut off stays one of its own."""
        row = {"scorer": scorer, "ratio": ratio, "outcome": outcome.to_json()}
        with (self.folder / f"{reader}.jsonl").open("a") as file:
            file.write("\n" + json.dumps(row))

    def scored(self, key: str, name: str, items: Sequence[Item], make: Any) -> Scored:
        """Scores that were written before, else new ones."""
        path = self.folder / f"{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}.npz"
        if path.exists():
            with np.load(path) as held:
                scores = [held[f"s{i}"] for i in range(len(items))]
                return Scored(name=name, scores=scores, seconds=float(held["seconds"]))
        found = score_items(make(), items, name)
        arrays = {f"s{i}": scores for i, scores in enumerate(found.scores)}
        np.savez(path.with_name("new.npz"), seconds=found.seconds, **arrays)
        path.with_name("new.npz").replace(path)
        return found


def evaluate(
    items: Sequence[Item],
    scorers: dict[str, Callable[[], Scorer]],
    args: argparse.Namespace,
    cached: Cache,
    reader: str,
) -> Evaluation:
    """Every scorer at every ratio, those of the cache as they are."""
    metrics = TextMetrics([item.tokens for item in items])
    models = dict(given.partition("=")[::2] for given in args.policy)
    known, outcomes = cached.outcomes(reader), []
    for name, make in scorers.items():
        folder = models.get(name.removeprefix("policy-"))
        key = name if folder is None else f"{name} {digest(Path(folder))}"
        scored = None
        for ratio in args.ratios:
            if (key, ratio) not in known:
                scored = scored or cached.scored(key, name, items, make)
                began = time.process_time()
                known[key, ratio] = measure(scored, ratio, items, metrics)
                cached.add(reader, key, ratio, known[key, ratio])
                seconds = time.process_time() - began
                print(f"{reader} {name} {ratio:g}: {seconds:.0f} CPU s", flush=True)
            outcomes.append(known[key, ratio])
    return Evaluation(
        outcomes=outcomes,
        cloze=cloze_of_whole(items),
        signatures=metrics.signatures,
        missing=metrics.missing,
    )


def reader_of(name: str, train: Sequence[Document]) -> tuple[str, str, Reconstructor]:
    """A reader: a short name, a name that changes when it does, and itself."""
    if name == "counted":
        tokens = [Words().tokenize(document.text) for document in train]
        fitted = CountedReconstructor.fit(tokens, Vocabulary.of(tokens))
        whole = "".join(document.text for document in train).encode()
        return name, f"counted-{hashlib.blake2b(whole, digest_size=8).hexdigest()}", fitted
    reader = open_reader(name)
    mark = f"-{digest(Path(name))}" if Path(name).exists() else ""
    return reader.name, f"{reader.name}{mark}", reader


def facts(args: argparse.Namespace) -> dict[str, Any]:
    """When, where and how, without folders of this machine."""
    words = [given + mark + Path(path).name for given, mark, path in
             (word.rpartition("=") for word in sys.argv[1:])]  # fmt: skip
    describes = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(describes, capture_output=True, text=True, check=False).stdout.strip()
    policies = [given.partition("=")[::2] for given in args.policy]
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(describe()),
        "commit": commit,
        "command": f"python benchmarks/tokens/quality.py {shlex.join(words)}",
        "policies": {name: digest(Path(folder)) for name, folder in policies},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dump", type=Path)
    parser.add_argument("plain", type=Path)
    parser.add_argument("--policy", action="append", default=[], metavar="NAME=MODEL")
    parser.add_argument("--reader", action="append", default=[], metavar="counted|smollm2|FOLDER")
    parser.add_argument("--scorer", action="append", default=[], help="one more of squeeze's")
    parser.add_argument("--only", help="these scorers, with commas; all if not given")
    parser.add_argument("--chosen", default="self-information+train", help="compared with the rest")
    parser.add_argument("--ratios", type=lambda text: [float(r) for r in text.split(",")],
                        default=[0.3, 0.5, 0.7])  # fmt: skip
    parser.add_argument("--documents", type=int, default=40, help="of the plain text")
    parser.add_argument("--pages", type=int, help="of the dump; all test pages if not given")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    train, test, _ = unseen([args.dump])
    plain = unseen([args.plain])[2]
    texts = {
        "wikipedia": [test[i] for i in spaced(len(test), args.pages)],
        "shakespeare": [plain[i] for i in spaced(len(plain), args.documents)],
    }
    scorers = scorers_of(args, train)
    if args.only:
        scorers = {name: scorers[name] for name in args.only.split(",")}
    if args.chosen not in scorers:
        parser.error(f"--chosen is none of {', '.join(scorers)}")
    args.out.mkdir(parents=True, exist_ok=True)
    reports = {}
    for name in args.reader or ["counted"]:
        short, key, reader = reader_of(name, train)
        for text, documents in texts.items():
            items = make_items(documents, [reader] * len(documents))
            found = evaluate(items, scorers, args, Cache(args.cache, documents), key)
            report = facts(args) | {
                "text": text,
                "training_pages": len(train),
                "documents": [item.title for item in items],
                "tokens": sum(len(item.tokens) for item in items),
                "reconstructor": {"name": short, "given": reader.given, "model": key},
                **found.to_json(args.chosen),
            }
            reports[f"{text}-{short}"] = report
            path = args.out / f"{text}-{short}.json"
            path.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    table.write(reports, args.out)


if __name__ == "__main__":
    main()
