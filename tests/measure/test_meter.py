import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from microdollar.measure import Meter, Reading
from microdollar.measure.clock import cpu_seconds
from microdollar.work import tally


class Counter:
    """A sensor that gives 2 J at every reading."""

    name, update_seconds, poll_seconds = "counter", 0.0, None

    def __init__(self):
        self.joules = 0.0

    def reason(self):
        return None

    def read_joules(self):
        self.joules += 2.0
        return self.joules


def burn(cpu: float) -> None:
    end = cpu_seconds() + cpu
    while cpu_seconds() < end:
        sum(range(1000))


def test_a_busy_loop_takes_cpu_time_and_a_sleep_does_not():
    with Meter("busy", allocated=False, sensors=()) as busy:
        burn(0.2)
    with Meter("idle", allocated=False, sensors=()) as idle:
        time.sleep(0.2)
    assert busy.reading.seconds.basis == busy.reading.cpu_seconds.basis == "clock"
    # The machine may be shared: the loop is stretched in wall time, never in CPU time.
    assert busy.reading.seconds.value >= 0.8 * busy.reading.cpu_seconds.value
    assert 0.2 <= busy.reading.cpu_seconds.value < 0.4
    assert idle.reading.seconds.value >= 0.2
    assert idle.reading.cpu_seconds.value < 0.5 * busy.reading.cpu_seconds.value


@pytest.mark.skipif(sys.platform == "win32", reason="children are not counted on Windows")
def test_cpu_seconds_include_children_and_threads():
    code = "import time\nwhile time.process_time() < 0.2: pass"
    with Meter(allocated=False, sensors=()) as child:
        subprocess.run([sys.executable, "-S", "-c", code], check=True)
    assert child.reading.cpu_seconds.value >= 0.2
    with Meter(allocated=False, sensors=()) as thread, ThreadPoolExecutor(1) as pool:
        pool.submit(burn, 0.1).result()
    assert thread.reading.cpu_seconds.value >= 0.1


def test_windows_nest():
    with Meter("outer", sensors=()) as outer:
        with Meter("first", sensors=()):
            tally.add("a", flops=5)
        with Meter("second", sensors=()):
            with Meter("inner", sensors=()):
                tally.add("b", int_ops=7)
            tally.add("a", flops=6)
    reading = outer.reading
    assert [window.name for window in reading.windows] == ["first", "second"]
    assert [window.name for window in reading.windows[1].windows] == ["inner"]
    assert reading.flops.value == 11
    assert reading.int_ops.value == 7
    assert reading.windows[0].flops.value == 5
    assert reading.windows[0].int_ops.value is None
    assert reading.counts["a"].flops == 11
    assert sum(window.seconds.value for window in reading.windows) <= reading.seconds.value


def test_operations_nobody_reported_are_missing():
    with Meter(allocated=False, sensors=()) as meter:
        pass
    assert meter.reading.flops.value is None
    assert "reported no floating-point" in meter.reading.flops.reason
    assert meter.reading.allocated_bytes.value is None
    assert "allocated=False" in meter.reading.allocated_bytes.reason
    with Meter(allocated=False, sensors=()) as none:
        tally.add("nothing", flops=0)
    assert (none.reading.flops.value, none.reading.flops.basis) == (0, "counter")


def test_an_exception_closes_the_window_and_goes_on():
    with Meter("outer", sensors=()) as outer:
        with pytest.raises(ZeroDivisionError), Meter("broken", sensors=()) as broken:
            tally.add("a", flops=1)
            raise ZeroDivisionError
        with Meter("next", sensors=()):
            pass
    assert broken.reading.failed == "ZeroDivisionError"
    assert broken.reading.flops.value == 1
    assert outer.reading.failed is None
    assert [window.name for window in outer.reading.windows] == ["broken", "next"]


def test_a_window_of_another_thread_is_measured_but_not_nested():
    inside = threading.Barrier(2, timeout=30)

    def other():
        with Meter("other", sensors=()) as meter:
            inside.wait()
            np.ones(500_000)
            inside.wait()
        return meter.reading

    with ThreadPoolExecutor(1) as pool:
        with Meter("main", sensors=()) as main:
            running = pool.submit(other)
            inside.wait()
        inside.wait()
        reading = running.result()
    assert main.reading.windows == ()
    assert reading.allocated_bytes.value == pytest.approx(4_000_000, rel=0.01)


def test_a_meter_measures_one_window():
    meter = Meter("once", sensors=())
    with pytest.raises(RuntimeError, match="'once' has not closed"):
        _ = meter.reading
    with meter, pytest.raises(RuntimeError, match="one window"):
        meter.__enter__()
    with pytest.raises(RuntimeError, match="one window"), meter:
        pass


def test_reading_survives_json():
    with Meter("outer", sensors=(Counter(),)) as outer, Meter("inner", sensors=()):
        tally.add("a", flops=2**60, int_ops=3)
    data = json.loads(json.dumps(outer.reading.to_json(), allow_nan=False))
    assert Reading.from_json(data) == outer.reading
    assert data["windows"][0]["counts"] == {"a": {"flops": 2**60, "int_ops": 3}}


def test_energy_is_the_difference_of_two_readings():
    with Meter(allocated=False, sensors=(Counter(),)) as meter:
        pass
    assert (meter.reading.joules.value, meter.reading.joules.basis) == (2.0, "counter")


def test_without_sensors_energy_is_missing():
    with Meter(allocated=False, sensors=()) as meter:
        pass
    assert meter.reading.joules.value is None
    assert meter.reading.joules.reason == "no energy sensor was asked for"


def test_this_machine_gives_joules_or_says_why():
    with Meter(allocated=False) as meter:
        burn(0.3)
    joules = meter.reading.joules
    assert joules.value is None or joules.value > 0
    assert "RAPL" in joules.reason


@pytest.mark.parametrize("initialised", [True, False])
def test_waits_for_cuda_only_if_torch_has_initialised_it(monkeypatch, initialised):
    calls = []
    cuda = SimpleNamespace(
        is_initialized=lambda: initialised, synchronize=lambda: calls.append("wait")
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    with Meter(allocated=False, sensors=()):
        calls.append("body")
    assert calls == (["wait", "body", "wait"] if initialised else ["body"])


def test_a_failed_kernel_does_not_hide_the_reading(monkeypatch):
    def fail():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    cuda = SimpleNamespace(is_initialized=lambda: True, synchronize=fail)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    with Meter(allocated=False, sensors=()) as meter:
        pass
    assert meter.reading.seconds.value >= 0


def test_imports_neither_numpy_nor_torch():
    code = (
        "import sys, microdollar.measure as m\n"
        "with m.Meter(): pass\n"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'torch', 'numba')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
