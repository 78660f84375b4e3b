"""One optimizer step for one element of a parameter, each rule once for every device.

A rule is three scalar functions. ``advance(*scalars, *hypers)`` gives the parameter's scalar state
(its step count, …) after the step; ``prepare(*scalars, *hypers)`` what all elements of the
parameter share, in float64, from the advanced scalars (from those before, where ``late``); ``update(p, g, *state, *prepared)`` the new
``p`` and state, in the parameter's dtype. Formulas and the order of operations are PyTorch's.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass

import numpy as np

from tilegrad.kernels.formulas.primitives import fma, select, sqrt
from tilegrad.kernels.function import DeviceFunction, inline


@dataclass(frozen=True, eq=False)
class Update:
    """A rule.

    Attributes:
        prepare, update, advance: see the module.
        state: names of the state arrays, shaped like the parameter.
        scalars: names of the scalar state, one float32 each.
        late: the scalars advance after the elements, which are made of the old ones.
    """

    prepare: DeviceFunction
    update: DeviceFunction
    state: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    advance: DeviceFunction | None = None
    late: bool = False

    @property
    def hypers(self) -> tuple[str, ...]:
        """Names of the hyperparameters, in the order the functions take them."""
        return tuple(inspect.signature(self.prepare.function).parameters)[len(self.scalars) :]

    @property
    def prepared(self) -> int:
        """How many values ``prepare`` returns."""
        names = inspect.signature(self.update.function).parameters
        return len(names) - 2 - len(self.state)


@inline
def lerp(x, y, w):
    """x + w (y - x), counted from y where w is at least one half, as PyTorch's ``lerp``."""
    way = y - x
    return select(w < type(w)(0.5), fma(w, way, x), fma(w - type(w)(1), way, y))


@inline
def decayed(g, p, decay):
    """g + decay p; without decay g, whatever p: 0 times infinity would be NaN."""
    return select(decay != 0, fma(decay, p, g), g)


@inline
def larger(x, y):
    """The larger one; NaN if one of them is."""
    return select((x > y) | (x != x), x, y)


# ------------------------------------------------------------------------- gradient descent


@inline
def _sgd_prepare(lr, weight_decay, sign):
    return -lr, weight_decay, sign


@inline
def sgd(p, g, rate, decay, sign):
    """p - lr (g + decay p)"""
    g = decayed(sign * g, p, decay)
    return (fma(rate, g, p),)


@inline
def _momentum_prepare(lr, weight_decay, sign, momentum, keep, nesterov):
    own = 1.0 if nesterov else 0.0
    return -lr, weight_decay, sign, momentum, keep, own, momentum if nesterov else 1.0


@inline
def sgd_momentum(p, g, b, rate, decay, sign, momentum, keep, own, ahead):
    """b = momentum b + keep g; then a step along b, or with Nesterov along g + momentum b.

    Sutskever et al. 2013, in the form without the rate in b.
    """
    g = decayed(sign * g, p, decay)
    b = fma(momentum, b, keep * g)
    return fma(rate, select(own != 0, fma(ahead, b, g), b), p), b


# ------------------------------------------------------------------------------------- Adam


@inline
def _adam_advance(step, lr, beta1, beta2, eps, coupled, decoupled, sign):
    return (step + 1.0,)


@inline
def _adam_prepare(step, lr, beta1, beta2, eps, coupled, decoupled, sign):
    first, second = 1.0 - beta1**step, 1.0 - beta2**step
    rate, scale = -lr / first, 1.0 / math.sqrt(second)
    return rate, scale, 1.0 - beta1, beta2, 1.0 - beta2, eps, coupled, 1.0 - lr * decoupled, sign


@inline
def adam(p, g, m, v, rate, scale, c1, beta2, c2, eps, coupled, shrink, sign):
    """Kingma & Ba 2015; ``shrink`` is the decoupled weight decay of Loshchilov & Hutter 2019."""
    p = p * shrink
    g = decayed(sign * g, p, coupled)
    m = lerp(m, g, c1)
    v = fma(c2 * g, g, v * beta2)
    return fma(rate, m / fma(sqrt(v), scale, eps), p), m, v


@inline
def adam_amsgrad(p, g, m, v, top, rate, scale, c1, beta2, c2, eps, coupled, shrink, sign):
    """Adam with the largest v so far in place of v (Reddi et al. 2018)."""
    p = p * shrink
    g = decayed(sign * g, p, coupled)
    m = lerp(m, g, c1)
    v = fma(c2 * g, g, v * beta2)
    top = larger(v, top)
    return fma(rate, m / fma(sqrt(top), scale, eps), p), m, v, top


@inline
def _adamax_prepare(step, lr, beta1, beta2, eps, coupled, decoupled, sign):
    return -lr / (1.0 - beta1**step), 1.0 - beta1, beta2, eps, coupled, sign


@inline
def adamax(p, g, m, u, rate, c1, beta2, eps, coupled, sign):
    """Adam by the infinity norm (Kingma & Ba 2015, section 7.1)."""
    g = decayed(sign * g, p, coupled)
    m = lerp(m, g, c1)
    u = larger(abs(g) + eps, u * beta2)
    return fma(rate, m / u, p), m, u


@inline
def _radam_prepare(step, lr, beta1, beta2, eps, coupled, decoupled, sign):
    first, power = 1.0 - beta1**step, beta2**step
    longest = 2.0 / (1.0 - beta2) - 1.0
    length = longest - 2.0 * step * power / (1.0 - power)
    ratio = (length - 4.0) * (length - 2.0) * longest
    ratio /= (longest - 4.0) * (longest - 2.0) * length
    rectified = length > 5.0
    scale = math.sqrt(ratio * (1.0 - power)) if rectified else 0.0
    plain = 0.0 if rectified else 1.0
    shrink = 1.0 - lr * decoupled
    return -lr / first, scale, plain, 1.0 - beta1, beta2, 1.0 - beta2, eps, coupled, shrink, sign


@inline
def radam(p, g, m, v, rate, scale, plain, c1, beta2, c2, eps, coupled, shrink, sign):
    """Adam with its variance rectified (Liu et al. 2020)."""
    p = p * shrink
    g = decayed(sign * g, p, coupled)
    m = lerp(m, g, c1)
    v = fma(c2 * g, g, v * beta2)
    factor = select(plain != 0, plain, scale / (sqrt(v) + eps))
    return fma(rate * m, factor, p), m, v


@inline
def _nadam_mu(step, beta1, momentum_decay):
    return beta1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))


@inline
def _nadam_advance(
    step, mu_product, lr, beta1, beta2, eps, coupled, decoupled, sign, momentum_decay
):
    step = step + 1.0
    mu = np.float32(_nadam_mu(step, beta1, momentum_decay))  # as PyTorch rounds it
    return step, mu_product * mu


@inline
def _nadam_prepare(
    step, mu_product, lr, beta1, beta2, eps, coupled, decoupled, sign, momentum_decay
):
    mu = _nadam_mu(step, beta1, momentum_decay)
    ahead = _nadam_mu(step + 1.0, beta1, momentum_decay)
    own = -lr * (1.0 - mu) / (1.0 - mu_product)
    past = -lr * ahead / (1.0 - mu_product * ahead)
    scale, shrink = 1.0 / (1.0 - beta2**step), 1.0 - lr * decoupled
    return own, past, scale, 1.0 - beta1, beta2, 1.0 - beta2, eps, coupled, shrink, sign


@inline
def nadam(p, g, m, v, own, past, scale, c1, beta2, c2, eps, coupled, shrink, sign):
    """Adam with Nesterov momentum (Dozat 2016)."""
    p = p * shrink
    g = decayed(sign * g, p, coupled)
    m = lerp(m, g, c1)
    v = fma(c2 * g, g, v * beta2)
    below = sqrt(v * scale) + eps
    return fma(past, m / below, fma(own, g / below, p)), m, v


# ----------------------------------------------------------------- rates scaled per element


@inline
def _count(step, lr, weight_decay, sign, keep, eps):
    return (step + 1.0,)


@inline
def _scaled_prepare(step, lr, weight_decay, sign, keep, eps):
    return -lr, weight_decay, sign, keep, 1.0 - keep, eps


@inline
def _count_momentum(step, lr, weight_decay, sign, keep, eps, momentum):
    return (step + 1.0,)


@inline
def _momentum_scaled_prepare(step, lr, weight_decay, sign, keep, eps, momentum):
    return -lr, weight_decay, sign, keep, 1.0 - keep, eps, momentum


@inline
def rmsprop(p, g, s, rate, decay, sign, keep, rest, eps):
    """The gradient over the root of its running mean square (Tieleman & Hinton 2012)."""
    g = decayed(sign * g, p, decay)
    s = fma(rest * g, g, s * keep)
    return fma(rate, g / (sqrt(s) + eps), p), s


@inline
def rmsprop_centered(p, g, s, a, rate, decay, sign, keep, rest, eps):
    """RMSprop by the running variance (Graves 2013)."""
    g = decayed(sign * g, p, decay)
    s = fma(rest * g, g, s * keep)
    a = lerp(a, g, rest)
    return fma(rate, g / (sqrt(fma(-a, a, s)) + eps), p), s, a


@inline
def rmsprop_momentum(p, g, s, b, rate, decay, sign, keep, rest, eps, momentum):
    """RMSprop with momentum."""
    g = decayed(sign * g, p, decay)
    s = fma(rest * g, g, s * keep)
    b = fma(momentum, b, g / (sqrt(s) + eps))
    return fma(rate, b, p), s, b


@inline
def rmsprop_centered_momentum(p, g, s, a, b, rate, decay, sign, keep, rest, eps, momentum):
    """RMSprop by the running variance with momentum (Graves 2013)."""
    g = decayed(sign * g, p, decay)
    s = fma(rest * g, g, s * keep)
    a = lerp(a, g, rest)
    b = fma(momentum, b, g / (sqrt(fma(-a, a, s)) + eps))
    return fma(rate, b, p), s, a, b


@inline
def adadelta(p, g, s, d, rate, decay, sign, keep, rest, eps):
    """Steps in the units of the parameter (Zeiler 2012)."""
    g = decayed(sign * g, p, decay)
    s = fma(rest * g, g, s * keep)
    delta = sqrt(d + eps) / sqrt(s + eps) * g
    d = fma(rest * delta, delta, d * keep)
    return fma(rate, delta, p), s, d


@inline
def _adagrad_prepare(step, lr, weight_decay, sign, lr_decay, eps):
    return -lr / (1.0 + (step - 1.0) * lr_decay), weight_decay, sign, eps


@inline
def adagrad(p, g, s, rate, decay, sign, eps):
    """The gradient over the root of the sum of its squares (Duchi et al. 2011)."""
    g = decayed(sign * g, p, decay)
    s = fma(g, g, s)
    return fma(rate, g / (sqrt(s) + eps), p), s


# --------------------------------------------------------------- averages, and signs alone


@inline
def _asgd_advance(step, eta, mu, lr, weight_decay, sign, lambd, alpha, after):
    step = step + 1.0
    past = step - after
    return step, lr / (1.0 + lambd * lr * step) ** alpha, 1.0 / (past if past > 1.0 else 1.0)


@inline
def _asgd_prepare(step, eta, mu, lr, weight_decay, sign, lambd, alpha, after):
    return -eta, weight_decay, sign, 1.0 - lambd * eta, mu


@inline
def asgd(p, g, a, rate, decay, sign, shrink, mu):
    """A step of a falling rate; ``a`` is the average of the later steps (Polyak & Juditsky 1992)."""
    g = decayed(sign * g, p, decay)
    p = fma(rate, g, p * shrink)
    return p, select(mu != 1, fma(p - a, mu, a), p)


@inline
def _rprop_advance(step, lr, sign, less, more, low, high):
    return (step + 1.0,)


@inline
def _rprop_prepare(step, lr, sign, less, more, low, high):
    return sign, less, more, low, high


@inline
def rprop(p, g, last, size, sign, less, more, low, high):
    """Steps by the gradient's sign; where it turned, a smaller one next (Riedmiller & Braun 1993)."""
    g = sign * g
    turn = g * last
    # NaN, where nothing is compared as true, stays
    factor = select(turn > 0, more, select(turn < 0, less, select(turn == 0, type(p)(1), turn)))
    size = size * factor
    size = select(size < low, low, size)
    size = select(size > high, high, size)
    g = select(turn < 0, type(p)(0), g)
    way = select(g > 0, type(p)(1), select(g < 0, type(p)(-1), g))
    return fma(-way, size, p), g, size


_STEP = ("step",)
_AVERAGES = ("exp_avg", "exp_avg_sq")
_MEAN, _BUFFER = ("square_avg",), ("momentum_buffer",)
_CENTERED = ("square_avg", "grad_avg")
_PLAIN, _MOMENTUM = (_STEP, _count), (_STEP, _count_momentum)
_ADAM = (_STEP, _adam_advance)

UPDATES = {
    "sgd": Update(_sgd_prepare, sgd),
    "sgd_momentum": Update(_momentum_prepare, sgd_momentum, _BUFFER),
    "adam": Update(_adam_prepare, adam, _AVERAGES, *_ADAM),
    "adam_amsgrad": Update(_adam_prepare, adam_amsgrad, (*_AVERAGES, "max_exp_avg_sq"), *_ADAM),
    "adamax": Update(_adamax_prepare, adamax, ("exp_avg", "exp_inf"), *_ADAM),
    "radam": Update(_radam_prepare, radam, _AVERAGES, *_ADAM),
    "nadam": Update(_nadam_prepare, nadam, _AVERAGES, ("step", "mu_product"), _nadam_advance),
    "rmsprop": Update(_scaled_prepare, rmsprop, _MEAN, *_PLAIN),
    "rmsprop_centered": Update(_scaled_prepare, rmsprop_centered, _CENTERED, *_PLAIN),
    "rmsprop_momentum": Update(
        _momentum_scaled_prepare, rmsprop_momentum, _MEAN + _BUFFER, *_MOMENTUM
    ),
    "rmsprop_centered_momentum": Update(
        _momentum_scaled_prepare, rmsprop_centered_momentum, _CENTERED + _BUFFER, *_MOMENTUM
    ),
    "adadelta": Update(_scaled_prepare, adadelta, ("square_avg", "acc_delta"), *_PLAIN),
    "adagrad": Update(_adagrad_prepare, adagrad, ("sum",), *_PLAIN),
    "asgd": Update(_asgd_prepare, asgd, ("ax",), ("step", "eta", "mu"), _asgd_advance, late=True),
    "rprop": Update(_rprop_prepare, rprop, ("prev", "step_size"), _STEP, _rprop_advance),
}
