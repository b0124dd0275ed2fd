"""Every claim with its verdict, from all sources."""

from collections.abc import Callable, Iterator, Sequence

from microdollar.claims.documents import DOCUMENTS
from microdollar.claims.row import Claim, Finding
from microdollar.claims.sources.limits import limit_rows
from microdollar.claims.sources.plans import plan_rows
from microdollar.claims.sources.study import study_rows
from microdollar.claims.sources.tables import table_rows
from microdollar.claims.verdict import Checked, judge
from microdollar.claims.world import World
from microdollar.errors import SpecError

Source = Callable[[str, World], Iterator[tuple[Claim, Finding]]]
SOURCES: tuple[Source, ...] = (table_rows, plan_rows, limit_rows, study_rows)
"""Each gives the rows of a document."""


def check_claims(documents: Sequence[str], world: World) -> tuple[Checked, ...]:
    """Every claim of some documents, in the order of documents and sections.

    Args:
        documents: names of ``microdollar.claims.documents.DOCUMENTS``.
        world: where values of experiments come from.

    Raises:
        SpecError: if a row is not right, or two have the same id.
    """
    checked = []
    for number, document in enumerate(documents, 1):
        world.progress(number, len(documents) + 1, DOCUMENTS[document].title)
        rows = _each_once([row for source in SOURCES for row in source(document, world)])
        rows.sort(key=lambda row: DOCUMENTS[document].place(row[0].section))
        checked += [judge(claim, finding) for claim, finding in rows]
    seen: set[str] = set()
    for one in checked:
        if one.claim.id in seen:
            raise SpecError(f"two claims have the id {one.claim.id}.")
        seen.add(one.claim.id)
    return tuple(checked)


def _each_once(rows: list[tuple[Claim, Finding]]) -> list[tuple[Claim, Finding]]:
    """Rows without those that another one replaces.

    Raises:
        SpecError: if a replaced row is not there.
    """
    replaced = {one for claim, _ in rows for one in claim.replaces}
    if missing := sorted(replaced - {claim.id for claim, _ in rows}):
        raise SpecError(f"a claim replaces {missing[0]!r:.80}, which no source has.")
    return [row for row in rows if row[0].id not in replaced]
