"""Tables and the picture of what ``quality.py`` measured: results/table.md and bits.svg."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microdollar.report.tokens import rate_distortion

TITLES = {"wikipedia": "Wikipedia, test pages", "shakespeare": "Shakespeare"}


def write(reports: Mapping[str, dict[str, Any]], folder: Path) -> None:
    """Write both; the first reader's reports are drawn."""
    lines = ["# What scorers lose at equal budgets", ""]
    first = next(iter(reports.values()))
    machine = first["machine"]
    lines += [
        f"`{first['command']}`",
        "",
        f"Commit {first['commit']}; {machine['name']}, {machine['cores']} cores.",
        "",
    ]
    lines += [
        "Low and high bound 95 % of 10,000 draws of whole documents. Right: dropped tokens that "
        "are read back exactly. Numbers, names, content words: the part that is kept or read back. "
        "Cloze: bits of a blank. Tokens a second: scoring and choosing, CPU time. Positions of the "
        "gaps are known to the reader: at a budget of k of n tokens they cost the same, at most "
        "log2 C(n, k) bits, whoever chose. `rare+train` and `entropy+train` count the training "
        "pages again for every document, which their speed includes.",
        "",
    ]
    for report in reports.values():
        lines += of_report(report)
    lines += kept_subset(first)
    text = "\n".join(lines)
    (folder / "table.md").write_text(text)
    print(text)
    reader = first["reconstructor"]["name"]
    panels = {
        f"{TITLES[report['text']]}, {len(report['documents'])} documents": report["rows"]
        for report in reports.values()
        if report["reconstructor"]["name"] == reader
    }
    (folder / "bits.svg").write_text(rate_distortion(panels))


def of_report(report: dict[str, Any]) -> list[str]:
    """Rows by ratio, the best first, and the differences of the chosen scorer."""
    reader = report["reconstructor"]
    lines = [
        f"## {TITLES[report['text']]}, read back by {reader['name']}",
        "",
        f"{len(report['documents'])} documents, {report['tokens']:,} tokens; given: "
        f"{reader['given']}. If all but the blanks is kept, a blank takes "
        f"{number(report['cloze_of_whole']['bits'], 2)} bits.",
        "",
    ]
    gains = {(each["over"], each["ratio"]): each for each in report["differences"]}
    for ratio in sorted({row["ratio"] for row in report["rows"]}):
        rows = [row for row in report["rows"] if row["ratio"] == ratio]
        rows.sort(key=lambda row: row["bits_per_dropped_token"])
        lines += [
            f"Keeping {ratio:g}, {rows[0]['kept']:,} tokens:",
            "",
            f"| scorer | bits a dropped token | low | high | more than {report['chosen']} "
            "| right % | BLEU | chrF | ROUGE-1 | ROUGE-2 | ROUGE-L | numbers % | names % "
            "| negations % | content % | cloze bits | tokens/s |",
            "|---" + "|---:" * 16 + "|",
        ]
        for row in rows:
            gain = gains.get((row["scorer"], ratio))
            more = "" if gain is None else (
                f"{gain['fewer_bits_per_dropped_token']:+.3f} "
                f"({gain['low']:+.3f} to {gain['high']:+.3f})"
            )  # fmt: skip
            parts = [row["accuracy"], *(row[f"recall_{kind}"] for kind in
                     ("numbers", "names", "negations", "content"))]  # fmt: skip
            right, *recall = [number(None if part is None else 100 * part, 1) for part in parts]
            texts = [number(row[name], 1) for name in
                     ("bleu", "chrf", "rouge_1", "rouge_2", "rouge_l")]  # fmt: skip
            speed = row["tokens_per_second"]
            cells = [
                row["scorer"],
                *(number(row[name], 3) for name in ("bits_per_dropped_token", "low", "high")),
                more, right, *texts, *recall, number(row["cloze_bits"], 2),
                "-" if speed is None else f"{speed:,.0f}",
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return lines


def kept_subset(report: dict[str, Any]) -> list[str]:
    """What the kept tokens themselves score, at one ratio."""
    rows = [row for row in report["kept_subset"] if row["rouge_1"] is not None]
    if not rows:
        return []
    ratios = sorted({row["ratio"] for row in rows})
    ratio = ratios[len(ratios) // 2]
    lines = [
        "## Scores of the kept tokens themselves say nothing",
        "",
        f"{TITLES[report['text']]}, keeping {ratio:g}: the kept tokens against the original. ROUGE "
        "is 2r/(1+r) of the part r of ROUGE's words that are kept (all but signs), whichever they "
        "are; BLEU rewards tokens kept in a row.",
        "",
        "| scorer | ROUGE-1 | ROUGE-L | 2r/(1+r) | BLEU | tokens in a row |",
        "|---" + "|---:" * 5 + "|",
    ]
    for row in sorted((row for row in rows if row["ratio"] == ratio), key=lambda r: -r["bleu"]):
        cells = [number(row[name], 2) for name in ("rouge_1", "rouge_l", "rouge_by_size")]
        cells += [number(row["bleu"], 1), number(row["mean_run"], 1)]
        lines.append(f"| {row['scorer']} | {' | '.join(cells)} |")
    return [*lines, ""]


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
