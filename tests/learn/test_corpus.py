"""Corpora: what is read, in which order, and what never hangs."""

import hashlib
import io
import os
import socket
import threading
import types
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.errors import CorpusError
from microdollar.learn import corpus_enwik8, corpus_files
from microdollar.learn.corpus import Corpus, load_corpus, split
from microdollar.learn.corpus_enwik8 import ENWIK8, ZippedText, cache_folder, fetch_enwik8


def contents(name: object, **options: object) -> bytes:
    return load_corpus(str(name), **options).data.tobytes()


# Files


def test_file_is_read_whole_and_identified(tmp_path: Path) -> None:
    text = bytes(range(256)) * 3
    path = tmp_path / "text"
    path.write_bytes(text)
    corpus = load_corpus(str(path))
    assert corpus.data.dtype == np.uint8
    assert corpus.data.tobytes() == text
    assert corpus.sha256 == hashlib.sha256(text).hexdigest()
    assert corpus.name == str(path)
    assert corpus.notes == ()
    assert corpus.data.flags.writeable  # numba compiles once more for arrays that are not


def test_large_file_is_mapped_and_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = os.urandom(10_000)
    path = tmp_path / "text"
    path.write_bytes(text)
    monkeypatch.setattr(corpus_files, "MAP_BYTES", 100)
    data = load_corpus(str(path)).data
    assert data.tobytes() == text
    assert isinstance(data.base, np.memmap)
    assert contents(path, limit=5000) == text[:5000]
    assert data.flags.writeable
    data[:] = 0
    assert path.read_bytes() == text


def test_limit_reads_a_prefix_and_hashes_only_that(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"abcdef")
    corpus = load_corpus(str(path), limit=4)
    assert corpus.data.tobytes() == b"abcd"
    assert corpus.sha256 == hashlib.sha256(b"abcd").hexdigest()
    assert contents(path, limit=100) == b"abcdef"


def test_empty_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "nothing"
    path.touch()
    with pytest.raises(CorpusError, match=r"nothing' is empty\. Name a file"):
        load_corpus(str(path))


def test_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "shakespeare.txt").write_text("x")
    with pytest.raises(CorpusError, match=r"Did you mean .*/shakespeare\.txt\?"):
        load_corpus(str(tmp_path / "shakespaere.txt"))


def test_misspelt_name_gives_the_right_one() -> None:
    with pytest.raises(CorpusError, match=r"called 'python-doc'\. Did you mean python-docs\?"):
        load_corpus("python-doc")


def test_file_whose_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no file or corpus called"):
        load_corpus(str(tmp_path / "no" / "zzzz"))


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_device_is_refused(device: str) -> None:
    with pytest.raises(CorpusError, match="not a file, a folder or a pipe"):
        load_corpus(device)


@pytest.mark.timeout(10)
def test_pipe_that_nobody_writes_to_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(CorpusError, match="is empty"):
        load_corpus(str(path))


@pytest.mark.timeout(10)
def test_pipe_with_a_slow_writer_is_read_to_its_end() -> None:
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb", buffering=0) as pipe:
            for part in (b"one ", b"two ", b"three"):
                threading.Event().wait(0.05)
                pipe.write(part)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert contents(f"/dev/fd/{reader}") == b"one two three"
    finally:
        thread.join()
        os.close(reader)


# Folders


def test_folder_joins_files_in_the_order_of_their_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z").write_bytes(b"third")
    (tmp_path / "a").write_bytes(b"first\n")
    (tmp_path / "a2").write_bytes(b"second")
    (tmp_path / "empty").touch()
    (tmp_path / "c").write_bytes(b"\xff")
    assert contents(tmp_path) == b"first\n\nsecond\nthird\n\xff"


@pytest.mark.parametrize("limit", range(1, 12))
def test_limited_folder_is_a_prefix(tmp_path: Path, limit: int) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 3)
    assert contents(tmp_path, limit=limit) == b"aaa\nbbb\nccc"[:limit]


def test_folder_leaves_out_hidden_files_and_version_control(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_bytes(b"ref")
    (tmp_path / ".hidden").write_bytes(b"secret")
    (tmp_path / "seen").write_bytes(b"seen")
    assert contents(tmp_path) == b"seen"


@pytest.mark.timeout(10)
def test_folder_with_loops_pipes_and_sockets_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_bytes(b"text")
    (tmp_path / "link").symlink_to(tmp_path / "text")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        corpus = load_corpus(".")
    assert corpus.data.tobytes() == b"text\ntext"
    assert len(corpus.notes) == 1
    assert "itself" in corpus.notes[0]


def test_folder_says_what_could_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcdefg":
        (tmp_path / name).write_bytes(name.encode())
    really = corpus_files._open

    def refuse(path: Path) -> io.FileIO:
        if path.name > "b":
            raise PermissionError(13, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr(corpus_files, "_open", refuse)
    corpus = load_corpus(str(tmp_path))
    assert corpus.data.tobytes() == b"a\nb"
    assert corpus.notes[0] == f"left out {tmp_path / 'c'}: permission denied"
    assert corpus.notes[-1] == "left out 2 more that could not be read"


def test_folder_without_readable_file(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to("nowhere")
    with pytest.raises(CorpusError, match=r"no readable file .*broken: no such file"):
        load_corpus(str(tmp_path))


def test_folder_larger_than_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_files, "memory_bound", lambda: 1000)
    for name in "ab":
        (tmp_path / name).write_bytes(b"x" * 600)
    with pytest.raises(CorpusError, match=r"longer than 1\.00 kB, half of this machine's memory"):
        load_corpus(str(tmp_path))
    assert len(contents(tmp_path, limit=900)) == 900


# Standard input


def feed(monkeypatch: pytest.MonkeyPatch, text: bytes) -> io.BytesIO:
    stream = io.BytesIO(text)
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=stream))
    return stream


def test_standard_input_is_read_to_its_end_or_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"abc" * 1000)
    assert contents("-") == b"abc" * 1000
    stream = feed(monkeypatch, b"abcdef")
    assert contents("-", limit=4) == b"abcd"
    assert stream.read() == b"ef"


def test_endless_standard_input_stops_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"x" * (3 << 20))
    monkeypatch.setattr(corpus_files, "memory_bound", lambda: 1 << 20)
    with pytest.raises(CorpusError, match="half of this machine's memory"):
        load_corpus("-")


def test_empty_or_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"")
    with pytest.raises(CorpusError, match="'-' is empty"):
        load_corpus("-")
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(CorpusError, match="no standard input"):
        load_corpus("-")


# Texts by name


def test_python_docs_are_all_topics_in_order() -> None:
    from pydoc_data.topics import topics

    text = contents("python-docs")
    assert len(text) > 300_000
    first, last = min(topics), max(topics)
    assert text.startswith(topics[first].encode())
    assert text.endswith(topics[last].encode())
    assert contents("python-docs", limit=1000) == text[:1000]


def test_file_called_like_a_built_in_text_wins_and_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "enwik8").write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    corpus = load_corpus("enwik8")
    assert corpus.data.tobytes() == b"mine"
    assert "read from here" in corpus.notes[0]
    assert load_corpus("./enwik8").notes == ()


@dataclass
class Server:
    """A web server on the loopback that counts requests."""

    answer: bytes = b""
    status: int = 200
    promise: int | None = None
    url: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    said = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.asked.append(self.path)
            self.send_response(said.status)
            self.send_header("Content-Length", str(said.promise or len(said.answer)))
            self.end_headers()
            self.wfile.write(said.answer)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    said.url = f"http://127.0.0.1:{http.server_port}/dc/enwik8.zip"
    yield said
    http.shutdown()
    thread.join()
    http.server_close()


TEXT = b"the first hundred million bytes, shortened" * 10


def zipped(text: bytes = TEXT, member: str = "enwik8") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, text)
    return out.getvalue()


def source(server: Server, *, answer: bytes, text: bytes = TEXT) -> ZippedText:
    server.answer = answer
    return ZippedText(
        name="enwik8",
        url=server.url,
        zip_sha256=hashlib.sha256(answer).hexdigest(),
        member="enwik8",
        bytes=len(text),
        sha256=hashlib.sha256(text).hexdigest(),
    )


def test_download_once_then_from_the_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    told: list[tuple[float, float, str]] = []
    wanted = source(server, answer=zipped())
    path = fetch_enwik8(lambda *said: told.append(said), source=wanted)
    assert path == cache_folder() / "enwik8" == tmp_path / "home" / "corpora" / "enwik8"
    assert path.read_bytes() == TEXT
    assert list(path.parent.iterdir()) == [path]
    assert (len(server.answer), len(server.answer), "downloading enwik8") in told

    monkeypatch.setattr("microdollar.learn.corpus.fetch_enwik8", lambda _: path)
    assert contents("enwik8", limit=100) == TEXT[:100]
    assert fetch_enwik8(source=wanted) == path
    assert len(server.asked) == 1


def test_cut_short_copy_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "enwik8").write_bytes(TEXT[:50])
    path = fetch_enwik8(source=source(server, answer=zipped()), folder=tmp_path)
    assert path.read_bytes() == TEXT


def test_other_zip_than_promised(server: Server, tmp_path: Path) -> None:
    wanted = source(server, answer=zipped())
    server.answer = zipped(b"something else")
    with pytest.raises(CorpusError, match=r"can't be downloaded .*Fetch and unzip it yourself"):
        fetch_enwik8(source=wanted, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_text_than_promised(server: Server, tmp_path: Path) -> None:
    wanted = source(server, answer=zipped(TEXT + b"!"))
    with pytest.raises(CorpusError, match="holds another text than enwik8"):
        fetch_enwik8(source=wanted, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", [b"not a zip", zipped(member="other"), zipped()[:-10]])
def test_zip_that_can_not_be_unpacked(server: Server, tmp_path: Path, answer: bytes) -> None:
    with pytest.raises(CorpusError, match="can't be unpacked"):
        fetch_enwik8(source=source(server, answer=answer), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_server_that_refuses_or_hangs_up(server: Server, tmp_path: Path) -> None:
    wanted = source(server, answer=zipped())
    server.status = 404
    with pytest.raises(CorpusError, match="404"):
        fetch_enwik8(source=wanted, folder=tmp_path)
    server.status, server.promise = 200, len(server.answer) + 100
    with pytest.raises(CorpusError, match="can't be downloaded"):
        fetch_enwik8(source=wanted, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_server_that_is_not_there(server: Server, tmp_path: Path) -> None:
    wanted = replace(source(server, answer=zipped()), url="http://127.0.0.1:1/enwik8.zip")
    with pytest.raises(CorpusError) as caught:
        fetch_enwik8(source=wanted, folder=tmp_path)
    assert str(caught.value) == (
        "enwik8 can't be downloaded from http://127.0.0.1:1/enwik8.zip: no connection "
        "(ConnectionError). Fetch and unzip it yourself and name the file, or put it at "
        f"{tmp_path / 'enwik8'}."
    )


def test_cache_that_can_not_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="can't be downloaded"):
        fetch_enwik8(source=source(server, answer=zipped()), folder=tmp_path / "file" / "below")


def test_what_enwik8_must_be() -> None:
    assert ENWIK8.bytes == 10**8
    assert "a1fa5ffddb56f4953e226637dabbb36a" in str(corpus_enwik8.__doc__)
    assert len(ENWIK8.sha256) == len(ENWIK8.zip_sha256) == 64


def test_development_data_is_the_start_of_enwik8() -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / "enwik8_first_2mb"
    if not path.exists():
        pytest.skip("the development data is not beside the repository")
    assert load_corpus(str(path)).sha256 == (
        "f35c97c117cef50d6650f334befce5415f727139e28d2ff6524e05f1d90bbc68"
    )


# Splitting


def corpus_of(size: int) -> Corpus:
    return Corpus(data=np.arange(size).astype(np.uint8), name="text", sha256="")


@given(st.integers(1, 300), st.data())
def test_split_is_two_neighbouring_ranges(size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, size - 1))
    train_bytes = data.draw(st.integers(1, size - start))
    test_bytes = data.draw(st.integers(0, size - start - train_bytes))
    corpus = corpus_of(size)
    cut = split(corpus, train_bytes=train_bytes, test_bytes=test_bytes, start=start)
    assert cut.train_range == (start, start + train_bytes)
    assert cut.test_range == (start + train_bytes, start + train_bytes + test_bytes)
    assert cut.train.tobytes() == corpus.data[slice(*cut.train_range)].tobytes()
    assert cut.test.tobytes() == corpus.data[slice(*cut.test_range)].tobytes()


def test_split_without_a_size_takes_what_the_test_leaves() -> None:
    cut = split(corpus_of(100), test_bytes=30, start=10)
    assert (cut.train_range, cut.test_range) == ((10, 70), (70, 100))


def test_split_beyond_the_end_says_how_much_there_is() -> None:
    with pytest.raises(CorpusError) as caught:
        split(corpus_of(1500), train_bytes=2000)
    assert str(caught.value) == (
        "corpus 'text' has 1,500 bytes; 2,000 training bytes from byte 0 on would end at 2,000. "
        "Give --train-bytes 1500 or fewer."
    )
    with pytest.raises(CorpusError, match=r"900 test bytes .*Give --train-bytes 600 or fewer"):
        split(corpus_of(1500), train_bytes=700, test_bytes=900)
    with pytest.raises(CorpusError, match="Give fewer bytes, or name a longer text"):
        split(corpus_of(10), train_bytes=1, test_bytes=900)
    with pytest.raises(CorpusError, match="1 training bytes from byte 10 on"):
        split(corpus_of(10), start=10)
