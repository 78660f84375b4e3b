"""Signs, neighbours, exponents and common divisors of numbers."""

from __future__ import annotations

from tilegrad.kernels.formulas.declared import declare
from tilegrad.kernels.formulas.formula import INTEGERS, Formula, table
from tilegrad.kernels.formulas.primitives import (
    bits,
    cast,
    copysign,
    fabs,
    from_bits,
    scale2,
    select,
    split,
)
from tilegrad.kernels.function import inline


@inline
def copysign_(x, y):
    """x with the sign of y."""
    return copysign(x, y)


@inline
def _kept(x, out):
    """1 where the sign stays, -1 where it changes, 0 at 0; NaN for NaN and infinities, as PyTorch's."""
    return out / x if x != type(x)(0) else type(x)(0)


@inline
def copysign_grad(g, x, out):
    """g times 1 or -1, or 0: NaN where g is infinite or NaN at 0, as PyTorch's."""
    return g * _kept(x, out)


@inline
def nextafter(x, y):
    """The number next to x in the direction of y."""
    T = type(x)
    whole = bits(x)
    I = type(whole)  # noqa: E741
    step = I(1) if (y > x) == (x > T(0)) else I(-1)
    near = from_bits(I(whole + step)) if x != T(0) else copysign(from_bits(I(1)), y)
    return (near if x != y else y) if x == x and y == y else x + y


@inline
def nextafter_grad(x, y):
    """1, or 0 where the two are equal."""
    T = type(x)
    return T(1) if x != y else T(0)


@inline
def fmax(x, y):
    """The larger; of a number and NaN the number."""
    return y if y > x or x != x else x


@inline
def fmin(x, y):
    """The smaller; of a number and NaN the number."""
    return y if y < x or x != x else x


@inline
def fmax_grad_x(x, y):
    """1 where x is chosen, of equals too."""
    T = type(x)
    return T(1) if x >= y or y != y else T(0)


@inline
def fmax_grad_y(x, y):
    """1 where y is chosen."""
    T = type(x)
    return T(0) if x >= y or y != y else T(1)


@inline
def fmin_grad_x(x, y):
    """1 where x is chosen, of equals too."""
    T = type(x)
    return T(1) if x <= y or y != y else T(0)


@inline
def fmin_grad_y(x, y):
    """1 where y is chosen."""
    T = type(x)
    return T(0) if x <= y or y != y else T(1)


@inline
def heaviside(x, y):
    """0 below 0 and for NaN, y at 0, 1 above."""
    T = type(x)
    return y if x == T(0) else (T(1) if x > T(0) else T(0))


@inline
def signbit(x):
    """The sign bit is set: of negative numbers, and of -0."""
    T = type(x)
    return copysign(T(1), x) < T(0)


@inline
def gcd(x, y):
    """The greatest common divisor, not negative."""
    T = type(x)
    a = T(T(0) - x) if x < T(0) else x
    b = T(T(0) - y) if y < T(0) else y
    while b != T(0):
        rest = T(a % b)
        a = b
        b = rest
    return a


@inline
def lcm(x, y):
    """The least common multiple, not negative; 0 where either is 0."""
    T = type(x)
    common = gcd(x, y)
    whole = T(0) if common == T(0) else T(T(x // (common if common != T(0) else T(1))) * y)
    return T(T(0) - whole) if whole < T(0) else whole


@inline
def _finite(x):
    """x is neither 0, infinite nor NaN."""
    zero = cast(0.0, x)
    return (x - x == zero) & (x != zero)


@inline
def mantissa(x):
    """m of x = m 2^e with 0.5 <= |m| < 1; 0, infinities and NaN as they are."""
    part, _ = split(fabs(x), 0.5)
    return select(_finite(x), copysign(part, x), x)


@inline
def exponent(x):
    """e of x = m 2^e with 0.5 <= |m| < 1; 0 for 0, infinities and NaN."""
    _, power = split(fabs(x), 0.5)
    return select(_finite(x), power, cast(0.0, x))


@inline
def mantissa_grad(x):
    """2^-e"""
    return scale2(cast(1.0, x), -exponent(x))


@inline
def nan_to_num(x, nan, posinf, neginf):
    """x, with a number in the place of NaN and of the infinities."""
    T = type(x)
    infinite = posinf if x > T(0) else neginf
    return (x if x - x == T(0) else infinite) if x == x else nan


@inline
def _unchanged(x):
    """1 for finite numbers, else 0."""
    T = type(x)
    return T(1) if x - x == T(0) else T(0)


@inline
def nan_to_num_grad(g, x):
    """g times 1, or 0: NaN where g is infinite or NaN and x is not finite, as PyTorch's."""
    return g * _unchanged(x)


declare(_kept, x=0, out=0)
declare(copysign_, x=copysign_grad, y=0)
declare(nextafter, x=nextafter_grad, y=0)
declare(fmax, x=fmax_grad_x, y=fmax_grad_y)
declare(fmin, x=fmin_grad_x, y=fmin_grad_y)
declare(mantissa, x=mantissa_grad)
declare(exponent, x=0)
declare(_unchanged, x=0)
declare(nan_to_num, x=nan_to_num_grad)

_WHOLE = ((-11.0, 11.0),)  # of which int8 holds every multiple

TABLE = table(
    Formula("copysign", copysign_, domain=((0.3, 3.0), (-3.0, 3.0)), kinks=(0.0,)),
    Formula("nextafter", nextafter, kind="same", excludes=INTEGERS),
    Formula("fmax", fmax, kind="same", masks=True, twin="none"),
    Formula("fmin", fmin, kind="same", masks=True, twin="none"),
    Formula("heaviside", heaviside, kind="same", differentiable=False, caller="heaviside"),
    Formula("signbit", signbit, kind="compare", differentiable=False, caller="signbit"),
    Formula(
        "gcd",
        gcd,
        kind="integer",
        twin="function",
        excludes=("bool",),
        differentiable=False,
        domain=_WHOLE,
    ),
    Formula(
        "lcm",
        lcm,
        kind="integer",
        twin="function",
        excludes=("bool",),
        differentiable=False,
        domain=_WHOLE,
    ),
    Formula("mantissa", mantissa, kind="same", excludes=INTEGERS, caller="frexp"),
    Formula(
        "exponent", exponent, kind="same", excludes=INTEGERS, differentiable=False, caller="frexp"
    ),
    Formula("nan_to_num", nan_to_num, kind="same", params=3, masks=True, caller="nan_to_num"),
)
