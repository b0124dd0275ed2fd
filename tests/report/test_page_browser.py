"""The page as a person gets it: in a browser, at two widths, light and dark, on paper."""

import json
from pathlib import Path

import pytest

from microdollar.cost import Quantity
from microdollar.report.page import write_report
from microdollar.report.scaling import Curve, Panel
from microdollar.report.sources import Content, add_file
from microdollar.report.theme import COUNTED, PAPER

DATA = Path(__file__).parents[1] / "data"
HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"


def quantity(value, low=None, high=None):
    return Quantity(value=value, low=low, high=high, basis="datasheet").to_json()


PLAN = {
    "model": "small", "device": "one chip", "devices": 8, "covers": "run",
    "step_breakdown": [{"name": "products", "value": 3.0}, {"name": "optimizer", "value": 1.0}],
    "step_seconds": quantity(4.0, 3.0, 5.0),
    "seconds": quantity(500.0, 400.0, 700.0),
    "seconds_breakdown": [
        {"name": "steps", "seconds": quantity(400.0)},
        {"name": "idle hours", "seconds": quantity(100.0)},
    ],
    "joules": quantity(9e6),
    "dollars": quantity(12.0, 8.0, 15.0),
    "memory_bytes": {"allocated": quantity(4e9), "breakdown": []},
    "device_bytes": 5e9,
    "optimizers": [
        {
            "optimizer": name,
            "allocated": quantity(2e9 + held),
            "breakdown": [
                {"name": "weights", "value": 1e9}, {"name": "optimizer", "value": held},
                {"name": "activations", "value": 1e9},
            ],
        }
        for name, held in (("adamw", 2e9), ("sgd", 0.0))
    ],
}  # fmt: skip
ROOF = {
    "joules_per_bit": 3e-21,
    "roofline": {
        "device": "this machine",
        "ceilings": [
            {"name": "products", "rate": 1e11, "of_bytes": False, "dtype": "float32"},
            {"name": "memory", "rate": 1e10, "of_bytes": True, "dtype": ""},
        ],
        "points": [
            {
                "name": name, "group": "learners", "family": family, "size": 0, "flops": 1e9,
                "moved_bytes": moved, "seconds": 0.1, "dtype": "float32",
            }
            for name, family, moved in (("ngram", "from counts", 1e9), ("gpt", "by gradient", 1e7))
        ],
    },
}  # fmt: skip
STUDY = {
    "grid": {}, "machine": {"name": "this machine"},
    "rows": [
        {
            "layer": layer, "mode": "forward", "width": 64, "length": length, "batch": 1,
            "predicted_seconds": cost * length**power,
            "predicted_seconds_low": 0.8 * cost * length**power,
            "predicted_seconds_high": 1.3 * cost * length**power,
            "measured_seconds": 1.1 * cost * length**power, "memory_bytes": 1000 * length,
        }
        for layer, cost, power in (("attention", 1e-7, 2), ("rwkv", 1e-4, 1))
        for length in (256, 1024, 4096)
    ],
    "crossovers": [
        {
            "mode": "forward", "width": 64, "first": "attention", "second": "rwkv",
            "of": "seconds", "error": None,
            "predicted": {
                "length": 1000.0, "low": 800.0, "high": 1200.0, "cheaper_after": "rwkv",
                "reason": None,
            },
            "measured": {
                "length": 1000.0, "low": None, "high": None, "cheaper_after": "rwkv",
                "reason": None,
            },
        }
    ],
}  # fmt: skip
CLAIMS = [
    {
        "id": f"{document}/{number}", "document": document, "section": "2", "verdict": verdict,
        "claim": f"claim {number} {HOSTILE if number == 3 else 'of bytes'}", "published": 1e6,
        "unit": "B", "ours": None if number == 1 else 2e6, "how": "by its formula",
        "needs": ["arithmetic"],
    }
    for number, (document, verdict) in enumerate(
        [("first", "holds"), ("first", "can't be checked here"), ("second", "holds"),
         ("second", "doesn't replicate")]
    )
]  # fmt: skip


RUNS = [
    {
        "task": "words", "optimizer": optimizer, "origin": origin, "lr": rate, "seed": seed,
        "steps": 100, "parameters": 1000, "state_bytes": 1000 * state, "packed_state_bytes": None,
        "dev_nats": 2.0 + rate, "test_nats": 2.1 + 0.1 * seed,
    }
    for optimizer, origin, state in (("AdamW", "torch", 8), (HOSTILE, "microdollar", 1))
    for rate, seed in ((0.1, 0), (0.2, 0), (0.1, 1))
]  # fmt: skip
STEPS = {
    "machine": {"processor": "this machine"},
    "runs": [
        {
            "threads": 1, "parameters": 1_000_000, "type": "torch.float32",
            "rows": {
                name: {
                    "median_seconds": 0.01 * ratio, "ratio_of_seconds": ratio,
                    "state_bytes_per_parameter": state,
                }
                for name, ratio, state in (("AdamW fused", 1.0, 8.0), ("Collins", 0.8, 0.3))
            },
        }
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Every part of the page, from small sources."""
    folder = tmp_path_factory.mktemp("page")
    content = Content()
    for name, data in (
        ("results", json.loads((DATA / "report_results.json").read_text("utf-8"))),
        ("plan", PLAN), ("roof", ROOF), ("study", STUDY), ("claims", CLAIMS),
        ("tokens", json.loads((DATA / "tokens_eval.json").read_text("utf-8"))),
        ("concepts", json.loads((DATA / "concepts_eval.json").read_text("utf-8"))),
        ("runs", RUNS), ("steps", STEPS),
    ):  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
        add_file(content, folder / f"{name}.json")
    runs = [(10.0**power, 5.0 - 0.5 * power) for power in range(1, 6)]
    line = [(size, loss, 0.9 * loss, 1.1 * loss) for size, loss in runs]
    curve = Curve(name="runs", colour=COUNTED, runs=runs, line=line)
    content.curves = [Panel(title="A law", below="bytes", curves=[curve], unit="Bits per byte")]
    write_report(content, folder / "page.html")
    return folder / "page.html"


SECTIONS = (
    "quality", "predictions", "plan", "memory", "optimizers", "roofline", "scaling", "crossover",
    "tokens", "concepts", "claims", "table", "assumptions",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_is_readable_for_all(open_page, axe, page, width, scheme):
    opened = open_page(page, width=width, scheme=scheme)
    found = opened.eval_on_selector_all("main h2", "all => all.map(one => one.id)")
    assert tuple(found) == SECTIONS
    links = opened.eval_on_selector_all("nav a", "all => all.map(one => one.hash.slice(1))")
    assert tuple(links) == SECTIONS
    # Everything that is folded is looked at too.
    opened.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert axe(opened) == []
    wide = opened.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = tuple(int(getattr(PAPER, scheme)[i : i + 2], 16) for i in (1, 3, 5))
    assert paper == f"rgb{channels}"
    # One drawing of each is shown, and each figure has the table of its numbers after it.
    shown = opened.evaluate(
        "[...document.querySelectorAll('figure')].map(figure => ["
        "[...figure.querySelectorAll('.drawings svg')].filter(one => one.clientWidth > 200).length,"
        "figure.nextElementSibling.querySelectorAll('tbody tr').length])"
    )
    assert len(shown) == 12 and all(drawings and rows for drawings, rows in shown)
    tall = opened.evaluate(
        "[...document.querySelectorAll('.scroll')].filter("
        "one => one.scrollWidth > one.clientWidth && one.tabIndex !== 0).length"
    )
    assert tall == 0


def test_filters_work_by_keyboard(open_page, page):
    opened = open_page(page)
    form = opened.locator("form[data-filters]")
    output = form.locator("output")
    rows = opened.locator("table[data-filtered] tbody tr:visible")
    assert output.inner_text() == "4 of 4 shown" and rows.count() == 4
    assert opened.title() != "taken"
    form.locator("select[name=document]").focus()
    opened.keyboard.type("second")
    assert output.inner_text() == "2 of 4 shown" and rows.count() == 2
    opened.keyboard.press("Tab")
    opened.keyboard.press("Tab")
    opened.keyboard.type("onerror CLAIM")
    assert output.inner_text() == "1 of 4 shown"
    assert "doesn't replicate" in rows.first.inner_text()
    form.locator("select[name=verdict]").select_option("holds")
    assert output.inner_text() == "0 of 4 shown"
    form.locator("button").focus()
    opened.keyboard.press("Enter")
    opened.wait_for_function("document.querySelector('output').textContent === '4 of 4 shown'")


def test_colours_by_hand_and_a_way_past_the_head(open_page, page):
    opened = open_page(page, scheme="light")

    def ink():
        return opened.evaluate("getComputedStyle(document.body).color")

    before = ink()
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    button = opened.locator("[data-theme-button]")
    assert button.inner_text() == "Dark colours"
    button.press("Enter")
    assert ink() != before and button.inner_text() == "Light colours"
    button.press("Enter")
    assert ink() == before


def test_on_paper(open_page, page):
    opened = open_page(page, scheme="dark")
    opened.emulate_media(media="print", color_scheme="dark")
    assert (
        opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )
    for hidden in ("form[data-filters]", "[data-theme-button]", ".skip"):
        assert not opened.locator(hidden).first.is_visible()
    assert opened.locator("figure .wide svg").first.is_visible()
    pages = opened.pdf(format="A4")
    assert pages.startswith(b"%PDF") and len(pages) > 20_000


def test_without_scripts_all_is_there(open_page, page):
    opened = open_page(page, java_script_enabled=False)
    assert opened.locator("table[data-filtered] tbody tr").count() == 4
    assert not opened.locator("form[data-filters]").is_visible()
    assert not opened.locator("[data-theme-button]").is_visible()


def test_page_is_small(page):
    assert page.stat().st_size < 500_000


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<img src='https://example.com/x.png'>", "request to https://example.com/x.png"),
        ("<script>throw new Error('bad')</script>", "exception: bad"),
        ("<script>console.error('worse')</script>", "console: worse"),
    ],
)
def test_pages_with_faults_are_refused(open_page, tmp_path, body, said):
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><title>a</title>{body}", encoding="utf-8")
    with pytest.raises(AssertionError, match=said):
        open_page(page)


def test_pale_text_is_found(open_page, axe, tmp_path):
    page = tmp_path / "page.html"
    text = "<!doctype html><html lang=en><title>a</title><main><h1 style='color:{}'>Good words</h1>"
    page.write_text(text.format("#ddd"), encoding="utf-8")
    (finding,) = axe(open_page(page))
    assert finding.startswith("color-contrast (serious)")
    page.write_text(text.format("#222"), encoding="utf-8")
    assert axe(open_page(page)) == []
