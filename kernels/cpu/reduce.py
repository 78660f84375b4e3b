"""Reductions of strided arrays over any of their dimensions.

Three loop nests cover all layouts. ``rows``: every output takes runs of elements along the reduced
dimension with the smallest stride. ``columns``: adjacent outputs have adjacent inputs, and a row of
totals is kept while rows of the input are added. ``combine``: the second stage, where the elements
of one output were split over several tasks.

Short runs are combined in the input's precision by many independent partial totals, and their
results in double precision, so that rounding errors hardly grow with the number of elements. The
split depends on sizes and strides only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.emit import fold_lanes
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.simd.vector import (
    head,
    hmax,
    hmin,
    hsum,
    lanes,
    load,
    load_masked,
    select,
    splat,
)
from tilegrad.kernels.cpu.tuning import Reduce
from tilegrad.kernels.dtypes import is_float
from tilegrad.kernels.function import DeviceFunction, inline, intrinsic
from tilegrad.kernels.monoids import MONOIDS, add, larger, multiply, smaller

Sizes = tuple[int, ...]


class Work(NamedTuple):
    """What the units of a reduction of ``R`` elements an output are; ``per`` of them are a task.

    Attributes:
        table: address of what :func:`layout_table` gives.
        chunk, chunks: elements (rows) of a piece, pieces of an output.
        n, s: elements (rows) and stride of the reduced dimension with the smallest stride.
        width, apart: adjacent outputs and the stride of their elements; of :func:`columns` only.
    """

    table: int
    units: int
    per: int
    R: int
    chunk: int
    n: int
    s: int
    chunks: int
    width: int
    apart: int


@intrinsic
def hproduct(typing, vector):
    """The product of the lanes: halves are multiplied until one is left."""

    def codegen(context, builder, sig, args):
        return fold_lanes(builder, args[0], lambda b, x, y: b.fmul(x, y))

    return vector.elem(vector), codegen


_ACROSS = {add: hsum, larger: hmax, smaller: hmin, multiply: hproduct}


@inline
def offset(index, ndim, sizes, strides):
    """Elements between the first element and number ``index`` of a strided block."""
    total = 0
    for axis in range(ndim - 1, 0, -1):
        above = index // sizes[axis]
        total += (index - above * sizes[axis]) * strides[axis]
        index = above
    return total + index * strides[0] if ndim else 0


class _Dims(NamedTuple):
    """Dimensions in a table: how many, and pointers to their sizes and strides."""

    ndim: int
    sizes: Any
    strides: Any


@inline
def dims_of(table):
    """(the kept dimensions, the outer reduced ones) of a table of :func:`layout_table`."""
    t = pointer(table, np.int64)
    kept, outer = t[0], t[1]
    reduced = table + 16 + 16 * kept
    return (
        _Dims(kept, pointer(table + 16, np.int64), pointer(table + 16 + 8 * kept, np.int64)),
        _Dims(outer, pointer(reduced, np.int64), pointer(reduced + 8 * outer, np.int64)),
    )


def _plain_run(name: str, dtype: str) -> DeviceFunction:
    """``run(x, at, count, s, c, identity)`` in order, where the compiler may reorder: integers."""
    monoid = MONOIDS[name]
    lift, combine, A = monoid.lift, monoid.combine, np.dtype(monoid.block_dtype(dtype)).type

    @inline
    def run(x, at, count, s, c, into):
        a = into
        for i in range(count):
            a = A(combine(a, A(lift(read(x, at + i * s), c))))
        return a

    return run


def _kernel(reduce_part: DeviceFunction, centred: bool) -> Kernel:
    """The body around ``reduce_part(task, x, center, out, p, work)``, with a center or without."""
    if centred:

        def body(task, x, center, out, p, work):
            reduce_part(task, x, center, out, p, work)

        return body, ("iiid", Work)

    def plain_body(task, x, out, p, work):
        reduce_part(task, x, 0, out, p, work)

    return plain_body, ("iid", Work)


@kernel
def rows(name: str, dtype: str, out_dtype: str, way: str) -> Kernel:
    """Reduce runs of ``n`` elements with stride ``s``.

    A unit is one of ``chunks`` pieces, ``chunk`` elements long, of one output. The way is ``lanes``
    (vectors straight from memory, s = 1), ``buffer`` (lifted elements go through a buffer first) or
    ``plain`` (integers, where the compiler may reorder).

    Table: kept dims, outer reduced dims, their sizes and strides, as :func:`layout_table` lays them out.
    """
    monoid = MONOIDS[name]
    combine, centred = monoid.combine, monoid.centred
    block_dtype, total_dtype = monoid.block_dtype(dtype), monoid.total_dtype(dtype)
    finish = monoid.finishing(total_dtype)
    T, D, Out = (np.dtype(name).type for name in (dtype, total_dtype, out_dtype))
    start, first = monoid.identity(total_dtype), monoid.identity(block_dtype)
    run = _plain_run(name, dtype) if way == "plain" else float_run(name, dtype, way)

    @inline
    def reduce_part(task, x, center, out, p, work):
        chunk, chunks, n, s = work.chunk, work.chunks, work.n, work.s
        kept, outer = dims_of(work.table)
        source, targets = pointer(x, T), pointer(out, Out)
        centers, partial = pointer(center, Out), pointer(out, D)
        for unit in range(task * work.per, min(work.units, (task + 1) * work.per)):
            o, r, row, column = unit, 0, 0, 0
            if chunks > 1:
                o = unit // chunks
                r = (unit - o * chunks) * chunk
                row = r // n
                column = r - row * n
            end = min(work.R, r + chunk)
            c = T(read(centers, o)) if centred else T(0)
            base = offset(o, kept.ndim, kept.sizes, kept.strides)
            total = start
            while r < end:
                count = min(n - column, end - r)
                at = base + column * s + offset(row, outer.ndim, outer.sizes, outer.strides)
                total = D(combine(total, D(run(source, at, count, s, c, first))))
                r += count
                row += 1
                column = 0
            if chunks == 1:
                write(targets, o, Out(finish(total, work.R, p)))
            else:
                partial[(unit - o * chunks) * (work.units // chunks) + o] = total

    return _kernel(reduce_part, centred)


def float_run(name: str, dtype: str, way: str) -> Any:
    """``run(x, at, count, s, c, identity)``: a run of floats combined in four vectors of lanes."""
    monoid = MONOIDS[name]
    lift, combine = monoid.lift, monoid.combine
    across = _ACROSS[combine]
    T = np.dtype(dtype).type
    total_dtype = monoid.total_dtype(dtype)
    D, start = np.dtype(total_dtype).type, monoid.identity(total_dtype)
    W = lanes(dtype)
    block = 256 * W if way == "lanes" else 512
    buffer = local(dtype, 512)

    @inline
    def keep(v, c):
        return v

    taken = lift if way == "lanes" else keep

    @inline
    def fold(x, at, count, c, first):
        none, center = splat(first), splat(c)
        a0, a1, a2, a3 = none, none, none, none
        i = at
        end = at + count
        while i + 4 * W <= end:
            a0 = combine(a0, taken(load(x, i), center))
            a1 = combine(a1, taken(load(x, i + W), center))
            a2 = combine(a2, taken(load(x, i + 2 * W), center))
            a3 = combine(a3, taken(load(x, i + 3 * W), center))
            i += 4 * W
        while i + W <= end:
            a0 = combine(a0, taken(load(x, i), center))
            i += W
        if i < end:
            mask = head(T, end - i)
            rest = taken(load_masked(x, i, mask, none), center)
            a1 = combine(a1, select(mask, rest, none))
        return across(combine(combine(a0, a1), combine(a2, a3)))

    @inline
    def run(x, at, count, s, c, first):
        total = start
        i = 0
        while i < count:
            size = min(block, count - i)
            if way == "lanes":
                total = D(combine(total, D(fold(x, at + i, size, c, first))))
            else:
                held = buffer()
                for j in range(size):
                    write(held, j, T(lift(read(x, at + (i + j) * s), c)))
                total = D(combine(total, D(fold(held, 0, size, c, first))))
            i += size
        return total

    return run


def _row_adder(name: str, dtype: str, adjacent: bool) -> DeviceFunction:
    """The device function ``add_rows(x, at, count, s, apart, part, size, c)``: rows from ``x[at]``, ``s``
    apart, are combined with ``part``, four at a time.

    The part comes second: a choice between it and something new would be compiled to a masked store,
    which is slow on AVX2.
    """
    monoid = MONOIDS[name]
    lift, combine, centred = monoid.lift, monoid.combine, monoid.centred
    T, A = np.dtype(dtype).type, np.dtype(monoid.block_dtype(dtype)).type

    @inline
    def lifted(x, i, c, j, apart):
        at = i + j if adjacent else i + j * apart
        return A(lift(read(x, at), T(c[j]) if centred else T(0)))

    @inline
    def add_rows(x, at, count, s, apart, part, size, c):
        for i in range(0, count - 3, 4):
            q = at + i * s
            for j in range(size):
                v = A(combine(lifted(x, q, c, j, apart), lifted(x, q + s, c, j, apart)))
                w = A(
                    combine(
                        lifted(x, q + 2 * s, c, j, apart),
                        lifted(x, q + 3 * s, c, j, apart),
                    )
                )
                write(part, j, A(combine(A(combine(v, w)), part[j])))
        for i in range(count - count % 4, count):
            q = at + i * s
            for j in range(size):
                write(part, j, A(combine(lifted(x, q, c, j, apart), part[j])))

    return add_rows


@kernel
def columns(name: str, dtype: str, out_dtype: str, adjacent: bool) -> Kernel:
    """Reduce over rows of elements with the stride ``apart`` (1 if ``adjacent``), a block of them a unit.

    Rows are combined into a row of parts, and every ``flush`` rows these into the totals. A unit
    is one of ``chunks`` pieces, ``chunk`` rows long, of a block of columns; ``n`` rows have the stride ``s``.
    """
    monoid = MONOIDS[name]
    combine, centred = monoid.combine, monoid.centred
    block_dtype, total_dtype = monoid.block_dtype(dtype), monoid.total_dtype(dtype)
    finish = monoid.finishing(total_dtype)
    T, D, Out = (np.dtype(name).type for name in (dtype, total_dtype, out_dtype))
    start, none = monoid.identity(total_dtype), monoid.identity(block_dtype)
    totals, parts = local(total_dtype, Reduce.columns), local(block_dtype, Reduce.columns)
    center_row = local(dtype if centred else "float64", Reduce.columns)
    block, flush, add_rows = Reduce.columns, Reduce.flush, _row_adder(name, dtype, adjacent)

    @inline
    def reduce_part(task, x, center, out, p, work):
        chunks, n, s, apart = work.chunks, work.n, work.s, work.apart
        kept, outer = dims_of(work.table)
        source, targets = pointer(x, T), pointer(out, Out)
        centers, partial = pointer(center, Out), pointer(out, D)
        total, part, c = totals(), parts(), center_row()
        blocks = (work.width + block - 1) // block
        outputs = work.units // (chunks * blocks) * work.width
        for unit in range(task * work.per, min(work.units, (task + 1) * work.per)):
            piece, strip = unit % chunks, unit // chunks
            o = strip // blocks
            column = (strip - o * blocks) * block
            size = min(block, work.width - column)
            first = o * work.width + column
            for j in range(size):
                total[j] = start
                part[j] = none
                if centred:
                    c[j] = read(centers, first + j)
            base = offset(o, kept.ndim, kept.sizes, kept.strides)
            base += column if adjacent else column * apart
            since, r = 0, piece * work.chunk
            end = min(work.R, r + work.chunk)
            while r < end:
                row = r // n
                count = min(n - (r - row * n), end - r, flush - since)
                at = base + (r - row * n) * s + offset(row, outer.ndim, outer.sizes, outer.strides)
                add_rows(source, at, count, s, apart, part, size, c)
                since += count
                r += count
                if since == flush or r == end:
                    since = 0
                    for j in range(size):
                        total[j] = D(combine(total[j], D(part[j])))
                        part[j] = none
            if chunks == 1:
                for j in range(size):
                    write(targets, first + j, Out(finish(total[j], work.R, p)))
            else:
                for j in range(size):
                    partial[piece * outputs + first + j] = total[j]

    return _kernel(reduce_part, centred)


@kernel
def combine_parts(name: str, dtype: str, out_dtype: str) -> Kernel:
    """Combine ``chunks`` totals of each output, in order; part k of output o is at
    ``k * outputs + o``.
    """
    monoid = MONOIDS[name]
    combine, total_dtype = monoid.combine, monoid.total_dtype(dtype)
    finish = monoid.finishing(total_dtype)
    D, Out = np.dtype(total_dtype).type, np.dtype(out_dtype).type
    start, block, row = (
        monoid.identity(total_dtype),
        Reduce.columns,
        local(total_dtype, Reduce.columns),
    )

    def body(task, parts, out, p, outputs, chunks, count):
        source, targets, total = pointer(parts, D), pointer(out, Out), row()
        for first in range(0, outputs, block):
            size = min(block, outputs - first)
            for j in range(size):
                total[j] = start
            for k in range(chunks):
                for j in range(size):
                    write(total, j, D(combine(total[j], read(source, k * outputs + first + j))))
            for j in range(size):
                write(targets, first + j, Out(finish(total[j], count, p)))

    return body, "iidiii"


# ------------------------------------------------------------------------------------- launching


class _Split:
    """How the elements are shared out: ``chunks`` pieces per output, ``per`` units a task."""

    def __init__(self, outputs: int, R: int, strips: int, step: int, width: int):
        total = outputs * R
        self.chunks = 1
        self.chunk = max(R, 1)
        if splitting.PIECES or (strips < Reduce.few_units and total >= 2 * Reduce.grain):
            pieces = min(-(-Reduce.pieces // strips), total // Reduce.grain, max(1, R // step))
            pieces = splitting.pieces(pieces, max(1, R // step))
            self.chunk = -(-R // (pieces * step)) * step
            self.chunks = -(-R // self.chunk)
        self.units = strips * self.chunks
        work = max(1, min(self.chunk, R) * width)
        self.per, self.tasks = splitting.share(
            self.units, work, Reduce.grain, Reduce.tasks, whole=True
        )


def _begin_parts(split: _Split, *variant: str) -> None:
    if split.chunks > 1:
        combine_parts.begin(*variant)


def reduce(
    name: str, dtype: str, out_dtype: str, kept: tuple[Sizes, Sizes], reduced: tuple[Sizes, Sizes]
) -> tuple[Callable[..., None], int]:
    """A launch ``(x, [center], out, [scratch], p)`` and the bytes of scratch it needs.

    Args:
        name: of the monoid; a centred one has the operand ``center``, shaped as the output.
        dtype, out_dtype: of ``x``; of ``out`` and ``center``, which are row-major.
        kept: sizes and strides of the merged dimensions of ``x`` that remain, in order.
        reduced: sizes and strides of those that go, largest stride first.
    """
    outputs, R = int(np.prod(kept[0])), int(np.prod(reduced[0]))
    if outputs == 0:
        return lambda *args: None, 0
    monoid = MONOIDS[name]
    n, s = reduced[0][-1], reduced[1][-1]
    adjacent = kept[1][-1] == 1
    if adjacent:
        by_columns = kept[0][-1] >= Reduce.narrow
    else:
        by_columns = kept[0][-1] >= Reduce.short_columns and R <= Reduce.short
    width, apart = (kept[0][-1], kept[1][-1]) if by_columns else (1, 0)
    if by_columns:
        blocks = -(-width // Reduce.columns)
        split = _Split(
            outputs, R, outputs // width * blocks, Reduce.row_block, min(width, Reduce.columns)
        )
        _begin_parts(split, name, dtype, out_dtype)
        function = columns.build(name, dtype, out_dtype, adjacent)
        table = layout_table((kept[0][:-1], kept[1][:-1]), reduced)
    else:
        split = _Split(outputs, R, outputs, Reduce.block, 1)
        floats = monoid.block_dtype(dtype) == dtype and is_float(dtype)
        way = "plain" if not floats else "lanes" if s == 1 and monoid.lanes else "buffer"
        _begin_parts(split, name, dtype, out_dtype)
        function = rows.build(name, dtype, out_dtype, way)
        table = layout_table(kept, reduced)
    work = Work(
        table=table.ctypes.data, units=split.units, per=split.per, R=R, chunk=split.chunk, n=n, s=s,
        chunks=split.chunks, width=width, apart=apart,
    )  # fmt: skip
    run = bind(function, *work, split.tasks, TEAM if split.tasks > 1 else 0, keep=table)
    if split.chunks == 1:
        return run, 0
    second = combine_parts.build(name, dtype, out_dtype)
    finish = bind(second, outputs, split.chunks, R, 1, 0)
    nbytes = outputs * split.chunks * np.dtype(monoid.total_dtype(dtype)).itemsize
    return _in_parts(run, finish, monoid.centred), nbytes


def _in_parts(
    run: Callable[..., None], finish: Callable[..., None], centred: bool
) -> Callable[..., None]:
    """The launch of both stages."""

    def launch(x: int, out: int, parts: int, p: float) -> None:
        run(x, parts, p)
        finish(parts, out, p)

    def centred_launch(x: int, center: int, out: int, parts: int, p: float) -> None:
        run(x, center, parts, p)
        finish(parts, out, p)

    return centred_launch if centred else launch


def layout_table(kept: tuple[Sizes, Sizes], reduced: tuple[Sizes, Sizes]) -> np.ndarray:
    """[kept dims, outer reduced dims, kept sizes…, kept strides…, outer reduced sizes…, strides…]."""
    outer = (reduced[0][:-1], reduced[1][:-1])
    flat = [len(kept[0]), len(outer[0]), *kept[0], *kept[1], *outer[0], *outer[1]]
    return np.array(flat, np.int64)
