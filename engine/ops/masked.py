"""Mask ops: positions, selection and filling where a mask holds; triangles of matrices.

Where the size of a result depends on the mask, the mask is counted first and the count is read.
"""

from __future__ import annotations

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array, Layout, layout, window
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.ops.elementwise import OPS, clone, contiguous, copies_apart, scalar
from tilegrad.engine.shape import Shape
from tilegrad.engine.transfer import host


def _plan_starts(mask: Layout) -> Plan:
    tasks = kernel("index", mask.device).tasks_for(mask.numel)[0]
    out = layout((tasks + 1,), dt.int64, mask.device)
    return Plan((out,), kernel("masked", mask.device).mask_starts(mask.numel))


_starts = Op("mask_starts", _plan_starts)


def _count(starts: Array) -> int:
    last = window(starts, (1,), (1,), starts.layout.numel - 1)
    return int(host(last)[0])


def _plan_positions(mask: Layout, starts: Layout, count: int) -> Plan:
    out = layout((count,), dt.int64, mask.device)
    return Plan((out,), kernel("masked", mask.device).true_positions(mask.numel))


_positions = Op("true_positions", _plan_positions)


def _plan_coordinates(positions: Layout, shape: Shape) -> Plan:
    out = layout((len(shape), positions.numel), dt.int64, positions.device)
    launch = kernel("masked", out.device).coordinates(shape, positions.numel)
    return Plan((out,), launch)


_coordinates = Op("coordinates", _plan_coordinates)


def truth(x: Array) -> Array:
    """Where ``x`` is not zero, as bool."""
    if x.dtype is dt.bool_:
        return x
    result: Array = OPS["ne"](x, scalar(0, x.dtype, x.device))
    return result


def nonzero(x: Array) -> Array:
    """(dims, count) int64: the coordinates where ``x`` is not zero, row-major order."""
    mask = contiguous(truth(x))
    starts = _starts(mask)
    positions = _positions(mask, starts, count=_count(starts))
    result: Array = _coordinates(positions, shape=x.shape)
    return result


def _plan_select(x: Layout, mask: Layout, starts: Layout, count: int) -> Plan:
    out = layout((count,), x.dtype, x.device)
    return Plan((out,), kernel("masked", x.device).masked_select(x.itemsize, x.numel))


_select = Op("masked_select", _plan_select, planar=True)


def masked_select(x: Array, mask: Array) -> Array:
    """The elements of ``x``, row-major, where ``mask`` of the same shape holds."""
    x, mask = contiguous(x), contiguous(mask)
    starts = _starts(mask)
    result: Array = _select(x, mask, starts, count=_count(starts))
    return result


def _plan_fill(x: Layout, mask: Layout, starts: Layout, source: Layout) -> Plan:
    launch = kernel("masked", x.device).masked_scatter(x.itemsize, x.numel)
    return Plan((), launch, writes=(0,), apart=copies_apart, device=x.device)


_fill = Op("masked_scatter", _plan_fill, planar=True)  # writes over its first operand


def masked_scatter(x: Array, mask: Array, source: Array) -> Array:
    """A row-major copy of ``x`` with the elements of ``source``, in order, where ``mask`` holds.

    Raises:
        RuntimeError: ``source`` has too few elements.
    """
    mask = contiguous(mask)
    starts = _starts(mask)
    if _count(starts) > source.layout.numel:
        raise RuntimeError(
            f"masked_scatter: Number of elements of source < number of ones in mask; "
            f"got {source.layout.numel} and {_count(starts)}"
        )
    result: Array = _fill(clone(contiguous(x)), mask, starts, contiguous(source))
    return result


def _plan_triangle(x: Layout, diagonal: int, lower: bool) -> Plan:
    name = "tril" if lower else "triu"
    if x.ndim < 2:
        raise RuntimeError(
            f"{name}: input tensor must have at least 2 dimensions; got {x.describe()}"
        )
    rows, columns = x.shape[-2:]
    lines = x.numel // columns if columns else 0
    out = layout(x.shape, x.dtype, x.device)
    launch = kernel("masked", x.device).triangle(x.itemsize, lines, rows, columns, diagonal, lower)
    return Plan((out,), launch)


_triangle = Op("triangle", _plan_triangle, planar=True)


def triangle(x: Array, diagonal: int, lower: bool) -> Array:
    """The lower or upper triangle of each matrix, zero elsewhere; row-major."""
    result: Array = _triangle(contiguous(x), diagonal=diagonal, lower=lower)
    return result
