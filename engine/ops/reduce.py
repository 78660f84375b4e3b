"""Reductions as ops: ``reduce(name, x, dims, keepdim)`` for every monoid."""

from __future__ import annotations

import math
from functools import partial

from tilegrad.engine import calls, dtype as dt
from tilegrad.engine.array import Array, Layout, contiguous_strides, layout
from tilegrad.engine.dispatch import Op, Plan, composed, kernel
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


def _plan(name: str, x: Layout, *rest: Layout, dims: Shape, keepdim: bool, p: float) -> Plan:
    if (x.dtype is dt.bool_) is not (name in _TRUTH):
        if name in _TRUTH:
            return composed(
                lambda arrays, _: reduce(name, cast(arrays[0], dt.bool_), dims, keepdim)
            )
        if name in _NEEDS_ELEMENTS:
            return composed(
                lambda arrays, _: cast(
                    reduce(name, cast(arrays[0], dt.uint8), dims, keepdim), dt.bool_
                )
            )
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
    return Plan((out,), launch, scratch, tail=(p,))


def _kept(x: Layout, dims: Shape) -> tuple[Shape, Shape]:
    """Sizes and strides of the dimensions that remain, merged; the results are row-major."""
    keep = [a for a in range(x.ndim) if a not in dims]
    shape = tuple(x.shape[a] for a in keep)
    strides = (tuple(x.strides[a] for a in keep), contiguous_strides(shape))
    sizes, (steps, _) = merge_dims(shape, strides)
    return sizes, steps


# ``op(x, [center], dims=…, keepdim=…, p=…)`` for every monoid
REDUCTIONS = {name: Op(name, partial(_plan, name), ("dims", "keepdim", "p")) for name in MONOIDS}


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
    op = REDUCTIONS[name]
    if center is None:
        result = calls.run(op, x, dims, keepdim, p)
    else:
        result = calls.run(op, x, center, dims, keepdim, p)
    if result is None:
        arrays = (x,) if center is None else (x, center)
        result = op(*arrays, dims=dims, keepdim=keepdim, p=p)
    return result  # type: ignore[no-any-return]


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
