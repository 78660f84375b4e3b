"""Products of matrices, convolutions and attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.engine import dtype as dt
from tilegrad.onnx.errors import OnnxExporterError, UnsupportedOperatorError
from tilegrad.onnx.graph import Builder, rank
from tilegrad.onnx.rows.row import row
from tilegrad.onnx.sizes import Size
from tilegrad.onnx.tracing import Step, Value


@row("matmul")
def _matmul(g: Builder, step: Step) -> str:
    return g.op("MatMul", *[g.name(x) for x in step.operands])


@row("linear")
def _linear(g: Builder, step: Step) -> str:
    """Gemm of a matrix; MatMul of more dimensions."""
    x, weight, *bias = step.operands
    if rank(x) == 2 and x.dtype.is_floating_point:
        return g.op("Gemm", g.name(x), g.name(weight), *[g.name(b) for b in bias], transB=1)
    made = g.op("MatMul", g.name(x), g.transpose(g.name(weight), (1, 0)))
    return g.op("Add", made, g.name(bias[0])) if bias else made


def same_in_all(values: Any) -> int | None:
    """The number that is the same in all runs; None if it differs."""
    return None if isinstance(values, Size) else int(values)


@row("cdist")
def _distances(g: Builder, step: Step) -> str:
    """Norms of the differences of all rows; with ``upper`` those of pairs of a row and a later one."""
    x, y = step.operands
    (p,) = step.params
    rows, columns = (
        g.op("Unsqueeze", g.name(x), g.axes([-2])),
        g.op("Unsqueeze", g.name(y), g.axes([-3])),
    )
    made, last = g.op("Sub", rows, columns), g.axes([-1])
    if p in (1, 2):
        made = g.op(f"ReduceL{int(p)}", made, last, keepdims=0)
    elif p == math.inf:
        made = g.op("ReduceMax", g.op("Abs", made), last, keepdims=0)
    elif p == 0:
        unlike = g.op("Not", g.op("Equal", made, g.like(x, 0)))
        made = g.op("ReduceSum", g.cast(unlike, x.dtype), last, keepdims=0)
    else:
        powers = g.op("Pow", g.op("Abs", made), g.like(x, p))
        made = g.op("Pow", g.op("ReduceSum", powers, last, keepdims=0), g.like(x, 1 / p))
    if not step.metadata["upper"]:
        return made
    count = same_in_all(x.shape[-2])
    if count is None:
        raise UnsupportedOperatorError(
            "export: pdist of a number of rows that differs between runs"
        )
    first, second = np.triu_indices(count, 1)
    flat = g.op("Reshape", made, g.axes([-1]))
    return g.op("Gather", flat, g.constant(first * count + second, np.int64), axis=0)


# ----------------------------------------------------------------------------------- convolutions


def _after(size: Any, kernel: int, out: Any, stride: int, before: int, dilation: int) -> int:
    """The padding after a dimension that gives ``out`` positions in every run: that before it, if it does."""
    reach = dilation * (kernel - 1) + 1

    def fits(after: int) -> bool:
        return bool((size + before + after - reach) // stride + 1 == out)

    for after in (before, before + 1, *range(reach + stride)):
        if fits(after):
            return int(after)
    raise OnnxExporterError("export: conv: its padding differs between sizes of the input")


@row("conv")
def _conv(g: Builder, step: Step) -> str:
    x, weight, *bias = step.operands
    how = step.metadata
    kernel = [int(n) for n in weight.shape[2:]]
    pads = [
        _after(*given)
        for given in zip(
            x.shape[2:],
            kernel,
            how["out"],
            how["stride"],
            how["before"],
            how["dilation"],
            strict=True,
        )
    ]
    return g.op(
        "Conv", *[g.name(v) for v in (x, weight, *bias)], kernel_shape=kernel, strides=list(how["stride"]),
        pads=[*how["before"], *pads], dilations=list(how["dilation"]), group=int(how["groups"]),
    )  # fmt: skip


@row("conv_input")
def _conv_transpose(g: Builder, step: Step) -> str:
    y, weight = step.operands
    how = step.metadata
    kernel = [int(n) for n in weight.shape[2:]]
    extra = []
    for axis, k in enumerate(kernel):
        stride, before, dilation = (how[n][axis] for n in ("stride", "before", "dilation"))
        reach = dilation * (k - 1) + 1
        found = same_in_all(
            how["size"][axis] - ((y.shape[2 + axis] - 1) * stride - 2 * before + reach)
        )
        if found is None:
            raise OnnxExporterError(
                "export: conv_transpose: its output padding differs between sizes"
            )
        extra.append(found)
    before = list(how["before"])
    after = [b - min(e, 0) for b, e in zip(before, extra, strict=True)]
    return g.op(
        "ConvTranspose", g.name(y), g.name(weight), kernel_shape=kernel, strides=list(how["stride"]),
        pads=[*before, *after], output_padding=[max(e, 0) for e in extra],
        dilations=list(how["dilation"]), group=int(how["groups"]),
    )  # fmt: skip


# -------------------------------------------------------------------------------------- attention


@row("attention")
def _attention(g: Builder, step: Step) -> list[str | None]:
    """softmax(q k^T * scale + mask) v; fewer heads of k and v are repeated."""
    q, k, v, *mask = step.operands
    how = step.metadata
    names = [g.name(q), g.name(k), g.name(v)]
    share = q.shape[1] // k.shape[1]
    if share != 1:
        names[1:] = [_repeated(g, x, n, share) for x, n in zip((k, v), names[1:], strict=True)]
    scores = g.op("MatMul", names[0], g.transpose(names[1], (0, 1, 3, 2)))
    scores = g.op("Mul", scores, g.number(how["scale"], q.dtype))
    lowest = g.like(q, -np.inf)
    if mask and mask[0].dtype is dt.bool_:
        scores = g.op("Where", g.name(mask[0]), scores, lowest)
    elif mask:
        scores = g.op("Add", scores, g.name(mask[0]))
    if how["causal"]:
        scores = g.op("Where", _seen(g, q.shape[2], k.shape[2]), scores, lowest)
    weights = g.op("Softmax", scores, axis=3)
    if mask or how["causal"]:  # a query that sees nothing gives zeros
        weights = g.op("Where", g.op("IsNaN", weights), g.like(q, 0.0), weights)
    return [g.op("MatMul", weights, names[2]), None]


def _repeated(g: Builder, x: Value, name: str, share: int) -> str:
    wide = g.op("Unsqueeze", name, g.axes([2]))
    wide = g.op("Tile", wide, g.constant([1, 1, share, 1, 1], np.int64))
    shape = (x.shape[0], x.shape[1] * share, *x.shape[2:])
    return g.reshape(wide, shape)


def _seen(g: Builder, queries: Any, keys: Any) -> str:
    """Where query i sees key j: j <= i."""
    if not isinstance(queries, Size) and not isinstance(keys, Size):
        return g.constant(np.tril(np.ones((queries, keys), np.bool_)))
    ones = g.op("Expand", g.constant(np.int64(1)), g.ints([queries, keys]))
    return g.cast(g.op("Trilu", ones, upper=0), dt.bool_)
