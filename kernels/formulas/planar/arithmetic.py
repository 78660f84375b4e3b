"""Arithmetic, comparison and truth of complex numbers."""

from __future__ import annotations

import numpy as np

from tilegrad.kernels.formulas import arithmetic as real, vjps
from tilegrad.kernels.formulas.angles import atan2
from tilegrad.kernels.formulas.declared import declare
from tilegrad.kernels.formulas.formula import Formula, table
from tilegrad.kernels.formulas.pair import conj, paired, scaled
from tilegrad.kernels.formulas.powers import hypot
from tilegrad.kernels.formulas.primitives import cast, fabs, select
from tilegrad.kernels.function import inline


@inline
def real_part(z):
    """The real part."""
    return z.real


@inline
def number(x):
    """0 or 1, of a truth"""
    return np.float32(1) if x else np.float32(0)


@inline
def truth(z):
    """z is not zero"""
    return (z.real != cast(0.0, z.real)) | (z.imag != cast(0.0, z.imag))


@inline
def divide(z, w):
    """z / w by the quotient of the divisor's smaller part and its larger, which nothing squares.

    Source: R. L. Smith, "Algorithm 116: Complex division", 1962.
    """
    a, b, c, d = z.real, z.imag, w.real, w.imag
    turned = fabs(d) > fabs(c)
    large, small = select(turned, d, c), select(turned, c, d)
    zero = cast(0.0, large)
    ratio = select(large == zero, zero, small / large)
    total = large + small * ratio
    total = select(large == zero, fabs(c), total)
    first, second = select(turned, b, a), select(turned, a, b)
    re = first + second * ratio
    im = select(turned, b * ratio - a, b - a * ratio)
    return paired(re / total, im / total)


@inline
def divide_grad_z(g, w):
    """g / w"""
    return divide(g, w)


@inline
def divide_grad_w(g, w, out):
    """-g (z / w) / w"""
    return -divide(g * out, w)


@inline
def divide_grad_x(g, y):
    """g / y"""
    return divide(g, y)


@inline
def divide_grad_y(g, y, out):
    """-g (x / y) / y"""
    return -divide(g * out, y)


@inline
def div(x, y):
    """x / y"""
    return divide(x, y)


@inline
def quotient(x, y):
    """x / y of a number x"""
    return divide(x, y)


@inline
def reciprocal(x):
    """1 / x"""
    T = type(x)
    return divide(T(1), x)


@inline
def reciprocal_grad(out):
    """-1 / x^2"""
    return -(out * out)


@inline
def size(x):
    """|x|, of which no square overflows."""
    return hypot(x.real, x.imag)


@inline
def softsign(x):
    """x / (1 + |x|)"""
    return scaled(x, cast(1.0, x.real) / (cast(1.0, x.real) + size(x)))


@inline
def angle(x):
    """The angle of x in the plane, in [-pi, pi]."""
    return atan2(x.imag, x.real)


@inline
def direction(x):
    """x / |x|; zero stays zero."""
    length = hypot(x.real, x.imag)
    zero = cast(0.0, length)
    safe = select(length == zero, cast(1.0, length), length)
    return paired(x.real / safe, x.imag / safe)


@inline
def where(c, x, y):
    """x where c holds, else y."""
    return paired(select(c, x.real, y.real), select(c, x.imag, y.imag))


@inline
def lerp(x, y, w):
    """x + w (y - x), from the nearer end."""
    T = type(x)
    near = w.real * w.real + w.imag * w.imag < cast(0.25, w.real)
    return where(near, x + w * (y - x), y - (y - x) * (T(1) - w))


@inline
def lerp_grad_x(g, w):
    """g (1 - w)"""
    T = type(w)
    return g * (T(1) - w)


@inline
def lerp_grad_y(g, w):
    """g w"""
    return g * w


@inline
def lerp_grad_w(g, x, y):
    """g (y - x)"""
    return g * (y - x)


@inline
def addcdiv(x, y, z, value):
    """x + value y / z"""
    return x + value * divide(y, z)


@inline
def addcdiv_grad_y(g, z, value):
    """g value / z"""
    return divide(g * value, z)


@inline
def addcdiv_grad_z(g, y, z, value):
    """-g value y / z^2"""
    return -divide(divide(g * value * y, z), z)


@inline
def eq(x, y):
    """x = y"""
    return (x.real == y.real) & (x.imag == y.imag)


@inline
def ne(x, y):
    """x != y"""
    return (x.real != y.real) | (x.imag != y.imag)


@inline
def logical_not(x):
    """x is zero"""
    return not truth(x)


@inline
def logical_and(x, y):
    """both nonzero"""
    return truth(x) & truth(y)


@inline
def logical_or(x, y):
    """either nonzero"""
    return truth(x) | truth(y)


@inline
def logical_xor(x, y):
    """one nonzero, not both"""
    return truth(x) != truth(y)


@inline
def isnan(x):
    """a part is NaN"""
    return (x.real != x.real) | (x.imag != x.imag)


@inline
def _is_infinite(x):
    return (x == x) & (x - x != x - x)


@inline
def isinf(x):
    """a part is infinite"""
    return _is_infinite(x.real) | _is_infinite(x.imag)


@inline
def isfinite(x):
    """both parts are finite"""
    return (x.real - x.real == x.real - x.real) & (x.imag - x.imag == x.imag - x.imag)


declare(divide, z=divide_grad_z, w=divide_grad_w)
declare(div, x=divide_grad_x, y=divide_grad_y)
declare(quotient, x=divide_grad_x, y=divide_grad_y)
declare(reciprocal, x=reciprocal_grad)
declare(lerp, x=lerp_grad_x, y=lerp_grad_y, w=lerp_grad_w)
declare(addcdiv, x=1, y=addcdiv_grad_y, z=addcdiv_grad_z)

TABLE = table(
    Formula("conj", conj, kind="same"),
    Formula("abs", size, kind="part"),
    Formula("angle", angle, kind="part"),
    Formula("sgn", direction, kind="same"),
    Formula("softsign", softsign, kind="same"),
    *[
        Formula(name, real.TABLE[name].function, kind="same", params=count)
        for name, count in (
            ("neg", 0),
            ("square", 0),
            ("add", 0),
            ("add_scaled", 1),
            ("sub", 0),
            ("mul", 0),
            ("addcmul", 1),
        )
    ],
    *[
        Formula(name, vjps.TABLE[name].function, kind="same")
        for name in ("var_vjp", "var_mean_vjp")
    ],
    Formula("reciprocal", reciprocal, kind="same"),
    Formula("div", div, kind="same"),
    Formula("quotient", quotient, kind="same"),
    Formula("where", where, kind="where"),
    Formula("lerp", lerp, kind="same"),
    Formula("addcdiv", addcdiv, kind="same", params=1),
    Formula("eq", eq, kind="compare", differentiable=False),
    Formula("ne", ne, kind="compare", differentiable=False),
    Formula("logical_not", logical_not, kind="compare", differentiable=False),
    Formula("logical_and", logical_and, kind="compare", differentiable=False),
    Formula("logical_or", logical_or, kind="compare", differentiable=False),
    Formula("logical_xor", logical_xor, kind="compare", differentiable=False),
    Formula("isnan", isnan, kind="compare", differentiable=False),
    Formula("isinf", isinf, kind="compare", differentiable=False),
    Formula("isfinite", isfinite, kind="compare", differentiable=False),
)
