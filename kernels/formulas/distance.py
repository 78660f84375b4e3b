"""What each norm of a difference does with an element: for scalars, and for the CPU kernels' vectors."""

from __future__ import annotations

from typing import NamedTuple

from tilegrad.kernels.formulas.powers import pow as power
from tilegrad.kernels.formulas.primitives import cast, fabs, fma, select, sqrt
from tilegrad.kernels.function import DeviceFunction, inline


@inline
def grow_zero(total, d, p):
    """The number of elements that differ; NaN stays NaN."""
    zero = cast(0.0, d)
    return total + select(d == zero, zero, select(d == d, cast(1.0, d), d))


@inline
def grow_one(total, d, p):
    """The sum of magnitudes."""
    return total + fabs(d)


@inline
def grow_two(total, d, p):
    """The sum of squares."""
    return fma(d, d, total)


@inline
def grow_largest(total, d, p):
    """The largest magnitude; NaN stays NaN."""
    size = fabs(d)
    return select((size > total) | (size != size), size, total)


@inline
def grow_other(total, d, p):
    """The sum of powers of the magnitudes."""
    return total + power(fabs(d), p)


@inline
def same(total, p):
    """The sum itself."""
    return total


@inline
def root(total, p):
    """The square root."""
    return sqrt(total)


@inline
def other_root(total, p):
    """The root of degree p."""
    return power(total, cast(1.0, total) / p)


@inline
def _signed(factor, d):
    """The factor with the sign of ``d``, 0 where that is 0."""
    zero = cast(0.0, d)
    return select(d > zero, factor, select(d < zero, -factor, zero * d))


@inline
def slope_one(factor, d, far, p):
    """Of the sum of magnitudes."""
    return _signed(factor, d)


@inline
def slope_two(factor, d, far, p):
    """Of the root of the sum of squares; the factor is over the distance."""
    return factor * d


@inline
def slope_largest(factor, d, far, p):
    """Of the largest magnitude, ``far``."""
    return select(fabs(d) == far, _signed(factor, d), cast(0.0, d))


@inline
def slope_other(factor, d, far, p):
    """Of the root of degree p; the factor is over the distance's power p - 1."""
    zero = cast(0.0, d)
    size = power(fabs(d), p - cast(1.0, d))
    return select(d == zero, zero, _signed(factor, d) * size)


class Norm(NamedTuple):
    """One norm.

    Attributes:
        grow: ``grow(total, difference, p)``, the total with one element more.
        finish: ``finish(total, p)``, the distance.
        slope: ``slope(factor, difference, distance, p)``.
        weight: work of an element, in additions.
    """

    grow: DeviceFunction
    finish: DeviceFunction
    slope: DeviceFunction
    weight: int


NORMS = {
    "zero": Norm(grow_zero, same, slope_one, 1),
    "one": Norm(grow_one, same, slope_one, 1),
    "two": Norm(grow_two, root, slope_two, 1),
    "inf": Norm(grow_largest, same, slope_largest, 1),
    "other": Norm(grow_other, other_root, slope_other, 16),
}
