"""Tables and pictures of finished runs: results/table.md, loss.svg and curves.svg."""

import statistics
from collections import defaultdict
from pathlib import Path

from tasks import TASKS

GREY = "#808080"
DIVERGED_NATS = 20.0
TOP = 0.15
"""Nats over AdamW that the picture ends at."""


def rows_of(runs: list[dict], task: str) -> list[dict]:
    """One row for each optimizer, its rate chosen on the development slice with seed 0."""
    runs = [undiverged(r) for r in runs if r["task"] == task]
    most = max((r["steps"] for r in runs), default=0)
    by_name: dict[str, list[dict]] = defaultdict(list)
    for run in runs:
        if run["steps"] == most:
            by_name[run["optimizer"]].append(run)
    rows = []
    for name, own in by_name.items():
        grid = {r["lr"]: r for r in own if r["seed"] == 0}
        good = [r for r in grid.values() if r["dev_nats"] is not None]
        if not good:
            rows.append({"optimizer": name, "rate": None, "runs": own, "grid": grid})
            continue
        best = min(good, key=lambda r: r["dev_nats"])
        edge = best["lr"] in (min(grid), max(grid))
        runs_there = [r for r in own if r["lr"] == best["lr"] and r["test_nats"] is not None]
        rows.append(
            {"optimizer": name, "rate": best["lr"], "edge": edge, "runs": runs_there, "grid": grid}
        )
    base = next((r for r in rows if r["optimizer"] == "AdamW" and r["rate"]), None)
    for row in rows:
        row["nats"] = [r["test_nats"] for r in row["runs"]] if row["rate"] else []
        row["over"] = differences(row, base) if base and row["rate"] else []
        run = row["runs"][0]
        kept = (
            run["state_bytes"] if run["packed_state_bytes"] is None else run["packed_state_bytes"]
        )
        row["bytes"] = kept / run["parameters"]
        same = row["grid"].get(base["rate"]) if base else None
        row["at_adamw"] = None
        if same and same["test_nats"] is not None:
            row["at_adamw"] = same["test_nats"] - base["grid"][base["rate"]]["test_nats"]
    return sorted(rows, key=lambda row: statistics.mean(row["nats"]) if row["nats"] else 1e9)


def undiverged(run: dict) -> dict:
    """The run, without a figure if it ended far above chance."""
    lost = run["test_nats"] is None or run["test_nats"] > DIVERGED_NATS
    return run | {"dev_nats": None, "test_nats": None} if lost else run


def differences(row: dict, base: dict) -> list[float]:
    """Nats over AdamW's with the same seed, both at their own rates."""
    of_base = {r["seed"]: r["test_nats"] for r in base["runs"]}
    return [r["test_nats"] - of_base[r["seed"]] for r in row["runs"] if r["seed"] in of_base]


def spread(values: list[float], sign: str = "") -> str:
    """Mean and, of several, the standard deviation."""
    if not values:
        return ""
    mean = format(statistics.mean(values), f"{sign}.4f")
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean


def table(rows: list[dict]) -> list[str]:
    lines = [
        "| optimizer | state, B a parameter | rate | seeds | test nats | over AdamW, same seed "
        "| over AdamW at its rate, seed 0 | origin |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rate = "diverged" if row["rate"] is None else f"{row['rate']:g}"
        rate += " (edge)" if row.get("edge") else ""
        at = "" if row["at_adamw"] is None else f"{row['at_adamw']:+.4f}"
        lines.append(
            f"| {row['optimizer']} | {row['bytes']:.3f} | {rate} | {len(row['nats'])} | "
            f"{spread(row['nats'])} | {spread(row['over'], '+')} | {at} | "
            f"{row['runs'][0]['origin']} |"
        )
    return lines


def write(runs: list[dict], folder: Path) -> None:
    """Write and print the tables, and draw them."""
    lines = ["# Optimizers at equal tuning effort", ""]
    tables = {task: rows for task in TASKS if (rows := rows_of(runs, task))}
    for task, rows in tables.items():
        run = rows[0]["runs"][0]
        about = TASKS[task].__doc__ or ""
        lines += [f"## {task}", "", f"{about.strip().splitlines()[0]} Here {run['steps']} steps."]
        lines += ["", *table(rows), ""]
    text = "\n".join(lines)
    (folder / "table.md").write_text(text)
    print(text)
    draw(tables, folder)


def draw(tables: dict[str, list[dict]], folder: Path) -> None:
    """Loss over AdamW's against bytes, and training curves; legible on light and dark."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    style = {"axes.edgecolor": GREY, "axes.labelcolor": GREY, "text.color": GREY}
    style |= {"xtick.color": GREY, "ytick.color": GREY, "font.size": 8, "svg.hashsalt": "optim"}
    with plt.rc_context(style):
        figure, axes = plt.subplots(1, len(tables), figsize=(4.5 * len(tables), 5), squeeze=False)
        for ax, (task, rows) in zip(axes[0], tables.items(), strict=True):
            for row in rows:
                # 34 and 40 lie on 32.
                if not row["over"] or row["optimizer"] in ("sketch c=34", "sketch c=40"):
                    continue
                over = statistics.mean(row["over"])
                x, y = max(row["bytes"], 0.005), min(over, TOP)
                label = f"{row['optimizer']} ({over:+.2f})" if over > TOP else row["optimizer"]
                ours = row["runs"][0]["origin"] in ("microdollar", "prototype")
                color = "#2a7fd4" if ours else "#d4682a"
                ax.plot(x, y, "o", color=color, ms=4)
                # Those above the picture stand side by side.
                ax.annotate(
                    label, (x, y), xytext=(3, 2), textcoords="offset points",
                    rotation=75 if over > TOP else 0,
                )  # fmt: skip
            ax.axhline(0.01, color=GREY, lw=0.6, ls=":")
            ax.axhline(0, color=GREY, lw=0.6)
            ax.set(xscale="log", xlabel="state, bytes a parameter")
            ax.set_title(task, loc="left", pad=70)
            ax.set(xlim=(0.004, 30), ylim=(-0.08, TOP))
        axes[0][0].set_ylabel("test nats over AdamW")
        figure.tight_layout()
        figure.savefig(folder / "loss.svg", transparent=True, metadata={"Date": None})
        figure, axes = plt.subplots(1, len(tables), figsize=(4.5 * len(tables), 4), squeeze=False)
        for ax, (task, rows) in zip(axes[0], tables.items(), strict=True):
            for row in rows[:12]:
                run = row["runs"][0]
                x = [(i + 1) * run["curve_every"] for i in range(len(run["curve"]))]
                ax.plot(x[1:], run["curve"][1:], lw=0.8, label=row["optimizer"])
            ax.set(title=task, xlabel="step")
            ax.legend(frameon=False, fontsize=6)
        axes[0][0].set_ylabel("training nats")
        figure.tight_layout()
        figure.savefig(folder / "curves.svg", transparent=True, metadata={"Date": None})
