"""VJPs of reductions: what one element x gets from the gradient g of its row's result.

A chain of elementwise ops would hold a tensor of the input's size for each step; these hold one.
"""

from __future__ import annotations

from tilegrad.kernels.formulas.arithmetic import matches
from tilegrad.kernels.formulas.formula import Formula, table
from tilegrad.kernels.formulas.transcendental import exp, log
from tilegrad.kernels.function import inline


@inline
def magnitude_matches(x, y):
    """|x| = y, or both are NaN: whether x is what gave the infinite norm y of its row."""
    return matches(abs(x), y)


@inline
def norm_inf_vjp(g, x, end):
    """g with the sign of x where |x| is the extreme ``end`` of its row, else 0."""
    T = type(g)
    if abs(x) == end:
        return g if x > T(0) else (-g if x < T(0) else g * T(0))
    return T(0)


@inline
def aminmax_vjp(g, h, x, low, high):
    """g where x is the smallest of its row, and h where it is the largest."""
    T = type(g)
    return (g if matches(x, low) else T(0)) + (h if matches(x, high) else T(0))


@inline
def var_vjp(g, x, mean):
    """g (x - mean), the gradient of a variance."""
    return g * (x - mean)


@inline
def var_mean_vjp(g, h, x, mean):
    """g (x - mean) + h, the gradient of a variance and a mean."""
    return g * (x - mean) + h


@inline
def logsumexp_vjp(g, x, total):
    """g e^(x - total), the gradient of log(sum(e^x))."""
    return g * exp(x - total)


@inline
def mixture_vjp(x, whole, share, w):
    """whole e^x - share w, the gradient of -sum(w log_softmax) by the logits, given its logarithms x."""
    return whole * exp(x) - share * w


@inline
def norm_vjp(g, x, norm, p):
    """g sign(x) (|x| / norm)^(p - 1), the gradient of the p-norm; 0 where the norm is, and where x is beside
    a norm that is a number.
    """
    T = type(g)
    if norm == T(0):
        return T(0)
    if x == T(0):
        return T(0) * (g / norm if p > T(1) else g * norm)
    size = g * (abs(x) / norm) ** (p - T(1))
    return size if x > T(0) else -size


@inline
def log_share(g, total, sign):
    """log(sign g) - total, where that is a logarithm, else -inf; an empty sum's total counts as 0."""
    T = type(g)
    size = g * sign
    log_of = log(size if size > T(0) else T(1))
    least = log(T(0))
    return (log_of - (T(0) if total == least else total)) if size > T(0) else least


@inline
def logcumsumexp_vjp(share, x, sign):
    """sign e^(share + x), for the running sum ``share`` of :func:`log_share`."""
    return sign * exp(share + x)


_ANY = (-3.0, 3.0)

TABLE = table(
    Formula(
        "magnitude_matches", magnitude_matches, kind="compare", differentiable=False, caller="norm"
    ),
    Formula("norm_inf_vjp", norm_inf_vjp, domain=(_ANY, _ANY, (0.0, 3.0)), caller="norm"),
    Formula("aminmax_vjp", aminmax_vjp, domain=(_ANY,) * 5, caller="aminmax"),
    Formula("var_vjp", var_vjp, domain=(_ANY,) * 3, caller="var"),
    Formula("var_mean_vjp", var_mean_vjp, domain=(_ANY,) * 4, caller="var_mean"),
    Formula("logsumexp_vjp", logsumexp_vjp, domain=(_ANY,) * 3, caller="logsumexp"),
    Formula("mixture_vjp", mixture_vjp, domain=(_ANY,) * 4, caller="cross_entropy"),
    Formula(
        "norm_vjp",
        norm_vjp,
        params=1,
        samples=(3.0,),
        domain=(_ANY, (0.2, 2.0), (2.0, 3.0)),
        caller="norm",
    ),
    Formula(
        "log_share",
        log_share,
        params=1,
        samples=(1.0,),
        domain=((0.2, 3.0), _ANY),
        caller="logcumsumexp",
    ),
    Formula(
        "logcumsumexp_vjp",
        logcumsumexp_vjp,
        params=1,
        samples=(1.0,),
        domain=(_ANY,) * 2,
        caller="logcumsumexp",
    ),
)
