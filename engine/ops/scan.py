"""Cumulative ops along one dimension."""

from __future__ import annotations

from functools import partial

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.ops.elementwise import cast, clone
from tilegrad.engine.ops.parts import parts, whole
from tilegrad.engine.shape import Shape, merge_dims


def _around(
    x: Layout, dim: int
) -> tuple[tuple[Shape, Shape], tuple[int, int], tuple[Shape, Shape]]:
    """(sizes, strides) before ``dim``, of it, and after it."""

    def merged(low: int, high: int) -> tuple[Shape, Shape]:
        sizes, (steps,) = merge_dims(x.shape[low:high], (x.strides[low:high],))
        return sizes, steps

    line = (x.shape[dim], x.strides[dim]) if x.ndim else (1, 1)
    return merged(0, dim), line, merged(dim + 1, x.ndim)


def _plan(name: str, x: Layout, *, dim: int, reverse: bool, exclusive: bool) -> Plan:
    launch = kernel("scan", x.device).scan(name, x.dtype.name, *_around(x, dim), reverse, exclusive)
    return Plan((layout(x.shape, x.dtype, x.device),), launch)


def _plan_extreme(largest: bool, x: Layout, *, dim: int) -> Plan:
    launch = kernel("scan", x.device).scan_extreme(largest, x.dtype.name, *_around(x, dim))
    outs = (layout(x.shape, x.dtype, x.device), layout(x.shape, dt.int64, x.device))
    return Plan(outs, launch)


SCANS = {name: Op(name, partial(_plan, name)) for name in ("cumsum", "cumprod", "logcumsumexp")}
cummax_op = Op("cummax", partial(_plan_extreme, True))
cummin_op = Op("cummin", partial(_plan_extreme, False))


def scan(name: str, x: Array, dim: int, reverse: bool = False, exclusive: bool = False) -> Array:
    """Cumulative "cumsum", "cumprod" or "logcumsumexp" of ``x`` along ``dim`` (non-negative).

    ``reverse``: from the end; ``exclusive``: without the element itself. Integers give int64.
    """
    if x.layout.dtype.is_complex and not x.layout.ndim:
        return clone(x)
    if x.layout.dtype.is_complex and name == "cumsum":
        return whole(scan(name, parts(x), dim, reverse, exclusive))  # type: ignore[no-any-return]
    if not x.layout.dtype.has_gradient:
        x = cast(x, dt.int64)
    result: Array = SCANS[name](x, dim=dim, reverse=reverse, exclusive=exclusive)
    return result


def extreme(largest: bool, x: Array, dim: int) -> tuple[Array, Array]:
    """Running maximum or minimum of ``x`` along ``dim`` and its int64 positions."""
    if x.layout.dtype is dt.bool_:
        values, where = extreme(largest, cast(x, dt.uint8), dim)
        return cast(values, dt.bool_), where
    values, where = (cummax_op if largest else cummin_op)(x, dim=dim)
    return values, where
