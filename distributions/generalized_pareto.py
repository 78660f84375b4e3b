"""The generalized Pareto distribution."""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.distribution import Distribution
from tilegrad.distributions.utils import Shape, Value, broadcast_all, uniform

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """Survival ``(1 + c z)^(-1 / c)`` with ``z = (x - loc) / scale`` and ``c = concentration``: the
    exponential distribution at c = 0, Pareto's above, a bounded one below.
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True
    _parameters = {"loc": 0, "scale": 0, "concentration": 0}

    def __init__(
        self, loc: Value, scale: Value, concentration: Value, validate_args: bool | None = None
    ):
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        upper = self.loc - self.scale / self.concentration
        return constraints.interval(self.loc, fn.where(self.concentration < 0, upper, math.inf))

    def _exponential(self) -> tuple[Tensor, Tensor]:
        """(where the concentration is 0, the concentration with 1 there)"""
        zero = fn.isclose(self.concentration, fn.zeros_like(self.concentration))
        return zero, fn.where(zero, 1.0, self.concentration)

    def _z(self, x: Any) -> Tensor:
        z: Tensor = (x - self.loc) / self.scale
        return z

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.icdf(uniform(self._extended_shape(sample_shape), self.loc))

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        z = self._z(value)
        zero, c = self._exponential()
        power = 1 / c + fn.ones_like(z)
        curved = fn.where(power == 0, power, power * fn.log1p(c * z))
        return -self.scale.log() - fn.where(zero, z, curved)

    def log_survival_function(self, value: Any) -> Tensor:
        """The logarithm of the probability of more than ``value``."""
        self._check(value)
        z = self._z(value)
        zero, c = self._exponential()
        return fn.where(zero, -z, -fn.log1p(c * z) / c)

    def log_cdf(self, value: Any) -> Tensor:
        """The logarithm of :meth:`cdf`."""
        return fn.log1p(-fn.exp(self.log_survival_function(value)))

    def cdf(self, value: Any) -> Tensor:
        return fn.exp(self.log_cdf(value))

    def icdf(self, value: Any) -> Tensor:
        zero, c = self._exponential()
        log_survival = fn.log1p(-value)
        curved = self.loc + self.scale / c * fn.expm1(-c * log_survival)
        return fn.where(zero, self.loc - self.scale * log_survival, curved)

    @property
    def mean(self) -> Tensor:
        valid = self.concentration < 1
        c = fn.where(valid, self.concentration, 0.5)
        return fn.where(valid, self.loc + self.scale / (1 - c), math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        valid = self.concentration < 0.5
        c = fn.where(valid, self.concentration, 0.25)
        return fn.where(valid, self.scale**2 / ((1 - c) ** 2 * (1 - 2 * c)), math.nan)

    def entropy(self) -> Tensor:
        return (fn.log(self.scale) + self.concentration + 1).expand(self._batch_shape)
