"""Who is answered: this machine's own browser at the page's own address, in small words."""

import asyncio

import pytest

from microdollar.ui.app import create_app
from microdollar.ui.guard import HEADERS, MOST_BODY_BYTES

PORT = 8642
OWN = f"http://127.0.0.1:{PORT}"


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"[::1]:{PORT}"])
def test_its_own_names_are_answered(page, host):
    same = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert page.get("/", headers={"host": host}).status_code == 200
    assert page.post("/results", {"model": "gpt2", "device": "l4"}, headers=same).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        f"evil.example:{PORT}",
        "127.0.0.1",
        "localhost:80",
        "",
        f"0.0.0.0:{PORT}",
        f"127.0.0.1.evil.example:{PORT}",
        f"127.0.0.1:{PORT}@evil.example",
        "127.1",
        f"[::]:{PORT}",
    ],
)
def test_a_name_pointed_at_this_machine_is_not(page, host):
    for path in ("/", "/static/ui.js", "/none"):
        assert page.get(path, headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        f"https://127.0.0.1:{PORT}",
        "http://127.0.0.1:1",
        "",
        "x" * 99,
        f"http://localhost:{PORT}",
        f"{OWN}.evil.example",
        f"{OWN}/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_is_refused(page, method, origin):
    answer = page.request(method, "/", headers={"origin": origin})
    assert answer.status_code == 403
    assert "llama" not in answer.text


@pytest.mark.parametrize("site", ["cross-site", "same-site", "new-kind"])
def test_another_site_may_only_link_here(page, site):
    link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert page.get("/", headers=link).status_code == 200
    assert page.post("/", headers=link).status_code == 403
    for key, value in (("dest", "iframe"), ("dest", "script"), ("mode", "no-cors")):
        headers = link | {f"sec-fetch-{key}": value}
        assert page.get("/", headers=headers).status_code == 403
    assert page.get("/", headers={"sec-fetch-site": site}).status_code == 403


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data"])
def test_a_body_of_another_kind_is_refused(page, kind):
    answer = page.request("POST", "/results", content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 415


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("header", [("content-length", "9"), ("transfer-encoding", "chunked")])
def test_a_body_that_nobody_reads_is_refused(page, method, header):
    answer = page.request(method, "/", headers=[header])
    assert answer.status_code == 400
    assert answer.headers["connection"] == "close"


def test_a_body_that_says_it_is_too_large_is_not_read(page):
    assert page.request("POST", "/results", content=b"x" * MOST_BODY_BYTES).status_code == 200
    answer = page.request("POST", "/results", content=b"x" * (MOST_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


def ask(app, messages, headers=()):
    """Status of the answer to a body that comes in pieces."""
    sent, asked = [], 0

    async def receive():
        nonlocal asked
        asked += 1
        message = next(messages)
        if message is None:
            await asyncio.Event().wait()
        return message

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/results",
        "raw_path": b"/results",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", PORT),
        "headers": [(b"host", f"127.0.0.1:{PORT}".encode()), *headers],
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], asked


def endless(part):
    while True:
        yield {"type": "http.request", "body": part, "more_body": True}


def test_a_body_without_a_length_is_read_no_further_than_allowed():
    status, asked = ask(create_app(PORT), endless(b"x" * 10_000))
    assert status == 413
    assert asked == MOST_BODY_BYTES // 10_000 + 1


def test_a_body_that_never_ends_is_given_up():
    part = {"type": "http.request", "body": b"model=", "more_body": True}
    assert ask(create_app(PORT, body_seconds=0.01), iter([part, None]))[0] == 408


def test_a_body_that_is_cut_off():
    assert ask(create_app(PORT), iter([{"type": "http.disconnect"}]))[0] == 400


@pytest.mark.parametrize("length", [b"x", b"-1", b"9" * 30, "²".encode()])
def test_a_length_that_is_none(length):
    assert ask(create_app(PORT), endless(b""), [(b"content-length", length)])[0] == 400


def test_other_scopes_are_not_answered():
    async def never(*_):
        raise AssertionError("it was asked")

    asyncio.run(create_app(PORT)({"type": "websocket", "headers": []}, never, never))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/static/ui.css", 200),
        ("GET", "/static/ui.js", 200),
        ("GET", "/static/..%2fapp.py", 404),
        ("GET", "/static/%2e%2e/%2e%2e/pyproject.toml", 404),
        ("GET", "/nothing", 404),
        ("GET", "/results", 405),
        ("DELETE", "/", 405),
        ("GET", "/?model=gpt5", 422),
        ("GET", "/?" + "a=1&" * 300, 400),
    ],
)
def test_every_answer_has_the_headers_of_safety(page, method, path, status):
    answer = page.request(method, path)
    assert answer.status_code == status
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]


def test_nothing_is_run_or_styled_but_its_own_files(page, read):
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    both = "/?model=gpt2&device=l4&compare=on&b-model=gpt2&b-device=t4&b-tokens=1G"
    for tag, given in read(page.get(both).text).tags:
        assert tag != "style"
        assert "style" not in given
        assert not any(name.startswith("on") for name in given)
        assert tag != "script" or given["src"] == "/static/ui.js"
