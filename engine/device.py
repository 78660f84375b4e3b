"""Devices: ``cpu`` and ``cuda``."""

from __future__ import annotations

from typing import Any

from tilegrad.engine.errors import DeviceError
from tilegrad.engine.memory import HOST


class Device:
    """A place where arrays live. Each exists once; ``Device("cuda")`` means the current GPU.

    ``allocator`` serves its memory.
    """

    __slots__ = ("allocator", "index", "type")

    type: str
    index: int | None
    allocator: Any

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + (
            ")" if self.index is None else f", index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple[object, ...]:
        return (device, (str(self),))


_devices: dict[str, Device] = {}


def _make(kind: str, index: int | None, allocator: Any) -> Device:
    made = Device()
    made.type, made.index, made.allocator = kind, index, allocator
    return _devices.setdefault(str(made), made)


CPU = _make("cpu", None, HOST)


def device(value: object = "cpu", index: int | None = None) -> Device:
    """The device that ``value`` names: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, a GPU's number or a
    :class:`Device`.

    Raises:
        RuntimeError: the name is no device.
        DeviceError: the device is not available here; the message says what is missing.
    """
    if value is CPU or value is None:
        return CPU
    if isinstance(value, Device):
        return value
    name = f"cuda:{value}" if isinstance(value, int) else str(value)
    if index is not None:
        name = f"{name}:{index}"
    if name in _devices:
        return _devices[name]
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise RuntimeError(f"device: must be 'cpu', 'cuda' or 'cuda:N'; got {value!r}")
    return CPU if kind == "cpu" else _cuda(int(number) if number else None)


def _cuda(index: int | None) -> Device:
    from tilegrad.engine import cuda
    from tilegrad.engine.device_memory import DeviceAllocator

    current = cuda.current_device()
    if index is None:
        index = current
    if index >= cuda.device_count():
        raise DeviceError(
            f"device: this machine has {cuda.device_count()} GPU(s); got 'cuda:{index}'"
        )
    if index != current:
        raise DeviceError(
            f"device: a process uses one GPU, here cuda:{current}; got 'cuda:{index}' (call "
            f"tilegrad.cuda.set_device({index}) before the first use, or set CUDA_VISIBLE_DEVICES)"
        )
    found = _devices.get(f"cuda:{index}") or _make("cuda", index, DeviceAllocator(index))
    _devices["cuda"] = found
    return found
