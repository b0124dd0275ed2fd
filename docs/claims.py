"""Write docs/claims.md: every number of the five documents, ours beside it, and the verdict.

    python docs/claims.py

What ``microdollar claims`` says, as a page. ``tests/claims/test_page.py`` fails while the page is
out of date, so a change that turns a verdict shows.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from microdollar.claims import DOCUMENTS, VERDICTS, Checked, check_claims
from microdollar.claims.text import counts, ours_text, published_text, verdict_text
from microdollar.claims.unchecked import left_out
from microdollar.claims.world import World

PAGE = Path(__file__).parent / "claims.md"

_INTRODUCTION = """\
# Claims: every number, checked

Five documents started this project. Each of their numbers is a row below: what it says, ours
beside it, and a verdict that the program derives from the two and a stated tolerance, 5 % where a
row does not say otherwise. `microdollar claims` prints this, `--json` with how each was found, and
`--run all` measures again whatever needs a clock or data. `python docs/claims.py` writes this page.

- **holds**: ours agrees; where it is a sum of the document's own numbers, it adds up.
- **holds if**: it does under the condition that is said.
- **arithmetic slip**: the document's own numbers give something else, which is said.
- **made true**: it does not hold as published; the named part of microdollar keeps the promise.
- **doesn't replicate**: ours differs.
- **can't be checked here**: what it would take is said.
"""


def page() -> str:
    """The whole page."""
    by_document = checked_claims()
    lines = [_INTRODUCTION, *summary(by_document)]
    for name, found in by_document.items():
        lines += ["", *_document(name, found)]
    return "\n".join(lines) + "\n"


def checked_claims() -> dict[str, list[Checked]]:
    """Every claim, by document."""
    checked = check_claims(list(DOCUMENTS), World())
    return {name: [one for one in checked if one.claim.document == name] for name in DOCUMENTS}


def summary(by_document: dict[str, list[Checked]], page: str = "") -> Iterator[str]:
    """How many claims of each document have each verdict, with links into ``page``."""
    yield f"| document | claims | {' | '.join(VERDICTS)} |"
    yield "|---|" + "--:|" * (len(VERDICTS) + 1)
    for name, found in by_document.items():
        numbers = " | ".join(str(n or "") for n in counts(found).values())
        yield f"| [{name}]({page}#{name}) | {len(found)} | {numbers} |"
    every = [one for found in by_document.values() for one in found]
    numbers = " | ".join(str(n) for n in counts(every).values())
    yield f"| **all** | **{len(every)}** | {numbers} |"


def _document(name: str, found: Sequence[Checked]) -> Iterator[str]:
    document = DOCUMENTS[name]
    yield f"## {name}"
    yield ""
    yield f"*{document.title}*: {document.about}."
    yield ""
    yield "| section | claim | says | ours | verdict | why |"
    yield "|---|---|--:|--:|---|---|"
    for one in found:
        cells = (
            one.claim.section,
            one.claim.claim,
            published_text(one.claim),
            ours_text(one),
            verdict_text(one),
            one.claim.note,
        )
        yield f"| {' | '.join(_cell(text) for text in cells)} |"
    left = left_out(name)
    if left:
        yield ""
        about = f"Left out: {len(left)} numbers that state nothing to check"
        yield f'<details markdown="1"><summary>{about}</summary>'
        yield ""
        yield "| text | why |"
        yield "|---|---|"
        for one_left in left:
            yield f"| {_cell(one_left.text)} | {_cell(one_left.why)} |"
        yield ""
        yield "</details>"


def _cell(text: str) -> str:
    """Text that stays in its cell, and that no reader of Markdown takes for markup."""
    for mark in ("\\", "|", "*", "_", "<", "`", "["):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
