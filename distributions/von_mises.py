"""The distribution of von Mises."""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.variates import von_mises
from tilegrad.autograd.special_functions import i0e, i1e
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.distribution import Distribution
from tilegrad.distributions.utils import Shape, Value, broadcast_all, lazy_property

__all__ = ["VonMises"]


class VonMises(Distribution):
    """Density ``exp(concentration cos(x - loc)) / (2 pi I0(concentration))`` of angles in [-pi, pi)."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False
    _parameters = {"loc": 0, "concentration": 0}

    def __init__(self, loc: Value, concentration: Value, validate_args: bool | None = None):
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        # less the concentration on both sides of the fraction, so that nothing overflows
        height = self.concentration * (fn.cos(value - self.loc) - 1)
        return height - math.log(2 * math.pi) - i0e(self.concentration).log()

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            off = von_mises(self.concentration.expand(shape))
            return (off + self.loc + math.pi) % (2 * math.pi) - math.pi

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> Tensor:
        """The circular variance, ``1 - I1 / I0`` of the concentration."""
        return 1 - i1e(self.concentration) / i0e(self.concentration)
