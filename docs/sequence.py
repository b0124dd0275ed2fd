"""Write docs/sequence-layers.md and its picture from what was measured.

    python docs/sequence.py

The numbers are those of ``benchmarks/sequence/``: ``crossover.json`` (what ``microdollar crossover
-o`` wrote), ``quality.json``, ``linear_speed.json`` and ``scan_speed.json``. The tests of this
script fail while the page is out of date.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from microdollar.learn.sequence.layers import LAYERS
from microdollar.report.crossover import crossover_svg
from microdollar.units import format_bytes, format_seconds, format_si

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "sequence-layers.md"
PICTURE = ROOT / "docs" / "sequence-layers.svg"
RESULTS = ROOT / "benchmarks" / "sequence"
Json = Mapping[str, Any]

SEEN = 4096
"""Longest length at which the rules of pricing were chosen."""
SHOWN = (256, 1024, 4096, 16_384, 65_536)
POWER_TOLERANCE = 0.1
"""Operations grow as claimed if their power of length, over the last doubling, is within this of
the claimed one: terms of a lower order are still there."""
FROM = 1024
"""Length from which on a power is fitted to measured times."""
CLAIMS = (
    # layer, mode, claimed exponent of length, what the document says
    ("attention", "forward", 2.0, "attention is O(N^2 d)"),
    ("attention-naive", "forward", 2.0, "attention is O(N^2 d)"),
    ("linear-attention", "forward", 1.0, "linear attention is O(N d^2)"),
    ("state-space", "forward", 1.0, "state-space models are O(N), parallel in training"),
    ("state-space", "training", 1.0, "state-space models are O(N), parallel in training"),
    ("rwkv", "training", 1.0, "RWKV is O(N) in training"),
    ("rwkv", "decode", 0.0, "RWKV updates its state in O(1)"),
    ("state-space", "decode", 0.0, "linear recurrences decode from a state of fixed size"),
    ("attention", "decode", 1.0, "(not said: a token of attention reads the whole cache)"),
)


def load(name: str) -> dict[str, Any]:
    """One file of results."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text("utf-8"))
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    """Lines of a table; the first ``left`` columns are words."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join(["---"] * left + ["--:"] * (len(head) - left)) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def times(study: Json) -> Iterator[str]:
    """Measured seconds, a table for each mode and width."""
    names = {"forward": "Forward", "training": "Forward and backward", "decode": "One token"}
    for mode in study["grid"]["modes"]:
        for width in study["grid"]["widths"]:
            rows = {
                (row["layer"], row["length"]): row
                for row in study["rows"]
                if (row["mode"], row["width"]) == (mode, width)
            }
            yield f"**{names[mode]}, width {width}** (measured; in brackets: predicted only)"
            yield ""
            lines = []
            for layer in study["grid"]["layers"]:
                cells = [_time(rows[layer, length]) for length in SHOWN]
                longest = rows[layer, SHOWN[-1]]
                lines.append([f"`{layer}`", *cells, format_bytes(longest["memory_bytes"])])
            yield from table(
                ["", *(f"{length:,}" for length in SHOWN), f"memory at {SHOWN[-1]:,}"], lines
            )


def _time(row: Json) -> str:
    if row["measured_seconds"] is None:
        return f"({format_seconds(row['predicted_seconds'])})"
    return format_seconds(row["measured_seconds"])


def answer(study: Json, learnt: Json) -> Iterator[str]:
    """Both halves of the question in one table: where a layer wins, what is lost with it."""
    modes = study["grid"]["modes"]
    found: dict[tuple[str, str], list[str]] = {}
    for pair in study["crossovers"]:
        if pair["of"] == "seconds" and pair["first"] == "attention":
            at = pair["measured"]
            ahead = at["cheaper_after"] == pair["second"]
            length = "all" if ahead else "none"
            if at["length"] is not None:
                length = f"{at['length']:,.0f}"
            found.setdefault((pair["second"], pair["mode"]), []).append(length)
    rows = {(row["layer"], row["task"]): row for row in learnt["rows"]}
    tasks = list(dict.fromkeys(row["task"] for row in learnt["rows"]))
    lines = []
    for layer in LAYERS:
        if (layer, tasks[0]) not in rows:
            continue
        cells = [", ".join(found.get((layer, mode), ["–"])) for mode in modes]
        cells.append(f"{rows[layer, tasks[0]]['bits_per_byte']:.2f}")
        cells.append(f"{100 * rows[layer, tasks[-1]]['recalled']:.0f} %")
        lines.append([f"`{layer}`", *cells])
    yield from table(["", *modes, "bits per byte", f"{tasks[-1].split()[1]} pairs recalled"], lines)


def crossings(study: Json) -> Iterator[str]:
    """Where attention is overtaken."""
    lines = []
    for pair in study["crossovers"]:
        if pair["of"] != "seconds" or pair["first"] != "attention":
            continue
        lines.append([
            pair["mode"], f"{pair['width']}", f"`{pair['second']}`", _crossing(pair["measured"]),
            _crossing(pair["predicted"]),
            "" if pair["error"] is None else f"{100 * pair['error']:+.0f} %",
        ])  # fmt: skip
    head = ["mode", "width", "overtakes `attention` at", "measured", "predicted", "error"]
    yield from table(head, lines, left=3)


def _crossing(found: Json) -> str:
    if found["length"] is None:
        ahead = found["cheaper_after"]
        return f"no: `{ahead}` throughout" if ahead else "not known"
    low = "<" if found["low"] is None else f"{found['low']:,.0f}"
    high = ">" if found["high"] is None else f"{found['high']:,.0f}"
    return f"{found['length']:,.0f} ({low} to {high})"


def errors(study: Json) -> Iterator[str]:
    """How wrong the predictions were."""
    lines = []
    for each in study["accuracy"]:
        later = each["after_probing_median_error"]
        lines.append([
            each["mode"], f"{each['points']}", f"{each['exact_flops']}",
            f"{100 * each['median_memory_error']:.1f} %", f"{100 * each['median_error']:.0f} %",
            f"{100 * each['p90_error']:.0f} %", f"{100 * each['inside']:.0f} %",
            "" if later is None else f"{100 * later:.0f} %",
        ])  # fmt: skip
    yield from table(
        ["mode", "points", "operations exact", "memory, median error", "time, median error",
         "9 of 10 within", "inside the 80 % interval", "after probing two lengths"], lines,
    )  # fmt: skip
    for mode in (*study["grid"]["modes"], None):
        far = [
            abs(row["error"])
            for row in study["rows"]
            if row["error"] is not None and row["length"] > SEEN and mode in (None, row["mode"])
        ]
        if far:
            what = "Beyond" if mode is None else f"`{mode}` beyond"
            yield (
                f"- {what} {SEEN:,} positions, held out: median error "
                f"{100 * median(far):.0f} %, {len(far)} points"
            )
    yield ""
    found = [
        abs(pair["error"])
        for pair in study["crossovers"]
        if pair["of"] == "seconds" and pair["error"] is not None
    ]
    near = sum(error <= 0.25 for error in found)
    held = sum(
        (pair["predicted"]["low"] or 0) <= pair["measured"]["length"]
        and pair["measured"]["length"] <= (pair["predicted"]["high"] or math.inf)
        for pair in study["crossovers"]
        if pair["of"] == "seconds" and pair["error"] is not None
    )
    if found:
        yield (
            f"Of {len(found)} crossing lengths that were both predicted and measured, {near} are "
            f"predicted within 25 %; the median error is {100 * median(found):.0f} %, and the "
            f"predicted interval holds the measured length of {held}. Where two curves run nearly "
            "side by side, a few percent of time move their crossing far."
        )
        yield ""


def growth(study: Json) -> Iterator[str]:
    """The document's orders, against powers of operations and of measured times."""
    lines = []
    for layer, mode, claimed, says in CLAIMS:
        width = study["grid"]["widths"][0]
        rows = sorted(
            (
                row
                for row in study["rows"]
                if (row["layer"], row["mode"], row["width"]) == (layer, mode, width)
            ),
            key=lambda row: row["length"],
        )
        counted = power([(row["length"], row["flops"]) for row in rows[-2:]])
        measured = [
            (row["length"], row["measured_seconds"])
            for row in rows
            if row["measured_seconds"] is not None and row["length"] >= FROM
        ]
        holds = abs(counted - claimed) <= POWER_TOLERANCE
        lines.append([
            says, f"`{layer}`", mode, f"{claimed:.0f}", f"{counted:.2f}",
            f"{power(measured):.2f} ({FROM:,} to {measured[-1][0]:,})",
            "holds" if holds else "does not hold",
        ])  # fmt: skip
    yield from table(
        ["the document (chapters II and III)", "layer", "mode", "claimed power of N",
         "of operations", "of measured time", ""], lines, left=3,
    )  # fmt: skip


def power(points: Sequence[tuple[int, float]]) -> float:
    """Slope of a line through the logarithms, by least squares."""
    xs, ys = ([math.log(point[axis]) for point in points] for axis in (0, 1))
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((one - x) * (other - y) for one, other in zip(xs, ys, strict=True))
    return above / sum((one - x) ** 2 for one in xs)


def quality(found: Json) -> Iterator[str]:
    """What was learnt for the same seconds."""
    tasks = list(dict.fromkeys(row["task"] for row in found["rows"]))
    rows = {(row["layer"], row["task"]): row for row in found["rows"]}
    lines = []
    for layer in dict.fromkeys(row["layer"] for row in found["rows"]):
        text = rows[layer, "text"]
        cells = [f"{text['bits_per_byte']:.3f}", format_seconds(text["cpu_seconds"])]
        if layer in LAYERS:
            cells += [f"{text['steps']:,}", format_si(text["parameters"])]
            cells += [f"{100 * rows[layer, task]['recalled']:.0f} %" for task in tasks[1:]]
        else:
            cells += ["–", "–", *("–" for _ in tasks[1:])]
        lines.append([f"`{layer}`", *cells])
    yield from table(
        ["", "held-out bits per byte", "core time", "steps", "weights",
         *(f"{task.split()[1]} pairs recalled" for task in tasks[1:])], lines,
    )  # fmt: skip


def speed() -> Iterator[str]:
    """Our forms beside the public ones at the longest length."""
    lines = []
    scan = [dict(row, kind="selective scan") for row in load("scan_speed.json")["rows"]]
    for row in [*load("linear_speed.json")["rows"], *scan]:
        length = str(max(map(int, row["ours"])))
        ours = row["ours"][length]
        for peer, by_length in row["peers"].items():
            if length not in by_length:
                continue
            found = by_length[length]
            cells = [_ratio(found.get(way)) for way in ("forward", "training")]
            if cells == ["–", "–"]:
                continue
            memory = found.get("training_peak_bytes")
            mine = ours.get("training_peak_bytes")
            cells.append(f"{memory / mine:.1f}" if memory and mine else "–")
            lines.append([row["kind"], f"{row['width']}", peer, *cells])
    yield from table(
        ["", "width", "peer", "forward, times ours", "forward and backward", "memory"], lines,
        left=3,
    )  # fmt: skip


def _ratio(found: Json | None) -> str:
    if not found or found.get("times_as_long") is None:
        return "–"
    low, high = found["quartiles"]
    return f"{found['times_as_long']:.2f} ({low:.2f} to {high:.2f})"


def page() -> str:
    """The whole page."""
    study, learnt = load("crossover.json"), load("quality.json")
    setting = learnt["setting"]
    machine = study["machine"]
    lines = [
        "# Sequence layers",
        "",
        "At which length does which layer win, and what is lost with it? `microdollar crossover`",
        "answers for your machine; this page is what it said on one "
        f"({machine['name']}, one thread,",
        "batch 1), written by `python docs/sequence.py`.",
        "",
        "<!-- not run: measures for minutes on an idle machine -->",
        "```console",
        "$ microdollar crossover --lengths 256..4096 --widths 128",
        "$ microdollar crossover -o crossover.json --figure crossover.svg",
        "```",
        "",
        "| layer | what it is |",
        "|---|---|",
        *(f"| `{name}` | {line} |" for name, (_, line) in LAYERS.items()),
        "",
        "From so many positions on a layer is faster than torch's fused attention, at widths of",
        f"{' and '.join(str(width) for width in study['grid']['widths'])} (measured; *all*: at all",
        "lengths), and what a model of it learnt in the same seconds:",
        "",
        *answer(study, learnt),
        "Each has two forms, all positions at once and one at a time, which are one function: to",
        "1e-10 in float64, gradients too (`tests/contract/test_sequence_layers.py`).",
        "",
        "![Time of a token over length, for each layer](sequence-layers.svg)",
        "",
        "## How long it takes",
        "",
        *times(study),
        "## Where attention is overtaken",
        "",
        "Against torch's fused attention; from this length on the other layer stays cheaper.",
        "Intervals are of 80 %.",
        "",
        *crossings(study),
        "## How right the prediction was",
        "",
        "Predicted before anything ran, from a trace on tensors without memory and this machine's",
        "calibration. The rules that price operators were chosen on these layers at lengths of 512",
        "to 4,096, so only what lies beyond is held out; operations and memory had no such choice.",
        "",
        *errors(study),
        "## What the document says",
        "",
        f"A statement holds if the power of the operations, over the last doubling at width "
        f"{study['grid']['widths'][0]},",
        f"is within {POWER_TOLERANCE} of the claimed one. Time beside it is a fit over all "
        "measured lengths.",
        "",
        *growth(study),
        "## What is learnt for the same money",
        "",
        f"A model of {setting['layers']} blocks of width {setting['width']} that differs only in",
        f"the layer, trained for {setting['seconds']:g} seconds of a core for each learning rate",
        f"({' and '.join(f'{rate:g}' for rate in setting['learning_rates'])}, chosen on validation",
        f"data), one seed. Text: enwik8, windows of {setting['length']} bytes, the last 100,000 of",
        "2,000,000 bytes held out. Recall: pairs of a key and a value, then each key again, in",
        "sequences that were never seen; guessing among the values told gives 25 % of 4 pairs and",
        "12.5 % of 8. `ngram` and `counted` learn by counting, once over the text. A layer that is",
        "slow in short windows takes few steps: it may need more to recall, not be unable to.",
        "",
        *quality(learnt),
        "## Beside the public forms",
        "",
        "Forms in PyTorch alone, on one core, in alternating pairs at 16,384 positions; quartiles",
        "in brackets. Above 1, ours is faster or smaller.",
        "",
        *speed(),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Write the page and its picture."""
    PAGE.write_text(page(), "utf-8")
    PICTURE.write_text(crossover_svg(load("crossover.json")), "utf-8")


if __name__ == "__main__":
    main()
