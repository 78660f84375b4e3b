"""Copies of views (``transpose_copy``), parts that autograd takes for no views (``unsafe_split``), and copies
with a view written over (``select_scatter``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import called
from tilegrad.autograd.rules import planar, rearrange, view
from tilegrad.autograd.rules.assign import clone, copy_, fill_
from tilegrad.autograd.rules.creation import empty_strided
from tilegrad.autograd.rules.elementwise import contiguous
from tilegrad.autograd.rules.index import Scalar
from tilegrad.autograd.rules.masked import nonzero
from tilegrad.autograd.rules.movement import pad as padded
from tilegrad.autograd.rules.reinterpret import view_dtype
from tilegrad.autograd.rules.scatter import scatter_reduce, scatter_reduce_
from tilegrad.engine.dtype import DType
from tilegrad.engine.memory import counted_apart
from tilegrad.engine.ops.elementwise import full
from tilegrad.engine.shape import normalize_dim
from tilegrad.kernels.function import function_from_source

__all__ = [
    "alias_copy", "as_strided_copy", "as_strided_scatter", "constant_pad_nd", "detach_copy",
    "diagonal_copy", "diagonal_scatter", "empty_permuted", "expand_copy", "fill", "index_reduce",
    "narrow_copy", "nonzero_static", "permute_copy", "select_copy", "select_scatter",
    "slice_copy", "slice_scatter", "split_copy", "split_with_sizes", "split_with_sizes_copy",
    "squeeze_copy", "t_copy", "transpose_copy", "unbind_copy", "unfold_copy", "unsafe_chunk",
    "unsafe_split", "unsafe_split_with_sizes", "unsqueeze_copy", "view_as_complex_copy", "view_as_real_copy",
    "view_copy",
]  # fmt: skip


def _fresh(name: str, made: Any) -> Any:
    """A row-major copy of a view, or of each of several, whose node is called ``name``, or as the view's."""
    if isinstance(made, tuple):
        return tuple([_fresh(name, x) for x in made])
    if not name and made._node is not None:
        name = f"{made._node.op}_copy"
    return called(name, clone(made) if made.layout.contiguous else contiguous(made))


def _apart(name: str, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The views as tensors over the same memory that are no views to autograd, each with a count of writes of
    its own: neither the base nor the others learn of a write to one.
    """
    for x in views:
        x.storage = counted_apart(x.storage)
        x._base, x._epoch = None, 0
        if x._node is None:
            x._index = 0
        called(name, x)
    return views


def _copying(name: str, function: Callable[..., object], fresh: Callable[..., Any] = _fresh) -> Any:
    """``function`` of views under another name, with ``fresh`` of its results."""
    given = inspect.signature(function).parameters.values()
    parameters, names = [], []
    for p in given:
        default = "" if p.default is p.empty else f" = {p.default!r}"
        parameters.append(f"{p.name}: {p.annotation}{default}")
        names.append(p.name)
    head = f"def {name}({', '.join(parameters)}) -> Any:"
    node = _OWN.get(name, "")
    source = f"{head}\n    return fresh({node!r}, function({', '.join(names)}))\n"
    made: Any = function_from_source(source, name, {"fresh": fresh, "function": function}, __name__)
    made.__annotations__["return"] = "Any"
    made.__doc__ = f":func:`{name.removesuffix('_copy')}`, as a copy."
    if fresh is _apart:
        made.__doc__ = (
            f":func:`{name.removeprefix('unsafe_')}`, whose results share memory with ``tensor`` but are no "
            f"views to autograd: each may be written over in place, if nothing reads ``tensor`` afterwards."
        )
    return made


# what the nodes of those are called that are no copies of a view of their name
_OWN = {
    "alias_copy": "alias_copy", "narrow_copy": "narrow_copy", "split_with_sizes_copy": "split_with_sizes_copy",
    "t_copy": "t_copy", "unsafe_chunk": "unsafe_split", "unsafe_split": "unsafe_split",
    "unsafe_split_with_sizes": "unsafe_split_with_sizes",
}  # fmt: skip


def _alias(input: Tensor) -> Tensor:
    return input


def _slice(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    return view.slice_(input, dim, start, end, step)


def _shown(input: Tensor, size: Any) -> Tensor:
    return view_dtype(input, size) if isinstance(size, DType) else view.reshape(input, tuple(size))


def _expanded(input: Tensor, size: Sequence[int]) -> Tensor:
    return view.expand(input, tuple(size))


def _transposed(input: Tensor) -> Tensor:
    return input.t()


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts of these sizes along ``dim``."""
    return tuple(rearrange.split(input, list(split_sizes), dim))


alias_copy = _copying("alias_copy", _alias)
as_strided_copy = _copying("as_strided_copy", view.as_strided)
detach_copy = _copying("detach_copy", _alias)  # a copy that gradients go through, as PyTorch's
diagonal_copy = _copying("diagonal_copy", view.diagonal)
expand_copy = _copying("expand_copy", _expanded)
narrow_copy = _copying("narrow_copy", view.narrow)
permute_copy = _copying("permute_copy", view.permute)
select_copy = _copying("select_copy", view.select)
slice_copy = _copying("slice_copy", _slice)
split_copy = _copying("split_copy", rearrange.split)
split_with_sizes_copy = _copying("split_with_sizes_copy", split_with_sizes)
squeeze_copy = _copying("squeeze_copy", view.squeeze)
t_copy = _copying("t_copy", _transposed)
transpose_copy = _copying("transpose_copy", view.transpose)
unbind_copy = _copying("unbind_copy", rearrange.unbind)
unfold_copy = _copying("unfold_copy", view.unfold)
unsafe_chunk = _copying("unsafe_chunk", rearrange.chunk, _apart)
unsafe_split = _copying("unsafe_split", rearrange.split, _apart)
unsafe_split_with_sizes = _copying("unsafe_split_with_sizes", split_with_sizes, _apart)
unsqueeze_copy = _copying("unsqueeze_copy", view.unsqueeze)
view_as_complex_copy = _copying("view_as_complex_copy", planar.view_as_complex)
view_as_real_copy = _copying("view_as_real_copy", planar.view_as_real)
view_copy = _copying("view_copy", _shown)


# ------------------------------------------------------------------------- with a view written


def _written(name: str, made: Tensor, region: Tensor, src: Tensor) -> Tensor:
    """``made``, over whose view ``region`` ``src`` is written."""
    have, want = src.layout.shape, region.layout.shape
    if have != want:
        raise RuntimeError(
            f"{name}: expected src to have a size equal to the slice of self. src size = "
            f"{list(have)}, slice size = {list(want)}"
        )
    copy_(region, src)
    return called(name, made)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of ``input`` with ``src`` in the place of ``select(dim, index)``.

    Gradient: of both.

    Raises:
        RuntimeError: ``src`` has another shape.
    """
    made = clone(input)
    return _written("select_scatter", made, view.select(made, dim, index), src)


def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy of ``input`` with ``src`` in the place of ``start:end:step`` along ``dim``.

    Gradient: of both.

    Raises:
        RuntimeError: ``src`` has another shape.
    """
    made = clone(input)
    return _written("slice_scatter", made, view.slice_(made, dim, start, end, step), src)


def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy of ``input`` with ``src`` in the place of a diagonal.

    Gradient: of both.

    Raises:
        RuntimeError: ``src`` has another shape.
    """
    made = clone(input)
    return _written("diagonal_scatter", made, view.diagonal(made, offset, dim1, dim2), src)


def as_strided_scatter(
    input: Tensor,
    src: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """A copy of ``input`` with ``src`` in the place of ``as_strided(size, stride, storage_offset)``.

    Gradient: of both.

    Raises:
        RuntimeError: ``src`` has another shape.
    """
    made = clone(input)
    region = view.as_strided(made, size, stride, storage_offset)
    return _written("as_strided_scatter", made, region, src)


_REDUCED = ("prod", "mean", "amax", "amin")


def _places(
    name: str, input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str
) -> tuple[int, Tensor, Tensor, str]:
    """What the call of ``scatter_reduce`` is given."""
    if reduce not in _REDUCED:
        raise RuntimeError(
            f"{name}: index_reduce(): Expected reduce to be one of prod, mean, amax or amin but "
            f"got {reduce}."
        )
    axis = normalize_dim(name, dim, input.layout.ndim)
    if index.layout.ndim > 1:
        raise RuntimeError(
            f"{name}: index_reduce(): Index is supposed to be a vector, but got dim: "
            f"{index.layout.ndim}"
        )
    kind = source.layout
    size = kind.shape[axis] if kind.ndim else 1
    if index.layout.numel != size:
        raise RuntimeError(
            f"{name}: index_reduce(): Number of indices ({index.layout.numel}) should be equal to "
            f"source.size(dim): ({size}), for dim: {axis}"
        )
    shape = [-1 if k == axis else 1 for k in range(kind.ndim)]
    places = view.expand(view.reshape(index, shape), kind.shape)
    return axis, places, source, reduce


def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """A copy of ``input`` whose slices ``index`` along ``dim`` are combined with those of ``source``.

    Args:
        reduce: ``prod``, ``mean``, ``amax`` or ``amin``.
        include_self: whether the old slices count.

    Gradient: of ``input`` and ``source``.

    Raises:
        RuntimeError: shapes do not fit, or another ``reduce``.
    """
    places = _places("index_reduce", input, dim, index, source, reduce)
    return scatter_reduce(input, *places, include_self=include_self)


def index_reduce_(
    self: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """:func:`index_reduce`, in place."""
    return scatter_reduce_(
        self, *_places("index_reduce_", self, dim, index, source, reduce), include_self=include_self
    )


# ------------------------------------------------------------------------------- filled, padded


def fill(input: Tensor, value: Scalar | Tensor) -> Tensor:
    """``value`` in the shape and dtype of ``input``.

    Gradient: of ``value``; zeros of ``input``.

    Raises:
        RuntimeError: ``value`` is a tensor with dimensions.
    """
    return fill_(clone(input), value)


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: Scalar = 0) -> Tensor:
    """``input`` with ``value`` before and after it in its last dimensions."""
    return padded(input, pad, "constant", value)


def empty_permuted(
    size: Sequence[int],
    physical_layout: Sequence[int],
    *,
    dtype: object = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of undefined contents, dense, whose dimensions lie in memory in this order.

    Raises:
        RuntimeError: the order does not name each dimension once.
    """
    if sorted(physical_layout) != list(range(len(size))):
        raise RuntimeError(
            f"empty_permuted: Number of dimensions in size does not match the length of the "
            f"physical_layout, or it is no permutation; got {tuple(size)} and {tuple(physical_layout)}"
        )
    strides, step = [0] * len(size), 1
    for axis in reversed(physical_layout):
        strides[axis] = step
        step *= max(size[axis], 1)
    return empty_strided(size, strides, dtype=dtype, device=device, requires_grad=requires_grad)


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first ``size`` rows of :func:`nonzero`, filled up with ``fill_value``."""
    found: Tensor = nonzero(input)
    have, ndim = found.layout.shape
    if have >= size:
        return contiguous(view.narrow(found, 0, 0, size))
    made = tensor_of(full((size, ndim), fill_value, found.layout.dtype, found.layout.device))
    copy_(view.narrow(made, 0, 0, have), found)
    return made
