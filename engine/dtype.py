"""Element types and type promotion, with PyTorch's names and rules.

float16 and bfloat16 will stand between int64 and float32 in :data:`ALL`, with their kernels.
"""

from __future__ import annotations

import numpy as np

_BOOL, _INTEGER, _FLOAT = 0, 1, 2


class DType:
    """One element type. Compare with ``is`` or ``==``; each exists once."""

    __slots__ = (
        "category", "high", "is_floating_point", "is_signed", "itemsize", "low", "name", "numpy",
        "python",
    )  # fmt: skip

    low: float  # least and greatest number that it holds
    high: float
    python: type  # of its elements

    def __init__(self, name: str, category: int, is_signed: bool = True):
        self.name = name
        self.category = category
        self.numpy = np.dtype(name)
        self.itemsize = self.numpy.itemsize
        self.is_floating_point = category == _FLOAT
        self.is_signed = is_signed
        self.python = (bool, int, float)[category]
        if category == _BOOL:
            self.low, self.high = 0, 1
        elif category == _INTEGER:
            bits = 8 * self.itemsize - is_signed
            self.low, self.high = -(1 << bits) if is_signed else 0, (1 << bits) - 1
        else:
            self.high = float(np.finfo(self.numpy).max)
            self.low = -self.high

    is_complex = False

    def __repr__(self) -> str:
        return f"tilegrad.{self.name}"

    def __reduce__(self) -> tuple[object, ...]:
        return (dtype, (self.name,))


bool_ = DType("bool", _BOOL, is_signed=False)
uint8 = DType("uint8", _INTEGER, is_signed=False)
int8 = DType("int8", _INTEGER)
int16 = DType("int16", _INTEGER)
int32 = DType("int32", _INTEGER)
int64 = DType("int64", _INTEGER)
float32 = DType("float32", _FLOAT)
float64 = DType("float64", _FLOAT)

ALL = (bool_, uint8, int8, int16, int32, int64, float32, float64)
BY_NAME = {d.name: d for d in ALL}
BY_NUMPY = {d.numpy: d for d in ALL}
_ALIASES = {
    "float": float32, "double": float64, "int": int32, "long": int64, "short": int16, "char": int8,
}  # fmt: skip

_default = float32


def get_default_dtype() -> DType:
    """The dtype of float data given without one: float32 unless changed."""
    return _default


def set_default_dtype(d: DType) -> None:
    """Make ``d`` (float32 or float64) the dtype of float data given without one."""
    global _default
    if not isinstance(d, DType) or not d.is_floating_point:
        raise TypeError(
            f"set_default_dtype: only floating-point types are supported as the default type; got {d}"
        )
    _default = d


def dtype(value: object) -> DType:
    """The :class:`DType` that ``value`` (DType, name, NumPy dtype) stands for; Python's ``float``
    is float64, ``int`` int64, ``bool`` bool, whatever the default dtype is.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, str):
        found = BY_NAME.get(value) or _ALIASES.get(value)
        if found is not None:
            return found
    elif value is float:
        return float64
    elif value is int:
        return int64
    elif value is bool:
        return bool_
    if isinstance(value, (str, type, np.dtype)):
        try:
            return BY_NUMPY[np.dtype(value)]
        except (KeyError, TypeError):
            pass
    names = ", ".join(BY_NAME)
    raise TypeError(f"dtype: must be one of {names}; got {value!r}")


def of_scalar(value: object) -> DType:
    """The dtype a Python scalar stands for: bool, int64 or the default float."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    return _default


def promote_types(a: DType, b: DType) -> DType:
    """The smallest dtype that holds values of both, by PyTorch's table."""
    if a is b:
        return a
    if a.category != b.category:
        return a if a.category > b.category else b
    if a.is_signed != b.is_signed:  # uint8 with a signed integer
        signed = a if a.is_signed else b
        return int16 if signed is int8 else signed
    return a if a.itemsize >= b.itemsize else b


def result_type(*operands: tuple[DType, int]) -> DType:
    """Promotion over ``(dtype, rank)`` pairs; rank 2: array with dimensions, 1: zero-dimensional
    array, 0: Python scalar. Lower ranks only decide when their category is higher.
    """
    best: list[DType | None] = [None, None, None]
    for d, rank in operands:
        held = best[rank]
        best[rank] = d if held is None else promote_types(held, d)
    result: DType | None = None
    for rank in (2, 1, 0):
        d2 = best[rank]
        if d2 is None:
            continue
        if result is None:
            result = d2
        elif d2.category > result.category:
            result = d2 if rank or d2.category != _FLOAT else _default
    if result is None:
        raise TypeError("result_type: needs at least one operand; got none")
    return result


def can_cast(source: DType, target: DType) -> bool:
    """Whether PyTorch lets a result of ``source`` be written into ``target`` in place."""
    return source.category <= target.category


class finfo:
    """Limits of a floating-point dtype: ``eps``, ``max``, ``min``, ``tiny``, ``bits``."""

    def __init__(self, kind: DType | None = None):
        kind = kind or _default
        if not kind.is_floating_point:
            raise TypeError(f"finfo: dtype must be floating point; got {kind}")
        info = np.finfo(kind.numpy)
        self.dtype = kind.name
        self.bits = info.bits
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = float(info.resolution)


class iinfo:
    """Limits of an integer dtype: ``max``, ``min``, ``bits``."""

    def __init__(self, kind: DType):
        if kind.category != _INTEGER:
            raise TypeError(f"iinfo: dtype must be an integer type; got {kind}")
        info = np.iinfo(kind.numpy)
        self.dtype, self.bits, self.max, self.min = (
            kind.name,
            info.bits,
            int(info.max),
            int(info.min),
        )
