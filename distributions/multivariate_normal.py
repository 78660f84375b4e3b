"""The multivariate normal distribution."""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.size import Size
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.distribution import Distribution
from tilegrad.distributions.utils import Shape, lazy_property, linalg, standard_normal
from tilegrad.engine.shape import broadcast_shapes

__all__ = ["MultivariateNormal"]


def apply_matrix(matrix: Tensor, vector: Tensor) -> Tensor:
    """``matrix @ vector``, both in batches that broadcast."""
    return fn.matmul(matrix, vector.unsqueeze(-1)).squeeze(-1)


def mahalanobis(tril: Tensor, off: Tensor) -> Tensor:
    """``|L^-1 off|^2`` of lower-triangular L, in batches that broadcast."""
    n = off.shape[-1]
    if tril.dim() == 2:  # one matrix: all vectors are columns of one right side
        columns = off.reshape(-1, n).mT
        solved = linalg().solve_triangular(tril, columns, upper=False)
        return solved.pow(2).sum(-2).reshape(off.shape[:-1])
    solved = linalg().solve_triangular(tril, off.unsqueeze(-1), upper=False)
    return solved.pow(2).sum(-2).squeeze(-1)


def half_log_det(tril: Tensor) -> Tensor:
    """The logarithm of the determinant of a triangular matrix: half that of ``L L^T``."""
    return tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def precision_to_scale_tril(precision: Tensor) -> Tensor:
    """The Cholesky factor of the inverse: from that of the matrix turned round, which is upper-triangular."""
    turned = linalg().cholesky(fn.flip(precision, (-2, -1)))
    upper = fn.flip(turned, (-2, -1)).mT
    identity = fn.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return linalg().solve_triangular(upper, identity, upper=False)


def only_matrix(kinds: dict[str, Any]) -> tuple[str, Tensor]:
    """(name, value) of the one matrix that is given; None of several is for the caller to refuse."""
    return next((name, value) for name, value in kinds.items() if value is not None)


def scale_tril_of(name: str, matrix: Tensor) -> Tensor:
    """The Cholesky factor of the covariance that a matrix of this name gives."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        return linalg().cholesky(matrix)
    return precision_to_scale_tril(matrix)


class MultivariateNormal(Distribution):
    """``loc + L x`` of standard normal x; of ``covariance_matrix`` L L^T, ``precision_matrix`` (its inverse)
    and ``scale_tril`` L exactly one is given.

    Raises:
        ValueError: none or several are, or dimensions are missing.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True
    _parameters = {"loc": 1, "covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2}

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        kinds = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        if sum(value is not None for value in kinds.values()) != 1:
            raise ValueError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
            )
        name, matrix = only_matrix(kinds)
        if matrix.dim() < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            )
        batch = Size(broadcast_shapes("MultivariateNormal", matrix.shape[:-2], loc.shape[:-1]))
        self.__dict__[name] = matrix.expand((*batch, -1, -1))
        self.loc = loc.expand((*batch, -1))
        super().__init__(batch, self.loc.shape[-1:], validate_args=validate_args)
        self._unbroadcasted_scale_tril = scale_tril_of(name, matrix)

    def _square(self) -> Size:
        return self._batch_shape + self._event_shape + self._event_shape

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance."""
        return self._unbroadcasted_scale_tril.expand(self._square())

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        tril = self._unbroadcasted_scale_tril
        return fn.matmul(tril, tril.mT).expand(self._square())

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        tril = self._unbroadcasted_scale_tril
        identity = fn.eye(tril.shape[-1], dtype=tril.dtype, device=tril.device)
        inverse = linalg().solve_triangular(tril, identity, upper=False)
        return fn.matmul(inverse.mT, inverse).expand(self._square())

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        squares = self._unbroadcasted_scale_tril.pow(2).sum(-1)
        return squares.expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        noise = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + apply_matrix(self._unbroadcasted_scale_tril, noise)

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        distance = mahalanobis(self._unbroadcasted_scale_tril, value - self.loc)
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + distance) - half_log_det(self._unbroadcasted_scale_tril)

    def entropy(self) -> Tensor:
        constant = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return (constant + half_log_det(self._unbroadcasted_scale_tril)).expand(self._batch_shape)
