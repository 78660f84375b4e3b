"""From a list of samples to a batch.

Joining samples copies memory and computes nothing; it runs in worker processes too, which
therefore need no kernel.

Source: PyTorch's ``torch.utils.data.default_collate`` and ``default_convert``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.rules.creation import as_tensor, tensor
from tilegrad.autograd.rules.movement import stack
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine import array as arrays, dtype as dt


def default_collate(batch: Sequence[Any]) -> Any:
    """One batch from a list of samples.

    Tensors, NumPy arrays and numbers become tensors with a new first dimension (Python floats
    float64, ints int64, bools bool); strings and bytes stay a list; mappings, named tuples and
    sequences are joined member by member and keep their type, except that tuples become lists.

    Raises:
        TypeError: a sample is of another type.
        RuntimeError: samples differ in shape or length.
    """
    if isinstance(batch, Tensor):
        raise TypeError("default_collate: expected a sequence of samples; got a Tensor")
    first = batch[0]
    for kind, collate in _COLLATES:
        if isinstance(first, kind):
            return collate(batch)
    raise TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {type(first)}"
    )


def _tensors(batch: Sequence[Tensor]) -> Tensor:
    for place, t in enumerate(batch):
        if not isinstance(t, Tensor):
            raise TypeError(
                f"default_collate: expected Tensor as element {place}; got {type(t).__name__}"
            )
    first = batch[0].layout
    if first.device.type != "cpu" or any(
        t.layout.shape != first.shape or t.layout.dtype is not first.dtype or t.requires_grad
        for t in batch
    ):
        return stack(batch)
    made = arrays.empty((len(batch), *first.shape), first.dtype)
    np.stack([arrays.to_numpy(t) for t in batch], out=arrays.to_numpy(made))
    return tensor_of(made)


def _ndarrays(batch: Sequence[np.ndarray]) -> Tensor:
    first = batch[0]
    if first.dtype not in dt.BY_NUMPY:
        raise TypeError(
            f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
            f"found {first.dtype}"
        )
    if any(a.shape != first.shape for a in batch):
        shapes = sorted({a.shape for a in batch})
        raise RuntimeError(f"stack expects each tensor to be equal size, but got {shapes}")
    made = arrays.empty((len(batch), *first.shape), dt.BY_NUMPY[first.dtype])
    np.stack(batch, out=arrays.to_numpy(made), casting="unsafe")
    return tensor_of(made)


def _floats(batch: Sequence[float]) -> Tensor:
    return tensor(batch, dtype=dt.float64)


def _mapping(batch: Sequence[Any]) -> Any:
    first = batch[0]
    joined = {key: default_collate([sample[key] for sample in batch]) for key in first}
    return _like_mapping(first, joined)


def _like_mapping(first: Any, joined: dict[Any, Any]) -> Any:
    try:
        if isinstance(first, MutableMapping):
            made = copy.copy(first)  # an own type may hold more than its items
            made.update(joined)
            return made
        return type(first)(joined)
    except TypeError:
        return joined


def _sequence(batch: Sequence[Any]) -> Any:
    first = batch[0]
    members = _transposed(batch)
    if isinstance(first, tuple):
        joined = [default_collate(samples) for samples in members]
        return type(first)(*joined) if hasattr(first, "_fields") else joined
    return _like_sequence(first, [default_collate(samples) for samples in members])


def _transposed(batch: Sequence[Any]) -> list[tuple[Any, ...]]:
    size = len(batch[0])
    if any(len(sample) != size for sample in batch):
        raise RuntimeError("each element in list of batch should be of equal size")
    return list(zip(*batch, strict=True))


def _like_sequence(first: Any, joined: list[Any]) -> Any:
    try:
        if isinstance(first, MutableSequence):
            made = copy.copy(first)
            for i, member in enumerate(joined):
                made[i] = member
            return made
        return type(first)(joined)
    except TypeError:
        return joined


_COLLATES: tuple[tuple[Any, Callable[[Sequence[Any]], Any]], ...] = (
    (Tensor, _tensors),
    (np.ndarray, _ndarrays),
    (np.generic, lambda batch: tensor(np.asarray(batch))),
    (float, _floats),
    (int, lambda batch: tensor(batch)),
    ((str, bytes), lambda batch: batch),
    (Mapping, _mapping),
    (Sequence, _sequence),
)


def default_convert(data: Any) -> Any:
    """``data`` with tensors in place of the NumPy arrays and scalars in it, at any depth."""
    return over_leaves(data, _converted)


def _converted(leaf: Any) -> Any:
    if isinstance(leaf, np.generic):
        return tensor(np.asarray(leaf)) if leaf.dtype in dt.BY_NUMPY else leaf
    if isinstance(leaf, np.ndarray):
        return as_tensor(leaf) if leaf.dtype in dt.BY_NUMPY else leaf
    return leaf


def over_leaves(data: Any, function: Callable[[Any], Any]) -> Any:
    """``data`` with ``function`` of everything in it that holds nothing further, at any depth."""
    if isinstance(data, (Tensor, str, bytes)):
        return function(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {k: over_leaves(v, function) for k, v in data.items()})
    if isinstance(data, tuple):
        joined = [over_leaves(value, function) for value in data]
        return type(data)(*joined) if hasattr(data, "_fields") else joined
    if isinstance(data, Sequence):
        return _like_sequence(data, [over_leaves(value, function) for value in data])
    return function(data)
