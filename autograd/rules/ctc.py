"""The loss of connectionist temporal classification by kernels; its derivatives beyond the first by composed
functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import index, pointwise, reduce, view
from tilegrad.autograd.rules.arithmetic import clamp
from tilegrad.autograd.rules.creation import arange, as_tensor, full
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.masked import where
from tilegrad.autograd.rules.moments import logsumexp
from tilegrad.autograd.rules.movement import cat, stack
from tilegrad.autograd.rules.scatter import gather
from tilegrad.autograd.rules.unary import isinf
from tilegrad.autograd.traversal import backward
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops import ctc as ops

__all__: list[str] = []


class _Meta(NamedTuple):
    """The class of no label, the most labels of a sequence, and whether infinite losses are 0."""

    blank: int
    longest: int
    zero_infinity: bool


def ctc(
    x: Tensor, targets: Tensor, table: tuple[Sequence[int], ...], blank: int, zero_infinity: bool
) -> Tensor:
    """The losses (N,) of log-probabilities (steps, N, C).

    Args:
        targets: the labels of all sequences. table: of each sequence its steps, its number of labels and where
            in ``targets`` they begin.
        zero_infinity: 0 for a sequence that has no alignment.

    Raises:
        IndexError: a label is no class.
    """
    labels = view.reshape(to_dtype(targets.detach(), dt.int64).to(x.device), (-1,))
    where_from = as_tensor([list(row) for row in table], dtype=dt.int64, device=x.device)
    meta = _Meta(blank, max(table[1], default=0), bool(zero_infinity))
    losses, states = map(tensor_of, ops.ctc(x, labels, where_from, blank, meta.longest))
    made = _CTC.record_all((x, labels, where_from, states), (losses,), meta)[0]
    return where(isinf(made), 0.0, made) if zero_infinity else made


def _vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, labels, table, states, losses = node.unpack()
    meta: _Meta = node.meta
    if state.grad:
        made = _composed(x, labels, table, meta)
        found = backward([made], [grad], True, True, [x])[0]
    else:
        given = (grad, x, labels, table, losses, states)
        found = tensor_of(ops.backward(*given, meta.blank, meta.longest, meta.zero_infinity))
    return found, None, None, None


_CTC = Rule("ctc_loss", _vjp, (0, 1, 2, 3, -1))


def _classes(labels: Tensor, table: Tensor, meta: _Meta) -> Tensor:
    """The classes (N, 2 longest + 1) of the states; any class behind a sequence's own."""
    N, L = table.shape[1], meta.longest
    classes = full((N, 2 * L + 1), meta.blank, dtype=dt.int64, device=table.device)
    if L:
        order = arange(L, device=table.device)
        inside = order < view.unsqueeze(table[1], 1)
        places = where(inside, view.unsqueeze(table[2], 1) + order, 0)
        classes[:, 1::2] = where(inside, index.take(labels, places), meta.blank)
    return classes


def _composed(x: Tensor, labels: Tensor, table: Tensor, meta: _Meta) -> Tensor:
    """The losses by differentiable functions, step by step; -inf is a number that is low enough."""
    T, N, _ = x.shape
    classes = _classes(labels, table, meta)
    S, (steps, many) = classes.shape[1], (table[0], table[1])
    never = -1e30 if x.dtype.itemsize == 4 else -1e200
    seen = clamp(gather(x, 2, view.expand(view.unsqueeze(classes, 0), (T, N, S))), never)
    jumps = full((N, S), 0, dtype=dt.bool_, device=x.device)
    jumps[:, 2:] = pointwise.ne(classes[:, 2:], classes[:, :-2])
    column = full((N, 2), never, dtype=x.dtype, device=x.device)
    alpha = where(arange(S, device=x.device) < 2, seen[0], never) if T else seen.sum(0) + never
    for t in range(1, T):
        near = cat([column[:, :1], alpha[:, :-1]], 1)
        far = where(jumps, cat([column, alpha], 1)[:, :S], never)
        grown = logsumexp(stack([alpha, near, far]), 0) + seen[t]
        alpha = where(view.unsqueeze(steps > t, 1), clamp(grown, never), alpha)
    ends = view.unsqueeze(many * 2, 1)
    last = gather(cat([column[:, :1], alpha], 1), 1, cat([ends + 1, ends], 1))
    likelihood = logsumexp(last, 1)
    infinite = likelihood <= never / 2
    loss = where(infinite, float("inf"), -likelihood)
    loss = where(pointwise.eq(steps, 0), where(pointwise.eq(many, 0), 0.0, float("inf")), loss)
    inside = view.unsqueeze(arange(T, device=x.device), 1) < steps
    # what makes the gradient that of log-softmax's input: e^x, of value 0
    likely = pointwise.exp(x)
    tied = reduce.sum(likely - likely.detach(), 2)
    loss = loss + reduce.sum(where(inside, tied, 0), 0)
    if meta.zero_infinity:
        return where(infinite, 0.0, loss)
    return loss
