"""New arrays: uninitialised, constant, arithmetic sequences, and copies of host data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.engine import dtype as dt, number
from tilegrad.engine.array import Array, Layout, empty, layout, to_numpy
from tilegrad.engine.device import Device
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.dtype import DType
from tilegrad.engine.ops import elementwise
from tilegrad.engine.ops.elementwise import full
from tilegrad.engine.ops.parts import part as part_of
from tilegrad.engine.ops.view import diagonal
from tilegrad.engine.shape import Shape, as_indices, dense_strides
from tilegrad.engine.transfer import to_device

# ------------------------------------------------------------------------------------- sequences


def _arange_plan(*, size: int, dtype: DType, exact: bool, device: Device) -> Plan:
    launch = kernel("create", device).arange(dtype.name, exact, size)
    return Plan((layout((size,), dtype, device),), launch)


def _linspace_plan(*, size: int, dtype: DType, device: Device) -> Plan:
    launch = kernel("create", device).linspace(dtype.name, size)
    return Plan((layout((size,), dtype, device),), launch)


_arange = Op("arange", _arange_plan)
_linspace = Op("linspace", _linspace_plan)


def arange(start: float, end: float, step: float, dtype: DType, device: Device) -> Array:
    """``start + i * step`` below (for negative steps: above) ``end``.

    Raises:
        RuntimeError: the range is not finite, the step is zero, or it leads away from ``end``.
    """
    if not all(math.isfinite(v) for v in (start, end, step)):
        raise RuntimeError(f"arange: unsupported range: {start} -> {end}, step {step}")
    if step == 0:
        raise RuntimeError("arange: step must be nonzero; got 0")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"arange: upper bound and lower bound inconsistent with step sign; "
            f"got {start} -> {end}, step {step}"
        )
    if dtype is dt.int64:  # PyTorch counts whole steps here, and only here
        start, end, step = (int(number.stored(v, dtype, "arange")) for v in (start, end, step))
        if step == 0:
            raise ValueError("arange: step must be nonzero; got 0")
    if all(isinstance(v, int) for v in (start, end, step)):
        size = -((start - end) // step)
    else:
        size = math.ceil((end - start) / step)
    if size >= 1 << 63:
        raise RuntimeError(f"arange: invalid size, possible overflow? got {size} elements")
    exact = not dtype.is_floating_point
    kind = int if exact else float
    params = (kind(start), kind(end), kind(step))
    made: Array = _arange(params=params, size=int(size), dtype=dtype, exact=exact, device=device)
    return made


def linspace(start: float, end: float, steps: int, dtype: DType, device: Device) -> Array:
    """``steps`` evenly spaced values from ``start`` to ``end``, both included."""
    if dtype.is_complex or isinstance(start, complex) or isinstance(end, complex):
        return _complex_linspace(complex(start), complex(end), steps, dtype.to_complex(), device)
    if steps < 0:
        raise RuntimeError(f"linspace: number of steps must be non-negative; got {steps}")
    if steps:
        start, end = ends(start, end if steps > 1 else start, dtype, "linspace")
    step = (float(end) - float(start)) / (steps - 1) if steps > 1 else 0.0
    if steps == 1:
        end = start
    params = (float(start), float(end), float(step))
    made: Array = _linspace(params=params, size=steps, dtype=dtype, device=device)
    return made


def _complex_linspace(
    start: complex, end: complex, steps: int, dtype: DType, device: Device
) -> Array:
    """:func:`linspace` of both parts."""
    made = empty((max(steps, 0),), dtype, device)
    pairs = ((start.real, end.real), (start.imag, end.imag))
    for place, (first, last) in enumerate(pairs):
        part = linspace(first, last, steps, dtype.to_real(), device)
        elementwise.copy(part, part_of(made, place))
    made.storage.version -= len(pairs)  # new memory: nobody has seen it otherwise
    return made


def holding(op: str, dtype: DType, asked: bool, *ends: complex) -> DType:
    """``dtype``, complex where an end is and it was not ``asked`` for.

    Raises:
        RuntimeError: it was, and holds no complex numbers.
    """
    if dtype.is_complex or not any(isinstance(e, complex) for e in ends):
        return dtype
    if asked:
        raise RuntimeError(
            f"{op}: inferred dtype complex can't be safely cast to passed dtype {dtype.name}"
        )
    return dtype.to_complex()


def ends(start: float, end: float, dtype: DType, op: str) -> tuple[float, float]:
    """Both ends as elements of ``dtype``: integers are spaced evenly between whole numbers.

    Raises:
        RuntimeError: an integer dtype does not hold them.
    """
    if dtype.is_floating_point:
        return start, end
    return number.stored(start, dtype, op), number.stored(end, dtype, op)


def eye(n: int, m: int, dtype: DType, device: Device) -> Array:
    """Ones on the diagonal of an (n, m) array of zeros."""
    made = full((n, m), 0, dtype, device)
    elementwise.fill(diagonal(made, offset=0, dim1=0, dim2=1), 1)
    made.storage.version -= 1  # as above
    return made


def like(x: Layout, dtype: DType, device: Device) -> Layout:
    """The layout of a new array shaped as ``x``, in its order of dimensions."""
    return layout(x.shape, dtype, device, dense_strides(x.shape, x.strides))


# ------------------------------------------------------------------------------------- host data


def from_host(data: Any, dtype: DType | None, device: Device) -> Array:
    """Nested sequences of numbers, or a NumPy array, copied to a new row-major array.

    Raises:
        ValueError: sequences of unequal length.
        TypeError, RuntimeError: something that is no number.
        RuntimeError: a value that ``dtype`` cannot hold.
    """
    source = data if isinstance(data, np.ndarray) else _stored(data, dtype)
    if source.dtype in dt.BY_NUMPY:
        kind = dt.BY_NUMPY[source.dtype]
    elif source.dtype.newbyteorder("=") in dt.BY_NUMPY:
        kind = dt.BY_NUMPY[source.dtype.newbyteorder("=")]
    elif dtype is not None and source.dtype.kind in "biufc":
        kind = dtype
    else:
        names = ", ".join(d.name for d in dt.ALL)
        raise TypeError(f"tensor: dtype must be one of {names}; got {source.dtype}")
    made = empty(source.shape, kind)
    to_numpy(made)[...] = source
    return to_device(elementwise.cast(made, kind if dtype is None else dtype), device)


def _stored(data: Any, dtype: DType | None) -> np.ndarray:
    found: set[Any] = set()
    try:
        _leaf_kinds(data, found)
    except (RuntimeError, TypeError) as error:
        if dtype is None:
            raise
        raise _no_number(data, error) from None
    kind = infer(found) if dtype is None else dtype
    if complex in found and not kind.is_complex and kind is not dt.bool_:
        raise TypeError(f"tensor: must be a real number, not complex, in {kind.name}")
    if kind.category == dt.int64.category:
        return _integers(data, found, kind)
    try:
        with np.errstate(over="ignore"):  # of float32: infinity
            return np.array(data, kind.numpy)
    except ValueError as error:
        _check_rectangular(data)
        raise RuntimeError(
            f"tensor: value cannot be converted to type {kind.name}: {error}"
        ) from None


def _no_number(data: Any, error: Exception) -> Exception:
    """What PyTorch says of an item that is no number, where it was told the dtype."""
    if isinstance(data, str):
        return TypeError(f"new(): invalid data type 'str'; {error}")
    if isinstance(error, TypeError):
        return ValueError(f"too many dimensions 'str'; {error}")
    return TypeError(f"must be real number; {error}")


def _integers(data: Any, found: set[Any], kind: DType) -> np.ndarray:
    """Numbers of the types ``found`` as integers of dtype ``kind``, each as it would be stored."""
    if all(k in (bool, int) or getattr(k, "category", 2) < 2 for k in found):
        try:
            whole = np.array(data, np.int64)
        except OverflowError:
            raise ValueError("tensor: Overflow when unpacking long long") from None
        except ValueError:
            _check_rectangular(data)
            raise
        if kind is not dt.int64 and whole.size:
            number.stored(int(whole.min()), kind, "tensor")
            number.stored(int(whole.max()), kind, "tensor")
        return whole.astype(kind.numpy)
    values = np.array(data, object)
    made = []
    for value in values.ravel():
        plain = number.plain(value)
        if plain is None:
            _check_rectangular(data)
            raise RuntimeError(f"tensor: {type(value).__name__} is no number")
        made.append(number.element(plain, kind, "tensor"))
    return np.array(made, kind.numpy).reshape(values.shape)


def infer(kinds: set[Any]) -> DType:
    """The dtype of numbers of these Python types and dtypes: bool, int64, the default float, or
    what numbers that carry a dtype ask for.
    """
    scalars = [_OF_PYTHON[k]() for k in kinds if k in _OF_PYTHON]
    typed = [k for k in kinds if isinstance(k, DType)]
    if not scalars and not typed:
        return dt.get_default_dtype()
    made: DType = (scalars + typed)[0]
    for kind in scalars + typed:
        made = dt.promote_types(made, kind)
    return made


_OF_PYTHON: dict[Any, Callable[[], DType]] = {
    bool: lambda: dt.bool_, int: lambda: dt.int64, float: dt.get_default_dtype,
    complex: lambda: dt.get_default_dtype().to_complex(),
}  # fmt: skip
_PYTHON = frozenset(_OF_PYTHON)
_NESTED = (list, tuple, range)


def _leaf_kinds(data: Any, found: set[Any]) -> None:
    """Add the types of all numbers in ``data``; for NumPy's, their dtype."""
    if isinstance(data, _NESTED):
        kinds = set(map(type, data))
        if kinds <= _PYTHON:
            found |= kinds
        else:
            for item in data:
                _leaf_kinds(item, found)
    elif type(data) in _PYTHON:
        found.add(type(data))
    elif isinstance(data, (np.generic, np.ndarray)):
        found.add(dt.dtype(data.dtype))
    elif isinstance(data, (int, float, complex)):  # of a class of its own, as an IntEnum
        found.add(next(kind for kind in (int, float, complex) if isinstance(data, kind)))
    elif isinstance(data, str):
        raise TypeError("tensor: invalid data type 'str'; expected numbers")
    else:
        raise RuntimeError(f"tensor: Could not infer dtype of {type(data).__name__}")


def _check_rectangular(data: Any, dim: int = 0) -> tuple[int, ...]:
    """The shape of nested sequences.

    Raises:
        ValueError: two at the same depth differ in length.
        TypeError: a sequence and a number stand side by side.
    """
    if not isinstance(data, (*_NESTED, np.ndarray)):
        return ()
    shape: tuple[int, ...] | None = None
    for item in data:
        inner = _check_rectangular(item, dim + 1)
        if shape is not None and inner != shape:
            if not shape or not inner:
                raise TypeError(f"tensor: a number is not a sequence; got both at dim {dim + 1}")
            raise ValueError(
                f"tensor: expected sequence of shape {shape} at dim {dim + 1}; got {inner}"
            )
        shape = inner
    return (len(data), *(shape or ()))


def check_sizes(op: str, size: Any) -> Shape:
    """Sizes given one by one or as one sequence.

    Raises:
        TypeError: one is not an integer.
        RuntimeError: one is negative.
    """
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = size[0]
    for n in size:
        if n.__class__ is not int or not 0 <= n < 1 << 63:
            break
    else:
        return tuple(size)
    try:
        shape = as_indices(op, size, "size")
    except TypeError as error:
        if "failed to unpack" in str(error):
            raise
        raise TypeError(
            f"{op}: argument 'size' must be ints or a tuple of ints; got {size}"
        ) from None
    if any(s < 0 for s in shape):
        raise RuntimeError(f"{op}: Trying to create tensor with negative dimension; got {shape}")
    return shape
