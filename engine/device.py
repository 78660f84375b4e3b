"""Devices: ``cpu`` and ``cuda``."""

from __future__ import annotations

from typing import Any

from tilegrad.engine.errors import DeviceError
from tilegrad.engine.memory import HOST


class Device:
    """The name of a place where arrays live: ``device("cuda:1")``, ``device("cuda", 1)`` or
    ``device(1)``. Equal names are one object, and need no GPU: :func:`device` asks for that.

    ``allocator`` serves the memory of those that arrays are on.

    Raises:
        RuntimeError: the name is no device.
        TypeError: it is no name.
    """

    __slots__ = ("allocator", "index", "type")

    type: str
    index: int | None
    allocator: Any

    def __new__(cls, type: Any = None, index: int | None = None, *, device: Any = None) -> Device:
        type = device if type is None else type
        if isinstance(type, Device) and index is None:
            return type
        if isinstance(type, int) and not isinstance(type, bool):
            type = f"cuda:{type}"
        if not isinstance(type, str) or not (index is None or isinstance(index, int)):
            raise TypeError(
                f"device: expected a name like 'cuda' or 'cuda:1', or a GPU's number; got {type!r}"
            )
        kind, colon, number = type.partition(":")
        if index is not None and colon:
            raise RuntimeError(
                f"device: type (string) must not include an index because index was passed "
                f"explicitly; got {type!r}"
            )
        plain = number.isdigit() and str(int(number)) == number if colon else True
        if kind not in ("cpu", "cuda") or not plain or (index or 0) < 0:
            raise RuntimeError(f"device: must be 'cpu', 'cuda' or 'cuda:N'; got {type!r}")
        return _named(kind, int(number) if colon else index)

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + (
            ")" if self.index is None else f", index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple[object, ...]:
        return (Device, (self.type, self.index))


_devices: dict[tuple[str, int | None], Device] = {}


def _named(kind: str, index: int | None) -> Device:
    found = _devices.get((kind, index))
    if found is None:
        made = object.__new__(Device)
        made.type, made.index, made.allocator = kind, index, None
        found = _devices.setdefault((kind, index), made)
    return found


CPU = _named("cpu", None)
CPU.allocator = HOST


def device(value: object = "cpu") -> Device:
    """The device whose memory ``value`` asks for: ``"cpu"``, ``"cuda"`` (the current GPU),
    ``"cuda:1"``, a GPU's number or a :class:`Device`.

    Raises:
        RuntimeError, TypeError: it names no device.
        DeviceError: the device is not available here; the message says what is missing.
    """
    if value is CPU or value is None:
        return CPU
    known = value.__class__ is str or value.__class__ is Device
    found = _resolved.get(value) if known else None
    if found is None:
        named = Device(value)
        found = CPU if named.type == "cpu" else _cuda(named.index)
        if known:
            _resolved[value] = found
    return found


_resolved: dict[object, Device] = {}  # a process uses one GPU


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
    found = _named("cuda", index)
    if found.allocator is None:
        found.allocator = DeviceAllocator(index)
    return found
