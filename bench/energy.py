"""Joules: of the processor by RAPL, of a GPU by NVML, where they can be read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

RAPL = Path("/sys/class/powercap")


def _packages() -> list[Path]:
    """The counters of whole processors that this user may read."""
    found = []
    for path in sorted(RAPL.glob("intel-rapl:[0-9]*/energy_uj")):
        if path.parent.name.count(":") == 1:
            with contextlib.suppress(OSError):
                path.read_text()
                found.append(path)
    return found


@cache
def _nvml() -> Any:
    """NVML's module and the first GPU's handle; None where they are not there."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:
        return None
    return pynvml, handle


def meters(device: str) -> Callable[[], float | None]:
    """What reads the joules that the device has used so far; None where nothing can be read."""
    if device == "cuda":
        if (there := _nvml()) is None:
            return lambda: None
        module, handle = there
        return lambda: module.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
    packages = _packages()
    if not packages:
        return lambda: None
    return lambda: sum(int(p.read_text()) for p in packages) / 1e6


def clocks() -> dict[str, float]:
    """MHz now: of the processor's cores in the mean, of the GPU."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        speeds = [float(x.split(":")[1]) for x in lines if x.startswith("cpu MHz")]
        if speeds:
            found["processor"] = round(sum(speeds) / len(speeds), 1)
    if (there := _nvml()) is not None:
        module, handle = there
        found["gpu"] = float(module.nvmlDeviceGetClockInfo(handle, module.NVML_CLOCK_SM))
    return found
