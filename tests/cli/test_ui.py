"""The command ``ui`` as a process: where it listens, what it says, how it ends."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from microdollar.cli.main import main
from microdollar.cli.ui import PORT

for package in ("jinja2", "starlette", "uvicorn"):
    pytest.importorskip(package, reason="the planner page needs the extra ui")

COMMAND = (sys.executable, "-m", "microdollar", "ui")


def start(*options, home, **environment):
    opened = () if "--open" in options else ("--no-open",)
    return subprocess.Popen(
        [*COMMAND, *options, *opened],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"MICRODOLLAR_HOME": str(home)} | environment,
    )


def port_of(process):
    return int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])


def end(process):
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    process = start("--port", "0", home=tmp_path_factory.mktemp("home"))
    yield port_of(process)
    end(process)


def say(port, *parts, family=socket.AF_INET, pause=0.0):
    """What is answered to some bytes, until the connection is closed or nothing more comes."""
    address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.socket(family) as wire:
        wire.settimeout(30)
        wire.connect((address, port))
        for part in parts:
            wire.sendall(part)
            time.sleep(pause)
        wire.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: wire.recv(65536), b""))


def get(port, path="/static/ui.js", more=""):
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{more}\r\n".encode()
    )


def test_ctrl_c_ends_it_quietly(tmp_path):
    process = start("--port", "0", home=tmp_path)
    port_of(process)
    assert end(process) == (0, "", "Press Ctrl-C to end it.\n")


def test_ctrl_c_is_as_quiet_while_a_request_is_on_its_way(tmp_path):
    process = start("--port", "0", home=tmp_path)
    port = port_of(process)
    head = f"POST /results HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 99\r\n\r\nmodel="
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(head.encode())
        assert say(port, get(port)).startswith(b"HTTP/1.1 200")
        assert end(process) == (0, "", "Press Ctrl-C to end it.\n")


@pytest.mark.skipif(os.name != "posix", reason="BROWSER names a command of a POSIX shell")
def test_a_browser_is_opened_where_that_is_asked(tmp_path):
    shown = tmp_path / "shown"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {shown}.new && mv {shown}.new {shown}\n', "utf-8")
    script.chmod(0o755)
    process = start("--port", "0", "--open", home=tmp_path, BROWSER=f"{script} %s")
    port = port_of(process)
    assert say(port, get(port)).startswith(b"HTTP/1.1 200")
    while not shown.exists() and process.poll() is None:
        time.sleep(0.05)
    assert end(process)[0] == 0
    assert shown.read_text("utf-8").strip() == f"http://127.0.0.1:{port}/"


def test_a_taken_port_is_said_and_another_one_is_used(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        process = start("--port", str(number), home=tmp_path)
        other = port_of(process)
        assert say(other, get(other)).startswith(b"HTTP/1.1 200")
        code, _, err = end(process)
    assert code == 0
    assert other != number
    assert err.startswith(f"Port {number} is taken; another one is used.\n")


def test_it_listens_to_this_machine_alone(served):
    assert say(served, get(served)).startswith(b"HTTP/1.1 200")
    own = f"/proc/{os.getpid()}/net"
    if not os.path.exists(own):  # noqa: PTH110
        pytest.skip("this system does not list its listening sockets")
    addresses = set()
    for name in ("tcp", "tcp6"):
        with open(f"{own}/{name}", encoding="ascii") as lines:  # noqa: PTH123
            fields = [line.split() for line in lines][1:]
        for row in fields:
            address, _, number = row[1].rpartition(":")
            if int(number, 16) == served and row[3] == "0A":
                addresses.add(address)
    assert "0100007F" in addresses
    assert addresses <= {"0100007F", "00000000000000000000000001000000"}


def test_small_answers_are_sent_at_once():
    # asyncio turns Nagle's algorithm off only for sockets that name their protocol.
    from microdollar.ui.server import open_sockets

    sockets = open_sockets(0)
    for one in sockets:
        assert one.proto == socket.IPPROTO_TCP
        assert one.getsockname()[0] in ("127.0.0.1", "::1")
        one.close()


def test_no_option_binds_elsewhere(capsys):
    for option in ("--host", "--bind", "--address"):
        assert main(["ui", option, "0.0.0.0"]) == 2
    assert "No such option" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none(port, capsys):
    assert main(["ui", "--port", port]) == 2
    assert "--port" in capsys.readouterr().err


def test_a_large_body_in_chunks_is_refused(served):
    from microdollar.ui.guard import MOST_BODY_BYTES

    head = (
        f"POST /results HTTP/1.1\r\nHost: 127.0.0.1:{served}\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", served), timeout=30) as wire:
        # No more than it takes: bytes that nobody reads could cut the answer off.
        wire.sendall(head.encode() + chunk * (MOST_BODY_BYTES // 0x4000 + 1))
        answer = wire.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_the_page_lives(served, said):
    assert say(served, said).startswith(b"HTTP/1.1 4")
    assert say(served, get(served)).startswith(b"HTTP/1.1 200")


def test_a_connection_that_leaves_is_forgotten(served):
    for part in (b"", b"GET", get(served)[:-2], get(served, "/results")):
        with socket.create_connection(("127.0.0.1", served), timeout=30) as wire:
            wire.sendall(part)
    assert say(served, get(served)).startswith(b"HTTP/1.1 200")


def test_a_head_that_never_ends_is_hung_up_on(monkeypatch):
    import asyncio

    import uvicorn

    from microdollar.ui import server

    monkeypatch.setattr(server, "HEAD_SECONDS", 0.05)

    async def talk():
        sockets = server.open_sockets(0)
        port = sockets[0].getsockname()[1]
        running = uvicorn.Server(server.configuration(port))
        serving = asyncio.ensure_future(running._serve(sockets))
        ends = []
        for said in (b"", b"GET / HT", get(port)[:-2]):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            ends.append(await asyncio.wait_for(reader.read(), 60))
            writer.close()
        # One whole request, and half of a next one on the same connection.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get(port).replace(b"Connection: close\r\n", b""))
        ends.append(await asyncio.wait_for(reader.readline(), 60))
        writer.write(b"GET / HT")
        await asyncio.wait_for(reader.read(), 60)
        writer.close()
        running.should_exit = True
        await serving
        return ends

    *silent, answered = asyncio.run(talk())
    assert silent == [b"", b"", b""]
    assert answered.startswith(b"HTTP/1.1 200")


def test_the_default_port_is_one_that_anybody_may_use():
    assert PORT > 1023


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "jinja2"])
def test_without_the_extra_it_says_how_to_get_it(package, tmp_path):
    blocked = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"
        "from microdollar.cli.main import main\n"
        "sys.exit(main(['ui', '--port', '0', '--no-open']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", blocked],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"MICRODOLLAR_HOME": str(tmp_path)},
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") <= 2
    assert package in ended.stderr
    assert "pip install 'microdollar[ui]'" in ended.stderr
