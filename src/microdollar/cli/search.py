"""``microdollar search``: what fits, what is cheapest, what would save, what matters."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from microdollar.cli.numbers import describe_quantity
from microdollar.cli.options import COUNT, FILE, json_option, print_json
from microdollar.cli.plan_options import plan_options, read_plan
from microdollar.cli.progress import Bar
from microdollar.errors import UsageError
from microdollar.units import (
    format_bytes,
    format_dollars,
    format_seconds,
    format_si,
    parse_count,
    parse_duration,
)

if TYPE_CHECKING:
    from microdollar.estimator.search import Trial
    from microdollar.spec import DeviceSpec, TrainingPlan

DEVICE_COUNTS = (1, 8, 64, 512)


@click.group()
def search() -> None:
    """Ask the other way round: what fits, what is cheapest, what would save.

    Each takes a MODEL and the options of estimate. Nothing is run.
    """


def _command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """A subcommand with MODEL, --device, the plan's options and --json."""

    def wrap(function: Callable[..., None]) -> click.Command:
        command = json_option(plan_options(function))
        command = click.option("--device", metavar="NAME", help="In the catalog.")(command)
        return search.command(name)(click.argument("model", required=False)(command))

    return wrap


def _training_plan(model: str | None, device: str | None, values: dict[str, Any]) -> "TrainingPlan":
    from microdollar.spec import TrainingPlan

    plan = read_plan(model, device, values)
    if not isinstance(plan, TrainingPlan):
        raise UsageError("search takes a plan that trains a model of layers.")
    return plan


def _device(plan: "TrainingPlan") -> "DeviceSpec":
    from microdollar.run.device import find_device

    return find_device(plan.device, calibrate_if_missing=True, progress=lambda *_: None)


@_command("largest")
@click.option(
    "--of",
    "dimension",
    type=click.Choice(["batch", "sequence", "model"]),
    default="batch",
    show_default=True,
    help="What grows; everything else stays.",
)
@click.option(
    "--risk", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.01,
    show_default=True, help="Highest probability of running out of memory.",
)  # fmt: skip
def largest_command(
    model: str | None,
    device: str | None,
    dimension: str,
    risk: float,
    as_json: bool,
    **values: Any,  # noqa: ANN401
) -> None:
    """The largest batch, sequence or model that fits.

    Example: microdollar search largest llama-3-8b --device a100-80gb --count 8 --zero 3
    """
    from microdollar.estimator.search import largest, try_plan
    from microdollar.estimator.search.largest import Dimension

    plan = _training_plan(model, device, values)
    where = _device(plan)
    found = largest(plan, where, cast(Dimension, dimension), risk=risk)
    trial = try_plan(found, where)
    sizes = {
        "micro_batch": found.train.micro_batch,
        "sequence": found.train.sequence,
        "hidden": found.model.hidden,
        "layers": found.model.layers,
    }
    if as_json:
        print_json({"largest": dimension, **sizes, "trial": trial.to_json()})
        return
    click.echo(", ".join(f"{name.replace('_', '-')} {size:,}" for name, size in sizes.items()))
    _print_trials([trial])


@_command("layouts")
@click.option("--best", type=COUNT, default=10, show_default=True, metavar="N", help="To show.")
def layouts_command(
    model: str | None,
    device: str | None,
    best: int,
    as_json: bool,
    **values: Any,  # noqa: ANN401
) -> None:
    """The fastest ways to spread a plan over its devices, of all that fit.

    Example: microdollar search layouts llama-3-70b --device h100-sxm --count 64 --batch 512
    """
    from microdollar.estimator.search import best_layouts, candidate_layouts

    plan = _training_plan(model, device, values)
    where, count = _device(plan), plan.layout.devices
    total = sum(1 for _ in candidate_layouts(plan, count))
    with Bar(quiet=as_json) as bar:
        trials = best_layouts(
            plan, where, count, best=best, progress=lambda done: bar(done, total, "layouts")
        )
    if as_json:
        print_json({"layouts": total, "best": [trial.to_json() for trial in trials]})
        return
    click.echo(f"{total:,} layouts on {count:,} x {where.name}", err=True)
    if not trials:
        click.echo("None of them fits. Give more devices, or a smaller --seq or model.")
    _print_trials(trials)


@_command("devices")
@click.option("--among", metavar="A,B", help="Devices.  [default: all with a price]")
@click.option("--counts", metavar="1,8,64", help="How many of them.  [default: 1,8,64,512]")
@click.option("--deadline", metavar="TIME", help="Longest the run may take, e.g. 12h or 7d.")
@click.option(
    "--budget", type=click.FloatRange(0, min_open=True), metavar="DOLLARS", help="Most it may cost."
)
def devices_command(
    model: str | None,
    device: str | None,
    among: str | None,
    counts: str | None,
    deadline: str | None,
    budget: float | None,
    as_json: bool,
    **values: Any,  # noqa: ANN401
) -> None:
    """The cheapest device, and how many of it; with a budget alone, the fastest within it.

    Example: microdollar search devices gpt2-xl --tokens 10G --batch 512 --deadline 3d
    """
    from microdollar.estimator.search import cheapest
    from microdollar.spec.device_catalog import list_devices, load_device

    names = [name for name in (among or device or "").split(",") if name.strip()]
    devices = [load_device(name) for name in names] or list(list_devices())
    # In bfloat16 where any of them has it; those without take float16.
    usual = next((one for one in devices if "bfloat16" in one.flops_per_second), devices[0])
    plan = _training_plan(model, usual.name, values)
    sizes = [parse_count(size) for size in counts.split(",")] if counts else list(DEVICE_COUNTS)
    total = len(devices) * len(sizes)
    with Bar(quiet=as_json) as bar:
        offers = cheapest(
            plan,
            devices,
            sizes,
            deadline_seconds=None if deadline is None else parse_duration(deadline),
            budget_dollars=budget,
            progress=lambda done: bar(done, total, "devices"),
        )
    if as_json:
        rows = [
            {
                "device": offer.device.name,
                "trial": None if offer.trial is None else offer.trial.to_json(),
                "reason": offer.reason,
            }
            for offer in offers
        ]
        print_json({"offers": rows})
        return
    trials = [offer.trial for offer in offers if offer.trial is not None]
    if not trials:
        click.echo("None will do. Give more of them (--counts), more time or a larger budget.")
    _print_trials(trials)
    reasons: dict[str, list[str]] = {}
    for offer in offers:
        if offer.trial is None:
            reasons.setdefault(offer.reason.replace(offer.device.name, "it"), []).append(
                offer.device.name
            )
    for reason, left_out in reasons.items():
        click.echo(f"{len(left_out)} left out: {reason}", err=True)


@_command("savings")
def savings_command(
    model: str | None,
    device: str | None,
    as_json: bool,
    **values: Any,  # noqa: ANN401
) -> None:
    """What each change would save: optimizer, recomputation, vocabulary, attention, LoRA, ZeRO.

    Quality is not predicted; a caution says where it would change.

    Example: microdollar search savings gpt2-xl --device a100-80gb --batch 8 --seq 1024
    """
    from microdollar.estimator.search import savings

    plan = _training_plan(model, device, values)
    found = savings(plan, _device(plan))
    if as_json:
        rows = [
            {
                "change": saving.change,
                "memory_ratio": saving.memory_ratio,
                "seconds_ratio": saving.seconds_ratio,
                "dollars_ratio": saving.dollars_ratio,
                "caution": saving.caution,
                "trial": saving.trial.to_json(),
            }
            for saving in found
        ]
        print_json({"savings": rows})
        return
    click.echo(f"{'change':<28}{'time':>8}{'memory':>9}{'price':>8}")
    for saving in found:
        ratios = (saving.seconds_ratio, saving.memory_ratio, saving.dollars_ratio)
        time, memory, price = (_percent(ratio) for ratio in ratios)
        click.echo(f"{saving.change:<28}{time:>8}{memory:>9}{price:>8}  {saving.caution}".rstrip())


def _percent(ratio: float | None) -> str:
    return "?" if ratio is None else f"{100 * (ratio - 1):+.1f} %"


@_command("sweep")
@click.option(
    "--over",
    "axes",
    multiple=True,
    required=True,
    metavar="SIZE=A,B,...",
    help="hidden, layers, vocab, sequence, batch, micro_batch, tokens or count; twice for a grid.",
)
@click.option("--svg", "picture", type=FILE, metavar="FILE", help="Draw it, over the first size.")
def sweep_command(
    model: str | None,
    device: str | None,
    axes: tuple[str, ...],
    picture: Path | None,
    as_json: bool,
    **values: Any,  # noqa: ANN401
) -> None:
    """Price a plan over a grid of sizes, as a table and a picture.

    Example: microdollar search sweep gpt2 --device l4 --over sequence=512,1024,2048,4096
    """
    from microdollar.estimator.search import sweep

    plan = _training_plan(model, device, values)
    points = list(sweep(plan, _device(plan), dict(_axis(text) for text in axes)))
    if picture is not None:
        from microdollar.files import whole_file
        from microdollar.report.sweep import sweep_svg

        times = [
            (point, None if isinstance(trial, str) else trial.seconds) for point, trial in points
        ]
        drawing = sweep_svg(f"{plan.model.name} on {plan.device}", times)
        with whole_file(picture) as file:
            file.write(drawing)
    if as_json:
        rows = [
            {**point, "trial": None, "reason": trial}
            if isinstance(trial, str)
            else {**point, "trial": trial.to_json(), "reason": None}
            for point, trial in points
        ]
        print_json({"points": rows})
        return
    names = list(points[0][0])
    head = "".join(f"{name:>14}" for name in names)
    click.echo(f"{head}{'time':>14}{'memory':>12}{'fits':>8}{'price':>14}")
    for point, trial in points:
        sizes = "".join(f"{size:>14,}" for size in point.values())
        click.echo(sizes + (f"  {trial}" if isinstance(trial, str) else _trial_cells(trial)))


def _axis(text: str) -> tuple[str, list[int]]:
    name, equals, sizes = text.partition("=")
    if not equals or not sizes.strip():
        raise UsageError(f"--over {text!r} is not SIZE=A,B,... Type for example: hidden=1024,2048")
    return name.strip().replace("-", "_"), [parse_count(size) for size in sizes.split(",")]


def _trial_cells(trial: "Trial") -> str:
    seconds, memory, dollars = trial.seconds.value, trial.process_bytes.value, trial.dollars.value
    fits = "?" if trial.fits is None else f"{trial.fits:.0%}"
    return (
        f"{'?' if seconds is None else format_seconds(seconds):>14}"
        f"{'?' if memory is None else format_bytes(memory):>12}{fits:>8}"
        f"{'?' if dollars is None else format_dollars(dollars):>14}"
    )


@_command("sensitivity")
def sensitivity_command(
    model: str | None,
    device: str | None,
    as_json: bool,
    **values: Any,  # noqa: ANN401
) -> None:
    """What the answer depends on most: uncertain numbers, and the exponent of each size.

    Example: microdollar search sensitivity rl-token-compression
    """
    from dataclasses import asdict

    from microdollar.estimator.search import elasticities, influences
    from microdollar.estimator.training import estimate_training

    plan = _training_plan(model, device, values)
    where = _device(plan)
    ranked = influences(estimate_training(plan, where))
    exponents = elasticities(plan, where)
    if as_json:
        print_json(
            {
                "influences": [asdict(one) for one in ranked],
                "exponents": [asdict(one) for one in exponents],
            }
        )
        return
    click.echo("Over its own 80 % interval, this alone moves the answer by a factor of")
    for one in ranked:
        click.echo(f"  {one.factor:6.2f}  {one.answer:<8}  {one.assumption}")
    if not exponents:
        click.echo("\nGive --tokens to see how the time of the run grows with each size.")
        return
    click.echo("\nTime of the run ~ size ** exponent")
    for size in exponents:
        exponent = "?" if size.exponent is None else f"{size.exponent:.2f}"
        claimed = "" if size.claimed is None else f"claimed {size.claimed:g}"
        click.echo(f"  {exponent:>6}  {size.size:<22} {claimed:<13} {size.reason}".rstrip())


def _print_trials(trials: "Sequence[Trial]") -> None:
    if trials:
        click.echo(
            f"{'devices':<39} {'layout':<16} {'micro-batch':>11}  {'recompute':<9}{'time':>14}"
            f"{'memory':>12}{'fits':>8}{'price':>14}  speed"
        )
    for trial in trials:
        layout, train = trial.plan.layout, trial.plan.train
        degrees = [("tp", layout.tp), ("pp", layout.pp), ("dp", layout.dp), ("zero", layout.zero)]
        said = " ".join(f"{name}{size}" for name, size in degrees if size > 1 or name == "dp")
        rate = trial.tokens_per_second
        click.echo(
            f"{layout.devices:>6,} x {trial.device.name:<30.30} {said:<16} "
            f"{train.micro_batch:>11,}  {train.recompute:<9}"
            f"{_trial_cells(trial)}  {'' if rate is None else format_si(rate, 'token/s')}"
        )
    for trial in trials[:1]:
        click.echo(f"time of the first: {describe_quantity(trial.seconds, format_seconds).strip()}")
