"""What the page rests on: conventions, assumptions, files that were read, and what is missing."""

from collections.abc import Collection

from microdollar.report.blocks import Block, Bullets, Fold, Section, Table, row
from microdollar.report.sections.frontier import about
from microdollar.report.sources import COMMANDS, Content

CONVENTIONS = (
    "Bits per byte: mean of −log₂ P(byte | bytes before it). 8 is what a byte costs without "
    "any model.",
    "Frozen: the model stays as it was when learning ended. Adaptive: each byte is learnt after "
    "it was scored, as compressors do. The two are never compared with each other.",
    "Held out: the bytes that are scored were never seen by the fit, and nothing was tuned on "
    "them.",
    "A multiply-accumulate counts as 2 floating-point operations; an addition, multiplication, "
    "division or transcendental function as 1. Integer operations are counted apart and never "
    "added to them.",
    "Time is wall time without compilation and without reading the corpus. Memory is the peak of "
    "what the computation allocates; process memory is the peak of the whole process.",
    "Money is the price of the machine over that time; energy is that of the machine over that "
    "time.",
    "Intervals are 80 % intervals where no other part is named. A number that could not be had is "
    "a dash with its reason; missing is never zero.",
    "k, M, G, T are powers of 1,000. 1 µ$ is a millionth of a dollar.",
)
_MOST_PASSED = 60
"""Files that are named; the others are counted."""
_PARTS = {
    "comparisons": "Quality against dollars, every learner",
    "predictions": "Predicted against measured",
    "plans": "Cost of a plan, memory of each optimizer",
    "optimizers": "Loss and state of optimizers, as measured",
    "rooflines": "Roofline",
    "laws": "Scaling",
    "crossovers": "Crossover",
    "tokens": "Keeping a part of the tokens",
    "concepts": "The next sentence as a vector",
    "claims": "Claims",
}
"""Parts of the page by the source that they need, in the order of ``COMMANDS``."""


def basis_section(content: Content, drawn: Collection[str]) -> Section:
    """The last section.

    Args:
        content: what was read.
        drawn: keys of ``COMMANDS`` whose parts are on the page.
    """
    blocks: list[Block] = [Bullets(head="Conventions", lines=_lines(CONVENTIONS))]
    for one in content.comparisons:
        results = one.results
        inner: list[Block] = []
        if results.assumptions:
            inner.append(
                Table(
                    name=f"Assumptions, {about(results)}",
                    heads=("What", "Value", "Source"),
                    rows=tuple(
                        row(a.key, f"{a.value} {a.unit}".rstrip(), a.source or "–")
                        for a in results.assumptions
                    ),
                    words=True,
                )
            )
        if results.notes:
            inner.append(Bullets(head="Notes", lines=_lines(results.notes)))
        if inner and len(content.comparisons) == 1:
            blocks += inner
        elif inner:
            summary = f"Assumptions and notes: {about(results)}"
            blocks.append(Fold(summary=summary, about=one.name, blocks=tuple(inner)))
    if content.read:
        blocks.append(
            Bullets(head="Made from", lines=tuple((name, what, "") for name, what in content.read))
        )
    if content.refused:
        lines = tuple((name, why, "") for name, why in content.refused)
        blocks.append(Bullets(head="Could not be read", lines=lines, aside=True))
    absent = tuple(
        (_PARTS[key], f"type {command}", "")
        for key, command in COMMANDS.items()
        if key not in drawn
    )
    if absent:
        blocks.append(Bullets(head="Not on this page", lines=absent, aside=True))
    says = ["Every number is from the files that are named here; nothing was typed in."]
    if content.passed:
        alone = len(content.passed) == 1
        says.append(
            f"{len(content.passed):,} other {'file' if alone else 'files'} of the folder "
            f"{'holds' if alone else 'hold'} nothing that this page draws."
        )
        names = [("", name, "") for name in content.passed[:_MOST_PASSED]]
        left = len(content.passed) - len(names)
        names += [("", f"and {left:,} more", "")] if left else []
        listed = Bullets(head="", lines=tuple(names))
        blocks.append(Fold(summary="Files that were passed over", blocks=(listed,)))
    return Section(
        key="assumptions", title="What this rests on", says=tuple(says), blocks=tuple(blocks)
    )


def _lines(lines: Collection[str]) -> tuple[tuple[str, str, str], ...]:
    return tuple(("", line, "") for line in lines)
