"""Kumaraswamy's distribution."""

from __future__ import annotations

import math

from tilegrad.autograd import functions as fn
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.transformed_distribution import TransformedDistribution
from tilegrad.distributions.transforms import AffineTransform, PowerTransform
from tilegrad.distributions.uniform import Uniform
from tilegrad.distributions.utils import Value, broadcast_all, euler_constant

__all__ = ["Kumaraswamy"]


class Kumaraswamy(TransformedDistribution):
    """``(1 - u^(1 / b))^(1 / a)`` of uniform u, with ``a = concentration1``, ``b = concentration0``."""

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True
    _parameters = {"concentration1": 0, "concentration0": 0}

    def __init__(
        self, concentration1: Value, concentration0: Value, validate_args: bool | None = None
    ):
        a, b = broadcast_all(concentration1, concentration0)
        self.concentration1, self.concentration0 = a, b
        base = Uniform(fn.zeros_like(b), fn.ones_like(b), validate_args=validate_args)
        transforms = [
            PowerTransform(exponent=b.reciprocal()),
            AffineTransform(loc=1.0, scale=-1.0),
            PowerTransform(exponent=a.reciprocal()),
        ]
        super().__init__(base, transforms, validate_args=validate_args)

    def _moment(self, order: int) -> Tensor:
        """The mean of x^order: ``b B(1 + order / a, b)``."""
        b, first = self.concentration0, 1 + order / self.concentration1
        return b * fn.exp(fn.lgamma(first) + fn.lgamma(b) - fn.lgamma(first + b))

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        log_mode = b.reciprocal() * (-b).log1p() - (-b * a).log1p()
        return log_mode.masked_fill((b < 1) | (a < 1), math.nan).exp()

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self.mean.pow(2)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = fn.digamma(b + 1) + euler_constant
        return (1 - b.reciprocal()) + (1 - a.reciprocal()) * harmonic - fn.log(a) - fn.log(b)
