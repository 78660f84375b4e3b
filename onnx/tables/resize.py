"""Resize and Upsample: a table of weights for each dimension, applied as a product."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.onnx.tables.call import Call, checked_sizes, constant, ints, says


def _place(
    call: Call, k: int, n: int, size: float, scale: float, roi: tuple[float, float]
) -> float:
    """Where element ``k`` of the result lies in a dimension of ``n`` elements."""
    mode = call.get("coordinate_transformation_mode", "half_pixel")
    whole = math.floor(size)
    if mode == "half_pixel":
        return (k + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (k + 0.5) / scale - 0.5 if whole > 1 else 0.0
    if mode == "half_pixel_symmetric":
        adjusted = whole / size
        return n / 2 * (1 - adjusted) + (k + 0.5) / scale - 0.5
    if mode == "align_corners":
        return k * (n - 1) / (size - 1) if size > 1 else 0.0
    if mode == "asymmetric":
        return k / scale
    if mode == "tf_half_pixel_for_nn":
        return (k + 0.5) / scale
    if mode == "tf_crop_and_resize":
        first, last = roi
        if whole > 1:
            return first * (n - 1) + k * (last - first) * (n - 1) / (whole - 1)
        return 0.5 * (first + last) * (n - 1)
    raise call.refuse(f"the coordinates {mode}")


def _nearest(call: Call, at: float) -> int:
    kind = call.get("nearest_mode", "round_prefer_floor" if call.version >= 11 else "floor")
    if kind == "floor":
        return math.floor(at)
    if kind == "ceil":
        return math.ceil(at)
    return math.ceil(at - 0.5) if kind == "round_prefer_floor" else math.floor(at + 0.5)


def _taps(call: Call, mode: str, at: float, scale: float) -> list[tuple[int, float]]:
    """(element, weight) of what lies around ``at``; of a smaller result more, where it is smoothed."""
    if mode == "nearest":
        return [(_nearest(call, at), 1.0)]
    smooth = min(scale, 1.0) if call.get("antialias", 0) else 1.0
    low = math.floor(at)
    if mode == "linear" and smooth == 1.0:
        return [(low, 1 - (at - low)), (low + 1, at - low)]
    reach = 1.0 if mode == "linear" else 2.0
    a = call.get("cubic_coeff_a", -0.75)
    if smooth == 1.0:
        elements = range(low - 1, low + 3)
    else:
        elements = range(math.ceil(at - reach / smooth), math.floor(at + reach / smooth) + 1)
    found = []
    for k in elements:
        d = abs(at - k) * smooth
        if mode == "linear":
            w = max(1 - d, 0.0)
        elif d <= 1:
            w = ((a + 2) * d - (a + 3)) * d * d + 1
        else:
            w = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a if d < 2 else 0.0
        found.append((k, w))
    total = sum(w for _, w in found)
    return [(k, w / total) for k, w in found] if smooth != 1.0 else found


def _weights(
    call: Call, mode: str, n: int, size: float, scale: float, roi: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """(size, n) weights, and which elements lie outside."""
    out = math.floor(size)
    table, beyond = np.zeros((out, n)), np.zeros(out, bool)
    for k in range(out):
        at = _place(call, k, n, size, scale, roi)
        if (
            call.get("coordinate_transformation_mode") == "tf_crop_and_resize"
            and not 0 <= at <= n - 1
        ):
            beyond[k] = True
            continue
        taps = _taps(call, mode, at, scale)
        if call.get("exclude_outside", 0):
            taps = [(e, w) for e, w in taps if 0 <= e < n]
            total = sum(w for _, w in taps)
            taps = [(e, w / total) for e, w in taps]
        for e, w in taps:
            table[k, min(max(e, 0), n - 1)] += w
    return table, beyond


def _resized(
    call: Call,
    x: Tensor,
    axes: list[int],
    sizes: list[float],
    scales: list[float],
    rois: list[tuple[float, float]],
) -> Tensor:
    mode = call.get("mode", "nearest")
    mode = mode if isinstance(mode, str) else mode.decode()
    kind = x.dtype
    checked_sizes(call, [math.floor(s) for s in sizes])
    outside: Any = None
    for axis, size, scale, roi in zip(axes, sizes, scales, rois, strict=True):
        n = x.shape[axis]
        crop = call.get("coordinate_transformation_mode") == "tf_crop_and_resize"
        if math.floor(size) == n and scale == 1.0 and not crop:
            continue
        table, beyond = _weights(call, mode, n, size, scale, roi)
        if mode == "nearest":
            x = x.index_select(axis, constant(table.argmax(1).astype(np.int64)))
        else:
            real = x if x.is_floating_point() else x.to(tilegrad.float32)
            made = tilegrad.matmul(real.movedim(axis, -1), constant(table.T).to(real.dtype))
            x = made.movedim(-1, axis)
        if beyond.any():
            shape = [-1 if a == axis else 1 for a in range(x.ndim)]
            mine = constant(beyond).reshape(shape)
            outside = mine if outside is None else outside | mine
    if outside is not None:
        x = tilegrad.where(outside, constant(call.get("extrapolation_value", 0.0), x.dtype), x)
    if kind is not x.dtype:
        x = tilegrad.round(x)
    return x.to(kind)


@says("Resize")
def _resize(
    call: Call,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    if call.version < 11:
        scales, roi = roi, None
    axes = [a % x.ndim for a in call.get("axes", list(range(x.ndim)))]
    count = len(axes)
    if sizes is not None and sizes.numel():
        wanted: list[float] = [float(v) for v in ints(sizes)]
        each = [w / x.shape[a] for w, a in zip(wanted, axes, strict=True)]
        policy = call.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            one = min(each) if policy == "not_larger" else max(each)
            each = [one] * count
            wanted = [float(math.floor(one * x.shape[a] + 0.5)) for a in axes]
    elif scales is not None:
        each = [float(v) for v in scales.tolist()]
        wanted = [s * x.shape[a] for s, a in zip(each, axes, strict=True)]
    else:
        raise call.refuse("neither scales nor sizes")
    values = [0.0] * count + [1.0] * count
    if roi is not None and roi.numel():
        values = [float(v) for v in roi.tolist()]
    rois = [(values[k], values[count + k]) for k in range(count)]
    return _resized(call, x, axes, wanted, each, rois)


@says("Upsample")
def _upsample(call: Call, x: Tensor, scales: Tensor | None = None) -> Tensor:
    each = [float(v) for v in (call.get("scales") if scales is None else scales.tolist())]
    old = Call(
        "Upsample",
        9,
        {
            **call.attributes,
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        },
        1,
        call.run,
        (),
    )
    wanted = [s * n for s, n in zip(each, x.shape, strict=True)]
    return _resized(old, x, list(range(x.ndim)), wanted, each, [(0.0, 1.0)] * x.ndim)
