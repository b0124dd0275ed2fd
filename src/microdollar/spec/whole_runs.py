"""Published pre-training runs: sizes, tokens, devices and the device-hours they took."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from microdollar.units import SECONDS_PER_HOUR

_SAME_SIZE = 1.04
"""Names of one model round its size differently (BLOOM-175B, BLOOM-176B), within this factor."""
_COMMON_WORDS = frozenset({"gpt", "transformer", "bert", "baby", "model", "big", "large"})
"""First words of names that say nothing about who trained a model, or with what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRun:
    """One training of one model from scratch, as its authors report it."""

    name: str
    family: str
    """Models of one family share a team, a software stack and mostly a cluster."""
    parameters: float
    """That one token meets; of a mixture of experts the active ones."""
    tokens: float
    sequence: int
    """Tokens of a sequence."""
    device: str
    """Name or alias in the device catalog."""
    devices: int | None
    device_seconds: float
    published_runs: bool
    """Whether the hours are a row of ``published_runs.csv`` with its tokens: a headline run."""
    source: str


@cache
def whole_runs() -> tuple[PublishedRun, ...]:
    """Every run of ``catalog/whole_runs.toml``, in its order."""
    import tomllib

    text = (Path(__file__).parent / "catalog" / "whole_runs.toml").read_text("utf-8")
    return tuple(
        PublishedRun(
            name=row["name"],
            family=row["family"],
            parameters=float(row["parameters"]),
            tokens=float(row["tokens"]),
            sequence=row["sequence"],
            device=row["device"],
            devices=row.get("devices"),
            device_seconds=float(row["device_hours"]) * SECONDS_PER_HOUR,
            published_runs=row["published_runs"],
            source=row["source"],
        )
        for row in tomllib.loads(text)["run"]
    )


def find_whole_run(name: str) -> PublishedRun | None:
    """The published run of a model, however its name is spelt; None if there is none.

    What a caller may use of it to fill the blanks of a table are its sizes and tokens.

    Examples:
        >>> find_whole_run("BLOOM-175B").name
        'BLOOM-176B'
    """
    key = _letters(name)
    for run in whole_runs():
        if _letters(run.name) == key:
            return run
    size = stated_size(name)
    family = run_family(name)
    if size is None or family is None or _rest(name, family):
        return None
    return next(
        (
            run
            for run in whole_runs()
            if run.family == family and _alike(stated_size(run.name) or run.parameters, size)
        ),
        None,
    )


def run_family(name: str) -> str | None:
    """Who trained a model and with what, as far as its name tells; None if it doesn't.

    It is the first word of the name, and for Llama also the generation (3, 3.1 and 3.3 are
    one; 3.2 was pruned and distilled from them).

    Examples:
        >>> run_family("Llama 3.1 405B"), run_family("Pythia-160M"), run_family("GPT 3.6B")
        ('llama 3', 'pythia', None)
    """
    low = name.casefold().strip()
    for run in whole_runs():
        if _letters(run.name) == _letters(low):
            return run.family
    word = re.match(r"[^\W\d_]+", low)
    if word is None or word[0] in _COMMON_WORDS:
        return None
    if word[0] != "llama":
        return {run.family.split(" ")[0]: run.family for run in whole_runs()}.get(word[0], word[0])
    version = re.match(r"llama[ -]?(\d(?:\.\d)?)(?![\d.]*\s*b\b)", low)
    if version is None:
        return "llama 1"
    return f"llama {version[1]}" if version[1] == "3.2" else f"llama {version[1][0]}"


def stated_size(name: str) -> float | None:
    """The number of parameters that a name ends with or holds (``7B``, ``160M``); None if none.

    Examples:
        >>> stated_size("Llama 2 7B")
        7000000000.0
    """
    found = re.search(r"(?<![\d.])(\d{1,5}(?:\.\d{1,4})?)\s?([mbt])\b", name.casefold())
    if found is None or float(found[1]) == 0:
        return None
    return float(found[1]) * {"m": 1e6, "b": 1e9, "t": 1e12}[found[2]]


def why_no_run(name: str) -> str | None:
    """Why the hours of a run can't follow from sizes and tokens; None if they can.

    Adapters and quantization train a finished model for a while on an unpublished number of
    tokens; 6 operations a parameter and token of its pre-training say nothing about them.
    """
    low = name.casefold()
    for word in ("qlora", "spinquant", "lora", "instruct", "chat", "sft", "dpo", "rlhf"):
        if re.search(rf"(?<![a-z]){word}(?![a-z])", low):
            return (
                f"{word} tunes or quantizes a finished model; the tokens of that are not "
                "published, and those of its pre-training do not count again"
            )
    return None


def _rest(name: str, family: str) -> str:
    """What a name says beyond its family and size: another model, then (OPT-IML, a checkpoint)."""
    rest = re.sub(r"(?<![\d.])\d{1,5}(\.\d{1,4})?\s?[mbt]\b", "", name.casefold())
    return re.sub(r"[^a-z]", "", rest).replace(family.split(" ")[0], "", 1)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.casefold())


def _alike(left: float, right: float) -> bool:
    return max(left, right) <= _SAME_SIZE * min(left, right)
