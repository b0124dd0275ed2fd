"""The study of the sat-rnn on a file, kept as results.json beside this script.

    python benchmarks/experiments/run.py FILE [--work FOLDER]

Runs what ``microdollar experiments FILE --out FOLDER`` runs: eleven groups of experiments on the
first 520, 1,024 and 1,000,000 bytes of FILE, each scored on as many bytes after (200,000 after the
last). FOLDER keeps trained networks and finished parts, so that a run that was stopped goes on;
results.json is copied here, and ``docs/experiments.py`` turns it into docs/experiments.md and the
picture beside it. The kept results are of the first 1,200,000 bytes of enwik8.

What to know of the numbers: seconds are wall time on two cores that others used as well, one
thread; training numbers of the small slices include grids that were searched on the bytes scored,
as published; nothing was chosen on held-out bytes.
"""

import argparse
import runpy
import shutil
import sys
from pathlib import Path

from microdollar.cli.main import main as microdollar

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--work", type=Path, default=Path("experiments"))
    given = parser.parse_args()
    code = microdollar(["experiments", str(given.file), "--out", str(given.work)])
    if code == 0:
        shutil.copyfile(given.work / "results.json", HERE / "results.json")
        runpy.run_path(str(HERE.parents[1] / "docs" / "experiments.py"), run_name="__main__")
    return code


if __name__ == "__main__":
    sys.exit(main())
