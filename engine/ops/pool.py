"""Pools over windows, and their adjoints, as ops on arrays.

``x`` is ``(N, C, *size)`` with one to three spatial sizes. ``max_pool`` gives values and the places
they came from; ``max_pool_backward`` and ``max_pool_gather`` move gradients there and back. ``avg_pool`` is linear:
``avg_pool_backward`` is its adjoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tilegrad.engine import calls, dtype as dt
from tilegrad.engine.array import Layout, layout
from tilegrad.engine.dispatch import Plan, kernel
from tilegrad.engine.ops.conv import make_window, nothing, per_dimension
from tilegrad.engine.ops.elementwise import row_major
from tilegrad.engine.shape import Shape
from tilegrad.kernels.window import Table, Window


def _resolve(
    op: str,
    size: Shape,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
    ceil_mode: bool,
) -> dict[str, Any]:
    """The metadata of a pool with these arguments over the spatial sizes ``size``.

    Raises:
        RuntimeError: sizes out of range, or no output at all.
    """
    count = len(size)
    window = per_dimension(op, "kernel_size", kernel_size, count)
    steps = window
    if stride is not None and not (isinstance(stride, (tuple, list)) and not stride):
        steps = per_dimension(op, "stride", stride, count)
    before = per_dimension(op, "padding", padding, count)
    spread = per_dimension(op, "dilation", dilation, count)
    if any(n >= 1 << 31 for n in (*window, *steps, *before, *spread)):
        raise RuntimeError(
            f"{op}: value cannot be converted to type int without overflow; got kernel_size={window}, "
            f"stride={steps}, padding={before} and dilation={spread}"
        )
    if any(k <= 0 for k in window):
        raise RuntimeError(f"{op}: kernel size should be greater than zero, but got {window}")
    if any(s <= 0 for s in steps):
        raise RuntimeError(f"{op}: stride should be greater than zero, but got {steps}")
    if any(d <= 0 for d in spread):
        raise RuntimeError(f"{op}: dilation should be greater than zero, but got {spread}")
    reach = [d * (k - 1) + 1 for d, k in zip(spread, window, strict=True)]
    if any(p < 0 or p > r // 2 for p, r in zip(before, reach, strict=True)):
        raise RuntimeError(
            f"{op}: pad should be at least 0 and at most half of effective kernel size, but got "
            f"pad={before}, kernel_size={window} and dilation={spread}"
        )
    out = []
    for axis in range(count):
        room = size[axis] + 2 * before[axis] - reach[axis]
        made = (room + (steps[axis] - 1 if ceil_mode else 0)) // steps[axis] + 1
        if ceil_mode and (made - 1) * steps[axis] >= size[axis] + before[axis]:
            made -= 1  # the last window would begin in the padding
        out.append(made)
    if any(n < 1 for n in out) or 0 in size:
        raise RuntimeError(
            f"{op}: Given input size: {size}. Calculated output size: {tuple(out)}. "
            f"Output size is too small"
        )
    return {
        "kernel_size": window, "stride": steps, "padding": before, "dilation": spread,
        "out": tuple(out),
    }  # fmt: skip


# the checks of arguments that were seen before are a look-up; 1.0 is not taken for 1
_resolved = lru_cache(maxsize=4096, typed=True)(_resolve)


def resolve(*given: Any) -> dict[str, Any]:
    """:func:`_resolve`, kept; not to be written to."""
    try:
        return (_resolved if calls.exact(*given) else _resolve)(*given)
    except TypeError:  # an argument has no hash, or is wrong
        return _resolve(*given)


def _spatial(x: Layout, name: str, integers: bool = False) -> tuple[int, tuple[int, int, int]]:
    """(planes, sizes of the plane in three dimensions).

    Raises:
        NotImplementedError: neither floating point nor, with ``integers``, an integer.
    """
    if x.dtype is dt.bool_ or not (x.dtype.is_floating_point or integers):
        raise NotImplementedError(f"\"{name}\" not implemented for '{x.dtype.name}'")
    size = x.shape[2:]
    return x.shape[0] * x.shape[1], (1,) * (3 - len(size)) + size  # type: ignore[return-value]


_ONE = np.ones(1, np.int64)
_WHOLE: Table = (0 * _ONE, _ONE, _ONE)  # of a dimension that is not there
_MOST = 1 << 29  # windows along a dimension: a table of them takes 24 bytes each


def _along(out: int) -> np.ndarray:
    """The numbers of the outputs of a dimension.

    Raises:
        RuntimeError: there are too many for tables of their windows.
    """
    if out > _MOST:
        raise RuntimeError(f"pool: at most {_MOST} outputs along a dimension; got {out}")
    return np.arange(out)


def _adaptive(size: int, out: int) -> Table:
    """Windows that tile ``size`` inputs as evenly as ``out`` outputs can."""
    along = _along(out)
    firsts, ends = along * size // out, -(-(along + 1) * size // out)
    return firsts, ends, ends - firsts


def _maxima(size: int, axis: int, how: dict[str, Any]) -> Table:
    k, s, p, d, out = (
        how[n][axis] for n in ("kernel_size", "stride", "padding", "dilation", "out")
    )
    first = _along(out) * s - p
    return first + np.maximum(0, -(first // d)) * d, np.minimum(first + (k - 1) * d + 1, size)


def _means(size: int, axis: int, how: dict[str, Any], include_pad: bool) -> Table:
    k, s, p, out = (how[n][axis] for n in ("kernel_size", "stride", "padding", "out"))
    first = _along(out) * s - p
    padded_end = np.minimum(first + k, size + p)
    inside, end = np.maximum(first, 0), np.minimum(padded_end, size)
    return inside, end, padded_end - first if include_pad else end - inside


def _window(size: Shape, adaptive: bool, how: dict[str, Any]) -> Window | None:
    """The window, if all of them are alike."""
    if adaptive:
        return None
    return make_window(
        size, how["kernel_size"], how["out"], how["stride"], how["padding"], how["dilation"]
    )


def _plan_max(x: Layout, *, indexed: bool, adaptive: bool = False, **how: Any) -> Plan:
    planes, size = _spatial(x, "max_pool", integers=not adaptive)
    shape = (*x.shape[:2], *how["out"])
    outs: tuple[Layout, ...] = (layout(shape, x.dtype, x.device),)
    if indexed:
        outs = (*outs, layout(shape, dt.int64, x.device))
    if outs[0].numel == 0:
        return Plan(outs, nothing)
    family = kernel("pool", x.device)
    tables, window = _max_tables(x.shape[2:], adaptive, how), _window(x.shape[2:], adaptive, how)
    return Plan(outs, *family.max_pool(x.dtype.name, planes, size, tables, window, indexed))


def _max_tables(size: Shape, adaptive: bool, how: dict[str, Any]) -> list[Table]:
    """(first, end) of the windows in three dimensions."""
    if adaptive:
        tables = [_adaptive(n, o)[:2] for n, o in zip(size, how["out"], strict=True)]
    else:
        tables = [_maxima(n, axis, how) for axis, n in enumerate(size)]
    return [_WHOLE[:2]] * (3 - len(size)) + tables


def _plan_max_gather(x: Layout, index: Layout, **how: Any) -> Plan:
    planes, _ = _spatial(x, "max_pool_gather")
    made = layout(index.shape, x.dtype, x.device)
    inputs, outputs = math.prod(x.shape[2:]), math.prod(index.shape[2:])
    if made.numel == 0:
        return Plan((made,), nothing)
    family = kernel("pool", x.device)
    return Plan((made,), *family.max_pool_gather(x.dtype.name, planes, inputs, outputs))


def _plan_max_backward(
    y: Layout, index: Layout, *, size: Shape, adaptive: bool = False, **how: Any
) -> Plan:
    made = layout((*y.shape[:2], *size), y.dtype, y.device)
    planes, full = _spatial(made, "max_pool_backward")
    tables = _max_tables(size, adaptive, how)
    if made.numel == 0:
        return Plan((made,), nothing)
    family = kernel("pool", y.device)
    return Plan((made,), *family.max_pool_backward(y.dtype.name, planes, full, tables))


def _mean_tables(
    size: Shape, adaptive: bool, include_pad: bool, divisor: int | None, how: dict[str, Any]
) -> list[Table]:
    if adaptive:
        tables = [_adaptive(n, o) for n, o in zip(size, how["out"], strict=True)]
    else:
        tables = [_means(n, axis, how, include_pad) for axis, n in enumerate(size)]
    if divisor is not None:
        tables = [(f, e, np.ones_like(f)) for f, e, _ in tables]
        tables[0] = (*tables[0][:2], np.full_like(tables[0][0], divisor))
    return [_WHOLE] * (3 - len(size)) + tables


def _plan_mean(
    x: Layout,
    *,
    adaptive: bool = False,
    include_pad: bool = True,
    divisor: int | None = None,
    **how: Any,
) -> Plan:
    planes, size = _spatial(x, "avg_pool", integers=x.dtype is dt.int64 and not adaptive)
    made = layout((*x.shape[:2], *how["out"]), x.dtype, x.device)
    if made.numel == 0:
        return Plan((made,), nothing)
    tables = _mean_tables(x.shape[2:], adaptive, include_pad, divisor, how)
    window, family = _window(x.shape[2:], adaptive, how), kernel("pool", x.device)
    return Plan((made,), *family.avg_pool(x.dtype.name, planes, size, tables, window))


def _plan_avg_backward(
    y: Layout,
    *,
    size: Shape,
    adaptive: bool = False,
    include_pad: bool = True,
    divisor: int | None = None,
    **how: Any,
) -> Plan:
    made = layout((*y.shape[:2], *size), y.dtype, y.device)
    planes, full = _spatial(made, "avg_pool_backward")
    if made.numel == 0:
        return Plan((made,), nothing)
    tables = _mean_tables(size, adaptive, include_pad, divisor, how)
    family = kernel("pool", y.device)
    return Plan((made,), *family.avg_pool_backward(y.dtype.name, planes, full, tables))


max_pool = row_major("max_pool", _plan_max)
max_pool_gather = row_major("max_pool_gather", _plan_max_gather)
max_pool_backward = row_major("max_pool_backward", _plan_max_backward)
avg_pool = row_major("avg_pool", _plan_mean)
avg_pool_backward = row_major("avg_pool_backward", _plan_avg_backward)
