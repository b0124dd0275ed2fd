"""Printed numbers and sentences of the document on weight construction, beside the study's.

Like for like, the document prints what its programs give on the bytes that they were fitted to.
So a number is compared on 1,024 bytes, whose text is known, and where that agrees with bits per
byte of fitted bytes alone, the held-out number stands beside it and the rest is a condition.
"""

from collections.abc import Iterator

from microdollar.claims.experiments.study import SEEDS, value_name
from microdollar.claims.row import Claim, Finding, Kept, Reading
from microdollar.claims.sources.study_rows import Row, Sentence, printed_rows, sentences
from microdollar.claims.world import World
from microdollar.learn.study.published import COMPARISONS, PUBLISHED, TOLERANCE, Comparison
from microdollar.spec.arithmetic import Interval
from microdollar.spec.claims import UNITS

DOCUMENT = "weight-construction"
OF_BYTES = {
    "1024": "the first 1,024 bytes of enwik8",
    "520": "the first 520 bytes of enwik8 (the document's own are not published)",
}
"""The document's two settings, in the order in which they are compared."""

HALVES = "halves"
"""Experiment whose rows are of one half of the bytes each, and say what was fitted to which."""

Values = dict[str, Interval]
Key = tuple[str, str]


def study_rows(document: str, world: World) -> Iterator[tuple[Claim, Finding]]:
    """Every printed number and sentence of the study, of its document; nothing for the others."""
    if document != DOCUMENT:
        return
    values, reasons, measured = world.names(["study"])
    for row in printed_rows():
        claim = _claim(row, values)
        yield claim, _finding(row, claim, values, reasons, measured)
    for sentence in sentences():
        said = next(one for one in COMPARISONS if one.text == sentence.text)
        yield _sentence(sentence, said), _difference(said, values, reasons, measured)


def _claim(row: Row, values: Values) -> Claim:
    printed = PUBLISHED[row.key]
    unit, measure = row.unit, row.measure
    absolute, relative = TOLERANCE[measure]
    notes = []
    if printed.rerun is not None:
        rerun = _said(printed.rerun, unit)
        weights = " with their weights" if row.trained else ""
        notes.append(
            f"The programs that its authors published give {rerun}{weights} on 1,024 bytes of"
            " enwik8."
        )
    if row.note:
        scaled = {name: value.value / UNITS[unit] for name, value in values.items()}
        notes.append(row.note.format_map(_Known(scaled)))
    return Claim(
        id=f"{DOCUMENT}/{row.id}",
        document=DOCUMENT,
        section=row.section or printed.section,
        claim=row.says,
        published=printed.value / UNITS[unit],
        unit=unit,
        tolerance=relative,
        absolute=absolute / UNITS[unit],
        needs=("model", "data") if measure != "codes" else ("model",),
        note=" ".join(notes),
    )


class _Known(dict[str, float]):
    """Values for a note; those that were not measured are nan, so that a note can be written."""

    def __missing__(self, key: str) -> float:
        return float("nan")


def _finding(
    row: Row, claim: Claim, values: Values, reasons: dict[str, str], measured: str
) -> Finding:
    part = _part(row.key)
    first = value_name(*row.key, "1024", part)
    how = _how(row.key, values, row.unit)
    if first not in values or row.unknown:
        reason = row.unknown or reasons.get(first, reasons.get("", ""))
        return Finding(how=how, reason=reason, readings=_rerun(row, claim), measured=measured)
    ours = values[first]
    if row.measure == "bits" and part == "used" and claim.agrees(ours.value):
        ours = values.get(value_name(*row.key, "1024", "held"), ours)
    readings = [
        Reading(condition=condition, value=values[name].value)
        for condition, name in _beside(row, values)
        if claim.agrees(values[name].value)
    ]
    return Finding(
        how=how,
        ours=ours,
        readings=(*readings, *_rerun(row, claim)),
        kept=_kept(row, values),
        measured=measured,
    )


def _part(key: Key) -> str:
    """Bytes that a printed number is of: those used, or held-out ones."""
    printed = PUBLISHED.get(key)
    return "held" if printed is not None and printed.on == "test" else "used"


def _beside(row: Row, values: Values) -> Iterator[tuple[str, str]]:
    """Conditions under which the row may hold, and the values under them."""
    for piece in OF_BYTES:
        for said, key in ((row.only, row.key), *((one.only, one.key) for one in row.also)):
            part = _part(key)
            name = value_name(*key, piece, part)
            if name not in values:
                continue
            measured = "scored on" if row.measure == "bits" else "measured on"
            measured = "in" if key[0] == HALVES else measured
            words = f"{said}, {measured}".removeprefix(", ") + f" {OF_BYTES[piece]}"
            held = values.get(value_name(*key, piece, "held"))
            real = values.get(value_name(*key, "1000000", "held"))
            if row.measure == "bits" and part == "used" and key[0] != HALVES:
                words += ", which it was fitted to"
                words += "" if held is None else f"; {held.value:.2f} on as many bytes after them"
                words += "" if real is None else f"; {real.value:.2f} held out after 1,000,000"
            yield words, name


def _rerun(row: Row, claim: Claim) -> tuple[Reading, ...]:
    """The published programs' own number where it depends on their weights and agrees."""
    rerun = PUBLISHED[row.key].rerun
    if rerun is None or not row.trained or not claim.agrees(rerun):
        return ()
    words = (
        "the weights are those that its authors published, on the bytes that they were fitted to"
    )
    return (Reading(condition=words, value=rerun),)


def _kept(row: Row, values: Values) -> Kept | None:
    if row.kept is None:
        return None
    found = values.get(value_name(*row.kept.key, "1000000", "held"))
    if found is None:
        return None
    return Kept(
        part=row.kept.part,
        what=row.kept.what,
        value=found.value,
        unit=row.unit,
        at="least",
        bound=PUBLISHED[row.key].value,
    )


def _how(key: Key, values: Values, unit: str) -> str:
    """Ours on every slice, in words."""
    said = []
    for piece in ("520", "1024", "1000000"):
        used, held = (values.get(value_name(*key, piece, part)) for part in ("used", "held"))
        if used is not None:
            where, later = _where(key, f"{int(piece):,} bytes")
            after = "" if held is None else f" ({_said(held.value, unit)} on {later})"
            said.append(f"{_said(used.value, unit)} on {where}{after}")
    first = values.get(value_name(*key, "1024", "used"))
    seeds = f" (small slices: median of {SEEDS} seeds)" if first and first.low < first.high else ""
    return "microdollar experiments" + (f": {', '.join(said)}{seeds}" if said else "")


def _where(key: Key, size: str) -> tuple[str, str]:
    """Which bytes a number of the study is of, and which the held-out one is of."""
    if key[0] != HALVES:
        return size, "those after them"
    half = "second" if key[1].endswith("second half") else "first"
    return f"the {half} half of {size}", "the second"


def _said(value: float, unit: str) -> str:
    return f"{value / UNITS[unit]:.4g}{' %' if unit == '%' else ''}"


def _sentence(sentence: Sentence, said: Comparison) -> Claim:
    return Claim(
        id=f"{DOCUMENT}/{sentence.id}",
        document=DOCUMENT,
        section=sentence.section or said.section,
        claim=f"{sentence.says} (how far ahead)",
        published=0.0,
        unit="bits/byte",
        at="least",
        needs=("model", "data"),
        note=sentence.note,
    )


def _difference(
    said: Comparison, values: Values, reasons: dict[str, str], measured: str
) -> Finding:
    """Held out after a million bytes; where it holds with less is a condition."""

    def ahead(piece: str, part: str) -> float | None:
        low = values.get(value_name(*said.lower, piece, part))
        if isinstance(said.higher, float):
            return None if low is None else said.higher - low.value
        high = values.get(value_name(*said.higher, piece, part))
        return None if low is None or high is None else high.value - low.value

    how = "held out after 1,000,000 bytes of enwik8"
    ours = ahead("1000000", "held")
    if ours is None:
        return Finding(how=how, reason=reasons.get("", "one of the two has no such number"))
    readings = []
    for part, words in (
        ("used", "scored on {}, which it was learnt from"),
        ("held", "learnt from {} and scored on as many after them"),
    ):
        for piece in OF_BYTES:
            found = ahead(piece, part)
            if found is not None:
                condition = f"{words.format(OF_BYTES[piece])}; {ours:+.2f} {how}"
                readings.append(Reading(condition=condition, value=found))
    return Finding(
        how=f"microdollar experiments: {how}",
        ours=Interval.of(ours),
        readings=tuple(readings),
        measured=measured,
    )
