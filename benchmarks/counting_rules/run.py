"""Ways to combine orders, on the same counts and bytes, frozen and adaptive apart.

    python benchmarks/counting_rules/run.py ENWIK8 SHAKESPEARE [--test]

ENWIK8 is the first 2,000,000 bytes of enwik8, SHAKESPEARE is tinyshakespeare. Without
``--test``, development bytes only: learnt from bytes 0 to 900,000 of enwik8 and scored on the
next 100,000, with contexts of up to 6 and 10 bytes. With it, learnt from the first 1,000,000 and
scored on the next 200,000, and learnt from nine tenths of SHAKESPEARE and scored on the rest.
Writes results.json beside this file and ``docs/counting-rules.md``. Needs the extra ``counts``.

What a rule learns beyond counts it learns as ``ngram`` does: the last tenth of the training bytes
is scored with the counts of the rest (frozen), or while counting goes on (adaptive), and counted.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from ctw import BitTree, ByteTree
from page import RESULTS, write
from rules import DISCOUNTS, FACTORS, Bayes, JelinekMercer, chained, fresh_credit, mixed
from rules import single_discounts as single
from walks import DISCOUNTED, WITTEN_BELL, Counts, Floats, Table

from microdollar.learn import peers
from microdollar.learn.arrays import ByteArray
from microdollar.learn.base import CONTEXT_BYTES
from microdollar.learn.counts.ngram.discounts import modified_kneser_ney
from microdollar.learn.registry import create
from microdollar.work.formulas.ngram import held_back_bytes

ALPHAS = {"1/2": 1 / 2, "1/32": 1 / 32, "1/256": 1 / 256}
"""Pseudo-counts of a byte in ``ByteTree``."""
Scores = dict[str, dict[str, float | None]]


class Slice:
    """Tables of one kind of counts: of held-back and of scored bytes, frozen and adaptive."""

    def __init__(
        self,
        train: ByteArray,
        test: ByteArray,
        order: int,
        *,
        raw: bool,
        kinds: tuple[int, ...],
        discounts: Callable[[Counts], Floats],
    ) -> None:
        counts = Counts.empty(order, raw=raw)
        late = len(train) - held_back_bytes(len(train))
        counts.walk(train[:late], learn=True, write=False)
        self.early_discounts = discounts(counts)
        where = counts.trie.cursor
        self.late = {}
        for learn in (False, True):
            counts.trie.cursor = where
            self.late[learn] = counts.walk(
                train[late:], learn=learn, kinds=kinds, discounts=self.early_discounts
            )
        self.discounts = discounts(counts)
        where = counts.trie.cursor
        self.test = {}
        for learn in (False, True):
            counts.trie.cursor = where
            self.test[learn] = counts.walk(test, learn=learn, kinds=kinds, discounts=self.discounts)


def bits(chances: Floats) -> float:
    """Mean of -log2 p."""
    return float(-np.log2(chances).mean())


def both(score: Callable[[bool], Floats]) -> dict[str, float | None]:
    """A row: the frozen and the adaptive score of a rule."""
    return {"frozen": bits(score(False)), "adaptive": bits(score(True))}


def counted_rules(train: ByteArray, test: ByteArray, order: int) -> Scores:
    """All rules that read the tables."""

    def raw_discounts(counts: Counts) -> Floats:
        found = single(counts.trie.counts_of_counts())
        return np.stack((found, found))

    def kneser_ney(counts: Counts) -> Floats:
        return modified_kneser_ney(counts.trie.counts_of_counts())[None]

    def plain(counts: Counts) -> Floats:
        return single(counts.trie.counts_of_counts())[None]

    raw = Slice(
        train, test, order, raw=True, kinds=(DISCOUNTED, WITTEN_BELL), discounts=raw_discounts
    )
    seen = Slice(train, test, order, raw=False, kinds=(DISCOUNTED,), discounts=kneser_ney)
    single_kn = Counts.empty(order, raw=False)
    single_kn.walk(train, learn=True, write=False)
    kn = plain(single_kn)[0]
    del single_kn

    def last(table: Table, which: int) -> Floats:
        return np.take_along_axis(table.chance[which], table.depth[:, None], axis=1)[:, 0]

    def mixture(of: Slice, which: int, power: float, by_credit: bool) -> dict[str, float | None]:
        def score(adaptive: bool) -> Floats:
            credit = fresh_credit(order)
            how = {"power": power, "by_credit": by_credit}
            mixed(of.late[adaptive], which, credit, learn=True, **how)
            return mixed(of.test[adaptive], which, credit, learn=adaptive, **how)

        return both(score)

    def bayes(factors: Floats, discounts: Floats, by_class: bool) -> dict[str, float | None]:
        def score(adaptive: bool) -> Floats:
            rule = Bayes(discounts, factors, by_class=by_class)
            rule.chances(seen.late[adaptive], learn=True)
            return rule.chances(seen.test[adaptive], learn=adaptive)

        return both(score)

    def deleted(adaptive: bool) -> Floats:
        rule = JelinekMercer(order).fit(raw.late[adaptive])
        return rule.chances(raw.test[adaptive], learn=adaptive)

    mkn = seen.discounts[0]
    rows: Scores = {
        "absolute discounting, raw counts": both(lambda a: last(raw.test[a], 0)),
        "Witten-Bell, raw counts": both(lambda a: last(raw.test[a], 1)),
        "Kneser-Ney, one discount": both(lambda a: chained(seen.test[a], kn)),
        "modified Kneser-Ney": both(lambda a: last(seen.test[a], 0)),
        "PPM, method C": both(lambda a: seen.test[a].ppm[0]),
        "PPM, method D": both(lambda a: seen.test[a].ppm[1]),
        "deleted interpolation (Jelinek-Mercer), EM": both(deleted),
        "Bayes: one discount of a grid, by order": bayes(DISCOUNTS, np.ones_like(mkn), False),
        "Bayes: factor on the discounts, by order": bayes(FACTORS, mkn, False),
        "Bayes: factor on the discounts, by class of evidence": bayes(FACTORS, mkn, True),
    }
    for name, of, which in (
        ("absolute", raw, 0),
        ("Witten-Bell", raw, 1),
        ("modified Kneser-Ney", seen, 0),
    ):
        for label, power, by_credit in (
            ("1/H", 1.0, False),
            ("1/H²", 2.0, False),
            ("EM", 0.0, True),
            ("EM x 1/H", 1.0, True),
        ):
            rows[f"{label} over the orders of {name}"] = mixture(of, which, power, by_credit)
    return rows


def trees(train: ByteArray, test: ByteArray, order: int) -> Scores:
    """Context-tree weighting."""
    rows: Scores = {}
    for name, make in {
        **{
            f"CTW of bytes, pseudo-count {label}": lambda a=alpha: ByteTree(order, a)
            for label, alpha in ALPHAS.items()
        },
        "CTW of bits (KT)": lambda: BitTree(order),
    }.items():
        tree = make()
        tree.chances(train, learn=True)
        where = tree.trie.cursor
        frozen = tree.chances(test, learn=False)
        tree.trie.cursor = where
        adaptive = tree.chances(test, learn=True)
        rows[name] = {"frozen": bits(frozen), "adaptive": bits(adaptive)}
    return rows


def ours(train: ByteArray, test: ByteArray, order: int) -> Scores:
    """The learners of the package, and PPMd."""
    rows: Scores = {}
    context = train[-CONTEXT_BYTES:]
    for name in ("ngram", "counted"):
        model = create(name, order=order).fit(train)
        rows[f"`{name}`"] = {
            "frozen": model.bits_per_byte(test, context=context),
            "adaptive": model.adaptive_bits_per_byte(test, context=context),
        }
    found = peers.score(peers.ppmd(order), train, test)
    rows["PPMd variant I (pyppmd)"] = {"frozen": None, "adaptive": found.bits_per_byte}
    return rows


def compare(name: str, data: ByteArray, cut: int, end: int, order: int) -> dict[str, object]:
    """All rules on one slice."""
    used = time.process_time()
    train, test = data[:cut], data[cut:end]
    rows: Scores = {}
    for part in (counted_rules, trees, ours):
        rows |= part(train, test, order)
    lines = [f"{name}, order {order}"]
    for rule, row in sorted(rows.items(), key=lambda item: item[1]["adaptive"] or 9):
        frozen = "      " if row["frozen"] is None else f"{row['frozen']:.4f}"
        lines.append(f"  {rule:60} {frozen} {row['adaptive']:.4f}")
    print("\n".join(lines), flush=True)
    return {
        "order": order,
        "train_bytes": cut,
        "test_bytes": end - cut,
        "cpu_seconds": round(time.process_time() - used, 1),
        "rows": {
            rule: {k: v and round(v, 4) for k, v in row.items()} for rule, row in rows.items()
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("enwik8", type=Path)
    parser.add_argument("shakespeare", type=Path)
    parser.add_argument("--test", action="store_true", help="score the test bytes as well")
    given = parser.parse_args()
    enwik8, play = (np.fromfile(path, np.uint8) for path in (given.enwik8, given.shakespeare))
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"slices": {}}
    results["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
    asked = {
        f"development, order {order}": (enwik8, 900_000, 1_000_000, order) for order in (10, 6)
    }
    if given.test:
        asked["enwik8"] = (enwik8, 1_000_000, 1_200_000, 10)
        asked["tinyshakespeare"] = (play, len(play) * 9 // 10, len(play), 10)
    with ProcessPoolExecutor(max_workers=2) as pool:
        running = {name: pool.submit(compare, name, *slice_) for name, slice_ in asked.items()}
        results["slices"] |= {name: each.result() for name, each in running.items()}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
