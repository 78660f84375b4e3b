"""Reductions of strided arrays over any of their dimensions.

Four loop nests cover all layouts. ``rows``: every output takes runs of elements along the reduced
dimension with the smallest stride. ``columns``: adjacent outputs have adjacent inputs, and a row of
totals is kept while rows of the input are added. ``pairs``: outputs are pairs of floats, as of complex
numbers, whose elements lie in adjacent pairs. ``combine``: the second stage, where the elements
of one output were split over several tasks.

Short runs are combined in the input's precision by many independent partial totals, and their
results in double precision, so that rounding errors hardly grow with the number of elements. The
split depends on sizes and strides only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels.accumulators import (
    body_of,
    casting,
    in_parts,
    pointing,
    reading,
    storing,
    writing,
)
from tilegrad.kernels.cpu.parts.reduce_places import Sizes, layout_table, places, rest_of
from tilegrad.kernels.cpu.parts.reduce_runs import elements, pair_run, rows_of_lanes, run_of
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.cpu.tuning import Reduce
from tilegrad.kernels.dtypes import is_float
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.monoids import MONOIDS, Monoid


class Work(NamedTuple):
    """What the units of a reduction of ``R`` elements an output are; ``per`` of them are a task.

    Attributes:
        table: address of what :func:`layout_table` gives.
        chunk, chunks: elements (rows) of a piece, pieces of an output.
        n: elements (rows) of the reduced dimension with the smallest stride.
        width: adjacent outputs; of :func:`columns` only.
    """

    table: int
    units: int
    per: int
    R: int
    chunk: int
    n: int
    chunks: int
    width: int


def _signature(monoid: Monoid) -> tuple[list[int], tuple[Any, ...]]:
    """(groups of a body's arguments, their signature): the task, operands, the centre, results (or
    memory for totals), scalars, and :class:`Work`.
    """
    operands, results, params = monoid.operands, monoid.results, monoid.params
    letters = "i" * (operands + monoid.centred + results) + "d" * params
    return [1, operands, int(monoid.centred), results, params, 1], (letters, Work)


@kernel
def rows(name: str, dtype: str, out_dtype: str, way: str, pattern: str) -> Kernel:
    """Reduce runs of ``n`` elements, whose strides ``pattern`` tells (see :func:`elements`).

    A unit is one of ``chunks`` pieces, ``chunk`` elements long, of one output. The way is ``lanes``
    (vectors straight from memory), ``buffer`` (lifted elements go through a buffer first), ``plain``
    (integers, where the compiler may reorder) or ``spread`` (any monoid: a row of accumulators).
    """
    monoid = MONOIDS[name]
    total_dtype = monoid.total_dtype(dtype)
    T, D, Out = np.dtype(dtype).type, np.dtype(total_dtype).type, np.dtype(out_dtype).type
    start, centred, first_out = monoid.identity(total_dtype), monoid.centred, monoid.results > 1
    join, wide = monoid.joining(total_dtype), casting(monoid.width, total_dtype)
    finish = monoid.finishing(total_dtype, Out)
    sources, targets = pointing(monoid.operands, pointer), pointing(monoid.results, pointer)
    store, put = storing(monoid.results, write), writing(monoid.width, write)
    head_of, base_of, start_of = places(monoid.operands)
    run = run_of(way)(name, dtype, way, pattern)

    @inline
    def reduce_rows(task, x, center, out, p, work):
        table, chunk, chunks, n = work.table, work.chunk, work.chunks, work.n
        source, target = sources(x, T), targets(out, Out)
        head = head_of(table)
        _, _, s, _ = head
        centers, partial = pointer(center, Out), pointer(out[0] if first_out else out, D)
        for unit in range(task * work.per, min(work.units, (task + 1) * work.per)):
            o, r, row, column = unit, 0, 0, 0
            if chunks > 1:
                o = unit // chunks
                r = (unit - o * chunks) * chunk
                row = r // n
                column = r - row * n
            end = min(work.R, r + work.chunk)
            c = T(read(centers, o)) if centred else T(0)
            base = base_of(table, head, o, 0)
            total = start
            while r < end:
                count = min(n - column, end - r)
                at = start_of(table, head, base, row, column)
                total = join(total, wide(run(source, at, count, s, c, p)))
                r += count
                row += 1
                column = 0
            if chunks == 1:
                store(target, o, finish(total, work.R, p))
            else:
                put(partial, (unit - o * chunks) * (work.units // chunks) + o, work.units, total)

    groups, signature = _signature(monoid)
    return body_of(reduce_rows, groups), signature


@kernel
def pairs(name: str, dtype: str, out_dtype: str) -> Kernel:
    """Reduce runs of ``n`` adjacent pairs of floats to a pair each: complex numbers, by their parts. A unit
    is one of ``chunks`` pieces, ``chunk`` pairs long, of one pair of outputs.
    """
    monoid = MONOIDS[name]
    total_dtype = monoid.total_dtype(dtype)
    T, D, Out = np.dtype(dtype).type, np.dtype(total_dtype).type, np.dtype(out_dtype).type
    start, finish = monoid.identity(total_dtype), monoid.finishing(total_dtype, Out)
    row, run = local(total_dtype, 2), pair_run(name, dtype)
    head_of, base_of, start_of = places(1)

    @inline
    def reduce_pairs(task, x, out, p, work):
        table, chunks, n = work.table, work.chunks, work.n
        source, target, partial, total = pointer(x, T), pointer(out, Out), pointer(out, D), row()
        head = head_of(table)
        for unit in range(task * work.per, min(work.units, (task + 1) * work.per)):
            piece, o = unit % chunks, unit // chunks
            write(total, 0, start)
            write(total, 1, start)
            base = base_of(table, head, o, 0)
            r, end = piece * work.chunk, min(work.R, (piece + 1) * work.chunk)
            while r < end:
                row_ = r // n
                count = min(n - (r - row_ * n), end - r)
                run(source, start_of(table, head, base, row_, r - row_ * n), 2 * count, T(0), total)
                r += count
            for j in range(2):
                if chunks == 1:
                    write(target, 2 * o + j, finish(read(total, j), work.R, p))
                else:
                    write(partial, 2 * (piece * (work.units // chunks) + o) + j, read(total, j))

    groups = [1, 1, 1, monoid.params, 1]
    return body_of(reduce_pairs, groups), ("ii" + "d" * monoid.params, Work)


def _rows_fold(name: str, dtype: str, pattern: str, wide: bool) -> DeviceFunction:
    """``fold(part, size, x, at, count, s, c, apart, p)``: ``count`` rows of ``size`` elements, combined
    into the row of parts, four rows at a time. (The part comes second: a choice between it and something
    new would be compiled to a masked store, which is slow on AVX2.)
    """
    if wide and _way(MONOIDS[name], dtype, pattern) == "lanes":
        return rows_of_lanes(name, dtype)
    monoid = MONOIDS[name]
    kinds, centred, block_dtype = monoid.width, monoid.centred, monoid.block_dtype(dtype)
    lift, join = monoid.lifting(block_dtype), monoid.joining(block_dtype)
    get, put, element = reading(kinds), writing(kinds, write), elements(pattern, "j")
    T, block = np.dtype(dtype).type, block_of(kinds)

    @inline
    def lifted(x, at, i, s, c, j, apart, p):
        return lift(element(x, at, i, s, j, apart), T(c[j]) if centred else T(0), p)

    @inline
    def fold(part, size, x, at, count, s, c, apart, p):
        for i in range(0, count - 3, 4):
            for j in range(size):
                v = join(
                    lifted(x, at, i, s, c, j, apart, p), lifted(x, at, i + 1, s, c, j, apart, p)
                )
                w = join(
                    lifted(x, at, i + 2, s, c, j, apart, p), lifted(x, at, i + 3, s, c, j, apart, p)
                )
                put(part, j, block, join(join(v, w), get(part, j, block)))
        for i in range(count - count % 4, count):
            for j in range(size):
                v = lifted(x, at, i, s, c, j, apart, p)
                put(part, j, block, join(v, get(part, j, block)))

    return fold


def _parts(name: str, dtype: str) -> tuple[DeviceFunction, DeviceFunction]:
    """``clear(part, size)`` of a row of parts, and ``add(total, part, size)``, which combines them into the
    totals.
    """
    monoid = MONOIDS[name]
    kinds, total_dtype = monoid.width, monoid.total_dtype(dtype)
    wide, join = casting(kinds, total_dtype), monoid.joining(total_dtype)
    none, block = monoid.identity(monoid.block_dtype(dtype)), block_of(kinds)
    get, put = reading(kinds), writing(kinds, write)

    @inline
    def clear(part, size):
        for j in range(size):
            put(part, j, block, none)

    @inline
    def add(total, part, size):
        for j in range(size):
            put(total, j, block, join(get(total, j, block), wide(get(part, j, block))))

    return clear, add


def _leaving(name: str, dtype: str, out_dtype: str) -> DeviceFunction:
    """``leave(total, size, target, partial, to, chunks, count, p)``: totals to where they go: results, or parts of
    them. (A choice within the loop would be compiled to masked stores of both.)
    """
    monoid = MONOIDS[name]
    finish = monoid.finishing(monoid.total_dtype(dtype), np.dtype(out_dtype).type)
    get, put, block = reading(monoid.width), writing(monoid.width, write), block_of(monoid.width)
    store = storing(monoid.results, write)

    @inline
    def leave(total, size, target, partial, to, chunks, count, p):
        at, place, apart = to
        if chunks == 1:
            for j in range(size):
                store(target, at + j, finish(get(total, j, block), count, p))
        else:
            for j in range(size):
                put(partial, place + j, apart, get(total, j, block))

    return leave


@kernel
def columns(name: str, dtype: str, out_dtype: str, pattern: str, wide: bool) -> Kernel:
    """Reduce over rows of elements that are ``apart`` (see ``pattern`` of :func:`elements`), up to
    a block of them in a unit.

    Four rows at a time are combined into a row of parts, ``wide`` ones in vectors, and every ``flush`` rows
    these into the totals. A unit is one of ``chunks`` pieces, ``chunk`` rows long, of a block of columns; ``n`` rows
    have the stride ``s``.
    """
    monoid = MONOIDS[name]
    kinds, operands, centred = monoid.width, monoid.operands, monoid.centred
    block_dtype, total_dtype = monoid.block_dtype(dtype), monoid.total_dtype(dtype)
    T, D, Out = np.dtype(dtype).type, np.dtype(total_dtype).type, np.dtype(out_dtype).type
    start, leave = monoid.identity(total_dtype), _leaving(name, dtype, out_dtype)
    block, flush, first_out = block_of(kinds), Reduce.flush, monoid.results > 1
    totals, parts = local(total_dtype, block * kinds), local(block_dtype, block * kinds)
    center_row, put = local(dtype, block), writing(kinds, write)
    sources, targets = pointing(operands, pointer), pointing(monoid.results, pointer)
    fold, (clear, add_parts) = _rows_fold(name, dtype, pattern, wide), _parts(name, dtype)
    head_of, base_of, start_of = places(operands)

    @inline
    def reduce_columns(task, x, center, out, p, work):
        table, chunks, n, width = work.table, work.chunks, work.n, work.width
        source, target = sources(x, T), targets(out, Out)
        head = head_of(table)
        _, _, s, apart = head
        centers, partial = pointer(center, Out), pointer(out[0] if first_out else out, D)
        total, part, c = totals(), parts(), center_row()
        blocks = (width + block - 1) // block
        outputs = work.units // (chunks * blocks) * width
        for unit in range(task * work.per, min(work.units, (task + 1) * work.per)):
            piece, strip = unit % chunks, unit // chunks
            o, column = strip // blocks, strip % blocks * block
            size = min(block, width - column)
            first = o * width + column
            for j in range(size):
                put(total, j, block, start)
                if centred:
                    c[j] = read(centers, first + j)
            clear(part, size)
            base = base_of(table, head, o, column)
            since, r, end = 0, piece * work.chunk, min(work.R, (piece + 1) * work.chunk)
            while r < end:
                row = r // n
                count = min(n - (r - row * n), end - r, flush - since)
                at = start_of(table, head, base, row, r - row * n)
                fold(part, size, source, at, count, s, c, apart, p)
                since, r = since + count, r + count
                if since == flush or r == end:
                    since = 0
                    add_parts(total, part, size)
                    if r < end:
                        clear(part, size)
            to = (first, piece * outputs + first, outputs * chunks)
            leave(total, size, target, partial, to, chunks, work.R, p)

    groups, signature = _signature(monoid)
    return body_of(reduce_columns, groups), signature


def block_of(width: int) -> int:
    """Outputs of a column task, whose accumulators stay in the nearest cache."""
    return max(Reduce.fewest_columns, Reduce.columns // width)


@kernel
def combine_parts(name: str, dtype: str, out_dtype: str) -> Kernel:
    """Combine ``chunks`` totals of each output, in order; part k of output o is at
    ``k * outputs + o``, those of the next accumulator ``chunks * outputs`` further.
    """
    monoid = MONOIDS[name]
    total_dtype, kinds = monoid.total_dtype(dtype), monoid.width
    D, Out = np.dtype(total_dtype).type, np.dtype(out_dtype).type
    join, finish = monoid.joining(total_dtype), monoid.finishing(total_dtype, Out)
    start, block = monoid.identity(total_dtype), block_of(kinds)
    row, get, put = local(total_dtype, block * kinds), reading(kinds), writing(kinds, write)
    take = reading(kinds, read)
    targets, store = pointing(monoid.results, pointer), storing(monoid.results, write)

    @inline
    def combine_all(task, parts, out, p, outputs, chunks, count):
        source, target, total = pointer(parts, D), targets(out, Out), row()
        for first in range(0, outputs, block):
            size = min(block, outputs - first)
            for j in range(size):
                put(total, j, block, start)
            for k in range(chunks):
                for j in range(size):
                    part = take(source, k * outputs + first + j, chunks * outputs)
                    put(total, j, block, join(get(total, j, block), part))
            for j in range(size):
                store(target, first + j, finish(get(total, j, block), count, p))

    groups = [1, 1, monoid.results, monoid.params, 1, 1, 1]
    letters = "i" * (1 + monoid.results) + "d" * monoid.params + "iii"
    return body_of(combine_all, groups), letters


# ------------------------------------------------------------------------------------- launching


class _Split:
    """How the elements are shared out: ``chunks`` pieces per output, ``per`` units a task."""

    def __init__(self, outputs: int, R: int, strips: int, step: int, width: int):
        total = outputs * R
        self.chunks = 1
        self.chunk = max(R, 1)
        forced = splitting.PIECES and total
        if forced or (strips < Reduce.few_units and total >= 2 * Reduce.grain):
            pieces = min(-(-Reduce.pieces // strips), total // Reduce.grain, max(1, R // step))
            pieces = splitting.pieces(pieces, max(1, R // step))
            self.chunk = -(-R // (pieces * step)) * step
            self.chunks = -(-R // self.chunk)
        self.units = strips * self.chunks
        work = max(1, min(self.chunk, R) * width)
        self.per, self.tasks = splitting.share(
            self.units, work, Reduce.grain, Reduce.tasks, at_least=True
        )


def _begin_parts(split: _Split, *variant: str) -> None:
    if split.chunks > 1:
        combine_parts.begin(*variant)


def reduce(
    name: str, dtype: str, out_dtype: str, kept: tuple[Sizes, ...], reduced: tuple[Sizes, ...]
) -> tuple[Callable[..., None], int]:
    """A launch ``(*operands, [center], *outs, [scratch], *params)`` and the bytes of scratch it needs.

    Args:
        name: of the monoid; a centred one has the operand ``center``, shaped as the output.
        dtype, out_dtype: of the operands; of what comes out and ``center``, which are row-major.
        kept: sizes of the merged dimensions that remain, in order, then each operand's strides.
        reduced: the same of those that go, largest stride first.
    """
    outputs, R = int(np.prod(kept[0])), int(np.prod(reduced[0]))
    if outputs == 0:
        return lambda *args: None, 0
    monoid = MONOIDS[name]
    n = reduced[0][-1]
    apart = _pattern(kept)
    adjacent = "c" in apart and "v" not in apart
    if adjacent:
        by_columns = kept[0][-1] >= Reduce.narrow
    else:
        by_columns = kept[0][-1] >= Reduce.short_columns and R <= Reduce.short
    by_pairs = not by_columns and _of_pairs(monoid, dtype, kept, reduced)
    width = kept[0][-1] if by_columns else 2 if by_pairs else 1
    if by_pairs:
        split = _Split(outputs, R, outputs // 2, Reduce.block, 2)
        _begin_parts(split, name, dtype, out_dtype)
        function = pairs.build(name, dtype, out_dtype)
        table = layout_table(rest_of(kept), reduced)
    elif by_columns:
        most = block_of(monoid.width)
        strips = outputs // width * -(-width // most)
        split = _Split(outputs, R, strips, Reduce.row_block, min(width, most))
        _begin_parts(split, name, dtype, out_dtype)
        function = columns.build(name, dtype, out_dtype, apart, width >= lanes(dtype))
        table = layout_table(rest_of(kept), reduced, [steps[-1] for steps in kept[1:]])
    else:
        split = _Split(outputs, R, outputs, Reduce.block, 1)
        pattern = _pattern(reduced)
        _begin_parts(split, name, dtype, out_dtype)
        function = rows.build(name, dtype, out_dtype, _way(monoid, dtype, pattern), pattern)
        table = layout_table(kept, reduced)
    work = Work(
        table=table.ctypes.data, units=split.units, per=split.per, R=R, chunk=split.chunk, n=n,
        chunks=split.chunks, width=width,
    )  # fmt: skip
    run = bind(function, *work, split.tasks, TEAM if split.tasks > 1 else 0, keep=table)
    if split.chunks == 1:
        return run, 0
    second = combine_parts.build(name, dtype, out_dtype)
    finish = bind(second, outputs, split.chunks, R, 1, 0)
    return _in_stages(monoid)(run, finish), outputs * split.chunks * _part_bytes(monoid, dtype)


def _in_stages(monoid: Monoid) -> Callable[..., Callable[..., None]]:
    """What makes one launch of the two stages'."""
    operands = monoid.operands + monoid.centred
    return in_parts(operands, monoid.results, monoid.params, monoid.results)


def _part_bytes(monoid: Monoid, dtype: str) -> int:
    """Of the totals of one piece of an output."""
    return np.dtype(monoid.total_dtype(dtype)).itemsize * monoid.width


def _way(monoid: Monoid, dtype: str, pattern: str) -> str:
    """How runs of elements whose strides ``pattern`` tells are combined; see :func:`rows`."""
    if monoid.combine is None:
        return "spread"
    if monoid.block_dtype(dtype) != dtype or not is_float(dtype):
        return "plain"
    return "lanes" if pattern == "c" and monoid.lanes else "buffer"


def _of_pairs(
    monoid: Monoid, dtype: str, kept: tuple[Sizes, ...], reduced: tuple[Sizes, ...]
) -> bool:
    """Whether outputs are pairs of floats, each of whose elements lie beside each other, gapless, in rows."""
    if monoid.operands > 1 or monoid.results > 1 or monoid.centred or not kept[0]:
        return False
    pairs_lie = (kept[0][-1], kept[1][-1], reduced[1][-1]) == (2, 1, 2)
    return pairs_lie and _way(monoid, dtype, "c") == "lanes"


def _pattern(block: tuple[Sizes, ...]) -> str:
    """A letter for each operand's innermost stride; see :func:`elements`."""
    return "".join({0: "s", 1: "c"}.get(strides[-1], "v") for strides in block[1:])
