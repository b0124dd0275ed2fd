r"""Gather finished runs into results.json; write docs/crossover.md and docs/frontier-data.svg.

    python benchmarks/frontier/page.py [--work FOLDER ...]

With ``--work`` (folders of ``run.py``) results.json is written anew; without, the page and the
picture are made from it as it is.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figure import drawing

from microdollar.units import format_dollars, format_seconds

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
DOCS = HERE.parent.parent / "docs"
PAGE, PICTURE = DOCS / "crossover.md", DOCS / "frontier-data.svg"
LABELS = {
    "uniform": "uniform",
    "order-0": "byte frequencies",
    "ngram": "ngram",
    "counted": "counted",
    "satrnn": "satrnn",
    "readout-sgd": "readout-sgd",
    "rnn-bptt": "rnn-bptt, 128 units",
    "lstm-bptt": "lstm-bptt, 256 units",
    "gpt": "gpt, 4 layers of 128",
}
GRADIENT = ("rnn-bptt", "lstm-bptt", "gpt")
ASKED = 1000
"""Times its cost that counting is to be better for."""
NAMES = {"enwik8_first_2mb": "enwik8", "gcide.txt": "dictionary"}


def gathered(folders: list[Path]) -> dict[str, Any]:
    """All finished runs of some folders."""
    texts = []
    for folder in folders:
        about = json.loads((folder / "about.json").read_text())
        files = sorted(folder.glob("*.json"))
        rows = [json.loads(file.read_text()) for file in files if file.name != "about.json"]
        rows.sort(key=lambda row: (row["train_bytes"], row["cpu_seconds"]))
        texts.append({**about, "rows": rows})
    return {"texts": texts}


def panels(results: dict[str, Any]) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    """Name of a text, training bytes and the rows of that size."""
    for text in results["texts"]:
        for size in sorted({row["train_bytes"] for row in text["rows"]}):
            rows = [row for row in text["rows"] if row["train_bytes"] == size]
            yield NAMES.get(text["text"], text["text"]), size, rows


def size_text(size: int) -> str:
    return f"{size // 10**6} MB" if size >= 10**6 else f"{size // 1000} kB"


def how(row: dict[str, Any]) -> str:
    """Steps and dropout of a gradient run."""
    if row["learner"] not in GRADIENT:
        return ""
    chance = row["options"].get("dropout")
    return f", {row['steps']:,} steps" + (f", dropout {chance:g}" if chance else "")


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """One line a run, the cheapest first."""
    ngram = next((row["cpu_seconds"] for row in rows if row["job"] == "ngram"), None)
    yield "| learner | frozen | adaptive | CPU time | price | times ngram's |"
    yield "|---|--:|--:|--:|--:|--:|"
    for row in rows:
        seconds, adaptive = row["cpu_seconds"], row.get("adaptive_bits_per_byte")
        cells = (
            LABELS[row["learner"]] + how(row),
            f"{row['bits_per_byte']:.3f}",
            "–" if adaptive is None else f"{adaptive:.3f}",
            format_seconds(seconds) if seconds else "0",
            format_dollars(row["dollars"]) if seconds else "0",
            f"{seconds / ngram:,.{0 if seconds > 10 * ngram else 2}f}"
            if ngram and seconds
            else "–",
        )
        yield f"| {' | '.join(cells)} |"


def crossing(rows: list[dict[str, Any]], learner: str, bits: float) -> str:
    """Where a learner's runs go below some bits: an interpolation, or a bound."""
    runs = sorted((r["cpu_seconds"], r["bits_per_byte"]) for r in rows if r["learner"] == learner)
    if not runs:
        return "–"
    below = next((i for i, (_, got) in enumerate(runs) if got <= bits), None)
    if below is None:
        cost, got = min(runs, key=lambda run: run[1])
        return f"not by {format_seconds(cost)} (+{got - bits:.2f} bits)"
    if below == 0:
        return f"below {format_seconds(runs[0][0])}"
    (low, above), (high, under) = runs[below - 1 : below + 1]
    share = (above - bits) / (above - under)
    at = math.exp(math.log(low) + share * math.log(high / low))
    return f"{format_seconds(at)} ({format_seconds(low)} to {format_seconds(high)})"


def crossings(results: dict[str, Any]) -> Iterator[str]:
    """CPU time at which each gradient learner overtakes each way of counting."""
    yield "| text | learnt | to overtake | costs | " + " | ".join(GRADIENT) + " |"
    yield "|---|--:|---|--:" + "|--:" * len(GRADIENT) + "|"
    for name, size, rows in panels(results):
        for counted in ("ngram", "counted"):
            found = next((row for row in rows if row["job"] == counted), None)
            if found is None or not any(row["learner"] in GRADIENT for row in rows):
                continue
            cells = [crossing(rows, learner, found["bits_per_byte"]) for learner in GRADIENT]
            cost = format_seconds(found["cpu_seconds"])
            said = f"{counted}, {found['bits_per_byte']:.3f} bits"
            yield f"| {name} | {size_text(size)} | {said} | {cost} | {' | '.join(cells)} |"


def overtaken(results: dict[str, Any]) -> Iterator[str]:
    """In two sentences, on which texts a gradient run has fewer bits than the n-gram network."""
    won, lost = [], []
    for name, size, rows in panels(results):
        base = next((row for row in rows if row["job"] == "ngram"), None)
        runs = [row for row in rows if row["learner"] in GRADIENT]
        if base is None or not runs:
            continue
        text = f"{size_text(size)} of {'the dictionary' if name == 'dictionary' else name}"
        bits = base["bits_per_byte"]
        costs = [row["cpu_seconds"] / base["cpu_seconds"] for row in runs]
        enough = [
            cost for cost, row in zip(costs, runs, strict=True) if row["bits_per_byte"] < bits
        ]
        if enough:
            won.append(f"{text} (for {min(enough):,.0f} times its cost)")
        else:
            lost.append(f"{text} (for up to {max(costs):,.0f} times)")
    if won:
        yield f"**Gradient descent overtakes the n-gram network** on {'; '.join(won)}."
    if lost:
        yield f"**It does not**, with what was spent, on {'; '.join(lost)}."


def verdict(results: dict[str, Any]) -> Iterator[str]:
    """Whether counting is better than gradients for 1,000 times the money, as it is."""
    for name, size, rows in panels(results):
        for counted in ("ngram", "counted"):
            base = next((row for row in rows if row["job"] == counted), None)
            dear = [row for row in rows if row["learner"] in GRADIENT]
            if base is None or not dear:
                continue
            best = min(dear, key=lambda row: row["bits_per_byte"])
            times = max(row["cpu_seconds"] for row in dear) / base["cpu_seconds"]
            ratio = best["cpu_seconds"] / base["cpu_seconds"]
            won = best["bits_per_byte"] > base["bits_per_byte"]
            yield (
                f"- {name}, {size_text(size)}: the best gradient run, {best['learner']} for "
                f"{ratio:,.0f} times what `{counted}` cost, has {best['bits_per_byte']:.3f} bits; "
                f"`{counted}` has {base['bits_per_byte']:.3f}: it is "
                f"{'better' if won else 'not better'} than every gradient run, which cost up to "
                f"{times:,.0f} times as much{'' if times >= ASKED else f', not {ASKED:,} times'}."
            )


def page(results: dict[str, Any]) -> str:
    """The page."""
    first = results["texts"][0]
    lines = [
        "# Where gradient descent overtakes counting",
        "",
        "Bits per held-out byte of networks trained by gradient descent and of what counting",
        "gives, on the same bytes, against what each cost: [how it was",
        "measured](#how-it-was-measured). *Frozen* scores leave the model alone; *adaptive* ones",
        "learn from each byte after it was scored, and are never compared with frozen ones.",
        "",
        *overtaken(results),
        "",
        "![Held-out bits against cost at each size](frontier-data.svg)",
        "",
        "## Better than gradients for 1,000 times the money?",
        "",
        *verdict(results),
        "",
        "## The crossover",
        "",
        "CPU time at which a gradient learner has as few bits: interpolated on the logarithm of",
        "cost between the two runs around it, which are named as its bounds. *Not by* is a bound:",
        "the best run of that learner, and by how many bits it is worse.",
        "",
        *crossings(results),
        "",
    ]
    for name, size, rows in panels(results):
        lines += [f"## {name}, {size_text(size)}", "", *table(rows), ""]
    lines += [
        "## How it was measured",
        "",
        "A gradient run was given so many",
        "times what `ngram` cost when it was planned; its steps were chosen from a step's",
        "measured time, so that the learning rate had come down when the money was spent.",
        "`ngram` and `counted` were measured again afterwards, with faster code on a machine",
        "that was nearly idle, and the long runs on one that up to 25 processes shared: the",
        "*times* of those are too high by a fifth to a half. A step of lstm-bptt took 82 ms in",
        "its long run and 59 to 65 ms on the idle machine, where 12,000 of them are 970 to",
        "1,070 times `ngram`'s cost; gpt's 276 ms were 209, 1,200 times. Runs of 200 steps or",
        "more hold out the last 5 % of their training bytes (100,000 at most) to keep the best",
        "weights. Factors of products are rounded to bfloat16, which this processor multiplies",
        "two to three times as fast. One seed.",
        "",
        "## How to run it",
        "",
        "<!-- not run: needs enwik8, a dictionary and days -->",
        "```console",
        "$ python benchmarks/frontier/run.py ENWIK8 --work runs/enwik8 --train-bytes 1000000 \\",
        "    --test-range 1000000 1200000 --jobs frontier",
        "$ python benchmarks/frontier/text.py gcide.dict.dz gcide.txt",
        "$ python benchmarks/frontier/run.py gcide.txt --work runs/dictionary --jobs data \\",
        "    --train-bytes 10000000 --test-range 39752321 39952321",
        "$ python benchmarks/frontier/page.py --work runs/enwik8 runs/dictionary",
        "```",
        "",
        "A run that is killed goes on at its last checkpoint. Times are those of one core of",
        f"{first['processor']} ({first['cores']} cores, shared with other work while this ran,",
        f"which makes every CPU second do less), at ${first['dollars_per_core_hour']} a core-hour;",
        "the README's comparison pays for both cores.",
        *(
            f"Text `{text['text']}`: {text['text_bytes']:,} bytes, SHA-256 `{text['text_sha256']}`."
            for text in results["texts"]
        ),
        "",
    ]
    return "\n".join(lines)


def picture(results: dict[str, Any]) -> str:
    """The figure as an SVG file."""
    return drawing([(f"{name}, {size_text(size)}", rows) for name, size, rows in panels(results)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, nargs="+")
    given = parser.parse_args()
    if given.work:
        RESULTS.write_text(json.dumps(gathered(given.work), indent=1) + "\n")
    results = json.loads(RESULTS.read_text())
    PAGE.write_text(page(results), encoding="utf-8")
    PICTURE.write_text(picture(results), encoding="utf-8")


if __name__ == "__main__":
    main()
