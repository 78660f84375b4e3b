"""Views, and writes to them: of values, a view is a result like any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad.engine.ops import view as views
from tilegrad.onnx.errors import OnnxExporterError
from tilegrad.onnx.graph import Builder, rank
from tilegrad.onnx.rows.row import ROWS, row
from tilegrad.onnx.sizes import Size, moving, product
from tilegrad.onnx.tracing import Step, Value


@row("transpose", "t")
def _transpose(g: Builder, step: Step) -> str:
    (x,) = step.operands
    order = list(range(rank(x)))
    if order:
        a, b = step.metadata["dim0"] % rank(x), step.metadata["dim1"] % rank(x)
        order[a], order[b] = order[b], order[a]
    return g.transpose(g.name(x), order)


@row("permute")
def _permute(g: Builder, step: Step) -> str:
    (x,) = step.operands
    return g.transpose(g.name(x), [d % rank(x) for d in step.metadata["dims"]])


@row("expand")
def _expand(g: Builder, step: Step) -> str:
    """One where a size is one; sizes that stay are given as one, so that they follow the operand."""
    (x,), (out,) = step.operands, step.results
    lead = rank(out) - rank(x)
    wanted = [1 if a >= lead and x.shape[a - lead] == n else n for a, n in enumerate(out.shape)]
    return g.op("Expand", g.name(x), g.ints(wanted))


@row("view")
def _view(g: Builder, step: Step) -> str:
    (x,), (out,) = step.operands, step.results
    return g.reshape(g.name(x), out.shape, x)


@row("squeeze")
def _squeeze(g: Builder, step: Step) -> str:
    (x,), (out,) = step.operands, step.results
    dims = step.metadata["dims"]
    names = range(rank(x)) if dims is None else [d % max(rank(x), 1) for d in dims]
    gone = [a for a in range(rank(x)) if a in names and x.shape[a] == 1]
    if len(gone) != rank(x) - rank(out):
        raise OnnxExporterError("export: squeeze of a size that is one in some runs only")
    return g.op("Squeeze", g.name(x), g.axes(gone)) if gone else g.name(x)


@row("unsqueeze")
def _unsqueeze(g: Builder, step: Step) -> str:
    (x,) = step.operands
    return g.op("Unsqueeze", g.name(x), g.axes([step.metadata["dim"] % (rank(x) + 1)]))


@row("select")
def _select(g: Builder, step: Step) -> str:
    (x,) = step.operands
    axis, index = step.metadata["dim"] % rank(x), step.metadata["index"]
    index = _from_either_end(index, x.shape[axis])
    at = g.size(index)
    if not isinstance(index, Size):
        return g.op("Gather", g.name(x), g.constant(np.array(index, np.int64)), axis=axis)
    return g.op("Squeeze", g.op("Gather", g.name(x), at, axis=axis), g.axes([axis]))


@row("slice")
def _slice(g: Builder, step: Step) -> str:
    (x,) = step.operands
    axis = step.metadata["dim"] % rank(x)
    start, stop = step.metadata["start"], step.metadata["stop"]
    size = x.shape[axis]
    if stop == size and isinstance(size, Size):
        stop = None
    _check_bounds(start, stop)
    return g.slice(g.name(x), axis, 0 if start is None else start, stop, step.metadata["step"])


@row("getitem")
def _getitem(g: Builder, step: Step) -> str:
    """Indices, slices and new dimensions at once: slices first, then indices, then new dimensions."""
    (x,) = step.operands
    name, axis, gone, new, place = g.name(x), 0, [], [], 0
    bounds: list[tuple[int, Any, Any, int]] = []
    for part in step.metadata["parts"]:
        if part is None:
            new.append(place)
            place += 1
        elif isinstance(part, tuple):
            start, stop, by = part
            _check_bounds(start, stop)
            if (start, stop, by) != (None, None, 1):
                bounds.append((axis, 0 if start is None else start, stop, by))
            axis, place = axis + 1, place + 1
        else:
            name = g.op("Gather", name, g.size(_from_either_end(part, x.shape[axis])), axis=axis)
            gone.append(axis)
            axis += 1
    if bounds:
        ends = [np.iinfo(np.int64).max if b[2] is None else b[2] for b in bounds]
        name = g.op(
            "Slice", name, g.ints([b[1] for b in bounds]), g.ints(ends), g.axes([b[0] for b in bounds]),
            g.ints([b[3] for b in bounds]),
        )  # fmt: skip
    if gone:
        name = g.op("Squeeze", name, g.axes(gone))
    return g.op("Unsqueeze", name, g.axes(new)) if new else name


def _from_either_end(index: Any, size: Any) -> Any:
    """An index that is another in other runs, from the end if it is one number there."""
    if isinstance(index, Size):
        from_end = index - size
        return index if isinstance(from_end, Size) else from_end
    return index


def _check_bounds(*bounds: Any) -> None:
    for bound in bounds:
        if isinstance(bound, Size) and min(bound.values) < 0 < max(bound.values):
            raise OnnxExporterError("export: slice from an end that is another one in other runs")


@row("unfold")
def _unfold(g: Builder, step: Step) -> str:
    """Windows of one dimension, as positions to gather: (count, size), the size moved last."""
    (x,), (out,) = step.operands, step.results
    if not rank(x):
        return g.op("Unsqueeze", g.name(x), g.axes([0]))
    axis = step.metadata["dimension"] % rank(x)
    size, stride = step.metadata["size"], step.metadata["step"]
    firsts = g.op("Mul", positions(g, out.shape[axis]), g.constant([stride], np.int64))
    places = g.op("Add", g.op("Unsqueeze", firsts, g.axes([1])), positions(g, size))
    made = g.op("Gather", g.name(x), places, axis=axis)
    order = [a for a in range(rank(x) + 1) if a != axis + 1]
    return g.transpose(made, [*order, axis + 1])


@row("diagonal")
def _diagonal(g: Builder, step: Step) -> str:
    (x,), (out,) = step.operands, step.results
    a, b = step.metadata["dim1"] % rank(x), step.metadata["dim2"] % rank(x)
    offset = step.metadata["offset"]
    moved = [d for d in range(rank(x)) if d not in (a, b)]
    turned = g.transpose(g.name(x), [*moved, a, b])
    flat = g.reshape(turned, [*out.shape[:-1], x.shape[a] * x.shape[b]])
    start = max(-offset, 0) * x.shape[b] + max(offset, 0)
    along = g.op("Mul", positions(g, out.shape[-1]), g.size(x.shape[b] + 1))
    return g.op("Gather", flat, g.op("Add", along, g.size(start)), axis=rank(out) - 1)


def positions(g: Builder, size: Any) -> str:
    """0 … size - 1, int64."""
    if not isinstance(size, Size):
        return g.constant(np.arange(size, dtype=np.int64))
    end = g.op("Squeeze", g.size(size), g.axes([0]))
    return g.op("Range", g.constant(np.int64(0)), end, g.constant(np.int64(1)))


@row("as_strided")
def _as_strided(g: Builder, step: Step) -> str:
    """Elements gathered from the operand's memory, which is gapless: its dimensions in memory's order."""
    (x,), (out,) = step.operands, step.results
    order = sorted(range(rank(x)), key=lambda a: _first(x.strides[a]), reverse=True)
    lie = product(x.shape)
    reach = sum([(n - 1) * s for n, s in zip(x.shape, x.strides)], 1) if rank(x) else 1
    if reach != lie:
        raise OnnxExporterError("export: as_strided of memory with gaps")
    flat = g.op("Reshape", g.transpose(g.name(x), order), g.constant([-1], np.int64))
    at = g.size(step.metadata["offset"])
    for axis, (n, stride) in enumerate(zip(out.shape, step.metadata["stride"], strict=True)):
        along = g.op("Mul", positions(g, n), g.size(stride))
        shape = [1] * rank(out)
        shape[axis] = -1
        at = g.op("Add", at, g.op("Reshape", along, g.constant(shape, np.int64)))
    if not rank(out):
        at = g.op("Squeeze", at, g.axes([0]))
    return g.op("Gather", flat, at, axis=0)


def _first(value: Any) -> int:
    return int(value.values[0] if isinstance(value, Size) else value)


@row("written_view")
def _written(g: Builder, step: Step) -> str:
    """The operand with its view replaced: the view of its elements' numbers says where each one goes."""
    (whole, part), (out,) = step.operands, step.results
    metadata = {n: v for n, v in step.metadata.items() if n != "view"}
    op = step.metadata["view"]
    plain = Value(whole.shape, part.dtype, _row_major(whole.shape), "result")
    count = product(whole.shape)
    g.bind(plain, g.reshape(positions(g, count), whole.shape))
    strides = metadata.get("stride")
    if op is views.as_strided and whole.strides != plain.strides:
        raise OnnxExporterError(f"export: a write through as_strided with strides {strides}")
    where = Value(part.shape, part.dtype, part.strides, "result")
    places = ROWS[op.name](g, Step(op.name, op, (plain,), (where,), (), metadata))
    flat = g.constant([-1], np.int64)
    made = g.op(
        "ScatterElements", g.op("Reshape", g.name(whole), flat), g.op("Reshape", str(places), flat),
        g.op("Reshape", g.name(part), flat), axis=0,
    )  # fmt: skip
    return g.reshape(made, out.shape) if moving(out.shape) or rank(out) != 1 else made


def _row_major(shape: Sequence[Any]) -> tuple[Any, ...]:
    strides: list[Any] = []
    step: Any = 1
    for size in reversed(shape):
        strides.append(step)
        step = size * step if isinstance(size, Size) else step * size
    return tuple(strides[::-1])
