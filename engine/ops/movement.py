"""Ops that only move elements: joining, flipping, rolling, padding.

The planner of each says which boxes of the result come from which boxes of the operands; the
device copies box by box. A box of the source may be walked backwards or with stride 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tilegrad.engine import dtype as dt, number
from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.ops import parts
from tilegrad.engine.ops.elementwise import OPS, cast, contiguous
from tilegrad.engine.shape import (
    Shape,
    as_indices,
    merge_dims,
    normalize_dim,
    normalize_dims,
    numel,
)
from tilegrad.engine.transfer import host


class Box(NamedTuple):
    """``sizes`` elements, from element ``start`` of operand ``operand`` by ``strides`` to element
    ``target`` of the output.
    """

    sizes: Shape
    start: int
    strides: Shape
    target: int
    operand: int = 0


def _plan(out: Layout, boxes: list[Box], operands: int = 1) -> Plan:
    """Copy every box of the ``operands`` into ``out``."""
    family = kernel("movement", out.device)
    width = out.itemsize
    moves = []
    for box in boxes:
        if 0 in box.sizes:
            continue
        sizes, strides = merge_dims(box.sizes, (box.strides, out.strides))
        move = family.copy(width, sizes, *strides)
        moves.append((box.operand, box.start * width, box.target * width, move))
    if operands == len(moves) == 1 and moves[0][1:3] == (0, 0):
        return Plan((out,), moves[0][3])

    def launch(*addresses: int) -> None:
        result = addresses[-1]
        for operand, start, target, move in moves:
            move(addresses[operand] + start, result + target)

    return Plan((out,), launch)


def _offset(index: Shape, strides: Shape) -> int:
    return sum(i * s for i, s in zip(index, strides, strict=True))


# ------------------------------------------------------------------------------------- row-major


def _dense_plan(x: Layout) -> Plan:
    out = layout(x.shape, x.dtype, x.device)
    return _plan(out, [Box(x.shape, 0, x.strides, 0)])


_dense = Op("dense", _dense_plan, planar=True)


def dense(x: Array) -> Array:
    """``x`` if it is row-major, else a row-major copy, transposed in tiles."""
    if x.layout.contiguous:
        return x
    result: Array = _dense(x)
    return result


# ---------------------------------------------------------------------------------------- joining


def _in_common_dtype(op: str, arrays: tuple[Array, ...]) -> Sequence[Array]:
    """The operands cast to the dtype they promote to."""
    if not arrays:
        error = ValueError if op == "cat" else RuntimeError
        raise error(f"{op}: expected a non-empty list of Tensors; got none")
    first = arrays[0].layout.dtype
    for x in arrays:
        if x.layout.dtype is not first:
            break
    else:
        return arrays
    kind = dt.result_type(*((a.layout.dtype, 2 if a.layout.ndim else 1) for a in arrays))
    return [cast(a, kind) for a in arrays]


def _side_by_side(out: Layout, layouts: Sequence[Layout], axis: int) -> Plan | None:
    """One launch for operands that lie as their part of ``out`` does, if the device has it."""
    family = kernel("movement", out.device)
    if len(layouts) > family.JOINED or not all(x.contiguous for x in layouts):
        return None
    rows = numel(out.shape[:axis])
    runs = tuple([x.numel // max(rows, 1) for x in layouts])
    return Plan((out,), family.join(out.itemsize, rows, runs))


def _cat_plan(*layouts: Layout, dim: int) -> Plan:
    used = [(k, x) for k, x in enumerate(layouts) if x.shape != (0,)]
    for k, x in enumerate(layouts):
        if x.ndim == 0:
            raise RuntimeError(
                f"cat: zero-dimensional tensor (at position {k}) cannot be concatenated"
            )
    if not used:
        normalize_dim("cat", dim, 1)
        return Plan((layouts[0],), lambda *args: None)
    model = used[0][1]
    axis = normalize_dim("cat", dim, model.ndim)
    length = 0
    for k, x in used:
        if (x.ndim, x.shape[:axis], x.shape[axis + 1 :]) != (
            model.ndim, model.shape[:axis], model.shape[axis + 1 :],
        ):  # fmt: skip
            raise RuntimeError(
                f"cat: Sizes of tensors must match except in dimension {axis}; got {model.shape} "
                f"and, at position {k}, {x.shape}"
            )
        length += x.shape[axis]
    shape = (*model.shape[:axis], length, *model.shape[axis + 1 :])
    out = layout(shape, model.dtype, model.device)
    if len(used) == len(layouts):
        joined = _side_by_side(out, layouts, axis)
        if joined is not None:
            return joined
    boxes, at = [], 0
    for k, x in used:
        boxes.append(Box(x.shape, 0, x.strides, at * out.strides[axis], k))
        at += x.shape[axis]
    return _plan(out, boxes, len(layouts))


def _stack_plan(*layouts: Layout, dim: int) -> Plan:
    model = layouts[0]
    axis = normalize_dim("stack", dim, model.ndim + 1)
    for k, x in enumerate(layouts):
        if x.shape != model.shape:
            raise RuntimeError(
                f"stack: stack expects each tensor to be equal size; got {model.shape} at entry 0 "
                f"and {x.shape} at entry {k}"
            )
    shape = (*model.shape[:axis], len(layouts), *model.shape[axis:])
    out = layout(shape, model.dtype, model.device)
    joined = _side_by_side(out, layouts, axis)
    if joined is not None:
        return joined
    boxes = [
        Box(
            (*x.shape[:axis], 1, *x.shape[axis:]),
            0,
            (*x.strides[:axis], 0, *x.strides[axis:]),
            k * out.strides[axis],
            k,
        )
        for k, x in enumerate(layouts)
    ]
    return _plan(out, boxes, len(layouts))


cat_op = Op("cat", _cat_plan, ("dim",), planar=True)
stack_op = Op("stack", _stack_plan, ("dim",), planar=True)


def cat(*arrays: Array, dim: int) -> Array:
    """The arrays, in their common dtype, one after the other along ``dim``.

    Raises:
        RuntimeError: sizes differ elsewhere, or an array has no dimensions.
    """
    result: Array = cat_op(*_in_common_dtype("cat", arrays), dim=dim)
    return result


def stack(*arrays: Array, dim: int) -> Array:
    """The arrays, in their common dtype, along a new dimension ``dim``.

    Raises:
        RuntimeError: shapes differ.
    """
    result: Array = stack_op(*_in_common_dtype("stack", arrays), dim=dim)
    return result


# -------------------------------------------------------------------------------- flip and roll


def _flip_plan(x: Layout, dims: Shape) -> Plan:
    start, strides = 0, list(x.strides)
    for axis in normalize_dims("flip", dims, x.ndim) if dims else ():
        start += max(x.shape[axis] - 1, 0) * x.strides[axis]
        strides[axis] = -x.strides[axis]
    out = layout(x.shape, x.dtype, x.device)
    return _plan(out, [Box(x.shape, start, tuple(strides), 0)])


def _roll_plan(x: Layout, shifts: Shape, dims: Shape) -> Plan:
    shift = [0] * x.ndim
    for place, (by, dim) in enumerate(zip(shifts, dims, strict=True)):
        axis = normalize_dim("roll", dim, x.ndim, place)
        if x.ndim and x.shape[axis]:
            shift[axis] = (shift[axis] + by) % x.shape[axis]
    out = layout(x.shape, x.dtype, x.device)
    runs = [
        [Run(s, 0, n - s), Run(0, n - s, s)] if s else [Run(0, 0, n)]
        for n, s in zip(x.shape, shift, strict=True)
    ]
    return _plan(out, list(_boxes(x, out, runs)))


class Run(NamedTuple):
    """Along one dimension: ``size`` elements to ``target``… from ``start``, ``start + step``, …"""

    target: int
    start: int
    size: int
    step: int = 1


def _boxes(x: Layout, out: Layout, runs: list[list[Run]]) -> Iterator[Box]:
    """All combinations of one run per dimension."""
    chosen: list[tuple[Run, ...]] = [()]
    for options in runs:
        chosen = [(*taken, run) for taken in chosen for run in options if run.size]
    for combination in chosen:
        yield Box(
            tuple(r.size for r in combination),
            _offset(tuple(r.start for r in combination), x.strides),
            tuple(r.step * s for r, s in zip(combination, x.strides, strict=True)),
            _offset(tuple(r.target for r in combination), out.strides),
        )


flip = Op("flip", _flip_plan, ("dims",), planar=True)
roll = Op("roll", _roll_plan, ("shifts", "dims"), planar=True)


# --------------------------------------------------------------------------------------- repeating


def repeated(shape: Shape, times: Shape) -> tuple[Shape, Shape]:
    """(the result's shape, the same with every dimension apart as times and size)."""
    old = (1,) * (len(times) - len(shape)) + shape
    apart = tuple([n for pair in zip(times, old, strict=True) for n in pair])
    return tuple([t * n for t, n in zip(times, old, strict=True)]), apart


def _repeat_plan(x: Layout, times: Shape) -> Plan:
    as_indices("repeat", times, "repeats")
    if len(times) < x.ndim or any(t < 0 for t in times):
        raise RuntimeError(
            f"repeat: Number of dimensions of repeat dims can not be smaller than number of "
            f"dimensions of tensor; got {times} for {x.shape}"
        )
    shape, apart = repeated(x.shape, times)
    strides = (0,) * (len(times) - x.ndim) + x.strides
    wide = layout(apart, x.dtype, x.device)
    box = Box(apart, 0, tuple([s for stride in strides for s in (0, stride)]), 0)
    return Plan((layout(shape, x.dtype, x.device),), _plan(wide, [box]).launch)


repeat = Op("repeat", _repeat_plan, ("times",), planar=True)


# ---------------------------------------------------------------------------------------- padding

Pairs = tuple[tuple[int, int], ...]  # per dimension, elements before and after; negative crops


def _padded(x: Layout, pairs: Pairs) -> Layout:
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, pairs, strict=True))
    if any(n < 0 for n in shape):
        raise RuntimeError(
            f"pad: the result has a negative size; got {x.describe()} padded to {shape}"
        )
    return layout(shape, x.dtype, x.device)


def _constant_plan(x: Layout, pairs: Pairs) -> Plan:
    """Copy the interior, then fill a slab before and after it, dimension by dimension."""
    out = _padded(x, pairs)
    runs, slabs = [], []
    inside: list[tuple[int, int]] = []  # the interior's range in each dimension of out
    for n, (before, after) in zip(x.shape, pairs, strict=True):
        low, size = max(-before, 0), n + min(before, 0) + min(after, 0)
        runs.append([Run(max(before, 0), low, size)])
        inside.append((max(before, 0), max(before, 0) + size))
    for axis, (begin, end) in enumerate(inside):
        for low, high in ((0, begin), (end, out.shape[axis])):
            ranges = [*inside[:axis], (low, high), *((0, n) for n in out.shape[axis + 1 :])]
            slabs.append(ranges)
    interior = _plan(out, list(_boxes(x, out, runs))).launch
    fills = [f for f in (_fill(out, ranges) for ranges in slabs) if f is not None]

    def launch(source: int, target: int, value: float) -> None:
        interior(source, target)
        for offset, fill in fills:
            fill(target + offset, value)

    return Plan((out,), launch)


def _fill(out: Layout, ranges: list[tuple[int, int]]) -> tuple[int, Callable[..., None]] | None:
    """(byte offset, launch) that fills a box of ``out``; None for an empty box."""
    sizes = tuple(high - low for low, high in ranges)
    if any(n <= 0 for n in sizes):
        return None
    merged, strides = merge_dims(sizes, (out.strides,))
    formula = OPS["fill"].formula.function
    family = kernel("elementwise", out.device)
    launch = family.elementwise(formula, (out.dtype.name,), merged, strides, 1)
    return _offset(tuple(low for low, _ in ranges), out.strides) * out.itemsize, launch


def _reflect(n: int, before: int, after: int) -> list[Run]:
    if before >= n or after >= n:
        raise RuntimeError(
            f"pad: Padding size should be less than the corresponding input dimension; "
            f"got ({before}, {after}) for size {n}"
        )
    return [Run(0, before, before, -1), Run(before + n, n - 2, after, -1)]


def _replicate(n: int, before: int, after: int) -> list[Run]:
    if n == 0:
        raise RuntimeError("pad: replicate needs at least one element to repeat; got size 0")
    return [Run(0, 0, before, 0), Run(before + n, n - 1, after, 0)]


def _circular(n: int, before: int, after: int) -> list[Run]:
    if before > n or after > n:
        raise RuntimeError(
            f"pad: Padding value causes wrapping around more than once; "
            f"got ({before}, {after}) for size {n}"
        )
    return [Run(0, n - before, before), Run(before + n, 0, after)]


_BORDERS: dict[str, Callable[[int, int, int], list[Run]]] = {
    "reflect": _reflect, "replicate": _replicate, "circular": _circular,
}  # fmt: skip


def _border_boxes(out: Layout, pairs: Pairs, mode: str) -> list[Box]:
    """How the borders of ``out`` come from the rest of it: the last dimension's first, of the
    interior, and so on, each box on top of those before it.
    """
    boxes: list[Box] = []
    shape = [n - before - after for n, (before, after) in zip(out.shape, pairs, strict=True)]
    inside = [[Run(before, before, n)] for n, (before, _) in zip(shape, pairs, strict=True)]
    for axis in reversed(range(out.ndim)):
        before, after = pairs[axis]
        for run in _BORDERS[mode](shape[axis], before, after) if before or after else []:
            shifted = run._replace(start=before + run.start)
            whole = [[Run(0, 0, n)] for n in out.shape[axis + 1 :]]
            boxes += _boxes(out, out, [*inside[:axis], [shifted], *whole])
    return boxes


def _border_plan(x: Layout, pairs: Pairs, mode: str) -> Plan:
    out = _padded(x, pairs)
    interior = [[Run(before, 0, n)] for n, (before, _) in zip(x.shape, pairs, strict=True)]
    borders = [box._replace(operand=1) for box in _border_boxes(out, pairs, mode)]
    return _plan(out, [*_boxes(x, out, interior), *borders], 2)


def _border_backward_plan(grad: Layout, pairs: Pairs, mode: str) -> Plan:
    """In a copy of ``grad`` add every border to what it came from, then take the interior."""
    held = layout(grad.shape, grad.dtype, grad.device)
    out = _padded(grad, tuple([(-before, -after) for before, after in pairs]))
    if not held.numel:
        return Plan((out,), lambda source, result: None)
    begin = _plan(held, [Box(grad.shape, 0, grad.strides, 0)]).launch
    inner = Box(out.shape, _offset(tuple(b for b, _ in pairs), held.strides), held.strides, 0)
    finish = _plan(out, [inner]).launch
    adds = [
        _addition(held, part)
        for box in reversed(_border_boxes(held, pairs, mode))
        for part in _separate(box, held)
    ]

    def launch(source: int, result: int, scratch: int) -> None:
        begin(source, scratch)
        for target, border, add in adds:
            add(scratch + target, scratch + border, scratch + target)
        finish(scratch, result)

    return Plan((out,), launch, held.nbytes)


def _separate(box: Box, out: Layout) -> Iterator[Box]:
    """The box, or as many as elements come from one place."""
    for axis, (n, stride) in enumerate(zip(box.sizes, box.strides, strict=True)):
        if stride == 0 and n > 1:
            sizes = (*box.sizes[:axis], 1, *box.sizes[axis + 1 :])
            for k in range(n):
                yield box._replace(sizes=sizes, target=box.target + k * out.strides[axis])
            return
    yield box


def _addition(held: Layout, box: Box) -> tuple[int, int, Callable[..., None]]:
    """(byte offsets of the source of a box and of the box, launch) that adds the box to its source."""
    sizes, (source, border) = merge_dims(box.sizes, (box.strides, held.strides))
    name, size = held.dtype.name, held.itemsize
    add = kernel("elementwise", held.device).elementwise(
        OPS["add"].formula.function, (name,) * 3, sizes, (source, border, source)
    )
    return box.start * size, box.target * size, add


pad_constant = Op("pad", _constant_plan, planar=True)  # params: the value
pad_border = Op("pad", _border_plan, planar=True)
_border_backward = Op("pad_backward", _border_backward_plan)


def pad(x: Array, pairs: Pairs, mode: str, value: float) -> Array:
    """``x`` with elements added per dimension before and after (cut off, where negative).

    Args:
        mode: ``constant`` (``value``), ``reflect`` (mirrored, the edge not repeated),
            ``replicate`` (the edge repeated) or ``circular``.
    """
    if mode != "constant":
        made: Array = pad_border(x, pairs=pairs, mode=mode)
        return made
    filled = number.padding(value, x.dtype, "pad")
    made = pad_constant(x, params=(filled,), pairs=pairs)
    return made


def pad_backward(grad: Array, pairs: Pairs, mode: str) -> Array:
    """The gradient of the input of :func:`pad`, of another mode than ``constant``."""
    if grad.layout.dtype.is_complex:  # by parts, along one more dimension
        found = _border_backward(parts.parts(grad), pairs=(*pairs, (0, 0)), mode=mode)
        made: Array = parts.whole(found)
        return made
    result: Array = _border_backward(grad, pairs=pairs, mode=mode)
    return result


def _repeated_plan(counts: Layout, room: int) -> Plan:
    launch = kernel("movement", counts.device).repeated_indices(
        counts.dtype.name, counts.numel, room
    )
    outs = (layout((room,), dt.int64, counts.device), layout((1,), dt.int64, counts.device))
    return Plan(outs, launch, getattr(launch, "scratch", 0))


_repeated = Op("repeated_indices", _repeated_plan)


def repeated_indices(counts: Array, total: int | None = None) -> Array:
    """Index i ``counts[i]`` times, for every i in order: int64.

    Args:
        counts: (N,) integers.
        total: their sum, if known: saves a pass.

    Raises:
        RuntimeError: a count is negative, or the sum is not ``total``.
    """
    counts = contiguous(counts)
    out, status = _repeated(counts, room=0 if total is None else total)
    found = int(host(status)[0])
    if found < 0:
        raise RuntimeError("repeat_interleave: repeats can not be negative")
    if total is None and found:
        out, status = _repeated(counts, room=found)
    elif total not in (None, found):
        raise RuntimeError(
            f"repeat_interleave: output_size must be the sum of repeats; got {total} and {found}"
        )
    result: Array = out
    return result
