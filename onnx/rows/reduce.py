"""Reductions, softmax, scans and losses over classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilegrad.engine import dtype as dt
from tilegrad.onnx.errors import UnsupportedOperatorError
from tilegrad.onnx.graph import Builder, rank
from tilegrad.onnx.rows.row import Row, row
from tilegrad.onnx.sizes import Size, product
from tilegrad.onnx.tracing import Step, Value


def over(g: Builder, op: str, name: str, dims: Sequence[int], keepdim: bool) -> str:
    """A reduction over ``dims``; of none, the operand."""
    if not dims:
        return g.op(op, name, g.axes([]), keepdims=int(keepdim), noop_with_empty_axes=1)
    return g.op(op, name, g.axes(dims), keepdims=int(keepdim))


def _given(step: Step) -> tuple[Value, tuple[int, ...], bool, Any]:
    how = step.metadata
    return step.operands[0], tuple(how["dims"]), how["keepdim"], how["p"]


def _widened(g: Builder, x: Value) -> str:
    """Integers are totalled as int64."""
    return (
        g.name(x)
        if x.dtype.is_floating_point or x.dtype is dt.int64
        else g.cast(g.name(x), dt.int64)
    )


@row("sum")
def _sum(g: Builder, step: Step) -> str:
    x, dims, keepdim, p = _given(step)
    name = _widened(g, x)
    count = product([x.shape[d] for d in dims])
    divided = p.values if isinstance(p, Size) else p
    counted = tuple(map(float, count.values)) if isinstance(count, Size) else float(count)
    if dims and x.dtype.is_floating_point and divided == counted and (counted != 1.0):
        return over(g, "ReduceMean", name, dims, keepdim)
    made = over(g, "ReduceSum", name, dims, keepdim)
    return (
        made if p == 1 or not x.dtype.is_floating_point else g.op("Div", made, g.number(p, x.dtype))
    )


def _plain(op: str) -> Row:
    def said(g: Builder, step: Step) -> str:
        x, dims, keepdim, _ = _given(step)
        return over(g, op, _widened(g, x) if op == "ReduceProd" else g.name(x), dims, keepdim)

    return said


row("prod")(_plain("ReduceProd"))
row("amax")(_plain("ReduceMax"))
row("amin")(_plain("ReduceMin"))


def _truth(op: str) -> Row:
    """Of truth values as numbers, whose extremes every runtime has."""

    def said(g: Builder, step: Step) -> str:
        x, dims, keepdim, _ = _given(step)
        return g.cast(over(g, op, g.cast(g.name(x), dt.int32), dims, keepdim), dt.bool_)

    return said


row("any")(_truth("ReduceMax"))
row("all")(_truth("ReduceMin"))


def _centred(g: Builder, step: Step) -> str:
    """Operands less their centre, which is shaped as the result."""
    x, dims, _, _ = _given(step)
    if len(step.operands) == 1:
        return g.name(x)
    center = g.name(step.operands[1])
    if rank(step.operands[1]) != rank(x):
        center = g.op("Unsqueeze", center, g.axes(sorted(dims)))
    return g.op("Sub", g.name(x), center)


@row("sum_exp")
def _sum_exp(g: Builder, step: Step) -> str:
    _, dims, keepdim, _ = _given(step)
    return over(g, "ReduceSum", g.op("Exp", _centred(g, step)), dims, keepdim)


@row("var")
def _variance(g: Builder, step: Step) -> str:
    """Divided by the count less ``p``, not below zero."""
    x, dims, keepdim, p = _given(step)
    made = over(g, "ReduceSumSquare", _centred(g, step), dims, keepdim)
    count = product([x.shape[d] for d in dims])
    if not isinstance(count, Size):
        return g.op("Div", made, g.like(x, max(count - p, 0.0)))
    left = g.op("Sub", g.number(count, x.dtype), g.number(p, x.dtype))
    return g.op("Div", made, g.op("Max", left, g.like(x, 0.0)))


@row("norm2")
def _norm(g: Builder, step: Step) -> str:
    x, dims, keepdim, _ = _given(step)
    return over(g, "ReduceL2", g.name(x), dims, keepdim)


@row("arg_reduce")
def _arg(g: Builder, step: Step) -> str:
    """Where the extreme stands first: whether it is the largest, the values say."""
    x, values = step.operands
    dim = step.metadata["dim"] % rank(x)
    made = values.step.name if values.step is not None else ""
    keep = rank(values) == rank(x)
    if made in ("amax", "amin"):
        return g.op(
            "ArgMax" if made == "amax" else "ArgMin", g.name(x), axis=dim, keepdims=int(keep)
        )
    name = g.name(values) if keep else g.op("Unsqueeze", g.name(values), g.axes([dim]))
    same = g.cast(g.op("Equal", g.name(x), name), dt.int32)
    return g.op("ArgMax", same, axis=dim, keepdims=int(keep))


def _softmax(op: str) -> Row:
    def said(g: Builder, step: Step) -> str:
        (x,) = step.operands
        if not rank(x):
            flat = g.op("Unsqueeze", g.name(x), g.axes([0]))
            return g.op("Squeeze", g.op(op, flat, axis=0), g.axes([0]))
        return g.op(op, g.name(x), axis=step.metadata["dim"] % rank(x))

    return said


row("softmax")(_softmax("Softmax"))
row("log_softmax")(_softmax("LogSoftmax"))


@row("cumsum")
def _cumsum(g: Builder, step: Step) -> str:
    (x,) = step.operands
    how = step.metadata
    flags: dict[str, Any] = {"reverse": int(how["reverse"]), "exclusive": int(how["exclusive"])}
    name = g.name(x) if rank(x) else g.op("Unsqueeze", g.name(x), g.axes([0]))
    made = g.op("CumSum", name, g.constant(np.int64(how["dim"])), **flags)
    return made if rank(x) else g.op("Squeeze", made, g.axes([0]))


@row("cumprod")
def _cumprod(g: Builder, step: Step) -> str:
    """Below opset 26, of at most a few elements: products of the first one, two, three …"""
    (x,) = step.operands
    how = step.metadata
    dim = how["dim"] % max(rank(x), 1)
    if not rank(x):
        return g.op("Identity", g.name(x))
    if g.opset >= 26:
        flags: dict[str, Any] = {"reverse": int(how["reverse"]), "exclusive": int(how["exclusive"])}
        return g.op("CumProd", g.name(x), g.constant(np.int64(dim)), **flags)
    size = x.shape[dim]
    if isinstance(size, Size) or size > 64 or how["reverse"] or how["exclusive"]:
        raise UnsupportedOperatorError(
            "export: cumprod needs opset 26 (CumProd), or a fixed size up to 64"
        )
    parts = [g.slice(g.name(x), dim, k, k + 1) for k in range(size)]
    for k in range(1, size):
        parts[k] = g.op("Mul", parts[k - 1], parts[k])
    return g.op("Concat", *parts, axis=dim) if parts else g.name(x)


# -------------------------------------------------------------------------- losses over classes


@row("nll_loss", "cross_entropy")
def _cross_entropy(g: Builder, step: Step) -> list[str | None]:
    """ONNX's own op; what the backward pass keeps has no results, but for log-probabilities."""
    logits, kept, reduction = step.how
    x, targets, *weight = step.operands
    names = [g.name(x), g.name(targets), *[g.name(w) for w in weight]]
    if rank(x) == 1:  # one sample
        names[:2] = [g.op("Unsqueeze", n, g.axes([0])) for n in names[:2]]
    how = {"ignore_index": int(step.params[0]), "reduction": reduction}
    logs = ""
    if logits:
        loss, logs = g.ops("SoftmaxCrossEntropyLoss", *names, count=2, **how)
    else:
        loss = g.op("NegativeLogLikelihoodLoss", *names, **how)
    if rank(x) == 1 and reduction == "none":
        loss = g.op("Squeeze", loss, g.axes([0]))
    made: list[str | None] = [loss, *[None] * (len(step.results) - 1)]
    if kept:
        made[-1] = logs
    return made
