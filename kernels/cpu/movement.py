"""Copies of elements from one strided place to another. Elements are only bytes here.

``copy`` walks two strided operands of equal sizes, whose strides may be negative or, for the
source, zero. Rows whose source and target run the same way are copied row by row; where the source
runs along another dimension than the target, square tiles are transposed in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import TEAM, Kernel, bind, kernel
from tilegrad.kernels.cpu.simd.emit import load_value, store_value, transposed
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.tuning import Movement
from tilegrad.kernels.function import function_from_source, intrinsic

_WORDS = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64", 16: "complex128"}


def _tile(itemsize: int) -> int:
    """Edge of a transposed tile: a cache line of 4 or 8-byte elements."""
    return 8 if itemsize >= 8 else 16


# -------------------------------------------------------------------------------------- row by row


@kernel
def copy_rows(itemsize: int, source_step: int | None, target_step: int | None) -> Kernel:
    """``out = x``; steps are the innermost strides where they are compile-time facts.

    Arguments: addresses of x and out, the table (see :func:`_row_table`), number of elements,
    elements per task.
    """
    word = np.dtype(_WORDS[itemsize]).type
    index = np.int64
    source_known, source_fixed = source_step is not None, source_step or 0
    target_known, target_fixed = target_step is not None, target_step or 0

    def copy_rows_body(task, a0, a1, table, total, chunk):
        x = pointer(a0, word)
        out = pointer(a1, word)
        sizes = pointer(table, index)
        outer, middle, inner = sizes[0], sizes[1], sizes[2]
        x_row, out_row = sizes[3], sizes[4]
        x_step = source_fixed if source_known else sizes[5]
        out_step = target_fixed if target_known else sizes[6]
        position = task * chunk
        end = min(total, position + chunk)
        while position < end:
            row = position // inner
            column = position - row * inner
            rest = row // middle
            line = row - rest * middle
            i0 = line * x_row
            o0 = line * out_row
            for axis in range(outer - 1, -1, -1):
                above = rest // sizes[7 + axis]
                step = rest - above * sizes[7 + axis]
                rest = above
                i0 += step * sizes[7 + outer + axis]
                o0 += step * sizes[7 + 2 * outer + axis]
            if column != 0 or end - position < inner:
                count = min(inner - column, end - position)
                for i in range(column, column + count):
                    write(out, o0 + i * out_step, read(x, i0 + i * x_step))
                position += count
            else:
                lines = min(middle - line, (end - position) // inner)
                for _ in range(lines):
                    for i in range(inner):
                        write(out, o0 + i * out_step, read(x, i0 + i * x_step))
                    i0 += x_row
                    o0 += out_row
                position += lines * inner

    return copy_rows_body, "iiiii"


def _row_table(sizes: tuple[int, ...], x: tuple[int, ...], out: tuple[int, ...]) -> np.ndarray:
    """[outer dims, rows, row length, strides of rows, innermost strides, then outer dims']."""
    sizes, x, out = (1, *sizes), (0, *x), (0, *out)
    head = [len(sizes) - 2, sizes[-2], sizes[-1], x[-2], out[-2], x[-1], out[-1]]
    return np.array([*head, *sizes[:-2], *x[:-2], *out[:-2]], np.int64)


# ------------------------------------------------------------------------------------- transposing


@intrinsic
def transpose_tile(typing, x, i0, x_step, out, o0, out_step):
    """Write the transpose of a square tile: its row r is at ``x[i0 + r * x_step]``, of consecutive
    elements; the result's row r at ``out[o0 + r * out_step]``. See :func:`_tile` for its edge.
    """
    from numba import types

    edge = _tile(x.dtype.bitwidth // 8)

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        source, first, step, target, start, out_step = args
        vector = ir.VectorType(ir.IntType(x.dtype.bitwidth), edge)

        def place(base: Any, origin: Any, stride: Any, row: int) -> Any:
            offset = builder.mul(stride, ir.Constant(stride.type, row))
            return builder.gep(base, [builder.add(origin, offset)])

        rows = [load_value(builder, place(source, first, step, k), vector) for k in range(edge)]
        for k, row in enumerate(transposed(builder, rows)):
            store_value(builder, row, place(target, start, out_step, k))
        return context.get_dummy_value()

    return types.void(x, i0, x_step, out, o0, out_step), codegen


@kernel
def copy_transposed(itemsize: int) -> Kernel:
    """``out = x`` where x is consecutive along the last dimension but one, out along the last.
    Neighbouring bands are taken together, so that runs of several cache lines are read.

    Arguments: addresses of x and out, the table (outer dims, rows, columns, the stride of x along
    a row of out, the stride of out from row to row, then outer sizes and strides), number of bands
    (of ``edge`` rows of out), bands per task.
    """
    word = np.dtype(_WORDS[itemsize]).type
    index = np.int64
    edge, together = _tile(itemsize), Movement.together

    def copy_transposed_body(task, a0, a1, table, total, chunk):
        x = pointer(a0, word)
        out = pointer(a1, word)
        sizes = pointer(table, index)
        outer, rows, columns, x_step, out_step = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
        bands = (rows + edge - 1) // edge
        band, end = task * chunk, min(total, task * chunk + chunk)
        while band < end:
            rest = band // bands
            first = (band - rest * bands) * edge
            whole_bands = min(together, end - band, (rows - first) // edge)
            i0 = first
            o0 = first * out_step
            for axis in range(outer - 1, -1, -1):
                above = rest // sizes[5 + axis]
                step = rest - above * sizes[5 + axis]
                rest = above
                i0 += step * sizes[5 + outer + axis]
                o0 += step * sizes[5 + 2 * outer + axis]
            whole = columns - columns % edge if whole_bands else 0
            for column in range(0, whole, edge):
                for k in range(0, whole_bands * edge, edge):
                    at = i0 + k + column * x_step
                    transpose_tile(x, at, x_step, out, o0 + k * out_step + column, out_step)
            for row in range(min(max(whole_bands, 1) * edge, rows - first)):
                for column in range(whole, columns):
                    out[o0 + row * out_step + column] = x[i0 + row + column * x_step]
            band += max(whole_bands, 1)

    return copy_transposed_body, "iiiii"


def _transposable(
    sizes: tuple[int, ...], x: tuple[int, ...], out: tuple[int, ...], edge: int
) -> int | None:
    """The dimension x is consecutive along, if out is so along another and both are long."""
    if len(sizes) < 2 or out[-1] != 1 or x[-1] in (1, -1, 0) or sizes[-1] < edge:
        return None
    for axis in range(len(sizes) - 1):
        if x[axis] == 1 and sizes[axis] >= edge:
            return axis
    return None


# --------------------------------------------------------------------------------------- launchers


def copy(
    itemsize: int, sizes: tuple[int, ...], x_strides: tuple[int, ...], out_strides: tuple[int, ...]
) -> Callable[[int, int], None]:
    """A launch ``(x, out)`` of ``out[i] = x[i]`` for elements of ``itemsize`` bytes.

    Args:
        sizes: merged dimensions, outermost first, at least one.
        x_strides, out_strides: in elements; any sign for both, 0 for x.
    """
    total = 1
    for size in sizes:
        total *= size
    if total == 0:
        return lambda *args: None
    axis = None
    if itemsize <= 8:  # of a register's tile
        axis = _transposable(sizes, x_strides, out_strides, _tile(itemsize))
    if axis is None:
        steps = [s if s in known else None for s, known in
                 ((x_strides[-1], (1, -1, 0)), (out_strides[-1], (1,)))]  # fmt: skip
        function = copy_rows.build(itemsize, *steps)
        table = _row_table(sizes, x_strides, out_strides)
        units, unit = total, itemsize
    else:
        function = copy_transposed.build(itemsize)
        rest = [k for k in range(len(sizes) - 1) if k != axis]
        head = [len(rest), sizes[axis], sizes[-1], x_strides[-1], out_strides[axis]]
        outer = [s[k] for s in (sizes, x_strides, out_strides) for k in rest]
        table = np.array([*head, *outer], np.int64)
        units = total // (sizes[axis] * sizes[-1]) * -(-sizes[axis] // _tile(itemsize))
        unit = _tile(itemsize) * sizes[-1] * itemsize
    return _spread(function, table, units, unit)


JOINED = Movement.joined


def _spread(
    function: Callable[..., None], table: np.ndarray, units: int, unit: int
) -> Callable[..., None]:
    """Split ``units`` of ``unit`` bytes over tasks."""
    chunk, tasks = splitting.share(units, unit, Movement.grain, Movement.tasks, at_least=True)
    team = TEAM if tasks > 1 else 0
    return bind(function, table.ctypes.data, units, chunk, tasks, team, keep=table)


# ----------------------------------------------------------------------------------------- joining


_JOIN = """
def join_body(task, {names}, a_out, table, total, chunk):
    runs, out, addresses = pointer(table, int64), pointer(a_out, word), held()
    {kept}
    width = runs[{count}]
    at, end = task * chunk, min(total, task * chunk + chunk)
    while at < end:
        row = at // width
        column = at - row * width
        start = 0
        for k in range({count}):
            run = runs[k]
            if column < start + run and at < end:
                x, first = pointer(addresses[k], word), row * run + column - start
                some = min(start + run - column, end - at)
                for i in range(some):
                    write(out, at + i, read(x, first + i))
                at += some
                column += some
            start += run
"""


@kernel
def join_rows(itemsize: int, count: int) -> Kernel:
    """Rows of ``out`` are a run of each of ``count`` operands, side by side.

    Arguments: addresses of the operands and of out, the table (elements of the runs, then of a
    row), number of elements of out, elements per task.
    """
    names = [f"a{k}" for k in range(count)]
    kept = "; ".join(f"addresses[{k}] = {name}" for k, name in enumerate(names))
    source = _JOIN.format(names=", ".join(names), kept=kept, count=count)
    word = np.dtype(_WORDS[itemsize]).type
    scope = {
        "pointer": pointer, "read": read, "write": write, "word": word, "int64": np.int64,
        "held": local("int64", count),
    }  # fmt: skip
    return function_from_source(source, "join_body", scope), "i" * (count + 4)


_INTERLEAVE = """
def interleave_body(task, {names}, a_out, table, total, chunk):
    out = pointer(a_out, word)
    {sources}
    for i in range(task * chunk, min(total, task * chunk + chunk)):
        {writes}
"""


@kernel
def interleave(itemsize: int, count: int) -> Kernel:
    """:func:`join_rows` of runs of one element: a loop whose stores LLVM makes whole vectors of."""
    every = range(count)
    source = _INTERLEAVE.format(
        names=", ".join(f"a{k}" for k in every),
        sources="; ".join(f"x{k} = pointer(a{k}, word)" for k in every),
        writes="; ".join(f"write(out, i * {count} + {k}, read(x{k}, i))" for k in every),
    )
    word = np.dtype(_WORDS[itemsize]).type
    scope = {"pointer": pointer, "read": read, "write": write, "word": word}
    return function_from_source(source, "interleave_body", scope), "i" * (count + 4)


def join(itemsize: int, rows: int, runs: tuple[int, ...]) -> Callable[..., None]:
    """A launch ``(*operands, out)`` of up to ``JOINED`` operands: each of the ``rows`` of out is a
    run of each operand, side by side, of so many elements. Operands and out are row-major.
    """
    width = sum(runs)
    if rows * width == 0:
        return lambda *args: None
    table = np.array([*runs, width], np.int64)
    if width == len(runs) == runs.count(1) and rows > 1:
        return _spread(interleave.build(itemsize, width), table, rows, width * itemsize)
    return _spread(join_rows.build(itemsize, len(runs)), table, rows * width, itemsize)


@kernel
def expand_counts(dtype: str) -> Kernel:
    """``out = 0 repeated counts[0] times, 1 repeated counts[1] times, …``, as int64.

    Arguments: addresses of counts, out and the status, number of counts, room in out. The status
    becomes the sum of the counts, or -1 if one is negative; nothing is written past the room.
    """
    T = np.dtype(dtype).type
    index = np.int64

    def expand_counts_body(task, a0, a1, a2, total, room):
        counts = pointer(a0, T)
        out = pointer(a1, index)
        status = pointer(a2, index)
        at = index(0)
        for i in range(total):
            count = index(counts[i])
            if count < 0:
                status[0] = -1
                return
            for k in range(at, min(at + count, room)):
                out[k] = i
            at += count
        status[0] = at

    return expand_counts_body, "iiiii"


def repeated_indices(dtype: str, total: int, room: int) -> Callable[..., None]:
    """A launch ``(counts, out, status)`` of :func:`expand_counts`."""
    return bind(expand_counts.build(dtype), total, room, 1, 0)
