"""Activation functions that are more than a row of the formula tables: each one fused formula, as is its
gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.rules import elementwise, view
from tilegrad.autograd.rules.define import named, run
from tilegrad.engine.ops.elementwise import OPS
from tilegrad.engine.shape import normalize_dim

__all__ = ["celu", "celu_", "prelu"]


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    return run(OPS["relu"], input, inplace)


def relu_(input: Tensor) -> Tensor:
    """max(x, 0), in place."""
    return run(OPS["relu"], input, True)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """x limited to [0, 6]."""
    return run(OPS["hardtanh"], input, inplace, (0.0, 6.0))


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x, times ``weight`` below 0: one weight, or one per channel (dimension 1).

    Raises:
        RuntimeError: weight is not of shape (1,), () or (channels,), or of another dtype.
    """
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.dtype is not input.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {input.dtype.name} and {weight.dtype.name}"
        )
    if weight.numel() != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if input.ndim == 0 or channels != weight.numel():
            raise RuntimeError(
                f"prelu: Mismatch of parameter numbers and input channel size. Found parameter "
                f"numbers = {weight.numel()} and channel size = {channels}."
            )
    if input.ndim > 1:
        weight = view.reshape(weight, (1, -1) + (1,) * (input.ndim - 2))
    elif weight.ndim != input.ndim:
        weight = view.reshape(weight, (1,) * input.ndim)
    return elementwise.apply(OPS["prelu"], input, weight)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x, or alpha (e^(x / alpha) - 1) below 0.

    Raises:
        RuntimeError: alpha is 0.
    """
    if alpha == 0:
        raise RuntimeError("celu: ZeroDivisionError: alpha cannot be 0 for CELU")
    return run(OPS["celu"], input, inplace, (alpha,))


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x; ``approximate="tanh"`` for the older form.

    Raises:
        RuntimeError: approximate is neither "none" nor "tanh".
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError("gelu: approximate argument must be either none or tanh.")
    return run(OPS["gelu" if approximate == "none" else "gelu_tanh"], input)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x limited to [min_val, max_val].

    Raises:
        ValueError: min_val exceeds max_val.
    """
    if min_val > max_val:
        raise ValueError("hardtanh: min_val cannot be greater than max_val")
    if not input.dtype.is_floating_point:
        min_val, max_val = int(min_val), int(max_val)
        if not input.dtype.is_signed and (min_val < 0 or max_val < 0):
            raise RuntimeError(
                "hardtanh: cannot do hardtanh on an unsigned type with negative limits"
            )
    return run(OPS["hardtanh"], input, inplace, (min_val, max_val))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by ``lambd``, at most to 0.

    Raises:
        RuntimeError: lambd is negative, NaN or infinite.
    """
    if not 0 <= lambd < math.inf:
        raise RuntimeError(
            f"softshrink: lambda must be greater or equal to 0 and finite, but found to be {lambd:g}."
        )
    return run(OPS["softshrink"], input, params=(lambd,))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b) for the halves a, b of ``input`` along ``dim``.

    Raises:
        RuntimeError: the size of dim is odd, or the input has no dimensions.
    """
    if input.ndim == 0:
        raise RuntimeError("glu: does not support 0-dimensional tensors")
    axis = normalize_dim("glu", dim, input.ndim)
    size = input.shape[axis]
    if size % 2:
        raise RuntimeError(
            f"glu: Halving dimension must be even, but dimension {axis} is size {size}"
        )
    half = size // 2
    left, right = view.narrow(input, axis, 0, half), view.narrow(input, axis, half, half)
    return elementwise.apply(OPS["gate"], left, right)


def _inplace(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``function(x, *args)`` written over x: PyTorch's name with an underscore."""
    name = function.__name__

    def over(input: Tensor, *args: object, **kwargs: object) -> Tensor:
        result: Tensor = function(input, *args, inplace=True, **kwargs)
        return result

    summary = (function.__doc__ or "").partition("\n")[0]
    return named(over, f"{name}_", f"{summary} Written over ``input``.")


celu_ = _inplace(celu)
hardtanh_ = _inplace(hardtanh)
