"""Results of other forms as comparisons, so that one drawing serves them all."""

from collections.abc import Mapping
from typing import Any

from microdollar.cost import Cost, Quantity
from microdollar.report.nodes import MAX_LIST, Node, ResultsError
from microdollar.report.schema import Results, parse_results

_NOT_COUNTED = "these results don't hold it"
_BY_GRADIENT = ("readout-sgd", "rnn-bptt", "lstm-bptt", "gpt")


def from_sizes(data: Mapping[str, Any]) -> list[Results]:
    """Learners on growing parts of several texts, a comparison for each text and size.

    Costs are of processor time at one price a core-hour. What costs nothing (no model) has no
    place on a scale of ratios and is left out.

    Raises:
        ResultsError: naming the field that is missing or wrong.
    """
    found = []
    for text in Node(data, "results").children("texts", MAX_LIST):
        groups: dict[int, list[Node]] = {}
        for row in text.children("rows", MAX_LIST):
            groups.setdefault(row.integer("train_bytes"), []).append(row)
        for size, rows in sorted(groups.items()):
            found.append(_one_size(text, size, rows))
    return [one for one in found if one.rows]


def _one_size(text: Node, size: int, rows: list[Node]) -> Results:
    rows = [row for row in rows if row.number_or_none("cpu_seconds")]
    spans = {row.span("test_range") for row in rows}
    if len(spans) > 1 or None in spans:
        text.fail("rows", f"{size:,} training bytes are scored on different bytes")
    first, last = next(iter(spans)) or (0, 0) if spans else (0, 0)
    return parse_results(
        {
            "schema_version": 1,
            "created_at": max((row.text("finished_at") for row in rows), default=""),
            "command": "",
            "commit": None,
            "corpus": {
                "name": text.text("text"),
                "sha256": text.text_or_none("text_sha256"),
                "train_bytes": size,
                "test_bytes": last - first,
                "train_range": None,
                "test_range": [first, last],
            },
            "device": {"name": text.text("processor"), "cores": text.integer("cores")},
            "rows": [
                plain_row(
                    learner=row.text("learner"),
                    label=row.text("job").replace("@", ", ").replace("xngram", "× time"),
                    kind="trained" if row.text("learner") in _BY_GRADIENT else "counted",
                    test=row.number_or_none("bits_per_byte"),
                    adaptive=row.number_or_none("adaptive_bits_per_byte")
                    if "adaptive_bits_per_byte" in row.data
                    else None,
                    seconds=row.positive("cpu_seconds"),
                    dollars=row.number_or_none("dollars"),
                    parameters=row.integer("parameters"),
                )
                for row in rows
            ],
            "assumptions": [],
            "notes": [
                "Seconds are of the processor, and its price is that of one core.",
                "A learner with '10× time' was given ten times the time of the n-gram network.",
            ],
        }
    )


def plain_row(
    *,
    learner: str,
    label: str,
    kind: str,
    test: float | None,
    seconds: float,
    dollars: float | None,
    train: float | None = None,
    adaptive: float | None = None,
    parameters: int | None = None,
    flops: float | None = None,
    int_ops: float | None = None,
) -> dict[str, Any]:
    """A row of ``results.json`` of what was measured alone; the rest is missing, with a reason."""
    unknown = Quantity.missing(_NOT_COUNTED)
    counted = [
        unknown if count is None else Quantity(value=count, basis="formula")
        for count in (flops, int_ops)
    ]
    try:
        measured = Cost(
            flops=counted[0],
            int_ops=counted[1],
            memory_bytes=unknown,
            seconds=Quantity(value=seconds, basis="clock"),
            joules=unknown,
            dollars=unknown if dollars is None else Quantity(value=dollars, basis="clock"),
        )
    except (TypeError, ValueError) as error:
        raise ResultsError(f"{label[:80]}: {error}") from error
    return {
        "learner": learner,
        "label": label,
        "options": {},
        "kind": kind,
        "predicted": None,
        "measured": measured.to_json(),
        "train_bits_per_byte": train,
        "test_bits_per_byte": test,
        "test_bits_per_byte_adaptive": adaptive,
        "parameters": parameters,
        "process_bytes": unknown.to_json(),
        "score_seconds": unknown.to_json(),
        "breakdown": [],
    }
