"""Sorting and searching along the last dimension."""

from __future__ import annotations

from tilegrad.engine import dtype as dt
from tilegrad.onnx.errors import UnsupportedOperatorError
from tilegrad.onnx.graph import Builder, rank
from tilegrad.onnx.rows.row import row
from tilegrad.onnx.tracing import Step, Value


def _top(g: Builder, x: Value, count: str, largest: bool) -> list[str]:
    name = (
        g.cast(g.name(x), dt.int32)
        if x.dtype in (dt.bool_, dt.int8, dt.int16, dt.uint8)
        else g.name(x)
    )
    values, places = g.ops("TopK", name, count, count=2, axis=-1, largest=int(largest), sorted=1)
    return [values if name == g.name(x) else g.cast(values, x.dtype), places]


@row("sort")
def _sort(g: Builder, step: Step) -> list[str]:
    (x,) = step.operands
    return _top(g, x, g.size(x.shape[-1]), step.metadata["descending"])


@row("topk")
def _topk(g: Builder, step: Step) -> list[str]:
    (x,) = step.operands
    return _top(g, x, g.size(step.metadata["k"]), step.metadata["largest"])


@row("kthvalue")
def _kth(g: Builder, step: Step) -> list[str]:
    """The one at a place of the sorted row: of a median the lower one in the middle."""
    (x,) = step.operands
    which = step.metadata["which"]
    if which == -2:
        raise UnsupportedOperatorError("export: nanmedian: ONNX sorts no row without its NaNs")
    at = (x.shape[-1] - 1) // 2 if which == -1 else which
    values, places = _top(g, x, g.size(x.shape[-1]), False)
    return [g.op("Gather", v, g.size(at), axis=rank(x) - 1) for v in (values, places)]


@row("searchsorted")
def _search(g: Builder, step: Step) -> str:
    """How many borders are smaller, counted one by one."""
    borders, values = step.operands
    if rank(borders) > 1:
        spread = [g.op("Unsqueeze", g.name(borders), g.axes([rank(borders) - 1]))]
    else:
        spread = [g.name(borders)]
    wide = g.op("Unsqueeze", g.name(values), g.axes([rank(values)]))
    op = "LessOrEqual" if step.metadata["right"] else "Less"
    below = g.cast(g.op(op, spread[0], wide), dt.int64)
    return g.op("ReduceSum", below, g.axes([-1]), keepdims=0)
