"""Is the concept model better than no model? Next-sentence retrieval on articles never seen.

    OMP_NUM_THREADS=1 python benchmarks/concepts/retrieval.py enwik8_first_2mb \
        --wikipedia enwik8_first_4154517 \
        --wikipedia GENSIM_TEST_DATA/enwiki-latest-pages-articles1....bz2 \
        --extra ANARCHISM/html --extra DEBIAN_HANDBOOK/html/en-US --extra python-docs \
        --out benchmarks/concepts/retrieval.json

The first 2,000,000 bytes of the text are split by article, seed 0: a third is tested, a sixth
validates. The model learns from the training articles and the extra texts; extra articles with
a title of the split text, and extra sentences that stand in it, are left out first. Options were
chosen on training and validation articles by models that had learnt from extra texts alone. The
test articles are scored once, by this command.

Extra texts, all in packages but the first: more of enwik8 (its bytes from 2,000,000 on); the
Wikipedia sample in gensim's wheel (4.4.0); the HTML of Debian's packages anarchism (15.3-3) and
debian-handbook (11.20220922); Python's help topics.
"""

import argparse
import hashlib
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from microdollar.learn.concepts.core.layout import CoreConfig
from microdollar.learn.concepts.corpus import Article, Rules, read_articles, split_articles
from microdollar.learn.concepts.encoders import Encoder, load_vectors, make_encoder
from microdollar.learn.concepts.sequences import Floats, Sequences, join
from microdollar.learn.concepts.train import TrainOptions, core_predictor, evaluate_models, train
from microdollar.measure.machine import describe

BYTES = 2_000_000
EXTRA_RULES = Rules(min_sentences=8, max_sentences=70)
WIKIPEDIA_RULES = Rules(min_sentences=8, max_sentences=300)
"""Of extra texts of the same kind as the split text."""


class Encoded:
    """Vectors of sentences, those that were made before out of caches."""

    def __init__(self, encoder: Encoder, caches: Sequence[Path]) -> None:
        self.encoder, self.known = encoder, dict[str, Floats]()
        for cache in caches:
            vectors, texts = load_vectors(cache)
            self.known.update(zip(texts, vectors, strict=True))

    def sequences(self, articles: Sequence[Article], context: int) -> Sequences:
        texts = [sentence for article in articles for sentence in article.sentences]
        fresh = sorted(set(texts) - set(self.known))
        self.known.update(zip(fresh, self.encoder.encode(fresh), strict=True))
        numbers = np.repeat(np.arange(len(articles)), [len(a.sentences) for a in articles])
        return Sequences(np.stack([self.known[text] for text in texts]), numbers, context)


def extra_articles(name: str, rules: Rules, known: Sequence[Article]) -> list[Article]:
    """Articles of a text without what the split text has."""
    titles = {article.title.casefold() for article in known}
    sentences = {sentence for article in known for sentence in article.sentences}
    found = []
    for article in read_articles(name, rules=rules):
        kept = tuple(s for s in article.sentences if s not in sentences)
        if article.title.casefold() not in titles and len(kept) >= rules.min_sentences:
            found.append(Article(article.title, kept))
    return found


def digest(name: str) -> str | None:
    """SHA-256 of a file, or of a folder's files, each after its name."""
    path, total = Path(name), hashlib.sha256()
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if not path.exists():
        return None
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(file.name.encode() + file.read_bytes())
    return total.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text")
    parser.add_argument("--wikipedia", action="append", default=[], help="more of the same kind")
    parser.add_argument("--extra", action="append", default=[])
    parser.add_argument("--cache", action="append", default=[], help="npz of vectors and texts")
    parser.add_argument("--context", type=int, default=5)
    parser.add_argument("--members", type=int, default=TrainOptions().members)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    # Titles of short articles too, so that no extra text continues one of them.
    every = read_articles(args.text, limit_bytes=BYTES, rules=Rules(min_sentences=1))
    parts = split_articles(read_articles(args.text, limit_bytes=BYTES), seed=0)
    encoder = make_encoder("minilm", threads=args.threads)
    encoded = Encoded(encoder, [Path(cache) for cache in args.cache])
    training, validation, test = (encoded.sequences(part, args.context) for part in parts)
    extra, texts = [], []
    named = [(name, WIKIPEDIA_RULES) for name in args.wikipedia]
    for name, rules in named + [(name, EXTRA_RULES) for name in args.extra]:
        articles = extra_articles(name, rules, every)
        extra.append(encoded.sequences(articles, args.context))
        texts.append(
            {
                "name": Path(name).name,
                "sha256": digest(name),
                "articles": len(articles),
                "sentences": len(extra[-1].vectors),
            }
        )
        print(texts[-1], flush=True)
    config = CoreConfig(dim=encoder.dim, context=args.context)
    options = TrainOptions(members=args.members)
    began = time.process_time()
    trained = train(join([training, *extra]), validation, config, options)
    seconds = time.process_time() - began
    print("validation MRR by epoch:", trained.history, f"{seconds:.0f} CPU seconds", flush=True)
    result = evaluate_models(
        training, validation, test, {"lnsp": core_predictor(config, trained.params)}
    )
    report: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(describe()),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip(),
        "command": " ".join(
            ["python benchmarks/concepts/retrieval.py", Path(args.text).name]
            + [f"--wikipedia {Path(name).name}" for name in args.wikipedia]
            + [f"--extra {Path(name).name}" for name in args.extra]
            + [f"--context {args.context} --members {args.members}"]
        ),
        "encoder": {"name": encoder.name, "sha256": encoder.fingerprint},
        "extra": texts,
        "train": {
            "config": asdict(config),
            "parameters": config.n_params,
            "options": asdict(options),
            "queries": trained.queries,
            "validation_mrr": trained.history,
            "epoch": trained.epoch,
            "cpu_seconds": seconds,
        },
        **result.to_json(),
    }
    print(json.dumps(result.to_json(), indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
