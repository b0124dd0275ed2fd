"""Write docs/limits.md and docs/roofline.svg: how far machines are from what physics allows.

    python docs/limits.py

Every number of the page is computed: from the device catalog, from the formulas of
``microdollar.estimator.limits``, from ``benchmarks/enwik8/results.json`` (measured learners) and
from ``benchmarks/limits/roofline.json``, which is what

    microdollar limits --roofline roof.svg --measure 100k --crossover crossover.json --json

printed on the machine that is drawn. ``tests/cli/test_limits_page.py`` fails while the page or the
picture is out of date.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from microdollar.claims import judge
from microdollar.claims.sources.limits import DOCUMENT, limit_rows
from microdollar.claims.sources.limits_figures import GPT3_FLOPS, gpt3_joules
from microdollar.claims.text import counts, ours_text, verdict_text
from microdollar.claims.world import World
from microdollar.cost import Cost, Quantity
from microdollar.estimator.limits.attention import AttentionCase, attention_energy
from microdollar.estimator.limits.erased import Erased, TrainingRun, erased_bits
from microdollar.estimator.limits.landauer import ROOM_KELVIN, landauer_joules_per_bit
from microdollar.estimator.limits.operations import OperationEnergy, operation_energies
from microdollar.estimator.limits.roofline import Ceiling, RooflinePoint, attainable
from microdollar.ledger import Record
from microdollar.report.roofline import roofline_svg
from microdollar.run.device import BUSY_WATTS_PER_CORE, IDLE_WATTS_PER_CORE
from microdollar.run.limits import run_limits
from microdollar.spec.device_catalog import list_devices, load_device
from microdollar.spec.model_catalog import load_model_spec
from microdollar.spec.parameters import count_parameters
from microdollar.units import format_joules, format_seconds, format_si

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "limits.md"
PICTURE = ROOT / "docs" / "roofline.svg"
MEASURED = ROOT / "benchmarks" / "enwik8" / "results.json"
ROOF = ROOT / "benchmarks" / "limits" / "roofline.json"

SHOWN = (
    "v100-32gb", "a100-80gb", "h100-sxm", "b200-sxm", "l4", "rtx-4090", "mi300x", "gaudi3",
    "tpu-v4", "tpu-v5e", "trainium2", "m2", "xeon-8380", "xeon-8480",
)  # fmt: skip
"""Devices of the table, in the catalog's words."""
TYPES = ("float32", "bfloat16", "float8", "float4")
ATTENTION_DEVICES = ("v100-32gb", "h100-sxm", "tpu-v4")
LENGTHS = (2048, 24_576, 131_072)
LEARNERS = ("satrnn", "ngram", "rnn-bptt")
MODEL = "gpt3-175b"
GPT3_TOKENS, GPT3_BATCH_TOKENS = 300e9, 3.2e6
"""arXiv:2005.14165, table 2.1."""
TOKEN_BYTES = 4
"""Of English text (assumed)."""
STATE_BYTES = 14
"""Of a weight in 16 bits, its copy in 32 and Adam's two moments (arXiv:1910.02054, section 3.1)."""
WEIGHT_BYTES = 2

_INTRODUCTION = """# Limits

How far is a computation from what physics asks of it, and from what its machine allows? This page
is written by `python docs/limits.py`; nothing in it is typed in but sourced constants and what the
document claims. `microdollar limits` gives each number for your device, your size and your run.

**In short**: an operation in bfloat16 takes {best} times the least energy of erasing a bit on the
best device of the catalog at its peak ({device}); in the training of GPT-3 it took {gpt3} times
that least energy, hosts included.

Erasing a bit at temperature T gives off at least k T ln 2 (Landauer 1961), {bit} at {kelvin:g} K,
on any machine. What counts as an erased bit is a convention, and the distance depends on it more
than on the device, so each number says which it took:

| convention | bits erased |
|---|---|
| one bit | 1 for each operation; the most lenient |
| half a sum | 16 for each operation: two of them, a multiply-accumulate, overwrite 32 bits |
| reversible | none for arithmetic, which can be undone (Bennett 1973): what the result replaces |

An operation is an addition or a multiplication; a multiply-accumulate is two."""


def page() -> str:
    """The whole page."""
    best = _least([row for row in _known_operations() if row.dtype == "bfloat16"])
    introduction = _INTRODUCTION.format(
        best=_times(best.ratio),
        device=best.device,
        gpt3=_times(_gpt3()[1][3].ratio),
        bit=_joules(landauer_joules_per_bit()),
        kelvin=ROOM_KELVIN,
    )
    parts = (
        [introduction],
        _devices(),
        _attention(),
        _document(),
        _runs(),
        _roof(),
        _COMMANDS,
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _devices() -> Iterator[str]:
    yield "## An operation on each device\n"
    yield (
        "Busy watts of the device alone (0.85 of the listed power, 0.54 to 1.10 of it in 80 % of "
        "cases) over the dense peak of its vendor; *measured* is over the best rate that anyone "
        "measured on products. `microdollar limits` lists all devices, `--device NAME` all types "
        "of one.\n"
    )
    yield "| device | type | J, at peak | 80 % interval | J, measured | x one bit | x half a sum |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for name in SHOWN:
        types = operation_energies(load_device(name))
        # float16 has the rate of bfloat16 where there are both.
        sixteen = "bfloat16" if any(row.dtype == "bfloat16" for row in types) else "float16"
        for row in types:
            if row.dtype in (*TYPES, sixteen) and row.joules.value is not None:
                yield _device_row(row)
    rows = [row for one in list_devices() for row in operation_energies(one)]
    known = _known_operations()
    least, best = _least(known), _least([row for row in known if row.dtype == "bfloat16"])
    unknown = {row.device for row in rows} - {row.device for row in known}
    yield (
        f"\nThe least of {len(known)} rates in the catalog is {_of(least.joules)} "
        f"({least.device}, {least.dtype}), {_times(least.ratio)} times one bit; in bfloat16 "
        f"{_of(best.joules)} ({best.device}), {_times(best.ratio)} times. Of {len(unknown)} "
        "devices no power or no rate is known, so they have no number."
    )


def _known_operations() -> list[OperationEnergy]:
    rows = [row for one in list_devices() for row in operation_energies(one)]
    return [row for row in rows if row.joules.value is not None]


def _least(rows: list[OperationEnergy]) -> OperationEnergy:
    return min(rows, key=lambda row: row.joules.value or 0)


def _device_row(row: OperationEnergy) -> str:
    assert row.joules.low is not None and row.joules.high is not None
    cells = (
        row.device,
        str(row.dtype),
        _of(row.joules),
        f"{_joules(row.joules.low)} to {_joules(row.joules.high)}",
        _of(row.achieved_joules),
        _times(row.ratio),
        _times(row.sum_ratio),
    )
    return f"| {' | '.join(cells)} |"


def _attention() -> Iterator[str]:
    model = load_model_spec(MODEL)
    yield "## Attention\n"
    yield (
        f"GPT-3's {model.layers} layers of width {model.hidden:,}, forward over one sequence; the "
        "scores and their use over the full square, 4 N² d operations a layer, and the layer with "
        "its four projections, 8 N d² more. Device alone, 80 % interval.\n"
    )
    yield "| positions | device | scores | joules | layer | joules | scores' share |"
    yield "|--:|---|--:|--:|--:|--:|--:|"
    for length in LENGTHS:
        for name in ATTENTION_DEVICES:
            scores, whole = (
                attention_energy(
                    AttentionCase(
                        width=model.hidden,
                        length=length,
                        layers=model.layers,
                        causal=False,
                        projections=projections,
                    ),
                    load_device(name),
                )
                for projections in (False, True)
            )
            cells = (
                f"{length:,}",
                scores.device,
                format_si(scores.square_flops, "FLOP"),
                _spanned(scores.joules),
                format_si(whole.square_flops + whole.projection_flops, "FLOP"),
                _spanned(whole.joules),
                f"{whole.square_flops / (whole.square_flops + whole.projection_flops):.0%}",
            )
            yield f"| {' | '.join(cells)} |"
    yield (
        f"\nThe squares reach the projections at N = 2 d, {2 * model.hidden:,} positions; with the "
        "perceptron behind each layer, 16 N d² more, at 6 d. Below that the bill of a request is "
        "that of its weights."
    )


def _document() -> Iterator[str]:
    checked = [judge(*row) for row in limit_rows(DOCUMENT, World())]
    said = ", ".join(f"{count} *{verdict}*" for verdict, count in counts(checked).items() if count)
    yield "## What the document says of it\n"
    yield (
        "The reference document on efficient reasoning (chapters I, II and X) states "
        f"{len(checked)} figures of energy: {said}. They are rows of [the claims](claims.md"
        f"#{DOCUMENT}), `microdollar claims --document {DOCUMENT}`. Ours are for an H100 where a "
        "device matters.\n"
    )
    yield "| | the document | ours | verdict | how |"
    yield "|---|---|--:|---|---|"
    for one in checked:
        yield (
            f"| {one.claim.section} | {one.claim.claim} | {ours_text(one)} | {verdict_text(one)} | "
            f"{one.finding.how} |"
        )


def _runs() -> Iterator[str]:
    results = json.loads(MEASURED.read_text("utf-8"))
    yield "## Bits that training erases\n"
    yield (
        "Of a run, by five conventions. The first two bound the task, on any machine: *text kept* "
        "are the weights' own bits, which take the place of what was in memory; *text dropped* "
        "adds what the weights don't know of the text. The others bound a way of doing it. The "
        f"learners are those of [the benchmark]({_relative(MEASURED)}); no counter of energy was "
        "there, so their joules are assumed watts times measured seconds. GPT-3's are of measured "
        "power (arXiv:2104.10350). Each cell: bits, and joules used over the bound.\n"
    )
    yield (
        "| run | joules | text kept | text dropped | state, every step | each operation | "
        "each result written |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for row in results["rows"]:
        if row["learner"] in LEARNERS:
            found = run_limits(_record(row, results))
            yield _run_row(
                f"{row['label']}, {format_seconds(row['measured']['seconds']['value'])}",
                found.joules,
                found.erased,
            )
    joules, erased = _gpt3()
    yield _run_row("GPT-3", joules, erased)
    bits = {one.name: one.bits.value or 0.0 for one in erased}
    yield (
        f"\nMost of the distance is not the device's: GPT-3's training did "
        f"{bits['operations'] / bits['kept']:.1e} operations for each bit of its weights, and each "
        f"operation took {_times(erased[3].ratio)} times one bit's bound. A better way of learning "
        "moves the first number, a better device the second."
    )


def _record(row: dict[str, Any], results: dict[str, Any]) -> Record:
    """A measured row of the benchmark as the ledger has it, with assumed watts."""
    cores = results["device"]["cores"]
    watts = {
        name: Quantity(value=middle * cores, low=low * cores, high=high * cores, basis="assumed")
        for name, (low, middle, high) in (
            ("idle_watts", IDLE_WATTS_PER_CORE),
            ("busy_watts", BUSY_WATTS_PER_CORE),
        )
    }
    return Record(
        learner=row["learner"],
        plan={"train_bytes": results["corpus"]["train_bytes"], "options": row["options"]},
        device={
            "name": results["device"]["name"],
            "cores": cores,
            **{name: quantity.to_json() for name, quantity in watts.items()},
        },
        measured=Cost.from_json(row["measured"]),
        scores={name: row[name] for name in ("train_bits_per_byte", "test_bits_per_byte")},
    )


def _gpt3() -> tuple[Quantity, tuple[Erased, ...]]:
    weights = count_parameters(load_model_spec(MODEL)).total
    joules = Quantity(value=gpt3_joules(), basis="sampled")
    run = TrainingRun(
        flops=GPT3_FLOPS,
        int_ops=None,
        data_bytes=round(GPT3_TOKENS * TOKEN_BYTES),
        weight_bytes=weights * WEIGHT_BYTES,
        state_bytes=weights * STATE_BYTES,
        steps=GPT3_TOKENS / GPT3_BATCH_TOKENS,
    )
    return joules, erased_bits(run, joules)


def _run_row(name: str, joules: Quantity, erased: tuple[Erased, ...]) -> str:
    cells = [
        "–" if one.bits.value is None else f"{format_si(one.bits.value)}: {_times(one.ratio)}"
        for one in erased
    ]
    return f"| {name} | {_of(joules)} | {' | '.join(cells)} |"


def _roof() -> Iterator[str]:
    roof = json.loads(ROOF.read_text("utf-8"))["roofline"]
    ceilings, points = _drawn(roof)
    ends: dict[tuple[str, str], RooflinePoint] = {}
    for point in sorted(points, key=lambda one: one.size):
        ends[point.group, point.name] = point
    yield "## The roof of a machine\n"
    yield (
        f"![Roofline of {roof['device']}: what it can do at each number of operations for a byte, "
        "and what learners and sequence layers do](roofline.svg)\n"
    )
    yield (
        "One thread; layers with their projections. Bytes are those that move if no cache helps, "
        "64 for each random access; a computation that stays in a cache can lie above the line of "
        "large arrays. Integer operations, nearly all of what counting does, are not on it. The "
        "roof of a row is the "
        "lower of the products of its type and its intensity times the fastest bandwidth.\n"
    )
    yield "| what | of | positions | FLOP for a byte | achieved | of the roof |"
    yield "|---|---|--:|--:|--:|--:|"
    groups = list(dict.fromkeys(point.group for point in points))
    names = list(dict.fromkeys(point.name for point in points))
    for one in sorted(
        ends.values(), key=lambda one: (groups.index(one.group), names.index(one.name))
    ):
        size = f"{one.size:,}" if one.size else ""
        share = one.flops_per_second / attainable(ceilings, one)
        yield (
            f"| {one.name} | {one.group} | {size} | {one.intensity:.3g} | "
            f"{format_si(one.flops_per_second, 'FLOP/s')} | {share:.1%} |"
        )


def picture() -> str:
    """The figure, drawn from the measured numbers."""
    roof = json.loads(ROOF.read_text("utf-8"))["roofline"]
    return roofline_svg(roof["device"], *_drawn(roof))


def _drawn(roof: dict[str, Any]) -> tuple[tuple[Ceiling, ...], tuple[RooflinePoint, ...]]:
    derived = ("intensity", "flops_per_second", "share_of_roof")
    return (
        tuple(Ceiling(**one) for one in roof["ceilings"]),
        tuple(
            RooflinePoint(**{key: value for key, value in one.items() if key not in derived})
            for one in roof["points"]
        ),
    )


_COMMANDS = (
    "## How to get each number\n",
    "| number | command |",
    "|---|---|",
    "| the bound, and an operation on every device | `microdollar limits` |",
    "| all types of one device, at 20 °C | `microdollar limits --device h100-sxm "
    "--temperature 293.15` |",
    "| attention of any size, four ways | `microdollar limits --attention 12288,2048,96 "
    "--device v100-32gb` |",
    "| the document's figures | `microdollar claims --document efficient-reasoning` |",
    "| bits that a run of yours erased | `microdollar limits --run 7` (a row of "
    "`microdollar ledger list`) |",
    "| the picture, of your ledger's runs | `microdollar limits --roofline roof.svg` |",
    "| the same with every learner, measured now | `microdollar limits --roofline roof.svg "
    "--measure 100k` |",
    "| and with every sequence layer | `microdollar crossover -o crossover.json`, then "
    "`microdollar limits --roofline roof.svg --crossover crossover.json` |",
)


def _relative(path: Path) -> str:
    return f"../{path.relative_to(ROOT).as_posix()}"


def _joules(value: float) -> str:
    return format_joules(value) if value >= 1e-15 else f"{value:.2e} J"


def _of(quantity: Quantity) -> str:
    return "–" if quantity.value is None else _joules(quantity.value)


def _spanned(quantity: Quantity) -> str:
    if quantity.value is None or quantity.low is None or quantity.high is None:
        return "–"
    return f"{_of(quantity)} ({_joules(quantity.low)} to {_joules(quantity.high)})"


def _times(quantity: Quantity) -> str:
    return "–" if quantity.value is None else f"{quantity.value:.1e}".replace("e+", "e")


def main() -> None:
    """Write the files."""
    PAGE.write_text(page(), encoding="utf-8")
    PICTURE.write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
