"""Arithmetic, comparison, logic and bit formulas."""

from __future__ import annotations

from typing import Any

from tilegrad.kernels.formulas.declared import declare
from tilegrad.kernels.formulas.formula import Formula, table
from tilegrad.kernels.formulas.powers import fmod
from tilegrad.kernels.formulas.primitives import copysign, floor, trunc
from tilegrad.kernels.function import inline

INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
BOOL = ("bool",)


@inline
def copy(x):
    """x"""
    return x


@inline
def fill(value):
    """value"""
    return value


@inline
def neg(x):
    """-x"""
    return -x


@inline
def absolute(x):
    """|x|"""
    return abs(x)


@inline
def sign(x):
    """-1, 0 or 1; 0 for NaN."""
    T = type(x)
    return T(1) if x > T(0) else (T(-1) if x < T(0) else T(0))


@inline
def absolute_grad(g, x):
    """g times the sign of x: NaN where g is infinite or NaN and x has none, as PyTorch's."""
    return g * sign(x)


@inline
def square(x):
    """x^2"""
    return x * x


@inline
def reciprocal(x):
    """1 / x"""
    T = type(x)
    return T(1) / x


@inline
def reciprocal_grad(out):
    """-1 / x^2"""
    return -(out * out)


@inline
def add(x, y):
    """x + y"""
    return x + y


@inline
def add_scaled(x, y, alpha):
    """x + alpha y"""
    return x + alpha * y


@inline
def sub(x, y):
    """x - y"""
    return x - y


@inline
def mul(x, y):
    """x y"""
    return x * y


@inline
def div(x, y):
    """x / y"""
    return x / y


@inline
def quotient(x, y):
    """x / y of a number x that is neither tiny nor huge: its gradient reads the result in place of y."""
    return x / y


@inline
def quotient_grad(x, out):
    """-x / y^2"""
    return -(out * (out / x))


@inline
def div_trunc(x, y):
    """x / y rounded towards zero."""
    return trunc(x / y)


@inline
def floor_divide(x, y):
    """x / y rounded down, from the exact remainder, as Python's ``//``."""
    T = type(x)
    rest = fmod(x, y)
    quotient = (x - rest) / y
    down = quotient - T(1) if rest != T(0) and (rest < T(0)) != (y < T(0)) else quotient
    near = floor(down)
    near = near + T(1) if down - near > T(0.5) else near
    whole = near if down != T(0) else copysign(T(0), x / y)
    return whole if y != T(0) else x / y


@inline
def floor_divide_int(x, y):
    """x / y rounded down, for integers; the least one over -1 is itself."""
    T = type(x)
    return T(0) - x if T(~T(0)) < T(0) and y == T(~T(0)) else x // y


@inline
def remainder_int(x, y):
    """x - y floor(x / y), for integers."""
    return x % y


@inline
def trunc_divide_int(x, y):
    """x / y rounded towards zero, for integers."""
    T = type(x)
    quotient = T(0) - x if T(~T(0)) < T(0) and y == T(~T(0)) else x // y
    return quotient + T(1) if quotient < T(0) and quotient * y != x else quotient


@inline
def fmod_int(x, y):
    """The remainder with the sign of x, for integers."""
    T = type(x)
    rest = x % y
    return rest - y if rest != T(0) and (rest < T(0)) != (x < T(0)) else rest


@inline
def pow_int(x, y):
    """x^y by squaring, for integers with y >= 0 (else 0, or +-1 for x = +-1)."""
    T = type(x)
    result, base, rest = T(1), x, y
    while rest > T(0):
        if rest & T(1):
            result = T(result * base)
        base = T(base * base)
        rest = T(rest >> T(1))
    minus = T(T(0) - T(1))
    odd = minus if y & T(1) else T(1)
    unit = T(1) if x == T(1) else (odd if x == minus else T(0))
    return result if y >= T(0) else unit


@inline
def maximum(x, y):
    """The larger; NaN if either is."""
    return x if x > y or x != x else y


@inline
def minimum(x, y):
    """The smaller; NaN if either is."""
    return x if x < y or x != x else y


@inline
def maximum_grad_x(x, y):
    """0 where x is smaller; equals share; of a NaN both get all, so that it shows."""
    T = type(x)
    return T(0) if x < y else (T(0.5) if x == y else T(1))


@inline
def maximum_grad_y(x, y):
    """0 where y is smaller; equals share; of a NaN both get all."""
    T = type(y)
    return T(0) if y < x else (T(0.5) if x == y else T(1))


@inline
def minimum_grad_x(x, y):
    """0 where x is larger; equals share; of a NaN both get all."""
    T = type(x)
    return T(0) if x > y else (T(0.5) if x == y else T(1))


@inline
def minimum_grad_y(x, y):
    """0 where y is larger; equals share; of a NaN both get all."""
    T = type(y)
    return T(0) if y > x else (T(0.5) if x == y else T(1))


@inline
def clamp(x, low, high):
    """x limited to [low, high]; NaN stays NaN."""
    above = low if x < low else x
    return high if above > high else above


@inline
def clamp_min(x, low):
    """x, but at least low."""
    return low if x < low else x


@inline
def clamp_max(x, high):
    """x, but at most high."""
    return high if x > high else x


@inline
def clamp_grad(x, low, high):
    """1 within the bounds, which count as within; 0 for NaN."""
    T = type(x)
    return T(1) if x >= low and x <= high else T(0)


@inline
def clamp_min_grad(x, low):
    """1 from the bound on; 0 for NaN."""
    T = type(x)
    return T(1) if x >= low else T(0)


@inline
def clamp_max_grad(x, high):
    """1 up to the bound; 0 for NaN."""
    T = type(x)
    return T(1) if x <= high else T(0)


@inline
def clamp_between(x, low, high):
    """x limited to [low, high], high where they cross; NaN if any is."""
    above = low if x < low or low != low else x
    return high if above > high or high != high else above


@inline
def clamp_between_grad_low(x, low, high):
    """1 where the result is low."""
    T = type(x)
    return T(1) if x < low and low < high else T(0)


@inline
def clamp_between_grad_high(x, low, high):
    """1 where the result is high."""
    T = type(x)
    return T(1) if x > high or high < low else T(0)


@inline
def clamp_above(x, low):
    """x, but at least low; NaN if either is."""
    return low if x < low or low != low else x


@inline
def clamp_above_grad_low(x, low):
    """1 where x is below."""
    T = type(x)
    return T(1) if x < low else T(0)


@inline
def clamp_below(x, high):
    """x, but at most high; NaN if either is."""
    return high if x > high or high != high else x


@inline
def clamp_below_grad_high(x, high):
    """1 where x is above."""
    T = type(x)
    return T(1) if x > high else T(0)


@inline
def where(c, x, y):
    """x where c holds, else y."""
    return x if c else y


@inline
def lerp(x, y, w):
    """x + w (y - x), from the nearer end."""
    T = type(x)
    return x + w * (y - x) if abs(w) < T(0.5) else y - (y - x) * (T(1) - w)


@inline
def addcmul(x, y, z, value):
    """x + value y z"""
    return x + value * y * z


@inline
def addcdiv(x, y, z, value):
    """x + value y / z"""
    return x + value * (y / z)


@inline
def eq(x, y):
    """x = y"""
    return x == y


@inline
def ne(x, y):
    """x != y"""
    return x != y


@inline
def lt(x, y):
    """x < y"""
    return x < y


@inline
def le(x, y):
    """x <= y"""
    return x <= y


@inline
def gt(x, y):
    """x > y"""
    return x > y


@inline
def ge(x, y):
    """x >= y"""
    return x >= y


@inline
def logical_not(x):
    """x is zero"""
    return not x


@inline
def logical_and(x, y):
    """both nonzero"""
    return bool(x) & bool(y)


@inline
def logical_or(x, y):
    """either nonzero"""
    return bool(x) | bool(y)


@inline
def logical_xor(x, y):
    """one nonzero, not both"""
    return bool(x) != bool(y)


@inline
def isnan(x):
    """x is NaN"""
    return x != x


@inline
def matches(x, y):
    """x = y, or both are NaN: whether x is what a selection from its row, y, was taken from."""
    return x == y or (x != x and y != y)


@inline
def isinf(x):
    """x is infinite"""
    return x == x and x - x != x - x


@inline
def isfinite(x):
    """x is neither infinite nor NaN"""
    return x - x == x - x


declare(sign, x=0)
declare(reciprocal, x=reciprocal_grad)
declare(absolute, x=absolute_grad)
declare(quotient, y=quotient_grad)
declare(div_trunc, x=0, y=0)
declare(floor_divide, x=0, y=0)
declare(clamp, x=clamp_grad)
declare(clamp_min, x=clamp_min_grad)
declare(clamp_max, x=clamp_max_grad)
declare(clamp_between, x=clamp_grad, low=clamp_between_grad_low, high=clamp_between_grad_high)
declare(clamp_above, x=clamp_min_grad, low=clamp_above_grad_low)
declare(clamp_below, x=clamp_max_grad, high=clamp_below_grad_high)
declare(maximum, x=maximum_grad_x, y=maximum_grad_y)
declare(minimum, x=minimum_grad_x, y=minimum_grad_y)

_APART = ((-3.0, 3.0), (0.5, 3.0))

_CLAMP: dict[str, Any] = {"kind": "same", "masks": True, "caller": "clamp"}

TABLE = table(
    Formula("copy", copy, kind="cast", caller="clone"),
    Formula("fill", fill, kind="fill", params=1, differentiable=False, caller="fill_"),
    Formula("neg", neg, kind="same", excludes=BOOL, aliases=("negative", "negative_")),
    Formula("abs", absolute, kind="same", excludes=BOOL, kinks=(0.0,), aliases=("absolute",)),
    Formula("sign", sign, kind="same", kinks=(0.0,), twin="method"),
    Formula("sgn", sign, kind="same", kinks=(0.0,), twin="method"),
    Formula("square", square, kind="same", excludes=BOOL, caller="square"),
    Formula("reciprocal", reciprocal, domain=((0.3, 3.0),)),
    Formula("add", add, kind="same", caller="add"),
    Formula("add_scaled", add_scaled, kind="same", params=1, samples=(2.0,), caller="add"),
    Formula("sub", sub, kind="same", excludes=BOOL, caller="sub"),
    Formula("mul", mul, kind="same", aliases=("multiply",)),
    Formula("div", div, domain=_APART, caller="div"),
    Formula("quotient", quotient, domain=_APART, caller="div"),
    Formula("div_trunc", div_trunc, domain=_APART, caller="div"),
    Formula("div_floor", floor_divide, domain=_APART, caller="div"),
    Formula("floor_divide", floor_divide, domain=_APART, caller="floor_divide"),
    Formula(
        "floor_divide_int", floor_divide_int, kind="integer", excludes=BOOL, caller="floor_divide"
    ),
    Formula("remainder_int", remainder_int, kind="integer", excludes=BOOL, caller="remainder"),
    Formula("trunc_divide_int", trunc_divide_int, kind="integer", excludes=BOOL, caller="div"),
    Formula("fmod_int", fmod_int, kind="integer", excludes=BOOL, caller="fmod"),
    Formula("pow_int", pow_int, kind="integer", excludes=BOOL, caller="pow"),
    Formula("maximum", maximum, kind="same", masks=True, twin="none"),
    Formula("minimum", minimum, kind="same", masks=True, twin="none"),
    Formula(
        "clamp", clamp, params=2, kinks=(-1.0, 1.5), samples=(-1.0, 1.5), excludes=BOOL, **_CLAMP
    ),
    Formula(
        "clamp_min", clamp_min, params=1, kinks=(-1.0,), samples=(-1.0,), excludes=BOOL, **_CLAMP
    ),
    Formula(
        "clamp_max", clamp_max, params=1, kinks=(1.0,), samples=(1.0,), excludes=BOOL, **_CLAMP
    ),
    Formula("clamp_between", clamp_between, excludes=BOOL, **_CLAMP),
    Formula("clamp_above", clamp_above, **_CLAMP),
    Formula("clamp_below", clamp_below, **_CLAMP),
    Formula("where", where, kind="where", caller="where"),
    Formula("lerp", lerp, domain=((-3.0, 3.0), (-3.0, 3.0), (0.1, 0.4)), caller="lerp"),
    Formula("addcmul", addcmul, kind="same", params=1, samples=(0.5,), caller="addcmul"),
    Formula(
        "addcdiv",
        addcdiv,
        params=1,
        samples=(0.5,),
        domain=((-3.0, 3.0), (-3.0, 3.0), (0.5, 3.0)),
        caller="addcdiv",
    ),
    Formula("eq", eq, kind="compare", differentiable=False),
    Formula("ne", ne, kind="compare", differentiable=False, aliases=("not_equal", "not_equal_")),
    Formula("lt", lt, kind="compare", differentiable=False, aliases=("less", "less_")),
    Formula("le", le, kind="compare", differentiable=False, aliases=("less_equal", "less_equal_")),
    Formula("gt", gt, kind="compare", differentiable=False, aliases=("greater", "greater_")),
    Formula(
        "ge", ge, kind="compare", differentiable=False, aliases=("greater_equal", "greater_equal_")
    ),
    Formula("logical_not", logical_not, kind="compare", differentiable=False),
    Formula("logical_and", logical_and, kind="compare", differentiable=False),
    Formula("logical_or", logical_or, kind="compare", differentiable=False),
    Formula("logical_xor", logical_xor, kind="compare", differentiable=False),
    Formula("matches", matches, kind="compare", differentiable=False, caller="amax"),
    Formula("isnan", isnan, kind="compare", differentiable=False, twin="none"),
    Formula("isinf", isinf, kind="compare", differentiable=False, caller="isinf"),
    Formula("isfinite", isfinite, kind="compare", differentiable=False, caller="isfinite"),
)
