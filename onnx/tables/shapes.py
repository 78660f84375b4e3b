"""Shapes, joining and cutting, and new tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.onnx.tables.call import Call, checked_sizes, constant, dtype_of, ints, number, says


@says("Identity")
def _identity(call: Call, x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) else (x,)


@says("Constant")
def _constant(call: Call) -> Tensor:
    for name, value in call.attributes.items():
        if name in ("value_float", "value_floats"):
            return constant(np.array(value, np.float32))
        if name in ("value_int", "value_ints"):
            return constant(np.array(value, np.int64))
        if name == "value":
            return constant(value)
    raise call.refuse("it has no value that is supported")


@says("ConstantOfShape")
def _full(call: Call, shape: Tensor) -> Tensor:
    value = call.get("value", np.zeros(1, np.float32))
    sizes = checked_sizes(call, ints(shape))
    like = constant(value.reshape(-1)[:1])
    return tilegrad.full(sizes, like.item(), dtype=like.dtype)


@says("Shape")
def _shape(call: Call, x: Tensor) -> Tensor:
    sizes = list(x.shape)[slice(call.get("start", 0), call.get("end"))]
    return constant(np.array(sizes, np.int64))


@says("Size")
def _size(call: Call, x: Tensor) -> Tensor:
    return tilegrad.tensor(x.numel())


@says("Reshape")
def _reshape(call: Call, x: Tensor, shape: Tensor) -> Tensor:
    wanted = ints(shape)
    if not call.get("allowzero", 0):
        wanted = [x.shape[k] if n == 0 else n for k, n in enumerate(wanted)]
    return x.reshape(wanted)


@says("Flatten")
def _flatten(call: Call, x: Tensor) -> Tensor:
    axis = call.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return x.reshape(
        rows, x.numel() // rows if rows else int(np.prod(x.shape[axis:], dtype=np.int64))
    )


@says("Transpose")
def _transpose(call: Call, x: Tensor) -> Tensor:
    return x.permute(call.get("perm", list(range(x.ndim))[::-1]))


def axes_of(call: Call, given: Tensor | None) -> list[int] | None:
    """Axes as an input, or in older versions as an attribute."""
    found = ints(given) if given is not None else call.get("axes")
    return None if found is None else list(found)


@says("Squeeze")
def _squeeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    dims = axes_of(call, axes)
    return x.squeeze() if dims is None else x.squeeze(tuple(dims))


@says("Unsqueeze")
def _unsqueeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    dims = axes_of(call, axes) or []
    count = x.ndim + len(dims)
    for dim in sorted(d % count for d in dims):
        x = x.unsqueeze(dim)
    return x


@says("Expand")
def _expand(call: Call, x: Tensor, shape: Tensor) -> Tensor:
    sizes = tilegrad.broadcast_shapes(tuple(x.shape), tuple(ints(shape)))
    return x.expand(checked_sizes(call, sizes)).clone()


@says("Tile")
def _tile(call: Call, x: Tensor, times: Tensor) -> Tensor:
    counts = ints(times)
    checked_sizes(call, [n * t for n, t in zip(x.shape, counts, strict=True)])
    return x.repeat(*counts) if counts else x.clone()


@says("Concat")
def _concat(call: Call, *inputs: Tensor) -> Tensor:
    return tilegrad.cat(inputs, call.get("axis", 1))


@says("Split")
def _split(call: Call, x: Tensor, split: Tensor | None = None) -> list[Tensor]:
    axis = call.get("axis", 0)
    sizes = ints(split) if split is not None else call.get("split")
    if sizes is None:
        count = call.get("num_outputs", call.count)
        size = -(-x.shape[axis] // count)
        sizes = [max(0, min(size, x.shape[axis] - k * size)) for k in range(count)]
    return list(tilegrad.split(x, list(sizes), axis))


@says("Slice")
def _slice(
    call: Call, x: Tensor, starts: Tensor | None = None, ends: Tensor | None = None,
    axes: Tensor | None = None, steps: Tensor | None = None,
) -> Tensor:  # fmt: skip
    first = ints(starts) if starts is not None else call.get("starts")
    last = ints(ends) if ends is not None else call.get("ends")
    dims = axes_of(call, axes) or range(len(first))
    by = ints(steps) if steps is not None else [1] * len(first)
    for dim, start, stop, step in zip(dims, first, last, by, strict=True):
        if step < 0 and stop < -x.shape[dim] - 1:
            stop = -x.shape[dim] - 1
        begin, end, _ = slice(start, stop, step).indices(x.shape[dim])
        if step > 0:
            x = x.narrow(dim, begin, max(end - begin, 0))
            x = x[(slice(None),) * (dim % x.ndim) + (slice(None, None, step),)] if step > 1 else x
        else:
            count = max(0, -(-(begin - end) // -step))
            x = x.index_select(dim, tilegrad.arange(count) * step + begin)
    return x.clone()


@says("Range")
def _range(call: Call, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, last, step = (number(v) for v in (start, limit, delta))
    if step == 0:
        raise call.refuse("a step of 0")
    count = max(0, int(np.ceil((last - first) / step)))
    checked_sizes(call, [count])
    return (tilegrad.arange(count, dtype=start.dtype) * step + first).to(start.dtype)


@says("EyeLike")
def _eye(call: Call, x: Tensor) -> Tensor:
    kind = dtype_of(call.get("dtype")) if call.get("dtype") is not None else x.dtype
    ones = tilegrad.ones(x.shape, dtype=tilegrad.int64)
    k = call.get("k", 0)
    return (ones.triu(k) - ones.triu(k + 1)).to(kind)


@says("Trilu")
def _trilu(call: Call, x: Tensor, k: Tensor | None = None) -> Tensor:
    diagonal = max(-(1 << 40), min(1 << 40, number(k, 0)))
    return x.triu(diagonal) if call.get("upper", 1) else x.tril(diagonal)


@says("OneHot")
def _one_hot(call: Call, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    count = int(number(depth))
    checked_sizes(call, [*indices.shape, count])
    axis = call.get("axis", -1)
    at = tilegrad.remainder(indices.to(tilegrad.int64), count)
    inside = (indices >= -count) & (indices < count)
    axis = axis + indices.ndim + 1 if axis < 0 else axis
    places = tilegrad.arange(count).reshape(-1, *[1] * (indices.ndim - axis))
    on = (at.unsqueeze(axis) == places) & inside.unsqueeze(axis)
    return tilegrad.where(on, values[1], values[0])


@says("DepthToSpace")
def _depth_to_space(call: Call, x: Tensor) -> Tensor:
    b = call.get("blocksize")
    N, C, H, W = x.shape
    if call.get("mode", "DCR") == "DCR":
        parts = x.reshape(N, b, b, C // (b * b), H, W).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(N, C // (b * b), b, b, H, W).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(N, C // (b * b), H * b, W * b)


@says("SpaceToDepth")
def _space_to_depth(call: Call, x: Tensor) -> Tensor:
    b = call.get("blocksize")
    N, C, H, W = x.shape
    order = (0, 3, 5, 1, 2, 4) if call.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    parts = x.reshape(N, C, H // b, b, W // b, b).permute(order)
    return parts.reshape(N, C * b * b, H // b, W // b)


@says("ReverseSequence")
def _reverse_sequence(call: Call, x: Tensor, lengths: Tensor) -> Tensor:
    batch, time = call.get("batch_axis", 1), call.get("time_axis", 0)
    places = tilegrad.arange(x.shape[time]).reshape(-1, 1)
    ends = lengths.to(tilegrad.int64).reshape(1, -1)
    index = tilegrad.where(places < ends, ends - 1 - places, places)
    index = index if time == 0 else index.t()
    index = index.reshape(*index.shape, *[1] * (x.ndim - 2)).expand(x.shape)
    return x.gather(time, index) if {batch, time} == {0, 1} else _beyond(call)


def _beyond(call: Call) -> Tensor:
    raise call.refuse("batch and time must be the first two axes")


# ------------------------------------------------------------------------------------------- padding


def edges(x: Tensor, axis: int, before: int, after: int, mode: str, value: Any) -> Tensor:
    """One dimension padded; negative numbers cut."""
    n = x.shape[axis]
    if before < 0 or after < 0:
        low, high = max(-before, 0), max(-after, 0)
        x = x.narrow(axis, low, n - low - high)
        return edges(x, axis, max(before, 0), max(after, 0), mode, value)
    if mode == "constant":
        parts = [x]
        for count, place in ((before, 0), (after, 2)):
            shape = list(x.shape)
            shape[axis] = count
            parts.insert(place, tilegrad.full(shape, value, dtype=x.dtype))
        return tilegrad.cat(parts, axis)
    at = np.arange(-before, n + after)
    if mode == "reflect":
        at = np.abs(at) % max(2 * (n - 1), 1)
        at = np.where(at >= n, 2 * (n - 1) - at, at)
    else:
        at = at.clip(0, n - 1) if mode == "edge" else at % n
    return x.index_select(axis, constant(at.astype(np.int64)))


@says("Pad")
def _pad(
    call: Call,
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    wide = ints(pads) if pads is not None else list(call.get("pads"))
    dims = ints(axes) if axes is not None else list(range(x.ndim))
    half = len(wide) // 2
    filled = number(value, call.get("value", 0))
    shape = [*x.shape]
    for axis, before, after in zip(dims, wide[:half], wide[half:], strict=True):
        shape[axis] += before + after
    checked_sizes(call, shape)
    kind = x.dtype
    for axis, before, after in zip(dims, wide[:half], wide[half:], strict=True):
        if before or after:
            x = edges(x, axis % x.ndim, before, after, call.get("mode", "constant"), filled)
    return x.to(kind)


@says("CenterCropPad")
def _center(call: Call, x: Tensor, shape: Tensor) -> Tensor:
    dims = call.get("axes", list(range(x.ndim)))
    for axis, size in zip(dims, checked_sizes(call, ints(shape)), strict=True):
        n = x.shape[axis]
        if size < n:
            x = x.narrow(axis, (n - size) // 2, size)
        elif size > n:
            before = (size - n) // 2
            x = edges(x, axis % x.ndim, before, size - n - before, "constant", 0)
    return x
