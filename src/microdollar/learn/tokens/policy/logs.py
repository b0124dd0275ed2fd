"""What training writes down: lines of JSON always, TensorBoard's files where its writer is.

``tensorboardX`` writes those without TensorBoard or torch; where it is not installed there are
only the lines, which hold the same.
"""

import json
import math
from importlib import import_module
from pathlib import Path
from typing import Any

LINES = "events.jsonl"


class Logs:
    """Numbers by name and step, in a folder.

    Args:
        folder: made if there is none.
        after: what earlier runs wrote after this step is forgotten, as the steps come again.
    """

    def __init__(self, folder: Path, after: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / LINES
        if self._path.exists():
            kept = [
                line for line in self._path.read_text("utf-8").splitlines() if _step(line) <= after
            ]
            self._path.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        self._lines = self._path.open("a", encoding="utf-8")
        self._board: Any = None
        try:
            writer = import_module("tensorboardX").SummaryWriter
        except ModuleNotFoundError:
            return
        self._board = writer(str(folder), purge_step=after + 1 if after else None)

    def write(self, step: int, stage: str, **values: float) -> None:
        """Note some numbers; those that are not finite are left out."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._lines.write(json.dumps({"step": step, "stage": stage, **finite}) + "\n")
        self._lines.flush()
        if self._board is not None:
            for name, value in finite.items():
                self._board.add_scalar(f"{stage}/{name}", value, step)

    def close(self) -> None:
        """Write out what is left."""
        self._lines.close()
        if self._board is not None:
            self._board.close()


def _step(line: str) -> int:
    """Of a line; one that was cut off comes after all."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 1 << 62
