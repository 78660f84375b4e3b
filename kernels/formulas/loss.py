"""Loss formulas: the loss of one element x against its target y, before any reduction."""

from __future__ import annotations

import math

from tilegrad.kernels.formulas.arithmetic import clamp_min, sign
from tilegrad.kernels.formulas.declared import declare
from tilegrad.kernels.formulas.formula import Formula, table
from tilegrad.kernels.formulas.transcendental import exp, log, log1p, softplus
from tilegrad.kernels.function import inline


@inline
def mse(x, y):
    """(x - y)^2"""
    d = x - y
    return d * d


@inline
def l1(x, y):
    """|x - y|"""
    return abs(x - y)


@inline
def l1_grad_x(g, x, y):
    """g times the sign of x - y; NaN where g is infinite or NaN and there is no sign, as PyTorch's."""
    return g * sign(x - y)


@inline
def l1_grad_y(g, x, y):
    """g times the sign of y - x."""
    return g * sign(y - x)


@inline
def smooth_l1(x, y, beta):
    """(x - y)^2 / (2 beta) where |x - y| < beta, else |x - y| - beta / 2 (Girshick 2015)."""
    T = type(x)
    d = x - y
    size = abs(d)
    return T(0.5) * d * d / beta if size < beta else size - T(0.5) * beta


@inline
def huber(x, y, delta):
    """(x - y)^2 / 2 where |x - y| <= delta, else delta (|x - y| - delta / 2) (Huber 1964)."""
    T = type(x)
    d = x - y
    size = abs(d)
    return T(0.5) * d * d if size <= delta else delta * (size - T(0.5) * delta)


@inline
def bce(x, y):
    """-y log(x) - (1 - y) log(1 - x), with logarithms of at least -100."""
    T = type(x)
    hit, miss = log(x), log1p(-x)
    hit = T(-100) if hit < T(-100) else hit
    miss = T(-100) if miss < T(-100) else miss
    return (y - T(1)) * miss - y * hit


@inline
def bce_grad_x(x, y):
    """(x - y) / (x (1 - x)), with a denominator of at least 1e-12."""
    T = type(x)
    spread = (T(1) - x) * x
    return (x - y) / (T(1e-12) if spread < T(1e-12) else spread)


@inline
def bce_logits(x, y):
    """-y log(sigmoid(x)) - (1 - y) log(sigmoid(-x))"""
    T = type(x)
    return (T(1) - y) * x + softplus(-x)


@inline
def bce_logits_weighted(x, y, w):
    """-w y log(sigmoid(x)) - (1 - y) log(sigmoid(-x))"""
    T = type(x)
    return (T(1) - y) * x + ((w - T(1)) * y + T(1)) * softplus(-x)


@inline
def divergence(x, y):
    """y (log(y) - x) for a log-probability x; 0 where y is 0."""
    T = type(x)
    own = T(0) if y == T(0) else y * log(y)
    return own - y * x


@inline
def divergence_log(x, y):
    """e^y (y - x) for log-probabilities x and y."""
    return exp(y) * (y - x)


@inline
def hinge(x, y, margin):
    """x where y = 1, max(0, margin - x) where y = -1, of any other y both."""
    T = type(x)
    far = clamp_min(margin - x, T(0))
    return (far if y != T(1) else T(0)) + (x if y != T(-1) else T(0))


@inline
def ranking(x, z, y, margin):
    """max(0, margin - y (x - z))"""
    T = type(x)
    return clamp_min(margin - y * (x - z), T(0))


@inline
def hinge_grad_x(g, x, y, margin):
    """Of both parts, each g itself or nothing of it: an infinite g stays out of what is cut off."""
    T = type(x)
    far = -g if margin - x >= T(0) else T(0)
    return (far if y != T(1) else T(0)) + (g if y != T(-1) else T(0))


@inline
def ranked(g, x, z, y, margin):
    """g where the loss is not cut off, else 0."""
    T = type(x)
    return g if margin - y * (x - z) >= T(0) else T(0)


@inline
def ranking_grad_x(g, x, z, y, margin):
    """-g y, of what is not cut off."""
    return -(ranked(g, x, z, y, margin) * y)


@inline
def ranking_grad_z(g, x, z, y, margin):
    """g y, of what is not cut off."""
    return ranked(g, x, z, y, margin) * y


@inline
def ranking_grad_y(g, x, z, y, margin):
    """-g (x - z), of what is not cut off."""
    return -(ranked(g, x, z, y, margin) * (x - z))


@inline
def soft_margin(x, y):
    """log(1 + e^(-y x))"""
    return softplus(-(y * x))


@inline
def poisson_log(x, y):
    """e^x - y x"""
    return exp(x) - y * x


@inline
def poisson_plain(x, y, eps):
    """x - y log(x + eps)"""
    return x - y * log(x + eps)


@inline
def stirling(y):
    """Stirling's approximation of log(y!) where y > 1, else 0."""
    T = type(y)
    return y * log(y) - y + T(0.5) * log(T(2 * math.pi) * y) if y > T(1) else T(0)


@inline
def at_least(x, low):
    """x, or ``low`` where that is larger; its derivative is 1 everywhere."""
    return low if x < low else x


@inline
def gaussian(x, y, v, eps):
    """(log v + (x - y)^2 / v) / 2 for a variance of at least eps, which stops no gradient."""
    T = type(x)
    d = x - y
    kept = at_least(v, eps)
    return T(0.5) * (log(kept) + d * d / kept)


declare(at_least, x=1, low=0)
declare(bce, x=bce_grad_x)
declare(l1, x=l1_grad_x, y=l1_grad_y)
declare(hinge, x=hinge_grad_x)
declare(ranking, x=ranking_grad_x, z=ranking_grad_z, y=ranking_grad_y)

_PAIR = ((-3.0, 3.0), (-3.0, 3.0))
_UNIT = (0.1, 0.9)

TABLE = table(
    Formula("mse", mse, kind="same", excludes=("bool",), domain=_PAIR, caller="mse_loss"),
    Formula(
        "l1",
        l1,
        kind="same",
        excludes=("bool",),
        domain=((1.0, 3.0), (-3.0, 0.9)),
        caller="l1_loss",
    ),
    Formula(
        "smooth_l1",
        smooth_l1,
        params=1,
        domain=((0.1, 0.9), (-0.8, 0.0)),
        samples=(2.0,),
        caller="smooth_l1_loss",
    ),
    Formula(
        "huber",
        huber,
        params=1,
        domain=((2.0, 3.0), (-3.0, 0.5)),
        samples=(1.2,),
        caller="huber_loss",
    ),
    Formula("bce", bce, domain=(_UNIT, _UNIT), caller="binary_cross_entropy"),
    Formula(
        "bce_logits",
        bce_logits,
        domain=((-3.0, 3.0), _UNIT),
        caller="binary_cross_entropy_with_logits",
    ),
    Formula(
        "bce_logits_weighted",
        bce_logits_weighted,
        domain=((-3.0, 3.0), _UNIT, (0.5, 2.0)),
        caller="binary_cross_entropy_with_logits",
    ),
    Formula("divergence", divergence, domain=((-3.0, 0.0), _UNIT), caller="kl_div"),
    Formula("divergence_log", divergence_log, domain=((-3.0, 0.0), (-3.0, 0.0)), caller="kl_div"),
    Formula(
        "hinge",
        hinge,
        params=1,
        masks=True,
        domain=((0.1, 0.9), (-1.0, -1.0)),
        samples=(1.0,),
        caller="hinge_embedding_loss",
    ),
    Formula(
        "ranking",
        ranking,
        params=1,
        domain=((1.0, 2.0), (2.5, 3.0), (0.5, 1.0)),
        samples=(0.3,),
        caller="margin_ranking_loss",
    ),
    Formula("soft_margin", soft_margin, domain=_PAIR, caller="soft_margin_loss"),
    Formula("poisson_log", poisson_log, domain=_PAIR, caller="poisson_nll_loss"),
    Formula(
        "poisson_plain",
        poisson_plain,
        params=1,
        domain=((0.5, 3.0), (-3.0, 3.0)),
        samples=(1e-3,),
        caller="poisson_nll_loss",
    ),
    Formula("stirling", stirling, domain=((1.5, 3.0),), caller="poisson_nll_loss"),
    Formula(
        "gaussian",
        gaussian,
        params=1,
        domain=(*_PAIR, (0.5, 2.0)),
        samples=(1e-3,),
        caller="gaussian_nll_loss",
    ),
)
