"""The site: built with warnings as errors, and read without a network."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

import pytest

import microdollar as md

pytest.importorskip("mkdocs", reason="mkdocs is not installed")
pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed")

ROOT = Path(__file__).parents[1]
FETCHES = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """What a page fetches, where its links lead, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.links, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag in FETCHES and attrs.get("rel") != "canonical":
            self.fetched.append(attrs.get(FETCHES[tag]) or "")
        if tag == "a":
            self.links.append(attrs.get("href") or "")
        self.anchors.update(filter(None, (attrs.get("id"), attrs.get("name"))))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_nothing_is_fetched_from_elsewhere(pages, site):
    for path, page in pages.items():
        for address in page.fetched:
            assert not urlsplit(address).netloc, f"{path.name}: {address}"
    for path in site.rglob("*.css"):
        addresses = re.findall(
            r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]+)", path.read_text()
        )
        assert not addresses, f"{path.name}: {addresses}"


def test_links_lead_somewhere(pages):
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for address in page.links:
            place, anchor = urldefrag(address)
            if urlsplit(place).scheme or address in ("", "#"):
                continue
            target = (path.parent / place).resolve() if place else path
            assert target.exists(), f"{path.name}: {address}"
            if anchor and not anchor.startswith("__") and target in pages:
                assert anchor in pages[target].anchors, f"{path.name}: {address}"


def test_every_public_name_has_its_place(pages, site):
    index = pages[site / "api" / "index.html"]
    anchors = set().union(*(page.anchors for page in pages.values()))
    linked = {urldefrag(address)[1] for address in index.links}
    for name, home in md._HOMES.items():
        module, attribute = home.split(":")
        source = getattr(md, name).__module__
        places = {f"microdollar.{module}.{attribute}", f"{source}.{attribute}"}
        assert places & anchors, f"{name} is documented nowhere"
        assert places & linked, f"{name} is not in the table of docs/api/index.md"


def test_the_search_finds_without_a_server(site, open_page):
    """A page opened as a file; ``open_page`` fails on an error and on a request to elsewhere."""
    page = open_page(site / "howto" / "less-state.html")
    page.keyboard.press("/")
    page.keyboard.type("Landauer")
    page.wait_for_selector(".md-search-result__item a", state="attached")
    found = page.eval_on_selector_all(".md-search-result__item a", "all => all.map(a => a.href)")
    assert any("landauer" in address for address in found)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("place", ["index.html", "tutorial.html", "accuracy.html", "api/work.html"])
def test_no_page_is_wider_than_the_window(place, width, site, open_page):
    page = open_page(site / place, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
@pytest.mark.parametrize(
    "place", ["tutorial.html", "commands.html", "accuracy.html", "api/optimizers.html"]
)
def test_axe_finds_nothing_serious(place, scheme, width, site, open_page, axe):
    page = open_page(site / place, width=width, scheme=scheme)
    page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    assert axe(page) == []


def test_a_wide_table_is_scrolled_by_keys(site, open_page):
    page = open_page(site / "accuracy.html", width=390)
    table = page.locator(".md-typeset__scrollwrap").first
    table.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")
