"""Elementwise functions of signs, exponents and what is no number."""

from __future__ import annotations

import math
from collections import namedtuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, tensor_of
from tilegrad.autograd.graph import Node, called
from tilegrad.autograd.rule import Rule, check_inplace
from tilegrad.autograd.rules import arithmetic, pointwise
from tilegrad.autograd.rules.assign import before, overwrite
from tilegrad.autograd.rules.define import run
from tilegrad.autograd.rules.elementwise import apply, inplace, to_dtype, unary
from tilegrad.autograd.rules.operands import Scalar
from tilegrad.autograd.rules.planar import view_as_complex, view_as_real
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.ops import elementwise as ops
from tilegrad.engine.ops.elementwise import OPS
from tilegrad.engine.shape import as_index

__all__ = [
    "float_power", "frexp", "heaviside", "isneginf", "isposinf", "ldexp", "ldexp_", "mvlgamma", "nan_to_num",
    "nan_to_num_", "signbit",
]  # fmt: skip

frexp_result = namedtuple("frexp_result", "mantissa exponent")


def _always(value: bool, input: Tensor) -> Tensor:
    kind = input.layout
    return tensor_of(ops.full(kind.shape, value, dt.bool_, kind.device))


def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit of each element is set: of negative numbers, and of -0."""
    if input.layout.dtype.is_floating_point:
        return unary(OPS["signbit"], input)
    return pointwise.lt(input, 0) if input.layout.dtype is not dt.bool_ else _always(False, input)


def _real(name: str, input: Tensor) -> None:
    if input.layout.dtype.is_complex:
        raise RuntimeError(
            f"{name}: does not support complex inputs; got {input.layout.describe()}"
        )


def isposinf(input: Tensor) -> Tensor:
    """Whether each element is positive infinity.

    Raises:
        RuntimeError: ``input`` is complex.
    """
    _real("isposinf", input)
    floats = input.layout.dtype.is_floating_point
    return pointwise.eq(input, math.inf) if floats else _always(False, input)


def isneginf(input: Tensor) -> Tensor:
    """Whether each element is negative infinity, as :func:`isposinf`."""
    _real("isneginf", input)
    floats = input.layout.dtype.is_floating_point
    return pointwise.eq(input, -math.inf) if floats else _always(False, input)


def _same_dtypes(input: Tensor, values: Tensor) -> None:
    if input.layout.dtype is not values.layout.dtype:
        raise RuntimeError(
            f"heaviside: is not yet implemented for tensors with different dtypes; got "
            f"{input.dtype.name} and {values.dtype.name}"
        )


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 where ``input`` is negative, ``values`` where it is 0, else 1.

    Raises:
        RuntimeError: the dtypes differ.
    """
    _same_dtypes(input, values)
    return _HEAVISIDE.record((input, values), apply(OPS["heaviside"], input, values))


def _heaviside_vjp(node: Node, *grads: Tensor) -> tuple[Tensor | None, ...]:
    raise RuntimeError("derivative for aten::heaviside is not implemented")


_HEAVISIDE = Rule("heaviside", _heaviside_vjp)


def heaviside_(input: Tensor, values: Tensor) -> Tensor:
    """:func:`heaviside`, in place."""
    _same_dtypes(input, values)
    check_inplace("heaviside_", input)
    return _HEAVISIDE.write((input, values), inplace, OPS["heaviside"], input, values)


def frexp(input: Tensor) -> tuple[Tensor, Tensor]:
    """``(mantissa, exponent)`` with ``input == mantissa * 2 ** exponent`` and mantissas in [0.5, 1);
    exponents are int32.

    Gradient: of ``input``, by the mantissa.

    Raises:
        RuntimeError: the dtype is not floating point.
    """
    if not input.layout.dtype.is_floating_point:
        raise RuntimeError(f"frexp: only supports floating-point dtypes; got {input.dtype.name}")
    exponent = to_dtype(unary(OPS["exponent"], input.detach()), dt.int32)
    return frexp_result(unary(OPS["mantissa"], input), exponent)


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """``input * 2 ** other``.

    Raises:
        NotImplementedError: a float to the power of truth values.
    """
    return called("ldexp", pointwise.mul(input, _power_of_two("ldexp", input, other)))


def ldexp_(input: Tensor, other: Tensor) -> Tensor:
    """:func:`ldexp`, in place."""
    return pointwise.mul_(input, _power_of_two("ldexp_", input, other))


def _power_of_two(op: str, input: Tensor, other: Tensor) -> Tensor:
    """2 ** other; whole exponents of a float are of its dtype, whatever has dimensions."""
    kind, found = input.layout.dtype, other.layout.dtype
    if kind.is_floating_point and not found.has_gradient:
        if found is dt.bool_:
            raise NotImplementedError(f"\"{op}\" not implemented for 'bool'")
        other = to_dtype(other, kind)
    return arithmetic.pow(2.0, other)


def _widest(*values: object) -> dt.DType:
    """The dtype of a ``float_power`` of these."""
    for v in values:
        if v.layout.dtype.is_complex if isinstance(v, TensorBase) else isinstance(v, complex):
            return dt.complex128
    return dt.float64


def float_power(input: Tensor | Scalar, exponent: Tensor | Scalar) -> Tensor:
    """``input ** exponent`` in float64, or complex128 if one of both is complex."""
    kind = _widest(input, exponent)
    if isinstance(input, TensorBase):
        input = to_dtype(input, kind)
    elif not isinstance(exponent, TensorBase):
        raise TypeError(f"float_power: one of the two must be Tensor, not {type(input).__name__}")
    if isinstance(exponent, TensorBase):
        exponent = to_dtype(exponent, kind)
    elif not isinstance(exponent, complex):
        exponent = float(exponent)
    return arithmetic.pow(input, exponent)


def float_power_(input: Tensor, exponent: Tensor | Scalar) -> Tensor:
    """:func:`float_power`, over a tensor of its dtype.

    Raises:
        RuntimeError: it has another dtype.
    """
    kind = _widest(input, exponent)
    if input.layout.dtype is not kind:
        raise RuntimeError(
            f"float_power_: the base given to float_power_ has dtype {input.dtype.name} but the "
            f"operation's result requires dtype {kind.name}"
        )
    if isinstance(exponent, TensorBase):
        exponent = to_dtype(exponent, kind)
    return arithmetic.pow_(input, exponent)


def _numbers(
    input: Tensor, nan: float | None, posinf: float | None, neginf: float | None
) -> tuple[float, float, float] | None:
    """What stands for the three, of each part of a complex number; None where a dtype has none of them.

    Raises:
        TypeError: one of them is no real number.
    """
    for name, given in (("nan", nan), ("posinf", posinf), ("neginf", neginf)):
        if given is not None and not isinstance(number.required(given, "nan_to_num"), int | float):
            raise TypeError(f"nan_to_num(): argument '{name}' must be float, not complex")
    kind = input.layout.dtype
    if not kind.has_gradient:
        return None
    limits = dt.finfo(kind.to_real())
    return (
        0.0 if nan is None else float(number.required(nan, "nan_to_num")),
        limits.max if posinf is None else float(number.required(posinf, "nan_to_num")),
        limits.min if neginf is None else float(number.required(neginf, "nan_to_num")),
    )


def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """NaN as ``nan`` (0), infinities as ``posinf`` and ``neginf`` (the dtype's largest and smallest), in each
    part of a complex number.

    Gradient: of ``input``; 0 where it is not finite.

    Raises:
        TypeError: one of the three is no real number.
    """
    numbers = _numbers(input, nan, posinf, neginf)
    if numbers is None:
        return unary(OPS["copy"], input)
    if input.layout.dtype.is_complex:
        parts = apply(OPS["nan_to_num"], view_as_real(input), params=numbers)
        return called("nan_to_num", view_as_complex(parts))
    return apply(OPS["nan_to_num"], input, params=numbers)


def nan_to_num_(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """:func:`nan_to_num`, in place."""
    numbers = _numbers(input, nan, posinf, neginf)
    if numbers is None:
        return input
    if input.layout.dtype.is_complex:
        check_inplace("nan_to_num_", input)
        run(OPS["nan_to_num"], view_as_real(input), True, numbers)
        return input
    return run(OPS["nan_to_num"], input, True, numbers)


def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the gamma function of dimension ``p``.

    Raises:
        RuntimeError: ``p`` is below 1.
    """
    if as_index("mvlgamma", p, "p") < 1:
        raise RuntimeError(f"mvlgamma: p has to be greater than or equal to 1; got {p}")
    kind = input.layout.dtype
    if not (kind.is_floating_point or kind.is_complex):
        input = to_dtype(input, dt.get_default_dtype())
    total: Tensor = pointwise.lgamma(input + 0.0)  # at -0 the pole of 0, as PyTorch's sum of places
    for step in range(1, p):
        total = total + pointwise.lgamma(input - step / 2)
    return called("mvlgamma", total + p * (p - 1) / 4 * math.log(math.pi))


def mvlgamma_(input: Tensor, p: int) -> Tensor:
    """:func:`mvlgamma`, in place."""
    return overwrite("mvlgamma_", input, mvlgamma(before("mvlgamma_", input), p))
