import mmap
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from microdollar.measure import Meter
from microdollar.measure.memory import ProcessMemory

MB = 1_000_000


def array(megabytes):
    return np.ones(megabytes * MB, dtype=np.uint8)


def hold(megabytes):
    """Fresh pages, given back at once: malloc may find room that the process holds already."""
    with mmap.mmap(-1, megabytes * MB) as pages:
        for start in range(0, len(pages), mmap.PAGESIZE):
            pages[start] = 1


def test_peak_of_a_known_allocation():
    with Meter(sensors=()) as meter:
        kept = array(10)
        array(30)
        array(20)
    del kept
    allocated = meter.reading.allocated_bytes
    assert allocated.basis == "counter"
    assert allocated.value == pytest.approx(40 * MB, rel=0.01)
    assert "torch" in allocated.reason
    assert "tracemalloc" in meter.reading.seconds.reason


def test_what_was_there_before_is_not_counted():
    tracemalloc.start()
    try:
        before = array(50)
        with Meter(sensors=()) as meter:
            array(10)
        del before
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()
    assert meter.reading.allocated_bytes.value == pytest.approx(10 * MB, rel=0.01)


def test_a_parent_has_the_peak_of_its_children_and_each_child_its_own():
    with Meter(sensors=()) as outer:
        array(5)
        kept = array(10)
        with Meter(sensors=()) as big:
            array(40)
        with Meter(sensors=()) as small:
            array(20)
        array(15)
    del kept
    assert big.reading.allocated_bytes.value == pytest.approx(40 * MB, rel=0.01)
    assert small.reading.allocated_bytes.value == pytest.approx(20 * MB, rel=0.01)
    assert outer.reading.allocated_bytes.value == pytest.approx(50 * MB, rel=0.01)


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_parents_own_peak_is_not_lost_beside_a_child(where):
    with Meter(sensors=()) as outer:
        if where == "before":
            array(40)
        with Meter(sensors=()) as inner:
            array(10)
        if where == "after":
            array(40)
    assert inner.reading.allocated_bytes.value == pytest.approx(10 * MB, rel=0.01)
    assert outer.reading.allocated_bytes.value == pytest.approx(40 * MB, rel=0.01)


def test_freeing_what_was_there_is_not_negative():
    tracemalloc.start()
    try:
        held = [array(20)]
        with Meter(sensors=()) as meter:
            held.clear()
    finally:
        tracemalloc.stop()
    assert 0 <= meter.reading.allocated_bytes.value < 0.1 * MB


def test_tracing_stops_with_the_last_window_and_only_then():
    assert not tracemalloc.is_tracing()
    with Meter(allocated=False, sensors=()):
        assert not tracemalloc.is_tracing()
        with pytest.raises(OSError), Meter(sensors=()):
            with Meter(sensors=()):
                pass
            assert tracemalloc.is_tracing()
            raise OSError
        assert not tracemalloc.is_tracing()


def test_a_program_that_stops_tracing_leaves_no_number():
    with Meter(sensors=()) as outer, Meter(sensors=()) as inner:
        tracemalloc.stop()
    for meter in (outer, inner):
        assert meter.reading.allocated_bytes.value is None
        assert "stopped" in meter.reading.allocated_bytes.reason
    assert not tracemalloc.is_tracing()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")
def test_process_peak_of_each_window():
    hold(160)  # a peak from before every window
    with Meter(allocated=False, sensors=()) as outer:
        with Meter(allocated=False, sensors=()) as big:
            hold(80)
        with Meter(allocated=False, sensors=()) as small:
            hold(40)
    peaks = [meter.reading.process_bytes for meter in (outer, big, small)]
    if any(peak.basis != "counter" for peak in peaks):
        pytest.skip("this kernel does not let a process set its mark back")
    # Within 4 MB: what the interpreter itself gains or gives back in between.
    assert peaks[1].value - peaks[2].value == pytest.approx(40 * MB, abs=4 * MB)
    assert peaks[0].value == pytest.approx(peaks[1].value, abs=4 * MB)
    assert peaks[0].value >= peaks[1].value


class Procfs:
    """A process's folder with the two lines of proc(5) that matter, and a mark that stays."""

    def __init__(self, folder):
        self.folder = folder

    def holds(self, now, peak):
        (self.folder / "status").write_text(
            f"Name:\tpython\nVmPeak:\t  905504 kB\nVmHWM:\t  {peak} kB\nVmRSS:\t  {now} kB\n"
        )


@pytest.fixture
def proc(tmp_path):
    return Procfs(tmp_path)


def test_without_a_reset_a_mark_that_rose_is_exact(proc):
    memory = ProcessMemory(proc.folder)
    proc.holds(100_000, 200_000)
    window = memory.open()
    proc.holds(150_000, 300_000)
    peak = window.close()
    assert (peak.value, peak.low, peak.high) == (300_000 * 1024,) * 3
    assert peak.basis == "counter"


def test_without_a_reset_a_mark_that_stayed_is_a_bound(proc):
    memory = ProcessMemory(proc.folder)
    proc.holds(100_000, 200_000)
    window = memory.open()
    proc.holds(150_000, 200_000)
    peak = window.close()
    assert (peak.value, peak.low, peak.high) == (150_000 * 1024, 150_000 * 1024, 200_000 * 1024)
    assert peak.basis == "sampled"
    assert "clear_refs" in peak.reason


def test_a_reset_mark_is_folded_into_every_open_window(proc):
    class Kernel(ProcessMemory):
        def _set_back(self):
            super()._set_back()
            proc.holds(110_000, 110_000)

    memory = Kernel(proc.folder)
    outer = memory.open()
    proc.holds(110_000, 400_000)
    inner = memory.open()
    proc.holds(110_000, 160_000)
    assert inner.close().value == 160_000 * 1024
    assert outer.close().value == 400_000 * 1024
    assert (proc.folder / "clear_refs").read_text() == "5"


@pytest.mark.parametrize("status", [None, "Name:\tpython\n", "VmHWM:\tx kB\nVmRSS:\t-1 kB\n"])
@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_without_procfs_only_a_new_peak_of_the_process_is_known(tmp_path, status):
    if status is not None:
        (tmp_path / "status").write_text(status)
    memory = ProcessMemory(tmp_path)
    before = memory.read()
    assert before.now_bytes is None
    window = memory.open()
    assert window.close().value is None or memory.read().peak_bytes > before.peak_bytes


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_a_new_peak_without_procfs():
    code = """
from pathlib import Path
from microdollar.measure.memory import ProcessMemory
memory = ProcessMemory(Path("/nowhere"))
again = memory.open()
first = again.close()
before = memory.read().peak_bytes
window = memory.open()
held = bytearray(before + 100_000_000)
peak = window.close()
assert peak.value > before + 50_000_000 and peak.basis == "counter", peak
later = memory.open().close()
assert later.value is None and "before the window" in later.reason, later
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_any_source_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    peak = ProcessMemory(tmp_path / "none").open().close()
    assert peak.value is None
    assert "getrusage" in peak.reason
