"""The half of Cauchy's distribution above 0."""

from __future__ import annotations

import math

from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.cauchy import Cauchy
from tilegrad.distributions.half_normal import Half
from tilegrad.distributions.utils import Value, constant_like

__all__ = ["HalfCauchy"]


class HalfCauchy(Half):
    """|x| of x of :class:`Cauchy` with location 0."""

    arg_constraints = {"scale": constraints.positive}

    def __init__(self, scale: Value, validate_args: bool | None = None):
        super().__init__(Cauchy(0, scale, validate_args=False), validate_args)

    @property
    def mean(self) -> Tensor:
        return constant_like(self.scale, self._extended_shape(), math.inf)

    @property
    def variance(self) -> Tensor:
        variance: Tensor = self.base_dist.variance
        return variance
