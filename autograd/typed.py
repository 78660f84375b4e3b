"""PyTorch's older ways to make tensors: ``Tensor(...)``, ``FloatTensor(...)`` and their kin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.copying import of_kind
from tilegrad.autograd.rules import creation
from tilegrad.autograd.size import Size
from tilegrad.engine import dtype as dt

NAMES = {
    "BoolTensor": dt.bool_, "ByteTensor": dt.uint8, "CharTensor": dt.int8, "ShortTensor": dt.int16,
    "IntTensor": dt.int32, "LongTensor": dt.int64, "FloatTensor": dt.float32,
    "DoubleTensor": dt.float64, "HalfTensor": dt.float16, "BFloat16Tensor": dt.bfloat16,
}  # fmt: skip
BY_DTYPE = {kind: name for name, kind in NAMES.items()}
BY_DTYPE |= {
    dt.complex64: "ComplexFloatTensor",
    dt.complex128: "ComplexDoubleTensor",
}  # names alone


def made(name: str, kind: dt.DType, device: object, given: tuple[object, ...]) -> Tensor:
    """The tensor of sizes (undefined contents), of data, or over the memory of another tensor.

    Raises:
        TypeError: a tensor of another dtype, or neither sizes nor data.
    """
    first = given[0] if len(given) == 1 else None
    if isinstance(first, TensorBase):
        if first.layout.dtype is not kind:
            raise TypeError(f"expected {name} (got {BY_DTYPE[first.layout.dtype]})")
        return first.detach()
    if isinstance(first, Sequence | np.ndarray) and not isinstance(first, Size):
        return creation.tensor(first, dtype=kind, device=device)
    sizes = first if isinstance(first, Size) else given
    for size in sizes:
        if not hasattr(size, "__index__"):
            raise TypeError(f"new(): data must be a sequence (got {type(size).__name__})")
    return (
        creation.empty(*sizes, dtype=kind, device=device)  # type: ignore[arg-type]  # sizes, as seen above
        if given
        else creation.empty(0, dtype=kind, device=device)
    )


class TypedTensor:
    """``FloatTensor`` and its kin: makes tensors of a dtype, and is their type for ``isinstance`` and
    :meth:`Tensor.type`.

    Attributes:
        dtype: of the tensors; place: type of their device.
    """

    def __init__(self, name: str, place: str = "cpu"):
        self.__name__ = self.__qualname__ = name
        self.__module__ = "torch" if place == "cpu" else "torch.cuda"
        self.dtype, self.place = NAMES[name], place

    def __call__(self, *data: object, device: object = None) -> Tensor:
        return made(self.__name__, self.dtype, self.place if device is None else device, data)

    def __instancecheck__(self, value: object) -> bool:
        return (
            isinstance(value, TensorBase)
            and value.layout.dtype is self.dtype
            and value.layout.device.type == self.place
        )

    def __repr__(self) -> str:
        return f"<class '{self}'>"

    def __str__(self) -> str:
        return f"{self.__module__}.{self.__name__}"


TYPES = {name: TypedTensor(name) for name in NAMES}
CUDA_TYPES = {name: TypedTensor(name, "cuda") for name in NAMES}


def default_tensor(cls: type[Tensor], given: tuple[object, ...], device: object) -> Tensor:
    """``Tensor(...)``, or a subclass of it: of the default dtype."""
    kind = dt.get_default_dtype()
    data = made(BY_DTYPE[kind], kind, device, given)
    return data if data.__class__ is cls else of_kind(cls, data)


def type_of(self: Tensor, dtype: object = None, non_blocking: bool = False) -> Tensor | str:
    """The name of this tensor's type, as ``torch.FloatTensor``; given a dtype, a type or its name, the
    tensor as such.

    Raises:
        ValueError: no type of this name.
    """
    layout = self.layout
    if dtype is None:
        home = "torch.cuda" if layout.device.type == "cuda" else "torch"
        return f"{home}.{BY_DTYPE[layout.dtype]}"
    if isinstance(dtype, str) and dtype.endswith("Tensor"):
        home, _, name = dtype.rpartition(".")
        types = CUDA_TYPES if home.endswith("cuda") else TYPES
        name = BY_DTYPE[dt.get_default_dtype()] if name == "Tensor" else name
        if name not in types:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = types[name]
    if isinstance(dtype, TypedTensor):
        return self.to(dtype.place, dtype.dtype, non_blocking=non_blocking)
    if isinstance(dtype, type):
        if dtype is not creation.empty(0).__class__:
            raise ValueError(f"invalid type: '{dtype.__name__}'")
        dtype = dt.get_default_dtype()
    return self.to(dt.dtype(dtype), non_blocking=non_blocking)


def set_default_tensor_type(t: object) -> None:
    """Make the dtype of a type (or of its name) the default.

    Raises:
        TypeError: of a type that is not floating point.
    """
    found = TYPES.get(t.rpartition(".")[2]) if isinstance(t, str) else t
    if not isinstance(found, TypedTensor) or not found.dtype.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type; got {t}")
    dt.set_default_dtype(found.dtype)
