"""The microbenchmarks: sane rates, honest gaps, kernels that do what they are timed for."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microdollar.errors import MissingExtraError
from microdollar.measure.machine import about, calibrate, calibration, describe, kernels
from microdollar.spec import Rates


@pytest.fixture(scope="module")
def rates() -> Rates:
    """One short calibration: fewer and smaller repeats than users get."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "_REPEAT_SECONDS", 0.0005)
        patch.setattr(calibration, "STREAM_BYTES", calibration.STREAM_BYTES[:2])
        patch.setattr(calibration, "INCREMENT_BYTES", calibration.INCREMENT_BYTES[:5])
        patch.setattr(calibration, "PROBE_NODES", calibration.PROBE_NODES[:3])
        patch.setattr(calibration, "MATMUL_SHAPES", calibration.MATMUL_SHAPES[:4])
        return calibrate()


def test_rates_are_valid_and_survive_being_saved(rates: Rates):
    assert Rates.from_json(rates.to_json()) == rates


def test_rates_lie_where_any_computer_lies(rates: Rates):
    # Four orders of magnitude wide: only a wrong unit or a loop optimised away falls outside.
    assert 1e8 < rates.stream_bytes_per_second[0][1] < 1e13
    assert all(1e5 < rate < 1e11 for _, rate in rates.increments_per_second)
    assert all(1e5 < rate < 1e11 for _, rate in rates.probes_per_second)
    assert all(1e-9 < seconds < 1e-2 for seconds in rates.call_seconds.values())
    assert 1e7 < rates.int_ops_per_second < 1e13
    assert 1e7 < rates.first_touch_bytes_per_second < 1e13
    for table in (rates.elementwise_flops_per_second, rates.transcendental_flops_per_second):
        assert all(1e6 < rate < 1e13 for rate in table.values())
    for curve in rates.matmul_flops_per_second.values():
        assert all(1e6 < rate < 1e15 for _, rate in curve)


def test_every_runtime_that_is_installed_is_measured(rates: Rates):
    runtimes = {"numpy"} | ({"torch"} if importlib.util.find_spec("torch") else set())
    assert set(rates.call_seconds) == runtimes
    assert set(rates.elementwise_flops_per_second) == {
        f"{runtime}/{dtype}"
        for runtime in runtimes | {"compiled"}
        for dtype in ("float32", "float64")
    }
    assert {key.partition("/")[0] for key in rates.matmul_flops_per_second} == runtimes


def test_calibrating_reports_progress_to_the_end(monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[float, float, str]] = []
    for name in (
        "_compiled_arithmetic",
        "_streaming",
        "_first_touch",
        "_increments",
        "_probes",
        "_numpy",
    ):
        monkeypatch.setattr(calibration, name, lambda bench: bench.log_ratios.append(0.0))
    monkeypatch.setattr(calibration, "_torch", lambda bench: None)
    monkeypatch.setattr(calibration._Bench, "rates", lambda bench: bench)
    calibrate(lambda *step: seen.append(step))
    assert [done for done, _, _ in seen] == list(range(len(seen)))
    assert seen[-1][0] == seen[-1][1]


def test_without_numba_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'microdollar\[counts\]'"):
        calibrate()


def test_threads_of_torch_are_left_as_they_were():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "_REPEAT_SECONDS", 1e-6)
        patch.setattr(calibration, "MATMUL_SHAPES", calibration.MATMUL_SHAPES[:1])
        calibration._torch(calibration._Bench(cores=2))
    assert torch.get_num_threads() == before


def test_increment_kernel_counts_every_access():
    places = calibration._text_like()[:1000]
    table = np.zeros(64, np.uint32)
    kernels.increments(table, places)
    np.testing.assert_array_equal(table, np.bincount(places & 63, minlength=64))


def test_places_are_as_unequal_as_text():
    words = calibration._text_like()
    share = np.bincount(words & 255, minlength=256) / words.size
    entropy = -float(np.sum(share * np.log2(share)))
    assert 4.5 < entropy < 7  # English text with markup has about 5 bits a byte


def test_probe_kernel_finds_the_keys_that_are_there_and_no_other():
    slots, rows = np.zeros(2**10, np.uint32), np.zeros((2**9, 4), np.int64)
    kernels.insert(slots, rows)
    assert np.count_nonzero(slots) == 2**9 - 1  # row 0 stands for no row
    places = np.arange(2**10, dtype=np.uint32)  # each of 2**10 keys once, half of them known
    assert kernels.probes(slots, rows, places, np.zeros(1, np.uint32)) == sum(range(2**9))


def test_describe_agrees_with_the_system():
    machine = describe()
    import psutil

    assert machine.name
    assert 1 <= machine.cores <= (psutil.cpu_count() or 1)
    assert machine.memory_bytes is not None
    assert machine.memory_bytes <= psutil.virtual_memory().total * 1.001


def test_limits_of_the_control_group_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("123456789\n")
    monkeypatch.setattr(about, "_CGROUP_ROOT", tmp_path)
    assert describe().cores == 1
    assert describe().memory_bytes == 123456789
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert (describe().memory_bytes or 0) > 123456789


def test_describing_needs_no_numpy():
    code = (
        "import sys; from microdollar.measure.machine import describe; describe();"
        "assert not {'numpy', 'torch', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
