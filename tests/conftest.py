"""What tests of several packages share."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings

from microdollar.spec import Rates

# No test goes by the clock: the machine may be busy. Every run has the same examples, so that what
# fails fails again; `pytest --hypothesis-profile explore` looks for others.
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", BUSY)
settings.register_profile("same", BUSY, derandomize=True)
settings.load_profile("same")

KINDS = [
    f"{runtime}/{dtype}"
    for runtime in ("compiled", "numpy", "torch")
    for dtype in ("float32", "float64")
]
RATES = Rates(
    matmul_flops_per_second={key: ((1.0, 1e10),) for key in KINDS},
    matmul_thread_gain=((1.0, 1.5),),
    stream_bytes_per_second=((1.0, 1e9),),
    stream_thread_gain=1.5,
    first_touch_bytes_per_second=1e9,
    elementwise_flops_per_second=dict.fromkeys(KINDS, 1e9),
    transcendental_flops_per_second={
        f"{key}/{name}": 1e8 for key in KINDS for name in ("exp", "log", "tanh")
    },
    int_ops_per_second=1e9,
    increments_per_second=((1.0, 1e8),),
    probes_per_second=((1.0, 1e7),),
    random_thread_gain=1.5,
    call_seconds={"numpy": 1e-6, "torch": 2e-6},
    spread=1.1,
    measured_at="2026-11-22T00:00:00+00:00",
)


@pytest.fixture(scope="session")
def rates():
    """A calibration with round numbers, in which every rate is known."""
    return RATES


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OURS = ("127.0.0.1", "localhost", "[::1]", "::1")


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; skips where there is none.

    One a module and not one a session: while Playwright runs, asyncio takes this thread for one
    in a loop, so that it has to end before other tests.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)} is on PATH")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    """Opens pages in fresh contexts: ``open_page(path_or_url, width=1280, scheme="light")``.

    The test fails at its end (and, for what was there after loading, at once) on an error in the
    console, on an exception of the page, and on a request to anywhere but files, data and
    this machine; such a request is not sent.
    """
    problems: list[str] = []
    contexts = []

    def stop_strangers(route):
        address = urlsplit(route.request.url)
        if address.scheme in ("file", "data", "blob", "about") or address.hostname in OURS:
            route.continue_()
        else:
            problems.append(f"request to {route.request.url}")
            route.abort()

    def listen(page):
        page.on(
            "console",
            lambda said: said.type == "error" and problems.append(f"console: {said.text}"),
        )
        page.on("pageerror", lambda error: problems.append(f"exception: {error}"))

    def complain():
        said = problems.copy()
        problems.clear()
        assert not said, said

    def opened(path_or_url, *, width=1280, scheme="light", height=900, **options):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        contexts.append(context)
        context.route("**/*", stop_strangers)
        context.on("page", listen)
        page = context.new_page()
        page.set_default_timeout(20_000)
        text = str(path_or_url)
        page.goto(text if "://" in text else Path(text).resolve().as_uri())
        complain()
        return page

    yield opened
    for context in contexts:
        context.close()
    complain()


@pytest.fixture(scope="session")
def axe():
    """``axe(page)``: what axe-core finds of serious or critical impact, a line for each element."""
    package = pytest.importorskip("axe_playwright_python.sync_playwright")
    checker = package.Axe()

    def findings(page):
        # No preload: axe would ask for style sheets again, which a page from a file may not.
        violations = checker.run(page, options={"preload": False}).response["violations"]
        return [
            f"{rule['id']} ({rule['impact']}): {node['html'][:200]}: {node.get('failureSummary')}"
            for rule in violations
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]

    return findings
