"""Rows of all slices side by side, with the printed numbers and what follows from them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from microdollar.learn.study.published import COMPARISONS, PUBLISHED, Comparison, agrees
from microdollar.learn.study.rows import SMALL_BYTES

if TYPE_CHECKING:
    from microdollar.learn.study import Experiment

Rows = dict[tuple[str, str], dict[str, dict[str, Any]]]
"""By experiment and key: by slice, what was found."""


def assemble(
    parts: "Sequence[Mapping[str, Any]]", experiments: "Sequence[Experiment]", slices: Sequence[str]
) -> dict[str, Any]:
    """The ``experiments`` and ``comparisons`` of ``results.json``.

    Verdicts are computed: a printed number *holds* on a slice of the document's size if ours is
    within the tolerance of it (``microdollar.learn.study.published.TOLERANCE``).
    """
    by_row: Rows = {}
    for part in parts:
        for row in part["rows"]:
            place = by_row.setdefault((part["experiment"], row["key"]), {})
            place[part["slice"]] = row
    found = []
    for experiment in experiments:
        rows = [
            _row(experiment.name, key, on)
            for (name, key), on in by_row.items()
            if name == experiment.name
        ]
        found.append(
            {
                "number": experiment.number,
                "name": experiment.name,
                "title": experiment.title,
                "section": experiment.section,
                "version": experiment.version,
                "wall_seconds": {
                    part["slice"]: part["wall_seconds"]
                    for part in parts
                    if part["experiment"] == experiment.name
                },
                "rows": rows,
            }
        )
    said = [_comparison(each, by_row, slices) for each in COMPARISONS]
    return {"experiments": found, "comparisons": [each for each in said if each["on"]]}


def _row(experiment: str, key: str, on: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    first = next(iter(on.values()))
    printed = PUBLISHED.get((experiment, key))
    row: dict[str, Any] = {
        "key": key,
        "measure": first["measure"],
        "kind": first["kind"],
        "published": None,
        "values": {
            piece: {name: value for name, value in each.items() if name not in _SHARED}
            for piece, each in on.items()
        },
    }
    if printed is None:
        return row
    small = {piece: each[printed.on] for piece, each in on.items() if int(piece) <= SMALL_BYTES}
    measure = first["measure"]
    known = {piece: value for piece, value in small.items() if value is not None}
    holds = [piece for piece, value in known.items() if agrees(value, printed.value, measure)]
    verdict = None
    if small:
        verdict = "holds" if holds else "does not hold" if known else "can't be told"
    rerun = known.get("1024")
    row["published"] = {
        "value": printed.value,
        "section": printed.section,
        "beside": printed.on,
        "holds_on": holds,
        "verdict": verdict,
        "uses_trained_weights": experiment in _TRAINED or key.startswith("trained network"),
        "program_rerun": printed.rerun,
        "agrees_with_rerun": None
        if printed.rerun is None or rerun is None
        else agrees(rerun, printed.rerun, measure),
    }
    return row


_SHARED = ("key", "measure", "kind")
_TRAINED = ("weights", "substitution", "memory", "scaffolding", "dynamics")
"""Experiments on a trained network: ours is another than the published one."""


def _comparison(said: Comparison, by_row: Rows, slices: Sequence[str]) -> dict[str, Any]:
    """Whether it is so on each slice, on training and on held-out bytes."""
    on: dict[str, dict[str, Any]] = {}
    for piece in slices:
        low = by_row.get(said.lower, {}).get(piece)
        high = (
            {"train": said.higher, "test": said.higher}
            if isinstance(said.higher, float)
            else by_row.get(said.higher, {}).get(piece)
        )
        if low is None or high is None:
            continue
        on[piece] = {
            part: None
            if low[part] is None or high[part] is None
            else {"lower": low[part], "higher": high[part], "so": low[part] < high[part]}
            for part in ("train", "test")
        }
    return {"text": said.text, "section": said.section, "on": on}
