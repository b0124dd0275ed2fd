"""Energy sensors, on a folder laid out as Linux lays out powercap.

The ranges are those that Intel servers show (262,143,328,850 µJ a package, 65,712,999,613 µJ
its DRAM); the readings are made up so that the first package is near its end.
"""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.measure import Meter
from microdollar.measure.power import EnergyWindow, Nvml, Rapl, default_sensors

PACKAGE_UJ, DRAM_UJ = 262_143_328_850, 65_712_999_613

ZONES = {
    "intel-rapl:0": ("package-0", PACKAGE_UJ, 240_422_366_267),
    "intel-rapl:0:0": ("core", PACKAGE_UJ, 118_821_284_256),
    "intel-rapl:0:1": ("dram", DRAM_UJ, 22_000_000_000),
    "intel-rapl:1": ("package-1", PACKAGE_UJ, 54_000_000_000),
    "intel-rapl:2": ("psys", PACKAGE_UJ, 100_000_000_000),
    "intel-rapl-mmio:0": ("package-0", PACKAGE_UJ, 240_422_366_267),
}


class Powercap:
    def __init__(self, root):
        self.root = root
        (root / "intel-rapl").mkdir()
        (root / "intel-rapl" / "enabled").write_text("1\n")
        for folder, (name, range_uj, uj) in ZONES.items():
            (root / folder).mkdir()
            for file, content in {
                "name": name,
                "max_energy_range_uj": range_uj,
                "energy_uj": uj,
                "enabled": 1,
                "constraint_0_name": "long_term",
            }.items():
                (root / folder / file).write_text(f"{content}\n")

    def rise(self, folder, uj):
        file = self.root / folder / "energy_uj"
        file.write_text(f"{(int(file.read_text()) + uj) % ZONES[folder][1]}\n")


@pytest.fixture
def powercap(tmp_path):
    return Powercap(tmp_path)


def test_packages_and_dram_are_added_and_nothing_twice(powercap):
    sensor = Rapl(powercap.root)
    with Meter(allocated=False, sensors=(sensor,)) as meter:
        for folder, uj in {
            "intel-rapl:0": 1_000_000,
            "intel-rapl:0:0": 800_000,
            "intel-rapl:0:1": 20_000,
            "intel-rapl:1": 300_000,
            "intel-rapl:2": 5_000_000,
            "intel-rapl-mmio:0": 1_000_000,
        }.items():
            powercap.rise(folder, uj)
    joules = meter.reading.joules
    assert joules.value == pytest.approx(1.32, rel=1e-12)
    assert joules.basis == "counter"
    assert joules.reason == "RAPL, other processes included"
    assert sensor.reason() is None


def test_a_counter_that_wraps(powercap):
    with Meter(allocated=False, sensors=(Rapl(powercap.root),)) as meter:
        # 21,720.962583 J are left to the end of the range; 30,000 J go past it.
        powercap.rise("intel-rapl:0", 30_000_000_000)
    assert int((powercap.root / "intel-rapl:0/energy_uj").read_text()) < 240_422_366_267
    assert meter.reading.joules.value == pytest.approx(30_000, rel=1e-12)


def test_nested_windows_share_a_sensor_across_a_wrap(powercap):
    sensors = (Rapl(powercap.root),)
    with Meter(allocated=False, sensors=sensors) as outer:
        powercap.rise("intel-rapl:1", 200_000_000_000)
        with Meter(allocated=False, sensors=sensors) as inner:
            powercap.rise("intel-rapl:1", 100_000_000_000)
        powercap.rise("intel-rapl:1", 150_000_000_000)
    assert inner.reading.joules.value == pytest.approx(100_000, rel=1e-12)
    assert outer.reading.joules.value == pytest.approx(450_000, rel=1e-12)


@given(st.lists(st.integers(0, DRAM_UJ - 1), max_size=30))
def test_any_rise_below_the_range_is_added_exactly(tmp_path_factory, rises):
    powercap = Powercap(tmp_path_factory.mktemp("powercap"))
    sensor = Rapl(powercap.root)
    start = sensor.read_joules()
    for uj in rises:
        powercap.rise("intel-rapl:0:1", uj)
        now = sensor.read_joules()
    if rises:
        assert now - start == pytest.approx(sum(rises) / 1e6, rel=1e-12)


def test_long_windows_are_read_in_between(powercap):
    class Quick(Rapl):
        poll_seconds = 0.001
        seen = 0

        def read_joules(self):
            self.seen += 1
            if self.seen == 5:
                polled.set()
            return super().read_joules()

    polled = threading.Event()
    window = EnergyWindow((Quick(powercap.root),))
    assert polled.wait(30)
    window.close(1.0)
    names = [thread.name for thread in threading.enumerate()]
    for thread in threading.enumerate():
        if thread.name == "microdollar-energy":
            thread.join(30)
            assert not thread.is_alive(), names


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
def test_a_counter_for_root_only(powercap, monkeypatch):
    file = powercap.root / "intel-rapl:1" / "energy_uj"
    file.chmod(0o000)
    if os.geteuid() == 0:  # root reads any file: refuse as the kernel refuses others
        read_text = type(file).read_text

        def refuse(path, **options):
            if path.stat().st_mode & 0o444 == 0:
                raise PermissionError(13, "Permission denied", str(path))
            return read_text(path, **options)

        monkeypatch.setattr(type(file), "read_text", refuse)
    sensor = Rapl(powercap.root)
    with Meter(allocated=False, sensors=(sensor,)) as meter:
        powercap.rise("intel-rapl:0", 1_000_000)
    assert meter.reading.joules.value is None
    assert f"sudo chmod a+r {file}" in meter.reading.joules.reason
    assert sensor.reason() in meter.reading.joules.reason


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("energy_uj", "", "does not hold a number"),
        ("energy_uj", "12 J", "does not hold a number"),
        ("max_energy_range_uj", "0", "max_energy_range_uj is 0"),
        ("max_energy_range_uj", "many", "invalid literal"),
    ],
)
def test_files_that_make_no_sense(powercap, file, content, said):
    (powercap.root / "intel-rapl:0" / file).write_text(content)
    assert said in Rapl(powercap.root).reason()


def test_a_counter_that_vanishes_within_the_window(powercap):
    with Meter(allocated=False, sensors=(Rapl(powercap.root),)) as meter:
        (powercap.root / "intel-rapl:0" / "energy_uj").unlink()
    assert meter.reading.joules.value is None
    assert "RAPL" in meter.reading.joules.reason


def test_no_powercap(tmp_path):
    reason = Rapl(tmp_path / "powercap").reason()
    assert str(tmp_path / "powercap") in reason
    assert "virtual machine" in reason


def test_a_counter_that_stands_still_gives_no_zero(powercap):
    with Meter(allocated=False, sensors=(Rapl(powercap.root),)) as meter:
        pass
    assert meter.reading.joules.value is None
    assert "did not move" in meter.reading.joules.reason


def test_the_interval_allows_for_old_readings(powercap):
    sensor = Rapl(powercap.root)
    window = EnergyWindow((sensor,))
    powercap.rise("intel-rapl:0", 100_000_000)
    joules = window.close(seconds=0.1)
    # A millisecond of a tenth of a second, at 1,000 W.
    assert (joules.low, joules.high) == (pytest.approx(99.0), pytest.approx(101.0))


class NVMLError(Exception):
    pass


class FakeNvml:
    """The calls of pynvml that are used; millijoules by device, each reading 500 more."""

    NVMLError = NVMLError

    def __init__(self, *millijoules, error=None):
        self.millijoules = list(millijoules)
        self.error = error

    def nvmlInit(self):  # noqa: N802
        if self.error:
            raise NVMLError(self.error)

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self.millijoules)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        if index >= len(self.millijoules):
            raise NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        return int(uuid.rpartition("-")[2])

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        if self.millijoules[handle] is None:
            raise NVMLError("Not Supported")
        self.millijoules[handle] += 500
        return self.millijoules[handle]


def nvml(*millijoules, error=None, in_use=True):
    return Nvml(load=lambda: FakeNvml(*millijoules, error=error), in_use=lambda: in_use)


@pytest.mark.parametrize(
    ("visible", "joules"),
    [(None, 6.0 + 1.5), ("", None), ("1", 2.0 + 0.5), ("0,2", 4.0 + 1.0), ("GPU-2", 3.5)],
)
def test_the_gpus_that_are_visible_are_added(monkeypatch, visible, joules):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    sensor = nvml(1000, 2000, 3000)
    if joules is None:
        assert sensor.reason() == "no GPU is visible"
    else:
        assert sensor.read_joules() == pytest.approx(joules)


@pytest.mark.parametrize("visible", ["7", "MIG-1234", "one"])
def test_devices_that_can_not_be_opened(monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert "no GPU could be opened" in nvml(1000).reason()


def test_gpus_that_can_not_tell(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def not_installed():
        raise ImportError

    assert "pynvml" in Nvml(load=not_installed).reason()
    assert "Driver Not Loaded" in nvml(error="Driver Not Loaded").reason()
    assert "Not Supported" in nvml(None).reason()
    assert nvml().reason() == "no GPU is visible"


def test_a_gpu_that_idles_beside_the_run_is_not_charged_to_it(monkeypatch, powercap):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for in_use, joules in [(False, 1.0), (True, 1.5)]:
        sensors = (Rapl(powercap.root), nvml(1000, in_use=in_use))
        with Meter(allocated=False, sensors=sensors) as meter:
            powercap.rise("intel-rapl:0", 1_000_000)
        assert meter.reading.joules.value == pytest.approx(joules)
        assert ("not counted: NVML" in meter.reading.joules.reason) is not in_use


def test_default_sensors_never_fail():
    assert [sensor.name for sensor in default_sensors()] == ["RAPL", "NVML"]
    for sensor in default_sensors():
        reason = sensor.reason()
        assert reason is None or reason
