"""Write docs/documents.md: what the documents claim, beside what we get, from the shipped plans.

    python docs/documents.py

Every number of the page is computed: claims and notes are in the plan files, ours are estimates
for devices of the catalog, verdicts follow from ``microdollar.run.plan_claims``.
``tests/examples/test_plans.py`` fails while the page is out of date.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from microdollar.run.plan_claims import Checked, check_claims, in_unit, verdict_text
from microdollar.spec.device_catalog import load_device
from microdollar.spec.load import PlanFile, load_plan

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "documents.md"
PLANS = (
    "rl-token-compression",
    "gpt-6b",
    "lnsp-small",
    "ln-encoder",
    "gpt3-training",
    "gpt3-attention",
    "sgd-training",
    "analytic-construction",
)
"""Shipped plans, by document."""
VERDICTS = ("holds", "within the interval", "does not hold", "unknown")

_INTRODUCTION = """# The documents' own cases

Five documents started this project, and four of them say what learning or answering costs. Each of
their cases is a plan that ships with the package, with every claim beside it. This page is what
`microdollar estimate PLAN --claims` says of them; `python docs/documents.py` writes it.

A claim *holds* if our number is within 5 % of it, and is *within the interval* if our
80 % interval contains it. Where the document shows its sum, the sum is worked out again with the
document's own numbers: it *adds up*, or the page says what it gives. Numbers that no document
states, but that follow from what it states, are marked so. Operations count a multiply-accumulate
as two. [Every claim](claims.md) of the five documents has a finer verdict on its own page: a
condition under which it holds, a slip, or what keeps its promise."""


def page() -> str:
    """The whole page."""
    files = [load_plan(name) for name in PLANS]
    checked = [check_claims(file, load_device) for file in files]
    lines = [_INTRODUCTION, "", *_summary(files, checked)]
    for name, file, claims in zip(PLANS, files, checked, strict=True):
        lines += ["", *_section(name, file, claims)]
    return "\n".join(lines) + "\n"


def _summary(files: list[PlanFile], checked: list[tuple[Checked, ...]]) -> Iterator[str]:
    yield f"| plan | {' | '.join(VERDICTS)} | its sums add up | do not |"
    yield "|---" + "|--:" * (len(VERDICTS) + 2) + "|"
    for file, claims in zip(files, checked, strict=True):
        by_verdict = Counter(claim.verdict for claim in claims)
        sums = Counter(claim.adds_up for claim in claims)
        counts = [*(by_verdict[verdict] for verdict in VERDICTS), sums[True], sums[False]]
        cells = " | ".join(str(count or "") for count in counts)
        yield f"| [{file.name}](#{file.name}) | {cells} |"


def _section(name: str, file: PlanFile, claims: tuple[Checked, ...]) -> Iterator[str]:
    yield f"## {file.name}"
    yield ""
    device = load_device(file.plan.device).name
    yield (f"*{file.title}* ({file.source}). Plan: `{name}`, on {device}.")
    yield ""
    yield file.conclusion.strip()
    yield ""
    yield f"Assumed: {_one_line(file.notes)}"
    yield ""
    yield "| where | quantity | claimed | ours | ours / claim | verdict | why |"
    yield "|---|---|--:|--:|--:|---|---|"
    for one in claims:
        yield _row(one)


def _row(one: Checked) -> str:
    claim = one.claim
    ours = ""
    if one.ours is not None:
        ours = in_unit(one.ours.value, claim)
        if one.ours.low < one.ours.high:
            low, high = in_unit(one.ours.low, claim), in_unit(one.ours.high, claim)
            ours += f" ({low} to {high})"
    cells = (
        claim.where,
        claim.quantity.replace("_", " "),
        in_unit(one.claimed, claim),
        ours,
        "" if one.ratio is None else f"{one.ratio:.3g}",
        verdict_text(one),
        "; ".join(filter(None, (_one_line(one.reason), claim.note))),
    )
    return f"| {' | '.join(cell.replace('|', ' ') for cell in cells)} |"


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
