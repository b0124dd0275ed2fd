"""The planner page under test, without a server."""

import asyncio
from html.parser import HTMLParser

import pytest

for package in ("jinja2", "starlette", "uvicorn", "httpx"):
    pytest.importorskip(package, reason="the planner page needs the extra ui, its tests httpx")

PORT = 8642


class Page:
    """A client of the page, as a browser at its address."""

    def __init__(self, runner, **guard):
        import httpx

        from microdollar.ui.app import create_app

        transport = httpx.ASGITransport(create_app(PORT, **guard))
        self._client = httpx.AsyncClient(
            transport=transport, base_url=f"http://127.0.0.1:{PORT}", timeout=None
        )
        self._runner = runner

    def request(self, method, path, **given):
        return self._runner.run(self._client.request(method, path, **given))

    def get(self, path, **given):
        return self.request("GET", path, **given)

    def post(self, path, data=None, **given):
        return self.request("POST", path, data={"source": "name"} | (data or {}), **given)


class Shown(HTMLParser):
    """Rows of [low, value, high] by plan, texts to copy by id, problems by field, tags."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.codes, self.problems, self.tags = {}, {}, {}, []
        self._row = self._code = self._problem = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "tr":
            self._row = given.get("data-row")
        if tag == "data" and self._row:
            ends = [float(given[key]) for key in ("data-low", "value", "data-high")]
            self.rows.setdefault(self._row, []).append(ends)
        if tag == "code" and "id" in given:
            self._code = given["id"]
            self.codes[self._code] = ""
        if "data-error" in given:
            self._problem = (given["data-error"], given["data-field"])
            self.problems[self._problem] = ""

    def handle_endtag(self, tag):
        if tag == "code":
            self._code = None
        if tag == "p":
            self._problem = None

    def handle_data(self, data):
        if self._code:
            self.codes[self._code] += data
        if self._problem:
            self.problems[self._problem] += data


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    """No ledger and no calibration, and a working folder of its own."""
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def page(runner):
    return Page(runner)


@pytest.fixture(scope="session")
def read():
    """What a reader takes from the page's HTML."""
    return Shown
