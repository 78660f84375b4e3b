"""Softmax and log-softmax along one dimension, with their backward ops."""

from __future__ import annotations

from functools import partial

from tilegrad.engine import calls
from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Plan, kernel
from tilegrad.engine.ops.elementwise import row_major
from tilegrad.engine.shape import numel


def _around(x: Layout, dim: int) -> tuple[int, int, int]:
    """Elements before, along and after ``dim``."""
    if x.ndim == 0:
        return 1, 1, 1
    return numel(x.shape[:dim]), x.shape[dim], numel(x.shape[dim + 1 :])


def _plan(logs: bool, x: Layout, *, dim: int) -> Plan:
    launch = kernel("softmax", x.device).softmax(x.dtype.name, logs, *_around(x, dim))
    return Plan((layout(x.shape, x.dtype, x.device),), launch)


def _plan_backward(logs: bool, grad: Layout, y: Layout, *, dim: int) -> Plan:
    family = kernel("softmax", y.device)
    launch = family.softmax_backward(y.dtype.name, logs, *_around(y, dim))
    return Plan((layout(y.shape, y.dtype, y.device),), launch)


_FORWARD = {
    False: row_major("softmax", partial(_plan, False), ("dim",)),
    True: row_major("log_softmax", partial(_plan, True), ("dim",)),
}
_BACKWARD = {
    False: row_major("softmax_backward", partial(_plan_backward, False), ("dim",)),
    True: row_major("log_softmax_backward", partial(_plan_backward, True), ("dim",)),
}


def softmax(x: Array, dim: int, logs: bool = False) -> Array:
    """Softmax of a floating ``x`` along ``dim`` (non-negative), or its logarithm."""
    op = _FORWARD[logs]
    result: Array | None = calls.run(op, x, dim)
    return op(x, dim=dim) if result is None else result


def softmax_backward(grad: Array, y: Array, dim: int, logs: bool = False) -> Array:
    """The gradient of the input, given the result ``y`` and its gradient."""
    result: Array = _BACKWARD[logs](grad, y, dim=dim)
    return result
