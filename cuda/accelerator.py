"""The accelerator, PyTorch's ``torch.accelerator``: a GPU, where there is one."""

from __future__ import annotations

from typing import Any

from tilegrad.engine import cuda
from tilegrad.engine.device import Device


def is_available() -> bool:
    """Whether there is one."""
    return cuda.is_available()


def device_count() -> int:
    """How many there are."""
    return cuda.device_count() if cuda.is_available() else 0


def current_accelerator(check_available: bool = False) -> Device | None:
    """Its type as a device; None where there is none."""
    return Device("cuda") if cuda.is_available() else None


def current_device_index() -> int:
    """The number of the one in use."""
    return cuda.current_device()


def synchronize(device: Any = None) -> None:
    """Wait until everything that was queued on it is done; nothing where there is none."""
    if cuda.is_available():
        cuda.synchronize()
