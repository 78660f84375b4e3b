"""Functions that draw random numbers: dropouts that keep moments, random slopes, Gumbel's choice."""

from __future__ import annotations

import warnings
from typing import Any

from tilegrad.autograd.rules.creation import empty_like, zeros_like
from tilegrad.autograd.rules.masked import where
from tilegrad.autograd.rules.random import rand
from tilegrad.autograd.tensor import Tensor
from tilegrad.kernels.formulas.activation import SELU_ALPHA, SELU_SCALE


def _alpha(input: Tensor, p: float, training: bool, inplace: bool, channels: bool) -> Tensor:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if input.numel() == 0 or not training or p == 0.0:
        return input
    if p == 1.0:
        made = input * zeros_like(input)
        return input.mul_(0) if inplace else made
    low = -SELU_ALPHA * SELU_SCALE
    scale = ((1 - p) * (1 + p * low * low)) ** -0.5
    if channels:
        if input.ndim < 2:
            raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
        shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    else:
        shape = tuple(input.shape)
    kept = rand(*shape, dtype=input.dtype, device=input.device) >= p
    made = where(kept, input * scale, low * scale) - low * scale * p
    return input.copy_(made) if inplace else made


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout to SELU's lower end, scaled so that mean and variance stay (Klambauer et al. 2017)."""
    return _alpha(input, p, training, inplace, False)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """:func:`alpha_dropout` of whole channels."""
    return _alpha(input, p, training, inplace, True)


def rrelu_of(
    input: Tensor, lower: float, upper: float, training: bool, generator: Any = None
) -> Tensor:
    """:func:`rrelu`, of this generator."""
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training:
        return where(input > 0, input, input * ((lower + upper) / 2))
    drawn = rand(*input.shape, dtype=input.dtype, device=input.device, generator=generator)
    return where(input > 0, input, input * (drawn * (upper - lower) + lower))


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False,
    inplace: bool = False,
) -> Tensor:  # fmt: skip
    """x, times a slope below 0: drawn from [lower, upper) per element, or their mean in evaluation."""
    made = rrelu_of(input, lower, upper, training)
    return input.copy_(made) if inplace else made


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """:func:`rrelu`, in place."""
    return rrelu(input, lower, upper, training, True)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Softmax of (logits + Gumbel noise) / tau (Jang et al. 2017); ``hard``: one-hot, with the soft one's
    gradient. ``eps`` has no effect.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -empty_like(logits).detach().exponential_().log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    chosen = zeros_like(logits).detach().scatter_(dim, index, 1.0)
    return chosen - soft.detach() + soft
