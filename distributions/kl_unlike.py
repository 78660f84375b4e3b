"""Divergences between distributions of different families, each from the means that the density of the
second asks for.
"""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions.bernoulli import Bernoulli
from tilegrad.distributions.beta import Beta
from tilegrad.distributions.binomial import Binomial
from tilegrad.distributions.continuous_bernoulli import ContinuousBernoulli
from tilegrad.distributions.exponential import Exponential
from tilegrad.distributions.gamma import Gamma
from tilegrad.distributions.gumbel import Gumbel
from tilegrad.distributions.kl import Divergence, register_kl
from tilegrad.distributions.laplace import Laplace
from tilegrad.distributions.normal import Normal
from tilegrad.distributions.pareto import Pareto
from tilegrad.distributions.poisson import Poisson
from tilegrad.distributions.uniform import Uniform
from tilegrad.distributions.utils import euler_constant

# where the first has draws that the second cannot have: infinite, in the shape of the first's parameter
_INFINITE = {
    (Beta, "concentration1"): (Pareto,),
    (ContinuousBernoulli, "probs"): (Pareto,),
    (Exponential, "rate"): (Beta, ContinuousBernoulli, Pareto, Uniform),
    (Gamma, "concentration"): (Beta, ContinuousBernoulli, Pareto, Uniform),
    (Gumbel, "loc"): (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    (Laplace, "loc"): (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    (Normal, "loc"): (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    (Pareto, "scale"): (Beta, ContinuousBernoulli, Uniform),
    (Poisson, "rate"): (Bernoulli, Binomial),
}


def _infinite(name: str) -> Divergence:
    return lambda p, q: fn.full_like(getattr(p, name), math.inf)


for (_first, _name), _seconds in _INFINITE.items():
    for _second in _seconds:
        register_kl(_first, _second)(_infinite(_name))


def _log_gamma_constant(q: Any) -> Tensor:
    """The logarithm of what the density of :class:`Gamma` is divided by."""
    constant: Tensor = q.concentration.lgamma() - q.concentration * q.rate.log()
    return constant


def _to_normal(entropy: Tensor, mean: Tensor, second: Tensor, q: Any) -> Tensor:
    """To a normal distribution, of a first and a second moment."""
    square = q.scale.pow(2)
    constant = 0.5 * (2 * math.pi * square).log()
    squares = (second / 2 - q.loc * mean + q.loc.pow(2) / 2) / square
    result: Tensor = constant + squares - entropy
    return result


# ------------------------------------------------------------------------------- from [0, 1]


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> Tensor:
    result: Tensor = -p.entropy() - (p.probs * q.rate.log() - q.rate)
    return result


def _to_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    result: Tensor = -p.entropy() - p.mean * q.logits - fn.log1p(-q.probs) - q._cont_bern_log_norm()
    return result


register_kl(Beta, ContinuousBernoulli)(_to_continuous_bernoulli)


@register_kl(Beta, Exponential)
@register_kl(ContinuousBernoulli, Exponential)
@register_kl(Gamma, Exponential)
def _to_exponential(p: Any, q: Any) -> Tensor:
    result: Tensor = -p.entropy() - q.rate.log() + q.rate * p.mean
    return result


@register_kl(Beta, Gamma)
def _beta_gamma(p: Any, q: Any) -> Tensor:
    log_mean = p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    result: Tensor = (
        -p.entropy() + _log_gamma_constant(q) - (q.concentration - 1) * log_mean + q.rate * p.mean
    )
    return result


@register_kl(Beta, Normal)
@register_kl(ContinuousBernoulli, Normal)
def _bounded_normal(p: Any, q: Any) -> Tensor:
    return _to_normal(p.entropy(), p.mean, p.variance + p.mean.pow(2), q)


@register_kl(Beta, Uniform)
def _beta_uniform(p: Any, q: Any) -> Tensor:
    result = -p.entropy() + (q.high - q.low).log()
    return result.masked_fill((q.low > 0) | (q.high < 1), math.inf)


@register_kl(ContinuousBernoulli, Uniform)
def _continuous_bernoulli_uniform(p: Any, q: Any) -> Tensor:
    result = -p.entropy() + (q.high - q.low).log()
    return result.masked_fill((q.low >= 0) | (q.high <= 1), math.inf)  # as PyTorch, at the ends too


# --------------------------------------------------------------------- from [0, inf) and beyond


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    constant = q.concentration.lgamma() + q.concentration * euler_constant
    return ratio - q.concentration * ratio.log() + constant - (1 + euler_constant)


@register_kl(Exponential, Gumbel)
def _exponential_gumbel(p: Any, q: Any) -> Tensor:
    product = p.rate * q.scale
    shift = q.loc / q.scale
    tail = fn.exp(shift) * product / (product + 1)
    return product.log() - 1 - shift + tail + product.reciprocal()


@register_kl(Exponential, Normal)
def _exponential_normal(p: Any, q: Any) -> Tensor:
    return _to_normal(p.entropy(), p.mean, 2 * p.mean.pow(2), q)


@register_kl(Gamma, Gumbel)
def _gamma_gumbel(p: Any, q: Any) -> Tensor:
    a, product, shift = p.concentration, p.rate * q.scale, q.loc / q.scale
    of_gamma = (a - 1) * a.digamma() - a.lgamma() - a
    tail = fn.exp(shift) * (1 + product.reciprocal()).pow(-a)
    return of_gamma + product.log() + a / product + tail - shift


@register_kl(Gamma, Normal)
def _gamma_normal(p: Any, q: Any) -> Tensor:
    return _to_normal(p.entropy(), p.mean, p.variance + p.mean.pow(2), q)


@register_kl(Gumbel, Normal)
def _gumbel_normal(p: Any, q: Any) -> Tensor:
    return _to_normal(p.entropy(), p.mean, p.variance + p.mean.pow(2), q)


@register_kl(Laplace, Normal)
def _laplace_normal(p: Any, q: Any) -> Tensor:
    return _to_normal(p.entropy(), p.mean, p.variance + p.mean.pow(2), q)


@register_kl(Normal, Gumbel)
def _normal_gumbel(p: Any, q: Any) -> Tensor:
    mean, shift = p.loc / q.scale, q.loc / q.scale
    square = (p.scale / q.scale).pow(2)
    tail = fn.exp(-mean + 0.5 * square + shift)
    return -0.5 * square.log() + mean - shift + tail - 0.5 * (1 + math.log(2 * math.pi))


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Tensor:
    off = p.loc - q.loc
    z = off / p.scale
    spread = math.sqrt(2 / math.pi) * p.scale * fn.exp(-0.5 * z.pow(2))
    mean = spread + off * fn.erf(math.sqrt(0.5) * z)  # of |x - q.loc|
    constant = 0.5 * (1 + math.log(0.5 * math.pi))
    return mean / q.scale - fn.log(p.scale / q.scale) - constant


@register_kl(Pareto, Exponential)
def _pareto_exponential(p: Any, q: Any) -> Tensor:
    product = p.scale * q.rate
    tail = p.alpha * product / (p.alpha - 1)
    result = (p.alpha / product).log() - p.alpha.reciprocal() + tail - 1
    return result.masked_fill(p.alpha <= 1, math.inf)


@register_kl(Pareto, Gamma)
def _pareto_gamma(p: Any, q: Any) -> Tensor:
    log_mean = p.scale.log() + p.alpha.reciprocal()
    tail = q.rate * p.alpha * p.scale / (p.alpha - 1)
    result = (
        p.alpha.log()
        - log_mean
        + _log_gamma_constant(q)
        + (1 - q.concentration) * log_mean
        + tail
        - 1
    )
    return result.masked_fill(p.alpha <= 1, math.inf)


@register_kl(Pareto, Normal)
def _pareto_normal(p: Any, q: Any) -> Tensor:
    step = p.scale / (p.alpha - 1)
    variance = p.alpha * step.pow(2) / (p.alpha - 2)
    squares = (variance + (p.alpha * step - q.loc).pow(2)) / (2 * q.scale.pow(2))
    constant = (math.sqrt(2 * math.pi) * q.scale * p.alpha / p.scale).log()
    result = constant - p.alpha.reciprocal() + squares - 1
    return result.masked_fill(p.alpha <= 2, math.inf)


# ------------------------------------------------------------------------- from [low, high)


def _log_mean(low: Any, high: Any) -> Tensor:
    """The mean of log x over [low, high)."""
    width = high - low
    mean: Tensor = (fn.xlogy(high, high) - fn.xlogy(low, low) - width) / width
    return mean


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> Tensor:
    a, b = q.concentration1, q.concentration0
    below = (a - 1) * _log_mean(p.low, p.high)
    above = (b - 1) * _log_mean(1 - p.high, 1 - p.low)
    constant = a.lgamma() + b.lgamma() - (a + b).lgamma()
    result = constant - fn.log(p.high - p.low) - below - above
    return result.masked_fill((p.high > 1) | (p.low < 0), math.inf)


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    result = _to_continuous_bernoulli(p, q)
    return result.masked_fill((p.high >= 1) | (p.low <= 0), math.inf)  # as PyTorch, at the ends too


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Any, q: Any) -> Tensor:
    result = q.rate * (p.high + p.low) / 2 - ((p.high - p.low) * q.rate).log()
    return result.masked_fill(p.low < 0, math.inf)


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Any, q: Any) -> Tensor:
    power = (1 - q.concentration) * _log_mean(p.low, p.high)
    tail = q.rate * (p.high + p.low) / 2
    result = -(p.high - p.low).log() + _log_gamma_constant(q) + power + tail
    return result.masked_fill(p.low < 0, math.inf)


@register_kl(Uniform, Gumbel)
def _uniform_gumbel(p: Any, q: Any) -> Tensor:
    share = q.scale / (p.high - p.low)
    high, low = (p.high - q.loc) / q.scale, (p.low - q.loc) / q.scale
    return share.log() + 0.5 * (high + low) - share * (fn.exp(-high) - fn.exp(-low))


@register_kl(Uniform, Normal)
def _uniform_normal(p: Any, q: Any) -> Tensor:
    return _to_normal(p.entropy(), p.mean, p.variance + p.mean.pow(2), q)


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Any, q: Any) -> Tensor:
    constant = (q.alpha * q.scale.pow(q.alpha) * (p.high - p.low)).log()
    result = _log_mean(p.low, p.high) * (q.alpha + 1) - constant
    return result.masked_fill(p.low < q.scale, math.inf)
