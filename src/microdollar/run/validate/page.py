"""``docs/accuracy.md`` from the results of the held-out tests."""

from collections.abc import Iterator
from typing import Any

_UNITS = {
    "iteration_time": "seconds of a step",
    "throughput": "tokens per second",
    "peak_memory": "peak memory",
    "peak_memory_nvidia_smi": "peak memory",
    "oom": "fits or not",
    "gpu_hours": "GPU-hours",
    "gpu_hours_pretrain": "GPU-hours",
    "gpu_hours_total": "GPU-hours",
    "chip_hours": "chip-hours",
    "energy": "energy",
    "system_power_per_device": "watts",
    "system_power_per_chip": "watts",
}
_SECTIONS = (
    ("Step time", ("single-", "multi-", "mosaic-", "bloom-shape", "torchtitan-")),
    ("Memory", ("bloom-memory", "bloom-oom", "bloom-fits")),
    ("Whole runs", ("hours-",)),
    ("Energy", ("energy",)),
)
_CURVE = "-only-"
_NO_DEVICE = "the catalog has no device"
_INTRODUCTION = """\
# Accuracy

How far off are the predictions? Against published measurements, on rows that the fit has not seen,
and beside the field's usual rules on the same rows:
"""
_ORIGIN = """\
All tests follow, and [what their numbers do not say](#what-these-numbers-do-not-say). This page is
written by

    python benchmarks/validation/run.py DATA_FOLDER

from the files `published_runs.csv`, `vtrain_single.csv` and `vtrain_multi.csv`; a fold of every
test is what `microdollar validate TEST.csv --fit TRAIN.csv --peers` does. The numbers are kept in
`benchmarks/validation/results.json`.
"""
_READING = """\
**Errors.** The error of a row is `predicted / measured - 1`. *Median* and *mean* are of its
absolute value, *worst* is the largest, *bias* is the mean with its sign (above zero: too much is
predicted). *In 80 %* is the share of measured values within the predicted 80 % interval; it
should be near 80 %. In `--json` all of them are ratios: 0.08 is 8 %.

**Held out.** Rows are predicted with coefficients that were fitted on other rows only. What the
fit starts from (data-sheet rates, counted operations and bytes, priors on every coefficient) is
in the package; where a prior was chosen by looking at rows, its docstring says at which.
Random rows are drawn {draws} times with seed {seed}, and every draw counts.

**The usual rules.** Time: 6 N D operations at 40 % of the dense peak, no pipeline bubble.
Memory: 2 + 2 + 12 bytes a parameter over tensor and pipeline parallelism, sharded as ZeRO says,
with textbook activations (arXiv:2205.05198), logits and 1.5 GiB for CUDA and NCCL. Energy and
power: the same hours at the power that the data sheet lists. They fit nothing, so nothing is held
out from them. The last column of a table has their median and mean error on the same rows.
"""
_CAVEATS = """\
## What these numbers do not say

- Rows of one source share a cluster and a stack. A new cluster is better described by its own
  rows (the table of few rows above) than by any of these.
- The four shapes of `vtrain_single.csv` are two widths by two depths. Leaving out one shape leaves
  its width and its depth among the rest; leaving out a width does not.
- The form of the time model was not fixed before `vtrain_multi.csv` was seen: its first version
  had a mean error of 15.9 % with shapes left out, and three terms were corrected after a look at
  its rows. The rates that it assumes for a network between nodes (12.5 GB/s a device) were read off
  that file too; with half or twice that, the error is 9.8 or 14.0 %. Coefficients are always fitted
  without the rows that are left out.
- The priors of the memory model that its code calls assumed were chosen with BLOOM's rows in view.
- `hardware_tflops`, `model_tflops`, MFU and HFU rows are computed by their authors from a step
  time of the same table, so no test here counts them.
- One of BLOOM's four runs that ran out of memory (206B, TP4 PP12 DP8) is predicted to fit. A
  203B run of the same layout measured 67 GB, and nothing in the table says why the other failed.
- torchtitan's rows differ in what no plan says (asynchronous tensor parallelism, row-wise or
  tensor-wise fp8), by up to 1.5 times.
- Energies that were derived from a listed power say nothing about power; none is counted. Of the
  measured ones there are very few.
- With the coefficients that ship (`validate` without `--fit`) errors on these public rows are
  smaller, for they were fitted on them.
"""


_SUMMARY = (
    ("seconds of a step, 1 node of A100: another model shape", "single-shape", "iteration_time"),
    ("seconds of a step, 8 and 64 nodes: another model shape", "multi-shape", "iteration_time"),
    ("the same, with 20 measured steps of that shape", "multi-shape-20", "iteration_time"),
    ("tokens per second, A100 and H100: another model", "mosaic-model", "throughput"),
    ("memory of a device, 176B class: another model shape", "bloom-memory", None),
    ("GPU-hours of a whole run: another run", "hours-run", "gpu_hours"),
)


def accuracy_lines(results: dict[str, Any]) -> Iterator[str]:
    """A short table of the held-out errors, as Markdown.

    Args:
        results: what ``benchmarks/validation/run.py`` kept.
    """
    splits = {split["name"]: split for split in results["splits"]}
    yield "| predicted; held out | rows | median error | mean | in 80 % | usual rule, mean |"
    yield "|---|--:|--:|--:|--:|--:|"
    for words, name, metric in _SUMMARY:
        for entry in splits[name]["metrics"]:
            if metric in (None, entry["metric"]):
                ours, rule = entry["ours"], entry["usual_rule"]
                yield (
                    f"| {words} | {ours['n']:,} | {ours['median_ape']:.1%} | "
                    f"{ours['mean_ape']:.1%} | {ours['coverage80']:.0%} | {rule['mean_ape']:.0%} |"
                ).replace("%", " %")


def accuracy_page(results: dict[str, Any]) -> str:
    """The page, as Markdown.

    Args:
        results: what ``benchmarks/validation/run.py`` wrote.
    """
    lines = [_INTRODUCTION, *accuracy_lines(results), "", _ORIGIN, "## How they were tested\n"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines.append(f"Written {results['date']} at commit `{results['commit']}` with {versions}.\n")
    lines.append(_READING.format(draws=results["draws"], seed=results["seed"]))
    for title, prefixes in _SECTIONS:
        splits = [
            split
            for split in results["splits"]
            if split["name"].startswith(prefixes) and _CURVE not in split["name"]
        ]
        lines.append(f"## {title}\n")
        lines += _table(splits)
        lines.append("")
    curves = [split for split in results["splits"] if _CURVE in split["name"]]
    if curves:
        lines.append("## A few rows of a new cluster\n")
        lines.append(
            "Only so many random rows are known, and all others of the file are predicted; mean "
            "error (and share within the 80 % interval).\n"
        )
        lines += _curve(curves)
        lines.append("")
    lines.append("## What is not predicted\n")
    lines.append(
        f"Of the {results['rows']} rows of `published_runs.csv`, "
        f"{results['rows'] - results['predicted']} have no prediction:\n"
    )
    lines += _missing(results["not_predicted"])
    lines += ["", _CAVEATS]
    return "\n".join(lines)


def _table(splits: list[dict[str, Any]]) -> Iterator[str]:
    yield "| left out | what | rows | median | mean | worst | bias | in 80 % | usual rule |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    for split in splits:
        for metric in split["metrics"]:
            ours, rule = metric["ours"], metric["usual_rule"]
            start = f"| {split['title']} | {_UNITS.get(metric['metric'], metric['metric'])} "
            if ours["right"] is not None:
                right = round(ours["right"] * ours["n"])
                usual = "-" if rule is None else f"{round(rule['right'] * rule['n'])} right"
                yield f"{start}| {ours['n']} | {right} right | | | | | {usual} |"
                continue
            numbers = (ours[key] for key in ("median_ape", "mean_ape", "worst_ape"))
            words = " | ".join(_percent(number) for number in numbers)
            usual = "-" if rule is None else _both(rule)
            yield (
                f"{start}| {ours['n']} | {words} | {_percent(ours['bias'], sign=True)} "
                f"| {_percent(ours['coverage80'], digits=0)} | {usual} |"
            )


def _curve(splits: list[dict[str, Any]]) -> Iterator[str]:
    counts = list(dict.fromkeys(int(split["name"].rsplit("-", 1)[1]) for split in splits))
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for split in splits:
        file, _, rows = split["name"].partition(_CURVE)
        found.setdefault(file, {})[int(rows)] = split["metrics"][0]
    yield f"| file | {' | '.join(f'{count} rows' for count in counts)} | usual rule |"
    yield f"|---|{'--:|' * (len(counts) + 1)}"
    for file, by_rows in found.items():
        cells = [
            f"{_percent(by_rows[count]['ours']['mean_ape'])} "
            f"({_percent(by_rows[count]['ours']['coverage80'], digits=0)})"
            for count in counts
        ]
        usual = by_rows[counts[-1]]["usual_rule"]
        yield f"| `vtrain_{file}.csv` | {' | '.join(cells)} | {_percent(usual['mean_ape'])} |"


def _missing(reasons: list[dict[str, Any]]) -> Iterator[str]:
    """Reasons by how many rows they have; machines that the catalog lacks are one reason."""
    rows: dict[str, int] = {}
    metrics: dict[str, list[str]] = {}
    for each in reasons:
        why = each["reason"]
        if why.startswith(_NO_DEVICE):
            why = "a device that the catalog does not have"
        rows[why] = rows.get(why, 0) + each["n"]
        metrics.setdefault(why, []).append(each["metric"])
    yield "| rows | why | metrics |"
    yield "|--:|---|---|"
    for why in sorted(rows, key=lambda why: -rows[why]):
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(metrics[why]))
        yield f"| {rows[why]} | {why.replace('|', '/')} | {names} |"


def _both(group: dict[str, Any]) -> str:
    return f"{_percent(group['median_ape'])}, {_percent(group['mean_ape'])}"


def _percent(ratio: float | None, *, digits: int = 1, sign: bool = False) -> str:
    if ratio is None:
        return "-"
    form = f"{{:{'+' if sign else ''}.{digits}f}} %"
    return form.format(100 * ratio)
