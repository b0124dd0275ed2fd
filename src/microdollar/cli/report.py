"""``microdollar report``: one HTML page of everything that was predicted, measured and checked."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from microdollar.cli.ledger_file import open_ledger
from microdollar.cli.options import FILE, FOLDER
from microdollar.cli.progress import Bar
from microdollar.errors import MicrodollarError, UsageError
from microdollar.spec.home import LEDGER_NAME, home_folder

if TYPE_CHECKING:
    from microdollar.report.sources import Content

NAME = "results.json"
PLACES = (Path(NAME), Path("demo", NAME))
"""Where results are looked for if no place is given."""
_ADVICE = "Type: microdollar demo, then microdollar report demo"


@click.command(short_help="One HTML page from results.")
@click.argument("sources", type=FOLDER, nargs=-1, metavar="[SOURCES]...")
@click.option(
    "--ledger", "ledger_path", type=FILE, metavar="FILE",
    help="A ledger; without SOURCES your own is taken if there is one.",
)  # fmt: skip
@click.option(
    "--plan", "plans", multiple=True, metavar="PLAN",
    help="A plan, or a model with the options of estimate in quotes; may be repeated.",
)  # fmt: skip
@click.option("--claims", is_flag=True, help="Also every claim, as microdollar claims checks it.")
@click.option(
    "-o", "--output", type=FILE, metavar="FILE",
    help="Where to; report.html beside the first source otherwise.",
)  # fmt: skip
def report(
    sources: tuple[Path, ...],
    ledger_path: Path | None,
    plans: tuple[str, ...],
    claims: bool,
    output: Path | None,
) -> None:
    """Write one HTML page that opens without a network, from SOURCES.

    Each of SOURCES is what compare, demo, experiments, crossover, limits --roofline, scaling fit,
    estimate, validate, tokens eval, concepts eval or claims wrote with --json, a CSV file of runs,
    runs of optimizers line by line, a TOML plan, or a folder that is searched for them. Without
    any: results.json or demo/results.json here. The page has what these hold; its last lines say
    what is missing and which command makes it. Its path is printed.

    \b
    Examples:
      microdollar report demo -o page.html
      microdollar report results/ --ledger runs.db --claims
      microdollar report --plan "llama-3-8b --device h100-sxm --count 64 --tokens 100G"
    """  # noqa: D301
    found = _places(sources, anything=bool(plans or claims or ledger_path))
    # The figures and the page take a while to import; a wrong path is answered before.
    from microdollar.report import write_report
    from microdollar.report.sources import Content, add_file, add_folder

    target = output or _beside(found)
    for path in (*found, *filter(None, (ledger_path,))):
        if target.exists() and path.exists() and target.samefile(path):
            raise UsageError(f"{target} is a source. Name another file after -o.")
    content = Content()
    with Bar() as bar:
        for path in found:
            (add_folder if path.is_dir() else add_file)(content, path)
        if claims:
            _check_claims(content, bar)
        _read_ledger(content, ledger_path, default=not sources)
        _convert(content, plans, bar)
        if not (content.read or content.history or content.plans or content.claims):
            what = ", ".join(map(str, found)) or "the ledger"
            raise UsageError(f"{what} has nothing that a page is made from. {_ADVICE}")
        write_report(content, target, progress=bar)
    for name, why in content.refused:
        click.echo(f"note: {name} is left out: {why}", err=True)
    click.echo(target)


def _places(sources: tuple[Path, ...], *, anything: bool) -> list[Path]:
    """Files and folders that are meant; those of this folder if none is named.

    Raises:
        UsageError: if one is not there, or there is nothing at all.
    """
    for path in sources:
        if not path.exists():
            raise UsageError(f"no results at {path}. {_ADVICE}")
    if sources:
        return list(sources)
    here = [place for place in PLACES if place.is_file()][:1]
    if not here and not anything and not (home_folder() / LEDGER_NAME).exists():
        raise UsageError(f"neither {PLACES[0]} nor {PLACES[1]} is here. {_ADVICE}")
    return here


def _beside(found: list[Path]) -> Path:
    if not found:
        return Path("report.html")
    return found[0] / "report.html" if found[0].is_dir() else found[0].with_name("report.html")


def _read_ledger(content: "Content", path: Path | None, *, default: bool) -> None:
    if path is None and not (default and (home_folder() / LEDGER_NAME).exists()):
        return
    if path is not None and not path.exists():
        raise UsageError(f"no ledger at {path}. Type: microdollar ledger list")
    ledger = open_ledger(path)
    content.history += ledger.rows()
    content.read.append((str(path or "your ledger"), f"{len(content.history):,} runs of a ledger"))


def _check_claims(content: "Content", bar: Bar) -> None:
    from microdollar.claims import DOCUMENTS, World, check_claims
    from microdollar.report.checked import parse_claims

    checked = check_claims(list(DOCUMENTS), World(progress=bar))
    content.claims += parse_claims([one.to_json() for one in checked])
    content.read.append(("microdollar claims", f"{len(checked)} claims, checked now"))


def _convert(content: "Content", plans: tuple[str, ...], bar: Bar) -> None:
    """What the page draws but doesn't compute: laws, runs and plans."""
    from microdollar.cli.report_plans import plan_costs
    from microdollar.cli.report_scaling import curves_of

    curves_of(content)
    for path in content.plan_files:
        try:
            content.plans += plan_costs([str(path)], bar)
        except MicrodollarError as error:
            content.refused.append((str(path), str(error)))
        else:
            content.read.append((str(path), "a plan"))
    content.plans += plan_costs(plans, bar)
