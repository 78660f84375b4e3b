"""New tensors, PyTorch's names and arguments."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from tilegrad.autograd.annotations import Sizes, Tensor
from tilegrad.autograd.base import TensorBase, detached_view, tensor_of
from tilegrad.autograd.once import warn_of_read_only
from tilegrad.engine import array as arrays, dtype as dt, number
from tilegrad.engine.array import Array, Layout
from tilegrad.engine.device import CPU, Device, asked, device as as_device
from tilegrad.engine.ops import create as ops, elementwise
from tilegrad.engine.shape import as_indices
from tilegrad.engine.transfer import host, to_device

__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "empty_strided", "eye",
    "from_dlpack", "from_numpy", "frombuffer", "full", "full_like", "linspace", "logspace", "ones",
    "ones_like", "scalar_tensor", "tensor", "zeros", "zeros_like",
]  # fmt: skip

Number = float | int | bool


def _made(op: str, array: Array, requires_grad: bool) -> Tensor:
    result: Tensor = array  # type: ignore[assignment]
    if requires_grad:
        if not array.dtype.has_gradient:
            raise RuntimeError(
                f"{op}: Only Tensors of floating point dtype can require gradients; "
                f"got {array.dtype.name}"
            )
        result._tracked = True
    return result


def _dtype(value: object) -> dt.DType:
    return dt.get_default_dtype() if value is None else dt.dtype(value)


# ------------------------------------------------------------------------------------ from data


def tensor(
    data: object, *, dtype: object = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """A new leaf with a copy of ``data``: a number, nested sequences, a NumPy array, a tensor, or
    an array of another library on the GPU.

    Without ``dtype``, Python floats become the default dtype, ints int64, bools bool; NumPy values
    and tensors keep theirs.

    Raises:
        ValueError: nested sequences of unequal length.
        TypeError, RuntimeError: ``data`` holds something that is no number.
    """
    if isinstance(data, TensorBase):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() "
            "or sourceTensor.detach().clone().requires_grad_(True), rather than "
            "tilegrad.tensor(sourceTensor).",
            stacklevel=2,
        )
    return _made("tensor", _copied(data, dtype, device), requires_grad)


def _copied(data: Any, dtype: object, device: object) -> Array:
    """A new array of ``data``; see :func:`tensor`."""
    where = as_device(device)
    kind = None if dtype is None else dt.dtype(dtype)
    if _is_on_gpu(data):
        data = as_tensor(data)
    if isinstance(data, TensorBase):
        same = kind is None or kind is data.layout.dtype
        array: Array = elementwise.clone(data) if same else elementwise.cast(data, kind)  # type: ignore[arg-type]
        array = to_device(array, asked(device) or array.layout.device)
    elif type(data) in (bool, int, float, complex) and kind is None:
        kind = dt.of_scalar(data)
        array = elementwise.full((), number.element(data, kind, "tensor"), kind, where)
    else:
        array = ops.from_host(_without_tensors(data), kind, where)
    return array


def _is_on_gpu(data: object) -> bool:
    """Whether ``data`` is another library's array on the GPU."""
    known = (TensorBase, np.ndarray, list, tuple, int, float, complex)
    return not isinstance(data, known) and hasattr(data, "__cuda_array_interface__")


def _without_tensors(data: object) -> object:
    """``data`` with NumPy arrays in place of tensors, of which each holds one number."""
    if isinstance(data, TensorBase):
        if data.layout.numel != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return host(data).reshape(())
    if isinstance(data, Sequence) and not isinstance(data, (list, tuple, range, str, bytes)):
        data = list(data)
    if isinstance(data, (list, tuple)) and any(
        issubclass(kind, (TensorBase, Sequence)) for kind in set(map(type, data))
    ):
        return [_without_tensors(item) for item in data]
    if not isinstance(data, (list, tuple, np.ndarray, np.generic)) and hasattr(data, "__array__"):
        return np.asarray(data)
    return data


def as_tensor(data: object, dtype: object = None, device: object = None) -> Tensor:
    """``data`` as a tensor, without a copy where dtype and memory allow; a tensor stays itself.

    An array of another library on the GPU (``__cuda_array_interface__``) stays there.
    """
    if _is_on_gpu(data):
        from tilegrad.engine.interchange import from_cuda_interface

        data = tensor_of(from_cuda_interface(data))
    if isinstance(data, TensorBase):
        return data.to(device=asked(device) or data.device, dtype=dtype)
    kind = None if dtype is None else dt.dtype(dtype)
    if isinstance(data, np.ndarray) and as_device(device) is CPU:
        if kind in (None, dt.BY_NUMPY.get(data.dtype)) and all(s >= 0 for s in data.strides):
            return from_numpy(data)
    return tensor_of(_copied(data, kind, device))


def asarray(
    obj: object,
    *,
    dtype: object = None,
    device: object = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """``obj`` as a tensor; ``copy=True`` always copies, ``copy=False`` never.

    Raises:
        ValueError: ``copy=False``, but a copy is needed.
    """
    made = tensor_of(_copied(obj, dtype, device)) if copy else as_tensor(obj, dtype, device)
    if copy is False and not _shares(obj, made):
        raise ValueError("asarray: can't alias arbitrary sequence or cast without a copy")
    if requires_grad:
        made.requires_grad_()
    return made


def _shares(obj: object, made: Tensor) -> bool:
    if obj is made:
        return True
    if not isinstance(obj, np.ndarray) or made.layout.device is not CPU:
        return False
    return np.shares_memory(obj, arrays.to_numpy(made))


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor over the memory of ``ndarray``; writes to one show in the other. A read-only array
    is shared too, with a warning: nothing keeps the tensor from being written to.

    Raises:
        TypeError: no array, or one of an unsupported dtype.
        ValueError: negative strides, or swapped bytes.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy: expected np.ndarray; got {type(ndarray).__name__}")
    if not ndarray.flags.writeable:
        warn_of_read_only()
    return tensor_of(arrays.from_numpy(ndarray))


def frombuffer(
    buffer: Any, *, dtype: object, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A vector over the memory of ``buffer``, any object with Python's buffer protocol.

    Args:
        count: number of elements; -1: as many as there are.
        offset: bytes to pass over at the beginning.

    Raises:
        ValueError: no bytes, or too few.
    """
    kind = dt.dtype(dtype)
    view = memoryview(buffer).cast("B")
    left = view.nbytes - offset
    if not view.nbytes or count == 0:
        raise ValueError(f"both buffer length ({view.nbytes}) and count ({count}) must not be 0")
    if not 0 <= offset < view.nbytes:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length "
            f"({view.nbytes} bytes) minus 1"
        )
    if count < 0 and left % kind.itemsize:
        raise ValueError(
            f"buffer length ({left} bytes) after offset ({offset} bytes) must be a multiple of element "
            f"size ({kind.itemsize})"
        )
    if count > 0 and count * kind.itemsize > left:
        raise ValueError(
            f"requested buffer length ({count} * {kind.itemsize} bytes) after offset ({offset} bytes) "
            f"must not be greater than actual buffer length ({view.nbytes} bytes)"
        )
    array = np.frombuffer(buffer, kind.numpy, count, offset)
    return _made("frombuffer", from_numpy(array), requires_grad)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor over the memory of any object with ``__dlpack__``, on the CPU or on the GPU.

    Raises:
        TypeError: its dtype or kind of device is not supported.
        DeviceError: it is on another GPU than this process uses, or there is none.
    """
    if isinstance(ext_tensor, TensorBase):
        return detached_view(ext_tensor)
    kind = ext_tensor.__dlpack_device__()[0]
    if kind == 1:
        return tensor_of(arrays.from_numpy(np.from_dlpack(ext_tensor)))
    from tilegrad.engine import interchange

    return tensor_of(interchange.from_dlpack(ext_tensor, int(kind)))


# ------------------------------------------------------------------------------------- constants


def empty(
    *size: Sizes, dtype: object = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """Undefined contents."""
    made = arrays.empty(ops.check_sizes("empty", size), _dtype(dtype), as_device(device))
    return _made("empty", made, True) if requires_grad else made  # type: ignore[return-value]


def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Undefined contents, with the given strides in elements."""
    shape, strides = ops.check_sizes("empty_strided", size), tuple(stride)
    strides = as_indices("empty_strided", strides, "stride")
    if len(shape) != len(strides) or any(s < 0 for s in strides):
        raise RuntimeError(
            f"empty_strided: strides must be non-negative, one per size; got {shape} and {strides}"
        )
    reach = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    made = arrays.empty((reach + 1 if all(shape) else 0,), _dtype(dtype), as_device(device))
    return _made("empty_strided", arrays.window(made, shape, strides), requires_grad)


def zeros(
    *size: Sizes, dtype: object = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """Zeros."""
    return _full("zeros", size, 0.0, _dtype(dtype), device, requires_grad)


def ones(
    *size: Sizes, dtype: object = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """Ones."""
    return _full("ones", size, 1.0, _dtype(dtype), device, requires_grad)


def full(
    size: Sequence[int],
    fill_value: Number | Tensor,
    *,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """``fill_value`` everywhere; without ``dtype`` its type decides (bool, int64, default float)."""
    if isinstance(fill_value, TensorBase) and not fill_value.layout.ndim:
        dtype = fill_value.dtype if dtype is None else dtype
    fill_value = number.required(fill_value, "full")
    kind = dt.of_scalar(fill_value) if dtype is None else dt.dtype(dtype)
    return _full("full", (size,), fill_value, kind, device, requires_grad)


def scalar_tensor(
    s: Number, *, dtype: object = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """A tensor without dimensions, of the default dtype unless given."""
    return full((), s, dtype=_dtype(dtype), device=device, requires_grad=requires_grad)


def _full(
    op: str, size: object, value: Number, kind: dt.DType, device: object, requires_grad: bool
) -> Tensor:
    shape = ops.check_sizes(op, size)
    made = elementwise.full(shape, value, kind, as_device(device))
    return _made(op, made, True) if requires_grad else made  # type: ignore[return-value]


_SQUARE: int = cast("int", ...)  # None is refused, as any other than an int


def eye(
    n: int, m: int = _SQUARE, *, dtype: object = None, device: object = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """(n, m), or (n, n), with ones on the diagonal, zeros elsewhere."""
    m = n if m is _SQUARE else m
    if n < 0 or m < 0:
        raise RuntimeError(f"eye: n and m must be greater or equal to 0; got {n} and {m}")
    return _made("eye", ops.eye(n, m, _dtype(dtype), as_device(device)), requires_grad)


# ------------------------------------------------------------------------------------- sequences


def arange(
    start: object = 0,
    end: object = None,
    step: object = 1,
    *,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """``start, start + step, …`` below ``end``; ``arange(end)`` starts at 0.

    Each element is ``start + i * step``, computed in float64 and rounded once, or in int64. All
    ints make int64, else the default float.

    Raises:
        RuntimeError: the step is zero or leads away from ``end``.
    """
    if end is None:
        start, end = 0, start
    start, end, step = _number(start), _number(end), _number(step)
    if dtype is not None:
        kind = _number_dtype("arange", dtype)
    else:
        exact = all(isinstance(v, int) for v in (start, end, step))
        kind = dt.int64 if exact else dt.get_default_dtype()
    made = ops.arange(start, end, step, kind, as_device(device))
    return _made("arange", made, requires_grad)


def _number(value: object, refusal: type[Exception] = TypeError) -> Number:
    if isinstance(value, TensorBase) and value.layout.ndim:
        raise refusal(f"bounds and step must be numbers; got {value.layout.describe()}")
    item = value.item() if hasattr(value, "item") else value
    if not isinstance(item, (bool, int, float, complex)):
        raise TypeError(f"bounds and step must be Number, not {type(item).__name__}")
    number.in_64_bits(item)
    return int(item) if isinstance(item, bool) else item  # type: ignore[return-value]


def _number_dtype(op: str, dtype: object) -> dt.DType:
    kind = _dtype(dtype)
    if kind is dt.bool_:
        raise NotImplementedError(f"\"{op}\" not implemented for 'bool'")
    return kind


def linspace(
    start: object,
    end: object,
    steps: int,
    *,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """``steps`` evenly spaced values from ``start`` to ``end``, symmetric from both ends."""
    kind, where = _number_dtype("linspace", dtype), as_device(device)
    first, last = _number(start, RuntimeError), _number(end, RuntimeError)
    kind = ops.holding("linspace", kind, dtype is not None, first, last)
    made = ops.linspace(first, last, steps, kind, where)
    return _made("linspace", made, requires_grad)


def logspace(
    start: object,
    end: object,
    steps: int,
    base: float = 10.0,
    *,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """``base`` to the power of ``linspace(start, end, steps)``, computed in float64."""
    kind, where = _number_dtype("logspace", dtype), as_device(device)
    first, last = _number(start, RuntimeError), _number(end, RuntimeError)
    ops.holding("logspace", kind, dtype is not None, first, last)
    if steps > 1:
        first, last = ops.ends(first, last, kind, "logspace")
    exponents = ops.linspace(first, last, steps, dt.float64, where)
    root = float(number.required(base, "logspace"))
    powers = elementwise.OPS["pow"](elementwise.scalar(root, dt.float64, where), exponents)
    return _made("logspace", elementwise.cast(powers, kind), requires_grad)


# ------------------------------------------------------------------------------- like an existing


def _like(x: Tensor, dtype: object, device: object) -> Layout:
    kind = x.layout
    wanted = kind.dtype if dtype is None else dt.dtype(dtype)
    where: Device = kind.device if device is None else as_device(device)
    return ops.like(kind, wanted, where)


def empty_like(
    input: Tensor, *, dtype: object = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """Undefined contents, in the shape, dtype and order of dimensions of ``input``."""
    made = arrays.empty_layout(_like(input, dtype, device))
    return _made("empty_like", made, requires_grad)


def full_like(
    input: Tensor,
    fill_value: Number,
    *,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """``fill_value`` everywhere, in the shape, dtype and order of dimensions of ``input``."""
    kind = _like(input, dtype, device)
    made = elementwise.filled(kind, number.required(fill_value, "full_like"))
    return _made("full_like", made, requires_grad)


def zeros_like(
    input: Tensor, *, dtype: object = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """Zeros, in the shape, dtype and order of dimensions of ``input``."""
    return full_like(input, 0.0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(
    input: Tensor, *, dtype: object = None, device: object = None, requires_grad: bool = False
) -> Tensor:
    """Ones, in the shape, dtype and order of dimensions of ``input``."""
    return full_like(input, 1.0, dtype=dtype, device=device, requires_grad=requires_grad)


def new_empty(self: Tensor, *size: Sizes, dtype: object = None, **options: object) -> Tensor:
    """Undefined contents, of this tensor's dtype unless given."""
    return empty(*size, **_options(self, dtype, options))


def new_empty_strided(
    self: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: object = None,
    **options: object,
) -> Tensor:
    """:func:`empty_strided` with the dtype and device of this tensor."""
    return empty_strided(tuple(size), tuple(stride), **_options(self, dtype, options))


def new_zeros(self: Tensor, *size: Sizes, dtype: object = None, **options: object) -> Tensor:
    """Zeros, of this tensor's dtype unless given."""
    return zeros(*size, **_options(self, dtype, options))


def new_ones(self: Tensor, *size: Sizes, dtype: object = None, **options: object) -> Tensor:
    """Ones, of this tensor's dtype unless given."""
    return ones(*size, **_options(self, dtype, options))


def new_full(
    self: Tensor,
    size: Sequence[int],
    fill_value: Number,
    *,
    dtype: object = None,
    **options: object,
) -> Tensor:
    """``fill_value`` everywhere, of this tensor's dtype unless given."""
    return full(size, fill_value, **_options(self, dtype, options))


def new_tensor(self: Tensor, data: object, *, dtype: object = None, **options: object) -> Tensor:
    """A copy of ``data``, of this tensor's dtype unless given."""
    return tensor(data, **_options(self, dtype, options))


def _options(x: Tensor, dtype: object, options: dict[str, object]) -> dict[str, Any]:
    kind = x.layout
    return {"dtype": kind.dtype if dtype is None else dtype, "device": kind.device, **options}
