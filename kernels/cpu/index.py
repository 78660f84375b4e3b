"""Loops that read or write through an index: gather, scatter, and the check of the index.

An index is int64. Its element ``j`` stands for the offset ``j * step`` (negative ``j`` counts from
``wrap``) beside the offset that the strides of the other dimensions give. ``index_select``,
``gather``, ``embedding`` and ``x[i, j]`` are one reading loop, told apart by strides; their writing
counterparts are one writing loop. Movement knows only the width of an element, so all dtypes of a
width share a kernel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import TEAM, Kernel, bind, kernel
from tilegrad.kernels.cpu.simd.memory import pointer, read, write
from tilegrad.kernels.cpu.tuning import Index
from tilegrad.kernels.function import DeviceFunction, function_from_source, inline
from tilegrad.kernels.plans import storage_form

Sizes = tuple[int, ...]


@inline
def walk(table, plane, strides):
    """Offset of outer position ``plane``: ``table`` is [dims, middle, inner, sizes…, strides…],
    and the operand's strides begin at ``strides``.
    """
    rest = plane
    offset = 0
    for axis in range(table[0] - 1, -1, -1):
        above = rest // table[3 + axis]
        offset += (rest - above * table[3 + axis]) * table[strides + axis]
        rest = above
    return offset


def _walk_table(sizes: Sizes, *strides: Sizes) -> np.ndarray:
    """The table of :func:`walk`: the last two sizes are the middle and the inner loop."""
    flat = [len(sizes) - 2, *sizes[-2:], *sizes[:-2]]
    for operand in strides:
        flat += operand
    return np.array(flat, np.int64)


def _two_dims(sizes: Sizes, strides: tuple[Sizes, ...]) -> tuple[Sizes, tuple[Sizes, ...]]:
    """At least two dimensions, by a leading 1."""
    if len(sizes) >= 2:
        return sizes, strides
    return (1, *sizes), tuple((0, *s) for s in strides)


def tasks_for(total: int) -> tuple[int, int]:
    """(tasks, elements per task) of a loop over ``total`` elements."""
    chunk, tasks = splitting.share(total, 1, Index.grain, Index.tasks)
    return tasks, chunk


# ------------------------------------------------------------------------------------- reading


def _piece_reader(mode: str, wraps: bool) -> DeviceFunction:
    """The device function ``pieces(x, x_at, x_step, step, index, …)`` of :func:`gather_rows`: elements
    with an index of their own. A piece of the indices is checked, then read without further checks.
    """
    each, line_of_one = mode in ("each", "line"), mode == "line"
    U, piece = np.uint64, Index.piece

    @inline
    def nth(index, at, k, j_step, wrap):
        j = read(index, at + k) if each else read(index, at + k * j_step)
        return j + ((j >> 63) & wrap) if wraps else j

    @inline
    def pieces(x, x_at, x_step, step, index, j_at, j_step, out, at, count, size, wrap):
        outside = 0
        for first in range(0, count, piece):
            end = min(count, first + piece)
            sides = 0
            for k in range(first, end):
                j = nth(index, j_at, k, j_step, wrap)
                sides |= j | (size - 1 - j)
            outside |= sides
            if sides >= 0:
                for k in range(first, end):
                    j = nth(index, j_at, k, j_step, wrap)
                    place = x_at + (j if line_of_one else k * x_step + j * step)
                    write(out, at + k, read(x, place))
            else:
                for k in range(first, end):
                    j = np.int64(min(U(nth(index, j_at, k, j_step, wrap)), U(size - 1)))
                    write(out, at + k, read(x, x_at + k * x_step + j * step))
        return outside

    return pieces


@kernel
def gather_rows(width: int, mode: str, wraps: bool) -> Kernel:
    """``out[p] = x[origin(p) + step * index[…]]`` over the output's elements ``p``, row-major.

    ``mode`` describes the inner dimension: ``row``: one index, consecutive elements; ``each``:
    consecutive indices; ``line``: such indices of one line of consecutive elements; ``any``: any
    strides; ``row4`` and the like: a row of exactly 4 elements, never split between tasks.
    ``wraps``: negative indices count from ``wrap``.
    An index that is then outside ``[0, size)`` reads the last element instead, and sets the task's
    ``flag``, which is 0 otherwise.
    """
    T = np.dtype(f"u{width}").type
    row, U, pieces = mode.startswith("row"), np.uint64, _piece_reader(mode, wraps)
    words = int(mode[3:]) if row and mode[3:] else 0

    def gather_rows_body(task, a0, a1, a2, a3, a4, total, chunk, step, size, wrap):
        x, index, out = pointer(a0, T), pointer(a1, np.int64), pointer(a2, T)
        flag, table = pointer(a3, np.int64), pointer(a4, np.int64)
        dims, middle, inner = table[0], table[1], table[2]
        xs = 3 + dims
        js = xs + dims + 2
        x_step, j_step = table[xs + dims + 1], table[js + dims + 1]
        position = task * chunk
        end = min(total, position + chunk)
        line = position // inner
        column = position - line * inner
        plane = line // middle
        line -= plane * middle
        outside = 0  # negative, once an index or what it lacks of the last one was
        while position < end:
            x_plane, j_plane = walk(table, plane, xs), walk(table, plane, js)
            while line < middle and position < end:
                x_at = x_plane + line * table[xs + dims] + column * x_step
                j_at = j_plane + line * table[js + dims] + column * j_step
                count = min(inner - column, end - position)
                if row:
                    j = index[j_at]
                    if wraps:
                        j += (j >> 63) & wrap
                    outside |= j | (size - 1 - j)
                    x_at += np.int64(min(U(j), U(size - 1))) * step  # as unsigned, -1 is large
                    for k in range(words if words else count):
                        write(out, position + k, read(x, x_at + k))
                else:
                    outside |= pieces(
                        x, x_at, x_step, step, index, j_at, j_step, out, position, count, size, wrap
                    )
                position += count
                column = 0
                line += 1
            line = 0
            plane += 1
        flag[task] = outside < 0

    return gather_rows_body, "iiiiiiiiii"


def _widened(
    itemsize: int, sizes: Sizes, x_strides: Sizes, step: int
) -> tuple[int, Sizes, Sizes, int]:
    """The same rows in elements of 8 bytes, where everything divides."""
    factor = 8 // itemsize
    if sizes[-1] % factor or step % factor or any(s % factor for s in x_strides[:-1]):
        return itemsize, sizes, x_strides, step
    return (
        8,
        (*sizes[:-1], sizes[-1] // factor),
        (*(s // factor for s in x_strides[:-1]), 1),
        step // factor,
    )


def gather(
    itemsize: int, sizes: Sizes, x_strides: Sizes, index_strides: Sizes, step: int, size: int,
    wrap: int,
) -> tuple[Callable[..., None], int]:  # fmt: skip
    """A launch ``(x, index, out, flags)`` that reads through an index into row-major ``out``, and
    how many int64 flags it sets.

    Args:
        itemsize: bytes of an element of ``x`` and ``out``.
        sizes: the output's dimensions, merged.
        x_strides, index_strides: in elements, per dimension of the output.
        step: elements between neighbours along the indexed dimension of ``x``.
        size: of that dimension, at least 1; indices must lie in ``[-wrap, size)``.

    A flag is 1 if one of its part of the indices does not, and ``out`` is then unusable, else 0.
    """
    sizes, (x_strides, index_strides) = _two_dims(sizes, (x_strides, index_strides))
    mode = "each" if index_strides[-1] == 1 else "any"
    if mode == "each" and x_strides[-1] == 0 and step == 1:
        mode = "line"
    if index_strides[-1] == 0 and x_strides[-1] == 1:
        mode = "row"
        itemsize, sizes, x_strides, step = _widened(itemsize, sizes, x_strides, step)
    total = 1
    for n in sizes:
        total *= n
    grain = Index.grain if mode == "row" else Index.scattered
    chunk, tasks = splitting.share(total, 1, grain, Index.tasks)
    if mode == "row" and sizes[-1] in Index.short_rows:
        mode = f"row{sizes[-1]}"
        chunk = -(-chunk // sizes[-1]) * sizes[-1]
        tasks = -(-total // chunk)
    function = gather_rows.build(itemsize, mode, wrap != 0)
    table = _walk_table(sizes, x_strides, index_strides)
    sizing = (table.ctypes.data, total, chunk, step, size, wrap)
    return bind(function, *sizing, tasks, TEAM if tasks > 1 else 0, keep=table), tasks


# ------------------------------------------------------------------------------------- writing


@inline
def put(old, new):
    """The new value."""
    return new


@inline
def plus(old, new):
    """The sum."""
    return old + new


@inline
def times(old, new):
    """The product."""
    return old * new


@inline
def larger(old, new):
    """The larger; NaN if either is."""
    return new if new > old or new != new else old


@inline
def smaller(old, new):
    """The smaller; NaN if either is."""
    return new if new < old or new != new else old


# the inner dimension's strides, of out, index and source, that have a loop of their own
SCATTER_MODES = {(1, 0, 1): "row", (1, 1, 1): "each", (0, 1, 1): "line"}
COMBINE = {"set": put, "sum": plus, "prod": times, "amax": larger, "amin": smaller}


@kernel
def scatter_rows(dtype: str, combine: DeviceFunction, mode: str) -> Kernel:
    """``out[…] = combine(out[…], source[…])`` at ``origin + step * index[…]``, in index order.

    Loops: outer positions, then the middle dimension, then the inner one, or the task's share of
    it. Different outer positions, and different shares, write different elements. ``mode``: see
    :data:`SCATTER_MODES`. Negative indices count from ``wrap``. The indices must be in bounds.
    """
    T = np.dtype(dtype).type
    row, unit = mode == "row", mode != "any"
    line_of_one = mode == "line"

    def scatter_rows_body(task, a0, a1, a2, a3, planes, share, columns, step, wrap):
        out, index, source = pointer(a0, T), pointer(a1, np.int64), pointer(a2, T)
        table = pointer(a3, np.int64)
        dims, middle, inner = table[0], table[1], table[2]
        os = 3 + dims
        js = os + dims + 2
        vs = js + dims + 2
        o_step, j_step, v_step = table[os + dims + 1], table[js + dims + 1], table[vs + dims + 1]
        shares = (inner + columns - 1) // columns
        first = task // shares
        start = (task - first * shares) * columns
        count = min(columns, inner - start)
        first *= share
        for plane in range(first, min(planes, first + share)):
            o_plane = walk(table, plane, os) + start * o_step
            j_plane = walk(table, plane, js) + start * j_step
            v_plane = walk(table, plane, vs) + start * v_step
            for line in range(middle):
                o_at = o_plane + line * table[os + dims]
                j_at = j_plane + line * table[js + dims]
                v_at = v_plane + line * table[vs + dims]
                if row:
                    j = read(index, j_at)
                    o_at += (j + ((j >> 63) & wrap)) * step
                    for k in range(count):
                        value = combine(out[o_at + k], read(source, v_at + k))
                        write(out, o_at + k, value)
                else:
                    for k in range(count):
                        j = read(index, j_at + (k if unit else k * j_step))
                        at = o_at + (j + ((j >> 63) & wrap)) * step
                        if not line_of_one:
                            at += k if unit else k * o_step
                        value = read(source, v_at + (k if unit else k * v_step))
                        write(out, at, combine(out[at], value))

    return scatter_rows_body, "iiiiiiiii"


def scatter(
    dtype: str, combine: str, sizes: Sizes, strides: tuple[Sizes, Sizes, Sizes],
    length: int, length_strides: tuple[int, int], step: int, wrap: int, size: int,
) -> Callable[..., None]:  # fmt: skip
    """A launch ``(out, index, source)`` that writes through an index.

    Args:
        dtype: of ``out`` and ``source``.
        combine: how a value meets the one in place: a key of :data:`COMBINE`.
        sizes, strides: merged dimensions whose positions write different elements, and the strides
            in elements of ``out``, index and source there.
        length, length_strides: of the dimension along which indices may repeat, for index and
            source; values that meet are combined in its order.
        step: elements between neighbours along the indexed dimension of ``out``.
        wrap: added to negative indices.
        size: of the indexed dimension, within which all indices are known to lie.
    """
    total = length
    for n in sizes:
        total *= n
    if total == 0:
        return lambda *addresses: None
    dtype, combine = storage_form(dtype, combine)
    (*outer, columns), o, j, v = sizes, *strides
    lines_last = columns == 1 or step < o[-1]
    if lines_last:  # neighbours along the index are nearest in memory: make them the inner loop
        sizes, columns = (*sizes, 1, length), length
        o, j, v = (*o, 0, 0), (*j, 0, length_strides[0]), (*v, 0, length_strides[1])
    else:
        sizes = (*outer, length, columns)
        o = (*o[:-1], 0, o[-1])
        j, v = (*j[:-1], length_strides[0], j[-1]), (*v[:-1], length_strides[1], v[-1])
        columns = _column_share(total, columns, outer)
    planes = 1
    for n in sizes[:-2]:
        planes *= n
    table = _walk_table(sizes, o, j, v)
    mode = SCATTER_MODES.get((o[-1], j[-1], v[-1]), "any")
    function = scatter_rows.build(dtype, COMBINE[combine], mode)
    grain = Index.grain if mode == "row" else Index.scattered
    share, bands = splitting.share(planes, 1, planes * grain // total, Index.tasks)
    tasks = bands * -(-sizes[-1] // columns)

    sizing = (table.ctypes.data, planes, share, columns, step, wrap)
    return bind(function, *sizing, tasks, TEAM if tasks > 1 else 0, keep=table)


def _column_share(total: int, columns: int, outer: list[int]) -> int:
    """Columns per task: all of them if the work is small or the outer positions are many, else an
    eighth, but no fewer than 32 and no more than 256.
    """
    planes = 1
    for n in outer:
        planes *= n
    if splitting.PIECES:
        return splitting.share(columns, 1, 1)[0]
    if total < 2 * Index.grain or planes >= 16:
        return max(columns, 1)
    return max(32, min(256, -(-columns // 128) * 16))


# ------------------------------------------------------------------------------- the index itself


@kernel
def first_outside() -> Kernel:
    """``found[task]``: the position of the task's first index outside ``[low, high)``, or -1."""

    def first_outside_body(task, a0, a1, total, chunk, low, high):
        index, found = pointer(a0, np.int64), pointer(a1, np.int64)
        first = task * chunk
        last = min(total, first + chunk)
        bad = 0
        for i in range(first, last):
            j = read(index, i)
            bad |= (j < low) | (j >= high)
        where = -1
        if bad:
            where = first
            while index[where] >= low and index[where] < high:
                where += 1
        found[task] = where

    return first_outside_body, "iiiiii"


def outside(total: int, low: int, high: int) -> Callable[..., None]:
    """A launch ``(index, found)`` over ``total`` consecutive indices: for each of the
    ``tasks_for(total)[0]`` parts the first position that is not in ``[low, high)``, or -1.
    """
    function = first_outside.build()
    tasks, chunk = tasks_for(total)
    return bind(function, total, chunk, low, high, tasks, TEAM if tasks > 1 else 0)


_JOIN = """
def join_indices_body(task, {addresses}, out, flags, total, chunk, {numbers}):
    target = pointer(out, int64)
    {pointers}
    begin = task * chunk
    outside = 0
    for i in range(begin, min(total, begin + chunk)):
        {indices}
        outside |= {sides}
        write(target, i, {terms})
    pointer(flags, int64)[task] = outside < 0
"""


@kernel
def join_indices(count: int) -> Kernel:
    """``out = step * index + …`` over ``count`` indices, negative ones counted from their size.

    Arguments: the indices, out, flags, how many elements, elements per task, the steps, the sizes.
    A task's flag is 1 if an index was outside its dimension: then it, or what it lacks of the last
    one, is negative.
    """
    each = range(count)
    source = _JOIN.format(
        addresses=", ".join(f"a{k}" for k in each),
        numbers=", ".join(f"{letter}{k}" for letter in "sn" for k in each),
        pointers="; ".join(f"x{k} = pointer(a{k}, int64)" for k in each),
        indices="; ".join(f"j{k} = read(x{k}, i); j{k} += (j{k} >> 63) & n{k}" for k in each),
        sides=" | ".join(f"j{k} | (n{k} - 1 - j{k})" for k in each),
        terms=" + ".join(f"s{k} * j{k}" for k in each),
    )
    scope = {"pointer": pointer, "read": read, "write": write, "int64": np.int64}
    return function_from_source(source, "join_indices_body", scope), "i" * (3 * count + 4)


def linear_index(total: int, steps: Sizes, sizes: Sizes) -> tuple[Callable[..., None], int]:
    """A launch ``(index, …, out, flags)``: offsets from one row-major index per indexed dimension,
    of these ``sizes``, whose neighbours are ``steps`` apart; and how many int64 flags it sets.

    A flag is 1 if an index of its part lies outside ``[-size, size)``, and those offsets are then
    unusable, else 0.
    """
    if total == 0:
        return lambda *addresses: None, 0
    tasks, chunk = tasks_for(total)
    function = join_indices.build(len(steps))
    team = TEAM if tasks > 1 else 0
    return bind(function, total, chunk, *steps, *sizes, tasks, team), tasks


@kernel
def count_offsets() -> Kernel:
    """``out[p] = start + the offset that strides give position p``, row-major."""

    def count_offsets_body(task, a0, a1, total, chunk, start):
        out, table = pointer(a0, np.int64), pointer(a1, np.int64)
        begin = task * chunk
        for i in range(begin, min(total, begin + chunk)):
            out[i] = start + walk(table, i, 3 + table[0])

    return count_offsets_body, "iiiii"


def strided_offsets(sizes: Sizes, strides: Sizes, start: int) -> Callable[[int], None]:
    """A launch ``(out,)``: the offset of every element of a strided region, row-major."""
    total = 1
    for n in sizes:
        total *= n
    if total == 0:
        return lambda out: None
    function = count_offsets.build()
    table = _walk_table((*sizes, 1, 1), strides)
    tasks, chunk = tasks_for(total)
    sizing = (table.ctypes.data, total, chunk, start)
    return bind(function, *sizing, tasks, TEAM if tasks > 1 else 0, keep=table)
