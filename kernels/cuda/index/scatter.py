"""Writing through an index: values that meet at one place are combined in index order.

Where positions are many, or the dimension along which they meet is short, a thread owns a position
and goes through its indices one by one. Else the indices are grouped by the place they name; see
:mod:`tilegrad.kernels.cuda.index.scatter_groups`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, blocks, pointer, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.index.scatter_groups import Dims, IndexDim, scatter_groups
from tilegrad.kernels.cuda.parts.strided import index_params, is_wide, offsets_of, unpack_params
from tilegrad.kernels.cuda.run.jit import Source, bind, blocks_for, kernel
from tilegrad.kernels.cuda.tuning import SCATTER, grid, row
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.monoids import add, larger, multiply, smaller
from tilegrad.kernels.plans import storage_form

Sizes = tuple[int, ...]


@inline
def put(old, new):
    """The new value."""
    return new


COMBINE = {"set": put, "sum": add, "prod": multiply, "amax": larger, "amin": smaller}


# ------------------------------------------------------------------------------ position by position


@kernel
def scatter_rows(
    dtype: str, combine: DeviceFunction, dims: int, wide: bool, bounds: Bounds
) -> Source:
    """``out[…] = combine(out[…], source[…])`` for a position's indices in order, a thread each.

    Indices outside ``[0, size)`` write nothing. Parameters: out, index, source, positions, indices
    of a position, their step in index and source, step along the indexed dimension of out, what
    negative indices are counted from, its size, then the positions with the strides of out, index
    and source.
    """
    T, threads = np.dtype(dtype).type, bounds.threads
    place = offsets_of(dims, 3, 0, wide)

    @inline
    def write_one(out, at, j, value, step, wrap, size):
        j += (j >> 63) & wrap
        if j >= 0 and j < size:
            out[at + j * step] = T(combine(out[at + j * step], value))

    @inline
    def scatter(a0, a1, a2, total, length, j_step, v_step, step, wrap, size, t):
        out, index, source = pointer(a0, T), pointer(a1, np.int64), pointer(a2, T)
        i = block() * threads + thread()
        while i < total:
            o, j, v = place(i, t)
            k = 0
            while k + 1 < length:
                j0, j1 = index[j], index[j + j_step]
                v0, v1 = source[v], source[v + v_step]
                write_one(out, o, j0, v0, step, wrap, size)
                write_one(out, o, j1, v1, step, wrap, size)
                j += 2 * j_step
                v += 2 * v_step
                k += 2
            if k < length:
                write_one(out, o, index[j], source[v], step, wrap, size)
            i += blocks() * threads

    return Source(unpack_params(scatter, 10, 6 * dims), "i" * (10 + 6 * dims), *bounds)


def _by_position(
    dtype: str, combine: DeviceFunction, dims: Dims, along: IndexDim
) -> Callable[..., None]:
    """A launch ``(out, index, source)`` of :func:`scatter_rows`."""
    total, chosen = math.prod(dims.sizes), grid("put", np.dtype(dtype).name)
    function = scatter_rows.build(dtype, combine, len(dims.sizes), is_wide(total), chosen.bounds)
    where = blocks_for(total, chosen.bounds.threads, chosen.blocks)
    return bind(function, total, *along, *index_params(*dims), where, 1, 1)


def scatter(
    dtype: str, combine: str, sizes: Sizes, strides: tuple[Sizes, Sizes, Sizes],
    length: int, length_strides: tuple[int, int], step: int, wrap: int, size: int,
) -> Callable[..., None]:  # fmt: skip
    """A launch ``(out, index, source)`` that writes through an index; where ``launch.scratch`` says
    so, with the address of so many bytes behind.

    As :func:`tilegrad.kernels.cpu.index.scatter`, but that indices outside ``[0, size)`` write
    nothing: on the GPU they are noticed later.
    """
    positions = math.prod(sizes)
    if positions * length == 0:
        return lambda *addresses: None
    dtype, combine = storage_form(dtype, combine)
    dims, along = Dims(sizes, *strides), IndexDim(length, *length_strides, step, wrap, size)
    chosen = row(SCATTER, np.dtype(dtype).name, "scatter")
    few = length <= chosen.short or positions >= chosen.many
    by = _by_position if few else scatter_groups
    return by(dtype, COMBINE[combine], dims, along)
