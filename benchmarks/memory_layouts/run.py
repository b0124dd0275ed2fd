"""Memory of published training layouts, predicted without the shape that is tested.

    python benchmarks/memory_layouts/run.py DATA [--write-fits]

DATA is the folder with ``published_runs.csv``. The BLOOM rows (nvidia-smi, gigabytes read as GiB)
are predicted by leave-one-shape-out: a shape is (hidden, layers), its coefficients are fitted on
the rows of all other shapes. Rows of other sources are compared and never fitted. Results go to
``results.json`` beside this file; ``--write-fits`` writes the coefficients of all BLOOM rows to
the package.
"""

import json
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from microdollar.estimator.memory import MemoryFit, fit_memory, training_memory
from microdollar.estimator.parts import MemoryEstimate
from microdollar.spec.device_catalog import load_device
from microdollar.spec.runs import Run, read_runs

FITS = Path(__file__).parents[2] / "src/microdollar/estimator/memory/fits.toml"
NOTHING = MemoryFit()
GIB = 2**30


def main(data: Path, *, write_fits: bool) -> None:
    runs = [run for run in read_runs(data / "published_runs.csv") if run.plan is not None]
    bloom = [run for run in runs if run.metric == "peak_memory_nvidia_smi"]
    oom = [run for run in runs if run.metric == "oom"]
    full = fit(bloom)
    if write_fits:
        FITS.write_text(fits_text(full), "utf-8")
    results = {
        "command": "python benchmarks/memory_layouts/run.py DATA",
        "bloom": bloom_results(bloom, oom),
        "chronicles": chronicles(full),
        "few_rows": few_rows(bloom),
        "korthikanti": korthikanti(runs),
        "torchtitan": torchtitan(runs),
        "modded_nanogpt_reserved_over_allocated": cache_ratio(data),
    }
    text = json.dumps(results, indent=1) + "\n"
    (Path(__file__).parent / "results.json").write_text(text, "utf-8")
    print(text)


def shape(run: Run) -> tuple[int, int]:
    assert run.plan is not None
    return run.plan.model.hidden, run.plan.model.layers


def fit(runs: Sequence[Run]) -> MemoryFit:
    return fit_memory(
        [(r.plan, load_device(r.plan.device), r.value, "process") for r in runs if r.plan]
    )


def predict(run: Run, found: MemoryFit) -> MemoryEstimate:
    assert run.plan is not None
    return training_memory(run.plan, load_device(run.plan.device), found)


def bloom_results(bloom: list[Run], oom: list[Run]) -> dict[str, object]:
    held_out: list[tuple[Run, MemoryEstimate]] = []
    for left_out in sorted({shape(run) for run in (*bloom, *oom)}):
        found = fit([run for run in bloom if shape(run) != left_out])
        held_out += [(r, predict(r, found)) for r in (*bloom, *oom) if shape(r) == left_out]
    ran = [(run, memory) for run, memory in held_out if run.metric != "oom"]
    ratios = [(memory.process.value or 0) / run.value for run, memory in ran]
    prior = [(predict(run, NOTHING).process.value or 0) / run.value for run in bloom]
    textbook = [textbook_bytes(run) / run.value for run in bloom]
    return {
        "rows": len(ran),
        "shapes": len({shape(run) for run in bloom}),
        "leave_one_shape_out": errors(ratios),
        "coverage80": sum(m.process.contains(r.value) for r, m in ran) / len(ran),
        "closed_form_without_rows": errors(prior),
        "textbook_sum": errors(textbook),
        "ran_but_called_oom": sum((m.fits or 0) < 0.5 for _, m in ran),
        "oom": [
            {
                "config": run.config,
                "shape": shape(run),
                "process_gib": round((memory.process.value or 0) / GIB, 1),
                "fits": round(memory.fits or 0.0, 3),
            }
            for run, memory in held_out
            if run.metric == "oom"
        ],
        "worst": [
            {
                "config": run.config,
                "shape": shape(run),
                "gib": run.value / GIB,
                "predicted_gib": round((memory.process.value or 0) / GIB, 1),
            }
            for run, memory in sorted(
                ran, key=lambda p: -abs((p[1].process.value or 0) / p[0].value - 1)
            )[:8]
        ],
    }


def chronicles(full: MemoryFit) -> dict[str, object]:
    """Layouts of the same chronicles that ``published_runs.csv`` lacks; never fitted."""
    runs = read_runs(Path(__file__).parent / "chronicles.csv")
    found = [(run, predict(run, full)) for run in runs]
    ran = [(run, memory) for run, memory in found if run.metric != "oom"]
    return {
        "rows": len(ran),
        "with_all_bloom_rows": errors([(m.process.value or 0) / r.value for r, m in ran]),
        "closed_form_without_rows": errors(
            [(predict(r, NOTHING).process.value or 0) / r.value for r, _ in ran]
        ),
        "coverage80": sum(m.process.contains(r.value) for r, m in ran) / len(ran),
        "ran_but_called_oom": sum((m.fits or 0) < 0.5 for _, m in ran),
        "oom_fits": [round(m.fits or 0.0, 3) for r, m in found if r.metric == "oom"],
    }


def textbook_bytes(run: Run) -> float:
    """The field's usual sum: even stages, 16 bytes a parameter, Korthikanti, 1.5 GiB."""
    assert run.plan is not None
    model, train, layout = run.plan.model, run.plan.train, run.plan.layout
    h, t, p = model.hidden, layout.tp, layout.pp
    weights = 12 * h * h * model.layers / (t * p) + model.vocab * h / t
    tokens = train.micro_batch * train.sequence
    inputs = 2 * tokens * h * model.layers / p * min(p, run.plan.micro_steps)
    live = tokens * h * (34 / t + 10)
    states = weights * (2 + (train.gradient_bytes or 2) + 12 / layout.dp)
    return states + inputs + live + 6 * tokens * model.vocab / t + 1.5 * GIB


def errors(ratios: Sequence[float]) -> dict[str, float]:
    off = [abs(ratio - 1) for ratio in ratios]
    return {
        "mean": round(statistics.mean(off), 4),
        "median": round(statistics.median(off), 4),
        "max": round(max(off), 4),
        "bias": round(statistics.mean(ratio - 1 for ratio in ratios), 4),
    }


def few_rows(bloom: list[Run]) -> dict[str, float]:
    """Mean error on the rest after a fit on a few rows, every k-th row of the file."""
    found = {}
    for count in (1, 3, 5, 10, 20):
        step = len(bloom) / count
        means = []
        for start in range(10):
            taken = {int((index + start / 10) * step) for index in range(count)}
            fitted = fit([bloom[index] for index in taken])
            rest = [run for index, run in enumerate(bloom) if index not in taken]
            means.append(
                statistics.mean(
                    abs((predict(run, fitted).process.value or 0) / run.value - 1) for run in rest
                )
            )
        found[str(count)] = round(statistics.mean(means), 4)
    return found


def korthikanti(runs: list[Run]) -> list[dict[str, object]]:
    """Table 5 and Figure 1; never fitted."""
    rows: list[dict[str, object]] = []
    for run in runs:
        if run.metric not in ("memory_activations", "memory_params_optimizer"):
            continue
        parts = {part.name: part.value for part in predict(run, NOTHING).breakdown}
        names = ("activations",)
        if run.metric == "memory_params_optimizer":
            names = ("weights", "gradients", "optimizer")  # type: ignore[assignment]
        mine = sum(parts.get(name, 0.0) for name in names)
        rows.append(
            {
                "metric": run.metric,
                "config": f"{run.label}: {run.config}",
                "gib": round(run.value / GIB, 2),
                "predicted_gib": round(mine / GIB, 2),
                "error": round(mine / run.value - 1, 4),
            }
        )
    return rows


def torchtitan(runs: list[Run]) -> list[dict[str, object]]:
    """Reserved bytes of the closed form; never fitted."""
    return [
        {
            "config": f"{run.label}: {run.config}",
            "devices": run.devices,
            "gib": round(run.value / GIB, 1),
            "predicted_gib": round((memory.reserved.value or 0) / GIB, 1),
            "error": round((memory.reserved.value or 0) / run.value - 1, 3),
        }
        for run in runs
        if run.metric == "peak_memory"
        for memory in (predict(run, NOTHING),)
    ]


def cache_ratio(data: Path) -> dict[str, float]:
    found: dict[str, dict[str, float]] = {}
    for run in read_runs(data / "published_runs.csv"):
        if run.metric in ("peak_memory_allocated", "peak_memory_reserved"):
            found.setdefault(run.label, {})[run.metric] = run.value
    ratios = sorted(
        pair["peak_memory_reserved"] / pair["peak_memory_allocated"]
        for pair in found.values()
        if len(pair) == 2
    )
    return {
        "records": len(ratios),
        "least": round(ratios[0], 3),
        "median": round(statistics.median(ratios), 3),
        "most": round(ratios[-1], 3),
    }


def fits_text(found: MemoryFit) -> str:
    lines = [
        "# Coefficients of the memory model, fitted on published rows by",
        "# benchmarks/memory_layouts/run.py. Factors of: whole on each device, sharded, dynamic,",
        "# fixed; spread is half the 80 % interval of the logarithm, from shapes left out.",
    ]
    for (stack, kind), entry in sorted(found.kinds.items()):
        numbers = ", ".join(f"{value:.4f}" for value in entry.coefficients)
        assert math.isfinite(entry.spread)
        lines += [
            "",
            "[[fit]]",
            f'stack = "{stack}"',
            f'kind = "{kind}"',
            f"coefficients = [{numbers}]",
            f"spread = {entry.spread:.4f}",
            f"rows = {entry.rows}",
            'source = "BLOOM tune-up, 54 layouts of A100-80GB, nvidia-smi (BigScience tr11-176B '
            'chronicles, February 2022)"',
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), write_fits="--write-fits" in sys.argv[2:])
