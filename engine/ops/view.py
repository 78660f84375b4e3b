"""View ops: the same memory through another shape. Nothing is computed or copied."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from tilegrad.engine import calls
from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, shown, watched
from tilegrad.engine.shape import (
    Shape,
    as_index,
    as_indices,
    infer_size,
    normalize_dim,
    view_strides,
)

Geometry = tuple[Shape, Shape, int]  # shape, strides, offset in elements

KEPT = 4096  # plans of a view op: loops over the rows of a data set have no end of them


class ViewOp(Op):
    """The op whose result shares its operand's memory; ``geometry(layout, *values)`` says how, and the
    names of its parameters are those of the metadata.
    """

    __slots__ = ("geometry",)

    def __init__(self, name: str, geometry: Callable[..., Geometry]):
        self.geometry = geometry
        names = tuple(inspect.signature(geometry).parameters)[1:]
        super().__init__(name, self._plan, names, planar=True)

    def place(self, x: Layout, *values: Any) -> tuple[Layout, int]:
        """The view's layout, and how many bytes on from ``x`` it begins."""
        shape, strides, offset = self.geometry(x, *values)
        return layout(shape, x.dtype, x.device, strides), offset * x.itemsize

    def _plan(self, x: Layout, **metadata: Any) -> Plan:
        return shown(*self.place(x, *metadata.values()))


def of(op: ViewOp, x: Array, *values: Any) -> Array:
    """The view ``op`` of ``x``, with its metadata in order."""
    for value in values:
        if value.__class__ is bool or value.__class__ is float:  # equal to an int
            as_index(op.name, value)
    made: Array
    if len(op.plans) >= KEPT and not watched():
        with suppress(Exception):  # the op says what is wrong
            kind, step = op.place(x.layout, *values)
            made = calls.new(kind, x.storage, x.address + step)
            return made
    made = op(x, **dict(zip(op.names, values, strict=True)))
    return made


def _transpose(x: Layout, dim0: int, dim1: int) -> Geometry:
    a, b = normalize_dim("transpose", dim0, x.ndim), normalize_dim("transpose", dim1, x.ndim)
    shape, strides = list(x.shape), list(x.strides)
    if x.ndim:
        shape[a], shape[b] = shape[b], shape[a]
        strides[a], strides[b] = strides[b], strides[a]
    return tuple(shape), tuple(strides), 0


def _permute(x: Layout, dims: Shape) -> Geometry:
    if len(dims) != x.ndim:
        raise RuntimeError(
            f"permute: number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions; got {x.ndim} and {len(dims)}"
        )
    order = [normalize_dim("permute", d, x.ndim, place) for place, d in enumerate(dims)]
    if sorted(order) != list(range(x.ndim)):
        raise RuntimeError(
            f"permute: dims must name each of the {x.ndim} dimensions once; got {tuple(dims)}"
        )
    return tuple(x.shape[d] for d in order), tuple(x.strides[d] for d in order), 0


def _expand(x: Layout, shape: Shape) -> Geometry:
    lead = len(shape) - x.ndim
    if lead < 0:
        raise RuntimeError(
            f"expand: the number of sizes provided ({len(shape)}) must be greater or equal to the "
            f"number of dimensions in the tensor ({x.ndim}); got {x.describe()} and {shape}"
        )
    sizes, strides = [], []
    step = 1 if x.ndim else 0  # of a dimension put in front: what a view would have
    for axis in range(len(shape) - 1, -1, -1):
        size = shape[axis]
        if size.__class__ is not int or size >> 63 not in (0, -1):
            size = as_index("expand", size, "size", axis)
        have = x.shape[axis - lead] if axis >= lead else None
        if size == -1 and have is not None:
            size = have
        if size < 0 or (have not in (None, 1, size)):
            raise RuntimeError(
                f"expand: the expanded size ({size}) must match the existing size ({have}) at "
                f"non-singleton dimension {axis}; got {x.describe()} and {shape}"
            )
        stride = step if have is None else x.strides[axis - lead]
        sizes.append(size)
        strides.append(stride if size == (have or 1) or have == 0 else 0)
        step = size * strides[-1]
    return tuple(sizes[::-1]), tuple(strides[::-1]), 0


def _view(x: Layout, shape: Shape) -> Geometry:
    shape = as_indices("view", shape, "size")
    target = infer_size("view", shape, x.numel)
    strides = view_strides(x.shape, x.strides, target)
    if strides is None:
        raise RuntimeError(
            "view: view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead; "
            f"got {x.describe()} with strides {x.strides} and shape {target}"
        )
    return target, strides, 0


def _squeeze(x: Layout, dims: Shape | None) -> Geometry:
    names: Iterable[int] = range(x.ndim)
    if dims is not None:
        alone = -1 if len(dims) == 1 else 0  # the rule makes a tuple of one
        names = [normalize_dim("squeeze", d, x.ndim, place) for place, d in enumerate(dims, alone)]
        if len(set(names)) != len(names):
            raise RuntimeError(f"squeeze: each dimension may appear once; got dim={dims}")
    kept = [a for a in range(x.ndim) if not (a in names and x.shape[a] == 1)]
    return tuple(x.shape[a] for a in kept), tuple(x.strides[a] for a in kept), 0


def _unsqueeze(x: Layout, dim: int) -> Geometry:
    axis = normalize_dim("unsqueeze", dim, x.ndim + 1)
    step = x.shape[axis] * x.strides[axis] if axis < x.ndim else 1
    return (
        (*x.shape[:axis], 1, *x.shape[axis:]),
        (*x.strides[:axis], step, *x.strides[axis:]),
        0,
    )


def _select(x: Layout, dim: int, index: int) -> Geometry:
    if x.ndim == 0:
        raise IndexError("select: cannot be applied to a 0-dim tensor")
    axis = normalize_dim("select", dim, x.ndim)
    size = x.shape[axis]
    if not -size <= index < size:
        raise IndexError(
            f"select: index {index} is out of bounds for dimension {axis} with size {size}"
        )
    at = index + size if index < 0 else index
    return (
        (*x.shape[:axis], *x.shape[axis + 1 :]),
        (*x.strides[:axis], *x.strides[axis + 1 :]),
        at * x.strides[axis],
    )


def _slice(x: Layout, dim: int, start: int | None, stop: int | None, step: int) -> Geometry:
    axis = normalize_dim("slice", dim, x.ndim)
    if step <= 0:
        raise ValueError(f"slice: step must be greater than zero; got {step}")
    begin, end, _ = slice(start, stop, step).indices(x.shape[axis])
    size = max(0, -(-(end - begin) // step))
    return (
        (*x.shape[:axis], size, *x.shape[axis + 1 :]),
        (*x.strides[:axis], x.strides[axis] * step, *x.strides[axis + 1 :]),
        begin * x.strides[axis],
    )


def _as_strided(x: Layout, size: Shape, stride: Shape, offset: int) -> Geometry:
    if len(size) != len(stride) or any(s < 0 for s in (*size, *stride)):
        raise RuntimeError(
            f"as_strided: sizes and strides must be non-negative and of equal length; "
            f"got {size} and {stride}"
        )
    return tuple(size), tuple(stride), offset


def _diagonal(x: Layout, offset: int, dim1: int, dim2: int) -> Geometry:
    a, b = normalize_dim("diagonal", dim1, x.ndim), normalize_dim("diagonal", dim2, x.ndim)
    if a == b:
        raise RuntimeError(f"diagonal: dimensions cannot be identical; got {dim1}, {dim2}")
    offset = as_index("diagonal", offset, "offset")
    row, column = max(-offset, 0), max(offset, 0)
    size = max(0, min(x.shape[a] - row, x.shape[b] - column))
    kept = [d for d in range(x.ndim) if d not in (a, b)]
    start = row * x.strides[a] + column * x.strides[b] if size else 0
    return (
        (*(x.shape[d] for d in kept), size),
        (*(x.strides[d] for d in kept), x.strides[a] + x.strides[b]),
        start,
    )


def _unfold(x: Layout, dimension: int, size: int, step: int) -> Geometry:
    axis = normalize_dim("unfold", dimension, x.ndim)
    length = x.shape[axis] if x.ndim else 1
    size, step = as_index("unfold", size, "size"), as_index("unfold", step, "step")
    if not 0 <= size <= length or step <= 0:
        raise RuntimeError(
            f"unfold: maximum size for tensor at dimension {axis} is {length} but size is {size}, "
            f"and step must be positive; got step {step}"
        )
    if x.ndim == 0:
        return (size,), (1,), 0
    count = (length - size) // step + 1
    return (
        (*x.shape[:axis], count, *x.shape[axis + 1 :], size),
        (*x.strides[:axis], x.strides[axis] * step, *x.strides[axis + 1 :], x.strides[axis]),
        0,
    )


transpose = ViewOp("transpose", _transpose)
t = ViewOp("t", _transpose)
permute = ViewOp("permute", _permute)
expand = ViewOp("expand", _expand)
view = ViewOp("view", _view)
squeeze = ViewOp("squeeze", _squeeze)
unsqueeze = ViewOp("unsqueeze", _unsqueeze)
select = ViewOp("select", _select)
slice_ = ViewOp("slice", _slice)
as_strided = ViewOp("as_strided", _as_strided)
diagonal = ViewOp("diagonal", _diagonal)
unfold = ViewOp("unfold", _unfold)
