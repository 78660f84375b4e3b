"""Normalisations."""

from __future__ import annotations

import numpy as np

from tilegrad.onnx.errors import UnsupportedOperatorError
from tilegrad.onnx.graph import Builder, rank
from tilegrad.onnx.rows.reduce import over
from tilegrad.onnx.rows.row import row
from tilegrad.onnx.sizes import Size, product
from tilegrad.onnx.tracing import Step, Value


@row("row_norm")
def _row_norm(g: Builder, step: Step) -> list[str | None]:
    """LayerNormalization of the last dimensions, GroupNormalization's meaning of channels."""
    rows, weighted, biased = step.how
    x, *rest = step.operands
    eps = float(step.params[0])
    weight = rest[0] if weighted else None
    bias = rest[-1] if biased else None
    nothing: list[str | None] = [None] * (len(step.results) - 1)
    if isinstance(rows.S, Size) or rows.S:
        return [_groups(g, x, weight, bias, rows, eps), *nothing]
    axis = rank(x)
    while axis and product(x.shape[axis:]) != rows.n:
        axis -= 1
    while axis and x.shape[axis - 1] == 1 and weight is not None and rank(weight) > rank(x) - axis:
        axis -= 1
    shape = x.shape[axis:]
    if rows.centred and not any(isinstance(n, Size) for n in shape):
        scale = g.name(weight) if weight else g.constant(np.ones(shape, x.dtype.numpy))
        more = [g.name(bias)] if bias else []
        return [
            g.op("LayerNormalization", g.name(x), scale, *more, axis=axis, epsilon=eps),
            *nothing,
        ]
    made = _normed(g, g.name(x), x, range(axis, rank(x)), rows.centred, eps)
    if weight:
        made = g.op("Mul", made, g.name(weight))
    return [g.op("Add", made, g.name(bias)) if bias else made, *nothing]


def _normed(g: Builder, name: str, x: Value, dims: range, centred: bool, eps: float) -> str:
    if centred:
        name = g.op("Sub", name, over(g, "ReduceMean", name, dims, True))
    mean = over(g, "ReduceMean", g.op("Mul", name, name), dims, True)
    return g.op("Div", name, g.op("Sqrt", g.op("Add", mean, g.like(x, eps))))


def _groups(
    g: Builder, x: Value, weight: Value | None, bias: Value | None, rows: object, eps: float
) -> str:
    """Rows of (N, groups, …), scaled by channel of what ``x`` looks like in the end."""
    groups, n, S = (getattr(rows, a) for a in ("groups", "n", "S"))
    channels = n // S * groups
    if isinstance(channels, Size) or isinstance(groups, Size):
        channels, groups = x.shape[1], groups
    if isinstance(groups, Size):  # an instance norm over (1, N C, …): each channel is a group
        raise UnsupportedOperatorError(
            "export: a group norm whose groups depend on sizes of inputs"
        )
    split = g.op("Reshape", g.name(x), g.constant([0, groups, -1], np.int64))
    made = _normed(g, split, x, range(2, 3), True, eps)
    made = g.op("Reshape", made, g.shape(g.name(x)))
    wide = [-1, *[1] * (rank(x) - 2)]
    for op, given in (("Mul", weight), ("Add", bias)):
        if given is not None:
            made = g.op(op, made, g.op("Reshape", g.name(given), g.constant(wide, np.int64)))
    return made


@row("batch_norm")
def _batch_norm(g: Builder, step: Step) -> list[str | None]:
    weighted, biased, running = (step.metadata[n] for n in ("weighted", "shifted", "tracked"))
    x, *rest = step.operands
    eps, momentum = (float(p) for p in step.params)
    channels = x.shape[1]
    weight = g.name(rest[0]) if weighted else g.constant(np.ones(channels, x.dtype.numpy))
    bias = g.name(rest[weighted]) if biased else g.constant(np.zeros(channels, x.dtype.numpy))
    if not step.metadata["training"]:
        mean, var = (g.name(v) for v in rest[-2:])
        return [
            g.op("BatchNormalization", g.name(x), weight, bias, mean, var, epsilon=eps),
            None,
            None,
        ]
    dims = [0, *range(2, rank(x))]
    name = g.name(x)
    wide = g.constant([1, -1, *[1] * (rank(x) - 2)], np.int64)
    mean = over(g, "ReduceMean", name, dims, True)
    apart = g.op("Sub", name, mean)
    var = over(g, "ReduceMean", g.op("Mul", apart, apart), dims, True)
    made = g.op("Div", apart, g.op("Sqrt", g.op("Add", var, g.like(x, eps))))
    made = g.op(
        "Add", g.op("Mul", made, g.op("Reshape", weight, wide)), g.op("Reshape", bias, wide)
    )
    after: list[str | None] = []
    if running:
        count = product([x.shape[d] for d in dims])
        whole = g.number(count, x.dtype)
        unbiased = g.op("Mul", var, g.op("Div", whole, g.op("Sub", whole, g.like(x, 1.0))))
        for old, now in zip(rest[-2:], (mean, unbiased), strict=True):
            flat = g.op("Reshape", now, g.constant([-1], np.int64))
            kept = g.op("Mul", g.name(old), g.like(x, 1.0 - momentum))
            after.append(g.op("Add", kept, g.op("Mul", flat, g.like(x, momentum))))
    return [made, None, None, *after]
