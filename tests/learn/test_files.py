"""Model folders: exact round trips, all-or-nothing writes, hostile files refused."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save, save_file

from microdollar.errors import ModelFileError
from microdollar.learn import files, replace_folder
from microdollar.learn.files import TensorSpec, load_folder, read_config, save_folder

STORED = ["float32", "float64", "uint8", "uint32", "int64", "uint64"]
SPECS = {
    "W": TensorSpec(dtype="float32", shape=("hidden", "vocab")),
    "b": TensorSpec(dtype="float64", shape=("vocab",)),
    "keys": TensorSpec(dtype="uint64", shape=("units",)),
}
CONFIG = {"network": "toy", "hidden": 3, "note": "π"}


def toy(seed=0, units=5):
    rng = np.random.default_rng(seed)
    return {
        "W": rng.standard_normal((3, 4)).astype(np.float32),
        "b": rng.standard_normal(4),
        "keys": rng.integers(0, 2**63, units, dtype=np.uint64),
    }


def same(one, other):
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype
        and one[k].shape == other[k].shape
        and one[k].tobytes() == other[k].tobytes()
        for k in one
    )


def load_toy(folder, **more):
    return load_folder(folder, network="toy", tensors=SPECS, **more)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    save_folder(folder, toy(), CONFIG)
    return folder


def refused(folder, *words, **more):
    """The message of the refusal; it must name a file of the folder and have the words."""
    with pytest.raises(ModelFileError) as caught:
        load_toy(folder, **more)
    message = str(caught.value)
    assert str(folder) in message, message
    for word in words:
        assert word in message, message
    assert message.count("\n") == 0 and len(message) < 600
    return message


# --- round trips


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_round_trip_is_bit_exact(tmp_path_factory, data):
    dtype = st.sampled_from(STORED)
    shape = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    names = st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__")
    tensors = data.draw(st.dictionaries(names, hnp.arrays(dtype, shape), max_size=4))
    # safetensors wants UTF-8 names; half a surrogate pair has none.
    tensors = {k.encode("utf-8", "replace").decode(): v for k, v in tensors.items()}
    folder = tmp_path_factory.mktemp("round") / "m"
    save_folder(folder, tensors, {"network": "any", "x": [1, 2.5, None]})
    specs = {k: TensorSpec(dtype=v.dtype.name, shape=v.shape) for k, v in tensors.items()}
    loaded, config = load_folder(folder, network="any", tensors=specs)
    assert same(loaded, tensors)  # NaN payloads and -0.0 included: bytes are compared
    assert config == {"network": "any", "x": [1, 2.5, None]}
    assert all(array.flags.writeable for array in loaded.values())


def test_layouts_that_are_not_plain_are_stored_by_value(tmp_path):
    tensors = {
        "big_endian": np.arange(3, dtype=">u4"),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        "strided": np.arange(10, dtype=np.float32)[::3],
        "scalar": np.array(2.5),
    }
    save_folder(tmp_path / "m", tensors, {"network": "n"})
    by_library = load_file(tmp_path / "m" / "model.safetensors")
    for name, array in tensors.items():
        assert np.array_equal(by_library[name], array) and by_library[name].shape == array.shape


def test_files_of_the_library_are_read(tmp_path, model):
    tensors = toy(7)
    save_file(tensors, model / "model.safetensors", metadata={"made": "elsewhere"})
    assert same(load_toy(model)[0], tensors)


def test_only_two_files_and_a_config_for_people(model):
    assert sorted(p.name for p in model.iterdir()) == ["config.json", "model.safetensors"]
    config = json.loads((model / "config.json").read_text("utf-8"))
    assert config == {"format": "microdollar", "format_version": 1} | CONFIG
    assert read_config(model) == CONFIG
    assert [p.name for p in model.parent.iterdir()] == ["model"]


def test_specs_may_depend_on_the_config(model):
    loaded, _ = load_folder(model, network="toy", tensors=lambda c: SPECS if c["hidden"] else {})
    assert same(loaded, toy())
    with pytest.raises(ModelFileError, match=r"config\.json: unusable value \(KeyError"):
        load_folder(model, network="toy", tensors=lambda c: c["absent"])


# --- writing


def test_an_older_model_is_replaced(model):
    save_folder(model, toy(2), CONFIG)
    assert same(load_toy(model)[0], toy(2))
    assert [p.name for p in model.parent.iterdir()] == ["model"]


def test_replacing_works_without_an_atomic_exchange(model, monkeypatch):
    monkeypatch.setattr(replace_folder, "_exchange", lambda one, other: False)
    save_folder(model, toy(2), CONFIG)
    assert same(load_toy(model)[0], toy(2))
    assert [p.name for p in model.parent.iterdir()] == ["model"]


def test_an_empty_folder_is_filled_and_parents_are_made(tmp_path):
    (tmp_path / "empty").mkdir()
    save_folder(tmp_path / "empty", toy(), CONFIG)
    save_folder(tmp_path / "a" / "b" / "c", toy(), CONFIG)
    assert same(load_toy(tmp_path / "a" / "b" / "c")[0], load_toy(tmp_path / "empty")[0])


def test_a_link_to_a_model_keeps_being_one(model):
    link = model.parent / "link"
    link.symlink_to(model)
    save_folder(link, toy(3), CONFIG)
    assert link.is_symlink() and same(load_toy(model)[0], toy(3))


@pytest.mark.parametrize("name", ["thesis.txt", ".hidden", "model.safetensors", "config.json"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text("{}")
    with pytest.raises(ModelFileError, match=r"left as it is.*Name a new folder"):
        save_folder(folder, toy(), CONFIG)
    assert (folder / name).read_text() == "{}"
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_the_current_folder_and_a_file_are_refused(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ModelFileError, match="Type model instead"):
        save_folder(Path(), toy(), CONFIG)
    (tmp_path / "file").write_text("text")
    with pytest.raises(ModelFileError):
        save_folder(tmp_path / "file", toy(), CONFIG)
    with pytest.raises(ModelFileError):
        save_folder(tmp_path / "file" / "below", toy(), CONFIG)
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("step", ["_write_tensors", "sync", "move_into_place"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_at_any_step_leaves_what_was_there(tmp_path, monkeypatch, old, step, error):
    folder = tmp_path / "above" / "model"
    if old:
        save_folder(folder, toy(1), CONFIG)

    def fail(*_):
        raise error

    monkeypatch.setattr(files, step, fail)
    with pytest.raises((ModelFileError, KeyboardInterrupt)) as caught:
        save_folder(folder, toy(2), CONFIG)
    assert isinstance(caught.value, KeyboardInterrupt) == isinstance(error, KeyboardInterrupt)
    if isinstance(error, OSError):
        assert "No space left" in str(caught.value) and str(folder) in str(caught.value)
    if old:
        assert same(load_toy(folder)[0], toy(1))
        assert [p.name for p in folder.parent.iterdir()] == ["model"]
    else:
        assert list(tmp_path.iterdir()) == []


def test_failure_between_two_renames_brings_the_old_model_back(model, monkeypatch):
    monkeypatch.setattr(replace_folder, "_exchange", lambda one, other: False)
    real, calls = Path.rename, []

    def rename(self, target):
        calls.append(self)
        if len(calls) == 3:  # the new folder, with the old one already away
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(ModelFileError, match="Input/output error"):
        save_folder(model, toy(2), CONFIG)
    assert same(load_toy(model)[0], toy())
    assert [p.name for p in model.parent.iterdir()] == ["model"]


_SAVE_FOR_EVER = """
import sys
import numpy as np
from pathlib import Path
from microdollar.learn.files import save_folder
n = 0
while True:
    save_folder(Path(sys.argv[1]), {"x": np.full(5000, n, np.int64)}, {"network": "n", "n": n})
    n += 1
    print(n, flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_writer_never_leaves_half_a_model(tmp_path, how):
    folder = tmp_path / "m"
    specs = {"x": TensorSpec(dtype="int64", shape=(5000,))}
    for wait in (0.003, 0.011, 0.017):
        process = subprocess.Popen(
            [sys.executable, "-c", _SAVE_FOR_EVER, folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout.readline()
        time.sleep(wait)
        process.send_signal(how)
        process.communicate()
        tensors, config = load_folder(folder, network="n", tensors=specs)
        assert (tensors["x"] == config["n"]).all()
    if how == signal.SIGINT:
        assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_readers_always_see_a_whole_model_while_it_is_replaced(tmp_path):
    folder = tmp_path / "m"
    specs = {"x": TensorSpec(dtype="int64", shape=(5000,))}
    process = subprocess.Popen(
        [sys.executable, "-c", _SAVE_FOR_EVER, folder], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline()
        for _ in range(200):
            read_config(folder)
            tensors, _ = load_folder(folder, network="n", tensors=specs)
            assert (tensors["x"] == tensors["x"][0]).all()
    finally:
        process.kill()
        process.communicate()


def test_full_disk(tmp_path):
    """A real failing write: the process may not make a file larger than 64 kB."""
    code = _SAVE_FOR_EVER.replace("5000", "50_000").replace(
        "n = 0", "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\nn = 0"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "above" / "m"], capture_output=True, text=True
    )
    assert done.returncode == 1 and "ModelFileError: can't write the model to" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ModelFileError, match="Permission denied"):
            save_folder(tmp_path / "m", toy(), CONFIG)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("tensors", "config", "error"),
    [
        ({"x": np.array(["text"])}, {"network": "n"}, TypeError),
        ({"x": np.array([1j])}, {"network": "n"}, TypeError),
        ({}, {"network": "n", "x": object()}, TypeError),
        ({}, {"network": "n", "x": float("nan")}, ValueError),
        ({}, {}, ValueError),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(
    tmp_path, tensors, config, error
):
    with pytest.raises(error):
        save_folder(tmp_path / "m", tensors, config)
    assert list(tmp_path.iterdir()) == []


# --- hostile files


def with_header(header, data=b"", length=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def described(dtype="F32", shape=(3, 4), offsets=(0, 48)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "truncated or empty"),
        (b"1234567", "truncated or empty"),
        (b"\x80\x04 a pickle is not read as one", "not a safetensors file"),
        (with_header({}, length=2**63), "header would have"),
        (with_header({}, length=2**40), "header would have"),
        (with_header(b"\xff\xfe{}"), "not valid JSON"),
        (with_header(b"[1]"), "not a JSON object"),
        (with_header(b"[" * 100_000), "nested too deeply"),
        (with_header(b'{"W": 1, "W": 2}'), "same key twice"),
        (with_header(b'{"W": ' + b"9" * 5000 + b"}"), "not valid JSON"),
        (with_header(b'{"W": 1e999}'), "beyond the range"),
        (with_header(b'{"W": NaN}'), "is not a number"),
        (with_header(rb'{"\ud800": 1}'), "not valid JSON"),
        (with_header({"W": 1}), "not described by"),
        (with_header({"W": described() | {"more": 1}}), "not described by"),
        (with_header({"W": described("F99")}, bytes(48)), "unknown type"),
        (with_header({"W": described(["F32"])}, bytes(48)), "unknown type"),
        (with_header({"W": described("BOOL")}, bytes(48)), "unknown type"),
        (with_header({"W": described(shape=(-3, -4))}, bytes(48)), "impossible shape"),
        (with_header({"W": described(shape=(True,))}, bytes(48)), "impossible shape"),
        (with_header({"W": described(shape=(2**70,))}, bytes(48)), "impossible shape"),
        (with_header({"W": described(shape=(0, 2**61), offsets=(0, 0))}), "impossible shape"),
        (with_header({"W": described(shape=(2**31, 2**31))}, bytes(48)), "impossible shape"),
        (with_header({"W": described(shape=(1,) * 99)}, bytes(48)), "impossible shape"),
        (with_header({"W": described(offsets=(0,))}, bytes(48)), "impossible shape or place"),
        (with_header({"W": described(offsets=(48, 0))}, bytes(48)), "does not fit"),
        (with_header({"W": described(shape=(3, 5))}, bytes(48)), "does not fit"),
        (with_header({"W": described()}, bytes(47)), "truncated or too long"),
        (with_header({"W": described()}, bytes(49)), "truncated or too long"),
        (with_header({"W": described(offsets=(4, 52))}, bytes(52)), "leaves a hole"),
        (with_header({"W": described(), "b": described()}, bytes(48)), "overlaps"),
        (with_header({"W": described(offsets=(2**50, 2**50 + 48))}, bytes(48)), "hole"),
        (with_header({"W": described()}, bytes(48)), "'b' is missing"),
        (save(toy() | {"spy": np.zeros(1)}), "'spy' does not belong"),
        (save(toy() | {"W": np.zeros((3, 4))}), "float64 (3, 4), want float32 (hidden = 3"),
        (save(toy() | {"W": np.zeros(12, np.float32)}), "want float32 (hidden = 3, vocab)"),
        (save(toy() | {"W": np.zeros((9, 4), np.float32)}), "hidden = 3"),
        (save(toy() | {"b": np.zeros(7)}), "vocab = "),
    ],
)
def test_hostile_tensor_file(model, content, word):
    (model / "model.safetensors").write_bytes(content)
    assert str(model / "model.safetensors") in refused(model, word)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "not a model of microdollar"),
        (b'{"format": "microdollar", "format": "microdollar"}', "same key twice"),
        (b'{"format": "microdollar"}', "format_version"),
        (b'{"format": "microdollar", "format_version": true}', "format_version"),
        (b'{"format": "microdollar", "format_version": 2}', "pip install --upgrade"),
        (b'{"format": "microdollar", "format_version": 1}', "no 'network'"),
        (b'{"format": "microdollar", "format_version": 1, "network": []}', "no 'network'"),
        (b'{"format": "microdollar", "format_version": 1, "network": "x"}', "want 'toy'"),
        (b"[" * 200_000, "nested too deeply"),
        (b" " * (2**20 + 1), "more than the"),
    ],
)
def test_hostile_config(model, content, word):
    (model / "config.json").write_bytes(content)
    assert str(model / "config.json") in refused(model, word)


def test_a_check_of_the_caller_is_heard(model):
    specs = SPECS | {
        "keys": TensorSpec(
            dtype="uint64", shape=("units",), check=lambda s: "odd" if s[0] % 2 else None
        )
    }
    with pytest.raises(ModelFileError, match="'keys': odd"):
        load_folder(model, network="toy", tensors=specs)
    save_folder(model, toy(units=4), CONFIG)
    load_folder(model, network="toy", tensors=specs)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "loop", "zero", "dangling"])
def test_things_that_are_no_files(model, name, kind):
    path = model / name
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "dangling":
        path.symlink_to("nowhere")
    outcome: list[object] = []

    def attempt():
        try:
            outcome.append(refused(model, name))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=attempt, daemon=True)  # a hang must fail, not hang us
    thread.start()
    thread.join(20)
    assert outcome and isinstance(outcome[0], str), outcome


def test_no_folder_at_all(tmp_path):
    refused(tmp_path / "absent", "no such file")
    (tmp_path / "file").write_text("text")
    refused(tmp_path / "file", "can't be opened")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "loop", "can't be opened")
    with pytest.raises(ModelFileError):
        save_folder(tmp_path / "loop", toy(), CONFIG)


@pytest.mark.parametrize(
    "header",
    [
        {
            "W": described(),
            "b": described("F64", (4,), (48, 80)),
            "keys": described("U64", (2**37,), (80, 80 + 2**40)),
        },
        {"W": described(shape=(2**38,), offsets=(0, 2**40))},
    ],
)
def test_a_large_sparse_file_allocates_nothing(model, header):
    path = model / "model.safetensors"
    path.write_bytes(with_header(header))
    os.truncate(path, path.stat().st_size + 2**40)
    tracemalloc.start()
    try:
        refused(model, "more than the")
        refused(model, max_bytes=2**42)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_memory_that_is_not_there(tmp_path):
    """A consistent file larger than the memory the process may have."""
    folder = tmp_path / "m"
    save_folder(folder, {"x": np.zeros(1, np.uint8)}, {"network": "n"})
    path = folder / "model.safetensors"
    path.write_bytes(with_header({"x": described("U8", (2**40,), (0, 2**40))}))
    os.truncate(path, path.stat().st_size + 2**40)
    code = """
import resource, sys
from pathlib import Path
import numpy
from microdollar.learn.files import TensorSpec, load_folder
resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
load_folder(Path(sys.argv[1]), network="n", max_bytes=2**42,
            tensors={"x": TensorSpec(dtype="uint8", shape=("n",))})
"""
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert "does not fit in memory" in done.stderr and "ModelFileError" in done.stderr


def test_a_file_that_shrinks_while_it_is_read(model, monkeypatch):
    real = files._match

    def shrink(path, *rest):
        os.truncate(path, path.stat().st_size - 10)
        real(path, *rest)

    monkeypatch.setattr(files, "_match", shrink)
    refused(model, "truncated: it ended 10 bytes too early")


FUZZ = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def restored(model, name):
    """Both files as they were written; the bytes of ``name``."""
    pristine = model.parent / "pristine"
    if not pristine.exists():
        save_folder(pristine, toy(), CONFIG)
    for file in pristine.iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    return (pristine / name).read_bytes()


def loads_equal_or_is_refused(model, name, content):
    """The property of every damaged file; the library must not read what we could not."""
    (model / name).write_bytes(content)
    try:
        tensors, _ = load_toy(model)
    except ModelFileError as error:
        assert name in str(error)
        return
    if name == "model.safetensors":
        assert same(tensors, load_file(model / name))
    else:
        assert same(tensors, toy())


@FUZZ
@given(data=st.data(), name=st.sampled_from(["config.json", "model.safetensors"]))
def test_flipped_bytes(model, data, name):
    raw = bytearray(restored(model, name))
    flips = st.tuples(st.integers(0, len(raw) - 1), st.integers(1, 255))
    for place, mask in data.draw(st.lists(flips, min_size=1, max_size=4)):
        raw[place] ^= mask
    loads_equal_or_is_refused(model, name, bytes(raw))


@FUZZ
@given(data=st.data(), name=st.sampled_from(["config.json", "model.safetensors"]))
def test_truncated_and_extended(model, data, name):
    raw = restored(model, name)
    cut = data.draw(st.integers(0, len(raw) - 1))
    more = data.draw(st.binary(max_size=20))
    loads_equal_or_is_refused(model, name, raw[:cut] + more)
    if name == "model.safetensors":
        (model / name).write_bytes(raw[:cut])
        refused(model, "model.safetensors")


@FUZZ
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=100).map(with_header),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["W", "b", "keys", "dtype", "shape", "data_offsets", "F32"]),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=12,
        ).map(with_header),
    ),
    name=st.sampled_from(["config.json", "model.safetensors"]),
)
def test_random_files(model, content, name):
    restored(model, name)
    loads_equal_or_is_refused(model, name, content)
