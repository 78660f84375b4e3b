"""The continuous Bernoulli distribution.

Source: G. Loaiza-Ganem and J. Cunningham, The continuous Bernoulli (NeurIPS 2019).
"""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.distribution import Binary
from tilegrad.distributions.exp_family import ExponentialFamily
from tilegrad.distributions.utils import (
    Shape,
    broadcast_all,
    clamp_probs,
    lazy_property,
    logits_to_probs,
    uniform,
)
from tilegrad.nn import functional as F

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(Binary, ExponentialFamily):
    """Density proportional to ``probs^x (1 - probs)^(1 - x)`` of x in [0, 1].

    Args:
        lims: between these probabilities formulas are Taylor series about 1/2, where they are 0 / 0.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    _mean_carrier_measure = 0
    has_rsample = True
    _parameters = {"probs": 0, "logits": 0}

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ):
        name = self._choose(probs, logits)
        (param,) = broadcast_all(logits if probs is None else probs)
        if name == "probs":
            # checked before it is clamped, after which anything would pass
            within = constraints.unit_interval.check(param)
            if validate_args is not None and not bool(within.all()):
                raise ValueError("The parameter probs has invalid values")
            param = clamp_probs(param)
        self.__dict__[name] = param
        self._lims = lims
        super().__init__(param.shape, validate_args=validate_args)

    @lazy_property
    def probs(self) -> Tensor:
        """The parameter as a probability, kept away from 0 and 1."""
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _stable(self) -> Tensor:
        """Where the formulas are no 0 / 0."""
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut_probs(self) -> Tensor:
        return fn.where(self._stable(), self.probs, self._lims[0])

    def _cont_bern_log_norm(self) -> Tensor:
        """The logarithm of what the density has to be multiplied by."""
        cut = self._cut_probs()
        low = fn.where(cut <= 0.5, cut, 0.0)
        high = fn.where(cut >= 0.5, cut, 1.0)
        spread = fn.where(cut <= 0.5, fn.log1p(-2.0 * low), fn.log(2.0 * high - 1.0))
        log_norm = fn.log(fn.abs(fn.log1p(-cut) - fn.log(cut))) - spread
        x = (self.probs - 0.5).pow(2)
        taylor = math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x
        return fn.where(self._stable(), log_norm, taylor)

    @property
    def mean(self) -> Tensor:
        cut = self._cut_probs()
        exact = cut / (2.0 * cut - 1.0) + 1.0 / (fn.log1p(-cut) - fn.log(cut))
        x = self.probs - 0.5
        taylor = 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x
        return fn.where(self._stable(), exact, taylor)

    @property
    def stddev(self) -> Tensor:
        return fn.sqrt(self.variance)

    @property
    def variance(self) -> Tensor:
        cut = self._cut_probs()
        first = cut * (cut - 1.0) / (1.0 - 2.0 * cut).pow(2)
        exact = first + 1.0 / (fn.log1p(-cut) - fn.log(cut)).pow(2)
        x = (self.probs - 0.5).pow(2)
        taylor = 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x
        return fn.where(self._stable(), exact, taylor)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.icdf(uniform(self._extended_shape(sample_shape), self.probs))

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        logits, value = broadcast_all(self.logits, value)
        cross = F.binary_cross_entropy_with_logits(logits, value, reduction="none")
        return -cross + self._cont_bern_log_norm()

    def cdf(self, value: Any) -> Tensor:
        self._check(value)
        cut = self._cut_probs()
        powers = fn.pow(cut, value) * fn.pow(1.0 - cut, 1.0 - value)
        exact = (powers + cut - 1.0) / (2.0 * cut - 1.0)
        inner = fn.where(self._stable(), exact, value)
        return fn.where(value <= 0.0, 0.0, fn.where(value >= 1.0, 1.0, inner))

    def icdf(self, value: Any) -> Tensor:
        cut = self._cut_probs()
        rise = fn.log1p(-cut + value * (2.0 * cut - 1.0)) - fn.log1p(-cut)
        return fn.where(self._stable(), rise / (fn.log(cut) - fn.log1p(-cut)), value)

    def entropy(self) -> Tensor:
        none, one = fn.log1p(-self.probs), fn.log(self.probs)
        return self.mean * (none - one) - self._cont_bern_log_norm() - none

    @property
    def _natural_params(self) -> tuple[Tensor]:
        return (self.logits,)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        (x,) = natural_params
        stable = (x <= self._lims[0] - 0.5) | (x > self._lims[1] - 0.5)
        cut = fn.where(stable, x, self._lims[0] - 0.5)
        log_norm = fn.log(fn.abs(fn.expm1(cut))) - fn.log(fn.abs(cut))
        taylor = 0.5 * x + x.pow(2) / 24.0 - x.pow(4) / 2880.0
        return fn.where(stable, log_norm, taylor)
