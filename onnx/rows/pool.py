"""Pools over windows, and planes at other sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.onnx.errors import OnnxExporterError, UnsupportedOperatorError
from tilegrad.onnx.graph import Builder, rank
from tilegrad.onnx.rows.products import same_in_all
from tilegrad.onnx.rows.reduce import over
from tilegrad.onnx.rows.row import row
from tilegrad.onnx.sizes import Size, product
from tilegrad.onnx.tracing import Step, Value


def _window(step: Step) -> dict[str, Any]:
    """The attributes of a window; ``ceil_mode`` where its count asks for it."""
    (x,) = step.operands
    how = step.metadata
    ceil = False
    for axis, size in enumerate(x.shape[2:]):
        k, s, p, d = (how[n][axis] for n in ("kernel_size", "stride", "padding", "dilation"))
        room = size + 2 * p - (d * (k - 1) + 1)
        if room // s + 1 != how["out"][axis]:
            ceil = True
    return {
        "kernel_shape": list(how["kernel_size"]), "strides": list(how["stride"]),
        "pads": [*how["padding"], *how["padding"]], "dilations": list(how["dilation"]), "ceil_mode": int(ceil),
    }  # fmt: skip


def _even(x: Value, out: tuple[Any, ...]) -> list[int] | None:
    """The window of an adaptive pool whose sizes divide; None of another."""
    window = []
    for size, made in zip(x.shape[2:], out, strict=True):
        if isinstance(size, Size) or isinstance(made, Size) or size % made:
            return None
        window.append(size // made)
    return window


@row("max_pool")
def _max_pool(g: Builder, step: Step) -> list[str | None]:
    (x,) = step.operands
    indexed = step.metadata["indexed"]
    if step.metadata.get("adaptive"):
        window = _even(x, step.metadata["out"])
        if window is None:
            return _adaptive(g, step, "ReduceMax")
        how: dict[str, Any] = {"kernel_shape": window, "strides": window}
    else:
        how = _window(step)
    if not indexed:
        return [g.op("MaxPool", g.name(x), **how)]
    made, places = g.ops("MaxPool", g.name(x), count=2, **how)
    plane = g.size(product(x.shape[2:]))  # ONNX counts through the whole tensor
    return [made, g.op("Mod", places, plane)]


@row("avg_pool")
def _avg_pool(g: Builder, step: Step) -> list[str | None]:
    (x,) = step.operands
    how = step.metadata
    divisor = how.get("divisor")
    if how.get("adaptive"):
        if all(n == 1 for n in how["out"]):
            return [over(g, "ReduceMean", g.name(x), range(2, rank(x)), True)]
        window = _even(x, how["out"])
        if window is None:
            return _adaptive(g, step, "ReduceMean")
        return [g.op("AveragePool", g.name(x), kernel_shape=window, strides=window)]
    given = _window(step)
    given.pop("dilations")
    include = how.get("include_pad", True) or divisor is not None
    padded = any(how["padding"])
    made = g.op("AveragePool", g.name(x), count_include_pad=int(bool(include) and padded), **given)
    if divisor is None:
        return [made]
    if given["ceil_mode"]:
        raise OnnxExporterError("export: avg_pool with a divisor and windows over the edge")
    factor = product(how["kernel_size"]) / divisor
    return [g.op("Mul", made, g.like(x, factor))]


def _adaptive(g: Builder, step: Step, op: str) -> list[str | None]:
    """Windows of several sizes: the part of each place along each dimension, reduced and joined."""
    (x,) = step.operands
    if len(step.results) > 1:
        raise OnnxExporterError("export: places of an adaptive max pool whose windows differ")
    name = g.name(x)
    for axis, (size, out) in enumerate(zip(x.shape[2:], step.metadata["out"], strict=True), 2):
        if out == 1:
            name = over(g, op, name, [axis], True)
            continue
        if isinstance(size, Size) or same_in_all(out) is None:
            raise OnnxExporterError("export: an adaptive pool of a size that is not fixed")
        parts = []
        for place in range(out):
            first, end = place * size // out, -(-(place + 1) * size // out)
            parts.append(over(g, op, g.slice(name, axis, first, end), [axis], True))
        name = g.op("Concat", *parts, axis=axis)
    return [name]


_RESIZED: dict[str, dict[str, Any]] = {
    "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    "nearest-exact": {
        "mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil",
    },
    "linear": {"mode": "linear"}, "bilinear": {"mode": "linear"}, "trilinear": {"mode": "linear"},
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.75},
}  # fmt: skip


@row("resample")
def _resample(g: Builder, step: Step) -> str:
    """Resize, by factors where the program gave them, else to sizes."""
    (x,), (out,) = step.operands, step.results
    how = step.metadata
    if how.get("adjoint"):
        raise UnsupportedOperatorError("export: resample: a backward op")
    mode = how["mode"]
    given: dict[str, Any] = dict(_RESIZED[mode])
    if not mode.startswith("nearest"):
        given["coordinate_transformation_mode"] = "align_corners" if how["align"] else "half_pixel"
    if how["antialias"]:
        given["antialias"] = 1
        if mode == "bicubic":
            given["cubic_coeff_a"] = -0.5
    scales = [None if s is None else float.fromhex(s) for s in how["scales"]]
    if all(scales) and not how["align"]:
        factors = g.constant(np.array([1.0, 1.0, *scales], np.float32))
        return g.op("Resize", g.name(x), "", factors, **given)
    return g.op("Resize", g.name(x), "", "", g.ints(out.shape), **given)


_SAMPLED = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}


@row("grid_sample")
def _grid_sample(g: Builder, step: Step) -> str:
    x, grid = step.operands
    how = step.metadata
    mode = how["mode"]
    if g.opset >= 20:
        mode = _SAMPLED[mode]
    elif rank(x) != 4:
        raise UnsupportedOperatorError("export: grid_sample of volumes needs opset 20")
    given: dict[str, Any] = {
        "mode": mode,
        "padding_mode": how["padding"],
        "align_corners": int(how["align"]),
    }
    return g.op("GridSample", g.name(x), g.name(grid), **given)
