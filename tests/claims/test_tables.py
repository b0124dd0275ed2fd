"""Rows of the tables: what is read, and what is refused."""

import pytest

from microdollar.claims import DOCUMENTS, VERDICTS, World, check_claims, judge
from microdollar.claims.experiments import EXPERIMENTS
from microdollar.claims.sources.tables import read_rows
from microdollar.errors import MicrodollarError

ROW = """
document = "weight-construction"
[[claims]]
id = "weight-construction/6/codes"
section = "6"
claim = "There are 170 codes"
published = 170
"""


@pytest.fixture(scope="module")
def every():
    return check_claims(list(DOCUMENTS), World())


def rows(more):
    return list(read_rows(ROW + more, "t.toml", World()))


def test_a_row_with_values_of_an_experiment():
    ((claim, finding),) = rows('from = ["hashes"]\nours = "mixed"\nhow = "counted"')
    assert (claim.published, finding.ours.value, finding.how) == (170.0, 170.0, "counted")
    assert judge(claim, finding).verdict == "holds"


def test_readings_and_kept_promises():
    ((claim, finding),) = rows("""
from = ["hashes"]
ours = "semantic"
[[claims.reading]]
condition = "signs are random"
ours = "mixed"
[claims.kept]
part = "learn.study.codes"
what = "codes of 8 bits"
ours = "bit_extraction"
unit = ""
at = "least"
bound = "200 + 56"
""")
    assert judge(claim, finding).condition == "signs are random"
    assert finding.kept.is_kept
    assert finding.kept.bound == 256


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "neither own, ours nor takes"),
        ("colour = 1", "colour"),
        ('own = "1 +"', "1 +"),
        ('own = "1 / 0"', "1 / 0"),
        ('from = ["hashs"]\nours = "mixed"', "hashs"),
        ('from = ["hashes"]\nours = "mixd"', "mixd"),
        ("ours = 3", "a sum is a text"),
        ('takes = "x"\nunit = "parsec"', "parsec"),
        ('takes = "x"\nneeds = ["luck"]', "luck"),
        ('takes = "x"\nat = "about"', "at"),
        ('own = "x"\n[claims', "t.toml"),
    ],
)
def test_wrong_rows_are_refused(more, said):
    with pytest.raises(MicrodollarError, match=r"t\.toml|hashs") as caught:
        rows(more)
    assert said in str(caught.value)


def test_every_claim_stands_alone(every):
    assert len({one.claim.id for one in every}) == len(every)
    for one in every:
        assert one.claim.id.startswith(one.claim.document + "/")
        assert len(one.claim.claim) > 15
        assert one.claim.section
        assert one.finding.how or one.finding.reason, one.claim.id
        assert one.verdict in VERDICTS


def test_all_five_documents_are_covered(every):
    counts = {name: sum(one.claim.document == name for one in every) for name in DOCUMENTS}
    assert all(count >= 30 for count in counts.values()), counts
    assert len(every) >= 200


def test_every_experiment_is_used():
    asked = set()

    class Asking(World):
        def record(self, name):
            asked.add(name)
            return super().record(name)

    check_claims(list(DOCUMENTS), Asking())
    assert asked == set(EXPERIMENTS)
