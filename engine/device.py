"""Devices: ``cpu`` and ``cuda``."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from numbers import Integral
from typing import Any

from tilegrad.engine.decorators import decorated
from tilegrad.engine.errors import DeviceError
from tilegrad.engine.memory import HOST
from tilegrad.engine.shape import as_index


class Device:
    """The name of a place where arrays live: ``device("cuda:1")``, ``device("cuda", 1)`` or
    ``device(1)``. Equal names are one object, and need no GPU: :func:`device` asks for that.

    ``with device("cuda"):`` makes new tensors there that are given no device, in this thread; as a
    decorator it does so while the function runs.

    ``allocator`` serves the memory of those that arrays are on.

    Raises:
        RuntimeError: the name is no device, or it is a number and there is no GPU.
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
        if isinstance(type, Integral) and not isinstance(type, bool):
            type = _numbered(int(type))
        if not isinstance(type, str) or not (index is None or isinstance(index, Integral)):
            raise TypeError(
                f"device: expected a name like 'cuda' or 'cuda:1', or a GPU's number; got {type!r}"
            )
        if index is not None:
            index = as_index("device", index, "index")
        kind, colon, number = type.partition(":")
        if index is not None and colon:
            raise RuntimeError(
                f"device: type (string) must not include an index because index was passed "
                f"explicitly; got {type!r}"
            )
        plain = number.isdigit() and str(int(number)) == number if colon else True
        if kind not in ("cpu", "cuda", "meta") or not plain or (index or 0) < 0:
            raise RuntimeError(f"device: must be 'cpu', 'cuda', 'cuda:N' or 'meta'; got {type!r}")
        place = int(number) if colon else index
        return _named(kind, None if kind == "meta" else place)

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + (
            ")" if self.index is None else f", index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __enter__(self) -> Device:
        _asked.append(None)
        _places.blocks.append(self)
        return self

    def __exit__(self, *args: object) -> None:
        if not _places.blocks:
            raise RuntimeError("device: trying to pop from empty mode stack")
        _places.blocks.pop()
        _asked.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(function):
            raise TypeError(f"device: decorates functions; got {type(function).__name__}")
        if inspect.isclass(function):
            raise RuntimeError(
                f"device: Cannot decorate classes; it is ambiguous whether only the constructor or all "
                f"methods should have the context manager applied; got {function.__name__}"
            )
        return decorated(lambda: self, function)

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


def _numbered(index: int) -> str:
    index = as_index("device", index, "index")
    from tilegrad.engine import cuda

    if index >= 0 and not cuda.is_available():
        raise DeviceError("device: Cannot access accelerator device when none is available.")
    return f"cuda:{index}"


CPU = _named("cpu", None)
CPU.allocator = HOST
META = _named("meta", None)  # its allocator: engine/meta.py


class _Places(threading.local):
    """Where this thread makes tensors that are given no device."""

    def __init__(self) -> None:
        self.blocks: list[Device] = []
        self.usual: Device | None = None


_places = _Places()
_asked: list[
    None
] = []  # one for each block and default of any thread: a cheap question before them


def asked(value: object = None) -> Device | None:
    """The device of ``value`` or, if that is None, of the block around or of
    :func:`set_default_device`; None if nothing says one.
    """
    if value is None:
        if not _asked:
            return None
        value = _places.blocks[-1] if _places.blocks else _places.usual
    return None if value is None else device(value)


def set_default_device(device: Any) -> None:
    """Make new tensors of this thread there when they are given no device; None: on the CPU."""
    named = None if device is None else Device(device)
    _asked[len(_asked) :] = [None] * (named is not None)
    if _places.usual is not None:
        _asked.pop()
    _places.usual = named


def get_default_device() -> Device:
    """Where tensors are made that are given no device."""
    return device(None)


def device(value: object = "cpu") -> Device:
    """The device whose memory ``value`` asks for: ``"cpu"``, ``"cuda"`` (the current GPU),
    ``"cuda:1"``, a GPU's number or a :class:`Device`; None: see :func:`asked`.

    Raises:
        RuntimeError, TypeError: it names no device.
        DeviceError: the device is not available here; the message says what is missing.
    """
    if value is CPU:
        return CPU
    if value is None:
        return (asked() or CPU) if _asked else CPU
    known = value.__class__ is str or value.__class__ is Device
    found = _resolved.get(value) if known else None
    if found is None:
        named = Device(value)
        if named.type == "meta":
            found = _meta()
        else:
            found = CPU if named.type == "cpu" else _cuda(named.index)
        if known:
            _resolved[value] = found
    return found


def gpu(value: object = None) -> Device:
    """The GPU that ``.cuda(value)`` asks for; the current one without.

    Raises:
        RuntimeError: it is no GPU.
    """
    found = device("cuda" if value is None else value)
    if found.type != "cuda":
        raise RuntimeError(f"cuda: Invalid device, must be cuda device; got {found}")
    return found


_resolved: dict[object, Device] = {}  # a process uses one GPU


def _meta() -> Device:
    if META.allocator is None:
        from tilegrad.engine.meta import NOWHERE

        META.allocator = NOWHERE
    return META


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
