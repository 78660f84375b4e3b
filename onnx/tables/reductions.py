"""Reductions, extremes, scans and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.onnx.tables.call import Call, constant, number, says
from tilegrad.onnx.tables.shapes import axes_of

Reduction = Callable[[Tensor, tuple[int, ...], bool], Tensor]


def _extreme(function: Callable[..., Tensor], none: float) -> Reduction:
    def run(x: Tensor, dims: tuple[int, ...], keep: bool) -> Tensor:
        if not x.numel():
            shape = [1 if d in dims else n for d, n in enumerate(x.shape)]
            shape = shape if keep else [n for d, n in enumerate(x.shape) if d not in dims]
            info = (
                None
                if x.is_floating_point() or x.dtype is tilegrad.bool
                else tilegrad.iinfo(x.dtype)
            )
            least = none if info is None else (info.max if none > 0 else info.min)
            return tilegrad.full(
                shape, bool(none > 0) if x.dtype is tilegrad.bool else least, dtype=x.dtype
            )
        return function(x, dims, keep)

    return run


def _product(x: Tensor, dims: tuple[int, ...], keep: bool) -> Tensor:
    for dim in sorted(dims, reverse=True):
        x = x.prod(dim, keepdim=keep)
    return x


def _total(x: Tensor, dims: tuple[int, ...], keep: bool) -> Tensor:
    return x.sum(dims, keepdim=keep)


_REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": _total,
    "ReduceMean": lambda x, dims, keep: x.mean(dims, keepdim=keep) if x.is_floating_point() else _total(x, dims, keep) // math.prod(x.shape[d] for d in dims),
    "ReduceMax": _extreme(tilegrad.amax, -math.inf),
    "ReduceMin": _extreme(tilegrad.amin, math.inf),
    "ReduceProd": _product,
    "ReduceL1": lambda x, dims, keep: _total(x.abs(), dims, keep),
    "ReduceL2": lambda x, dims, keep: tilegrad.sqrt(_total(x * x, dims, keep)),
    "ReduceLogSum": lambda x, dims, keep: tilegrad.log(_total(x, dims, keep)),
    "ReduceLogSumExp": lambda x, dims, keep: tilegrad.logsumexp(x, dims, keep) if x.is_floating_point() else tilegrad.log(_total(x.exp(), dims, keep)),
    "ReduceSumSquare": lambda x, dims, keep: _total(x * x, dims, keep),
}  # fmt: skip


@says(*_REDUCTIONS)
def _reduce(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    dims = axes_of(call, axes)
    if not dims and call.get("noop_with_empty_axes", 0):
        if call.kind in ("ReduceL1", "ReduceL2"):
            return x.abs()
        if call.kind == "ReduceSumSquare":
            return x * x
        return x.log() if call.kind == "ReduceLogSum" else x.clone()
    found = tuple(sorted(d % x.ndim for d in dims)) if dims else tuple(range(x.ndim))
    if not x.ndim:
        return _REDUCTIONS[call.kind](x.reshape(1), (0,), False).to(x.dtype)
    return _REDUCTIONS[call.kind](x, found, bool(call.get("keepdims", 1))).to(x.dtype)


@says("ArgMax", "ArgMin")
def _arg(call: Call, x: Tensor) -> Tensor:
    axis, keep = call.get("axis", 0), bool(call.get("keepdims", 1))
    find = tilegrad.argmax if call.kind == "ArgMax" else tilegrad.argmin
    if call.get("select_last_index", 0):
        return x.shape[axis] - 1 - find(x.flip(axis), axis, keep)
    return find(x, axis, keep)


@says("Softmax", "LogSoftmax", "Hardmax")
def _softmax(call: Call, x: Tensor) -> Tensor:
    axis = call.get("axis", -1 if call.version >= 13 else 1)
    shape = x.shape
    if call.version < 13:  # of everything from the axis on
        axis = axis % x.ndim
        x, axis = x.reshape(int(math.prod(x.shape[:axis])), -1), 1
    if call.kind == "Hardmax":
        places = tilegrad.argmax(x, axis, True)
        made = tilegrad.zeros_like(x).scatter(axis, places, tilegrad.ones_like(places).to(x.dtype))
    else:
        made = (tilegrad.softmax if call.kind == "Softmax" else tilegrad.log_softmax)(x, axis)
    return made.reshape(shape)


@says("CumSum", "CumProd")
def _scan(call: Call, x: Tensor, axis: Tensor) -> Tensor:
    dim, neutral = number(axis), 0 if call.kind == "CumSum" else 1
    if call.get("reverse", 0):
        x = x.flip(dim)
    made = (tilegrad.cumsum if call.kind == "CumSum" else tilegrad.cumprod)(x, dim).to(x.dtype)
    if call.get("exclusive", 0):
        first = tilegrad.full_like(x.narrow(dim, 0, 1), neutral)
        made = tilegrad.cat([first, made.narrow(dim, 0, x.shape[dim] - 1)], dim)
    return made.flip(dim) if call.get("reverse", 0) else made


@says("TopK")
def _topk(call: Call, x: Tensor, k: Tensor | None = None) -> Any:
    count = number(k, call.get("k"))
    axis, largest = call.get("axis", -1), bool(call.get("largest", 1))
    return tuple(tilegrad.topk(x, int(count), axis, largest))


@says("LpNormalization")
def _lp(call: Call, x: Tensor) -> Tensor:
    axis = call.get("axis", -1)
    norm = (
        x.abs().sum(axis, keepdim=True)
        if call.get("p", 2) == 1
        else tilegrad.sqrt((x * x).sum(axis, keepdim=True))
    )
    return tilegrad.where(norm == 0, constant(0.0, x.dtype), x / norm)
