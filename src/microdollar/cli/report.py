"""``microdollar report``: the HTML page of results that were written before."""

from pathlib import Path

import click

from microdollar.cli.options import FILE
from microdollar.errors import UsageError

NAME = "results.json"
PLACES = (Path(NAME), Path("demo", NAME))
"""Where results are looked for if no place is given."""


@click.command(short_help="One HTML page from results.")
@click.argument("source", type=click.Path(path_type=Path), required=False, metavar="[RESULTS]")
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="FILE",
    help="Where to; report.html beside the results otherwise.",
)
@click.option(
    "--ledger",
    "ledger_path",
    type=FILE,
    metavar="FILE",
    help="Also say how good the predictions in this ledger were so far.",
)
def report(source: Path | None, output: Path | None, ledger_path: Path | None) -> None:
    """Write one HTML page that opens without a network, from RESULTS.

    RESULTS is a results.json of demo or compare, or the folder that holds it; by default
    results.json or demo/results.json here. The path of the page is printed.

    Example: microdollar report demo -o page.html
    """
    path = find_results(source)
    # The figures and the page take a while to import; a wrong path is answered before.
    from microdollar.ledger import Ledger
    from microdollar.report import write_report
    from microdollar.report.schema import read_results

    results = read_results(path)
    target = output or path.with_name("report.html")
    if target.exists() and target.samefile(path):
        raise UsageError(f"{target} is the results file. Name another file after -o.")
    if ledger_path is not None and not ledger_path.exists():
        raise UsageError(f"no ledger at {ledger_path}. Type: microdollar ledger list")
    history = Ledger(ledger_path).rows() if ledger_path is not None else []
    write_report(results, target, history=history)
    click.echo(target)


def find_results(source: Path | None) -> Path:
    """The results file that is meant.

    Raises:
        UsageError: if there is none.
    """
    advice = "Type: microdollar demo, then microdollar report demo"
    if source is None:
        for place in PLACES:
            if place.is_file():
                return place
        raise UsageError(f"neither {PLACES[0]} nor {PLACES[1]} is here. {advice}")
    path = source / NAME if source.is_dir() else source
    if not path.exists():
        raise UsageError(f"no results at {path}. {advice}")
    return path
