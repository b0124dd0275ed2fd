"""One HTML page that opens without a network: figures, tables, assumptions, and the data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from microdollar.errors import MissingExtraError
from microdollar.files import whole_file
from microdollar.ledger import Record
from microdollar.report import content, figures
from microdollar.report.facts import headline, points, ratios
from microdollar.report.schema import Results, ResultsError, parse_results
from microdollar.report.svg import inline_svg
from microdollar.report.theme import COLOURS, KIND_TEXT


def write_report(results: Mapping[str, Any], path: Path, *, history: Sequence[Record] = ()) -> None:
    """Write the page; the file is whole or what was there before.

    Args:
        results: the dictionary of ``results.json``.
        path: the HTML file.
        history: rows of a ledger; the page then says how good predictions were so far.

    Raises:
        ResultsError: if ``results`` is not such a dictionary, or the file can't be written.
        MissingExtraError: if jinja2 or matplotlib is not installed.
    """
    text = render_report(results, history=history)
    try:
        with whole_file(path) as out:
            out.write(text)
    except OSError as error:
        raise ResultsError(
            f"can't write {path}: {error.strerror or error}. Name another file with -o."
        ) from error


def render_report(results: Mapping[str, Any], *, history: Sequence[Record] = ()) -> str:
    """The page as text; the same results give the same bytes.

    Raises:
        ResultsError: if ``results`` is not such a dictionary.
        MissingExtraError: if jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("jinja2", "report", "the report") from error

    parsed = parse_results(results)
    environment = Environment(
        loader=PackageLoader("microdollar.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        results=parsed,
        data=results,
        colours=COLOURS,
        kinds=KIND_TEXT,
        headline=headline(parsed),
        facts=content.key_facts(parsed),
        quality=_quality(parsed),
        predictions=_predictions(parsed),
        table=content.cost_table(parsed),
        learners=content.learners(parsed),
        device=content.device_lines(parsed),
        corpus=content.corpus_lines(parsed),
        history=content.history_lines(history),
        conventions=content.CONVENTIONS,
    )


def _quality(results: Results) -> dict[str, Any]:
    drawn, gaps = points(results)
    tips = {f"mark-{p.row}-{p.evaluation}": content.point_text(results, p) for p in drawn}
    return {
        "lines": content.point_lines(results, drawn),
        "gaps": content.gap_lines(results, gaps),
        "svg": _both_widths(
            results if drawn else None,
            "quality",
            figures.quality_against_cost,
            title="Held-out bits per byte against the cost of learning",
            description=" ".join(tips.values()),
            tooltips=tips,
        ),
    }


def _predictions(results: Results) -> dict[str, Any]:
    found, gaps = ratios(results)
    tips = {f"ratio-{r.row}-{r.measure.name}": content.ratio_text(results, r) for r in found}
    inside = sum(r.verdict == "inside" for r in found)
    judged = sum(r.verdict != "at least" for r in found)
    summary = f"{inside} of {judged} measurements fell inside the predicted 80 % interval."
    return {
        "lines": content.ratio_lines(results, found),
        "gaps": content.gap_lines(results, gaps),
        "summary": summary if judged else "",
        "svg": _both_widths(
            results if found else None,
            "ratios",
            figures.predicted_against_measured,
            title="Measured over predicted, for each quantity and learner",
            description=summary,
            tooltips=tips,
        ),
    }


def _both_widths(
    results: Results | None,
    name: str,
    draw: Any,  # noqa: ANN401
    *,
    title: str,
    description: str,
    tooltips: Mapping[str, str],
) -> dict[str, Any] | None:
    """The wide and the narrow drawing as markup; None if there is nothing to draw."""
    from markupsafe import Markup

    if results is None:
        return None
    return {
        size: Markup(
            inline_svg(
                draw(results, wide=size == "wide"),
                name=f"{name}-{size}",
                title=title,
                description=description,
                tooltips=tooltips,
            )
        )
        for size in ("wide", "narrow")
    }
