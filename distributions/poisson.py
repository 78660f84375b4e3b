"""Poisson's distribution."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.variates import poisson
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.exp_family import ExponentialFamily
from tilegrad.distributions.utils import Shape, Value, broadcast_all

__all__ = ["Poisson"]


class Poisson(ExponentialFamily):
    """k with probability ``rate^k exp(-rate) / k!``."""

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer
    _parameters = {"rate": 0}

    def __init__(self, rate: Value, validate_args: bool | None = None):
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            return poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        rate, value = broadcast_all(self.rate, value)
        return value.xlogy(rate) - rate - (value + 1).lgamma()

    @property
    def _natural_params(self) -> tuple[Tensor]:
        return (fn.log(self.rate),)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        return fn.exp(natural_params[0])
