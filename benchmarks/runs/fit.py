"""Fit the overheads of whole runs to every run of the catalog, for the package.

python benchmarks/runs/fit.py src/microdollar/estimator/run_hours/fit.json
"""

import argparse
import json
from pathlib import Path

from microdollar.estimator.run_hours.fit import fit_catalog

DIGITS = 12


def rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list | tuple) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.write_text(json.dumps(rounded(fit_catalog().to_json())) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
