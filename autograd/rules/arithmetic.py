"""Arithmetic of two and three tensors that is more than a row of the formula tables.

A name that ends in ``_`` writes over its first argument.
"""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd.annotations import Number, Tensor
from tilegrad.autograd.base import TensorBase, refuse_overlap
from tilegrad.autograd.graph import Node, called, tied
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules.assign import before, overwrite
from tilegrad.autograd.rules.elementwise import apply, binary, inplace, steps_vjp, to_dtype, unary
from tilegrad.autograd.rules.operands import Scalar, beside, operand
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.ops.elementwise import OPS, Elementwise

__all__ = [
    "add", "addcdiv", "addcmul", "clamp", "clamp_", "clamp_max", "clamp_min", "clip", "clip_",
    "div", "divide", "floor_divide", "fmod", "lerp", "pow", "remainder", "rsub", "sub",
    "subtract", "true_divide",
]  # fmt: skip


def add(input: Tensor, other: Tensor | Scalar, *, alpha: Scalar = 1) -> Tensor:
    """``input + alpha * other``, broadcast and promoted."""
    if alpha.__class__ is int and alpha == 1:
        return binary(OPS["add"], input, other)
    if isinstance(input, TensorBase):
        other = operand(other, input, "add")
    else:
        input = operand(input, other, "add")
    return apply(OPS["add_scaled"], input, other, params=_alpha("add", input, other, alpha))


def _alpha(op: str, input: Tensor, other: Tensor, alpha: Scalar) -> tuple[Scalar]:
    """The factor as params of a formula.

    Raises:
        RuntimeError: a float beside integers, a bool beside anything but bools, or out of range.
    """
    kind = input.layout.dtype
    if kind is other.layout.dtype and alpha.__class__ is kind.python:
        if kind.low <= alpha <= kind.high:
            return (alpha,)
    alpha = number.required(alpha, op)
    kind = _promoted(input, other)
    if isinstance(alpha, bool) and kind is not dt.bool_:
        raise RuntimeError(f"{op}: Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, (float, complex)) and not kind.has_gradient:
        raise RuntimeError(
            f"{op}: For integral input tensors, argument alpha must not be a floating point number."
        )
    return (number.stored(alpha, kind, op),)


def _negated(alpha: object, op: str) -> Scalar:
    """The factor of ``add`` that makes it ``sub``; a bool is left for :func:`_alpha` to judge."""
    plain = number.required(alpha, op)
    return plain if isinstance(plain, bool) else -plain


def refuse_truth(op: str, *operands: object) -> None:
    """What ``sub``, and losses that subtract, refuse; the sum that ``sub`` is with an ``alpha`` takes it.

    Raises:
        RuntimeError: an operand is a truth value, or a tensor of them.
    """
    for x in operands:
        if isinstance(x, bool) or (isinstance(x, TensorBase) and x.layout.dtype is dt.bool_):
            raise RuntimeError(
                f"{op}: Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying "
                f"to invert a mask, use the `~` or `logical_not()` operator instead."
            )


def _values(op: str, value: object, *tensors: Tensor) -> tuple[Scalar]:
    """The factor of ``addcmul`` and ``addcdiv`` as params of a formula."""
    kind = tensors[0].layout.dtype
    if value.__class__ is float and kind.python is float and kind.low <= value <= kind.high:
        return (value,)
    if op.startswith("addcdiv") and not any(t.layout.dtype.has_gradient for t in tensors[1:]):
        raise RuntimeError(f"{op}: Integer division with addcdiv is no longer supported")
    ranks = [(t.layout.dtype, 2 if t.layout.ndim else 1) for t in tensors]
    common = dt.result_type(*ranks)
    factor = number.stored(number.required(value, op), common, op)
    if common is dt.bool_:
        raise NotImplementedError(f"\"{op}\" not implemented for 'bool'")
    return (factor,)


def add_(input: Tensor, other: Tensor | Scalar, *, alpha: Scalar = 1) -> Tensor:
    """``input += alpha * other``."""
    if alpha.__class__ is int and alpha == 1:
        return inplace(OPS["add"], input, operand(other, input, "add_"))
    other = operand(other, input, "add_")
    return inplace(OPS["add_scaled"], input, other, params=_alpha("add_", input, other, alpha))


def sub(input: Tensor, other: Tensor | Scalar, *, alpha: Scalar = 1) -> Tensor:
    """``input - alpha * other``, broadcast and promoted."""
    if alpha.__class__ is int and alpha == 1:
        return binary(OPS["sub"], input, other)
    refuse_truth("sub", input, other)
    return called("sub", add(input, other, alpha=_negated(alpha, "sub")))


def sub_(input: Tensor, other: Tensor | Scalar, *, alpha: Scalar = 1) -> Tensor:
    """``input -= alpha * other``."""
    if alpha.__class__ is int and alpha == 1:
        return inplace(OPS["sub"], input, operand(other, input, "sub_"))
    refuse_truth("sub_", input, other)
    return add_(input, other, alpha=_negated(alpha, "sub_"))


subtract, subtract_ = sub, sub_


def rsub(input: Tensor, other: Tensor | Scalar, *, alpha: Scalar = 1) -> Tensor:
    """``other - alpha * input``."""
    if alpha.__class__ is not int or alpha != 1:
        return called("rsub", sub(operand(other, input, "sub"), input, alpha=alpha))
    return binary(_RSUB, operand(other, input, "sub"), input)


_RSUB = OPS["sub"].under("rsub")


_ROUNDED = {  # by rounding mode: of floats, of integers
    "floor": (OPS["div_floor"], OPS["floor_divide_int"]),
    "trunc": (OPS["div_trunc"], OPS["trunc_divide_int"]),
}
_REMAINDER = (OPS["remainder"], OPS["remainder_int"])
_FMOD = (OPS["fmod"], OPS["fmod_int"])
_FLOOR_DIVIDE = (OPS["floor_divide"], OPS["floor_divide_int"])


def _promoted(input: Tensor, other: Tensor) -> dt.DType:
    a, b = input.layout, other.layout
    return dt.result_type((a.dtype, 2 if a.ndim else 1), (b.dtype, 2 if b.ndim else 1))


def div(input: Tensor, other: Tensor | Scalar, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``; integers become the default float, unless the quotient is rounded
    (``"floor"`` down, ``"trunc"`` towards zero).

    Gradient: of both; zeros where the quotient is rounded.

    Raises:
        RuntimeError: an integer is divided by zero with rounding, or no such rounding is known.
    """
    if rounding_mode is None:
        return binary(OPS["div"], input, other)
    pair = _ROUNDED.get(rounding_mode)
    if pair is None:
        raise RuntimeError(
            f"div: rounding_mode must be None, 'trunc' or 'floor'; got {rounding_mode!r}"
        )
    return _integral("floor_divide", input, other, pair)


def _integral(name: str, input: Any, other: Any, pair: tuple[Elementwise, Elementwise]) -> Tensor:
    """Run the float or the integer variant of an op; integer division by zero is refused."""
    if isinstance(input, TensorBase):
        other = operand(other, input, name)
    else:
        if name == "fmod":
            raise TypeError(
                f"fmod: argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
            )
        input = operand(input, other, name)
    kind = _promoted(input, other)
    if kind is dt.bool_:
        raise NotImplementedError(f"\"{name}\" not implemented for 'bool'")
    if not kind.has_gradient and input.layout.numel:
        # as the kernel reads it: an int64 of no dimension beside int32 wraps
        _refuse_zero_divisor(to_dtype(other, kind))
    return binary(pair[not kind.has_gradient], input, other)


def _refuse_zero_divisor(other: Tensor) -> None:
    """Raise RuntimeError "ZeroDivisionError" if an integer divisor is zero, as PyTorch does."""
    zeros = unary(OPS["logical_not"], other.detach())
    if other.numel() and bool(zeros.any().item()):
        raise RuntimeError("ZeroDivisionError")


def div_(input: Tensor, other: Tensor | Scalar, *, rounding_mode: str | None = None) -> Tensor:
    """:func:`div`, in place."""
    if rounding_mode is None:
        return inplace(OPS["div"], input, operand(other, input, "div_"))
    refuse_overlap("div_", input, (other,))
    return overwrite(
        "div_", input, div(before("div_", input, other), other, rounding_mode=rounding_mode)
    )


divide, divide_ = div, div_


def true_divide(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """``input / other``; integers become the default float."""
    return binary(OPS["div"], input, other)


def floor_divide(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """``input // other``, rounded down.

    Raises:
        RuntimeError: an integer is divided by zero, or in backward; ``div(rounding_mode="floor")`` has a gradient, of zeros.
    """
    return _integral("floor_divide", input, other, _FLOOR_DIVIDE)


def floor_divide_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """``input //= other``."""
    refuse_overlap("floor_divide_", input, (other,))
    return overwrite("floor_divide_", input, floor_divide(input, other))


def remainder(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """``input - other * floor(input / other)``: the sign of the divisor, as Python's ``%``."""
    return _integral("remainder", input, other, _REMAINDER)


def remainder_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """``input %= other``."""
    refuse_overlap("remainder_", input, (other,))
    return overwrite("remainder_", input, remainder(before("remainder_", input, other), other))


def fmod(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """The remainder with the sign of the dividend, as C's ``fmod``."""
    return _integral("fmod", input, other, _FMOD)


def pow(input: Tensor | Scalar, exponent: Tensor | Scalar) -> Tensor:
    """``input ** exponent``.

    Raises:
        RuntimeError: an integer to a negative integer power given as a number.
    """
    if not isinstance(exponent, TensorBase):
        plain = number.plain(exponent)
        if plain is not None:
            return _pow_number(input, plain)  # type: ignore[arg-type]
        exponent = operand(exponent, input, "pow")  # type: ignore[arg-type]
    base = operand(input, exponent, "pow")
    floating = _promoted(base, exponent).has_gradient
    return binary(OPS["pow" if floating else "pow_int"], base, exponent)


def _pow_number(input: Tensor, exponent: Scalar) -> Tensor:
    floating = input.dtype.has_gradient or isinstance(exponent, (float, complex))
    if not floating:
        if isinstance(exponent, bool) and input.dtype is dt.bool_:  # only False ** True is False
            return binary(OPS["logical_or"], input, operand(not exponent, input, "pow"))
        if exponent < 0:
            raise RuntimeError("pow: Integers to negative integer powers are not allowed.")
        if exponent > 127:
            number.stored(exponent, beside(input, exponent), "pow")
    if floating:
        if not input.dtype.has_gradient:
            input = to_dtype(input, dt.get_default_dtype())
        simple = _POWERS.get(exponent)
        if exponent == 1:
            return _POWER_ONE.record((input,), OPS["copy"](input))
        if exponent == 0:
            return _POWER_ZERO.record((input,), OPS["pow"](input, operand(0, input, "pow")))
        if simple is not None:
            return unary(simple, input)
        if exponent == 3:
            return binary(_CUBE, unary(OPS["square"], input), input)
    return binary(OPS["pow" if floating else "pow_int"], input, exponent)


def _power_one_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (tied(node, grad),)  # the second derivative is zero, as every power's further on


_POWER_ONE = Rule("pow", _power_one_vjp)
_POWER_ZERO = Rule("pow", steps_vjp)


_POWERS = {
    2: OPS["square"], 0.5: OPS["sqrt"].under("pow"), -1: OPS["reciprocal"].under("pow"),
    -0.5: OPS["rsqrt"].under("pow"),
}  # fmt: skip
_CUBE = OPS["mul"].under("power")


def pow_(input: Tensor, exponent: Tensor | Scalar) -> Tensor:
    """``input **= exponent``."""
    if isinstance(exponent, (int, float)) and input.dtype.has_gradient and exponent == 2:
        return inplace(OPS["square"], input)
    refuse_overlap("pow_", input, (exponent,))
    return overwrite("pow_", input, pow(before("pow_", input, exponent), exponent))


def _check_lerp(input: Tensor, end: Tensor, weight: Tensor | Scalar) -> None:
    kind = input.layout.dtype
    if not kind.has_gradient:
        raise NotImplementedError(f"\"lerp\" not implemented for '{kind.name}'")
    if weight.__class__ is complex and not kind.is_complex:
        raise RuntimeError("lerp: value cannot be converted to type float without overflow")
    if isinstance(end, TensorBase) and end.layout.dtype is not kind:
        _other_dtype("end", kind, end)
    if isinstance(weight, TensorBase) and weight.layout.dtype is not kind and weight.layout.shape:
        _other_dtype("weight", kind, weight)


def _other_dtype(name: str, kind: dt.DType, found: Tensor) -> None:
    raise RuntimeError(
        f"lerp: expected dtype {kind.name} for `{name}` but got dtype {found.layout.dtype.name}"
    )


def lerp(input: Tensor, end: Tensor, weight: Tensor | Scalar) -> Tensor:
    """``input + weight * (end - input)``.

    Raises:
        RuntimeError: ``end``, or a weight with dimensions, has another dtype.
    """
    _check_lerp(input, end, weight)
    return apply(OPS["lerp"], input, end, operand(weight, input, "lerp"))


def lerp_(input: Tensor, end: Tensor, weight: Tensor | Scalar) -> Tensor:
    """:func:`lerp`, in place."""
    _check_lerp(input, end, weight)
    return inplace(OPS["lerp"], input, end, operand(weight, input, "lerp_"))


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    params = _values("addcmul", value, input, tensor1, tensor2)
    return apply(OPS["addcmul"], input, tensor1, tensor2, params=params)


def addcmul_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """``input += value * tensor1 * tensor2``."""
    params = _values("addcmul_", value, input, tensor1, tensor2)
    return inplace(OPS["addcmul"], input, tensor1, tensor2, params=params)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``."""
    params = _values("addcdiv", value, input, tensor1, tensor2)
    return apply(OPS["addcdiv"], input, tensor1, tensor2, params=params)


def addcdiv_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """``input += value * tensor1 / tensor2``."""
    params = _values("addcdiv_", value, input, tensor1, tensor2)
    return inplace(OPS["addcdiv"], input, tensor1, tensor2, params=params)


def clamp(input: Tensor, min: object = None, max: object = None) -> Tensor:
    """``input`` limited to ``[min, max]``; each bound a number, a tensor or None.

    Gradient: of ``input`` within the bounds, which count as within, and of tensors that are bounds
    where they were taken.

    Raises:
        RuntimeError: both bounds are None.
    """
    if min is None and max is None:
        raise RuntimeError("clamp: At least one of 'min' or 'max' must not be None")
    if isinstance(min, TensorBase) or isinstance(max, TensorBase):
        if not all(b is None or isinstance(b, TensorBase) for b in (min, max)):
            return clamp(input, _number_bound(min), _number_bound(max))
        taken = [operand(b, input, "clamp") for b in (min, max) if b is not None]
        op = OPS[
            "clamp_below" if min is None else "clamp_above" if max is None else "clamp_between"
        ]
        return apply(op, input, *taken)
    op, bounds, kind = _clamp(input, min, max)
    if bounds[0] != bounds[0] or bounds[-1] != bounds[-1]:  # nothing lies within NaN
        everywhere = binary(OPS["eq"], input.detach(), input.detach())
        return apply(
            OPS["where"], everywhere, operand(math.nan, input, "clamp"), to_dtype(input, kind)
        )
    return apply(op, to_dtype(input, kind), params=bounds)


def _number_bound(bound: object) -> object:
    """A bound beside one that is a number: a tensor without dimensions that needs no gradient is its number.

    Raises:
        TypeError: another tensor.
    """
    if isinstance(bound, TensorBase):
        if bound.layout.ndim or bound.requires_grad:
            raise TypeError(
                f"clamp: both bounds must be tensors or numbers; got a number and {bound.layout.describe()}"
            )
        return bound.item()
    return bound


_BEYOND = 1 << 63


def _clamp(input: Tensor, low: Any, high: Any) -> tuple[Elementwise, tuple[Number, ...], dt.DType]:
    """(op, bounds as its params, dtype of the result)."""
    op = OPS["clamp_max" if low is None else "clamp_min" if high is None else "clamp"]
    given: tuple[Number, ...] = (high,) if low is None else (low,) if high is None else (low, high)
    kind = input.layout.dtype
    for bound in given:
        exact = bound.__class__ is kind.python or (
            bound.__class__ is int and kind is not dt.bool_ and -_BEYOND < bound < _BEYOND
        )
        if not exact or not kind.low <= bound <= kind.high:
            break
    else:
        return op, given, kind
    given = tuple([number.required(bound, "clamp") for bound in given])
    kind = beside(input, *given)
    return op, tuple([number.stored(bound, kind, "clamp") for bound in given]), kind


def clamp_(input: Tensor, min: object = None, max: object = None) -> Tensor:
    """:func:`clamp`, in place."""
    if (
        isinstance(min, TensorBase) is not isinstance(max, TensorBase)
    ) and min is not None is not max:
        min, max = _number_bound(min), _number_bound(max)
    if isinstance(min, TensorBase) or isinstance(max, TensorBase) or (min is None and max is None):
        refuse_overlap("clamp_", input, (min, max))
        return overwrite("clamp_", input, clamp(before("clamp_", input, min, max), min, max))
    op, bounds, kind = _clamp(input, min, max)
    if not dt.can_cast(kind, input.layout.dtype):
        raise RuntimeError(
            f"clamp_: result type {kind.name} can't be cast to the desired output type "
            f"{input.dtype.name}"
        )
    if bounds[0] != bounds[0] or bounds[-1] != bounds[-1]:
        return overwrite("clamp_", input, clamp(before("clamp_", input), min, max))
    return inplace(op, input, params=bounds)


clip, clip_ = clamp, clamp_


def clamp_min(input: Tensor, min: object) -> Tensor:
    """``input``, but at least ``min``."""
    made = clamp(input, min=min)
    return called("least_tensor" if isinstance(min, TensorBase) else "least", made)


def clamp_max(input: Tensor, max: object) -> Tensor:
    """``input``, but at most ``max``."""
    made = clamp(input, max=max)
    return called("most_tensor" if isinstance(max, TensorBase) else "most", made)
