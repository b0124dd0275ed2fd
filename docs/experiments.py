"""Write docs/experiments.md and its picture from benchmarks/experiments/results.json.

    python docs/experiments.py

``tests/run/test_experiments_page.py`` fails while the page is out of date.
"""

import json
from pathlib import Path
from typing import Any

from microdollar.report.study import pictures
from microdollar.run.experiments import page

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "experiments" / "results.json"
PAGE = ROOT / "docs" / "experiments.md"
PICTURE = ROOT / "docs" / "experiments.svg"


def kept() -> dict[str, Any]:
    """The results that the page is of."""
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
    return found


def longest(results: dict[str, Any]) -> str:
    """The slice that the picture is of."""
    return list(results["slices"])[-1]


def text(results: dict[str, Any]) -> str:
    """The page with its picture below the introduction."""
    whole = page(results)
    size = f"{int(longest(results)):,}"
    shown = f"![Bits per held-out byte against cost, {size} bytes](experiments.svg)\n\n"
    return whole.replace("\n## ", f"\n{shown}## ", 1)


def main() -> None:
    """Write both files."""
    results = kept()
    PAGE.write_text(text(results), encoding="utf-8")
    PICTURE.write_text(pictures(results)[longest(results)], encoding="utf-8")


if __name__ == "__main__":
    main()
