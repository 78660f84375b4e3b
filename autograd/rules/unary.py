"""Elementwise functions of one tensor that are more than a row of the formula tables."""

from __future__ import annotations

import builtins
import math

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import called
from tilegrad.autograd.rule import check_inplace
from tilegrad.autograd.rules.arithmetic import clamp, pow
from tilegrad.autograd.rules.assign import overwrite
from tilegrad.autograd.rules.elementwise import (
    inplace,
    unary,
)
from tilegrad.autograd.rules.pointwise import mul
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops import elementwise as ops
from tilegrad.engine.ops.elementwise import OPS

__all__ = [
    "deg2rad", "isfinite", "isinf", "logit", "positive", "rad2deg", "round", "round_", "square",
]  # fmt: skip


def square(input: Tensor) -> Tensor:
    """``input * input``; of bools int64, as their power is."""
    if input.layout.dtype is dt.bool_:
        return pow(input, 2)
    return unary(OPS["square"], input)


def _always(value: bool, input: Tensor) -> Tensor:
    """A bool tensor that says ``value`` everywhere."""
    kind = input.layout
    return tensor_of(ops.full(kind.shape, value, dt.bool_, kind.device))


def isinf(input: Tensor) -> Tensor:
    """Whether each element is infinite."""
    return unary(OPS["isinf"], input) if input.dtype.has_gradient else _always(False, input)


def isfinite(input: Tensor) -> Tensor:
    """Whether each element is neither infinite nor NaN."""
    return unary(OPS["isfinite"], input) if input.dtype.has_gradient else _always(True, input)


def positive(input: Tensor) -> Tensor:
    """``+input``: itself.

    Raises:
        RuntimeError: it is bool.
    """
    if input.layout.dtype is dt.bool_:
        raise RuntimeError("positive: The `+` operator, on a bool tensor is not supported.")
    return input


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, ties to even; or the nearest multiple of ``10 ** -decimals``."""
    if not input.dtype.has_gradient:
        return unary(OPS["copy"], input)
    if decimals == 0:
        return unary(OPS["round"], input)
    scale = 10.0 ** builtins.abs(decimals)
    if decimals > 0:
        return called("round_decimals", unary(OPS["round"], input * scale) / scale)
    return called("round_decimals", unary(OPS["round"], input / scale) * scale)


def round_(input: Tensor, *, decimals: int = 0) -> Tensor:
    """:func:`round`, in place."""
    if not input.layout.dtype.is_floating_point:
        check_inplace("round_", input)
        return input
    return (
        inplace(OPS["round"], input)
        if decimals == 0
        else overwrite("round_", input, round(input, decimals=decimals))
    )


def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians."""
    return called("deg2rad", mul(input, math.pi / 180))


def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees."""
    return called("rad2deg", mul(input, 180 / math.pi))


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """``log(x / (1 - x))``, with x kept within ``[eps, 1 - eps]`` if ``eps`` is given.

    Gradient: of ``input``; infinite at 0 and 1 and NaN beyond, zero where ``eps`` took effect.
    """
    if eps is None or eps != eps:  # nothing is below or above NaN
        return unary(_LOGIT, input)
    return unary(_LOGIT, clamp(input, eps, 1 - eps))


_LOGIT = OPS["logit"]
