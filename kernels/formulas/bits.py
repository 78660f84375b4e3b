"""Formulas over the bits of integers."""

from __future__ import annotations

from tilegrad.kernels.formulas.formula import Formula, table
from tilegrad.kernels.function import DeviceFunction, inline

BOOL = ("bool",)


@inline
def bitwise_and(x, y):
    """x & y"""
    return x & y


@inline
def bitwise_or(x, y):
    """x | y"""
    return x | y


@inline
def bitwise_xor(x, y):
    """x ^ y"""
    return x ^ y


@inline
def bitwise_not(x):
    """~x"""
    return ~x


@inline
def left_shift(x, y):
    """x << y; 0 for a shift that is negative or beyond the bits"""
    return (x << y) if 0 <= y < 64 else (x ^ x)


@inline
def right_shift(x, y):
    """x >> y, keeping the sign; the sign alone for a shift that is negative or beyond the bits"""
    return x >> (y if 0 <= y < 64 else 63)


_BY_FEW = ((-9.0, 9.0), (0.0, 5.0))


def _shift(name: str, function: DeviceFunction) -> Formula:
    return Formula(
        name, function, kind="integer", excludes=BOOL, differentiable=False, domain=_BY_FEW
    )


TABLE = table(
    Formula("bitwise_and", bitwise_and, kind="integer", differentiable=False),
    Formula("bitwise_or", bitwise_or, kind="integer", differentiable=False),
    Formula("bitwise_xor", bitwise_xor, kind="integer", differentiable=False),
    Formula("bitwise_not", bitwise_not, kind="integer", differentiable=False),
    _shift("bitwise_left_shift", left_shift),
    _shift("bitwise_right_shift", right_shift),
)
