"""The negative binomial distribution."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.variates import poisson
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.distribution import Binary
from tilegrad.distributions.gamma import Gamma
from tilegrad.distributions.utils import Shape, Value, broadcast_all, lazy_property
from tilegrad.nn import functional as F

__all__ = ["NegativeBinomial"]


class NegativeBinomial(Binary):
    """How many trials succeed, each with probability ``probs``, before ``total_count`` have failed."""

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer
    _parameters = {"total_count": 0, "probs": 0, "logits": 0}

    def __init__(
        self,
        total_count: Value,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ):
        name = self._choose(probs, logits)
        counts, param = broadcast_all(total_count, logits if probs is None else probs)
        self.__dict__[name] = param
        self.total_count = counts.type_as(param)
        super().__init__(param.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * fn.exp(self.logits)

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / fn.sigmoid(-self.logits)

    @lazy_property
    def _gamma(self) -> Gamma:
        rate = fn.exp(-self.logits)
        return Gamma(self.total_count, rate, validate_args=False)  # the count may be 0

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            return poisson(self._gamma.sample(sample_shape))

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        powers = self.total_count * F.logsigmoid(-self.logits) + value * F.logsigmoid(self.logits)
        ways = (
            fn.lgamma(self.total_count + value)
            - fn.lgamma(1.0 + value)
            - fn.lgamma(self.total_count)
        )
        # no trial has to fail, none succeeds: probability 1, where lgamma is infinite
        return powers + ways.masked_fill(self.total_count + value == 0.0, 0.0)
