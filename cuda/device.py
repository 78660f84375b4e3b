"""Which GPU, and what it is."""

from __future__ import annotations

from typing import Any

from tilegrad.engine import cuda
from tilegrad.engine.device import Device
from tilegrad.engine.random import default_generator
from tilegrad.kernels.cuda.run.driver import Properties


def index_of(device: Any) -> int:
    """The number of the GPU that ``device`` names: a number, "cuda", "cuda:1" or a Device; None is
    the current one.

    Raises:
        ValueError: it names no GPU.
        DeviceError: there is none on this machine.
    """
    if isinstance(device, int) and not isinstance(device, bool):
        return device
    if device is None:
        return cuda.current_device()
    name = device if isinstance(device, str) else str(device) if isinstance(device, Device) else ""
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise ValueError(f"device: expected a CUDA device; got {device!r}")
    return int(number) if number else cuda.current_device()


def own(device: Any) -> int:
    """The number of this process's GPU, which ``device`` must name.

    Raises:
        ValueError, DeviceError: it names no GPU, or another one.
    """
    here, asked = cuda.current_device(), index_of(device)
    if asked != here:
        cuda.set_device(asked)  # says why not
    return asked


def current_device() -> int:
    """Number of the GPU that this process uses."""
    return cuda.current_device()


def set_device(device: Any) -> None:
    """Choose the GPU of this process, before anything was done with one: a process uses one.

    Raises:
        DeviceError: another one is in use already, or there is no such GPU.
    """
    cuda.set_device(index_of(device))


class device:
    """A context manager for PyTorch's sake: the block's GPU, which can only be the process's own.

    Raises:
        DeviceError: it is another one and the process's is in use already.
    """

    def __init__(self, device: Any):
        self.idx = index_of(device)

    def __enter__(self) -> None:
        cuda.set_device(self.idx)

    def __exit__(self, *error: object) -> None:
        return None


def get_device_properties(device: Any = None) -> Properties:
    """Name, compute capability, memory, multiprocessors and their limits of a GPU."""
    return cuda.get_device_properties(index_of(device))


def get_device_name(device: Any = None) -> str:
    """The name of a GPU."""
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a GPU: (9, 0) for Hopper."""
    found = get_device_properties(device)
    return found.major, found.minor


def manual_seed(seed: int) -> None:
    """Start the default generator anew from ``seed``.

    One generator serves all devices, and gives the same numbers on each; so this is
    :func:`tilegrad.manual_seed`, with a GPU or without.
    """
    default_generator.manual_seed(seed)


manual_seed_all = manual_seed
