"""Comparison of whole tensors and within a tolerance."""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.rules.arithmetic import add, sub
from tilegrad.autograd.rules.elementwise import (
    to_dtype,
)
from tilegrad.autograd.rules.pointwise import abs, eq, isnan, le, logical_and, logical_or, mul
from tilegrad.autograd.rules.unary import isfinite
from tilegrad.engine import dtype as dt
from tilegrad.engine.array import window

__all__ = ["allclose", "equal", "isclose"]


def _once(input: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both without a graph; dimensions that repeat the elements of both are looked at once."""
    one, two = input.layout, other.layout
    if one.shape != two.shape or 0 in one.shape:
        return input.detach(), other.detach()
    both = zip(one.shape, one.strides, two.strides, strict=True)
    shape = tuple([n if s or t else 1 for n, s, t in both])
    return tensor_of(window(input, shape, one.strides)), tensor_of(
        window(other, shape, two.strides)
    )


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are equal."""
    if input.shape != other.shape:
        return False
    return bool(eq(*_once(input, other)).all().item())


def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """``|input - other| <= atol + rtol * |other|``, elementwise; infinities only equal themselves.

    Raises:
        RuntimeError: the dtypes differ.
    """
    if input.dtype is not other.dtype:
        raise RuntimeError(f"isclose: {input.dtype.name} did not match {other.dtype.name}")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {value}")
    x, y = input.detach(), other.detach()
    close = eq(x, y)
    if x.dtype.has_gradient:
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
    return bool(isclose(*_once(input, other), rtol, atol, equal_nan).all().item())
