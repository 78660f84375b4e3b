"""Devices: ``cpu`` and ``cuda``."""

from __future__ import annotations

from tilegrad.engine.errors import DeviceError


class Device:
    """A place where arrays live. Each exists once; ``Device("cuda")`` means ``cuda:0``."""

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + (
            ")" if self.index is None else f", index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple[object, ...]:
        return (device, (str(self),))


_devices: dict[str, Device] = {}


def _make(kind: str, index: int | None) -> Device:
    made = Device()
    made.type, made.index = kind, index
    return _devices.setdefault(str(made), made)


CPU = _make("cpu", None)


def device(value: object = "cpu", index: int | None = None) -> Device:
    """The device that ``value`` names: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or a :class:`Device`.

    Raises:
        RuntimeError: the name is no device.
        DeviceError: the device is not available here.
    """
    if value is CPU or value is None:
        return CPU
    if isinstance(value, Device):
        return value
    name = str(value) if index is None else f"{value}:{index}"
    if name in _devices:
        return _devices[name]
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise RuntimeError(f"device: must be 'cpu', 'cuda' or 'cuda:N'; got {value!r}")
    if kind == "cpu":
        return CPU
    raise DeviceError(
        f"device: 'cuda' needs the CUDA backend, which this version of tilegrad does not have; "
        f"got {value!r}"
    )
