"""``x[key]`` and ``x[key] = value``, with PyTorch's rules.

Integers, slices, None and Ellipsis make a view, in one step. Integer arrays, which broadcast
together, and boolean masks, which stand for the coordinates where they hold, then gather from that
view. Where arrays are not neighbours in it, their common dimensions come first.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, tensor_of
from tilegrad.autograd.graph import called
from tilegrad.autograd.rule import check_inplace, writable
from tilegrad.autograd.rules import index as rules, view as views
from tilegrad.autograd.rules.arithmetic import add_
from tilegrad.autograd.rules.assign import clone, copy_, fill_
from tilegrad.autograd.rules.elementwise import apart, to_dtype
from tilegrad.autograd.rules.masked import masked_fill_, masked_select
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.array import Layout, from_numpy, window
from tilegrad.engine.device import CPU
from tilegrad.engine.ops import masked as masked_ops
from tilegrad.engine.ops.elementwise import full
from tilegrad.engine.ops.view import Geometry, ViewOp
from tilegrad.engine.shape import as_index
from tilegrad.engine.transfer import to_device

__all__ = ["index_put", "index_put_"]

Part = int | tuple[int | None, int | None, int] | None  # index, slice, new dimension

_ALL: Part = (None, None, 1)


def _region(x: Layout, parts: tuple[Part, ...]) -> Geometry:
    """Shape, strides and offset of ``x[parts]``; dimensions without a part are kept."""
    shape: list[int] = []
    strides: list[int] = []
    offset = axis = 0
    for part in parts:
        if part is None:
            shape.append(1)
            strides.append(x.shape[axis] * x.strides[axis] if axis < x.ndim else 1)
            continue
        size, stride = x.shape[axis], x.strides[axis]
        if part.__class__ is int:
            if not -size <= part < size:
                as_index("index", part)
                raise IndexError(
                    f"index {part} is out of bounds for dimension {axis} with size {size}"
                )
            offset += (part % size) * stride
        else:
            start, stop, step = slice(*part).indices(size)  # type: ignore[misc]
            length = max(0, -(-(stop - start) // step))
            shape.append(length)
            strides.append(stride * step)
            offset += start * stride
        axis += 1
    return (*shape, *x.shape[axis:]), (*strides, *x.strides[axis:]), offset


_GETITEM = views.region(ViewOp("getitem", _region))


# ----------------------------------------------------------------------------------- reading a key


def _bound(value: SupportsIndex | None) -> int | None:
    return None if value is None else operator.index(value)


def _slice_part(key: slice) -> Part:
    step = 1 if key.step is None else operator.index(key.step)
    if step <= 0:
        raise ValueError(f"step must be greater than zero; got {key}")
    return (_bound(key.start), _bound(key.stop), step)


def _as_tensor(key: object) -> Tensor:
    """A list, range or NumPy array as an index tensor."""
    array = key if isinstance(key, np.ndarray) else np.asarray(_numbers(key))
    if not array.size and (array.dtype.kind == "f" or array is not key):
        array = array.astype(np.int64)
    if array.dtype.kind == "f":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if array.dtype.kind not in "iub":
        for value in array.ravel():
            if isinstance(value, int):
                as_index("index", value)
        raise _invalid(key)
    if array.dtype.kind != "b" and array.dtype != np.uint8:  # which is a mask
        array = array.astype(np.int64)
    return tensor_of(from_numpy(np.array(array, order="C")))


def _numbers(key: object) -> object:
    if isinstance(key, TensorBase):
        return key.tolist()
    if isinstance(key, (list, tuple, range)):
        return [_numbers(k) for k in key]
    return key


def _invalid(key: object) -> IndexError:
    return IndexError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
        f"indices (got {type(key).__name__})"
    )


def _normal(key: Any) -> Any:
    """One item of a key as int, slice, None, Ellipsis, bool or tensor."""
    if key is None or key is Ellipsis or isinstance(key, (bool, slice)):
        return key
    if isinstance(key, TensorBase):
        kind = key.layout
        if kind.ndim == 0 and not kind.dtype.is_floating_point:  # a number, or a bool
            value = key.item()
            return bool(value) if kind.dtype is dt.uint8 else value
        if kind.dtype is dt.uint8:
            return _mask_of_bytes(key)
        if kind.dtype not in (dt.bool_, dt.int64, dt.int32):
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        return key
    if isinstance(key, np.bool_):
        return bool(key)
    if isinstance(key, (list, tuple, range)) or (isinstance(key, np.ndarray) and key.ndim):
        return _normal(_as_tensor(key))
    try:
        return operator.index(key)
    except TypeError:
        if isinstance(key, str):
            raise TypeError("new(): invalid data type 'str'") from None
        raise _invalid(key) from None


def _mask_of_bytes(index: Tensor) -> Tensor:
    """A uint8 tensor as the mask it is, with PyTorch's warning."""
    warnings.warn(
        "indexing with dtype tilegrad.uint8 is now deprecated, please use a dtype tilegrad.bool "
        "instead.",
        UserWarning,
        stacklevel=5,
    )
    return to_dtype(index.detach(), dt.bool_)


def _items(key: object) -> tuple[object, ...]:
    """The items of a key. A short list of anything but numbers is read as a tuple, with a warning,
    as PyTorch does.
    """
    if isinstance(key, tuple):
        return key
    if not isinstance(key, list) or len(key) >= 32:
        return (key,)
    apart = (TensorBase, np.ndarray, list, tuple, range, slice)
    if not any(k is None or k is Ellipsis or isinstance(k, apart) for k in key):
        return (key,)
    warnings.warn(
        "Using a non-tuple sequence for multidimensional indexing is deprecated; use "
        "x[tuple(seq)] instead of x[seq], or x[tilegrad.tensor(seq)] for one index.",
        UserWarning,
        stacklevel=5,
    )
    return tuple(key)


def _beside(x: Tensor, index: Tensor) -> Tensor:
    """An index in host memory moved to the device of what it indexes.

    Raises:
        RuntimeError: it is on another device.
    """
    here, there = index.layout.device, x.layout.device
    if here is there:
        return index
    if here is not CPU:
        raise RuntimeError(
            f"index: indices should be either on cpu or on the same device as the indexed tensor "
            f"({there}); got {here}"
        )
    return tensor_of(to_device(index, there))


def _consumed(key: object) -> int:
    """Dimensions of the indexed tensor that one item stands for."""
    if key is None or key is Ellipsis or isinstance(key, bool):
        return 0
    if isinstance(key, TensorBase) and key.layout.dtype is dt.bool_:
        return key.layout.ndim
    return 1


def _split(x: Tensor, key: object) -> tuple[list[Part], list[Tensor | None]]:
    """(parts of the view, per dimension of the view its index or mask)."""
    items = [_normal(k) for k in _items(key)]
    ndim = x.layout.ndim
    used = sum(map(_consumed, items))
    if used > ndim:
        if ndim == 0:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` to convert a 0-dim tensor to "
                "a number"
            )
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    parts: list[Part] = []
    arrays: list[Tensor | None] = []
    left = ndim - used  # what the first Ellipsis stands for
    for item in items:
        if isinstance(item, TensorBase):
            item = _beside(x, item)
            parts += [_ALL] * _consumed(item)
            arrays += [item] + [None] * (_consumed(item) - 1)
        elif item is Ellipsis:
            parts += [_ALL] * left
            arrays += [None] * left
            left = 0
        elif item is None:
            parts.append(None)
            arrays.append(None)
        elif isinstance(item, bool):
            parts.append(None)
            arrays.append(_truth_index(item, x))
        elif isinstance(item, int):
            parts.append(item)
        else:
            parts.append(_slice_part(item))
            arrays.append(None)
    return parts, arrays


def _truth_index(value: bool, x: Tensor) -> Tensor:
    """True: the one element of a new dimension; False: none of it."""
    return tensor_of(full((1,) if value else (0,), 0, dt.int64, x.device))


def _coordinates(x: Tensor, arrays: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Masks replaced by the coordinates where they hold, int32 by int64."""
    result: list[Tensor | None] = []
    position = 0
    while position < len(arrays):
        given = arrays[position]
        if given is None or given.layout.dtype is not dt.bool_:
            result.append(None if given is None else rules.index_of("index", given))
            position += 1
            continue
        _check_mask(x, given, position)
        found = masked_ops.nonzero(given)
        for axis in range(found.shape[0]):
            result.append(tensor_of(window(found, found.shape[1:], (1,), axis * found.shape[1])))
        position += found.shape[0]
    return result


def _check_mask(x: Tensor, mask: Tensor, position: int) -> None:
    have = x.shape[position : position + mask.ndim]
    if tuple(mask.shape) != tuple(have):
        axis = next(a for a, n in enumerate(mask.shape) if a >= len(have) or n != have[a])
        raise IndexError(
            f"The shape of the mask {list(mask.shape)} at index {axis} does not match the shape of "
            f"the indexed tensor {list(x.shape)} at index {position + axis}"
        )


def _resolve(x: Tensor, key: object, always: bool) -> tuple[Tensor, list[Tensor | None] | None]:
    """(the view of ``x``, its index arrays or None). ``always``: a view even if it shows all."""
    parts, arrays = _split(x, key)
    while parts and parts[-1] == _ALL:
        parts.pop()
    indexed = any(a is not None for a in arrays)
    if any(p != _ALL for p in parts) or (always and not indexed):
        x = _GETITEM.view(x, tuple(parts))
    return x, arrays if indexed else None


def prepare(x: Tensor, indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The indices of ``index_put`` as one int64 tensor, or None, per dimension of ``x``.

    Raises:
        IndexError: there are more than dimensions, or one is no index.
    """
    arrays: list[Tensor | None] = []
    for given in indices:
        if given is None:
            arrays.append(None)
            continue
        index = _beside(x, given)
        if index.layout.dtype is dt.uint8:
            index = _mask_of_bytes(index)
        if index.layout.dtype is dt.bool_:
            arrays += [index] + [None] * (max(index.layout.ndim, 1) - 1)
        else:
            arrays.append(rules.index_of("index_put", index))
    if len(arrays) > x.layout.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.layout.ndim}")
    return _coordinates(x, arrays)


# ------------------------------------------------------------------------- reading and writing


def getitem(x: Tensor, key: object) -> Tensor:
    """``x[key]``: a view for integers, slices, None and Ellipsis; a copy for arrays and masks.

    Raises:
        IndexError: an index is out of bounds, or there are too many, or no index at all.
        ValueError: the step of a slice is not positive.
    """
    if key.__class__ is int and x.layout.ndim:
        return views.select(x, 0, key)
    parts = _plain_parts(x, key)
    if parts is not None:
        return _GETITEM.view(x, parts)
    indices = _plain_indices(x, key)
    if indices is not None:
        return rules.index_get(x, indices)
    shown, arrays = _resolve(x, key, True)
    if arrays is None:
        return shown
    mask = _whole_mask(shown, arrays)
    if mask is not None:
        return called("index", masked_select(shown, mask))
    return rules.index_get(shown, _coordinates(shown, arrays))


def _plain_parts(x: Tensor, key: object) -> tuple[Part, ...] | None:
    """The parts of a key of ints and slices by ints, which need no further look; else None."""
    items = key if key.__class__ is tuple else (key,)
    if len(items) > x.layout.ndim:
        return None
    parts: list[Part] = []
    for item in items:
        if item.__class__ is int:
            parts.append(item)
        elif item.__class__ is slice:
            start, stop, step = item.start, item.stop, item.step
            for bound in (start, stop, step):
                if bound is not None and bound.__class__ is not int:
                    return None
            if step is None:
                step = 1
            elif step <= 0:
                return None
            parts.append((start, stop, step))
        else:
            return None
    return tuple(parts)


def _plain_indices(x: Tensor, key: object) -> tuple[Tensor, ...] | None:
    """A key of int64 tensors alone, for the first dimensions; else None."""
    items = key if key.__class__ is tuple else (key,)
    if not 0 < len(items) <= x.layout.ndim:
        return None
    for item in items:
        if not isinstance(item, TensorBase):
            return None
        kind = item.layout
        if kind.dtype is not dt.int64 or not kind.ndim or kind.device is not x.layout.device:
            return None
    return items


def _whole_mask(x: Tensor, arrays: Sequence[Tensor | None]) -> Tensor | None:
    """The mask, if there is one of the shape of ``x`` and nothing else."""
    first = arrays[0]
    if first is None or first.layout.dtype is not dt.bool_:
        return None
    return first if first.layout.shape == x.layout.shape else None


def setitem(x: Tensor, key: object, value: object) -> None:
    """``x[key] = value``, broadcast and cast.

    Gradient: of ``x`` outside the region, and of a tensor ``value``.

    Raises:
        TypeError: ``value`` is neither a tensor nor a number.
    """
    value = _value(x, value)
    indices = _plain_indices(x, key)
    if indices is not None:
        _write_at(x, indices, value)
        return
    shown, arrays = _resolve(x, key, False)
    if arrays is not None:
        _write_arrays(shown, arrays, value)
    elif not isinstance(value, TensorBase):
        if 0 in shown.layout.strides:  # several elements in one place, which fill_ lets pass
            check_inplace("setitem", shown)
        fill_(shown, value)
    else:
        array = value
        if array.address != shown.address or array.layout is not shown.layout:
            if array.layout.shape != shown.layout.shape:
                value = apart(value, shown)
            copy_(shown, _fitted(value, shown.ndim))
        elif shown._tracked:  # nothing is to be written, but a leaf is not to be written to
            check_inplace("setitem", shown)


def _value(x: Tensor, value: object) -> Tensor | float:
    if isinstance(value, TensorBase):
        return value
    plain = number.plain(value)
    if plain is not None:
        return number.long_int(plain, "setitem")
    raise TypeError(f"can't assign a {type(value).__name__} to a {x.dtype.name} tensor")


def _fitted(value: Tensor, ndim: int) -> Tensor:
    """``value`` without leading sizes of 1 beyond ``ndim``."""
    shape = tuple(value.shape)
    while len(shape) > ndim and shape[0] == 1:
        shape = shape[1:]
    return value if len(shape) == value.ndim else views.reshape(value, shape)


def _write_arrays(x: Tensor, arrays: Sequence[Tensor | None], value: Tensor | float) -> None:
    writable("setitem", x)
    given = [a for a in arrays if a is not None]
    single = not isinstance(value, TensorBase) or value.numel() == 1
    if single and len(given) == 1 and given[0].layout.dtype is dt.bool_:
        position = next(p for p, a in enumerate(arrays) if a is not None)
        _check_mask(x, given[0], position)
        behind = x.ndim - position - given[0].ndim
        mask = views.reshape(given[0], (*given[0].shape, *(1,) * behind))
        masked_fill_(x, mask, views.reshape(value, ()) if isinstance(value, TensorBase) else value)
        return
    _write_at(x, _coordinates(x, arrays), value)


def _write_at(x: Tensor, indices: Sequence[Tensor | None], value: Tensor | float) -> None:
    if not isinstance(value, TensorBase):
        rules.put_at(x, indices, rules.constant(value, x), False, rules.IN_PLACE)
        return
    given = [i.ndim for i in indices if i is not None]
    value = _fitted(value, max(given) + x.ndim - len(given))
    rules.require_put_dtype(x, value)
    if not value.ndim:
        value = value.to(x.device)  # a number may be in host memory
    rules.put_at(x, indices, value, False, rules.IN_PLACE)


# ------------------------------------------------------------------------------- index_put


def _put_checked(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool, target: str
) -> Tensor:
    if not isinstance(indices, (list, tuple)):
        raise TypeError(
            f"index_put: indices must be a tuple of Tensors; got {type(indices).__name__}"
        )
    if target == rules.IN_PLACE:
        writable("index_put_", input)
    rules.require_put_dtype(input, values)
    indices = [i if i is None or isinstance(i, TensorBase) else _as_tensor(i) for i in indices]
    rest = [i for i in indices if not _is_truth(i)]
    if len(rest) == len(indices):
        return rules.put_at(input, prepare(input, indices), values, accumulate, target)
    made = input if target == rules.IN_PLACE else clone(input)
    if not all(bool(i) for i in indices if _is_truth(i)):  # nothing of it
        return made
    if rest:
        return rules.put_at(made, prepare(made, rest), values, accumulate, rules.IN_PLACE)
    return add_(made, values) if accumulate else copy_(made, values)


def _is_truth(index: Tensor | None) -> bool:
    """Whether an index is a mask without dimensions, which stands for all of a tensor or for nothing."""
    return index is not None and not index.ndim and index.layout.dtype in (dt.bool_, dt.uint8)


def index_put(
    input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False
) -> Tensor:
    """A copy of ``input`` with ``values``, broadcast, written (or added) at ``input[indices]``.

    Gradient: of ``input`` and ``values``.
    """
    return _put_checked(input, indices, values, accumulate, rules.COPY)


def index_put_(
    input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False
) -> Tensor:
    """:func:`index_put` in place."""
    return _put_checked(input, indices, values, accumulate, rules.IN_PLACE)
