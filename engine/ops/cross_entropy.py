"""Negative log-likelihood of given classes, and its backward op."""

from __future__ import annotations

from functools import partial

import numpy as np

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.ops.elementwise import contiguous
from tilegrad.engine.shape import Shape, numel
from tilegrad.engine.transfer import check_unless

REDUCTIONS = ("none", "mean", "sum")


def _around(x: Layout) -> tuple[int, int, int]:
    """(samples before, classes, samples after): the classes are dimension 1, or 0 of one sample."""
    if x.ndim == 1:
        return 1, x.shape[0], 1
    return x.shape[0], x.shape[1], numel(x.shape[2:])


def _plan(
    logits: bool, kept: bool, reduction: str, x: Layout, targets: Layout, *weight: Layout
) -> Plan:
    scalar = layout((), x.dtype, x.device)
    samples = layout(targets.shape, x.dtype, x.device)
    reduced = reduction != "none"
    outs = [scalar if reduced else samples, samples, layout((2,), dt.int64, x.device)]
    outs += [samples] * logits + [scalar] * reduced + [layout(x.shape, x.dtype, x.device)] * kept
    family = kernel("cross_entropy", x.device)
    how = (x.dtype.name, logits, kept, bool(weight), reduction)
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
    (logits, kept, reduction): Op(name, partial(_plan, logits, kept, reduction))
    for logits, name in _NAMES.items()
    for kept in (False, True)[: 1 + logits]
    for reduction in REDUCTIONS
}
_BACKWARD = {
    False: Op("nll_loss_backward", partial(_plan_backward, False)),
    True: Op("cross_entropy_backward", partial(_plan_backward, True)),
}


def cross_entropy(
    x: Array, targets: Array, weight: Array | None, reduction: str, ignore_index: int, logits: bool,
    kept: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """The loss of log-probabilities ``x`` (N, C, …), or of ``logits`` (N, C); if they are ``kept``,
    the log-probabilities of logits; the samples' weights; for the reduction "mean" the sum of these.

    Args:
        targets: (N, …) int64 classes.
        weight: (C,) of x's dtype, or None.

    Raises:
        IndexError: a target is neither a class nor ``ignore_index``.
    """
    x, targets = contiguous(x), contiguous(targets)
    operands = (x, targets) if weight is None else (x, targets, contiguous(weight))
    made = _FORWARD[logits, kept, reduction](*operands, params=(ignore_index,))
    check_unless(0, made[2], _CHECKS[logits])
    logs = (made[-1],) if kept else ()
    sums = (made[3 + logits],) if reduction == "mean" else ()
    return (made[0], *logs, made[1], *sums)


def _check_targets(op: str, status: np.ndarray) -> None:
    bad, first = status
    if bad:
        raise IndexError(f"{op}: Target {first} is out of bounds.")


_CHECKS = {logits: partial(_check_targets, name) for logits, name in _NAMES.items()}


def cross_entropy_backward(
    grad: Array, logs: Array | None, targets: Array, scale: Array, *rest: Array, reduction: str,
    shape: Shape,
) -> Array:  # fmt: skip
    """The gradient of what :func:`cross_entropy` took, of ``shape``, given that of the loss.

    Args:
        logs: of logits their log-probabilities, else None. scale, rest: what came with the loss.
    """
    operands = [contiguous(grad), contiguous(targets), scale]
    if logs is not None:
        operands.append(logs)
    result: Array = _BACKWARD[logs is not None](*operands, *rest, reduction=reduction, shape=shape)
    return result
