"""Wishart's distribution."""

from __future__ import annotations

import math
import warnings
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.rules.numeric import mvlgamma
from tilegrad.autograd.size import Size
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.chi2 import Chi2
from tilegrad.distributions.exp_family import ExponentialFamily
from tilegrad.distributions.multivariate_normal import half_log_det, only_matrix, scale_tril_of
from tilegrad.distributions.utils import Shape, Value, lazy_property, linalg, standard_normal
from tilegrad.engine.dtype import finfo
from tilegrad.engine.shape import broadcast_shapes

__all__ = ["Wishart"]


def _mvdigamma(x: Tensor, p: int) -> Tensor:
    """The derivative of ``mvlgamma(x, p)``."""
    halves = fn.arange(p, dtype=x.dtype, device=x.device) / 2
    return fn.digamma(x.unsqueeze(-1) - halves).sum(-1)


class Wishart(ExponentialFamily):
    """The sum of ``df`` squares ``x x^T`` of normal vectors x of mean 0; their covariance is given as that, as
    its inverse or as its Cholesky factor.

    Raises:
        AssertionError: none or several are given.
        ValueError: ``df`` is at most one less than the matrix is large.
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0
    _parameters = {
        "df": 0, "covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2,
        "_unbroadcasted_scale_tril": 2, "_dist_chi2": 1,
    }  # fmt: skip

    @property
    def arg_constraints(self) -> Any:
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self.event_shape[-1] - 1),
        }

    def __init__(
        self,
        df: Value,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ):
        kinds = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        if sum(value is not None for value in kinds.values()) != 1:
            raise AssertionError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
            )
        name, matrix = only_matrix(kinds)
        if matrix.dim() < 2:
            raise ValueError(
                "scale_tril must be at least two-dimensional, with optional leading batch dimensions"
            )
        given = df if isinstance(df, Tensor) else matrix.new_tensor(df)
        batch = Size(broadcast_shapes("Wishart", matrix.shape[:-2], given.shape))
        self.df = given.expand(batch) if isinstance(df, Tensor) else given
        n = matrix.shape[-1]
        if bool((self.df <= n - 1).any()):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {n - 1}.")
        self.__dict__[name] = matrix.expand((*batch, -1, -1))
        if bool((self.df < n).any()):
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        super().__init__(batch, matrix.shape[-2:], validate_args=validate_args)
        self._unbroadcasted_scale_tril = scale_tril_of(name, matrix)
        row = fn.arange(n, dtype=matrix.dtype, device=matrix.device)
        self._dist_chi2 = Chi2((self.df.unsqueeze(-1) - row).expand((*batch, n)))

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance."""
        return self._unbroadcasted_scale_tril.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance of the normal vectors."""
        tril = self._unbroadcasted_scale_tril
        return (tril @ tril.mT).expand(self._batch_shape + self._event_shape)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """Its inverse."""
        tril = self._unbroadcasted_scale_tril
        identity = fn.eye(tril.shape[-1], dtype=tril.dtype, device=tril.device)
        inverse = linalg().solve_triangular(tril, identity, upper=False)
        return (inverse.mT @ inverse).expand(self._batch_shape + self._event_shape)

    def _spread(self, x: Tensor) -> Tensor:
        return x.expand(self._batch_shape).reshape((*self._batch_shape, 1, 1))

    @property
    def mean(self) -> Tensor:
        return self._spread(self.df) * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self._event_shape[-1] - 1
        return self._spread(factor.masked_fill(factor <= 0, math.nan)) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        covariance = self.covariance_matrix
        diagonal = covariance.diagonal(dim1=-2, dim2=-1)
        products = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self._spread(self.df) * (covariance.pow(2) + products)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """By Bartlett's decomposition."""
        roots = self._dist_chi2.rsample(sample_shape).sqrt().clamp(min=finfo(self.df.dtype).eps)
        noise = standard_normal(self._extended_shape(sample_shape), roots).tril(-1)
        tril = self._unbroadcasted_scale_tril @ (noise + roots.diag_embed())
        return tril @ tril.mT

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        n, tril = self._event_shape[-1], self._unbroadcasted_scale_tril
        scale = n * math.log(2) / 2 + half_log_det(tril)
        inner = linalg().solve_triangular(tril, value, upper=False)
        inner = linalg().solve_triangular(tril, inner.mT, upper=False)
        trace = inner.diagonal(dim1=-2, dim2=-1).sum(-1)
        power = (self.df - n - 1) / 2 * linalg().slogdet(value).logabsdet
        return power - self.df * scale - mvlgamma(self.df / 2, n) - trace / 2

    def entropy(self) -> Tensor:
        n, half = self._event_shape[-1], self.df / 2
        scale = n * math.log(2) / 2 + half_log_det(self._unbroadcasted_scale_tril)
        slope = (self.df - n - 1) / 2 * _mvdigamma(half, n)
        return (n + 1) * scale + mvlgamma(half, n) - slope + half * n

    @property
    def _natural_params(self) -> tuple[Tensor, Tensor]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x, y = natural_params
        n = self._event_shape[-1]
        degrees = y + (n + 1) / 2
        log_det = linalg().slogdet(-2 * x).logabsdet
        return degrees * (math.log(2) * n - log_det) + mvlgamma(degrees, n)
