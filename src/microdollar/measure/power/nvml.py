"""Energy of NVIDIA GPUs, from the driver's own counter.

Source: NVIDIA, NVML API reference, nvmlDeviceGetTotalEnergyConsumption: millijoules since the
driver was loaded, Volta and later.
"""

import importlib
import os
from collections.abc import Callable
from typing import Any

from microdollar.measure.clock import uses_cuda


def _import_pynvml() -> Any:  # noqa: ANN401
    return importlib.import_module("pynvml")


class Nvml:
    """Joules of the GPUs that this process may use (``CUDA_VISIBLE_DEVICES``, PCI order).

    They belong to a run only if it works on a GPU: until torch has initialised CUDA in this
    process, ``reason`` says so, and a GPU that idles beside the run is not charged to it.

    Args:
        load: gives the ``pynvml`` module; called once, at the first use.
        in_use: whether this process works on a GPU.
    """

    name = "NVML"
    update_seconds = 0.1
    """The counter moves every 20 to 100 milliseconds, by GPU."""
    poll_seconds: float | None = None

    def __init__(
        self,
        load: Callable[[], Any] = _import_pynvml,
        in_use: Callable[[], bool] = uses_cuda,
    ) -> None:
        self._load = load
        self._in_use = in_use
        self._devices: list[Any] = []
        self._absent: str | None = None
        self._pynvml: Any = None

    def reason(self) -> str | None:
        """Why there is nothing to read that belongs to this process, or None."""
        try:
            self.read_joules()
        except OSError as error:
            return str(error)
        return None if self._in_use() else "this process has not used CUDA through torch"

    def read_joules(self) -> float:
        """Joules since the driver was loaded, over all devices.

        Raises:
            OSError: if pynvml, the driver, a device or its counter is not there.
        """
        if not self._devices and self._absent is None:
            self._open()
        if self._absent is not None:
            raise FileNotFoundError(self._absent)
        try:
            read = self._pynvml.nvmlDeviceGetTotalEnergyConsumption
            return float(sum(map(read, self._devices))) / 1e3
        except self._pynvml.NVMLError as error:
            raise OSError(f"the GPU's energy counter can't be read: {error}") from error

    def _open(self) -> None:
        try:
            self._pynvml = self._load()
        except ImportError:
            self._absent = "no GPU was looked for: pynvml (package nvidia-ml-py) is not installed"
            return
        try:
            self._pynvml.nvmlInit()
            devices = self._visible_devices(os.environ.get("CUDA_VISIBLE_DEVICES"))
        except (self._pynvml.NVMLError, ValueError) as error:
            self._absent = f"no GPU could be opened: {error}"
            return
        self._devices = devices
        if not devices:
            self._absent = "no GPU is visible"

    def _visible_devices(self, visible: str | None) -> list[Any]:
        nvml = self._pynvml
        if visible is None:
            return [
                nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())
            ]
        devices = []
        for entry in filter(None, (part.strip() for part in visible.split(","))):
            if entry.startswith("GPU-"):
                devices.append(nvml.nvmlDeviceGetHandleByUUID(entry))
            elif entry.isdecimal():
                devices.append(nvml.nvmlDeviceGetHandleByIndex(int(entry)))
            elif entry == "-1":
                break
            else:
                raise ValueError(f"CUDA_VISIBLE_DEVICES has {entry!r}, neither index nor GPU-UUID")
        return devices
