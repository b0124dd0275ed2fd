"""Predicted against measured: how often a measurement fell into its interval, and by how much."""

import math
from collections.abc import Sequence
from statistics import median

from microdollar.report.blocks import (
    Block,
    Cell,
    Drawing,
    Fold,
    Picture,
    Section,
    Table,
    row,
    share_text,
)
from microdollar.report.facts import MEASURES, Measure, interval_text, value_text
from microdollar.report.legend import svg_mark
from microdollar.report.pairs import Pair, distinct, of_crossover, of_history, of_results
from microdollar.report.scatter import MARKS, MOST_TIPS, scatter
from microdollar.report.sections.frontier import about, gap_block
from microdollar.report.sources import Content
from microdollar.report.svg import inline_svg

PROMISED = 0.8
"""Share of measurements that an 80 % interval is to hold."""
_PROMISED = "80 %"
MOST_ROWS = 300
"""Rows of the table behind the figure; those that are farthest off, if there are more."""
_VERDICTS = {"inside": "inside", "outside": "outside", "at least": "a lower bound"}
_LEGEND = {
    "inside": "inside its 80 % interval",
    "outside": "outside",
    "at least": "counter saw only a part",
}


def all_pairs(content: Content) -> list[Pair]:
    """Every prediction that has a measurement, each once."""
    found = [
        pair
        for one in content.comparisons
        for pair in of_results(one.results, about(one.results))[0]
    ]
    found += of_history(content.history)[0]
    for study in content.crossovers:
        found += of_crossover(study)
    return distinct(found)


def inside_text(pairs: Sequence[Pair]) -> str:
    """How many fell inside, as words; empty if none can be judged."""
    judged = [pair for pair in pairs if pair.verdict != "at least"]
    inside = sum(pair.verdict == "inside" for pair in judged)
    return share_text(inside, len(judged)) if judged else ""


def predictions_section(content: Content, pairs: Sequence[Pair]) -> Section | None:
    """A drawing for each quantity, coverage beside what was promised; None if there is nothing."""
    if not pairs and not content.accuracy:
        return None
    says = []
    blocks: list[Block] = []
    if pairs:
        says = [
            f"{inside_text(pairs)} measurements fell inside the predicted 80 % interval; "
            f"{_PROMISED} were promised.",
            "A mark on the line is a perfect prediction; above it, reality was dearer. The bar "
            "through a mark is the predicted interval: it reaches the line where the measurement "
            "is inside.",
        ]
        blocks = [_summary(pairs), _picture(pairs)]
    for one in content.comparisons:
        gaps = of_results(one.results, "")[1]
        if any(each.predicted is not None for each in one.results.rows):
            blocks += gap_block(gaps, [each.label for each in one.results.rows])
    gaps = of_history(content.history)[1]
    names = [f"ledger: {record.learner}" for record in content.history]
    if gaps:
        told = "What rows of the ledger lack"
        blocks.append(Fold(summary=told, blocks=tuple(gap_block(gaps, names))))
    if content.accuracy:
        blocks.append(_accuracy(content))
        if not says:
            says = ["How wrong predictions of published runs were, on runs that were held out."]
    return Section(
        key="predictions",
        title="Predicted against measured",
        says=tuple(says),
        blocks=tuple(blocks),
    )


def _summary(pairs: Sequence[Pair]) -> Table:
    lines = []
    for measure in MEASURES:
        mine = [pair for pair in pairs if pair.measure is measure]
        if not mine:
            continue
        ratios = [pair.ratio for pair in mine]
        error = median(abs(1 / ratio - 1) for ratio in ratios)
        judged = [pair for pair in mine if pair.verdict != "at least"]
        inside = sum(pair.verdict == "inside" for pair in judged)
        low = bool(judged) and inside / len(judged) < PROMISED - _slack(len(judged))
        lines.append(
            row(
                measure.title,
                f"{len(mine):,}",
                f"{median(ratios):.3g}×",
                "< 0.1 %" if error < 1e-3 else f"{100 * error:.3g} %",
                Cell(text=inside_text(mine) or "–", bad=low),
                _PROMISED,
            )
        )
    return Table(
        name="Predictions so far, by quantity",
        heads=(
            "Quantity",
            "Pairs",
            "Measured over predicted, median",
            "Error, median",
            "Inside the interval",
            "Promised",
        ),
        rows=tuple(lines),
    )


def _slack(count: int) -> float:
    """Two standard deviations of a share of so many: less is not chance."""
    return 2 * math.sqrt(PROMISED * (1 - PROMISED) / count)


def _picture(pairs: Sequence[Pair]) -> Picture:
    drawings = []
    for measure in MEASURES:
        mine = [pair for pair in pairs if pair.measure is measure]
        if mine:
            drawings.append(Drawing(wide=_svg(measure, mine)))
    verdicts = [verdict for verdict in MARKS if any(pair.verdict == verdict for pair in pairs)]
    legend = [(svg_mark(*MARKS[verdict]), _LEGEND[verdict]) for verdict in verdicts]
    shown = sorted(pairs, key=lambda pair: -abs(math.log(pair.ratio)))[:MOST_ROWS]
    rest = (
        f" The table has the {len(shown)} that are farthest off." if len(shown) < len(pairs) else ""
    )
    return Picture(
        drawings=tuple(drawings),
        columns=3,
        legend=tuple(legend),
        caption="Both axes are logarithmic and equal. Within 0.1 % of the interval counts as "
        f"inside, for a formula may leave out a few operations in a million.{rest}",
        table=_table(shown),
    )


def _svg(measure: Measure, pairs: Sequence[Pair]) -> str:
    tips = {f"pair-{i}": pair_text(pair) for i, pair in enumerate(pairs[: MOST_TIPS + 1])}
    return inline_svg(
        scatter(pairs),
        name=f"predicted-{measure.name.replace('_', '-')}",
        title=f"{measure.title}: measured against predicted",
        description=f"{inside_text(pairs) or 'None that can be judged'} inside the predicted "
        f"interval; the median ratio is {median(pair.ratio for pair in pairs):.3g}.",
        tooltips=tips if len(pairs) <= MOST_TIPS else None,
    )


def pair_text(pair: Pair) -> str:
    """One mark in a sentence."""
    write = pair.measure.format
    interval = interval_text(pair.predicted, write) or "exactly"
    return (
        f"{pair.of}, {pair.measure.title.lower()}: measured {value_text(pair.measured, write)}, "
        f"predicted {value_text(pair.predicted, write)} ({interval}): {pair.ratio:.3g} times, "
        f"{_VERDICTS[pair.verdict]}."
    )


def _table(pairs: Sequence[Pair]) -> Table:
    lines = []
    for measure in MEASURES:
        write = measure.format
        for pair in (pair for pair in pairs if pair.measure is measure):
            predicted, measured = (
                Cell(text=value_text(quantity, write), interval=interval_text(quantity, write))
                for quantity in (pair.predicted, pair.measured)
            )
            lines.append(
                row(
                    Cell(text=pair.of, interval=pair.where),
                    measure.title,
                    predicted,
                    measured,
                    f"{pair.ratio:.4g}×",
                    Cell(text=_VERDICTS[pair.verdict], bad=pair.verdict == "outside"),
                )
            )
    return Table(
        name="Predicted and measured",
        heads=("Of", "Quantity", "Predicted", "Measured", "Ratio", "80 % interval"),
        rows=tuple(lines),
    )


def _accuracy(content: Content) -> Block:
    lines = []
    for one in content.accuracy:
        coverage = one.coverage
        low = coverage is not None and one.count and coverage < PROMISED - _slack(one.count)
        error = "–" if one.median_error is None else f"{100 * one.median_error:.3g} %"
        share = "–" if coverage is None else f"{100 * coverage:.0f} %"
        lines.append(
            row(
                one.about,
                one.metric.replace("_", " "),
                f"{one.count:,}",
                error,
                Cell(text=share, bad=bool(low)),
            )
        )
    return Table(
        name="Errors on published runs",
        heads=("Published runs", "Quantity", "Runs", "Error, median", "Inside 80 % interval"),
        rows=tuple(lines),
    )
