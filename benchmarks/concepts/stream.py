"""Streaming over articles never seen: frozen, gated and ungated learning, and the way back.

    OMP_NUM_THREADS=1 python benchmarks/concepts/stream.py enwik8_first_2mb --vectors CACHE.npz

The text's articles are split by seed 0; a model is trained on the training articles and stopped by
the validation articles. The test articles are halved: one half is streamed, article by article, the
other is the untouched split, and the other way round, so every test query is asked both while
streaming and untouched. Candidates are all test sentences but the query's context. Intervals are
95 % of a bootstrap over articles, paired with the frozen model. Everything that was chosen (gate,
memory, rates) was chosen on streams of training and validation articles.

"Recurring" streams the first halves of all test articles and then their second halves: the same
subjects come again, as in somebody's notes.

CPU seconds are those of the thread (the disk is not in them); wall time of a rollback has it.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from microdollar.learn.concepts.codec import encode_delta
from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.concepts.corpus import read_articles, split_articles
from microdollar.learn.concepts.encoders import make_encoder
from microdollar.learn.concepts.evaluate import Outcome, paired_gain, rank_queries, score
from microdollar.learn.concepts.gate import Doubles, Floats, Gate, Verdict
from microdollar.learn.concepts.journal import Journal
from microdollar.learn.concepts.sequences import Ints, Sequences
from microdollar.learn.concepts.stream import StreamConfig, StreamLearner
from microdollar.learn.concepts.train import TrainOptions, train
from microdollar.measure.machine import describe

RESULTS = Path(__file__).with_name("stream.json")
FROZEN = StreamConfig(every=0, strengths=())
BATCH, NEGATIVES = 16, 128
ROLLBACKS = 60


class Open(Gate):
    """Lets everything in."""

    def judge(self, before: Doubles, after: Doubles) -> Verdict:
        return replace(Gate.judge(self, before, after), accepted=True)


@dataclass
class Run:
    """One learner over one stream."""

    rows: list[int]
    """Queries that it predicted, in the order of the stream."""
    answers: Floats
    untouched: Floats
    facts: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--vectors", type=Path, help="kept here between runs")
    parser.add_argument("--context", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3, help="of the model's training")
    parser.add_argument("--only-rollback", action="store_true", help="measure that again")
    options = parser.parse_args()
    if options.only_rollback:
        found = json.loads(RESULTS.read_text(encoding="utf-8")) | {"rollback": rollback_times()}
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return
    torch.set_num_threads(1)
    training, validation, test = load(options.text, options.vectors, options.context)
    config = CoreConfig(dim=test.vectors.shape[1], context=options.context)
    half = np.random.default_rng(0).permutation(np.unique(test.articles))
    halves = [half[::2], half[1::2]]
    found = {
        "command": f"python benchmarks/concepts/stream.py {options.text.name}",
        "commit": git("rev-parse", "HEAD"), "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(describe()), "settings": asdict(StreamConfig()),
        "queries": len(test.queries), "articles": len(half), "seeds": options.seeds,
        "rollback": rollback_times(),
    }  # fmt: skip
    print(json.dumps(found["rollback"]), flush=True)
    outcomes: dict[str, dict[str, list[Outcome]]] = {}
    facts: dict[str, list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        start = train(training, validation, config, TrainOptions(seed=seed)).params
        for name, learn in learners().items():
            for order, streams in (
                ("stream", [(row_order(test, ours), theirs) for ours, theirs in
                            (halves, halves[::-1])]),
                ("recurring", [(twice_order(test), half[:0])]),
            ):  # fmt: skip
                if order == "recurring" and name not in ("frozen", "gated", "gated, memory only"):
                    continue
                runs = [learn(start, config, test, *stream) for stream in streams]
                facts.setdefault(f"{name}, {order}", []).extend(run.facts for run in runs)
                kinds = outcomes.setdefault(name, {})
                kinds.setdefault(order, []).append(joined(test, [
                    (run.rows, run.answers) for run in runs]))  # fmt: skip
                if order == "stream":
                    kinds.setdefault("untouched", []).append(joined(test, [
                        (queries_of(test, theirs), run.untouched)
                        for run, (_, theirs) in zip(runs, streams, strict=True)
                    ]))  # fmt: skip
            print(seed, name, summary(outcomes, name), flush=True)
    found["models"] = {name: summary(outcomes, name) for name in outcomes}
    found["facts"] = {name: means(rows) for name, rows in facts.items()}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def learners() -> dict[str, Callable[..., Run]]:
    """By name. The ungated ones learn from the same pairs, with no memory."""
    every = StreamConfig()
    ungated = replace(every, strengths=(), gate=Open())
    made: dict[str, Callable[..., Run]] = {}
    for name, config in {
        "frozen": FROZEN, "gated": every,
        "gated, memory only": replace(every, every=0),
        "gated, weights only": replace(every, strengths=()),
        "ungated, same proposals": replace(ungated, method="fp32"),
    }.items():  # fmt: skip
        made[name] = lambda *args, config=config: stream(*args, config)
    for lr in (1e-4, 3e-4, 1e-3):
        made[f"ungated, every concept, Adam {lr:g}"] = lambda *args, lr=lr: naive(*args, lr)
    return made


def stream(
    start: Floats, config: CoreConfig, test: Sequences, order: list[tuple[int, bool]],
    untouched: Ints, how: StreamConfig,
) -> Run:  # fmt: skip
    """A StreamLearner over rows of the test articles."""
    with tempfile.TemporaryDirectory() as folder:
        core = Core(config, start, batch=BATCH, negatives=NEGATIVES)
        with Journal.create(Path(folder) / "journal", config, start) as journal:
            learner = StreamLearner(
                core, journal, Path(folder) / "state", how, clock=time.thread_time
            )
            rows, answers, seen, seconds = [], [], [], []
            for row, first in order:
                if first:
                    learner.begin_document()
                begun = time.thread_time()
                answer = learner.predict()
                seen.append(learner.observe(test.vectors[row]))
                seconds.append(time.thread_time() - begun)
                if answer is not None:
                    rows.append(row)
                    answers.append(answer)
            verdicts = [one.verdict for one in seen if one.verdict]
            n = len(order)
            facts = {
                "concepts": n, "proposed": len(verdicts),
                "accepted": sum(verdict.accepted for verdict in verdicts),
                "mean_strength": float(np.mean([one.strength for one in seen])),
                "delta_bytes": median([one.delta_bytes for one in seen if one.verdict] or [0]),
                "ms_a_concept": {k: 1e3 * s / n for k, s in learner.seconds.items()},
                "ms_a_concept_in_all": 1e3 * sum(seconds) / n,
                "ms_a_concept_median": 1e3 * median(seconds),
                "tensor_bytes": learner.tensor_bytes,
            }  # fmt: skip
            asked = test.contexts(queries_of(test, untouched))
            after = learner.predict_for(*asked) if len(untouched) else asked[0][:, 0]
    return Run(rows, np.array(answers), after, facts)


def naive(
    start: Floats, config: CoreConfig, test: Sequences, order: list[tuple[int, bool]],
    untouched: Ints, lr: float,
) -> Run:  # fmt: skip
    """Backpropagation at every concept: it and seven of those before, one step of Adam."""
    core = Core(config, start, batch=BATCH, negatives=NEGATIVES)
    rng, rows, answers = np.random.default_rng(0), [], []
    for row, first in order:
        if first:
            continue
        contexts, lengths = test.contexts(np.array([row]))
        answers.append(core.predict(contexts, lengths)[0])
        rows.append(row)
        chosen = np.unique([row, *rng.choice(rows, min(7, len(rows)), replace=False)])
        others = rng.choice(rows, min(NEGATIVES, len(rows)), replace=False)
        contexts, lengths = test.contexts(chosen)
        candidates = np.concatenate([chosen, others])
        mask = (candidates > chosen[:, None]) | (candidates < (chosen - lengths)[:, None])
        np.fill_diagonal(mask, True)
        core.train_step(
            contexts, lengths, test.vectors[chosen], test.vectors[others], StreamConfig().tau,
            mask, lr=lr,
        )  # fmt: skip
    contexts, lengths = test.contexts(queries_of(test, untouched))
    parts = [
        core.predict(contexts[i : i + BATCH], lengths[i : i + BATCH])
        for i in range(0, len(contexts), BATCH)
    ]
    return Run(rows, np.array(answers), np.concatenate(parts), {})


def load(text: Path, cache: Path | None, context: int) -> list[Sequences]:
    """Training, validation and test articles as vectors of MiniLM."""
    parts = split_articles(read_articles(text), 0)
    if cache and cache.exists():
        vectors = np.load(cache)["vectors"]
    else:
        sentences = [s for part in parts for article in part for s in article.sentences]
        vectors = make_encoder("minilm").encode(sentences)
        if cache:
            np.savez(cache, vectors=vectors)
    found, start = [], 0
    for part in parts:
        sizes = [len(article.sentences) for article in part]
        end = start + sum(sizes)
        numbers = np.repeat(np.arange(len(sizes)), sizes)
        found.append(Sequences(vectors[start:end], numbers, context))
        start = end
    return found


def row_order(data: Sequences, articles: Ints) -> list[tuple[int, bool]]:
    """Rows article by article, and whether each begins a document."""
    return [
        (int(row), place == 0)
        for article in articles
        for place, row in enumerate(np.flatnonzero(data.articles == article))
    ]


def twice_order(data: Sequences) -> list[tuple[int, bool]]:
    """The first halves of all articles, then their second halves."""
    order = []
    for part in (0, 1):
        for article in np.unique(data.articles):
            rows = np.array_split(np.flatnonzero(data.articles == article), 2)[part]
            order += [(int(row), place == 0) for place, row in enumerate(rows)]
    return order


def queries_of(data: Sequences, articles: Ints) -> Ints:
    return data.queries[np.isin(data.articles[data.queries], articles)]


def joined(data: Sequences, parts: list[tuple[Any, Floats]]) -> Outcome:
    """Ranks of answers that were given already, in the order of the rows."""
    rows = np.concatenate([np.asarray(part[0], np.int64) for part in parts])
    answers = np.concatenate([part[1] for part in parts])
    turn = np.argsort(rows)
    left = iter(answers[turn])
    return rank_queries(
        lambda contexts, lengths: np.stack([next(left) for _ in contexts]), data, rows[turn]
    )


def summary(outcomes: dict[str, dict[str, list[Outcome]]], name: str) -> dict[str, Any]:
    """MRR and the gain over the frozen model; queries of all seeds, articles drawn whole."""
    found: dict[str, Any] = {}
    for kind, of_seeds in outcomes[name].items():
        ours, base = pooled(of_seeds), pooled(outcomes["frozen"][kind])
        gain = paired_gain("frozen", ours, base)
        one = score(name, ours)
        found[kind] = {
            "mrr": one.mrr, "mrr_low": one.mrr_low, "mrr_high": one.mrr_high,
            "gain": gain.gain, "low": gain.low, "high": gain.high,
            "r1": one.r1, "r10": one.r10, "cosine": one.cosine,
            "gain_by_seed": [a.mrr - b.mrr for a, b in
                             zip(of_seeds, outcomes["frozen"][kind], strict=False)],
        }  # fmt: skip
    return found


def pooled(of_seeds: list[Outcome]) -> Outcome:
    """An article's queries of all seeds together."""
    names = ("articles", "ranks", "ranks_inside", "cosines")
    return Outcome(**{n: np.concatenate([getattr(one, n) for one in of_seeds]) for n in names})


def means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each number over runs."""
    return {
        key: means([row[key] for row in rows])
        if isinstance(value, dict)
        else float(np.mean([row[key] for row in rows]))
        for key, value in rows[0].items()
    }


def rollback_times() -> dict[str, Any]:
    """A model of the default size: rolling back to entries drawn at random, and opening."""
    config, rng = CoreConfig(), np.random.default_rng(0)
    found: dict[str, Any] = {
        "parameters": config.n_params, "load_average": os.getloadavg()[0],
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": git("rev-parse", "HEAD"),
    }  # fmt: skip
    for method, share in (("topk-int8", 0.01), ("topk-int8", 0.05), ("int8", 1.0), ("fp32", 1.0)):
        with tempfile.TemporaryDirectory() as folder:
            path, params = Path(folder) / "journal", initial(config)
            states, wall, cpu = {}, [], []
            with Journal.create(path, config, params) as journal:
                states[0] = params.tobytes()
                for _ in range(60):
                    change = 1e-3 * rng.standard_normal(config.n_params, np.float32)
                    delta = encode_delta(
                        change, method=method, share=share, base_fingerprint=journal.head.after
                    )
                    entry = journal.append(delta, params, {})
                    states[entry.index] = params.tobytes()
                exact, out = True, np.empty_like(params)
                for to in rng.choice(list(states), ROLLBACKS):
                    begun = time.perf_counter(), time.thread_time()
                    journal.rollback(int(to), out)
                    wall.append(time.perf_counter() - begun[0])
                    cpu.append(time.thread_time() - begun[1])
                    exact = exact and out.tobytes() == states[to]
            begun = time.thread_time()
            Journal.open(path).close()
            found[f"{method} {share:g}"] = {
                "ms_median": 1e3 * median(wall), "ms_most": 1e3 * max(wall),
                "cpu_ms_median": 1e3 * median(cpu), "cpu_ms_most": 1e3 * max(cpu),
                "bit_exact": exact, "delta_bytes": len(delta), "journal_bytes": path.stat().st_size,
                "open_cpu_ms": 1e3 * (time.thread_time() - begun),
            }  # fmt: skip
    return found


def git(*words: str) -> str:
    here = Path(__file__).parent
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=True, cwd=here)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
