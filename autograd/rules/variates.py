"""Draws whose parameters are tensors, made by rejection: Poisson's, binomial, gamma, Dirichlet's, von Mises'.

The numbers depend on the generator and the parameters alone, never on device or threads.
"""

from __future__ import annotations

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of, zeros_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules.elementwise import apply
from tilegrad.autograd.rules.extrema import amin
from tilegrad.autograd.rules.softmax import softmax
from tilegrad.autograd.rules.view import expand
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops import random as ops
from tilegrad.engine.ops.elementwise import Elementwise
from tilegrad.engine.random import Generator
from tilegrad.engine.shape import broadcast_shapes
from tilegrad.engine.transfer import check_when_ready
from tilegrad.kernels.formulas import reparameterized
from tilegrad.kernels.formulas.formula import Formula

__all__ = ["binomial", "poisson"]


def _floating(name: str, x: Tensor) -> None:
    if not x.layout.dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{x.dtype.name}'")


def _drawn(name: str, x: Tensor, y: Tensor, generator: Generator | None) -> Tensor:
    return tensor_of(ops.variates(name, x.detach(), y.detach(), generator))


# ---------------------------------------------------------------------------------- of whole numbers


def _poisson_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (zeros_of(node.inputs[0]),)


_POISSON = Rule("poisson", _poisson_vjp)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Draws from Poisson's distributions of these rates, in their shape and dtype; the gradient is zero.

    Raises:
        RuntimeError: a rate is negative or NaN.
        NotImplementedError: the dtype is not floating point.
    """
    _floating("poisson", input)
    if input.layout.numel:
        check_when_ready(amin(input.detach()), _check_rates)
    return _POISSON.record((input,), _drawn("poisson", input, input, generator))


def _check_rates(least: np.ndarray) -> None:
    if not least >= 0:
        raise RuntimeError(
            f"poisson: invalid Poisson rate, expected rate to be non-negative; got {least}"
        )


def _binomial_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    raise RuntimeError("binomial: derivative for aten::binomial is not implemented")


_BINOMIAL = Rule("binomial", _binomial_vjp)


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of ``count`` trials succeed, each with probability ``prob``; the two broadcast. No gradient.

    Raises:
        ValueError: a dtype is not floating point. RuntimeError: the two differ.
    """
    for name, x in (("count", count), ("prob", prob)):
        if not x.layout.dtype.is_floating_point:
            raise ValueError(
                f"binomial: binomial only supports floating-point dtypes for {name}, got: {x.dtype.name}"
            )
    if count.layout.dtype is not prob.layout.dtype:
        raise RuntimeError(
            f"binomial: Found dtype {prob.dtype.name} but expected {count.dtype.name}"
        )
    shape = broadcast_shapes("binomial", count.layout.shape, prob.layout.shape)
    n, p = expand(count, shape), expand(prob, shape)
    return _BINOMIAL.record((n, p), _drawn("binomial", n, p, generator))


# ------------------------------------------------------------------------------- with a gradient

_GAMMA_GRAD, _DIRICHLET_GRAD = (
    Elementwise(Formula(name, function, differentiable=False))
    for name, function in (
        ("standard_gamma_grad", reparameterized.standard_gamma_grad),
        ("dirichlet_grad", reparameterized.dirichlet_grad),
    )
)


def _standard_gamma_grad(input: Tensor, output: Tensor) -> Tensor:
    """d output / d input of a draw of :func:`_standard_gamma`."""
    return apply(_GAMMA_GRAD, input, output)


def _dirichlet_grad(x: Tensor, alpha: Tensor, total: Tensor) -> Tensor:
    """``(d x / d alpha) / (1 - x)`` of draws x of a share of Dirichlet's distribution, whose parameters
    sum to ``total``.
    """
    return apply(_DIRICHLET_GRAD, x, alpha, total)


def _gamma_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    alpha, drawn = node.unpack()
    return (grad * _standard_gamma_grad(alpha, drawn),)


_GAMMA = Rule("standard_gamma", _gamma_vjp, (0, -1))


def _standard_gamma(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Draws from Gamma(input, 1), of the dtype's least normal number at least.

    Gradient: implicit, of the first order.
    """
    _floating("gamma", input)
    drawn = _drawn("gamma", input, input, generator).clamp_(min=dt.finfo(input.dtype).tiny)
    return _GAMMA.record((input,), drawn)


def _dirichlet_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    alpha, x = node.unpack()
    slope = _dirichlet_grad(x, alpha, expand(alpha.sum(-1, True), alpha.layout.shape))
    return (slope * (grad - (x * grad).sum(-1, True)),)


_DIRICHLET = Rule("sample_dirichlet", _dirichlet_vjp, (0, -1))


def _sample_dirichlet(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Draws from Dirichlet's distribution of parameters along the last dimension: gamma draws over their sum,
    by their logarithms, so that small parameters do not make 0 / 0.

    Gradient: implicit, of the first order.
    """
    _floating("dirichlet", input)
    kind = dt.finfo(input.dtype)
    shares = softmax(_drawn("log_gamma", input, input, generator), -1)
    return _DIRICHLET.record((input,), shares.clamp_(min=kind.tiny, max=1 - kind.eps / 2))


def von_mises(concentration: Tensor, generator: Generator | None = None) -> Tensor:
    """Angles in [-pi, pi] from the distribution of von Mises about 0; no gradient."""
    _floating("von_mises", concentration)
    return _drawn("von_mises", concentration, concentration, generator)
