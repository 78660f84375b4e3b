"""The public elementwise functions, PyTorch's names and arguments.

A name that ends in ``_`` writes over its first argument.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tilegrad.autograd.base import TensorBase, check_inplace, needs_graph, rebase, wrap
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rules.elementwise import (
    Scalar,
    apply,
    binary,
    inplace,
    operand,
    to_dtype,
    unary,
)
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops import elementwise as ops
from tilegrad.engine.ops.elementwise import OPS

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor

Unary = Callable[["Tensor"], "Tensor"]
Binary = Callable[["Tensor", Any], "Tensor"]


def _named(function: Any, name: str, doc: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _doc(name: str) -> str:
    return f"{OPS[name].formula.function.__doc__}\n\nElementwise; any shape."


def _unary(name: str) -> Unary:
    op = OPS[name]

    def function(input: Tensor) -> Tensor:
        return unary(op, input)

    return _named(function, name, _doc(name))  # type: ignore[no-any-return]


def _unary_(name: str) -> Unary:
    op = OPS[name]

    def function(input: Tensor) -> Tensor:
        return inplace(op, input)

    return _named(function, name + "_", _doc(name) + " In place.")  # type: ignore[no-any-return]


def _binary(name: str) -> Binary:
    op = OPS[name]

    def function(input: Tensor, other: Tensor | Scalar) -> Tensor:
        return binary(op, input, other)

    doc = f"{op.formula.function.__doc__}\n\nElementwise; operands broadcast and are promoted."
    return _named(function, name, doc)  # type: ignore[no-any-return]


def _binary_(name: str) -> Binary:
    op = OPS[name]

    def function(input: Tensor, other: Tensor | Scalar) -> Tensor:
        return inplace(op, input, operand(other, input, name + "_"))

    doc = f"{op.formula.function.__doc__}\n\nElementwise, in place; ``other`` broadcasts."
    return _named(function, name + "_", doc)  # type: ignore[no-any-return]


def _always(value: bool, input: Tensor) -> Tensor:
    kind = input._array.layout
    return wrap(ops.full(kind.shape, value, dt.bool_, kind.device))


def _keeps_integers(name: str) -> Unary:
    """A rounding function, which leaves integers as they are."""
    op = OPS[name]

    def function(input: Tensor) -> Tensor:
        return unary(op if input.dtype.is_floating_point else OPS["copy"], input)

    return _named(function, name, _doc(name))  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------- unary

abs = absolute = _unary("abs")
abs_ = absolute_ = _unary_("abs")
neg = negative = _unary("neg")
neg_ = negative_ = _unary_("neg")
sign = sgn = _unary("sign")
square = _unary("square")
reciprocal = _unary("reciprocal")
reciprocal_ = _unary_("reciprocal")
sqrt = _unary("sqrt")
sqrt_ = _unary_("sqrt")
rsqrt = _unary("rsqrt")
rsqrt_ = _unary_("rsqrt")
floor = _keeps_integers("floor")
floor_ = _unary_("floor")
ceil = _keeps_integers("ceil")
ceil_ = _unary_("ceil")
trunc = fix = _keeps_integers("trunc")
trunc_ = fix_ = _unary_("trunc")
frac = _unary("frac")
exp = _unary("exp")
exp_ = _unary_("exp")
exp2 = _unary("exp2")
exp2_ = _unary_("exp2")
expm1 = _unary("expm1")
expm1_ = _unary_("expm1")
log = _unary("log")
log_ = _unary_("log")
log1p = _unary("log1p")
log1p_ = _unary_("log1p")
log2 = _unary("log2")
log2_ = _unary_("log2")
log10 = _unary("log10")
log10_ = _unary_("log10")
sigmoid = _unary("sigmoid")
sigmoid_ = _unary_("sigmoid")
tanh = _unary("tanh")
tanh_ = _unary_("tanh")
sin = _unary("sin")
sin_ = _unary_("sin")
cos = _unary("cos")
cos_ = _unary_("cos")
erf = _unary("erf")
erf_ = _unary_("erf")
relu = _unary("relu")
relu_ = _unary_("relu")
logical_not = _unary("logical_not")
bitwise_not = _unary("bitwise_not")
isnan = _unary("isnan")


def isinf(input: Tensor) -> Tensor:
    """Whether each element is infinite."""
    return unary(OPS["isinf"], input) if input.dtype.is_floating_point else _always(False, input)


def isfinite(input: Tensor) -> Tensor:
    """Whether each element is neither infinite nor NaN."""
    return unary(OPS["isfinite"], input) if input.dtype.is_floating_point else _always(True, input)


def positive(input: Tensor) -> Tensor:
    """``+input``: itself."""
    return input


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, ties to even; or the nearest multiple of ``10 ** -decimals``."""
    if not input.dtype.is_floating_point:
        return unary(OPS["copy"], input)
    if decimals == 0:
        return unary(OPS["round"], input)
    scale = 10.0 ** builtins.abs(decimals)
    if decimals > 0:
        return unary(OPS["round"], input * scale) / scale
    return unary(OPS["round"], input / scale) * scale


def round_(input: Tensor, *, decimals: int = 0) -> Tensor:
    """:func:`round`, in place."""
    return inplace(OPS["round"], input) if decimals == 0 else copy_(input, round(input, decimals=decimals))


def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians."""
    return mul(input, math.pi / 180)


def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees."""
    return mul(input, 180 / math.pi)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """``log(x / (1 - x))``, with x kept within ``[eps, 1 - eps]`` if ``eps`` is given."""
    x = input if eps is None else clamp(input, eps, 1 - eps)
    return log(true_divide(x, rsub(x, 1)))


# ---------------------------------------------------------------------------------- arithmetic

mul = multiply = _binary("mul")
mul_ = multiply_ = _binary_("mul")
true_divide = _binary("div")
maximum = _binary("maximum")
minimum = _binary("minimum")


def add(input: Tensor, other: Tensor | Scalar, *, alpha: Scalar = 1) -> Tensor:
    """``input + alpha * other``, broadcast and promoted."""
    if alpha == 1:
        return binary(OPS["add"], input, other)
    return apply(OPS["add_scaled"], input, operand(other, input, "add"), params=(alpha,))


def add_(input: Tensor, other: Tensor | Scalar, *, alpha: Scalar = 1) -> Tensor:
    """``input += alpha * other``."""
    if alpha == 1:
        return inplace(OPS["add"], input, operand(other, input, "add_"))
    return inplace(OPS["add_scaled"], input, operand(other, input, "add_"), params=(alpha,))


def sub(input: Tensor, other: Tensor | Scalar, *, alpha: Scalar = 1) -> Tensor:
    """``input - alpha * other``, broadcast and promoted."""
    return binary(OPS["sub"], input, other) if alpha == 1 else add(input, other, alpha=-alpha)


def sub_(input: Tensor, other: Tensor | Scalar, *, alpha: Scalar = 1) -> Tensor:
    """``input -= alpha * other``."""
    if alpha == 1:
        return inplace(OPS["sub"], input, operand(other, input, "sub_"))
    return add_(input, other, alpha=-alpha)


subtract, subtract_ = sub, sub_


def rsub(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """``other - input``."""
    return binary(OPS["sub"], operand(other, input, "sub"), input)


def _rounded_division(rounding_mode: str, floating: bool) -> Any:
    names = {"floor": "floor_divide", "trunc": "div_trunc" if floating else "trunc_divide"}
    if rounding_mode not in names:
        raise RuntimeError(
            f"div: rounding_mode must be None, 'trunc' or 'floor'; got {rounding_mode!r}"
        )
    return OPS[names[rounding_mode] + ("" if floating else "_int")]


def _promoted(input: Tensor, other: Tensor) -> dt.DType:
    a, b = input._array.layout, other._array.layout
    return dt.result_type((a.dtype, 2 if a.ndim else 1), (b.dtype, 2 if b.ndim else 1))


def div(input: Tensor, other: Tensor | Scalar, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``; integers become the default float, unless the quotient is rounded
    (``"floor"`` down, ``"trunc"`` towards zero).

    Raises:
        RuntimeError: an integer is divided by zero with rounding.
    """
    if rounding_mode is None:
        return binary(OPS["div"], input, other)
    return _integral("div", input, other, lambda f: _rounded_division(rounding_mode, f))


def _integral(name: str, input: Any, other: Any, choose: Callable[[bool], Any]) -> Tensor:
    """Run the float or the integer variant of an op; integer division by zero is refused."""
    if isinstance(input, TensorBase):
        other = operand(other, input, name)  # type: ignore[arg-type]
    else:
        input = operand(input, other, name)
    floating = _promoted(input, other).is_floating_point
    if not floating:
        refuse_zero_divisor(other)
    return binary(choose(floating), input, other)


def refuse_zero_divisor(other: Tensor) -> None:
    """Raise RuntimeError "ZeroDivisionError" if an integer divisor is zero, as PyTorch does."""
    zeros = unary(OPS["logical_not"], other.detach())
    if other.numel() and bool(zeros.any().item()):
        raise RuntimeError("ZeroDivisionError")


def div_(input: Tensor, other: Tensor | Scalar, *, rounding_mode: str | None = None) -> Tensor:
    """:func:`div`, in place."""
    if rounding_mode is None:
        return inplace(OPS["div"], input, operand(other, input, "div_"))
    return copy_(input, div(input, other, rounding_mode=rounding_mode))


divide, divide_ = div, div_


def floor_divide(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """``input // other``, rounded down."""
    return div(input, other, rounding_mode="floor")


def floor_divide_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """``input //= other``."""
    return copy_(input, floor_divide(input, other))


def remainder(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """``input - other * floor(input / other)``: the sign of the divisor, as Python's ``%``."""
    return _integral("remainder", input, other, lambda f: OPS["remainder" if f else "remainder_int"])


def remainder_(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """``input %= other``."""
    return copy_(input, remainder(input, other))


def fmod(input: Tensor, other: Tensor | Scalar) -> Tensor:
    """The remainder with the sign of the dividend, as C's ``fmod``."""
    return _integral("fmod", input, other, lambda f: OPS["fmod" if f else "fmod_int"])


def pow(input: Tensor | Scalar, exponent: Tensor | Scalar) -> Tensor:
    """``input ** exponent``.

    Raises:
        RuntimeError: an integer to a negative integer power given as a number.
    """
    if not isinstance(exponent, TensorBase):
        return _pow_number(input, exponent)  # type: ignore[arg-type]
    base = operand(input, exponent, "pow")  # type: ignore[arg-type]
    floating = _promoted(base, exponent).is_floating_point  # type: ignore[arg-type]
    return binary(OPS["pow" if floating else "pow_int"], base, exponent)


def _pow_number(input: Tensor, exponent: Scalar) -> Tensor:
    floating = input.dtype.is_floating_point or isinstance(exponent, float)
    if not floating and exponent < 0:
        raise RuntimeError("pow: Integers to negative integer powers are not allowed.")
    if floating:
        if not input.dtype.is_floating_point:
            input = to_dtype(input, dt.get_default_dtype())
        simple = _POWERS.get(exponent)
        if simple is not None:
            return unary(OPS[simple], input)
        if exponent == 3:
            return binary(OPS["mul"], unary(OPS["square"], input), input)
    return binary(OPS["pow" if floating else "pow_int"], input, exponent)


_POWERS = {1: "copy", 2: "square", 0.5: "sqrt", -1: "reciprocal", -0.5: "rsqrt"}


def pow_(input: Tensor, exponent: Tensor | Scalar) -> Tensor:
    """``input **= exponent``."""
    if isinstance(exponent, (int, float)) and input.dtype.is_floating_point and exponent == 2:
        return inplace(OPS["square"], input)
    return copy_(input, pow(input, exponent))


def lerp(input: Tensor, end: Tensor, weight: Tensor | Scalar) -> Tensor:
    """``input + weight * (end - input)``."""
    return apply(OPS["lerp"], input, end, operand(weight, input, "lerp"))


def lerp_(input: Tensor, end: Tensor, weight: Tensor | Scalar) -> Tensor:
    """:func:`lerp`, in place."""
    return inplace(OPS["lerp"], input, end, operand(weight, input, "lerp_"))


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    return apply(OPS["addcmul"], input, tensor1, tensor2, params=(value,))


def addcmul_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """``input += value * tensor1 * tensor2``."""
    return inplace(OPS["addcmul"], input, tensor1, tensor2, params=(value,))


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``."""
    return apply(OPS["addcdiv"], input, tensor1, tensor2, params=(value,))


def addcdiv_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """``input += value * tensor1 / tensor2``."""
    return inplace(OPS["addcdiv"], input, tensor1, tensor2, params=(value,))


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """``input`` limited to ``[min, max]``; each bound a number, a tensor or None.

    Raises:
        RuntimeError: both bounds are None.
    """
    if min is None and max is None:
        raise RuntimeError("clamp: At least one of 'min' or 'max' must not be None")
    if isinstance(min, TensorBase) or isinstance(max, TensorBase):
        if min is not None:
            input = maximum(input, min)
        return input if max is None else minimum(input, max)
    name, bounds = _clamp(min, max)
    wide = any(isinstance(b, float) for b in bounds) and not input.dtype.is_floating_point
    return apply(OPS[name], to_dtype(input, dt.get_default_dtype()) if wide else input, params=bounds)


def _clamp(low: Any, high: Any) -> tuple[str, tuple[Any, ...]]:
    if low is None:
        return "clamp_max", (high,)
    return ("clamp_min", (low,)) if high is None else ("clamp", (low, high))


def clamp_(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """:func:`clamp`, in place."""
    if isinstance(min, TensorBase) or isinstance(max, TensorBase) or (min is None and max is None):
        return copy_(input, clamp(input, min, max))
    name, bounds = _clamp(min, max)
    return inplace(OPS[name], input, params=bounds)


clip, clip_ = clamp, clamp_


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """``input``, but at least ``min``."""
    return clamp(input, min=min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """``input``, but at most ``max``."""
    return clamp(input, max=max)


# ----------------------------------------------------------------------- comparison and logic

eq = _binary("eq")
ne = not_equal = _binary("ne")
lt = less = _binary("lt")
le = less_equal = _binary("le")
gt = greater = _binary("gt")
ge = greater_equal = _binary("ge")
logical_and = _binary("logical_and")
logical_or = _binary("logical_or")
logical_xor = _binary("logical_xor")
bitwise_and = _binary("bitwise_and")
bitwise_or = _binary("bitwise_or")
bitwise_xor = _binary("bitwise_xor")
bitwise_and_ = _binary_("bitwise_and")
bitwise_or_ = _binary_("bitwise_or")
bitwise_xor_ = _binary_("bitwise_xor")
bitwise_left_shift = _binary("left_shift")
bitwise_right_shift = _binary("right_shift")


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are equal."""
    if input.shape != other.shape:
        return False
    return bool(eq(input.detach(), other.detach()).all().item())


def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """``|input - other| <= atol + rtol * |other|``, elementwise; infinities only equal themselves.

    Raises:
        RuntimeError: the dtypes differ.
    """
    if input.dtype is not other.dtype:
        raise RuntimeError(f"isclose: {input.dtype.name} did not match {other.dtype.name}")
    x, y = input.detach(), other.detach()
    close = eq(x, y)
    if x.dtype.is_floating_point:
        within = le(abs(sub(x, y)), add(mul(abs(y), rtol), atol))
        close = logical_or(close, logical_and(within, isfinite(y)))
        if equal_nan:
            close = logical_or(close, logical_and(isnan(x), isnan(y)))
    elif x.dtype is not dt.bool_:
        difference = abs(sub(to_dtype(x, dt.float64), y))
        close = le(difference, add(mul(abs(to_dtype(y, dt.float64)), rtol), atol))
    return close


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether :func:`isclose` holds for every element."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all().item())


# -------------------------------------------------------------------------- copying and filling


def zero_(input: Tensor) -> Tensor:
    """Write zeros over ``input``."""
    return fill_(input, 0)


def fill_(input: Tensor, value: Scalar | Tensor) -> Tensor:
    """Write ``value`` over ``input``."""
    if isinstance(value, TensorBase):
        return copy_(input, value)  # type: ignore[arg-type]
    check_inplace("fill_", input)
    ops.fill(input._array, value)
    if state.grad and input._tracked:
        rebase(input, Node("fill", _constant_vjp, (input,), (input._array.layout,)))
    return input


def _constant_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (None,)


def copy_(input: Tensor, src: Tensor | Scalar, non_blocking: bool = False) -> Tensor:
    """Write ``src``, broadcast and cast, over ``input``."""
    check_inplace("copy_", input)
    source = operand(src, input, "copy_")
    OPS["copy"].into(input._array, source._array)
    if state.grad and needs_graph((input, source)) and input.dtype.is_floating_point:
        rebase(input, Node("copy", _copy_vjp, (input, source), (input._array.layout,)))
    return input


def _copy_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return None, grad


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy with memory of its own, recorded."""
    return unary(OPS["copy"], input)

