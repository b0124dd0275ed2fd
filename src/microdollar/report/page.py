"""One HTML page that opens without a network: figures, tables, assumptions, and the data."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from microdollar.errors import MissingExtraError
from microdollar.files import whole_file
from microdollar.report.blocks import Section
from microdollar.report.facts import best_adaptive, best_frozen, headline
from microdollar.report.nodes import ResultsError
from microdollar.report.pairs import Pair
from microdollar.report.sections.basis import basis_section
from microdollar.report.sections.claims import claims_section
from microdollar.report.sections.frontier import frontier_section, grouped
from microdollar.report.sections.learners import learners_section
from microdollar.report.sections.machines import (
    crossover_section,
    roofline_section,
    scaling_section,
)
from microdollar.report.sections.optimizers import optimizers_section
from microdollar.report.sections.plans import memory_section, waterfall_section
from microdollar.report.sections.predictions import (
    all_pairs,
    inside_text,
    predictions_section,
)
from microdollar.report.sections.scores import concepts_section, tokens_section
from microdollar.report.sources import Content
from microdollar.report.svg import compact
from microdollar.report.theme import COLOURS

Progress = Callable[[float, float, str], None]
_MOST_EMBEDDED = 8
"""Comparisons whose data the page carries; beyond, the page would grow without bound."""


def write_report(content: Content, path: Path, *, progress: Progress | None = None) -> None:
    """Write the page; the file is whole or what was there before.

    Args:
        content: what was read; see ``microdollar.report.sources``.
        path: the HTML file.
        progress: told how many parts of how many are drawn.

    Raises:
        ResultsError: if the file can't be written.
        MissingExtraError: if jinja2 or matplotlib is not installed.
    """
    text = render_report(content, progress=progress)
    try:
        with whole_file(path) as out:
            out.write(text)
    except OSError as error:
        raise ResultsError(
            f"can't write {path}: {error.strerror or error}. Name another file with -o."
        ) from error


def render_report(content: Content, *, progress: Progress | None = None) -> str:
    """The page as text; the same content gives the same bytes.

    Raises:
        MissingExtraError: if jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise MissingExtraError("jinja2", "report", "the report") from error

    pairs = all_pairs(content)
    sections = _sections(content, pairs, progress or (lambda *_: None))
    environment = Environment(
        loader=PackageLoader("microdollar.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = lambda text: Markup(compact(text))
    script = (files("microdollar.report") / "templates" / "report.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    groups = grouped(content.comparisons)
    title = headline(groups[0]) if groups else "What learning costs, and how well that was told"
    held = [one for one in content.comparisons if one.data is not None][:_MOST_EMBEDDED]
    notes = dict.fromkeys(one.results.note for one in content.comparisons if one.results.note)
    return environment.get_template("report.html.j2").render(
        sections=sections,
        colours=COLOURS,
        script=script,
        script_hash=f"sha256-{digest}",
        title=f"{_subject(content)}: what learning costs",
        kicker=f"microdollar · {_subject(content)}{_when(content)}",
        headline=title,
        note=" ".join(notes),
        lede=_lede(content, pairs, sections),
        facts=_facts(content, pairs),
        data=[one.data for one in held],
    )


def _sections(content: Content, pairs: Sequence[Pair], progress: Progress) -> list[Section]:
    makers: list[tuple[str, Callable[[], Section | None]]] = [
        ("comparisons", lambda: frontier_section(content.comparisons)),
        ("predictions", lambda: predictions_section(content, pairs)),
        ("plans", lambda: waterfall_section(content.plans)),
        ("plans", lambda: memory_section(content.plans)),
        ("optimizers", lambda: optimizers_section(content.tasks, content.step_times)),
        ("rooflines", lambda: roofline_section(content.rooflines)),
        ("laws", lambda: scaling_section(content.curves)),
        ("crossovers", lambda: crossover_section(content.crossovers)),
        ("tokens", lambda: tokens_section(content.tokens)),
        ("concepts", lambda: concepts_section(content.concepts)),
        ("claims", lambda: claims_section(content.claims)),
        ("comparisons", lambda: learners_section(content.comparisons)),
    ]
    found, drawn = [], []
    for number, (key, make) in enumerate(makers):
        progress(number, len(makers), "drawing the report")
        section = make()
        if section is not None:
            found.append(section)
            drawn.append(key)
    progress(len(makers), len(makers), "drawing the report")
    return [*found, basis_section(content, drawn)]


def _subject(content: Content) -> str:
    names = dict.fromkeys(one.results.corpus.name for one in content.comparisons)
    if len(names) == 1:
        return next(iter(names))
    return f"{len(names)} texts" if names else "report"


def _when(content: Content) -> str:
    days = [one.results.created_at[:10] for one in content.comparisons if one.results.created_at]
    return f" · {max(days)}" if days else ""


def _lede(content: Content, pairs: Sequence[Pair], sections: Sequence[Section]) -> str:
    parts = [
        "What it costs to learn, told before and measured after: operations, memory, time, "
        "energy and money, and the quality that they bought on bytes held out."
    ]
    if inside := inside_text(pairs):
        parts.append(f"Of the measurements here, {inside} fell inside their predicted interval.")
    # The first sentence of a section says what it found.
    told = {"crossover", "claims"} if len(content.plans) > 1 else {"plan", "crossover", "claims"}
    parts += [section.says[0] for section in sections if section.key in told and section.says]
    return " ".join(parts)


def _facts(content: Content, pairs: Sequence[Pair]) -> list[tuple[str, str, str]]:
    """Value, what it is, and whose it is: a few numbers to begin with."""
    facts = []
    groups = grouped(content.comparisons)
    if groups and (frozen := best_frozen(groups[0])):
        bits = f"{frozen.test_bits_per_byte:.2f}"
        facts.append((bits, "best held-out bits a byte, frozen", frozen.label))
    if groups and (adaptive := best_adaptive(groups[0])):
        bits = f"{adaptive.test_bits_per_byte_adaptive:.2f}"
        facts.append((bits, "best held-out bits a byte, adaptive", adaptive.label))
    judged = [pair for pair in pairs if pair.verdict != "at least"]
    if judged:
        inside = sum(pair.verdict == "inside" for pair in judged)
        facts.append(
            (
                f"{100 * inside / len(judged):.0f} %",
                "of measurements inside the predicted interval",
                f"of {len(judged):,}; 80 % are promised",
            )
        )
    if content.claims:
        holds = sum(claim.verdict in ("holds", "made true") for claim in content.claims)
        facts.append(
            (
                f"{holds} of {len(content.claims)}",
                "published numbers that hold, or were made true",
                f"in {len({claim.document for claim in content.claims})} documents",
            )
        )
    return facts
