"""``microdollar ledger``: list, show, compare, export and import past runs, record steps."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from microdollar.cli.ledger_file import ledger_option, open_ledger
from microdollar.cli.ledger_record import record
from microdollar.cli.numbers import FORMATS
from microdollar.cli.options import COUNT, FILE, json_option, print_json
from microdollar.errors import LedgerError
from microdollar.files import whole_file
from microdollar.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from rich.table import Table

    from microdollar.cost import Cost, Quantity
    from microdollar.ledger import Comparison, Record, Summary

LIST_LIMIT = 20
MISSING = "–"


class _Moment(click.ParamType[datetime]):
    """A date or a moment in ISO 8601; UTC where it says no offset."""

    name = "date"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        """Parse text.

        Raises:
            click.BadParameter: if it is not a moment.
        """
        try:
            return value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a date. Type for example 2026-03-01.", param, ctx)


@click.group()
@ledger_option
@click.pass_context
def ledger(ctx: click.Context, path: Path | None) -> None:
    """List, show, compare and export past runs.

    Every run that was predicted or measured is a row of an append-only SQLite file.
    """
    ctx.obj = path


ledger.add_command(record)


@ledger.command("list")
@click.option("--learner", metavar="NAME", help="Only rows of this learner.")
@click.option("--device", metavar="NAME", help="Only rows of this device.")
@click.option("--since", type=_Moment(), metavar="DATE", help="Only rows that started since then.")
@click.option(
    "--limit", type=COUNT, default=LIST_LIMIT, show_default=True, help="At most so many rows."
)
@ledger_option
@json_option
def list_rows(
    learner: str | None,
    device: str | None,
    since: datetime | None,
    limit: int,
    path: Path | None,
    as_json: bool,
) -> None:
    """List rows, the last start first.

    Example: microdollar ledger list --learner ngram
    """
    store = open_ledger(path)
    rows = store.rows(learner=learner, device=device, since=since, limit=limit + 1)
    shown = rows[:limit]
    if as_json:
        print_json({"ledger": str(store.path), "rows": [_row_json(row) for row in shown]})
    elif shown:
        _print(_list_table(shown))
    if not rows:
        click.echo(f"no such rows in {store.path}", err=True)
    elif len(rows) > limit:
        click.echo(f"the newest {limit} rows; older ones with --limit {10 * limit}", err=True)


@ledger.command()
@click.argument("row_id", metavar="ID", type=int)
@ledger_option
@json_option
def show(row_id: int, path: Path | None, as_json: bool) -> None:
    """Show everything that is known of one row."""
    store = open_ledger(path)
    row = store.get(row_id)
    if as_json:
        print_json({"ledger": str(store.path), "row": _row_json(row)})
    else:
        _print(_facts_table(row), *_cost_tables(row), *_more_tables(row))


@ledger.command()
@click.argument("row_ids", metavar="[ID ...]", type=int, nargs=-1)
@ledger_option
@json_option
def compare(row_ids: tuple[int, ...], path: Path | None, as_json: bool) -> None:
    """Compare what was predicted with what was measured.

    With numbers of rows, each quantity of those rows; then, or for all rows, medians over
    them: measured over predicted, relative error, and how many fell into their interval.

    Example: microdollar ledger compare 12 13
    """
    from microdollar.ledger import compare as compare_row
    from microdollar.ledger import summarize

    store = open_ledger(path)
    rows = [store.get(row_id) for row_id in dict.fromkeys(row_ids)] if row_ids else store.rows()
    found = [comparison for row in rows for comparison in compare_row(row)]
    summary = summarize(found)
    if as_json:
        print_json(
            {
                "ledger": str(store.path),
                "comparisons": [comparison.to_json() for comparison in found],
                "summary": [entry.to_json() for entry in summary],
            }
        )
        return
    if not rows:
        click.echo(f"no rows in {store.path}", err=True)
        return
    if row_ids or len(rows) == 1:
        _print(*_comparison_tables(found))
    if len(rows) > 1:
        _print(_summary_table(summary))
        click.echo("Ratio: measured / predicted. Honest intervals have 80 % inside.", err=True)


@ledger.command()
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="JSON lines can be imported again; CSV is for spreadsheets.",
)
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="FILE",
    help="Where to; standard output otherwise.",
)
@ledger_option
def export(format_name: str, output: Path | None, path: Path | None) -> None:
    """Write all rows, the first start first, as JSON lines or CSV.

    Example: microdollar ledger export --format csv -o runs.csv
    """
    from microdollar.ledger.export import to_csv, to_json_lines

    store = open_ledger(path)
    rows = store.rows()[::-1]
    lines = to_csv(rows) if format_name == "csv" else to_json_lines(rows)
    if output is None or str(output) == "-":
        for line in lines:
            click.echo(line, nl=False)
        return
    if store.path.exists() and output.exists() and output.samefile(store.path):
        raise LedgerError(f"{output} is the ledger itself. Name another file after -o.")
    _write(output, lines)
    click.echo(f"{len(rows)} rows written to {output}", err=True)


@ledger.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@ledger_option
@json_option
def import_rows(file: TextIO, path: Path | None, as_json: bool) -> None:
    """Append rows that another machine exported as JSON lines (- is standard input).

    Rows that are there already are left out; if a line is unusable, nothing is imported.
    """
    from microdollar.ledger.export import read_json_lines

    store = open_ledger(path)
    result = store.extend(read_json_lines(file))
    if as_json:
        print_json({"ledger": str(store.path), "added": list(result.added), "known": result.known})
    words = f"{len(result.added)} rows added to {store.path}, {result.known} were there already"
    click.echo(words, err=True)


def _write(output: Path, lines: Iterable[str]) -> None:
    """Write a file whole or not at all."""
    try:
        with whole_file(output) as out:
            out.writelines(lines)
    except OSError as error:
        raise LedgerError(
            f"can't write {output} ({error.strerror}). Name another file after -o."
        ) from error


def _row_json(row: "Record") -> dict[str, Any]:
    return {"id": row.id, "content_hash": row.content_hash(), **row.to_json()}


def _print(*tables: "Table") -> None:
    from rich.console import Console

    # A pipe has no width to fit into, and a cut number is worse than a long line.
    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in tables:
        console.print(table)


def _table(*, numbers: Sequence[str] = (), words: Sequence[str] = (), text: str = "") -> "Table":
    """A table with words at the left, then numbers, then one column of text that may fold."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in words:
        table.add_column(column, no_wrap=True)
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    if text:
        table.add_column(text, overflow="fold")
    return table


def _add(table: "Table", *cells: str) -> None:
    """Add a row of plain text: rows may come from strangers, so nothing in it is a command."""
    from rich.text import Text

    table.add_row(*(Text("".join(c if c.isprintable() else "�" for c in cell)) for cell in cells))


def _list_table(rows: Sequence["Record"]) -> "Table":
    # Of measured steps, what stands there is no quality.
    score = next((name for row in rows if _model(row) is None for name in row.scores), "")
    table = _table(
        words=("id", "started, UTC", "learner"),
        numbers=(
            *("time\npredicted", "\nmeasured", "price"),
            score.replace("_per_", "\nper_").replace("_", " "),
        ),
        text="device",
    )
    for row in rows:
        _add(
            table,
            str(row.id),
            row.started_at[:16].replace("T", " "),
            _model(row) or row.learner,
            _cost_text(row.predicted, "seconds"),
            _cost_text(row.measured, "seconds"),
            _cost_text(row.measured or row.predicted, "dollars"),
            _score_text(row.scores.get(score)),
            row.device_name,
        )
    return table


def _model(row: "Record") -> str | None:
    """``step of gpt2`` for a measured step; None for a learner's run."""
    model = row.plan.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    return f"step of {name}" if row.learner == "training" and isinstance(name, str) else None


def _facts_table(row: "Record") -> "Table":
    table = _table(words=("row",), text=str(row.id))
    facts = {
        "learner": row.learner,
        "device": row.device_name,
        "started": row.started_at,
        "note": row.note,
        "commit": row.git,
        "plan": json.dumps(row.plan, ensure_ascii=False),
        "versions": ", ".join(f"{name} {number}" for name, number in row.versions.items()),
        "content": row.content_hash(),
    }
    for name, value in facts.items():
        _add(table, name, value or MISSING)
    return table


def _cost_tables(row: "Record") -> Iterator["Table"]:
    table = _table(
        words=("cost",), numbers=("predicted", "80 % interval", "measured"), text="basis"
    )
    remarks = _table(words=("cost",), text="remark")
    for name, (label, write) in FORMATS.items():
        predicted = getattr(row.predicted, name) if row.predicted else None
        measured = getattr(row.measured, name) if row.measured else None
        bases = [(q.basis if q else None) or MISSING for q in (predicted, measured)]
        cells = (_text(predicted, write), _interval(predicted, write), _text(measured, write))
        _add(table, label, *cells, " / ".join(bases))
        for remark in _remarks(predicted, measured):
            _add(remarks, label, remark)
    yield table
    if remarks.row_count:
        yield remarks


def _interval(quantity: "Quantity | None", write: Callable[[float], str]) -> str:
    if quantity is None or quantity.low is None or quantity.high is None:
        return MISSING
    if quantity.low == quantity.high:
        return "exact"
    return f"{write(quantity.low)} to {write(quantity.high)}"


def _remarks(predicted: "Quantity | None", measured: "Quantity | None") -> Iterator[str]:
    for what, quantity in (("predicted", predicted), ("measured", measured)):
        if quantity and quantity.reason:
            yield f"{what}: {quantity.reason}"
    if measured and measured.coverage is not None and measured.coverage < 1:
        yield f"measured: the counter saw {measured.coverage:.1%}"


def _more_tables(row: "Record") -> Iterator["Table"]:
    if row.scores:
        title = "score" if _model(row) is None else "also measured"
        table = _table(words=(title,), numbers=("value",), text="remark")
        for name, value in row.scores.items():
            _add(table, name, _beside_text(name, value), row.score_reasons.get(name, ""))
        yield table
    if row.assumptions:
        table = _table(words=("assumption",), numbers=("value",), text="source")
        for assumption in row.assumptions:
            _add(table, assumption.key, str(assumption.value), assumption.source)
        yield table


def _comparison_tables(found: Sequence["Comparison"]) -> Iterator["Table"]:
    table = _table(
        words=("id", "learner", "cost"),
        numbers=("predicted", "measured", "ratio", "error", "inside"),
    )
    remarks = _table(words=("cost",), text="remark")
    for comparison in found:
        label, write = FORMATS[comparison.name]
        _add(
            table,
            str(comparison.row_id),
            comparison.learner,
            label,
            _text(comparison.predicted, write),
            _text(comparison.measured, write),
            *_error_cells(comparison.ratio, comparison.absolute_percentage_error),
            {True: "yes", False: "no", None: MISSING}[comparison.inside],
        )
    yield table
    reasons = dict.fromkeys((FORMATS[c.name][0], c.reason) for c in found if c.reason)
    for label, reason in reasons:
        _add(remarks, label, reason)
    if reasons:
        yield remarks


def _summary_table(summary: Sequence["Summary"]) -> "Table":
    table = _table(
        words=("cost",), numbers=("rows", "missing", "median ratio", "median error", "inside")
    )
    for entry in summary:
        share = entry.inside_share
        _add(
            table,
            FORMATS[entry.name][0],
            str(entry.compared),
            str(entry.missing),
            *_error_cells(entry.median_ratio, entry.median_absolute_percentage_error),
            MISSING if share is None else f"{share:.0%}",
        )
    return table


def _error_cells(ratio: float | None, percent: float | None) -> tuple[str, str]:
    return (
        MISSING if ratio is None else f"{ratio:.3g}",
        MISSING if percent is None else f"{percent:.3g} %",
    )


def _cost_text(cost: "Cost | None", name: str) -> str:
    return _text(getattr(cost, name) if cost else None, FORMATS[name][1])


def _text(quantity: "Quantity | None", write: Callable[[float], str]) -> str:
    return MISSING if quantity is None or quantity.value is None else write(quantity.value)


def _beside_text(name: str, value: float | None) -> str:
    if value is not None and name.endswith("_bytes"):
        return format_bytes(value)
    if value is not None and name.endswith("_seconds"):
        return format_seconds(value)
    return _score_text(value)


def _score_text(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4g}"
