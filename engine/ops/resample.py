"""Planes at other sizes, as an op on arrays: every output is a weighted sum of inputs along each axis.

Which inputs, and with what weights, follows from the mode and the sizes; with ``adjoint`` the tables are
transposed. ``x`` is (N, C, *size) with one to three spatial sizes, row-major or with channels last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Layout, layout
from tilegrad.engine.dispatch import Op, Plan, composed, kernel
from tilegrad.engine.ops.conv import nothing
from tilegrad.engine.ops.elementwise import contiguous
from tilegrad.engine.shape import Shape
from tilegrad.kernels.window import Taps

LINEAR, CUBIC = ("linear", "bilinear", "trilinear"), ("bicubic",)


def cubic(x: float, a: float) -> float:
    """The cubic convolution kernel (Keys 1981)."""
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _step(size: int, out: int, align: bool, scale: float | None) -> float:
    """Input elements from one output to the next."""
    if align:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return 1.0 / scale if scale else size / out


@lru_cache(maxsize=1024)
def taps(
    mode: str, size: int, out: int, align: bool, scale: float | None, antialias: bool, dtype: str
) -> Taps:
    """Which elements of an axis make each output, and with what weights, in the arithmetic of ``dtype``."""
    positions = np.arange(out)
    if mode.startswith("nearest"):
        single = np.float32(_step(size, out, False, scale))
        shift = np.float32(0.5 if mode == "nearest-exact" else 0.0)
        places = np.floor((positions.astype(np.float32) + shift) * single).astype(np.int64)
        return _alike(np.minimum(places, size - 1)[:, None], None)
    step = _step(size, out, align, scale)
    if dtype == "uint8":
        rows = (
            _smooth(mode, size, step, out) if antialias else _merged(mode, size, step, out, align)
        )
        return _fixed(rows)
    if antialias:
        return _ragged(_smooth(mode, size, step, out), dtype)
    kind = np.dtype(dtype).type
    at = positions.astype(kind) * kind(step)
    if not align:
        at = kind(step) * (positions.astype(kind) + kind(0.5)) - kind(0.5)
    if mode in LINEAR:
        at = np.maximum(at, kind(0))
        low = np.minimum(np.floor(at).astype(np.int64), size - 1)
        part = np.clip(at - low.astype(kind), kind(0), kind(1))
        return _alike(
            np.stack([low, np.minimum(low + 1, size - 1)], 1), np.stack([1 - part, part], 1)
        )
    low = np.floor(at).astype(np.int64)
    places = np.clip(low[:, None] + np.arange(-1, 3), 0, size - 1)
    weights = [[cubic(float(t) - k, -0.75) for k in (-1, 0, 1, 2)] for t in at - low]
    return _alike(places, np.array(weights, kind))


def _alike(index: np.ndarray, weight: np.ndarray | None) -> Taps:
    """Tables of the same number of taps for every output, (out, taps)."""
    out, count = index.shape
    flat = None if weight is None else np.ascontiguousarray(weight).ravel()
    first = np.arange(out + 1, dtype=np.int64) * count
    return Taps(out, first, np.ascontiguousarray(index, np.int64).ravel(), flat)


Rows = list[tuple[int, list[float]]]  # of each output: the first input, weights from there on


def _smooth(mode: str, size: int, step: float, out: int) -> Rows:
    """Taps of a kernel as wide as an output's share of the input."""
    half = (2.0 if mode in CUBIC else 1.0) * max(step, 1.0)
    squeeze = 1.0 / step if step >= 1 else 1.0
    rows: Rows = []
    for o in range(out):
        center = step * (o + 0.5)
        first = max(int(center - half + 0.5), 0)
        count = min(int(center + half + 0.5), size) - first
        distances = [(j + first - center + 0.5) * squeeze for j in range(count)]
        weights = [cubic(x, -0.5) if mode in CUBIC else _triangle(x) for x in distances]
        total = math.fsum(weights) or 1.0
        rows.append((first, [w / total for w in weights]))
    return rows


def _merged(mode: str, size: int, step: float, out: int, align: bool) -> Rows:
    """The two or four taps of each output, those outside added to the border's."""
    wide = mode in CUBIC
    count = 4 if wide else 2
    weigh: Callable[[float], float] = (lambda x: cubic(x, -0.75)) if wide else _triangle
    rows: Rows = []
    for o in range(out):
        at = step * o if align else step * (o + 0.5) - 0.5
        at = at if wide or align else max(at, 0.0)
        low = min(math.floor(at), size - 1)
        part = min(max(at - low, 0.0), 1.0)
        begin = low - count // 2 + 1
        first, end = max(begin, 0), min(begin + count, size)
        weights = [0.0] * (end - first)
        for j in range(count):
            place = min(max(begin + j, 0), size - 1) - first
            weights[place] += weigh(j + 1 - count // 2 - part)
        lacking = count - len(weights)
        back = min(first, lacking)  # taps of no weight, so that all outputs have as many
        rows.append((first - back, [0.0] * back + weights + [0.0] * (lacking - back)))
    if size < count:  # there are no such taps
        return [(0, w[:size]) for _, w in rows]
    return rows


def _ragged(rows: Rows, dtype: str) -> Taps:
    first = np.cumsum([0, *(len(weights) for _, weights in rows)]).astype(np.int64)
    index = np.concatenate([np.arange(len(w), dtype=np.int64) + start for start, w in rows])
    weight = np.concatenate([np.array(w, np.float64) for _, w in rows])
    return Taps(len(rows), first, index, weight.astype(dtype))


def _fixed(rows: Rows) -> Taps:
    """Weights as int32 times as high a power of two as leaves the largest 15 bits, as PyTorch's are."""
    made = _ragged(rows, "float64")
    weight = made.weight
    assert weight is not None
    largest, bits = weight.max(), 0
    while bits < 22 and int(0.5 + largest * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    scaled = np.trunc(weight * (1 << bits) + np.where(weight < 0, -0.5, 0.5))
    return made._replace(weight=scaled.astype(np.int32), bits=bits)


def transposed(table: Taps, size: int, dtype: str) -> Taps:
    """The sums of the adjoint: of every input, over the outputs that it went into, in their order."""
    outputs = np.repeat(np.arange(table.out), np.diff(table.first))
    order = np.argsort(table.place, kind="stable")
    first = np.zeros(size + 1, np.int64)
    first[1:] = np.cumsum(np.bincount(table.place, minlength=size))
    weight = np.ones(len(order), dtype) if table.weight is None else table.weight[order]
    return Taps(size, first, outputs[order].astype(np.int64), np.ascontiguousarray(weight))


def _channels_last(x: Layout) -> bool:
    """Whether channels are adjacent and everything else lies row-major around them."""
    order = (0, *range(2, x.ndim), 1)
    turned = layout(tuple(x.shape[k] for k in order), x.dtype, x.device)
    return tuple(x.strides[k] for k in order) == turned.strides and x.ndim > 3


def _plan(
    x: Layout, *, mode: str, size: Shape, out: Shape, align: bool, scales: tuple[str | None, ...],
    antialias: bool, adjoint: bool = False,
) -> Plan:  # fmt: skip
    """Operand: of sizes ``size``, or with ``adjoint`` ``out``; ``scales`` as :meth:`float.hex` writes them."""
    last = not x.contiguous and _channels_last(x)
    if not x.contiguous and not last:
        how: dict[str, Any] = {
            "mode": mode, "size": size, "out": out, "align": align, "scales": scales,
            "antialias": antialias, "adjoint": adjoint,
        }  # fmt: skip
        return composed(lambda arrays, params: resample(*map(contiguous, arrays), **how))
    made_size, channels = size if adjoint else out, x.shape[1]
    shape = (*x.shape[:2], *made_size)
    strides = None
    if last:
        turned = layout((x.shape[0], *made_size, channels), x.dtype, x.device).strides
        strides = (turned[0], turned[-1], *turned[1:-1])
    made = layout(shape, x.dtype, x.device, strides)
    if not made.numel:
        return Plan((made,), nothing)
    tables: list[Taps | None] = []
    factors = [None if s is None else float.fromhex(s) for s in scales]
    for n, m, scale in zip(size, out, factors, strict=True):
        if n == m and (align or not scale or scale == 1):
            tables.append(None)
            continue
        table = taps(mode, n, m, align, scale, antialias, x.dtype.name)
        tables.append(transposed(table, n, x.dtype.name) if adjoint else table)
    planes, inner = (x.shape[0], channels) if last else (x.shape[0] * channels, 1)
    launch, scratch = kernel("resample", x.device).resample(
        x.dtype.name, planes, out if adjoint else size, inner, tables
    )
    return Plan((made,), launch, scratch)


resample = Op("resample", _plan)


def check_dtype(mode: str, kind: Any, dims: int) -> None:
    """Refuse dtypes that PyTorch has no kernel for.

    Raises:
        NotImplementedError: the dtype is not floating point, nor bytes where they can be.
    """
    bytes_too = mode.startswith("nearest") or (dims == 2 and mode in ("bilinear", "bicubic"))
    if not (kind.is_floating_point or (kind is dt.uint8 and bytes_too)):
        stem = f"upsample_{mode.replace('-', '_')}{dims}d"
        raise NotImplementedError(f"\"{stem}\" not implemented for '{kind.name}'")
