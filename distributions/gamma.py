"""The gamma distribution."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.rules.special import igamma
from tilegrad.autograd.rules.variates import _standard_gamma
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.exp_family import ExponentialFamily
from tilegrad.distributions.utils import Shape, Value, broadcast_all
from tilegrad.engine.dtype import finfo

__all__ = ["Gamma"]


class Gamma(ExponentialFamily):
    """Density ``rate^a x^(a - 1) exp(-rate x) / gamma(a)`` of x >= 0, with ``a = concentration``."""

    arg_constraints: Any = {
        "concentration": constraints.positive,
        "rate": constraints.positive,
    }
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0
    _parameters = {"concentration": 0, "rate": 0}

    def __init__(self, concentration: Value, rate: Value, validate_args: bool | None = None):
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        value = _standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        value.detach().clamp_(min=finfo(value.dtype).tiny)  # the gradient is that of the draw
        return value

    def log_prob(self, value: Any) -> Tensor:
        value = fn.as_tensor(value, dtype=self.rate.dtype, device=self.rate.device)
        self._check(value)
        return (
            fn.xlogy(self.concentration, self.rate)
            + fn.xlogy(self.concentration - 1, value)
            - self.rate * value
            - fn.lgamma(self.concentration)
        )

    def cdf(self, value: Any) -> Tensor:
        self._check(value)
        return igamma(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        return (
            self.concentration
            - fn.log(self.rate)
            + fn.lgamma(self.concentration)
            + (1.0 - self.concentration) * fn.digamma(self.concentration)
        )

    @property
    def _natural_params(self) -> tuple[Tensor, Tensor]:
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x, y = natural_params
        return fn.lgamma(x + 1) + (x + 1) * fn.log(-y.reciprocal())
