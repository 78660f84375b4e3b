"""Divergences between multivariate normal distributions."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions.kl import register_kl
from tilegrad.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from tilegrad.distributions.multivariate_normal import MultivariateNormal, half_log_det, mahalanobis
from tilegrad.distributions.utils import linalg


def _same_events(p: Any, q: Any) -> None:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two (Low Rank) Multivariate Normals with different event shapes cannot be "
            "computed"
        )


def _squares(matrix: Tensor) -> Tensor:
    """The sum of the squares of a matrix: the trace of ``X X^T``."""
    return matrix.pow(2).sum((-2, -1))


def _log_det(d: Any) -> Tensor:
    if isinstance(d, LowRankMultivariateNormal):
        return d._log_det()
    return 2 * half_log_det(d._unbroadcasted_scale_tril)


def _roots(p: Any) -> list[Tensor]:
    """Matrices whose squares ``X X^T`` sum to the covariance."""
    if isinstance(p, LowRankMultivariateNormal):
        return [p._unbroadcasted_cov_factor, fn.diag_embed(p._unbroadcasted_cov_diag.sqrt())]
    return [p._unbroadcasted_scale_tril]


def _result(p: Any, q: Any, trace: Tensor, distance: Tensor) -> Tensor:
    return 0.5 * (_log_det(q) - _log_det(p) + trace + distance - p.event_shape[0])


@register_kl(MultivariateNormal, MultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _to_whole(p: Any, q: Any) -> Tensor:
    _same_events(p, q)
    tril = q._unbroadcasted_scale_tril
    traces = [_squares(linalg().solve_triangular(tril, x, upper=False)) for x in _roots(p)]
    trace = traces[0] if len(traces) == 1 else traces[0] + traces[1]
    return _result(p, q, trace, mahalanobis(tril, q.loc - p.loc))


@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _to_low_rank(p: Any, q: Any) -> Tensor:
    _same_events(p, q)
    solved, inverse = q._solved(), q._unbroadcasted_cov_diag.rsqrt().unsqueeze(-1)
    traces = [_squares(x * inverse) - _squares(solved @ x) for x in _roots(p)]
    trace = traces[0] if len(traces) == 1 else traces[0] + traces[1]
    return _result(p, q, trace, q._mahalanobis(q.loc - p.loc))
