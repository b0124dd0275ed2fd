"""``microdollar limits``: how far this is from what physics and the machine allow."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microdollar.cli.ledger_file import ledger_option, open_ledger
from microdollar.cli.limits_show import (
    show_attention,
    show_bound,
    show_devices,
    show_roofline,
    show_run,
)
from microdollar.cli.options import BYTES, FILE, json_option, print_json
from microdollar.errors import CannotEstimateError, UsageError

if TYPE_CHECKING:
    from microdollar.estimator.limits.attention import AttentionEnergy
    from microdollar.estimator.limits.operations import OperationEnergy
    from microdollar.estimator.limits.roofline import Ceiling, RooflinePoint
    from microdollar.run.limits import RunLimits
    from microdollar.spec.device import DeviceSpec

FORMS: tuple[tuple[str, dict[str, bool]], ...] = (
    ("scores, full square", {"causal": False}),
    ("scores, causal", {}),
    ("scores, causal, naive kernel", {"fused": False}),
    ("layer, causal", {"projections": True}),
)
"""Ways to count or to compute attention, by name."""
PICTURES = (".svg", ".png")


@click.command()
@click.option(
    "--temperature", "kelvin", type=float, default=300.0, metavar="K", show_default=True,
    help="Of the surroundings.",
)  # fmt: skip
@click.option(
    "--device", "names", multiple=True, metavar="NAME",
    help="In the catalog, or this; may be repeated.",
)  # fmt: skip
@click.option("--attention", metavar="D,N,LAYERS", help="Energy of attention, e.g. 12288,2048,96.")
@click.option("--run", "row", type=int, metavar="ID", help="Bits that a run of the ledger erased.")
@ledger_option
@click.option("--roofline", type=FILE, metavar="FILE", help="Draw this machine, as .svg or .png.")
@click.option("--crossover", type=FILE, metavar="FILE", help="With the layers of such a JSON file.")
@click.option(
    "--measure", type=BYTES, metavar="N", help="With short runs of each learner on N bytes."
)
@json_option
def limits(
    kelvin: float,
    names: tuple[str, ...],
    attention: str | None,
    row: int | None,
    path: Path | None,
    roofline: Path | None,
    crossover: Path | None,
    measure: int | None,
    as_json: bool,
) -> None:
    """Say how far a device or a run is from what physics allows.

    Landauer's bound on erasing a bit, the energy of an operation on each device and its factor to
    that bound; without other options that is all. Energies are of the device and have 80 %
    intervals in --json. Runs nothing but what --measure asks for.

    \b
    Examples:
      microdollar limits --device h100-sxm --attention 12288,2048,96
      microdollar limits --run 7
      microdollar limits --roofline roof.svg --measure 50k
    """  # noqa: D301
    from microdollar.estimator.limits.landauer import landauer_joules_per_bit

    if roofline is None and (crossover is not None or measure is not None):
        raise UsageError("--crossover and --measure are drawn: add --roofline FILE.svg.")
    if roofline is not None and roofline.suffix not in PICTURES:
        raise UsageError(f"{roofline} is neither .svg nor .png. Name the picture so.")
    said: dict[str, Any] = {
        "temperature_kelvin": kelvin,
        "joules_per_bit": landauer_joules_per_bit(kelvin),
        **dict.fromkeys(("devices", "attention", "run", "roofline")),
    }
    shown: list[Callable[[], None]] = [partial(show_bound, kelvin, said["joules_per_bit"])]
    devices = [_device(name) for name in names]
    if not (attention or row is not None or roofline):
        table = _devices(devices, kelvin)
        said["devices"] = [_device_json(one) for one in table]
        shown.append(partial(show_devices, table))
    if attention is not None:
        rows = _attention(attention, devices, kelvin)
        said["attention"] = [_attention_json(name, one) for name, one in rows]
        shown.append(partial(show_attention, rows))
    if row is not None:
        from microdollar.run.limits import run_limits

        found = run_limits(open_ledger(path).get(row), kelvin)
        said["run"] = _run_json(found)
        shown.append(partial(show_run, found))
    if roofline is not None:
        device, ceilings, points = _roofline(roofline, path, crossover, measure, quiet=as_json)
        said["roofline"] = {
            "file": str(roofline),
            "device": device,
            "ceilings": [asdict(one) for one in ceilings],
            "points": [_point_json(one, ceilings) for one in points],
        }
        shown.append(partial(show_roofline, ceilings, points, roofline))
    if as_json:
        print_json(said)
        return
    for show in shown:
        show()


def _device(name: str) -> "DeviceSpec":
    from microdollar.run.device import find_device

    return find_device(name, calibrate_if_missing=False, progress=lambda *_: None)


def _devices(devices: "list[DeviceSpec]", kelvin: float) -> "list[OperationEnergy]":
    """Every type of number of the named devices; else of each one that models are trained in."""
    from microdollar.estimator.limits.attention import PRECISIONS
    from microdollar.estimator.limits.operations import operation_energies
    from microdollar.spec.device_catalog import list_devices

    if devices:
        return [row for device in devices for row in operation_energies(device, kelvin)]
    found = []
    for device in list_devices():
        rows = {row.dtype: row for row in operation_energies(device, kelvin)}
        usual = next((dtype for dtype in PRECISIONS if dtype in rows), next(iter(rows)))
        found.append(rows[usual])
    return found


def _device_json(row: "OperationEnergy") -> dict[str, Any]:
    names = ("flops_per_second", "watts", "joules", "achieved_joules", "ratio", "sum_ratio")
    return {
        "device": row.device,
        "kind": row.kind,
        "dtype": row.dtype,
        **{name: getattr(row, name).to_json() for name in names},
    }


def _attention(
    text: str, devices: "list[DeviceSpec]", kelvin: float
) -> "list[tuple[str, AttentionEnergy]]":
    from microdollar.estimator.limits.attention import attention_energy, parse_case

    case = parse_case(text)
    rows, reasons = [], []
    for device in devices or [_device("h100-sxm")]:
        for name, form in FORMS:
            try:
                found = attention_energy(replace(case, **form), device, kelvin)
            except CannotEstimateError as error:
                reasons.append(error)
            else:
                rows.append((name, found))
    if not rows:
        raise reasons[0]
    return rows


def _attention_json(name: str, found: "AttentionEnergy") -> dict[str, Any]:
    counts = ("flops", "square_flops", "softmax_flops", "projection_flops")
    quantities = ("seconds", "joules", "facility_joules", "joules_per_flop")
    return {
        "form": name,
        "device": found.device,
        "dtype": found.dtype,
        **asdict(found.case),
        **{count: getattr(found, count) for count in counts},
        **{quantity: getattr(found, quantity).to_json() for quantity in quantities},
        "limit_joules": found.limit.limit_joules.to_json(),
        "ratio": found.limit.ratio.to_json(),
    }


def _run_json(found: "RunLimits") -> dict[str, Any]:
    return {
        "row": found.row,
        "learner": found.learner,
        "device": found.device,
        "train_bytes": found.train_bytes,
        "seconds": found.seconds.to_json(),
        "joules": found.joules.to_json(),
        "erased": [
            {
                "name": one.name,
                "says": one.says,
                "bits": one.bits.to_json(),
                "limit_joules": one.limit_joules.to_json(),
                "ratio": one.ratio.to_json(),
            }
            for one in found.erased
        ],
    }


def _roofline(
    target: Path, ledger: Path | None, crossover: Path | None, measure: int | None, *, quiet: bool
) -> "tuple[str, tuple[Ceiling, ...], tuple[RooflinePoint, ...]]":
    """Draw this machine; its name, its ceilings and what stands below them."""
    from microdollar.estimator.limits.roofline import machine_ceilings
    from microdollar.files import require_writable
    from microdollar.run.limits import crossover_points, ledger_points

    require_writable(target.parent)
    device = _device("this")
    ceilings = machine_ceilings(device)
    layers = crossover_points(crossover) if crossover is not None else ()
    if measure is None:
        learners = ledger_points(open_ledger(ledger).rows(), device.name)
    else:
        learners = _measured(measure, quiet=quiet)
    points = (*learners, *layers)
    if not points:
        raise UsageError(
            "the ledger has no run of a learner on this machine, so nothing stands below the roof. "
            "Add --measure 50k, or --crossover FILE.json."
        )
    _draw(target, device.name, ceilings, points)
    return device.name, ceilings, points


def _measured(size: int, *, quiet: bool) -> "tuple[RooflinePoint, ...]":
    from microdollar.cli.progress import Bar
    from microdollar.learn.corpus import load_corpus
    from microdollar.run.limits import measured_points

    data = load_corpus("python-docs", limit=size).data
    with Bar(quiet=quiet) as bar:
        return measured_points(data, progress=bar)


def _point_json(point: "RooflinePoint", ceilings: "tuple[Ceiling, ...]") -> dict[str, Any]:
    from microdollar.estimator.limits.roofline import attainable

    return {
        **asdict(point),
        "intensity": point.intensity,
        "flops_per_second": point.flops_per_second,
        "share_of_roof": point.flops_per_second / attainable(ceilings, point),
    }


def _draw(
    target: Path,
    title: str,
    ceilings: "tuple[Ceiling, ...]",
    points: "tuple[RooflinePoint, ...]",
) -> None:
    from microdollar.files import whole_file
    from microdollar.report.roofline import roofline_figure, roofline_svg

    if target.suffix == ".svg":
        text = roofline_svg(title, ceilings, points)
        with whole_file(target) as out:
            out.write(text)
        return
    figure = roofline_figure(title, ceilings, points, margin=16)
    with whole_file(target, "wb") as out:
        figure.savefig(out, format="png", dpi=144)
