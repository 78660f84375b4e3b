"""Where the extremes are: the first position of given values along a dimension."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.parts.reduce_places import Sizes, offset
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.tuning import ArgReduce, Reduce
from tilegrad.kernels.formulas.primitives import select
from tilegrad.kernels.function import inline
from tilegrad.kernels.monoids import smaller


@kernel
def arg_rows(dtype: str) -> Kernel:
    """Position of the first element of each run of ``n`` that equals ``values`` or is NaN."""
    T = np.dtype(dtype).type

    @inline
    def fits(x, m):
        return (x == m) | (x != x)

    def body(task, x, values, out, table, units, per, n, s):
        kept = pointer(table, np.int64)[0]
        sizes, strides = pointer(table + 8, np.int64), pointer(table + 8 + 8 * kept, np.int64)
        source, wanted, targets = pointer(x, T), pointer(values, T), pointer(out, np.int64)
        for o in range(task * per, min(units, (task + 1) * per)):
            at = offset(o, kept, sizes, strides)
            m = wanted[o]
            i = 0
            found = 0
            while found == 0 and i + 64 <= n:  # a block without a branch, so that it is vectorised
                for j in range(64):
                    found += fits(source[at + (i + j) * s], m)
                i += 64
            if found:
                i -= 64
            while i < n - 1 and not fits(source[at + i * s], m):
                i += 1
            targets[o] = i

    return body, "iiiiiiii"


@kernel
def arg_columns(dtype: str) -> Kernel:
    """As :func:`arg_rows` for adjacent outputs; ``n`` fits into an int32.

    The table ends in ``n - 1``: read as an int32, it keeps the compiler from widening the places.
    """
    T, small = np.dtype(dtype).type, np.int32
    block, places = ArgReduce.columns, local("int32", ArgReduce.columns)

    def body(task, x, values, out, table, units, per, n, s, width):
        kept = pointer(table, np.int64)[0]
        sizes, strides = pointer(table + 8, np.int64), pointer(table + 8 + 8 * kept, np.int64)
        source, wanted, targets = pointer(x, T), pointer(values, T), pointer(out, np.int64)
        held, end = places(), pointer(table + 8 + 16 * kept, small)[0]
        blocks = (width + block - 1) // block
        for unit in range(task * per, min(units, (task + 1) * per)):
            o = unit // blocks
            column = (unit - o * blocks) * block
            size = min(block, width - column)
            first = o * width + column
            at = offset(o, kept, sizes, strides) + column
            for j in range(size):
                held[j] = end
            for i in range(n - 1):  # a minimum: what is written if it fits would be a masked store
                here = small(i)
                for j in range(size):
                    v = read(source, at + i * s + j)
                    place = select((v == read(wanted, first + j)) | (v != v), here, end)
                    write(held, j, smaller(place, held[j]))
            for j in range(size):
                targets[first + j] = held[j]

    return body, "iiiiiiiii"


def arg_reduce(
    dtype: str, kept: tuple[Sizes, Sizes], reduced: tuple[int, int]
) -> Callable[..., None]:
    """A launch ``(x, values, out)``: where each of ``values`` (shaped as ``out``, an extreme of its
    elements) comes first along the reduced dimension; NaN comes before all else.

    Args:
        dtype: of ``x`` and ``values``; ``out`` is int64; ``values`` and ``out`` are row-major.
        kept: sizes and strides of the merged dimensions of ``x`` that remain, in order.
        reduced: size and stride of the one that goes.
    """
    outputs, (n, s) = int(np.prod(kept[0])), reduced
    if outputs == 0:
        return lambda *args: None
    if kept[1][-1] == 1 and kept[0][-1] >= Reduce.narrow and n < 1 << 31:
        width = kept[0][-1]
        function = arg_columns.build(dtype)
        table = _table(kept[0][:-1], kept[1][:-1], n - 1)
        shape: tuple[int, ...] = (n, s, width)
        units = outputs // width * -(-width // ArgReduce.columns)
        work = n * min(width, ArgReduce.columns)
    else:
        function = arg_rows.build(dtype)
        table, shape = _table(*kept), (n, s)
        units, work = outputs, n
    per, tasks = splitting.share(units, work, ArgReduce.grain)
    call = (table.ctypes.data, units, per, *shape)
    return bind(function, *call, tasks, TEAM if tasks > 1 else 0, keep=table)


def _table(sizes: Sizes, strides: Sizes, *rest: int) -> np.ndarray:
    """[kept dims, their sizes…, their strides…, ``rest``…]."""
    return np.array([len(sizes), *sizes, *strides, *rest], np.int64)
