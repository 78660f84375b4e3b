"""Negative log-likelihood of given classes, and its backward op."""

from __future__ import annotations

from functools import partial

import numpy as np

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.ops.elementwise import contiguous
from tilegrad.engine.shape import numel
from tilegrad.engine.transfer import unless_all

REDUCTIONS = ("none", "mean", "sum")


def _around(x: Layout) -> tuple[int, int, int]:
    """(samples before, classes, samples after): the classes are dimension 1, or 0 of one sample."""
    if x.ndim == 1:
        return 1, x.shape[0], 1
    return x.shape[0], x.shape[1], numel(x.shape[2:])


def _plan(logits: bool, reduction: str, x: Layout, targets: Layout, *weight: Layout) -> Plan:
    scalar = layout((), x.dtype, x.device)
    samples = layout(targets.shape, x.dtype, x.device)
    reduced = reduction != "none"
    outs = [scalar if reduced else samples, samples, layout((2,), dt.int64, x.device)]
    outs += [samples] * logits + [scalar] * reduced
    family = kernel("cross_entropy", x.device)
    how = (x.dtype.name, logits, bool(weight), reduction)
    return Plan(tuple(outs), *family.cross_entropy(*how, *_around(x)))


def _plan_backward(
    logits: bool,
    grad: Layout,
    targets: Layout,
    scale: Layout,
    *rest: Layout,
    reduction: str,
    shape: tuple[int, ...],
) -> Plan:
    out = layout(shape, scale.dtype, grad.device)
    launch = kernel("cross_entropy", grad.device).cross_entropy_backward(
        scale.dtype.name, logits, reduction, *_around(out)
    )
    return Plan((out,), launch)


_NAMES = {False: "nll_loss", True: "cross_entropy"}
_FORWARD = {
    (logits, reduction): Op(name, partial(_plan, logits, reduction))
    for logits, name in _NAMES.items()
    for reduction in REDUCTIONS
}
_BACKWARD = {
    False: Op("nll_loss_backward", partial(_plan_backward, False)),
    True: Op("cross_entropy_backward", partial(_plan_backward, True)),
}


class Saved:
    """What the backward op reads besides the gradient."""

    __slots__ = ("lse", "scale", "targets", "weight_sum")

    def __init__(self, targets: Array, scale: Array, lse: Array | None, weight_sum: Array | None):
        self.targets = targets
        self.scale = scale
        self.lse = lse
        self.weight_sum = weight_sum


def cross_entropy(
    x: Array, targets: Array, weight: Array | None, reduction: str, ignore_index: int, logits: bool
) -> tuple[Array, Saved]:
    """The loss of log-probabilities ``x`` (N, C, …), or of ``logits`` (N, C), and what to save.

    Args:
        targets: (N, …) int64 classes.
        weight: (C,) of x's dtype, or None.

    Raises:
        IndexError: a target is neither a class nor ``ignore_index``.
    """
    x, targets = contiguous(x), contiguous(targets)
    operands = (x, targets) if weight is None else (x, targets, contiguous(weight))
    made = _FORWARD[logits, reduction](*operands, params=(ignore_index,))
    unless_all(0, made[2], _CHECKS[logits])
    weight_sum = made[-1] if reduction == "mean" else None
    return made[0], Saved(targets, made[1], made[3] if logits else None, weight_sum)


def _check_targets(op: str, status: np.ndarray) -> None:
    bad, first = status
    if bad:
        raise IndexError(f"{op}: Target {first} is out of bounds.")


_CHECKS = {logits: partial(_check_targets, name) for logits, name in _NAMES.items()}


def cross_entropy_backward(
    grad: Array, x: Array, saved: Saved, reduction: str, logits: bool
) -> Array:
    """The gradient of ``x``, given that of the loss."""
    operands = [contiguous(grad), saved.targets, saved.scale]
    if logits:
        assert saved.lse is not None
        operands += [contiguous(x), saved.lse]
    if saved.weight_sum is not None:
        operands.append(saved.weight_sum)
    result: Array = _BACKWARD[logits](*operands, reduction=reduction, shape=x.layout.shape)
    return result
