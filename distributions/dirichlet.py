"""Dirichlet's distribution."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.rules.variates import _sample_dirichlet
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.exp_family import ExponentialFamily
from tilegrad.distributions.utils import Shape
from tilegrad.nn import functional as F

__all__ = ["Dirichlet"]


class Dirichlet(ExponentialFamily):
    """Density ``prod(x^(a - 1)) gamma(sum(a)) / prod(gamma(a))`` over the simplex, with
    ``a = concentration`` along the last dimension.
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True
    _parameters = {"concentration": 1}

    def __init__(self, concentration: Tensor, validate_args: bool | None = None):
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        shape = concentration.shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return _sample_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        return (
            fn.xlogy(self.concentration - 1.0, value).sum(-1)
            + fn.lgamma(self.concentration.sum(-1))
            - fn.lgamma(self.concentration).sum(-1)
        )

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, True)
        corner = F.one_hot(mode.argmax(dim=-1), above.shape[-1]).to(mode.dtype)
        return fn.where((self.concentration < 1).all(dim=-1, keepdim=True), corner, mode)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def entropy(self) -> Tensor:
        k = self.concentration.size(-1)
        total = self.concentration.sum(-1)
        return (
            fn.lgamma(self.concentration).sum(-1)
            - fn.lgamma(total)
            - (k - total) * fn.digamma(total)
            - ((self.concentration - 1.0) * fn.digamma(self.concentration)).sum(-1)
        )

    @property
    def _natural_params(self) -> tuple[Tensor]:
        return (self.concentration,)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        (x,) = natural_params
        return x.lgamma().sum(-1) - fn.lgamma(x.sum(-1))
