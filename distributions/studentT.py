"""Student's distribution."""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.chi2 import Chi2
from tilegrad.distributions.distribution import Distribution
from tilegrad.distributions.utils import Shape, Value, broadcast_all, standard_normal

__all__ = ["StudentT"]


class StudentT(Distribution):
    """``loc + scale x / sqrt(z / df)`` of a standard normal x and z of :class:`Chi2` with ``df``."""

    arg_constraints = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True
    _parameters = {"df": 0, "loc": 0, "scale": 0, "_chi2": 0}

    def __init__(
        self, df: Value, loc: Value = 0.0, scale: Value = 1.0, validate_args: bool | None = None
    ):
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc.masked_fill(self.df <= 1, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        finite = self.scale.pow(2) * self.df / (self.df - 2)
        result = fn.where(self.df > 2, finite, fn.full_like(self.df, math.inf))
        return result.masked_fill(self.df <= 1, math.nan)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        x = standard_normal(self._extended_shape(sample_shape), self.df)
        z = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (x * fn.rsqrt(z / self.df))

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        y = (value - self.loc) / self.scale
        constant = (
            self.scale.log()
            + 0.5 * self.df.log()
            + 0.5 * math.log(math.pi)
            + fn.lgamma(0.5 * self.df)
            - fn.lgamma(0.5 * (self.df + 1.0))
        )
        return -0.5 * (self.df + 1.0) * fn.log1p(y**2.0 / self.df) - constant

    def entropy(self) -> Tensor:
        half = 0.5 * (self.df + 1)
        log_beta = fn.lgamma(0.5 * self.df) + math.lgamma(0.5) - fn.lgamma(half)
        slope = half * (fn.digamma(half) - fn.digamma(0.5 * self.df))
        return self.scale.log() + slope + 0.5 * self.df.log() + log_beta
