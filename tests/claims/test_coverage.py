"""Every number of the five documents is a claim or is left out with a reason.

A number of the text is accounted for if it stands in an excerpt of ``left_out/DOCUMENT.toml``, or
if a claim of the document prints it (``published`` or ``to``) in any notation: 39,800 or 4e4 for
an order, 1.5×10^8, −0.658, 31 % for 0.31, 2M for 2,000,000, or at fewer digits than the claim has.
Numbers of sections are no figures, nor are those in names of one letter (h117, H^2) or of files.
"""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.claims import DOCUMENTS
from microdollar.claims.check import SOURCES
from microdollar.claims.unchecked import left_out
from microdollar.claims.world import World
from microdollar.spec.claims import UNITS

TEXTS = Path(__file__).parents[3] / "shared" / "sources"
TIMES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "P": 1e15, "thousand": 1e3,
         "million": 1e6, "billion": 1e9, "trillion": 1e12}  # fmt: skip

SECTION = re.compile(
    r"^[ \t]*(?:#+[ \t]*)?\d+(?:\.\d+)*[a-z]?\.[ \t]|^#+[ \t]*\d+(?:\.\d+)*[ \t]"
    r"|^\d+\.\d+[ \t]+(?=[A-Z][a-z])|^\d+[ \t]+(?=[A-Z][a-z]+[^|\t\d]*$)",
    re.MULTILINE,
)
NAME = re.compile(r"\b\w*_\w*|\b[\w-]+\.(?:c|py|tex|html|bin|toml|json)\b|(?<![^\W\d_])[^\W\d_]\d+")
POWER = re.compile(r"(?<!10)(?<!10 )\^\s?\{?[-+−]?\d+\}?")
"""Of anything but ten: H^2 holds no figure."""
NUMBER = re.compile(
    r"(?:(?<![\d.,])10\s?\^\s?\{?(?P<ten>[-+−]?\d+)\}?"
    r"|(?<![\d.])(?P<digits>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?:[eE](?P<e>[-+]?\d+)(?![\d.])|\s?(?:×|x|\*|\\times)\s?10\s?\^\s?\{?(?P<power>[-+−]?\d+)\}?"
    r"|×10(?P<glued>[12]\d|[6-9])(?![\d,.]\d|\d))?)"
    r"(?P<after>\s?%|\s?(?:thousand|million|billion|trillion)\b|[ -]?[kKMGBTP]"
    r"(?=$|[^A-Za-z]|i?B\b|FLOP|OPS|W|bit|Hz|J|[ ]?param))?"
)


def values(match):
    """What a number of the text may mean, each with half of its last digit."""
    digits = (match["digits"] or "1").replace(",", "")
    power = match["ten"] or match["e"] or match["power"] or match["glued"] or "0"
    scales = [10.0 ** int(power.replace("−", "-"))]
    after = (match["after"] or "").strip(" -")
    if after == "%":
        scales += [0.01]
    elif after:
        scales += [scales[0] * TIMES[after]]
    half = 0.5 * 10.0 ** -len(digits.partition(".")[2]) if _is_rounded(digits) else 0.0
    return [(float(digits) * scale, half * scale) for scale in scales]


def _is_rounded(digits):
    """Whether a number may stand for one with more digits: 4.31 and 0.66 may, 16 may not."""
    return "." in digits and len(digits.replace(".", "").lstrip("0")) >= 2


def spaced(text):
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def without(text, excerpts):
    """The text with excerpts blanked out, and those that are not in it.

    A number alone is blanked out where it stands alone, not inside a longer one. Longer excerpts
    go first.
    """
    missing = []
    whole = spaced(text)
    for excerpt in sorted(map(spaced, excerpts), key=len, reverse=True):
        edges = (r"(?<![\d.,])" if excerpt[0].isdigit() else "") + re.escape(excerpt)
        pattern = edges + (r"(?![\d]|[.,]\d)" if excerpt[-1].isdigit() else "")
        if not re.search(pattern, whole):
            missing.append(excerpt)
        text = re.sub(pattern.replace(r"\ ", r"\s+"), blank, text)
    return text, missing


def numbers(text):
    """Numbers of a text: what they may mean, and where they stand."""
    for pattern in (SECTION, NAME, POWER):
        text = pattern.sub(blank, text)
    for found in NUMBER.finditer(text):
        yield values(found), found.start()


def blank(match):
    """As many signs that are no digits."""
    return re.sub(r"\S", "~", match[0])


def printed(document):
    """Every number that a claim of the document prints, in its unit and in base units."""
    world = World()
    found = set()
    for source in SOURCES:
        for claim, _ in source(document, world):
            for number in (claim.published, claim.to):
                if number is not None:
                    found |= {abs(number), abs(number) * UNITS[claim.unit]}
    return found


def accounted(meanings, known):
    """Whether one of the meanings of a number is known, at its digits."""
    return any(
        math.isclose(value, number, rel_tol=1e-9) or abs(value - number) <= half * (1 + 1e-9)
        for value, half in meanings
        for number in known
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_number_of_the_document_is_accounted_for(document):
    path = TEXTS / f"{document}.txt"
    if not path.is_file():
        pytest.skip("needs the texts of the documents, beside the repository")
    text = path.read_text("utf-8")
    rest, _ = without(text, [one.text for one in left_out(document)])
    known = printed(document)
    open_ones = []
    for meanings, start in numbers(rest):
        if not accounted(meanings, known):
            line = text.count("\n", 0, start) + 1
            about = spaced(text[max(0, start - 40) : start + 40])
            open_ones.append(f"line {line}: {meanings[0][0]:g} in {about!r}")
    assert not open_ones, f"{len(open_ones)} numbers:\n" + "\n".join(open_ones)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_left_out_stands_in_the_document_once_with_a_reason(document):
    path = TEXTS / f"{document}.txt"
    if not path.is_file():
        pytest.skip("needs the texts of the documents, beside the repository")
    entries = left_out(document)
    texts = [spaced(one.text) for one in entries]
    assert len(texts) == len(set(texts))
    assert not without(path.read_text("utf-8"), texts)[1]
    assert all(len(one.why.split()) >= 1 for one in entries)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("reaches 4.965 bpc", {4.965}),
        ("39,800 times", {39_800}),
        ("−0.658 bits", {0.658}),
        ("R² = 31%", {31, 0.31}),
        ("~2M steps, 82k", {2, 2e6, 82, 82e3}),
        ("2 million", {2, 2e6}),
        ("1.5×10^8 and 5.94×10^{12}", {1.5e8, 5.94e12}),
        ("3×1021 joules", {3e21}),
        ("10^5 – 10^6 times", {1e5, 1e6}),
        ("rate 3e-4", {3e-4}),
        ("16×8 hash", {16, 8}),
        ("offsets 0–15", {0, 15}),
        ("H^2 and H^{3}", set()),
        ("h117 of write_weights5.c, q5_redux_train.c", set()),
        ("## 4.2 Readouts\n4. Construction\n4.2 Readouts", set()),
        ("GPT117M", {117, 117e6}),
        ("12 TFLOPs~0.001", {12, 12e12, 0.001}),
        ("$0.0000011", {0.0000011}),
        ("1,024 GB/s, 8 GB.", {1024, 1024e9, 8, 8e9}),
        ("3,125 × 100 = 312,500", {3125, 100, 312_500}),
        ("16\nShift-register memory", {16}),
    ],
)
def test_numbers_are_found_in_their_notations(text, wanted):
    found = {float(f"{value:.6g}") for meanings, _ in numbers(text) for value, _ in meanings}
    assert found == {float(f"{value:.6g}") for value in wanted}


@given(st.integers(0, 10**9))
def test_a_whole_number_is_found_plain_and_with_commas(number):
    for text in (f"has {number} of them", f"has {number:,} of them"):
        [[value, *_], _] = next(numbers(text))
        assert value == (number, 0.0)


@given(st.floats(0.001, 1000).map(lambda one: round(one, 3)))
def test_a_number_at_fewer_digits_is_the_same_and_another_is_not(number):
    said = f"{number:.2f}"
    [(meanings, _)] = numbers(f"is {said} bits")
    if _is_rounded(said):
        assert accounted(meanings, {number})
    assert not accounted(meanings, {number + 0.02})


def test_an_excerpt_is_blanked_out_and_a_part_of_a_number_is_not():
    rest, missing = without("on 16 groups\nof 8, 1,016 and 16.5", ["16", "groups of 8", "17"])
    assert [meanings[0][0] for meanings, _ in numbers(rest)] == [1016, 16.5]
    assert missing == ["17"]
    assert len(rest) == len("on 16 groups\nof 8, 1,016 and 16.5")
