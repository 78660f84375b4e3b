"""Reading and writing by indices, and by masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.engine import dtype as dt
from tilegrad.onnx.errors import UnsupportedOperatorError
from tilegrad.onnx.graph import Builder, rank
from tilegrad.onnx.rows.row import row
from tilegrad.onnx.sizes import moving, product
from tilegrad.onnx.tracing import Step, Value

_COMBINE = {
    "set": "none",
    "sum": "add",
    "prod": "mul",
    "amax": "max",
    "amin": "min",
    "mul": "mul",
    "max": "max",
    "min": "min",
}


@row("linear_index")
def _linear(g: Builder, step: Step) -> list[str | None]:
    """Several indices as one through the dimensions that they index, row-major; negative ones from the end."""
    sizes = step.metadata["sizes"]
    total = ""
    for axis, (index, size) in enumerate(zip(step.operands, sizes, strict=True)):
        name = g.name(index)
        low = g.op("Less", name, g.constant(np.int64(0)))
        name = g.op("Where", low, g.op("Add", name, g.size(size)), name)
        rest = product(sizes[axis + 1 :])
        if rest != 1:
            name = g.op("Mul", name, g.size(rest))
        total = g.op("Add", total, name) if total else name
    out = step.results[0]
    if not rank(out):
        total = g.op("Reshape", total, g.constant(np.zeros(0, np.int64)))
    return [total, None]


def _joined(g: Builder, x: Value, dims: tuple[int, ...]) -> tuple[str, list[int]]:
    """(``x`` with the indexed dimensions first, as one; the order of its dimensions)."""
    rest = [d for d in range(rank(x)) if d not in dims]
    order = [*dims, *rest]
    turned = g.transpose(g.name(x), order)
    return g.reshape(
        turned, [product([x.shape[d] for d in dims]), *[x.shape[d] for d in rest]]
    ), order


@row("take_rows")
def _take(g: Builder, step: Step) -> list[str | None]:
    x, index = step.operands
    dims, at = step.metadata["dims"], step.metadata["at"]
    if len(dims) == 1 and at == dims[0]:
        return [g.op("Gather", g.name(x), g.name(index), axis=dims[0]), None]
    whole, _ = _joined(g, x, dims)
    made = g.op("Gather", whole, g.name(index), axis=0)
    count = rank(index)
    rest = rank(x) - len(dims)
    order = [*range(count, count + at), *range(count), *range(count + at, count + rest)]
    return [g.transpose(made, order), None]


@row("gather_elements")
def _gather(g: Builder, step: Step) -> list[str | None]:
    x, index = step.operands
    if not rank(x):
        flat = g.op("Unsqueeze", g.name(x), g.axes([0]))
        return [g.op("Gather", flat, g.name(index), axis=0), None]
    return [
        g.op("GatherElements", g.name(x), g.name(index), axis=step.metadata["dim"] % rank(x)),
        None,
    ]


@row("put_rows")
def _put(g: Builder, step: Step) -> list[str | None]:
    x, index, source = step.operands
    dims, at = step.metadata["dims"], step.metadata["at"]
    how = _combined(step.metadata["combine"])
    whole, order = _joined(g, x, dims)
    count = rank(index)
    front = [*range(at, at + count), *range(at), *range(at + count, rank(source))]
    moved = g.transpose(g.name(source), front)
    places = g.op("Unsqueeze", g.name(index), g.axes([count]))
    made = g.op("ScatterND", whole, places, moved, reduction=how)
    made = g.reshape(made, [x.shape[d] for d in order])
    back = [order.index(d) for d in range(rank(x))]
    return [g.transpose(made, back)]


def _combined(name: str) -> str:
    if name not in _COMBINE:
        raise UnsupportedOperatorError(f"export: ONNX has no scatter that combines by {name}")
    return _COMBINE[name]


@row("scatter_elements")
def _scatter(g: Builder, step: Step) -> list[str | None]:
    x, index, source = step.operands
    how = _combined(step.metadata["combine"])
    if not rank(x):
        names = [g.op("Unsqueeze", g.name(v), g.axes([0])) for v in step.operands]
        made = g.op("ScatterElements", *names, axis=0, reduction=how)
        return [g.op("Squeeze", made, g.axes([0]))]
    given = g.name(source)
    if source.shape != index.shape:
        axes = list(range(rank(x)))
        given = g.op("Slice", given, g.axes([0] * rank(x)), g.ints(index.shape), g.axes(axes))
    axis = step.metadata["dim"] % rank(x)
    return [g.op("ScatterElements", g.name(x), g.name(index), given, axis=axis, reduction=how)]


# -------------------------------------------------------------------------------------- by masks


def _flat(g: Builder, x: Value) -> str:
    return g.op("Reshape", g.name(x), g.constant([-1], np.int64))


@row("mask_starts")
def _starts(g: Builder, step: Step) -> list[str | None]:
    """Counts on the way to positions, which ONNX finds without."""
    return [None]


@row("true_positions")
def _positions(g: Builder, step: Step) -> str:
    found = g.op("NonZero", _flat(g, step.operands[0]))
    return g.op("Reshape", found, g.constant([-1], np.int64))


@row("coordinates")
def _coordinates(g: Builder, step: Step) -> str:
    """The place of each position in ``shape``, a row a dimension."""
    name, shape = g.name(step.operands[0]), step.metadata["shape"]
    lines = []
    for axis, size in enumerate(shape):
        after = product(shape[axis + 1 :])
        line = g.op("Div", name, g.size(after)) if after != 1 else name
        lines.append(g.op("Unsqueeze", g.op("Mod", line, g.size(size)), g.axes([0])))
    if not lines:
        return g.op("Reshape", name, g.constant([0, -1], np.int64), allowzero=1)
    return g.op("Concat", *lines, axis=0)


@row("masked_select")
def _select(g: Builder, step: Step) -> str:
    x, mask = step.operands[:2]
    return g.op("Compress", _flat(g, x), _flat(g, mask), axis=0)


@row("strided_offsets")
def _offsets(g: Builder, step: Step) -> str:
    how = step.metadata
    shape, strides, start = how["shape"], how["strides"], how["start"]
    if moving((shape, strides, start)):
        raise UnsupportedOperatorError("export: places in memory that depend on sizes of inputs")
    places: Any = np.full(shape, start, np.int64)
    for axis, (n, stride) in enumerate(zip(shape, strides, strict=True)):
        along = np.arange(n, dtype=np.int64) * stride
        places = places + along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return g.constant(places.astype(dt.int64.numpy))
