"""The device catalog: every row, names, and what is missing."""

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest

from microdollar.cost import Quantity
from microdollar.errors import UnknownNameError
from microdollar.spec import load_device
from microdollar.spec.device import DeviceSpec
from microdollar.spec.device_catalog import cpu_price, device_aliases, list_devices

DEVICES = list_devices()
TABLE = Path(__file__).parents[3] / "shared" / "data" / "hardware.csv"
DTYPES = {
    "float32": "fp32_tflops",
    "tf32": "tf32_tflops",
    "float16": "fp16_tflops_dense",
    "bfloat16": "bf16_tflops_dense",
    "float8": "fp8_tflops_dense",
    "int8": "int8_tops_dense",
    "float4": "fp4_tflops_dense",
}


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_row_is_sound(device: DeviceSpec):
    assert device.name.strip() == device.name
    assert device.kind in {"GPU", "TPU", "ASIC", "CPU", "Apple SoC GPU"}
    assert device.source and "2026-11" in device.source
    assert all(math.isfinite(rate) and rate > 1e9 for rate in device.flops_per_second.values())
    for quantity in (
        device.memory_bytes,
        device.memory_bytes_per_second,
        device.link_bytes_per_second,
        device.idle_watts,
        device.busy_watts,
        device.dollars_per_hour,
    ):
        if quantity.value is None:
            assert quantity.reason and device.name in quantity.reason
        else:
            assert math.isfinite(quantity.value) and quantity.value > 0
    if device.dollars_per_hour.value is not None:
        assert device.price_source
    if device.idle_watts.value is not None:
        assert device.busy_watts.value is not None
        assert device.idle_watts.value < device.busy_watts.value
    assert (device.cores is not None) == (device.kind == "CPU")


def test_there_are_58_rows_and_no_name_twice():
    assert len(DEVICES) == 58
    names = [device.name.casefold() for device in DEVICES]
    names += [alias for aliases in device_aliases().values() for alias in aliases]
    assert len(names) == len(set(names))


@pytest.mark.skipif(not TABLE.exists(), reason="needs ../shared/data/hardware.csv")
def test_rows_are_those_of_the_table():
    with TABLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [device.name for device in DEVICES]
    for row, device in zip(rows, DEVICES, strict=True):
        told = {dtype: float(row[key]) * 1e12 for dtype, key in DTYPES.items() if row[key]}
        assert device.flops_per_second == pytest.approx(told)
        assert _same(device.memory_bytes, row["memory_gb"], 1e9)
        assert _same(device.memory_bytes_per_second, row["memory_bw_gb_s"], 1e9)
        assert _same(device.link_bytes_per_second, row["link_bw_gb_s"], 1e9)
        assert (device.busy_watts.value is not None) == bool(row["tdp_w"])
        if row["usd_per_h_high"]:
            low = float(row["usd_per_h_low"] or row["usd_per_h_high"])
            assert device.dollars_per_hour.low == low
            assert device.dollars_per_hour.high == float(row["usd_per_h_high"])


def _same(quantity: Quantity, cell: str, unit: float) -> bool:
    if not cell:
        return quantity.value is None
    return quantity.value == pytest.approx(float(cell) * unit)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("h100-sxm", "NVIDIA H100 SXM"),
        ("H100-SXM", "NVIDIA H100 SXM"),
        (" nvidia h100 sxm ", "NVIDIA H100 SXM"),
        ("a100-80gb", "NVIDIA A100 SXM 80GB"),
        ("a100-40gb", "NVIDIA A100 SXM 40GB"),
        ("v100-16gb", "NVIDIA V100 SXM2 16GB"),
        ("h200", "NVIDIA H200 SXM"),
        ("m4-pro", "Apple M4 Pro (20-core GPU)"),
        ("rtx-4090", "NVIDIA RTX 4090"),
        ("t4", "NVIDIA T4"),
        ("l4", "NVIDIA L4"),
        ("epyc-7b13", "AMD EPYC 7B13 (Milan, 64 cores)"),
    ],
)
def test_names_and_aliases(typed: str, name: str):
    assert load_device(typed).name == name


def test_unknown_device_names_the_nearest_and_what_to_type():
    with pytest.raises(UnknownNameError, match=r"h100-sxm.*microdollar estimate --list-devices"):
        load_device("h100-sxn")
    with pytest.raises(UnknownNameError):
        load_device("")


def test_dense_not_sparse():
    # Data sheets print 1979e12 (sparse) for bfloat16 on an H100, and 330e12 (float16
    # accumulation) for float16 on an RTX 4090.
    assert load_device("h100-sxm").flops_per_second["bfloat16"] == 989e12
    assert load_device("rtx-4090").flops_per_second["float16"] == 165.2e12


def test_cpu_price_is_by_the_core():
    price, source = cpu_price(2)
    assert price.value == pytest.approx(0.068)
    assert "c6i" in source
    assert load_device("epyc-7b13").dollars_per_hour.value == pytest.approx(64 * 0.034)


def test_loads_without_numpy():
    code = (
        "import sys; from microdollar.spec import load_device; load_device('t4');"
        "assert not {'numpy', 'torch', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
