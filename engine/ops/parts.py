"""Views between complex arrays and their parts."""

from __future__ import annotations

from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, shown


def _parts_plan(x: Layout) -> Plan:
    strides = (*[2 * s for s in x.strides], 1)
    return shown(layout((*x.shape, 2), x.dtype.to_real(), x.device, strides), 0)


def _whole_plan(x: Layout) -> Plan:
    strides = tuple([s // 2 for s in x.strides[:-1]])
    return shown(layout(x.shape[:-1], x.dtype.to_complex(), x.device, strides), 0)


def _part_plan(x: Layout, place: int) -> Plan:
    kind = x.dtype.to_real()
    strides = tuple([2 * s for s in x.strides])
    return shown(layout(x.shape, kind, x.device, strides), place * kind.itemsize)


parts = Op("view_as_real", _parts_plan, planar=True)
whole = Op("view_as_complex", _whole_plan)
real = Op("real", lambda x: _part_plan(x, 0), planar=True)
imag = Op("imag", lambda x: _part_plan(x, 1), planar=True)


def part(x: Array, place: int) -> Array:
    """The real (0) or the imaginary (1) parts of a complex array."""
    made: Array = (real, imag)[place](x)
    return made
