"""The page: whole, self-contained, safe with hostile names, readable, and the same every time."""

import copy
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from microdollar.errors import MissingExtraError
from microdollar.ledger import Record
from microdollar.report import page, write_report
from microdollar.report.page import render_report
from microdollar.report.schema import ResultsError, parse_results
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
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open:
            self.data += data
        elif "style" not in self.open:
            self.text.append(data)


def parsed(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker


@pytest.fixture(scope="module")
def example():
    return render_report(RESULTS)


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
    assert render_report(copy.deepcopy(RESULTS)) == example
    assert str(Path.cwd()) not in example


def test_structure_for_those_who_do_not_see(example):
    checker = parsed(example)
    assert ("html", {"lang": "en"}) in checker.tags
    levels = [int(tag[1]) for tag, _ in checker.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(checker.ids) == len(set(checker.ids))
    pictures = [attrs for tag, attrs in checker.tags if tag == "svg"]
    assert len(pictures) == 4
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
        "15 of 17 measurements fell inside",
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
    assert json.loads(parsed(example).data) == RESULTS


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
    checker = parsed(render_report(data))
    assert [tag for tag, _ in checker.tags].count("script") == 1
    assert "img" not in {tag for tag, _ in checker.tags}
    assert not any(name.startswith("on") for _, attrs in checker.tags for name in attrs)
    assert json.loads(checker.data) == data
    assert "".join(checker.text).count("{{ 7*7 }}") > 10


def test_text_that_looks_like_our_own_markup_stays_as_it_is():
    data = copy.deepcopy(RESULTS)
    data["rows"][0]["label"] = 'id="a" #0b7264'
    text = "".join(parsed(render_report(data)).text)
    assert text.count('id="a" #0b7264') > 5 and "var(--counted)" not in text


def test_long_foreign_and_unprintable_names():
    data = copy.deepcopy(RESULTS)
    data["rows"][0]["label"] = "語" * 3000
    data["rows"][1]["label"] = "a\x00b\udcff"
    data["rows"][2]["label"] = ""
    data["corpus"]["name"] = "\udc80.txt"
    render_report(data).encode()


@pytest.mark.parametrize("kept", [[], [4], [3], [0, 0, *range(8)] * 2])
def test_any_choice_of_rows(kept):
    data = {**RESULTS, "rows": [RESULTS["rows"][i] for i in kept], "assumptions": [], "notes": []}
    checker = parsed(render_report(data))
    assert len(checker.ids) == len(set(checker.ids))


def test_rows_without_any_number():
    data = copy.deepcopy(RESULTS)
    missing = {"value": None, "low": None, "high": None, "basis": None, "coverage": None}
    for row in data["rows"]:
        for phase in ("predicted", "measured"):
            if row[phase]:
                row[phase] = {name: {**missing, "reason": "broken"} for name in row[phase]}
    text = " ".join(parsed(render_report(data)).text)
    assert "Nothing can be drawn" in text and "broken" in text


def test_uniform_line_only_where_it_is_near():
    def drawn(bits):
        data = copy.deepcopy(RESULTS)
        data["rows"] = [{**row} for row in data["rows"][:2]]
        data["rows"][1]["test_bits_per_byte"] = bits
        axes = page.figures.quality_against_cost(parse_results(data)).axes[0]
        return axes.get_ylim()[1] > 8

    assert drawn(7.9) and not drawn(5.0)


def test_labels_of_the_figure_do_not_overlap():
    for wide in (True, False):
        figure = page.figures.quality_against_cost(parse_results(RESULTS), wide=wide)
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
    text = " ".join(parsed(render_report(RESULTS, history=[record])).text)
    assert "So far, over 1 runs" not in text and "over 1 run of the ledger" in text
    assert "0.898×" in text


def test_write_is_whole_or_nothing(tmp_path, monkeypatch):
    target = tmp_path / "page.html"
    target.write_text("before")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(ResultsError, match="No space"):
        write_report(RESULTS, target)
    assert target.read_text() == "before" and list(tmp_path.iterdir()) == [target]
    monkeypatch.undo()
    write_report(RESULTS, target)
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(ResultsError, match="can't write"):
        write_report(RESULTS, tmp_path / "none" / "page.html")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_missing_extra(monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"microdollar\[report\]"):
        render_report(RESULTS)


def test_report_is_imported_without_its_extra():
    code = (
        "import sys, microdollar.report; "
        "print(sorted({'torch', 'matplotlib', 'jinja2', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium in the path: the page is not rendered")
@pytest.mark.parametrize("width", [1280, 500])
def test_browser_finds_no_overflow(tmp_path, width, example):
    """Only tables scroll sideways: the page itself is never wider than the window."""
    # The probe needs a script, so here the policy is taken out.
    probe = (
        "<script>document.title = 'wide ' + document.documentElement.scrollWidth + ' of ' + "
        "innerWidth + ', shown ' + [...document.querySelectorAll('figure svg')]"
        ".filter(s => s.getBoundingClientRect().width > 0).length</script></body>"
    )
    text = re.sub(r"<meta http-equiv[^>]*>", "", example).replace("</body>", probe)
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "page.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    found = re.search(r"<title>wide (\d+) of (\d+), shown (\d+)</title>", done.stdout)
    if found is None:
        pytest.skip(f"{CHROMIUM} does not render here: {done.stderr[-200:]}")
    wide, window, shown = map(int, found.groups())
    assert wide <= window and shown == 2
