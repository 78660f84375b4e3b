"""Splitting, joining and reshaping that is put together from views and ``cat``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from operator import index
from typing import Any, SupportsIndex

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import view as views
from tilegrad.autograd.rules.movement import cat, stack
from tilegrad.engine.ops import view as view_ops
from tilegrad.engine.shape import as_index, as_indices, broadcast_shapes, infer_size, normalize_dim

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_tensors", "broadcast_to", "chunk",
    "column_stack", "dsplit", "dstack", "flatten", "hsplit", "hstack", "meshgrid", "moveaxis",
    "movedim", "ravel", "row_stack", "split", "tensor_split", "unbind", "unflatten", "vsplit",
    "vstack",
]  # fmt: skip

# -------------------------------------------------------------------------------------- splitting


def _size(op: str, x: Tensor, dim: int) -> tuple[int, int]:
    """(dimension counted from the front, its size)."""
    if x.ndim == 0:
        raise RuntimeError(f"{op}: expects at least a 1-dimensional tensor; got a 0-d tensor")
    axis = normalize_dim(op, dim, x.ndim)
    return axis, x.layout.shape[axis]


def split(
    tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Views of ``tensor``: chunks of one size (the last may be smaller), or of the given sizes.

    Raises:
        RuntimeError: negative sizes, or sizes that do not add up.
    """
    axis, size = _size("split", tensor, dim)
    rule = _SPLIT
    if isinstance(split_size_or_sections, TensorBase) and not split_size_or_sections.layout.ndim:
        split_size_or_sections = int(split_size_or_sections)
    if isinstance(split_size_or_sections, int):
        step = as_index("split", split_size_or_sections, "split_size")
        if step < 0 or (step == 0 and size):
            raise RuntimeError(f"split: expects split_size be non-negative, positive; got {step}")
        count = max(-(-size // step), 1) if step else 1
        sections = [min(step, size - k * step) for k in range(count)]
    else:
        rule = _SPLIT_LIST
        sections = list(as_indices("split_with_sizes", split_size_or_sections, "split_sizes"))
        if sum(sections) != size or any(s < 0 for s in sections):
            raise RuntimeError(
                f"split: expects split_sizes to sum exactly to {size} (input tensor's size at "
                f"dimension {axis}); got {sections}"
            )
    ends = list(accumulate(sections))
    several = [(axis, end - n, end, 1) for n, end in zip(sections, ends, strict=True)]
    return rule.views(tensor, several, axis)


def _split_vjp(node: Node, *grads: Tensor) -> tuple[Tensor, ...]:
    return (cat(grads, node.meta),)


_SPLIT = Rule(view_ops.slice_, _split_vjp, name="split")
_SPLIT_LIST = Rule(view_ops.slice_, _split_vjp, name="split_with_sizes")


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` views of equal size, but for the last.

    Raises:
        RuntimeError: ``chunks`` is not positive.
    """
    axis, size = _size("chunk", input, dim)
    chunks = as_index("chunk", chunks, "chunks")
    if chunks <= 0:
        raise RuntimeError(f"chunk: expects `chunks` to be greater than 0; got {chunks}")
    if size == 0:
        return split(input, [0] * chunks, axis)
    return split(input, -(-size // chunks), axis)


def tensor_split(
    input: Tensor,
    indices_or_sections: int | Sequence[int] | Tensor | None = None,
    dim: int = 0,
    *,
    indices: Sequence[int] | Tensor | None = None,
    sections: int | None = None,
    tensor_indices_or_sections: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Views cut at the given indices, or ``sections`` views whose sizes differ by 1 at most."""
    axis, size = _size("tensor_split", input, dim)
    asked = (indices_or_sections, indices, sections, tensor_indices_or_sections)
    named = [v for v in asked if v is not None]
    if len(named) != 1:
        raise TypeError(f"tensor_split(): takes indices or sections; got {len(named)} of them")
    given: Any = named[0]
    if isinstance(given, TensorBase):
        given = given.tolist()
    if isinstance(given, SupportsIndex):
        given = as_index("tensor_split", given, "sections")
        if given <= 0:
            raise RuntimeError(
                f"tensor_split: number of sections must be larger than 0; got {given}"
            )
        if given >> 31:
            raise RuntimeError(f"tensor_split: no memory holds as many views; got {given} sections")
        least, more = divmod(size, given)
        given = list(accumulate(least + (k < more) for k in range(given - 1)))
    else:
        given = as_indices("tensor_split", given, "indices")
    cuts = [0, *given, size]
    return tuple(
        views.slice_(input, axis, begin, None if end is size else end)
        for begin, end in pairwise(cuts)
    )


def hsplit(
    input: Tensor,
    *indices_or_sections: int | Sequence[int],
    indices: Sequence[int] | None = None,
    sections: int | None = None,
) -> tuple[Tensor, ...]:
    """Cut along columns (a vector: along its only dimension) into equal parts or at indices."""
    where = _asked("hsplit", indices_or_sections, indices, sections)
    return _cut("hsplit", input, where, 0 if input.ndim == 1 else 1, 1)


def vsplit(
    input: Tensor,
    *indices_or_sections: int | Sequence[int],
    indices: Sequence[int] | None = None,
    sections: int | None = None,
) -> tuple[Tensor, ...]:
    """Cut along rows into equal parts or at indices."""
    where = _asked("vsplit", indices_or_sections, indices, sections)
    return _cut("vsplit", input, where, 0, 2)


def dsplit(
    input: Tensor,
    *indices_or_sections: int | Sequence[int],
    indices: Sequence[int] | None = None,
    sections: int | None = None,
) -> tuple[Tensor, ...]:
    """Cut along the third dimension into equal parts or at indices."""
    where = _asked("dsplit", indices_or_sections, indices, sections)
    return _cut("dsplit", input, where, 2, 3)


def _asked(
    op: str, given: tuple[object, ...], indices: Sequence[int] | None, sections: int | None
) -> object:
    """Where to cut: sizes given one by one, as one sequence, or by name."""
    whole = given[0] if len(given) == 1 else given
    named = [v for v in (whole if given else None, indices, sections) if v is not None]
    if len(named) != 1:
        raise TypeError(f"{op}(): takes indices or sections; got {len(named)} of them")
    return named[0]


def _cut(op: str, x: Tensor, where: Any, dim: int, least: int) -> tuple[Tensor, ...]:
    if x.ndim < least:
        raise RuntimeError(f"{op}: requires a tensor with at least {least} dimension; got {x.ndim}")
    if isinstance(where, SupportsIndex) and ((count := index(where)) <= 0 or x.shape[dim] % count):
        raise RuntimeError(
            f"{op}: the size of dimension {dim} must be divisible by the split size; "
            f"got {x.shape[dim]} and {where}"
        )
    return tensor_split(x, where, dim)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of all slices along ``dim``, without that dimension."""
    if input.layout.ndim == 0:
        raise IndexError("unbind: Dimension specified as 0 but tensor has no dimensions")
    axis, size = _size("unbind", input, dim)
    several = [(axis, index) for index in range(size)]
    return _UNBIND.views(input, several, axis)


def _unbind_vjp(node: Node, *grads: Tensor) -> tuple[Tensor, ...]:
    return (stack(grads, node.meta),)


_UNBIND = Rule(view_ops.select, _unbind_vjp, name="unbind")


# ---------------------------------------------------------------------------------------- joining


def _all(tensors: tuple[Tensor | Sequence[Tensor], ...]) -> list[Tensor]:
    """Tensors given one by one or as one sequence."""
    if len(tensors) == 1 and not isinstance(tensors[0], TensorBase):
        return list(tensors[0])
    return list(tensors)  # type: ignore[arg-type]  # one by one


def atleast_1d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """The tensors, those without dimensions given one."""
    return _atleast(tensors, lambda x: views.view(x, (1,)) if x.ndim == 0 else x)


def atleast_2d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """The tensors with at least two dimensions; a vector becomes a row."""
    return _atleast(tensors, _to_2d)


def atleast_3d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """The tensors with at least three dimensions; a matrix gets a last one of size 1."""
    return _atleast(tensors, lambda x: views.unsqueeze(_to_2d(x), -1) if x.ndim < 3 else x)


def _to_2d(x: Tensor) -> Tensor:
    if x.ndim >= 2:
        return x
    return views.unsqueeze(x, 0) if x.ndim == 1 else views.view(x, (1, 1))


def _atleast(
    tensors: tuple[Tensor | Sequence[Tensor], ...], change: Callable[[Tensor], Tensor]
) -> Tensor | tuple[Tensor, ...]:
    if len(tensors) == 1 and isinstance(tensors[0], TensorBase):
        return change(tensors[0])
    return tuple(change(x) for x in _all(tensors))


def _some(op: str, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    if isinstance(tensors, TensorBase):
        raise TypeError(
            f"{op}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor"
        )
    if len(tensors) == 0:
        raise RuntimeError(f"{op}: expects a non-empty TensorList")
    return tensors


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along columns (vectors: along their only dimension)."""
    items = [atleast_1d(x) for x in _some("hstack", tensors)]
    return cat(items, 0 if items and items[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along rows; vectors are rows."""
    return cat([atleast_2d(x) for x in _some("vstack", tensors)], 0)


row_stack = vstack


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the third dimension."""
    return cat([atleast_3d(x) for x in _some("dstack", tensors)], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along columns; vectors are columns."""
    items = _some("column_stack", tensors)
    return cat([views.reshape(x, (-1, 1)) if x.ndim < 2 else x for x in items], 1)


# -------------------------------------------------------------------------------------- reshaping


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """A view with the dimensions ``source`` at the places ``destination``, the others in order.

    Raises:
        RuntimeError: unequal numbers, or a dimension twice.
    """
    ndim = input.ndim
    origin, target = (
        [normalize_dim("movedim", d, ndim, place) for place, d in enumerate(dims)]
        if isinstance(dims, (tuple, list))
        else [normalize_dim("movedim", dims, ndim)]  # type: ignore[arg-type]
        for dims in (source, destination)
    )
    if len(origin) != len(target) or len(set(origin)) + len(set(target)) != 2 * len(origin):
        raise RuntimeError(
            f"movedim: source and destination must name as many dimensions, each once; "
            f"got {source} and {destination}"
        )
    others = iter([d for d in range(ndim) if d not in origin])
    placed = dict(zip(target, origin, strict=True))
    return views.permute(input, [placed[d] if d in placed else next(others) for d in range(ndim)])


moveaxis = movedim


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from ``start_dim`` to ``end_dim`` as one.

    Raises:
        RuntimeError: ``start_dim`` lies behind ``end_dim``.
    """
    if input.ndim == 0:
        normalize_dim("flatten", start_dim, 0)
        normalize_dim("flatten", end_dim, 0)
        return views.view(input, (1,))
    shape = tuple(input.shape)
    first = normalize_dim("flatten", start_dim, len(shape))
    last = normalize_dim("flatten", end_dim, len(shape))
    if first > last:
        raise RuntimeError("flatten: start_dim cannot come after end_dim")
    if first == last:
        return input
    count = 1
    for size in shape[first : last + 1]:
        count *= size
    return views.reshape(input, (*shape[:first], count, *shape[last + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """The dimension ``dim`` as several of ``sizes``, one of which may be -1."""
    shape = tuple(input.shape)
    axis = normalize_dim("unflatten", dim, len(shape))
    if not shape:
        raise RuntimeError("unflatten: a tensor without dimensions has none to take apart")
    given = as_indices("unflatten", sizes, "sizes")
    inner = infer_size("unflatten", given, shape[axis])
    return views.view(input, (*shape[:axis], *inner, *shape[axis + 1 :]))


def ravel(input: Tensor) -> Tensor:
    """As one dimension, in row-major order."""
    return views.reshape(input, (-1,))


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """A view of shape ``size`` that repeats ``input``."""
    return views.expand(input, tuple(size))


def broadcast_tensors(*tensors: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Views of all tensors in their common shape; those that have it themselves."""
    items = _all(tensors)
    shape = broadcast_shapes("broadcast_tensors", *(x.layout.shape for x in items))
    return tuple(x if x.layout.shape == shape else views.expand(x, shape) for x in items)


def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinate grids of the given vectors, as views.

    Args:
        indexing: ``ij``: the k-th vector runs along dimension k; ``xy``: the first two swapped.
    """
    items = _all(tensors)
    if not items:
        raise RuntimeError("meshgrid: expects a non-empty TensorList; got none")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be one of 'xy' or 'ij'; got {indexing!r}")
    if any(x.ndim > 1 for x in items):
        raise RuntimeError("meshgrid: Expected 0D or 1D tensors; got more dimensions")
    if any(x.layout.dtype is not items[0].layout.dtype for x in items):
        raise RuntimeError("meshgrid: expects all tensors to have the same dtype")
    order = list(range(len(items)))
    if indexing == "xy" and len(items) > 1:
        order[:2] = [1, 0]
    shape = [0] * len(items)
    for place, x in zip(order, items, strict=True):
        shape[place] = x.numel()
    grids = []
    for place, x in zip(order, items, strict=True):
        apart = [x.numel() if d == place else 1 for d in range(len(items))]
        grids.append(views.expand(views.view(x, apart), tuple(shape)))
    return tuple(grids)
