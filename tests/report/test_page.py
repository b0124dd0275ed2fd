"""The page: whole, self-contained, safe with hostile names, readable, and the same every time."""

import copy
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from microdollar.errors import MissingExtraError
from microdollar.ledger import Record
from microdollar.report import figures, page, write_report
from microdollar.report.nodes import ResultsError
from microdollar.report.schema import parse_results
from microdollar.report.sources import of_results
from microdollar.report.theme import COLOURS, PANEL, PAPER, RULE, STEP

EXAMPLE = Path(__file__).parents[1] / "data" / "report_results.json"
RESULTS = json.loads(EXAMPLE.read_text(encoding="utf-8"))
VOID = {"meta", "link", "br", "hr", "img"}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&$x_2$ {{ 7*7 }}"


class Checker(HTMLParser):
    """Collects what a test asks about and checks that tags nest."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.ids, self.text, self.data = [], [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        self.is_data = dict(attrs).get("type") == "application/json"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open:
            self.data += data if self.is_data else ""
        elif "style" not in self.open:
            self.text.append(data)


def rendered(data, *, history=()):
    content = of_results(data)
    content.history += history
    return page.render_report(content)


def parsed(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker


@pytest.fixture(scope="module")
def example():
    return rendered(RESULTS)


def test_page_is_one_small_file_without_a_network(example):
    assert len(example.encode()) < 300_000
    for tag, attrs in parsed(example).tags:
        for name in ("src", "href", "action", "xlink:href"):
            value = attrs.get(name) or "#"
            assert value.startswith(("#", "data:,")), (tag, name, value)
        assert not any(name.startswith("on") for name in attrs)
    assert not re.search(r"@import|url\((?!#)", example)
    assert "default-src 'none'" in example


def test_page_is_the_same_every_time(example):
    assert rendered(copy.deepcopy(RESULTS)) == example
    assert str(Path.cwd()) not in example


def test_structure_for_those_who_do_not_see(example):
    checker = parsed(example)
    assert ("html", {"lang": "en"}) in checker.tags
    levels = [int(tag[1]) for tag, _ in checker.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(checker.ids) == len(set(checker.ids))
    pictures = [attrs for tag, attrs in checker.tags if tag == "svg"]
    pictures = [attrs for attrs in pictures if attrs.get("aria-hidden") != "true"]
    assert len(pictures) == 2 + 5
    assert [tag for tag, _ in checker.tags].count("figure") == 2
    assert " ".join(checker.text).count("The numbers of this figure") == 2
    for attrs in pictures:
        assert attrs["role"] == "img" and "viewbox" in attrs
        assert set(attrs["aria-labelledby"].split()) <= set(checker.ids)
    for reference in re.findall(r'(?:href="|url\()#([^")]+)', example):
        assert reference in checker.ids


def test_what_stands_on_the_page(example):
    text = " ".join(" ".join(parsed(example).text).split())
    for expected in (
        "n-gram network, order 8 needs 2.23 bits",
        "An example for tests",
        "15 of 17 (88 %) measurements fell inside",
        "no energy sensor can be read on this machine",
        "1.01 to 1.11 s",
        "14,812,331",
        "example price of a machine with two cores, on demand",
        "microdollar compare enwik8_first_2mb",
        "0123456789abcdef0123456789abcdef01234567",
        "A multiply-accumulate counts as 2",
        "1,000,000 (from byte 0 up to 1,000,000)",
        "≥ 1.35 TFLOP",
    ):
        assert expected in text, expected


def test_colours_are_variables_in_the_figures(example):
    figures = "".join(re.findall(r"<svg.*?</svg>", example, re.DOTALL))
    assert "var(--counted)" in figures and "var(--paper)" in figures
    # Nothing is left that would not follow the scheme.
    assert not re.search(r"#[0-9a-fA-F]{6}\b", figures)
    assert "DejaVu" not in figures


def test_embedded_results_come_back(example):
    assert json.loads(parsed(example).data) == [RESULTS]


HOLDS_TEXT = [
    ["corpus", "name"],
    ["command"],
    ["note"],
    ["notes", 0],
    ["rows", 0, "label"],
    ["rows", 0, "learner"],
    ["rows", 0, "measured", "joules", "reason"],
    ["rows", 0, "breakdown", 0, "name"],
    ["assumptions", 0, "source"],
    ["device", "name"],
    ["device", "kind"],
]


def test_hostile_text_stays_text():
    data = copy.deepcopy(RESULTS)
    for path in HOLDS_TEXT:
        target = data
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = HOSTILE
    data["rows"][0]["options"][HOSTILE] = HOSTILE
    data["rows"][0]["breakdown"][0][HOSTILE] = [HOSTILE, {HOSTILE: 1}]
    checker = parsed(rendered(data))
    assert [tag for tag, _ in checker.tags].count("script") == 2
    assert "img" not in {tag for tag, _ in checker.tags}
    assert not any(name.startswith("on") for _, attrs in checker.tags for name in attrs)
    assert json.loads(checker.data) == [data]
    assert "".join(checker.text).count("{{ 7*7 }}") > 10


def test_text_that_looks_like_our_own_markup_stays_as_it_is():
    data = copy.deepcopy(RESULTS)
    data["rows"][0]["label"] = 'id="a" #0b7264'
    text = "".join(parsed(rendered(data)).text)
    assert text.count('id="a" #0b7264') > 5 and "var(--counted)" not in text


def test_long_foreign_and_unprintable_names():
    data = copy.deepcopy(RESULTS)
    data["rows"][0]["label"] = "語" * 3000
    data["rows"][1]["label"] = "a\x00b\udcff"
    data["rows"][2]["label"] = ""
    data["corpus"]["name"] = "\udc80.txt"
    rendered(data).encode()


@pytest.mark.parametrize("kept", [[], [4], [3], [0, 0, *range(8)] * 2])
def test_any_choice_of_rows(kept):
    data = {**RESULTS, "rows": [RESULTS["rows"][i] for i in kept], "assumptions": [], "notes": []}
    checker = parsed(rendered(data))
    assert len(checker.ids) == len(set(checker.ids))


def test_rows_without_any_number():
    data = copy.deepcopy(RESULTS)
    missing = {"value": None, "low": None, "high": None, "basis": None, "coverage": None}
    for row in data["rows"]:
        for phase in ("predicted", "measured"):
            if row[phase]:
                row[phase] = {name: {**missing, "reason": "broken"} for name in row[phase]}
    text = " ".join(parsed(rendered(data)).text)
    assert "Nothing can be drawn" in text and "broken" in text


def test_uniform_line_only_where_it_is_near():
    def drawn(bits):
        data = copy.deepcopy(RESULTS)
        data["rows"] = [{**row} for row in data["rows"][:2]]
        data["rows"][1]["test_bits_per_byte"] = bits
        axes = figures.quality_against_cost(parse_results(data)).axes[0]
        return axes.get_ylim()[1] > 8

    assert drawn(7.9) and not drawn(5.0)


def test_labels_of_the_figure_do_not_overlap():
    for wide in (True, False):
        figure = figures.quality_against_cost(parse_results(RESULTS), wide=wide)
        renderer = figure.canvas.get_renderer()
        width, height = figure.bbox.width, figure.bbox.height
        boxes = [text.get_window_extent(renderer) for text in figure.texts]
        assert len(boxes) == 2 + 9
        for i, a in enumerate(boxes):
            assert a.x0 >= -1 and a.x1 <= width + 1 and a.y0 >= -1 and a.y1 <= height + 1
            assert not any(a.overlaps(b) for b in boxes[:i])


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme):
    """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for lines that carry meaning."""
    for colour in COLOURS:
        if colour in (PAPER, PANEL, RULE):
            continue
        for ground in (PAPER,) if colour is STEP else (PAPER, PANEL):
            pair = sorted(luminance(getattr(c, scheme)) for c in (colour, ground))
            ratio = (pair[1] + 0.05) / (pair[0] + 0.05)
            assert ratio >= (3 if colour is STEP else 4.5), (colour.name, ground.name, ratio)


def test_light_colours_are_unique():
    assert len({c.light for c in COLOURS}) == len(COLOURS)


def test_history_of_a_ledger():
    row = parse_results(RESULTS).rows[0]
    record = Record(
        learner="ngram", plan={}, device={}, predicted=row.predicted, measured=row.measured
    )
    # The same run is in the results: it counts once.
    text = " ".join(" ".join(parsed(rendered(RESULTS, history=[record])).text).split())
    assert "15 of 17 (88 %) measurements fell inside" in text
    assert "no energy sensor can be read on this machine (ledger: ngram)" in text
    other = replace(record, measured=replace(row.measured, seconds=row.predicted.seconds))
    text = " ".join(" ".join(parsed(rendered(RESULTS, history=[other])).text).split())
    assert "16 of 18 (89 %) measurements fell inside" in text


def test_write_is_whole_or_nothing(tmp_path, monkeypatch):
    target = tmp_path / "page.html"
    target.write_text("before")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(ResultsError, match="No space"):
        write_report(of_results(RESULTS), target)
    assert target.read_text() == "before" and list(tmp_path.iterdir()) == [target]
    monkeypatch.undo()
    write_report(of_results(RESULTS), target)
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(ResultsError, match="can't write"):
        write_report(of_results(RESULTS), tmp_path / "none" / "page.html")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_missing_extra(monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"microdollar\[report\]"):
        rendered(RESULTS)


def test_report_is_imported_without_its_extra():
    code = (
        "import sys, microdollar.report; "
        "print(sorted({'torch', 'matplotlib', 'jinja2', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
