"""Gathering and scattering."""

from __future__ import annotations

from typing import Any

import numpy as np

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.onnx.tables.call import Call, checked_sizes, ints, says
from tilegrad.onnx.tables.shapes import edges


def wrapped(index: Tensor, size: int) -> Tensor:
    """Indices, negative ones from the end."""
    at = index.to(tilegrad.int64)
    return tilegrad.where(at < 0, at + size, at)


@says("Gather")
def _gather(call: Call, x: Tensor, index: Tensor) -> Tensor:
    axis = call.get("axis", 0) % x.ndim
    found = x.index_select(axis, wrapped(index, x.shape[axis]).reshape(-1))
    return found.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


@says("GatherElements")
def _elements(call: Call, x: Tensor, index: Tensor) -> Tensor:
    axis = call.get("axis", 0)
    return x.gather(axis, wrapped(index, x.shape[axis]))


@says("GatherND")
def _gather_nd(call: Call, x: Tensor, index: Tensor) -> Tensor:
    shared = call.get("batch_dims", 0)
    depth = index.shape[-1]
    lead = int(np.prod(index.shape[:-1], dtype=np.int64))
    parts = []
    for dim in range(shared):
        shape = [-1 if d == dim else 1 for d in range(index.ndim - 1)]
        parts.append(
            tilegrad.arange(x.shape[dim]).reshape(shape).expand(index.shape[:-1]).reshape(lead)
        )
    flat = index.reshape(lead, depth)
    parts += [wrapped(flat[:, k], x.shape[shared + k]) for k in range(depth)]
    found = x[tuple(parts)]
    return found.reshape(*index.shape[:-1], *x.shape[shared + depth :])


_COMBINE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@says("ScatterElements", "Scatter")
def _scatter(call: Call, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    axis, how = call.get("axis", 0), call.get("reduction", "none")
    at = wrapped(index, x.shape[axis])
    if how == "none":
        return x.scatter(axis, at, updates)
    return x.scatter_reduce(axis, at, updates, _COMBINE[how], include_self=True)


@says("ScatterND")
def _scatter_nd(call: Call, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    depth, how = index.shape[-1], call.get("reduction", "none")
    lead = int(np.prod(x.shape[:depth], dtype=np.int64))
    flat: Any = 0
    for k in range(depth):
        flat = flat * x.shape[k] + wrapped(index[..., k], x.shape[k])
    rest = int(np.prod(x.shape[depth:], dtype=np.int64))
    rows = updates.reshape(-1, rest)
    places = flat.reshape(-1, 1).expand(rows.shape)
    whole = x.reshape(lead, rest)
    if how == "none":
        made = whole.scatter(0, places, rows)
    else:
        made = whole.scatter_reduce(0, places, rows, _COMBINE[how], include_self=True)
    return made.reshape(x.shape)


@says("TensorScatter")
def _tensor_scatter(
    call: Call, past: Tensor, update: Tensor, where: Tensor | None = None
) -> Tensor:
    """New rows of a cache, from a place of each member on; round and round where it is a ring."""
    axis = call.get("axis", -2) % past.ndim
    made = past.clone()
    for member in range(past.shape[0]):
        first = 0 if where is None else int(where[member].item())
        at = tilegrad.arange(update.shape[axis]) + first
        if call.get("mode", "linear") == "circular":
            at = at % past.shape[axis]
        made[member] = made[member].index_copy(axis - 1, at, update[member])
    return made


@says("Compress")
def _compress(call: Call, x: Tensor, condition: Tensor) -> Tensor:
    axis = call.get("axis")
    if axis is None:
        x, axis = x.reshape(-1), 0
    places = condition.reshape(-1).nonzero().reshape(-1)
    return x.index_select(axis, places)


@says("NonZero")
def _nonzero(call: Call, x: Tensor) -> Tensor:
    return x.nonzero().t().contiguous()


@says("Unique")
def _unique(call: Call, x: Tensor) -> Any:
    """Values, where each stands first, where each element's value stands, and how many there are."""
    axis = call.get("axis")
    rows = x.reshape(-1, 1) if axis is None else x.movedim(axis, 0).reshape(x.shape[axis], -1)
    keys = [tuple(r) for r in rows.tolist()]
    first: dict[tuple[Any, ...], int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    order = sorted(first) if call.get("sorted", 1) else list(first)
    rank = {key: k for k, key in enumerate(order)}
    places = tilegrad.tensor([first[k] for k in order], dtype=tilegrad.int64)
    values = x.reshape(-1)[places] if axis is None else x.index_select(axis, places)
    inverse = tilegrad.tensor([rank[k] for k in keys], dtype=tilegrad.int64)
    counts = tilegrad.bincount(inverse, minlength=len(order))
    return values, places, inverse, counts


@says("ArrayFeatureExtractor", domain="ai.onnx.ml")
def _features(call: Call, x: Tensor, index: Tensor) -> Tensor:
    return x.index_select(x.ndim - 1, index.reshape(-1))


@says("MaxUnpool")
def _unpool(call: Call, x: Tensor, index: Tensor, shape: Tensor | None = None) -> Tensor:
    kernel = call.get("kernel_shape")
    strides = call.get("strides", [1] * len(kernel))
    pads = call.get("pads", [0] * 2 * len(kernel))
    half = len(kernel)
    sizes = [
        (n - 1) * s - pads[k] - pads[k + half] + w
        for k, (n, s, w) in enumerate(zip(x.shape[2:], strides, kernel, strict=True))
    ]
    inferred = [*x.shape[:2], *sizes]
    flat = tilegrad.zeros(int(np.prod(inferred)), dtype=x.dtype)
    made = flat.scatter(0, index.reshape(-1), x.reshape(-1)).reshape(inferred)
    wanted = inferred if shape is None else checked_sizes(call, ints(shape))
    for axis, size in enumerate(wanted):
        made = edges(made, axis, 0, size - made.shape[axis], "constant", 0)
    return made
