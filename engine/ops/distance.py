"""Distances of all rows to all rows, and the sums of their slopes, as ops on arrays."""

from __future__ import annotations

import math

import numpy as np

from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.ops.conv import nothing
from tilegrad.engine.ops.elementwise import contiguous
from tilegrad.engine.shape import Shape, broadcast_shapes, numel

_NORMS = {0.0: "zero", 1.0: "one", 2.0: "two", math.inf: "inf"}


def norm_of(p: float) -> str:
    """The kernels' name of the ``p``-norm."""
    return _NORMS.get(float(p), "other")


def _items(batch: Shape, *shapes: Shape) -> tuple[tuple[int, int], ...]:
    """Of each item of ``batch`` the numbers of the matrices that it takes of operands of these batch shapes."""
    numbers = [np.broadcast_to(np.arange(numel(s)).reshape(s), batch).ravel() for s in shapes]
    return tuple(zip(*[n.tolist() for n in numbers], strict=True))


def _plan(x: Layout, y: Layout, *, norm: str, upper: bool) -> Plan:
    """Operands: (…, P, M), (…, R, M), contiguous; with ``upper`` one matrix twice."""
    batch = broadcast_shapes("cdist", x.shape[:-2], y.shape[:-2])
    P, R, M = x.shape[-2], y.shape[-2], x.shape[-1]
    out = layout((P * (P - 1) // 2,) if upper else (*batch, P, R), x.dtype, x.device)
    if not out.numel:
        return Plan((out,), nothing)
    items = _items(batch, x.shape[:-2], y.shape[:-2])
    launch, scratch = kernel("distance", x.device).distance(
        x.dtype.name, norm, upper, items, P, R, M
    )
    return Plan((out,), launch, scratch)


def _plan_backward(factors: Layout, x: Layout, y: Layout, *far: Layout, norm: str) -> Plan:
    """Operands: (…, P, R), then those of :func:`_plan`, and for the norm "inf" the distances, (…, P, R)."""
    batch = factors.shape[:-2]
    (P, M), R = x.shape[-2:], y.shape[-2]
    out = layout((*batch, P, M), x.dtype, x.device)
    if not out.numel:
        return Plan((out,), nothing)
    items = _items(batch, x.shape[:-2], y.shape[:-2])
    launch, scratch = kernel("distance", x.device).distance_backward(
        x.dtype.name, norm, items, P, R, M
    )
    return Plan((out,), launch, scratch)


_forward = Op("cdist", _plan)
_backward = Op("cdist_backward", _plan_backward)


def distance(x: Array, y: Array, p: float, upper: bool = False) -> Array:
    """The ``p``-norms (…, P, R) of the differences of rows of ``x`` (…, P, M) and ``y`` (…, R, M), whose batches
    broadcast; with ``upper`` of one matrix given twice only pairs of a row and a later one, in one dimension.
    """
    made: Array = _forward(
        contiguous(x), contiguous(y), params=(float(p),), norm=norm_of(p), upper=upper
    )
    return made


def backward(factors: Array, x: Array, y: Array, far: Array, p: float) -> Array:
    """The gradient (…, P, M) of ``x``, whose batch is that of ``factors`` (…, P, R).

    Args:
        factors: gradients of the distances over these to the power p - 1, 0 where that is 0 (p = 1, inf: the
            gradients themselves). far: the distances.
    """
    operands = [contiguous(factors), contiguous(x), contiguous(y)]
    if p == math.inf:
        operands.append(contiguous(far))
    made: Array = _backward(*operands, params=(float(p),), norm=norm_of(p))
    return made
