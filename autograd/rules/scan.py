"""Cumulative functions along one dimension, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import pointwise, view
from tilegrad.autograd.rules.elementwise import apply, to_dtype
from tilegrad.autograd.rules.masked import where
from tilegrad.autograd.rules.movement import cat, stack
from tilegrad.autograd.rules.reduce import all
from tilegrad.autograd.rules.scatter import placed
from tilegrad.autograd.rules.unary import isfinite
from tilegrad.engine.dtype import DType, dtype as as_dtype
from tilegrad.engine.ops import scan as ops
from tilegrad.engine.ops.elementwise import OPS
from tilegrad.engine.shape import normalize_dim

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "logcumsumexp"]


class cummax_result(NamedTuple):
    values: Tensor
    indices: Tensor


class cummin_result(NamedTuple):
    values: Tensor
    indices: Tensor


def _sum_from(x: Tensor, dim: int, reverse: bool) -> Tensor:
    """The cumulative sum in either direction; each is the other's gradient."""
    out = ops.scan("cumsum", x, dim, reverse)
    return _CUMSUM.record((x,), out, (dim, reverse))


def _cumsum_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    dim, reverse = node.meta
    return (_sum_from(grad, dim, not reverse),)


_CUMSUM = Rule("cumsum", _cumsum_vjp)


def _operand(name: str, input: Tensor, dim: int, dtype: DType | None) -> tuple[Tensor, int]:
    return to_dtype(input, as_dtype(dtype)) if dtype is not None else input, normalize_dim(
        name, dim, input.ndim
    )


def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Sums of the elements up to each one along ``dim``; integers and bool give int64.

    Gradient: of ``input``: the cumulative sum from the end.
    """
    return _as_asked(_sum_from(*_operand("cumsum", input, dim, dtype), reverse=False), dtype)


def _as_asked(result: Tensor, dtype: DType | None) -> Tensor:
    return result if dtype is None else to_dtype(result, as_dtype(dtype))


def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Products of the elements up to each one along ``dim``; integers and bool give int64.

    Gradient: of ``input``; input and result are saved.
    """
    return _as_asked(_product(*_operand("cumprod", input, dim, dtype)), dtype)


def _joined(x: Tensor, dim: int, join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What ``join`` makes of all up to each element: of runs of twice the length, again and again (Hillis and
    Steele), with the gradients of ``join``.
    """
    reach, size = 1, x.layout.shape[dim] if x.layout.ndim else 1
    while reach < size:
        first = view.narrow(x, dim, 0, reach)
        beyond, before = (view.narrow(x, dim, k, size - reach) for k in (reach, 0))
        x, reach = cat([first, join(beyond, before)], dim), 2 * reach
    return x


def _product(x: Tensor, dim: int) -> Tensor:
    if x.layout.dtype.is_complex:
        return _joined(x, dim, pointwise.mul)
    return _CUMPROD.record((x,), ops.scan("cumprod", x, dim), dim)


def _cumprod_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """``sum over k >= i of g_k out_k / x_i``; where a zero forbids that, without the division."""
    x, out = node.unpack()
    dim = node.meta
    if x.layout.numel <= 1:
        return (grad,)
    if bool(all(x.detach()).item()):
        return (_sum_from(grad * out, dim, True) / x,)
    return (_cumprod_grad(x, grad, dim),)


_CUMPROD = Rule("cumprod", _cumprod_vjp, (0, -1))


def _cumprod_grad(x: Tensor, grad: Tensor, dim: int) -> Tensor:
    """Element i gets (product before i) * sum over k >= i of g_k * (product of i+1 … k).

    The sum obeys s_i = g_i + x_(i+1) s_(i+1), so one pass from the end finds it.
    """
    size = x.shape[dim]
    tails: list[Tensor] = []
    for i in range(size - 1, -1, -1):
        here = view.select(grad, dim, i)
        tails.append(here if not tails else here + view.select(x, dim, i + 1) * tails[-1])
    return exclusive_product(x, False, dim) * stack(tails[::-1], dim)


def exclusive_product(x: Tensor, reverse: bool, dim: int = -1) -> Tensor:
    """For every element the product of those before it (after it, with ``reverse``)."""
    axis = normalize_dim("cumprod", dim, x.ndim)
    out = ops.scan("cumprod", x, axis, reverse, True)
    return _EXCLUSIVE.record((x,), out, (axis, reverse))


def _exclusive_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """As for cumprod, where output k stands for the product of the elements before it:
    s_i = g_(i+1) + x_(i+1) s_(i+1), and nothing follows the last element.
    """
    (x,) = node.unpack()
    dim, reverse = node.meta
    size = x.shape[dim]
    order = range(size) if reverse else range(size - 1, -1, -1)
    grads: dict[int, Tensor] = {}
    after: int | None = None
    for i in order:
        if after is None:
            grads[i] = view.select(grad, dim, i) * 0.0
        else:
            grads[i] = view.select(grad, dim, after) + view.select(x, dim, after) * grads[after]
        after = i
    sums = stack([grads[i] for i in range(size)], dim)
    return (exclusive_product(x, reverse, dim) * sums,)


_EXCLUSIVE = Rule("exclusive_product", _exclusive_vjp, (0,))


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """``log(cumsum(exp(x)))`` along ``dim``, without overflow.

    Gradient: of ``input``; input and result are saved.
    """
    axis = normalize_dim("logcumsumexp", dim, input.ndim)
    if not input.dtype.has_gradient:
        raise NotImplementedError(
            f"logcumsumexp: not implemented for '{input.dtype.name}'; floating point is needed"
        )
    if input.layout.dtype.is_complex:
        return _with_turns(input, _joined(input, axis, pointwise.logaddexp), axis)
    return _log_sum(input, axis, False)


def _with_turns(x: Tensor, sums: Tensor, dim: int) -> Tensor:
    """Logarithms of complex sums with the angles that adding one element after the other gives: each within a quarter
    of a turn of the larger of the sum before it and the element.
    """
    size = x.layout.shape[dim] if x.layout.ndim else 1
    if size < 2 or not x.layout.numel:
        return sums
    found = sums.detach()
    before, after = view.narrow(found, dim, 0, size - 1), view.narrow(found, dim, 1, size - 1)
    added = view.narrow(x.detach(), dim, 1, size - 1)
    since = _whole_turns(before.imag, after.imag).cumsum(dim)
    # where the element is larger, turns are counted from its own angle
    begin = since.new_ones(since.layout.shape).cumsum(dim) * (before.real < added.real)
    last = begin.cummax(dim).values.to(as_dtype("int64"))
    own = _whole_turns(added.imag, after.imag) - since
    nothing = view.narrow(since, dim, 0, 1) * 0
    turns = since + cat([nothing, own], dim).gather(dim, last)
    angles = cat([nothing, turns], dim) * (2 * math.pi)
    return sums + angles * 1j


def _whole_turns(near: Tensor, angle: Tensor) -> Tensor:
    """How many to add to an angle for what is nearest to another; 0 of what is no number."""
    turns = ((near - angle) / (2 * math.pi)).round()
    return where(isfinite(turns), turns, 0.0)


def _log_sum(x: Tensor, dim: int, reverse: bool) -> Tensor:
    out = ops.scan("logcumsumexp", x, dim, reverse)
    return _LOGCUMSUMEXP.record((x,), out, (dim, reverse))


def _logcumsumexp_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """``sum over k >= i of g_k e^(x_i - out_k)``, its positive and negative terms summed apart in
    logarithms.
    """
    x, out = node.unpack()
    dim, reverse = node.meta
    if not (x.layout.ndim and x.layout.numel):
        return (grad,)
    total: Tensor | None = None
    for sign in (1.0, -1.0):
        shares = _log_sum(apply(OPS["log_share"], grad, out, params=(sign,)), dim, not reverse)
        grad_input = apply(OPS["logcumsumexp_vjp"], shares, x, params=(sign,))
        del shares
        total = grad_input if total is None else total + grad_input
    return (total,)


_LOGCUMSUMEXP = Rule("logcumsumexp", _logcumsumexp_vjp, (0, -1))


def _running(name: str, input: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    axis = normalize_dim(name, dim, input.ndim)
    pair = ops.extreme(name == "cummax", input, axis)
    values, where = _RUNNING[name].record_all((input,), pair, axis)
    return values, where


def _running_vjp(node: Node, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    """Every element gets the gradients of the results that came from it."""
    (where,) = node.unpack()
    if not node.inputs[0].shape:
        return (grad,)
    return (placed(node.inputs[0], node.meta, where, grad),)


_RUNNING = {name: Rule(name, _running_vjp, (-2,)) for name in ("cummax", "cummin")}


def cummax(input: Tensor, dim: int) -> cummax_result:
    """Values and int64 positions of the largest element so far along ``dim``; the latest of equals.

    Gradient: of ``input``, to the elements chosen.
    """
    return cummax_result(*_running("cummax", input, dim))


def cummin(input: Tensor, dim: int) -> cummin_result:
    """Values and int64 positions of the smallest element so far along ``dim``; the latest of equals.

    Gradient: of ``input``, to the elements chosen.
    """
    return cummin_result(*_running("cummin", input, dim))
