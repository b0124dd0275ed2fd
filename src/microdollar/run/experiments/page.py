"""``docs/experiments.md`` and a user's ``experiments.md``, from the results of the study."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from microdollar.units import format_dollars, format_seconds, format_si

_INTRODUCTION = """\
# Weights from counts: every experiment

The document on weight construction asks whether all 82,304 parameters of a recurrent network can
be derived from the statistics of its data. These are its experiments, run again on the first bytes
of `{name}`: as many as the document used, and more, to see what the small sample hid. Each number
is on the bytes that were used and, after the slash, on the bytes that follow them and were not:
{held}.

Everything here is computed from `results.json`, which

    {command}

wrote in {wall} of experiments on {device} (seed {seed}). A run that is
stopped goes on where it was.

**Two settings.** The document mixes 1,024 bytes of enwik8 with a text of 520 bytes that is not
published; the first 520 bytes of the corpus stand for it. *Program* is what the programs that its
authors published give on the 1,024 bytes with their weights. The trained network is our own, so
rows that depend on it can differ.

**Verdicts** are computed. A printed number *holds* if ours, on either small slice, is within
0.05 bits or 3 %, 0.05 of a correlation, 0.01 of a share, 5 % of a stretch, or equal as a count.

**Cost** is what leads from the bytes to the row, training of the network included where a row uses
it, on the longest slice shown: operations by formula, seconds predicted from them and measured,
dollars for the seconds measured at {price}.
"""
_NOTES = {
    "weights": "Pearson's r of a prediction with the trained weights; after the slash with "
    "statistics of held-out bytes. R² is r². Boolean influence is computed through the trained "
    "W_h, and the PMI-based prediction through the trained W_y: partly circular.",
    "substitution": "Estimates take their scale from the trained weights, as the published "
    "program does. Bits of the longest slice are on its first 200,000 training bytes.",
    "construction": "Share of right codes and of recovered bytes at the worst of 16 depths, by "
    "the real recurrence. At any greater depth nothing is held.",
    "readouts": 'The document\'s "20 Newton steps" are 20 gradient steps in its program; both are '
    "here. The exact Hessian has 33,024 rows: the Newton steps use one 129 x 129 block a class, "
    "halved until the loss falls, or Böhning's bound. On a long slice descent is 3 passes of "
    "minibatch Adam, and the blocks come from 8,192 positions, renewed every 5 steps.",
    "halves": "None of the published halves was held out: pseudo-count and scale were chosen on "
    "the second half, or all bytes were fitted. The clean rows take everything from the first.",
    "hashes": "Random codes: mean over 20 seeds (8 on the longest slice).",
    "carriers": "The document's semantic features are not published; ours are eight classes of "
    "ASCII.",
    "memory": "Stretch is exp of the largest Lyapunov exponent: chaos is above 1. Bytes read back "
    "are those that a linear probe finds in the state.",
    "scaffolding": "Sparse networks have 26,000 free weights: 36 % of W_h, 20 readout neurons, "
    "the rest in W_x; chosen by the size of trained weights, or at random. 50 passes on the small "
    "slices, 4 on the long one.",
    "dynamics": "500 epochs of full-batch descent; on the long slice 3 passes of Adam over the "
    "first 300,000 states.",
    "costs": "Both ends of the scale. What `counted` makes of its opinions is learnt where each "
    "byte is new: 520 bytes teach it to distrust what it knows when it meets them again.",
}

_PLURAL = {"holds": "hold", "does not hold": "do not", "can't be told": "can't be told"}


def page(results: Mapping[str, Any]) -> str:
    """The whole page as Markdown; the same results give the same page."""
    lines = [_introduction(results), *_summary(results), "", *_comparisons(results)]
    for experiment in results["experiments"]:
        lines += ["", *_section(experiment, list(results["slices"]))]
    return "\n".join(lines) + "\n"


def _introduction(results: Mapping[str, Any]) -> str:
    slices = results["slices"]
    price = results["device"]["dollars_per_hour"]
    wall = sum(sum(each["wall_seconds"].values()) for each in results["experiments"])
    return _INTRODUCTION.format(
        name=results["corpus"]["name"],
        held=", ".join(
            f"{each['test_bytes']:,} after {each['train_bytes']:,}" for each in slices.values()
        ),
        command=results["command"],
        wall=format_seconds(wall),
        device=results["device"]["name"],
        seed=results["seed"],
        price="an unknown price" if price is None else f"{format_dollars(price)} an hour",
    )


def _summary(results: Mapping[str, Any]) -> Iterator[str]:
    verdicts: Counter[str] = Counter()
    reruns: Counter[bool] = Counter()
    for experiment in results["experiments"]:
        for row in experiment["rows"]:
            published = row["published"]
            if published is None:
                continue
            if published["verdict"]:
                verdicts[published["verdict"]] += 1
            if not published["uses_trained_weights"] and published["agrees_with_rerun"] is not None:
                reruns[published["agrees_with_rerun"]] += 1
    said = ", ".join(f"{verdicts[verdict]} {words}" for verdict, words in _PLURAL.items())
    yield f"**Of {sum(verdicts.values())} printed numbers**: {said}."
    if reruns:
        yield (
            f"Of {sum(reruns.values())} that the published programs give on 1,024 bytes and into "
            f"which no trained weights enter, ours agree with {reruns[True]}."
        )


def _comparisons(results: Mapping[str, Any]) -> Iterator[str]:
    slices = list(results["slices"])
    said = results["comparisons"]
    if not said:
        return
    yield "## What the document concludes"
    yield ""
    yield (
        "Whether each sentence is so, on the bytes used and on those held out. In brackets: bits "
        "per byte of what the sentence says is better, and of what it says is worse."
    )
    yield ""
    heads = [f"{int(piece):,} bytes" for piece in slices]
    yield f"| sentence | section | {' | '.join(heads)} |"
    yield "|---|---|" + "---|" * len(slices)
    for each in said:
        cells = [_so(each["on"].get(piece)) for piece in slices]
        yield f"| {each['text']} | {each['section']} | {' | '.join(cells)} |"


def _so(parts: Mapping[str, Any] | None) -> str:
    if parts is None:
        return "–"
    words = []
    for part, name in (("train", "used"), ("test", "held out")):
        found = parts[part]
        if found is not None:
            answer = "yes" if found["so"] else "no"
            words.append(f"{name}: {answer} ({found['lower']:.2f}, {found['higher']:.2f})")
    return "; ".join(words) or "–"


def _section(experiment: Mapping[str, Any], slices: list[str]) -> Iterator[str]:
    yield f"## {experiment['number']}. {experiment['title']}"
    yield ""
    yield f"Section {experiment['section']} of the document. {_NOTES[experiment['name']]}"
    yield ""
    heads = [f"{int(piece):,}" for piece in slices]
    columns = ("", "document", "program", *heads, "verdict", "operations", "predicted", "measured",
               "price")  # fmt: skip
    yield f"| {' | '.join(columns)} |"
    yield "|---|" + "--:|" * (2 + len(slices)) + "---|" + "--:|" * 4
    for row in experiment["rows"]:
        yield f"| {' | '.join(_cells(row, slices))} |"
    for line in _details(experiment, slices):
        yield ""
        yield line


def _cells(row: Mapping[str, Any], slices: list[str]) -> list[str]:
    published = row["published"] or {}
    on = row["values"]
    cost = next((on[piece]["cost"] for piece in reversed(slices) if piece in on), None)
    return [
        row["key"].replace("|w|", "\\|w\\|").replace("|r|", "\\|r\\|"),
        _number(published.get("value"), row["measure"]),
        _number(published.get("program_rerun"), row["measure"]),
        *(_both(on.get(piece), row["measure"]) for piece in slices),
        _verdict(published),
        *_costs(cost),
    ]


def _both(value: Mapping[str, Any] | None, measure: str) -> str:
    if value is None:
        return "–"
    if value["test"] is None:
        return _number(value["train"], measure)
    return f"{_number(value['train'], measure)} / {_number(value['test'], measure)}"


def _number(value: float | None, measure: str) -> str:
    if value is None:
        return "–"
    return (
        f"{value:.0f}" if measure == "codes" else f"{value:.3f}" if value < 10 else f"{value:.1f}"
    )


def _verdict(published: Mapping[str, Any]) -> str:
    return published.get("verdict") or ""


def _costs(cost: Mapping[str, Any] | None) -> Iterator[str]:
    if cost is None or not cost["seconds"]:
        yield from ("–",) * 4
        return
    operations = cost["flops"] + cost["int_ops"]
    predicted = cost["predicted_seconds"]
    yield format_si(operations) if operations else "–"
    yield "–" if not predicted else format_seconds(predicted)
    yield format_seconds(cost["seconds"])
    yield "–" if cost["dollars"] is None else format_dollars(cost["dollars"])


def _details(experiment: Mapping[str, Any], slices: list[str]) -> Iterator[str]:
    """What a table has no room for, of the longest slice."""
    if experiment["name"] == "weights":
        yield _r_squared(experiment, slices)
    for row in experiment["rows"]:
        piece = next((each for each in reversed(slices) if each in row["values"]), None)
        if piece is None:
            continue
        detail = row["values"][piece]["detail"]
        where = f"{row['key']}, {int(piece):,} bytes"
        if "top" in detail:
            best = ", ".join(f"h{each['neuron']} {each['r']:.2f}" for each in detail["top"])
            yield f"Best neurons ({where}): {best}."
        if "seeds" in detail:
            spread = detail["test"]
            yield (
                f"{where}: held out {spread['mean']:.3f} ± {spread['sd']:.3f} (standard deviation "
                f"of {detail['seeds']} seeds, {spread['low']:.3f} to {spread['high']:.3f}); "
                f"{detail['distinct']['low']:.0f} to {detail['distinct']['high']:.0f} distinct "
                f"codes, r with bits {_signed(detail['r_distinct_test'])}."
            )
        for key in ("test_by_depth", "by_depth"):
            if key in detail:
                yield f"By depth ({where}): {' '.join(f'{each:.2f}' for each in detail[key])}."
                break


def _r_squared(experiment: Mapping[str, Any], slices: list[str]) -> str:
    said = []
    for row in experiment["rows"]:
        found = [
            row["values"].get(piece, {}).get("detail", {}).get("r_squared") for piece in slices
        ]
        if any(value is not None for value in found):
            numbers = ", ".join("–" if value is None else f"{value:.2f}" for value in found)
            said.append(f"{row['key']} {numbers}")
    return f"R² by slice: {'; '.join(said)}."


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"
