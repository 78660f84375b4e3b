"""Element types and type promotion, with PyTorch's names and rules.

:data:`ALL` are those that tensors have. Those of :data:`NAMED` have no kernels: programs name them, compare
with them and ask for their limits, and every op refuses them. float16 and bfloat16 will move into :data:`ALL`.
"""

from __future__ import annotations

import numpy as np

_BOOL, _INTEGER, _FLOAT, _COMPLEX = 0, 1, 2, 3


class _Unordered:
    """A bound that no number lies within, since complex numbers have no order."""

    def __le__(self, other: object) -> bool:
        return False

    __lt__ = __ge__ = __gt__ = __le__


class DType:
    """One element type. Compare with ``is`` or ``==``; each exists once."""

    __slots__ = (
        "category", "has_gradient", "has_kernels", "high", "is_complex", "is_floating_point", "is_signed",
        "itemsize", "low", "name", "numpy", "python",
    )  # fmt: skip

    low: float  # least and greatest number that it holds
    high: float
    python: type  # of its elements

    def __init__(
        self,
        name: str,
        category: int,
        is_signed: bool = True,
        layout: str = "",
        has_kernels: bool = True,
    ):
        self.name = name
        self.category = category
        self.has_kernels = has_kernels
        self.numpy = np.dtype(layout or name)
        self.itemsize = self.numpy.itemsize
        self.is_floating_point = category == _FLOAT
        self.is_complex = category == _COMPLEX
        self.has_gradient = category >= _FLOAT  # gradients flow through numbers that have no steps
        self.is_signed = is_signed
        self.python = (bool, int, float, complex)[category]
        if category == _BOOL:
            self.low, self.high = 0, 1
        elif category == _INTEGER:
            bits = 8 * self.itemsize - is_signed
            self.low, self.high = -(1 << bits) if is_signed else 0, (1 << bits) - 1
        elif category == _FLOAT:
            self.high = finfo(self).max
            self.low = -self.high
        else:
            self.low = self.high = _Unordered()  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"tilegrad.{self.name}"

    def __reduce__(self) -> tuple[object, ...]:
        return (dtype, (self.name,))

    def to_complex(self) -> DType:
        """The complex dtype whose parts have this one, or the default dtype where it is no float; a complex one
        is itself.
        """
        if not self.is_floating_point:
            return self if self.is_complex else _default.to_complex()
        return complex64 if self is bfloat16 else _EVERY[f"complex{16 * self.itemsize}"]

    def to_real(self) -> DType:
        """The dtype of a complex one's parts; any other is itself."""
        if not self.is_complex:
            return self
        return _EVERY[f"float{4 * self.itemsize}"]


# eps, max, least normal number and resolution of bfloat16, which NumPy lacks
_BFLOAT16 = (2.0**-7, 2.0**127 * (2 - 2.0**-7), 2.0**-126, 0.01)


class finfo:
    """Limits of a floating-point dtype, or of a complex one's parts: ``eps``, ``max``, ``min``, ``tiny``,
    ``bits``.
    """

    def __init__(self, kind: DType | None = None):
        kind = kind or _default
        if not kind.has_gradient:
            raise TypeError(f"finfo: dtype must be floating point; got {kind}")
        kind = kind.to_real()
        self.dtype = kind.name
        self.bits = 8 * kind.itemsize
        if kind.name == "bfloat16":
            self.eps, self.max, self.tiny, self.resolution = _BFLOAT16
        else:
            info = np.finfo(kind.numpy)
            self.eps, self.max, self.tiny = float(info.eps), float(info.max), float(info.tiny)
            self.resolution = 10.0**-info.precision
        self.min, self.smallest_normal = -self.max, self.tiny


bool_ = DType("bool", _BOOL, is_signed=False)
uint8 = DType("uint8", _INTEGER, is_signed=False)
int8 = DType("int8", _INTEGER)
int16 = DType("int16", _INTEGER)
int32 = DType("int32", _INTEGER)
int64 = DType("int64", _INTEGER)
float32 = DType("float32", _FLOAT)
float64 = DType("float64", _FLOAT)
complex64 = DType("complex64", _COMPLEX)
complex128 = DType("complex128", _COMPLEX)
float16 = DType("float16", _FLOAT, has_kernels=False)
bfloat16 = DType("bfloat16", _FLOAT, layout="V2", has_kernels=False)
complex32 = DType("complex32", _COMPLEX, layout="V4", has_kernels=False)

ALL = (bool_, uint8, int8, int16, int32, int64, float32, float64, complex64, complex128)
BY_NAME = {d.name: d for d in ALL}
BY_NUMPY = {d.numpy: d for d in ALL}
NAMED = (float16, bfloat16, complex32)
_EVERY = BY_NAME | {d.name: d for d in NAMED}
_ALIASES = {
    "half": float16, "float": float32, "double": float64, "int": int32, "long": int64, "short": int16,
    "char": int8, "chalf": complex32, "cfloat": complex64, "cdouble": complex128,
}  # fmt: skip
_OF_PYTHON = {float: float64, int: int64, bool: bool_, complex: complex128}

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
    _default = dtype(d)


def named(value: object) -> DType:
    """The :class:`DType` that ``value`` (DType, name, NumPy dtype) stands for, whether tensors have it or not;
    Python's ``float`` is float64, ``int`` int64, ``bool`` bool, ``complex`` complex128, whatever the default
    dtype is.

    Raises:
        TypeError: it stands for none.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, str):
        found = _EVERY.get(value) or _ALIASES.get(value)
        if found is not None:
            return found
    elif value.__class__ is type and value in _OF_PYTHON:
        return _OF_PYTHON[value]  # type: ignore[index]
    if isinstance(value, (str, type, np.dtype)):
        try:
            return BY_NUMPY[np.dtype(value)]
        except (KeyError, TypeError):
            pass
    names = ", ".join(BY_NAME)
    raise TypeError(f"dtype: must be one of {names}; got {value!r}")


def dtype(value: object) -> DType:
    """The dtype of a tensor that ``value`` stands for, as in :func:`named`.

    Raises:
        NotImplementedError: no kernels have it, so that no tensor does.
        TypeError: it stands for none.
    """
    found = named(value)
    if not found.has_kernels:
        raise NotImplementedError(
            f"dtype: there are no kernels for {found.name} yet; got {value!r}"
        )
    return found


def of_scalar(value: object) -> DType:
    """The dtype a Python scalar stands for: bool, int64, the default float or its complex."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    return _default.to_complex() if isinstance(value, complex) else _default


def promote_types(type1: DType, type2: DType) -> DType:
    """The smallest dtype that holds values of both, by PyTorch's table."""
    if type1 is type2 and isinstance(type1, DType):
        return type1
    for place, kind in enumerate((type1, type2), 1):
        if not isinstance(kind, DType):
            raise TypeError(
                f"promote_types(): argument 'type{place}' (position {place}) must be dtype, not "
                f"{type(kind).__name__}"
            )
    if type1.category != type2.category:
        low, high = (type1, type2) if type1.category < type2.category else (type2, type1)
        if high.is_complex and low.is_floating_point:
            return promote_types(low.to_complex(), high)
        return high
    if type1.is_signed != type2.is_signed:  # uint8 with a signed integer
        signed = type1 if type1.is_signed else type2
        return int16 if signed is int8 else signed
    if (
        type1.itemsize == type2.itemsize
    ):  # float16, bfloat16: one has the range, the other the digits
        return float32
    return type1 if type1.itemsize > type2.itemsize else type2


def result_type(*operands: tuple[DType, int]) -> DType:
    """Promotion over ``(dtype, rank)`` pairs; rank 2: array with dimensions, 1: zero-dimensional
    array, 0: Python scalar. Lower ranks only decide when their category is higher; a complex one beside
    floats makes the complex of their width.
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
            if result.category == _FLOAT:
                result = result.to_complex()
            elif rank:
                result = d2
            else:
                result = _default if d2.category == _FLOAT else d2
    if result is None:
        raise TypeError("result_type: needs at least one operand; got none")
    return result


def can_cast(source: DType, target: DType) -> bool:
    """Whether PyTorch lets a result of ``source`` be written into ``target`` in place."""
    return source.category <= target.category


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
