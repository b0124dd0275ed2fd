"""The machine that runs: its saved calibration, its power and its price."""

import dataclasses
import json
from pathlib import Path

import pytest

from microdollar.errors import CannotEstimateError, MicrodollarError, UnknownNameError
from microdollar.measure.machine import Machine, describe
from microdollar.run import device as module
from microdollar.run.device import (
    Report,
    device_of,
    find_device,
    has_calibration,
    load_rates,
    save_rates,
    this_device,
)
from microdollar.spec import Rates

RATES = Rates(
    matmul_flops_per_second={
        "torch/float32": ((1e6, 5e10), (1e8, 1e11)),
        "numpy/float64": ((1e6, 3e10),),
    },
    matmul_thread_gain=((1e6, 1.5),),
    stream_bytes_per_second=((1e5, 4e10), (1e8, 1e10)),
    stream_thread_gain=1.5,
    elementwise_flops_per_second={"compiled/float32": 1e9},
    transcendental_flops_per_second={
        f"compiled/float32/{name}": 1e8 for name in ("exp", "log", "tanh")
    },
    first_touch_bytes_per_second=4e9,
    int_ops_per_second=2e9,
    increments_per_second=((1e4, 1e9),),
    probes_per_second=((1e4, 5e7),),
    random_thread_gain=1.8,
    call_seconds={"torch": 2e-6},
    spread=1.1,
    measured_at="2026-11-22T00:00:00+00:00",
)
MACHINE = Machine(name="Some Processor", cores=4, memory_bytes=10**10)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def quiet(done: float, total: float, label: str) -> None:
    """Say nothing."""


def test_a_calibration_is_kept_and_found_again(home: Path):
    assert load_rates(MACHINE) is None
    path = save_rates(MACHINE, RATES)
    assert path.is_relative_to(home)
    assert load_rates(MACHINE) == RATES
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file left


@pytest.mark.parametrize("change", [{"name": "Another"}, {"cores": 8}])
def test_another_machine_does_not_use_it(change: dict[str, object]):
    save_rates(MACHINE, RATES)
    assert load_rates(dataclasses.replace(MACHINE, **change)) is None  # type: ignore[arg-type]


def test_another_version_of_a_library_does_not_use_it(monkeypatch: pytest.MonkeyPatch):
    save_rates(MACHINE, RATES)
    monkeypatch.setattr(module, "version", lambda library: "0.0.0")
    assert load_rates(MACHINE) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema_version": 1}',
        b'{"schema_version": 99}',
        b" " * 1_000_001,
        b'{"schema_version": 1, "machine": {"processor": "Another"}, "rates": {}}',
    ],
    ids=lambda text: repr(text[:24]),
)
def test_a_damaged_file_says_what_to_type(text: bytes):
    path = save_rates(MACHINE, RATES)
    path.write_bytes(text)
    with pytest.raises(MicrodollarError, match="Type: microdollar calibrate") as caught:
        load_rates(MACHINE)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_every_truncation_is_refused():
    path = save_rates(MACHINE, RATES)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(MicrodollarError):
            load_rates(MACHINE)


def test_a_failed_write_leaves_the_old_calibration(monkeypatch: pytest.MonkeyPatch):
    path = save_rates(MACHINE, RATES)

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(OSError, match="No space"):
        save_rates(MACHINE, dataclasses.replace(RATES, spread=2.0))
    assert load_rates(MACHINE) == RATES
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_this_machine_is_calibrated_once(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []

    def fake(progress: Report) -> Rates:
        progress(0.0, 1.0, "products")
        return RATES

    monkeypatch.setattr("microdollar.measure.machine.calibrate", fake)
    assert not has_calibration()
    with pytest.raises(CannotEstimateError, match="microdollar calibrate"):
        this_device(calibrate_if_missing=False, progress=quiet)

    def told(_done: float, _total: float, label: str) -> None:
        said.append(label)

    first = this_device(calibrate_if_missing=True, progress=told)
    assert first == this_device(calibrate_if_missing=True, progress=told)
    assert said == ["measuring this machine, once: products"]
    assert has_calibration()
    assert first.rates == RATES
    assert first.cores == describe().cores


def test_a_calibration_that_can_not_be_kept_is_not_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "microdollar.measure.machine.calibrate", lambda progress: pytest.fail("it was made")
    )
    monkeypatch.setattr("os.access", lambda path, mode: False)  # as for another than root
    with pytest.raises(MicrodollarError, match="Set MICRODOLLAR_HOME"):
        this_device(calibrate_if_missing=True, progress=quiet)


def test_find_device_knows_this_and_the_catalog():
    assert find_device("T4", calibrate_if_missing=False, progress=quiet).name == "NVIDIA T4"
    with pytest.raises(CannotEstimateError):
        find_device("This", calibrate_if_missing=False, progress=quiet)
    with pytest.raises(UnknownNameError):
        find_device("t44", calibrate_if_missing=False, progress=quiet)


def test_price_and_power_go_by_the_core():
    device = device_of(MACHINE, RATES)
    assert device.dollars_per_hour.value == pytest.approx(4 * 0.034)
    assert device.busy_watts.value == pytest.approx(4 * 6.5)
    assert device.busy_watts.basis == "assumed"
    assert device.busy_watts.reason and "catalog" in device.busy_watts.reason
    assert device.flops_per_second == {"float32": 1e11}
    assert device.memory_bytes.value == 10**10


def test_power_of_a_processor_that_the_catalog_knows():
    known = dataclasses.replace(MACHINE, name="Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz")
    device = device_of(known, RATES)
    assert device.busy_watts.value == pytest.approx(0.85 * 270 * 4 / 40)
    assert device.busy_watts.basis == "datasheet"


def test_memory_that_the_system_does_not_tell_is_missing():
    device = device_of(dataclasses.replace(MACHINE, memory_bytes=None), RATES)
    assert device.memory_bytes.value is None and device.memory_bytes.reason
