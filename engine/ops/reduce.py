"""Reductions as ops: ``reduce(name, x, dims, keepdim)`` for every monoid."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from tilegrad.engine import calls, dtype as dt
from tilegrad.engine.array import Array, Layout, contiguous_strides, layout
from tilegrad.engine.device import Device
from tilegrad.engine.dispatch import Launch, Op, Plan, composed, kernel, refuse_complex
from tilegrad.engine.dtype import DType
from tilegrad.engine.ops import view
from tilegrad.engine.ops.elementwise import OPS, cast, clone, full, scalar
from tilegrad.engine.ops.parts import parts
from tilegrad.engine.shape import (
    Shape,
    broadcast_shapes,
    broadcast_strides,
    merge_dims,
    numel,
    reduced_shape,
)
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


def _of_complex(
    name: str, x: Layout, dims: Shape, keepdim: bool, p: float
) -> Callable[[tuple[Array, ...], object], Array]:
    """What a reduction of a complex array is of its parts: one norm or variance of both.

    Raises:
        NotImplementedError: the reduction has none.
    """
    last = (x.ndim,)

    def of_parts(arrays: tuple[Array, ...], params: object) -> Array:
        both, *center = map(parts, arrays)
        found: Array
        if name == "norm2":
            found = reduce(name, both, (*dims, *last), True)
            found = view.squeeze(found, dims=last if keepdim else (*dims, *last))
            return found
        found = reduce(name, both, dims, keepdim, center[0] if center else None, p)
        return reduce("sum", found, (found.layout.ndim - 1,))

    if name not in ("norm2", "var"):
        refuse_complex(name, [x], {})
    return of_parts


def _sum_of_parts(x: Layout, dims: Shape, keepdim: bool, p: float) -> Plan:
    """The sum of complex numbers: of their memory as pairs of real ones, a sum of each."""
    real = x.dtype.to_real()
    out = layout(reduced_shape(x.shape, dims, keepdim), x.dtype, x.device)
    strides = (*[2 * s for s in x.strides], 1)
    launch, scratch = _prepare("sum", real, real, x.device, (*x.shape, 2), (strides,), dims)
    return Plan((out,), launch, scratch, tail=(p,))


def _plan(name: str, x: Layout, *rest: Layout, dims: Shape, keepdim: bool, p: float) -> Plan:
    if x.dtype.is_complex and name == "sum":
        return _sum_of_parts(x, dims, keepdim, p)
    if x.dtype.is_complex and name not in _TRUTH:
        return composed(_of_complex(name, x, dims, keepdim, p))
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
    launch, scratch = _prepare(name, x.dtype, made, x.device, x.shape, (x.strides,), dims)
    return Plan((out,), launch, scratch, tail=(p,))


def _prepare(
    name: str,
    dtype: DType,
    made: DType,
    device: Device,
    shape: Shape,
    strides: tuple[Shape, ...],
    dims: Shape,
) -> tuple[Launch, int]:
    """The launch of a reduction of operands of one shape, with ``strides`` each, and its scratch bytes."""
    gone = sorted(
        (a for a in dims if shape[a] != 1), key=lambda a: (-max(s[a] for s in strides), a)
    )
    lengths, jumps = merge_dims(
        tuple(shape[a] for a in gone), [tuple(s[a] for a in gone) for s in strides]
    )
    found: tuple[Launch, int] = kernel("reduce", device).reduce(
        name, dtype.name, made.name, _kept(shape, strides, dims), (lengths, *jumps)
    )
    return found


def _kept(shape: Shape, strides: tuple[Shape, ...], dims: Shape) -> tuple[Shape, ...]:
    """Sizes of the dimensions that remain, merged, and each operand's strides; the results are
    row-major.
    """
    keep = [a for a in range(len(shape)) if a not in dims]
    left = tuple(shape[a] for a in keep)
    every = [tuple(s[a] for a in keep) for s in strides]
    sizes, steps = merge_dims(left, [*every, contiguous_strides(left)])
    return sizes, *steps[:-1]


# ``op(x, [center], dims=…, keepdim=…, p=…)`` for every monoid
REDUCTIONS = {
    name: Op(name, partial(_plan, name), ("dims", "keepdim", "p"), planar=True) for name in MONOIDS
}


def own_reduction(title: str, name: str, kind: str, truth: bool) -> Op:
    """The op ``op(*operands, dims=…, keepdim=…)`` of a user's monoid. Operands are promoted and broadcast;
    integers are totalled as int64.

    Args:
        title: what errors call it.
        name: of the monoid.
        kind: ``float``: integers become the default float first; ``same``: they stay integers.
        truth: whether its result is bool.
    """

    def plan(*layouts: Layout, dims: Shape, keepdim: bool) -> Plan:
        common = dt.result_type(*((x.dtype, 2 if x.ndim else 1) for x in layouts))
        if kind == "float" and not common.is_floating_point:
            common = dt.get_default_dtype()
        if any(x.dtype is not common for x in layouts):
            return composed(
                lambda arrays, params: op(
                    *[cast(a, common) for a in arrays], params=params, dims=dims, keepdim=keepdim
                )
            )
        shape = broadcast_shapes(title, *(x.shape for x in layouts))
        made = dt.bool_ if truth else common if common.is_floating_point else dt.int64
        device = layouts[0].device
        out = layout(reduced_shape(shape, dims, keepdim), made, device)
        strides = tuple([broadcast_strides(x.shape, x.strides, shape) for x in layouts])
        launch, scratch = _prepare(name, common, made, device, shape, strides, dims)
        return Plan((out,) * MONOIDS[name].results, launch, scratch, device=device)

    op = Op(title, plan, ("dims", "keepdim"))
    return op


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


def _plan_arg_reduce(x: Layout, values: Layout, *, dim: int) -> Plan:
    out = layout(values.shape, dt.int64, x.device)
    launch = kernel("arg_reduce", x.device).arg_reduce(
        x.dtype.name, _kept(x.shape, (x.strides,), (dim,)), (x.shape[dim], x.strides[dim])
    )
    return Plan((out,), launch)


_arg_reduce = Op("arg_reduce", _plan_arg_reduce)


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
    where = _arg_reduce(x, values, dim=dim)
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
