"""``microdollar validate``: how wrong the predictions are on published runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.options import FILE, json_option, print_json
from microdollar.cli.progress import Bar
from microdollar.errors import UsageError

if TYPE_CHECKING:
    from microdollar.run.validate import ErrorGroup, NotPredicted, Prediction
    from microdollar.spec.runs import Run

SHIPPED_NOTE = (
    "Coefficients as shipped: fitted on public rows, perhaps on these. "
    "For held-out errors type --fit TRAIN.csv."
)
_REASONS = 12
_LABEL = 40


@click.command(short_help="How wrong the predictions are on published runs.")
@click.argument("file", type=FILE)
@click.option("--fit", "train", type=FILE, metavar="TRAIN", help="Fit coefficients on this first.")
@click.option("--metric", metavar="NAME", help="Only rows of this metric.")
@click.option("--rows", is_flag=True, help="Also every row with its prediction.")
@click.option("--peers", is_flag=True, help="Also the field's usual rules on the same rows.")
@json_option
def validate(
    file: Path, train: Path | None, metric: str | None, rows: bool, peers: bool, as_json: bool
) -> None:
    """Predict every row of FILE and print the errors by metric, hardware and model.

    FILE is a CSV file in the columns of published_runs.csv (model, hardware, metric, value and
    unit are needed) or of vTrain's ground truth. With --fit the coefficients are fitted on TRAIN
    alone, and FILE is predicted with them.

    Example: microdollar validate new_runs.csv --fit past_runs.csv
    """
    from microdollar.run.validate import (
        SHIPPED,
        error_groups,
        fit_on,
        not_predicted,
        predict_all,
        predict_rules,
        same_rows,
    )
    from microdollar.spec.runs import read_runs

    if str(file) == "-" or str(train) == "-":
        raise UsageError("validate reads files, not standard input. Type: validate FILE.csv")
    runs = _of_metric(read_runs(file), metric)
    trained = None if train is None else read_runs(train)
    both = same_rows(runs, trained or [])
    if both:
        click.echo(
            f"warning: {len(both)} of {len(runs)} rows are also in {train}: not held out.", err=True
        )
    with Bar(quiet=as_json) as bar:
        bar(0, 0, "fitting")
        fits = SHIPPED if trained is None else fit_on(trained, runs)
        ours = predict_all(runs, fits, bar)
        rules = predict_rules(runs, bar) if peers else []
    groups, missing = error_groups(ours), not_predicted(ours)
    if as_json:
        print_json(_json(file, train, ours, groups, missing, rules, rows=rows))
        return
    predicted = sum(group.n for group in groups if group.by == "all")
    click.echo(f"{file}: {len(runs)} rows, {predicted} predicted")
    click.echo(SHIPPED_NOTE if train is None else f"Coefficients fitted on {train} alone.")
    _print_groups(groups)
    if peers:
        click.echo("\nThe usual rules on the same rows")
        _print_groups([each for each in error_groups(rules) if each.by == "all"])
    _print_missing(missing)
    if rows:
        _print_rows(ours)


def _of_metric(runs: "list[Run]", metric: str | None) -> "list[Run]":
    if metric is None:
        return runs
    wanted = metric.strip().casefold()
    kept = [run for run in runs if run.metric == wanted]
    if not kept:
        found = ", ".join(sorted({run.metric for run in runs}))
        raise UsageError(f"--metric {metric!r} is in no row. The file has: {found}.")
    return kept


def _json(
    file: Path,
    train: Path | None,
    ours: "list[Prediction]",
    groups: "list[ErrorGroup]",
    missing: "list[NotPredicted]",
    rules: "list[Prediction]",
    *,
    rows: bool,
) -> dict[str, Any]:
    from microdollar.run.validate import error_groups

    said: dict[str, Any] = {
        "file": str(file),
        "fitted_on": None if train is None else str(train),
        "rows": len(ours),
        "predicted": sum(each.predicted.value is not None for each in ours),
        "groups": [group.to_json() for group in groups],
        "not_predicted": [each.to_json() for each in missing],
    }
    if rules:
        said["usual_rules"] = [group.to_json() for group in error_groups(rules)]
    if rows:
        said["predictions"] = [each.to_json() for each in ours]
    return said


def _print_groups(groups: "list[ErrorGroup]") -> None:
    by = {"all": "All rows", "hardware": "By hardware", "model": "By model"}
    heading = None
    for group in sorted(groups, key=lambda each: list(by).index(each.by)):
        if group.by != heading:
            heading = group.by
            columns = " ".join(f"{name:>7}" for name in ("median", "mean", "bias", "in 80 %"))
            click.echo(f"\n{by[heading]:<66} {'rows':>5} {columns}")
        key = "" if group.by == "all" else _clean(group.key)
        numbers = (group.median_ape, group.mean_ape, group.bias, group.coverage80)
        words = " ".join(f"{_percent(number):>7}" for number in numbers)
        if group.right is not None:
            words = f"{_percent(group.right):>7} called right"
        click.echo(f"  {group.metric:<24} {key:<40.40} {group.n:>4} {words}")


def _print_missing(missing: "list[NotPredicted]") -> None:
    if not missing:
        return
    click.echo(f"\nNot predicted: {sum(len(each.rows) for each in missing)} rows")
    for each in missing[:_REASONS]:
        click.echo(f"  {len(each.rows):>5}  {each.metric}: {_clean(each.reason, 90)}")
    if len(missing) > _REASONS:
        left = sum(len(each.rows) for each in missing[_REASONS:])
        click.echo(f"  {left:>5}  for {len(missing) - _REASONS} other reasons (--json has all)")


def _print_rows(predictions: "list[Prediction]") -> None:
    click.echo(
        f"\n{'row':>5}  {'metric':<24} {'model':<{_LABEL}} {'measured':>10} {'predicted':>10}"
    )
    for each in predictions:
        run, value = each.run, each.predicted.value
        start = f"{run.row:>5}  {run.metric[:24]:<24} {_clean(run.label):<{_LABEL}}"
        if value is None:
            click.echo(f"{start} {run.value:>10.4g} {'-':>10}  {_clean(each.predicted.reason, 60)}")
            continue
        error = "" if each.error is None else f"{100 * each.error:+.1f} %"
        span = f"{each.predicted.low:.4g} to {each.predicted.high:.4g}"
        click.echo(f"{start} {run.value:>10.4g} {value:>10.4g}  {error:>9}  {span}")


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100 * ratio:.1f} %"


def _clean(text: str | None, length: int = _LABEL) -> str:
    """Text of a file, fit for a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text or "")[:length]
