"""Exponential families: the entropy and the divergence follow from the logarithm of the normalizer.

Source: F. Nielsen and R. Nock, Entropies and cross-entropies of exponential families (ICIP 2010).
"""

from __future__ import annotations

from typing import Any

from tilegrad.autograd.gradients import grad
from tilegrad.autograd.mode import enable_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions.distribution import Distribution

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """Density ``exp(sum(t(x) * theta) - log_normalizer(theta) + k(x))`` of natural parameters theta."""

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError(f"{type(self).__name__}: _natural_params")

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}: _log_normalizer")

    @property
    def _mean_carrier_measure(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: _mean_carrier_measure")

    def entropy(self) -> Tensor:
        """The normalizer's logarithm, less its gradient times the parameters, less the mean of k."""
        with enable_grad():
            params = [p.detach().requires_grad_() for p in self._natural_params]
            normalizer = self._log_normalizer(*params)
            slopes = grad([normalizer.sum()], params, create_graph=True)
        result: Any = -self._mean_carrier_measure + normalizer
        for param, slope in zip(params, slopes, strict=True):
            result = result - (param * slope).reshape((*self._batch_shape, -1)).sum(-1)
        total: Tensor = result
        return total
