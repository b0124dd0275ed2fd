"""The table of scorers: from two small texts to a page, and on from where it was interrupted."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks/tokens"
WORDS = ["".join(pair) for pair in zip("bdfgklmnprst" * 9, "aeiou" * 21, strict=False)]
RATIOS = (0.3, 0.5)


def prose(number: int) -> str:
    drawn = np.random.default_rng(number).choice(WORDS, 160).tolist()
    return ". ".join(" ".join(drawn[i : i + 8]).capitalize() for i in range(0, 160, 8)) + ".\n"


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("tokens_quality", FOLDER / "quality.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("texts")
    pages = (
        f"<page><title>Page {number}</title><text>{prose(number)}</text></page>\n"
        for number in range(30)
    )
    (folder / "dump").write_text("<mediawiki>\n" + "".join(pages))
    (folder / "plain.txt").write_text("\n".join(prose(number) for number in range(50, 62)))
    return folder / "dump", folder / "plain.txt"


def run(
    quality: ModuleType, texts: tuple[Path, Path], folder: Path, patch: pytest.MonkeyPatch
) -> dict[str, dict]:
    out = folder / "out"
    words = [*map(str, texts), "--ratios", "0.3,0.5", "--documents", "2", "--pages", "3"]
    words += ["--cache", str(folder / "cache"), "--out", str(out), "--chosen", "rare"]
    patch.setattr(sys, "argv", ["quality.py", *words])
    quality.main()
    return {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}


def test_an_interrupted_run_goes_on_to_the_same_table(
    quality: ModuleType,
    texts: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = run(quality, texts, tmp_path, monkeypatch)
    assert set(first) == {"wikipedia-counted", "shakespeare-counted"}
    report = first["wikipedia-counted"]
    names = {row["scorer"] for row in report["rows"]}
    assert {"random", "rare+train", "entropy+train", "self-information+train"} <= names
    assert len(report["rows"]) == len(names) * len(RATIOS)
    assert len(report["documents"]) == 3 and report["training_pages"] > 10
    assert str(tmp_path) not in json.dumps(report), "no folder of this machine"
    page = (tmp_path / "out/table.md").read_text()
    assert "| rare+train |" in page and "Scores of the kept tokens" in page
    ElementTree.parse(tmp_path / "out/bits.svg")
    assert measured(capsys) == 2 * len(report["rows"])

    lines = next((tmp_path / "cache").rglob("*.jsonl"))
    whole = lines.read_text()
    lines.write_text(whole[:-200])  # the last line cut off
    again = run(quality, texts, tmp_path, monkeypatch)
    assert measured(capsys) == 1
    for name, report in again.items():
        assert report["differences"] == first[name]["differences"]
        assert report["kept_subset"] == first[name]["kept_subset"]
    run(quality, texts, tmp_path, monkeypatch)
    assert measured(capsys) == 0


def measured(capsys: pytest.CaptureFixture[str]) -> int:
    """Rows that a run said it measured."""
    return sum(line.endswith("CPU s") for line in capsys.readouterr().out.splitlines())
