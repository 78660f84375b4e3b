"""Index ops: read or write an array through integer indices.

Indices are int64 arrays. Reading checks them on the way and returns flags; writing checks them
first, so that a wrong index leaves the target as it was. The GPU goes on before the host knows:
there a wrong index reads something of the array, writes nothing, and is reported when the host next
waits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array, Layout, empty_layout, layout, window
from tilegrad.engine.device import Device
from tilegrad.engine.dispatch import Op, Plan, kernel, refuse_complex
from tilegrad.engine.ops import view
from tilegrad.engine.ops.elementwise import cast, clone, contiguous, copies_apart
from tilegrad.engine.shape import Shape, merge_dims
from tilegrad.engine.transfer import check_unless, host

Indices = tuple[Array | None, ...]

_ANYWHERE = 1 << 62  # the "size" that checked offsets are compared with


# ------------------------------------------------------------------------------ checking indices


def _plan_outside(index: Layout, low: int, high: int) -> Plan:
    family = kernel("index", index.device)
    found = layout((family.tasks_for(index.numel)[0],), dt.int64, index.device)
    return Plan((found,), family.outside(index.numel, low, high))


first_outside = Op("first_outside", _plan_outside)


def as_index(op: str, index: Array) -> Array:
    """``index`` as int64.

    Raises:
        RuntimeError: it is not an integer array.
    """
    if index.dtype is dt.int64:
        return index
    if index.dtype is not dt.int32:
        raise RuntimeError(f"{op}: Expected dtype int64 or int32 for index; got {index.dtype.name}")
    return cast(index, dt.int64)


def check_index(op: str, index: Array, dim: int, x: Layout, negative: bool = False) -> None:
    """Refuse indices outside ``[0, size)``, or ``[-size, size)`` where ``negative``, of a dimension
    of ``x``.

    Raises:
        IndexError, RuntimeError: naming the first such index.
    """
    if index.layout.numel == 0:
        return
    index, size = contiguous(index), x.shape[dim]
    refuse = _refusal(op, index, dim, x)
    if size == 0:  # nothing could be read in the meantime
        refuse(np.zeros(1, np.int64))
    check_unless(-1, _outside(index, size, negative), refuse)


def _outside(index: Array, size: int, negative: bool) -> Array:
    """Per part of a row-major ``index`` the first position out of bounds, or -1."""
    found: Array = first_outside(index, low=-size if negative else 0, high=size)
    return found


def _raised(op: str, dim: int, x: Layout) -> type[Exception]:
    """PyTorch's choice for an index out of bounds: it differs from one of its loops to the next."""
    if op in ("gather", "scatter", "scatter_add", "scatter_reduce"):
        return RuntimeError
    if op == "index_add" and x.ndim > 1 and dim in (0, x.ndim - 1):
        return RuntimeError
    if op == "index_select" and x.ndim > 1 and (dim == 1 or not x.numel):
        return RuntimeError
    return IndexError


def _refusal(op: str, index: Array, dim: int, x: Layout) -> Callable[[np.ndarray], None]:
    """The function that names the index at the first of its positions that is not -1."""

    def refuse(positions: np.ndarray) -> None:
        for position in positions[positions >= 0]:
            value = host(window(index, (1,), (1,), int(position)))[0]
            raise _raised(op, dim, x)(
                f"{op}: index {value} is out of bounds for dimension {dim} with size {x.shape[dim]}"
            )

    return refuse


# -------------------------------------------------------------------------------------- reading


def _plan_read(
    x: Layout, out: Layout, x_strides: Shape, j_strides: Shape, step: int, size: int, wrap: int
) -> Plan:
    sizes, strides = merge_dims(out.shape, (x_strides, j_strides, out.strides))
    itemsize = x.itemsize
    if itemsize > 8:  # by parts
        itemsize, step = itemsize // 2, 2 * step
        sizes, strides = (*sizes, 2), (_of_parts(strides[0]), (*strides[1], 0))
    launch, flags = kernel("index", x.device).gather(
        itemsize, sizes, strides[0], strides[1], step, size, wrap
    )
    return Plan((out, layout((flags,), dt.int64, x.device)), launch)


def _of_parts(strides: Shape) -> Shape:
    """Strides in parts of complex elements, of which the last dimension has both."""
    return (*[2 * s for s in strides], 1)


def _plan_take(x: Layout, index: Layout, dims: Shape, at: int, negative: bool) -> Plan:
    rest = [d for d in range(x.ndim) if d not in dims]
    front, back = rest[:at], rest[at:]
    shape = (*(x.shape[d] for d in front), *index.shape, *(x.shape[d] for d in back))
    x_strides = (*(x.strides[d] for d in front), *(0,) * index.ndim, *(x.strides[d] for d in back))
    j_strides = (*(0,) * len(front), *index.strides, *(0,) * len(back))
    out = layout(shape, x.dtype, x.device)
    if len(dims) > 1:  # the index holds offsets
        return _plan_read(x, out, x_strides, j_strides, 1, _ANYWHERE, 0)
    size = x.shape[dims[0]]
    wrap = size if negative else 0
    return _plan_read(x, out, x_strides, j_strides, x.strides[dims[0]], size, wrap)


take_rows = Op("take_rows", _plan_take, planar=True)


def _plan_gather(x: Layout, index: Layout, dim: int) -> Plan:
    x_strides = tuple(0 if d == dim else s for d, s in enumerate(x.strides))
    out = layout(index.shape, x.dtype, x.device)
    return _plan_read(x, out, x_strides, index.strides, x.strides[dim], x.shape[dim], 0)


gather_elements = Op("gather_elements", _plan_gather, planar=True)


def _checked(
    result: tuple[Array, Array], op: str, index: Array, dim: int, x: Layout, negative: bool
) -> Array:
    out, found = result

    def check(flags: np.ndarray) -> None:
        if flags.any():  # raise here and now: this may be the later time already
            rows = contiguous(index)
            _refusal(op, rows, dim, x)(host(_outside(rows, x.shape[dim], negative)))

    check_unless(0, found, check)
    return out


def take(op: str, x: Array, index: Array, dim: int, negative: bool = False) -> Array:
    """``x[…, index, …]`` with the whole ``index`` standing for dimension ``dim`` of ``x``.

    Raises:
        IndexError: an index is out of bounds.
    """
    if x.layout.numel == 0:
        check_index(op, index, dim, x.layout, negative)
    found = take_rows(x, index, dims=(dim,), at=dim, negative=negative)
    return _checked(found, op, index, dim, x.layout, negative)


def gather(x: Array, index: Array, dim: int) -> Array:
    """``out[i, j, …] = x[index[i, j, …], j, …]`` for ``dim`` 0, and so on.

    Raises:
        RuntimeError: the index has another rank, or is larger than ``x`` beside ``dim``.
        IndexError: an index is out of bounds.
    """
    if not index.layout.numel and index.layout.ndim != x.layout.ndim:  # nothing, of any rank
        return empty_layout(layout(index.shape, x.dtype, x.device))
    _check_fit("gather", index.layout, x.layout, dim)
    if x.layout.numel == 0:
        check_index("gather", index, dim, x.layout)
    found = gather_elements(x, index, dim=dim)
    return _checked(found, "gather", index, dim, x.layout, False)


@lru_cache(maxsize=4096)  # layouts that were seen before fit
def _check_fit(op: str, index: Layout, x: Layout, dim: int) -> None:
    if index.ndim != x.ndim:
        raise RuntimeError(
            f"{op}: Index tensor must have the same number of dimensions as input tensor; "
            f"got index {index.shape} and input {x.shape}"
        )
    if any(n > m for d, (n, m) in enumerate(zip(index.shape, x.shape, strict=True)) if d != dim):
        raise RuntimeError(
            f"{op}: Size does not match: index may be larger than self only at dimension {dim}; "
            f"got index {index.shape} and self {x.shape}"
        )


# -------------------------------------------------------------------------------------- writing


def _write_plan(x: Layout, size: int, *how: Any) -> Plan:
    """The plan of a scatter into ``x``; off the CPU it leaves out indices beyond ``size``, which
    the host may not know of yet.
    """
    name = x.dtype.name
    if x.dtype.is_complex and how[0] != "prod":
        name, how = x.dtype.to_real().name, _by_parts(x, *how)
    launch = kernel("index", x.device).scatter(name, *how, size)
    scratch = getattr(launch, "scratch", 0)
    return Plan((), launch, scratch, writes=(0,), apart=copies_apart, device=x.device)


def _by_parts(
    x: Layout,
    combine: str,
    sizes: Shape,
    strides: Any,
    count: int,
    steps: Any,
    step: int,
    wrap: int,
) -> tuple[Any, ...]:
    """What :func:`_write_plan` hands on, for the parts of complex elements.

    Raises:
        NotImplementedError: they are compared.
    """
    if combine not in ("set", "sum"):
        refuse_complex("scatter", [x], {})
    target, index, source = strides
    moved = (_of_parts(target), (*index, 0), _of_parts(source))
    return combine, (*sizes, 2), moved, count, (steps[0], 2 * steps[1]), 2 * step, wrap


def _plan_put(
    x: Layout, index: Layout, source: Layout, dims: Shape, at: int, negative: bool, combine: str
) -> Plan:
    rest = [d for d in range(x.ndim) if d not in dims]
    beside = [d for d in range(source.ndim) if not at <= d < at + index.ndim]
    sizes, strides = merge_dims(
        tuple(x.shape[d] for d in rest),
        (
            tuple(x.strides[d] for d in rest),
            (0,) * len(rest),
            tuple(source.strides[d] for d in beside),
        ),
    )
    _, ((j_step,), (v_step,)) = merge_dims(
        index.shape, (index.strides, source.strides[at : at + index.ndim])
    )
    how = (combine, sizes, strides, index.numel, (j_step, v_step))
    if len(dims) > 1:  # the index holds offsets
        reach = sum((x.shape[d] - 1) * x.strides[d] for d in dims)
        return _write_plan(x, reach + 1, *how, 1, 0)
    size = x.shape[dims[0]]
    return _write_plan(x, size, *how, x.strides[dims[0]], size if negative else 0)


put_rows = Op("put_rows", _plan_put, planar=True)  # writes over its first operand


def put(
    op: str, x: Array, index: Array, source: Array, dim: int, combine: str = "set",
    inplace: bool = False, negative: bool = False, checked: bool = False,
) -> Array:  # fmt: skip
    """Combine ``source`` with ``x[…, index, …]``, ``index`` standing for ``dim``, in index order.

    ``source`` broadcasts to the shape that :func:`take` would return; its dtype is that of ``x``.
    ``checked`` says that the index is known to be in bounds.

    Raises:
        IndexError: an index is out of bounds; nothing was written (by it, on the GPU).
    """
    if not checked:
        check_index(op, index, dim, x.layout, negative)
    return _put(x, index, source, (dim,), dim, combine, inplace, negative)


def _put(
    x: Array, index: Array, source: Array, dims: Shape, at: int, combine: str, inplace: bool,
    negative: bool,
) -> Array:  # fmt: skip
    index = contiguous(index)
    rest = [n for d, n in enumerate(x.shape) if d not in dims]
    source = view.expand(source, shape=(*rest[:at], *index.shape, *rest[at:]))
    if source.layout.numel == 0:
        return x if inplace else clone(x)
    if index.layout.ndim > 1:  # source and index must be walked in one loop
        block = source.layout.strides[at : at + index.layout.ndim]
        if len(merge_dims(index.shape, (index.layout.strides, block))[0]) > 1:
            source = contiguous(source)
    target = x if inplace else clone(x)
    put_rows(target, index, source, dims=dims, at=at, negative=negative, combine=combine)
    return target


def _plan_scatter(x: Layout, index: Layout, source: Layout, dim: int, combine: str) -> Plan:
    def beside(values: Shape) -> Shape:
        return (*values[:dim], *values[dim + 1 :])

    sizes, strides = merge_dims(
        beside(index.shape), (beside(x.strides), beside(index.strides), beside(source.strides))
    )
    lines = (index.shape[dim], (index.strides[dim], source.strides[dim]))
    return _write_plan(x, x.shape[dim], combine, sizes, strides, *lines, x.strides[dim], 0)


scatter_elements = Op(
    "scatter_elements", _plan_scatter, planar=True
)  # writes over its first operand


def scatter(
    op: str, x: Array, index: Array, source: Array, dim: int, combine: str = "set",
    inplace: bool = False, checked: bool = False,
) -> Array:  # fmt: skip
    """Combine ``source[i, j, …]`` with ``x[index[i, j, …], j, …]`` for ``dim`` 0, in index order.

    ``checked`` says that the index is known to be in bounds.

    Raises:
        RuntimeError: ranks differ, or the index is larger than ``source``, or than ``x`` beside
            ``dim``.
        IndexError: an index is out of bounds; nothing was written (by it, on the GPU).
    """
    if not index.layout.numel:
        return x if inplace else clone(x)
    _check_fit(op, index.layout, x.layout, dim)
    _check_source(op, index.layout, source.layout)
    if not checked:
        check_index(op, index, dim, x.layout)
    target = x if inplace else clone(x)
    scatter_elements(target, index, source, dim=dim, combine=combine)
    return target


@lru_cache(maxsize=4096)
def _check_source(op: str, index: Layout, source: Layout) -> None:
    if source.ndim != index.ndim or any(
        n > m for n, m in zip(index.shape, source.shape, strict=True)
    ):
        raise RuntimeError(
            f"{op}: Expected index {list(index.shape)} to be no larger than src "
            f"{list(source.shape)} in any dimension"
        )


# --------------------------------------------------------------------- several indices at once


def _plan_linear(*indices: Layout, steps: Shape, sizes: Shape) -> Plan:
    out = indices[0]
    launch, flags = kernel("index", out.device).linear_index(out.numel, steps, sizes)
    return Plan((out, layout((flags,), dt.int64, out.device)), launch)


linear_index = Op("linear_index", _plan_linear)


def _joined(op: str, x: Layout, indices: Indices, checked: bool) -> tuple[Shape, int, Array]:
    """(indexed dims, where their result goes, one index): of several, offsets into ``x``."""
    dims = tuple([d for d, i in enumerate(indices) if i is not None])
    given = [i for i in indices if i is not None]
    at = dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0
    if len(dims) == 1:
        return dims, at, given[0]
    first = given[0].layout
    if not first.contiguous or any(i.layout is not first for i in given):
        shape = _common_shape(op, [i.shape for i in given])
        given = [contiguous(view.expand(i, shape=shape)) for i in given]
    sizes = tuple([x.shape[d] for d in dims])
    if x.numel == 0:
        for dim, index in zip(dims, given, strict=True):
            check_index(op, index, dim, x, negative=True)
    steps = tuple([x.strides[d] for d in dims])
    made, found = linear_index(*given, steps=steps, sizes=sizes)
    if not checked:
        check_unless(0, found, partial(_check_all, op, given, dims, x))
    return dims, at, made


def _check_all(op: str, indices: list[Array], dims: Shape, x: Layout, flags: np.ndarray) -> None:
    if flags.any():  # raise here and now: this may be the later time already
        for index, dim in zip(indices, dims, strict=True):
            _refusal(op, index, dim, x)(host(_outside(index, x.shape[dim], True)))


def _common_shape(op: str, shapes: list[Shape]) -> Shape:
    ndim = max(map(len, shapes))
    result = [1] * ndim
    for shape in shapes:
        for axis, size in enumerate(shape, ndim - len(shape)):
            if size != 1 and result[axis] not in (1, size):
                raise IndexError(
                    f"{op}: shape mismatch: indexing tensors could not be broadcast together with "
                    f"shapes {', '.join(str(list(s)) for s in shapes)}"
                )
            result[axis] = size if size != 1 else result[axis]
    return tuple(result)


def index_get(x: Array, indices: Indices) -> Array:
    """``x[indices]``: int64 arrays that broadcast together; None keeps a dimension.

    The common shape of the indices stands where they do, or in front if they are not neighbours.

    Raises:
        IndexError: an index is out of bounds, or they do not broadcast.
    """
    dims, at, index = _joined("index", x.layout, indices, False)
    if len(dims) == 1:
        return take("index", x, index, dims[0], negative=True)
    out: Array = take_rows(x, index, dims=dims, at=at, negative=False)[0]
    return out


def index_put(
    x: Array, indices: Indices, values: Array, accumulate: bool = False, inplace: bool = False,
    checked: bool = False,
) -> Array:  # fmt: skip
    """Write or add ``values``, broadcast, at ``x[indices]``, in row-major order of the indices.

    ``checked`` says that the indices are known to be in bounds.

    Raises:
        IndexError: an index is out of bounds, or they do not broadcast; nothing was written
            (by it, on the GPU).
    """
    combine = "sum" if accumulate else "set"
    if not inplace:  # offsets hold for one set of strides: copy first
        x = clone(x)
    try:
        dims, at, index = _joined("index_put", x.layout, indices, checked)
        if len(dims) == 1:
            return put("index_put", x, index, values, dims[0], combine, True, True, checked)
    except IndexError:
        _check_values(x.layout, indices, values)  # of two mistakes the one that PyTorch names
        raise
    return _put(x, index, values, dims, at, combine, inplace=True, negative=False)


def _check_values(x: Layout, indices: Indices, values: Array) -> None:
    """RuntimeError unless ``values`` broadcast to ``x[indices]``, whose indices do."""
    dims = [d for d, i in enumerate(indices) if i is not None]
    at = dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0
    rest = [n for d, n in enumerate(x.shape) if d not in dims]
    common = _common_shape("index_put", [i.shape for i in indices if i is not None])
    view.expand(values, shape=(*rest[:at], *common, *rest[at:]))


# ------------------------------------------------------------------------------------- positions


def _plan_offsets(device: Device, shape: Shape, strides: Shape, start: int) -> Plan:
    out = layout(shape, dt.int64, device)
    sizes, (steps,) = merge_dims(shape, (strides,))
    return Plan((out,), kernel("index", device).strided_offsets(sizes, steps, start))


_offsets = Op("strided_offsets", _plan_offsets)


def strided_offsets(device: Device, shape: Shape, strides: Shape, start: int) -> Array:
    """int64 offsets ``start + i · strides`` of the positions ``i`` of ``shape``."""
    result: Array = _offsets(device=device, shape=shape, strides=strides, start=start)
    return result
