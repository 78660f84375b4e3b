"""Dropout layers (Srivastava et al. 2014; of whole channels: Tompson et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable

from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.nn.modules.module import Module


class _Dropout(Module):
    """Dropout by some function."""

    _function: Callable[..., Tensor]

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return type(self)._function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training, zeroes elements with probability ``p``; the others are divided by 1 - p.

    Raises:
        ValueError: p lies outside [0, 1].
    """

    _function = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """In training, zeroes whole channels of (N, C, L) with probability ``p``."""

    _function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """In training, zeroes whole channels of (N, C, H, W) with probability ``p``."""

    _function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """In training, zeroes whole channels of (N, C, D, H, W) with probability ``p``."""

    _function = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout to SELU's lower end, scaled so that mean and variance stay."""

    _function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """:class:`AlphaDropout` of whole channels."""

    _function = staticmethod(F.feature_alpha_dropout)
