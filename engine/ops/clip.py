"""The norm of many arrays taken together, and its limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilegrad.engine.array import Array, empty
from tilegrad.engine.dispatch import kernel, same_device
from tilegrad.engine.ops import elementwise
from tilegrad.engine.transfer import to_device


def _table(arrays: Sequence[Array]) -> tuple[np.ndarray, tuple[int, ...]]:
    addresses = np.array([a.address for a in arrays], np.int64)
    return addresses, tuple([a.layout.numel for a in arrays])


def total_norm(arrays: Sequence[Array]) -> Array:
    """The 2-norm of all elements, zero-dimensional, in the arrays' common dtype."""
    kinds = [a.layout for a in arrays]
    same_device("total_norm", kinds)
    for kind in kinds:
        if kind.dtype is not kinds[0].dtype:
            raise RuntimeError(
                f"total_norm: arrays must have one dtype; got {kinds[0].dtype} and {kind.dtype}"
            )
    ready = [elementwise.contiguous(a) for a in arrays]
    table, sizes = _table(ready)
    out = empty((), kinds[0].dtype, kinds[0].device)
    family = kernel("clip", kinds[0].device)
    family.total_norm(kinds[0].dtype.name, sizes)(table.ctypes.data, out.address)
    return out


def shrink(arrays: Sequence[Array], norm: Array, limit: float) -> None:
    """Scale the arrays, in place, by ``min(1, limit / (norm + 1e-6))``.

    Args:
        norm: their norm, zero-dimensional, of their dtype; on their device or on the CPU.
    """
    kind = arrays[0].layout
    same_device("shrink", [a.layout for a in arrays])
    norm = to_device(norm, kind.device)
    ready = [elementwise.contiguous(a) for a in arrays]
    table, sizes = _table(ready)
    launch = kernel("clip", kind.device).shrink_to(kind.dtype.name, sizes)
    launch(table.ctypes.data, norm.address, limit)
    for target, made in zip(arrays, ready, strict=True):
        if made is target:
            target.storage.version += 1
        else:
            elementwise.copy.into(target, made)
