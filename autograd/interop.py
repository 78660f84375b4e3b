"""Tensors as Python numbers, lists, sequences and other libraries' arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tilegrad.autograd import once
from tilegrad.autograd.annotations import Number, Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.rules import assign, creation, movement, view
from tilegrad.engine import array as arrays
from tilegrad.engine.device import Device, device as as_device
from tilegrad.engine.dtype import DType, dtype as as_dtype
from tilegrad.engine.transfer import host


def item(self: Tensor) -> Number:
    """The one element as a Python number.

    Raises:
        RuntimeError: there is not exactly one.
    """
    if self.layout.numel != 1:
        raise RuntimeError(
            f"item: a Tensor with {self.numel()} elements cannot be converted to Scalar"
        )
    number: Number = host(self).item()
    return number


def tolist(self: Tensor) -> Any:
    """Nested lists of Python numbers."""
    return host(self).tolist()


def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """A NumPy array over the same memory.

    Raises:
        RuntimeError: the tensor requires a gradient and ``force`` is not set.
    """
    if self.requires_grad and not force:
        raise RuntimeError(
            "numpy: Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    return host(self) if force else arrays.to_numpy(self)


def to_array(self: Tensor, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
    """``numpy.asarray(x)``."""
    result = self.numpy()
    if dtype is not None and result.dtype != dtype:
        return result.astype(dtype)
    return result.copy() if copy else result


def wrap_array(
    self: object, array: object, context: object = None, return_scalar: bool = False
) -> Tensor:
    """What a NumPy function made of tensors, as a tensor again."""
    return creation.as_tensor(np.asarray(array), device="cpu")


def dlpack(
    self: Tensor,
    *,
    stream: int | None = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> object:
    """The DLPack capsule over the memory; on the device ``dl_device`` asks for."""
    if self.requires_grad:
        raise BufferError(
            "__dlpack__: Can't export tensors that require gradient, use tensor.detach()"
        )
    here = self.__dlpack_device__()
    wanted = here if dl_device is None else tuple(dl_device)
    if wanted not in (here, (1, 0)) or (wanted != here and copy is False):
        raise BufferError(
            f"__dlpack__: cannot hand a tensor on {self.device} over to DLPack device {wanted}"
        )
    source = self.cpu() if wanted != here else assign.clone(self) if copy else self
    if not source.is_cuda:
        return source.numpy().__dlpack__(stream=stream if wanted == here else None)
    from tilegrad.engine import interchange

    return interchange.to_dlpack(source, stream)


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """DLPack's type of device (CUDA is 2, the CPU 1) and its number."""
    return (2, self.device.index or 0) if self.is_cuda else (1, 0)


def cuda_array_interface(self: Tensor) -> dict[str, object]:
    """The memory as CuPy and numba.cuda take it."""
    if not self.is_cuda:
        raise AttributeError(
            f"__cuda_array_interface__: can't get it on non-CUDA tensor; got {self.device}"
        )
    if self.requires_grad:
        raise RuntimeError(
            "__cuda_array_interface__: can't get it on Tensor that requires grad. If gradients "
            "aren't required, use tensor.detach() to get Tensor that doesn't require gradient."
        )
    from tilegrad.engine import interchange

    return interchange.cuda_interface(self)


def formatted(self: Tensor, spec: str) -> str:
    """``f"{x:.2f}"`` and ``f"{x}"``: as the number where there is no dimension; of a subclass its repr.

    Raises:
        TypeError: a format for a tensor with dimensions.
    """
    if self.ndim and spec:
        return object.__format__(self, spec)
    plain = spec or "__format__" in type(self).__dict__
    return format(self.item(), spec) if self.ndim == 0 and plain else repr(self)


def as_bool(self: Tensor) -> bool:
    """Whether the one element is true."""
    if self.layout.numel != 1:
        raise RuntimeError(
            f"bool: Boolean value of Tensor with {'more than one' if self.numel() else 'no'} "
            f"value{'' if self.numel() else 's'} is ambiguous"
        )
    return bool(self.item())


def as_int(self: Tensor) -> int:
    """The one element, truncated."""
    return int(_real(self, "int64_t"))


def as_float(self: Tensor) -> float:
    """The one element."""
    return float(_real(self, "double"))


def as_complex(self: Tensor) -> complex:
    """The one element."""
    return complex(_number(self))


def _real(self: Tensor, wanted: str) -> Number:
    found = _number(self)
    if not isinstance(found, complex):
        return found
    if found.imag:
        raise RuntimeError(f"value cannot be converted to type {wanted} without overflow")
    return found.real


def _number(self: Tensor) -> Number:
    if self.layout.numel != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    if self.requires_grad:
        once.warn_of_scalar()
    return self.item()


def as_index(self: Tensor) -> int:
    """The one integer, as Python's sequences and ranges ask for it."""
    if self.dtype.has_gradient or self.numel() != 1:
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(self.item())


def length(self: Tensor) -> int:
    """The size of the first dimension."""
    if self.ndim == 0:
        raise TypeError("len() of a 0-d tensor")
    return self.layout.shape[0]


def iterate(self: Tensor) -> Iterator[Tensor]:
    """The slices along the first dimension."""
    if self.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter([view.select(self, 0, i) for i in range(len(self))])


def reverse(self: Tensor) -> Tensor:
    """The first dimension in reverse order."""
    return movement.flip(self, (0,)) if self.ndim else self


def contains(self: Tensor, element: object) -> bool:
    """Whether an element equals ``element``, a number or a tensor that broadcasts.

    Raises:
        RuntimeError: it is neither.
    """
    if isinstance(element, (TensorBase, bool, int, float, complex, np.generic)):
        return bool((self == element).any().item())
    raise RuntimeError(
        f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {element.__class__}."
    )


class Destination(NamedTuple):
    """What ``to`` is asked for; None: as it is."""

    dtype: DType | None
    device: Device | None
    non_blocking: bool
    copy: bool
    memory_format: object


def destination(op: str, args: tuple[object, ...], words: dict[str, object]) -> Destination:
    """The arguments of ``to(device, dtype)``, ``to(dtype)`` or ``to(tensor)``, ``non_blocking`` and
    ``copy`` behind them.

    Raises:
        TypeError: one is of another kind, has no such name, or is one too many.
    """
    names = ["device", "dtype", "non_blocking", "copy"]
    first = args[0] if args else words.get("tensor")
    if isinstance(first, TensorBase):
        names = ["tensor", "non_blocking", "copy"]
    elif isinstance(first, (DType, np.dtype, type)):
        names = ["dtype", "non_blocking", "copy"]
    given = dict(zip(names, args, strict=False))
    wrong = len(args) > len(names) or any(
        word in given or word not in (*names, "memory_format") for word in words
    )
    given.update(words)
    flags = given.get("non_blocking", False), given.get("copy", False)
    if wrong or not all(isinstance(flag, (bool, np.bool_)) for flag in flags):
        kinds = [type(v).__name__ for v in args] + [
            f"{n}={type(v).__name__}" for n, v in words.items()
        ]
        raise TypeError(
            f"{op}() received an invalid combination of arguments - got ({', '.join(kinds)})"
        )
    if isinstance(first, TensorBase):
        given.update(dtype=first.layout.dtype, device=first.layout.device)
    kind, where = given.get("dtype"), given.get("device")
    return Destination(
        None if kind is None else as_dtype(kind), None if where is None else as_device(where),
        bool(flags[0]), bool(flags[1]), given.get("memory_format"),
    )  # fmt: skip
