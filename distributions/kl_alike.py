"""Divergences between distributions of one family.

Source where no other is named: M. Gil, On Rényi divergence measures for continuous alphabet sources (2011).
"""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.gradients import grad
from tilegrad.autograd.mode import enable_grad
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions.bernoulli import Bernoulli
from tilegrad.distributions.beta import Beta
from tilegrad.distributions.binomial import Binomial
from tilegrad.distributions.categorical import Categorical
from tilegrad.distributions.cauchy import Cauchy
from tilegrad.distributions.continuous_bernoulli import ContinuousBernoulli
from tilegrad.distributions.dirichlet import Dirichlet
from tilegrad.distributions.exp_family import ExponentialFamily
from tilegrad.distributions.exponential import Exponential
from tilegrad.distributions.gamma import Gamma
from tilegrad.distributions.geometric import Geometric
from tilegrad.distributions.gumbel import Gumbel
from tilegrad.distributions.half_normal import HalfNormal
from tilegrad.distributions.independent import Independent
from tilegrad.distributions.kl import kl_divergence, register_kl
from tilegrad.distributions.laplace import Laplace
from tilegrad.distributions.normal import Normal
from tilegrad.distributions.one_hot_categorical import OneHotCategorical
from tilegrad.distributions.pareto import Pareto
from tilegrad.distributions.poisson import Poisson
from tilegrad.distributions.transformed_distribution import TransformedDistribution
from tilegrad.distributions.uniform import Uniform
from tilegrad.distributions.utils import euler_constant, sum_rightmost
from tilegrad.nn import functional as F


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Any, q: Any) -> Tensor:
    ones = p.probs * (F.softplus(-q.logits) - F.softplus(-p.logits))
    ones = ones.masked_fill(q.probs == 0, math.inf).masked_fill(p.probs == 0, 0.0)
    zeros = (1 - p.probs) * (F.softplus(q.logits) - F.softplus(p.logits))
    zeros = zeros.masked_fill(q.probs == 1, math.inf).masked_fill(p.probs == 1, 0.0)
    return ones + zeros


@register_kl(Beta, Beta)
def _beta(p: Any, q: Any) -> Tensor:
    p1, p0, q1, q0 = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    of_q = q1.lgamma() + q0.lgamma() + (p1 + p0).lgamma()
    of_p = p1.lgamma() + p0.lgamma() + (q1 + q0).lgamma()
    slopes = (p1 - q1) * fn.digamma(p1) + (p0 - q0) * fn.digamma(p0)
    both: Tensor = of_q - of_p + slopes + (q1 + q0 - (p1 + p0)) * fn.digamma(p1 + p0)
    return both


@register_kl(Binomial, Binomial)
def _binomial(p: Any, q: Any) -> Tensor:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    of_trial = p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p()
    return (p.total_count * of_trial).masked_fill(p.total_count > q.total_count, math.inf)


@register_kl(Categorical, Categorical)
def _categorical(p: Any, q: Any) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    return terms.masked_fill(q.probs == 0, math.inf).masked_fill(p.probs == 0, 0.0).sum(-1)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: Any, q: Any) -> Tensor:
    of_p = p._cont_bern_log_norm() + fn.log1p(-p.probs)
    of_q = q._cont_bern_log_norm() + fn.log1p(-q.probs)
    result: Tensor = p.mean * (p.logits - q.logits) + of_p - of_q
    return result


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    constant = a.sum(-1).lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    slopes = a.digamma() - a.sum(-1).digamma().unsqueeze(-1)
    result: Tensor = constant + ((a - b) * slopes).sum(-1)
    return result


@register_kl(Exponential, Exponential)
def _exponential(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    result: Tensor = ratio - ratio.log() - 1
    return result


@register_kl(ExponentialFamily, ExponentialFamily)
def _family(p: Any, q: Any) -> Tensor:
    """The divergence of Bregman of the normalizers' logarithms."""
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot be computed using "
            "Bregman divergences"
        )
    with enable_grad():
        params = [x.detach().requires_grad_() for x in p._natural_params]
        normalizer = p._log_normalizer(*params)
        slopes = grad([normalizer.sum()], params, create_graph=True)
    result: Tensor = q._log_normalizer(*q._natural_params) - normalizer
    for of_p, of_q, slope in zip(params, q._natural_params, slopes, strict=True):
        result = result - sum_rightmost((of_q - of_p) * slope, len(q.event_shape))
    return result


@register_kl(Gamma, Gamma)
def _gamma(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    result: Tensor = (
        b * (p.rate / q.rate).log()
        + (fn.lgamma(b) - fn.lgamma(a))
        + (a - b) * fn.digamma(a)
        + (q.rate - p.rate) * (a / p.rate)
    )
    return result


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Any, q: Any) -> Tensor:
    ratio = p.scale / q.scale
    shift = (q.loc - p.loc) / q.scale
    tail = fn.exp(shift + (1 + ratio).lgamma())
    return -ratio.log() - shift + ratio * euler_constant + tail - (1 + euler_constant)


@register_kl(Geometric, Geometric)
def _geometric(p: Any, q: Any) -> Tensor:
    result: Tensor = -p.entropy() - fn.log1p(-q.probs) / p.probs - q.logits
    return result


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: Any, q: Any) -> Tensor:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Any, q: Any) -> Tensor:
    ratio = p.scale / q.scale
    off = (p.loc - q.loc).abs()
    result: Tensor = off / q.scale - ratio.log() + ratio * fn.exp(-off / p.scale) - 1
    return result


@register_kl(Normal, Normal)
def _normal(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    result: Tensor = 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())
    return result


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_categorical(p: Any, q: Any) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> Tensor:
    ratio = q.alpha / p.alpha
    result = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return result.masked_fill(p.scale < q.scale, math.inf)


@register_kl(Poisson, Poisson)
def _poisson(p: Any, q: Any) -> Tensor:
    result: Tensor = p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)
    return result


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("kl_divergence: transforms or shapes of events differ")
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Uniform, Uniform)
def _uniform(p: Any, q: Any) -> Tensor:
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return result.masked_fill((q.low > p.low) | (q.high < p.high), math.inf)


@register_kl(Independent, Independent)
def _independent(p: Any, q: Any) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("kl_divergence: reinterpreted_batch_ndims differ")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Any, q: Any) -> Tensor:
    """F. Chyzak, F. Nielsen, arXiv 1905.10965."""
    apart = (p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)
    result: Tensor = apart.log() - (4 * p.scale * q.scale).log()
    return result
