"""Pools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.nn import functional as F
from tilegrad.onnx.tables.call import Call, constant, says
from tilegrad.onnx.tables.layers import window_of
from tilegrad.onnx.tables.shapes import edges


def _windows(call: Call, x: Tensor, fill: Any) -> tuple[Tensor, list[int], list[list[int]]]:
    """(``x`` padded and as windows (N, C, *out, *kernel), pads before, the first place of each window)."""
    kernel = call.get("kernel_shape")
    strides, dilations, pads = window_of(call, x, kernel)
    half, firsts = len(kernel), []
    for axis, k in enumerate(kernel):
        n, reach = x.shape[2 + axis], dilations[axis] * (k - 1) + 1
        room = n + pads[axis] + pads[half + axis] - reach
        count = room // strides[axis] + 1
        if call.get("ceil_mode", 0):
            count = -(-room // strides[axis]) + 1
            if (count - 1) * strides[axis] >= n + pads[axis]:
                count -= 1
        more = max((count - 1) * strides[axis] + reach - n - pads[axis], 0)
        x = edges(x, 2 + axis, pads[axis], more, "constant", fill)
        firsts.append([o * strides[axis] for o in range(count)])
    for axis, k in enumerate(kernel):
        places = np.add.outer(firsts[axis], np.arange(k) * dilations[axis]).astype(np.int64)
        at = 2 + 2 * axis
        taken = x.index_select(at, constant(places.reshape(-1)))
        x = taken.reshape(*x.shape[:at], *places.shape, *x.shape[at + 1 :])
    order = [0, 1, *[2 + 2 * a for a in range(half)], *[3 + 2 * a for a in range(half)]]
    return x.permute(order), pads[:half], firsts


_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _simple(call: Call, x: Tensor) -> dict[str, Any] | None:
    """The arguments of a pool of our own, where it computes the same: as much padding before as behind."""
    kernel = list(call.get("kernel_shape"))
    strides, dilations, pads = window_of(call, x, kernel)
    half = len(kernel)
    if half not in _MAX or not x.is_floating_point() or pads[:half] != pads[half:]:
        return None
    if any(2 * p > k for p, k in zip(pads, kernel)):
        return None
    return {
        "kernel_size": kernel, "stride": strides, "padding": pads[:half], "dilation": dilations,
        "ceil_mode": bool(call.get("ceil_mode", 0)),
    }  # fmt: skip


@says("AveragePool")
def _average(call: Call, x: Tensor) -> Tensor:
    kernel = call.get("kernel_shape")
    half = len(kernel)
    how = _simple(call, x)
    if how is not None and set(how.pop("dilation")) == {1}:
        return _AVERAGE[half](x, count_include_pad=bool(call.get("count_include_pad", 0)), **how)
    dims = tuple(range(2 + half, 2 + 2 * half))
    parts, _, _ = _windows(call, x, 0.0)
    ones = tilegrad.ones(1, 1, *x.shape[2:], dtype=x.dtype)
    if call.get(
        "count_include_pad", 0
    ):  # what lies inside the padding counts, what lies beyond does not
        _, _, pads = window_of(call, x, kernel)
        for axis in range(half):
            ones = edges(ones, 2 + axis, pads[axis], pads[half + axis], "constant", 1.0)
        inner = Call(
            call.kind,
            call.version,
            {**call.attributes, "pads": [0] * 2 * half, "auto_pad": "NOTSET"},
            1,
            call.run,
            (),
        )
        counts, _, _ = _windows(inner, ones, 0.0)
        counts = counts[(slice(None), slice(None), *[slice(n) for n in parts.shape[2 : 2 + half]])]
    else:
        counts, _, _ = _windows(call, ones, 0.0)
    return parts.sum(dims) / counts.sum(dims)


@says("LpPool")
def _lp(call: Call, x: Tensor) -> Tensor:
    half, p = len(call.get("kernel_shape")), call.get("p", 2)
    parts, _, _ = _windows(call, x, 0.0)
    return (parts.abs() ** p).sum(tuple(range(2 + half, 2 + 2 * half))) ** (1.0 / p)


@says("MaxPool")
def _max(call: Call, x: Tensor) -> Any:
    kernel = call.get("kernel_shape")
    half = len(kernel)
    how = _simple(call, x) if call.count < 2 else None
    if how is not None:
        return _MAX[half](x, **how)
    lowest = -math.inf if x.is_floating_point() else tilegrad.iinfo(x.dtype).min
    parts, before, firsts = _windows(call, x, lowest)
    out = list(parts.shape[2 : 2 + half])
    flat = parts.reshape(*parts.shape[: 2 + half], -1)
    values, which = flat.max(-1)
    if call.count < 2:
        return values
    return values, _places(call, x, which, kernel, before, firsts, out)


def _places(
    call: Call, x: Tensor, which: Tensor, kernel: Sequence[int], before: Sequence[int], firsts: list[list[int]],
    out: list[int],
) -> Tensor:  # fmt: skip
    """Where the largest of each window stands in the whole tensor."""
    half = len(kernel)
    dilations = call.get("dilations", [1] * half)
    order = list(range(half))
    columns = bool(call.get("storage_order", 0))
    rest = which
    steps: list[Tensor] = []
    for axis in reversed(range(half)):
        steps.insert(0, rest % kernel[axis])
        rest = rest // kernel[axis]
    total: Any = 0
    for axis in order[::-1] if columns else order:
        shape = [-1 if a == axis else 1 for a in range(half)]
        first = tilegrad.tensor(firsts[axis]).reshape(1, 1, *shape)
        total = total * x.shape[2 + axis] + first + steps[axis] * dilations[axis] - before[axis]
    planes = tilegrad.arange(x.shape[0] * x.shape[1]).reshape(x.shape[0], x.shape[1], *[1] * half)
    return total + planes * math.prod(x.shape[2:])  # type: ignore[no-any-return]


@says("GlobalAveragePool")
def _global_average(call: Call, x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


@says("GlobalMaxPool")
def _global_max(call: Call, x: Tensor) -> Tensor:
    return x.amax(tuple(range(2, x.ndim)), keepdim=True)


@says("GlobalLpPool")
def _global_lp(call: Call, x: Tensor) -> Tensor:
    p = call.get("p", 2)
    return (x.abs() ** p).sum(tuple(range(2, x.ndim)), keepdim=True) ** (1.0 / p)
