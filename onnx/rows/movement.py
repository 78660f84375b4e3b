"""Ops that move elements: joining, flipping, repeating, padding; and new arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.engine import dtype as dt
from tilegrad.onnx.errors import OnnxExporterError
from tilegrad.onnx.graph import Builder, rank
from tilegrad.onnx.rows.row import row
from tilegrad.onnx.rows.views import positions
from tilegrad.onnx.sizes import Size
from tilegrad.onnx.tracing import Step

_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@row("cat")
def _cat(g: Builder, step: Step) -> str:
    used = [x for x in step.operands if x.shape != (0,)] or step.operands[:1]
    names = [g.name(x) for x in used]
    return g.op("Concat", *names, axis=step.metadata["dim"] % rank(used[0]))


@row("stack")
def _stack(g: Builder, step: Step) -> str:
    axis = step.metadata["dim"] % rank(step.results[0])
    names = [g.op("Unsqueeze", g.name(x), g.axes([axis])) for x in step.operands]
    return g.op("Concat", *names, axis=axis)


@row("flip")
def _flip(g: Builder, step: Step) -> str:
    (x,) = step.operands
    axes = sorted({d % rank(x) for d in step.metadata["dims"]}) if rank(x) else []
    if not axes:
        return g.name(x)
    ones = np.ones(len(axes), np.int64)
    least = g.constant(ones * np.iinfo(np.int64).min)
    return g.op("Slice", g.name(x), g.constant(-ones), least, g.axes(axes), g.constant(-ones))


@row("roll")
def _roll(g: Builder, step: Step) -> str:
    (x,) = step.operands
    name = g.name(x)
    for by, dim in zip(step.metadata["shifts"], step.metadata["dims"], strict=True):
        axis = dim % max(rank(x), 1)
        if not rank(x) or x.shape[axis] == 0:
            continue
        size = x.shape[axis]
        cut = (size - by) % size if isinstance(size, Size) else (-by) % size
        if cut == 0:
            continue
        parts = [g.slice(name, axis, cut, None), g.slice(name, axis, 0, cut)]
        name = g.op("Concat", *parts, axis=axis)
    return name


@row("repeat")
def _repeat(g: Builder, step: Step) -> str:
    (x,) = step.operands
    times = step.metadata["times"]
    lead = len(times) - rank(x)
    name = g.op("Unsqueeze", g.name(x), g.axes(range(lead))) if lead else g.name(x)
    return g.op("Tile", name, g.ints(times)) if times else name


@row("pad")
def _pad(g: Builder, step: Step) -> str:
    (x,) = step.operands
    pairs = step.metadata["pairs"]
    name = g.name(x)
    wide = g.ints([*[b for b, _ in pairs], *[a for _, a in pairs]])
    mode = step.metadata.get("mode")
    if x.dtype is dt.bool_:
        name = g.cast(name, dt.uint8)
    kind = dt.uint8 if x.dtype is dt.bool_ else x.dtype
    if mode is None:
        value = g.constant(np.array(step.params[0], kind.numpy))
        name = g.op("Pad", name, wide, value)
    elif mode == "circular":
        name = _wrapped(g, name, step)
    else:
        name = g.op("Pad", name, wide, mode=_MODES[mode])
    return g.cast(name, dt.bool_) if x.dtype is dt.bool_ else name


def _wrapped(g: Builder, name: str, step: Step) -> str:
    """Circular padding, of parts of each dimension: the operator has it from opset 19 on, runtimes later."""
    (x,) = step.operands
    for axis, (before, after) in enumerate(step.metadata["pairs"]):
        size, parts = x.shape[axis], [name]
        if before > 0:
            parts.insert(0, g.slice(name, axis, size - before, None))
        if after > 0:
            parts.append(g.slice(name, axis, 0, after))
        name = g.op("Concat", *parts, axis=axis) if len(parts) > 1 else name
        if before < 0 or after < 0:
            stop = None if after >= 0 else after
            name = g.slice(name, axis, max(-before, 0), stop)
    return name


@row("arange")
def _arange(g: Builder, step: Step) -> str:
    (out,) = step.results
    start, _, by = step.params
    size = out.shape[0]
    if not isinstance(size, Size) and not isinstance(start, Size) and not isinstance(by, Size):
        return g.constant(step_values(start, by, size, out.dtype.numpy))
    counted = positions(g, size)
    kind = out.dtype if out.dtype.is_floating_point else dt.int64
    if kind is not dt.int64:
        counted = g.cast(counted, kind)
    if by != 1:
        counted = g.op("Mul", counted, g.number(by, kind))
    if start != 0:
        counted = g.op("Add", counted, g.number(start, kind))
    return counted if kind is out.dtype else g.cast(counted, out.dtype)


def step_values(start: Any, by: Any, size: int, dtype: Any) -> np.ndarray:
    """``start + i * by`` for i below ``size``: a constant of the graph."""
    return np.array([start + i * by for i in range(size)]).astype(dtype)


@row("linspace")
def _linspace(g: Builder, step: Step) -> str:
    (out,) = step.results
    start, end, by = step.params
    size = out.shape[0]
    if any(isinstance(v, Size) for v in (start, end)):
        raise OnnxExporterError("export: linspace between numbers that depend on sizes")
    if not isinstance(size, Size):
        values = [start + i * by for i in range(size)]
        if size > 1:
            values[-1] = end
        return g.constant(np.array(values).astype(out.dtype.numpy))
    along = g.cast(positions(g, size), dt.float64)
    last = g.cast(g.op("Squeeze", g.size(size - 1), g.axes([0])), dt.float64)
    by_one = g.op("Div", g.constant(np.float64(end - start)), last)
    made = g.op("Add", g.op("Mul", along, by_one), g.constant(np.float64(start)))
    return g.cast(made, out.dtype)


@row("triangle")
def _triangle(g: Builder, step: Step) -> str:
    (x,) = step.operands
    lower, diagonal = step.metadata["lower"], step.metadata["diagonal"]
    if x.dtype is dt.bool_:
        by_number = g.op(
            "Trilu",
            g.cast(g.name(x), dt.int64),
            g.constant(np.int64(diagonal)),
            upper=int(not lower),
        )
        return g.cast(by_number, dt.bool_)
    return g.op("Trilu", g.name(x), g.constant(np.int64(diagonal)), upper=int(not lower))
