"""Operands of elementwise functions: tensors as they are, Python numbers as constants."""

from __future__ import annotations

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, tensor_of
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.array import Layout
from tilegrad.engine.ops.create import from_host
from tilegrad.engine.ops.elementwise import OPS, scalar

Scalar = float | int | bool


def operand(value: object, like: Tensor, op: str) -> Tensor:
    """A tensor for the second operand of ``op``: itself, or a Python number as a constant.

    Raises:
        TypeError: it is neither a tensor nor a number.
    """
    if isinstance(value, TensorBase):
        return value
    layout = like.layout
    if isinstance(value, _NUMBERS):
        key = (layout, value, value.__class__, op)
        found = _numbers.get(key) if value else None  # two zeros are equal
        if found is not None:
            return found
        if op in OF_TENSORS:
            raise TypeError(
                f"{op}: argument 'other' (position 2) must be Tensor, not {type(value).__name__}"
            )
        if value.__class__ is bool and op in ("sub", "sub_"):
            raise RuntimeError(
                f"{op}: Subtraction, the `-` operator, with a bool tensor is not supported. If you are "
                f"trying to invert a mask, use the `~` or `logical_not()` operator instead."
            )
        kind = beside(like, value)
        if not kind.has_gradient and op in _FLOAT_OPS:
            kind = dt.get_default_dtype()
        made = tensor_of(scalar(number.wrapped(value, kind), kind, layout.device))
        made.storage.version = 0  # kept for later calls, which may record
        if len(_numbers) > 4096:
            _numbers.clear()
        if value.__class__ is not complex or _told_apart(value):
            _numbers[key] = made
        return made
    return _foreign(value, like, op)


def _told_apart(value: complex) -> bool:
    """Whether equal complex numbers are the same: neither part is a zero."""
    return bool(value.real and value.imag)


def plain_operand(value: object, like: Tensor, op: str) -> Tensor:
    """As :func:`operand`, for an op of the user's own: what a built-in op of its name refuses it does not."""
    number = isinstance(value, (bool, int, float, complex))
    return operand(value, like, "" if number else op)


# PyTorch's take no number at all, or none for the first operand
OF_TENSORS = frozenset(
    ("atan2", "hypot", "logaddexp", "logaddexp2", "maximum", "minimum", "logical_and", "logical_or")
    + ("fmax", "fmin", "nextafter", "gcd", "lcm", "nextafter_", "gcd_", "lcm_")
    + ("logical_xor", "atan2_", "hypot_", "logical_and_", "logical_or_", "logical_xor_")
)
FROM_TENSORS = frozenset(("eq", "ne", "lt", "le", "gt", "ge", "copysign"))
_FLOAT_OPS = frozenset(
    n for n, op in OPS.items() if op.formula.kind == "float" and n + "_int" not in OPS
)
_NUMBERS: tuple[type[bool], type[int], type[float]] = (bool, int, float, complex)  # type: ignore[assignment]
_numbers: dict[
    tuple[Layout, Scalar, type, str], Tensor
] = {}  # the constants that numbers stand for


def beside(like: Tensor, *values: Scalar) -> dt.DType:
    """The dtype of a result of ``like`` and Python numbers.

    Raises:
        RuntimeError: a bool tensor beside an int that int64 does not hold.
    """
    kind = like.layout
    for value in values:
        if kind.dtype is dt.bool_ and isinstance(value, int) and 1 << 63 <= value < 1 << 64:
            raise RuntimeError(f"Promotion for uint64 is not supported; got bool and {value}")
    ranks = [(dt.of_scalar(value), 0) for value in values]
    return dt.result_type((kind.dtype, 2 if kind.ndim else 1), *ranks)


def _foreign(value: object, like: Tensor, op: str) -> Tensor:
    """NumPy scalars count as Python numbers, its arrays as tensors (of a copy, which the graph may
    keep) in the dtype that NumPy computes in; anything else is refused.
    """
    plain = number.plain(value)
    if plain is not None:
        return operand(plain, like, op)
    if isinstance(value, np.ndarray):
        array = of_common_dtype(value, like, op)
        if like.layout.ndim and not array.ndim:  # NumPy's dtypes count whatever has dimensions
            array = array.reshape(1)
        return tensor_of(from_host(array, None, like.layout.device))
    raise TypeError(
        f"{op}: operands must be tensors or numbers; got Tensor and {type(value).__name__}"
    )


def of_common_dtype(array: np.ndarray, like: Tensor, op: str) -> np.ndarray:
    """``array`` as NumPy has it beside ``like``: PyTorch leaves ``x + array`` to NumPy, whose int64 and float32
    make float64, and whose quotients of integers are float64.
    """
    kind = np.result_type(like.layout.dtype.numpy, array.dtype)
    if op in ("div", "div_") and kind.kind in "biu":
        kind = np.dtype(np.float64)
    return array.astype(kind, copy=False)
