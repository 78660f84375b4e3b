"""The half of the normal distribution above 0."""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.distribution import Distribution
from tilegrad.distributions.normal import Normal
from tilegrad.distributions.transformed_distribution import TransformedDistribution
from tilegrad.distributions.transforms import AbsTransform
from tilegrad.distributions.utils import Value

__all__ = ["HalfNormal"]


class Half(TransformedDistribution):
    """|x| of a distribution that is symmetric about 0."""

    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, base: Distribution, validate_args: bool | None = None):
        super().__init__(base, AbsTransform(), validate_args=validate_args)

    @property
    def scale(self) -> Tensor:
        """The scale of the whole distribution."""
        scale: Tensor = self.base_dist.scale
        return scale

    @property
    def mode(self) -> Tensor:
        return fn.zeros_like(self.scale)

    def log_prob(self, value: Any) -> Tensor:
        value = fn.as_tensor(value, dtype=self.scale.dtype, device=self.scale.device)
        self._check(value)
        twice = self.base_dist.log_prob(value) + math.log(2)
        return fn.where(value >= 0, twice, -math.inf)

    def cdf(self, value: Any) -> Tensor:
        self._check(value)
        result: Tensor = 2 * self.base_dist.cdf(value) - 1
        return result

    def icdf(self, value: Any) -> Tensor:
        result: Tensor = self.base_dist.icdf((value + 1) / 2)
        return result

    def entropy(self) -> Tensor:
        result: Tensor = self.base_dist.entropy() - math.log(2)
        return result


class HalfNormal(Half):
    """|x| of x of :class:`Normal` with mean 0."""

    arg_constraints = {"scale": constraints.positive}

    def __init__(self, scale: Value, validate_args: bool | None = None):
        super().__init__(Normal(0, scale, validate_args=False), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        return self.scale.pow(2) * (1 - 2 / math.pi)
