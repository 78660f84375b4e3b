"""Samples of images at the places of a grid, and their adjoints, as ops on row-major arrays.

``x`` is (N, C, *size), ``grid`` (N, *points, d) of d = 2 or 3 coordinates, the innermost axis first; the result
(N, C, *points).
"""

from __future__ import annotations

import math
from typing import Any

from tilegrad.engine.array import Layout, layout
from tilegrad.engine.dispatch import Plan, kernel
from tilegrad.engine.ops.conv import nothing
from tilegrad.engine.ops.elementwise import row_major
from tilegrad.engine.shape import Shape


def _arguments(shape: Shape, grid: Layout, how: dict[str, Any]) -> tuple[Any, ...]:
    """What launchers take after the dtype, for images of this shape."""
    dims, points = len(shape) - 2, math.prod(grid.shape[1:-1])
    size = (1,) * (3 - dims) + shape[2:]
    return *shape[:2], size, points, dims, how["mode"], how["padding"], how["align"]


def _plan(x: Layout, grid: Layout, **how: Any) -> Plan:
    made = layout((*x.shape[:2], *grid.shape[1:-1]), x.dtype, x.device)
    if not made.numel:
        return Plan((made,), nothing)
    launch = kernel("sample", x.device).sample(x.dtype.name, *_arguments(x.shape, grid, how))
    return Plan((made,), launch)


def _plan_images(g: Layout, grid: Layout, *, size: Shape, **how: Any) -> Plan:
    made = layout((*g.shape[:2], *size), g.dtype, g.device)
    if not made.numel:
        return Plan((made,), nothing)
    family = kernel("sample", g.device)
    return Plan((made,), family.sample_images(g.dtype.name, *_arguments(made.shape, grid, how)))


def _plan_grid(g: Layout, x: Layout, grid: Layout, **how: Any) -> Plan:
    made = layout(grid.shape, g.dtype, g.device)
    if not made.numel:
        return Plan((made,), nothing)
    family = kernel("sample", g.device)
    return Plan((made,), family.sample_grid(g.dtype.name, *_arguments(x.shape, grid, how)))


sample = row_major("grid_sample", _plan)
sample_images = row_major("grid_sample_images", _plan_images)
sample_grid = row_major("grid_sample_grid", _plan_grid)
