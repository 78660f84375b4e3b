"""Norms of the differences of all pairs of rows, by kernels; derivatives beyond the first by composed functions."""

from __future__ import annotations

import math

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import pointwise, view
from tilegrad.autograd.rules.creation import arange, zeros
from tilegrad.autograd.rules.masked import masked_fill, masked_scatter, masked_select
from tilegrad.autograd.rules.moments import norm
from tilegrad.autograd.rules.reduce import sum
from tilegrad.autograd.traversal import backward
from tilegrad.engine.ops import distance as ops

__all__: list[str] = []


def _norm_of(apart: Tensor, p: float) -> Tensor:
    """The ``p``-norms of the last dimension, differentiable to any order."""
    return norm(apart, p, -1) if apart.layout.shape[-1] else sum(apart, -1)


def _factors(grad: Tensor, made: Tensor, p: float) -> Tensor:
    """What differences are multiplied with: the gradients of the distances over these to the power p - 1."""
    if p in (1, math.inf):
        return grad
    far = made if p == 2 else made ** (p - 1)
    return masked_fill(grad / far, pointwise.eq(made, 0), 0)


def _cdist_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, y, made = node.unpack()
    (p,) = node.meta
    first, second = (edge is not None for edge in node.edges)
    if state.grad:
        x, y = view.apart(x), view.apart(y)
        out = _norm_of(view.unsqueeze(x, -2) - view.unsqueeze(y, -3), p)
        wanted = [t for t, asked in ((x, first), (y, second)) if asked]
        found = iter(backward([out], [grad], True, True, wanted))
        return next(found) if first else None, next(found) if second else None
    if p == 0:
        return tuple(zeros(t.shape, dtype=grad.dtype, device=grad.device) for t in (x, y))
    factors = _factors(grad, made, p)
    dx = dy = None
    if first:
        dx = tensor_of(ops.backward(factors, x, y, made, p))
    if second:
        across, far = view.transpose(factors, -2, -1), view.transpose(made, -2, -1)
        dy = tensor_of(ops.backward(across, y, x, far, p))
    return dx, dy


_CDIST = Rule("cdist", _cdist_vjp, (0, 1, -1))


def across(x: Tensor, y: Tensor, p: float) -> Tensor:
    """The distances (…, P, R) of rows of (…, P, M) and (…, R, M), whose batches broadcast."""
    return _CDIST.record((x, y), ops.distance(x, y, p), (p,))


def among(x: Tensor, p: float) -> Tensor:
    """The distances of the pairs of a row of (N, M) and a later one, row after row, in one dimension."""
    return _PDIST.record((x,), ops.distance(x, x, p, True), (p,))


def _upper(x: Tensor) -> Tensor:
    """Where pairs stand in a matrix of all rows against all: above the diagonal."""
    order = arange(x.layout.shape[0], device=x.device)
    return pointwise.lt(view.unsqueeze(order, 1), order)


def _pdist_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """That of the full matrix, which is symmetric."""
    x, made = node.unpack()
    (p,) = node.meta
    upper = _upper(x.detach())
    if state.grad:
        apart = view.unsqueeze(x, 1) - x
        out = _norm_of(
            masked_select(apart, view.unsqueeze(upper, 2)).reshape(grad.numel(), x.shape[1]), p
        )
        return (backward([out], [grad], True, True, [x])[0],)
    if p == 0:
        return (zeros(x.shape, dtype=grad.dtype, device=grad.device),)
    both = []
    for half in (_factors(grad, made, p), made) if p == math.inf else (_factors(grad, made, p),):
        full = masked_scatter(zeros(upper.shape, dtype=x.dtype, device=x.device), upper, half)
        both.append(full + view.transpose(full, 0, 1))
    return (tensor_of(ops.backward(both[0], x, x, both[-1], p)),)


_PDIST = Rule("pdist", _pdist_vjp, (0, -1))
