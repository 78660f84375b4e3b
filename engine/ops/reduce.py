"""Reductions as ops: ``reduce(name, x, dims, keepdim)`` for every monoid."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from tilegrad.engine import calls, dtype as dt
from tilegrad.engine.array import Array, Layout, contiguous_strides, layout, output
from tilegrad.engine.dispatch import Op, Plan, _modes, kernel
from tilegrad.engine.dtype import DType
from tilegrad.engine.ops.elementwise import OPS, cast, clone, full, scalar
from tilegrad.engine.shape import Shape, merge_dims, numel, reduced_shape
from tilegrad.kernels.monoids import MONOIDS

_NEEDS_ELEMENTS = ("amax", "amin")
_TRUTH = ("any", "all")


def result_dtype(name: str, dtype: DType) -> DType:
    """Dtype of the reduction ``name`` of elements of ``dtype``."""
    if name in _TRUTH:
        return dt.bool_
    if name in _NEEDS_ELEMENTS or dtype.is_floating_point:
        return dtype
    return dt.int64


def _plan(name: str, x: Layout, *rest: Layout, dims: Shape, keepdim: bool) -> Plan:
    made = result_dtype(name, x.dtype)
    out = layout(reduced_shape(x.shape, dims, keepdim), made, x.device)
    empty = [d for d in dims if not x.shape[d]]
    if name in _NEEDS_ELEMENTS and empty:
        raise IndexError(
            f"{name}: Expected reduction dim {empty[0]} to have non-zero size; got {x.describe()}"
        )
    gone = sorted((a for a in dims if x.shape[a] != 1), key=lambda a: (-x.strides[a], a))
    lengths, (jumps,) = merge_dims(
        tuple(x.shape[a] for a in gone), (tuple(x.strides[a] for a in gone),)
    )
    launch, scratch = kernel("reduce", x.device).reduce(
        name, x.dtype.name, made.name, _kept(x, dims), (lengths, jumps)
    )
    return Plan((out,), launch, scratch)


def _kept(x: Layout, dims: Shape) -> tuple[Shape, Shape]:
    """Sizes and strides of the dimensions that remain, merged; the results are row-major."""
    keep = [a for a in range(x.ndim) if a not in dims]
    shape = tuple(x.shape[a] for a in keep)
    strides = (tuple(x.strides[a] for a in keep), contiguous_strides(shape))
    sizes, (steps, _) = merge_dims(shape, strides)
    return sizes, steps


class Reduction(Op):
    """An op of one monoid: ``op(x, [center], params=(p,), dims=…, keepdim=…)``.

    Its plans are kept by the layout of ``x`` alone, which settles that of the center.
    """

    __slots__ = ()

    def run(
        self, arrays: tuple[Array, ...], params: tuple[Any, ...], metadata: dict[str, Any]
    ) -> Array:
        """Allocate and launch, past all modes."""
        return self.fast(arrays, params[0], metadata["dims"], metadata["keepdim"])

    def fast(self, arrays: tuple[Array, ...], p: float, dims: Shape, keepdim: bool) -> Array:
        """:meth:`run` without a dictionary."""
        key = (arrays[0].layout, dims, keepdim)
        plan = self.plans.get(key)
        if plan is None:
            plan = self._make_plan(key, arrays, {"dims": dims, "keepdim": keepdim})
        made: Array = output(plan)
        if plan.scratch:
            parts = plan.allocator.allocate(plan.scratch)
            plan.launch(*[a.address for a in arrays], made.address, parts.address, p)
        else:
            plan.launch(*[a.address for a in arrays], made.address, p)
        return made


REDUCTIONS = {name: Reduction(name, partial(_plan, name)) for name in MONOIDS}


def reduce(
    name: str,
    x: Array,
    dims: Shape,
    keepdim: bool = False,
    center: Array | None = None,
    p: float = 1.0,
) -> Array:
    """The reduction ``name`` of ``x`` over ``dims`` (sorted, non-negative).

    ``center``: a row-major array shaped as the result, for a centred reduction. ``p``: divides a
    sum; is subtracted from the count in a variance.
    """
    op, arrays = REDUCTIONS[name], (x,) if center is None else (x, center)
    result: Array | None = calls.run_at(op, (x.layout, dims, keepdim), (p,), *arrays)
    if result is not None:
        return result
    if _modes or (x.layout.dtype is dt.bool_) is not (name in _TRUTH):
        return _reduce_indirectly(name, x, dims, keepdim, center, p)
    return op.fast(arrays, p, dims, keepdim)


def _reduce_indirectly(
    name: str, x: Array, dims: Shape, keepdim: bool, center: Array | None, p: float
) -> Array:
    """Past the modes, and with the casts that bool needs."""
    if name in _TRUTH:
        x = cast(x, dt.bool_)
    elif x.layout.dtype is dt.bool_ and name in _NEEDS_ELEMENTS:
        return cast(reduce(name, cast(x, dt.uint8), dims, keepdim), dt.bool_)
    operands = (x,) if center is None else (x, center)
    result: Array = REDUCTIONS[name](*operands, params=(p,), dims=dims, keepdim=keepdim)
    return result


def mean(x: Array, dims: Shape, keepdim: bool = False) -> Array:
    """The mean of ``x`` over ``dims``."""
    return reduce("sum", x, dims, keepdim, p=float(numel(tuple(x.layout.shape[a] for a in dims))))


def _plan_locate(x: Layout, values: Layout, *, dim: int) -> Plan:
    out = layout(values.shape, dt.int64, x.device)
    launch = kernel("locate", x.device).locate(
        x.dtype.name, _kept(x, (dim,)), (x.shape[dim], x.strides[dim])
    )
    return Plan((out,), launch)


_locate = Op("locate", _plan_locate)


def extreme(name: str, x: Array, dim: int, keepdim: bool) -> tuple[Array, Array]:
    """(values, int64 positions of their first occurrence) of "amax" or "amin" over ``dim``.

    Raises:
        IndexError: the dimension is empty.
    """
    if x.layout.ndim == 0:
        return clone(x), full((), 0, dt.int64, x.device)
    if x.layout.dtype is dt.bool_:
        values, where = extreme(name, cast(x, dt.uint8), dim, keepdim)
        return cast(values, dt.bool_), where
    values = reduce(name, x, (dim,), keepdim)
    where = _locate(x, values, dim=dim)
    return values, where


def logsumexp(x: Array, dims: Shape, keepdim: bool = False) -> Array:
    """``log(sum(exp(x)))`` over ``dims``; -inf where there is nothing to sum."""
    if not x.layout.numel:
        shape = reduced_shape(x.layout.shape, dims, keepdim)
        return full(shape, -math.inf, x.dtype, x.device)
    top = reduce("amax", x, dims, keepdim)
    zero = scalar(0.0, x.dtype, x.device)
    center = OPS["where"](OPS["isinf"](top), zero, top)
    total = reduce("sum_exp", x, dims, keepdim, center)
    result: Array = OPS["add"](OPS["log"](total), center)
    return result
