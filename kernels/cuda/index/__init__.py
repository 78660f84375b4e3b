"""Reading through an index, and the check of the index; see :mod:`tilegrad.kernels.cpu.index`.

On the GPU a wrong index is noticed after it was used. So whatever reads through indices here keeps
them in bounds, whatever writes leaves out the others, and flags tell the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import barrier, block, blocks, pointer, shared, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.device.words import by_address, word_factors, words
from tilegrad.kernels.cuda.index.scatter import scatter
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce
from tilegrad.kernels.cuda.parts.prefix import add_up, prefix, tasks_for
from tilegrad.kernels.cuda.parts.strided import (
    PER_AXIS,
    index_params,
    is_wide,
    offset_of,
    offsets_of,
    unpack_params,
)
from tilegrad.kernels.cuda.run.jit import Source, bind, blocks_for, kernel
from tilegrad.kernels.cuda.tuning import grid
from tilegrad.kernels.function import function_from_source, inline
from tilegrad.kernels.monoids import smaller

__all__ = ["gather", "linear_index", "outside", "scatter", "strided_offsets", "tasks_for"]

Sizes = tuple[int, ...]

AHEAD = 4  # elements a thread reads before it writes the first

_flag = shared("int32", 1, "outside")


# ------------------------------------------------------------------------------------- reading


@kernel
def gather_words(width: int, dims: int, wide: bool, bounds: Bounds) -> Source:
    """``out[i] = x[origin(i) + step * index[…]]`` over words of ``width`` bytes, row-major.

    As :func:`tilegrad.kernels.cuda.movement.copy_words`: a thread has four words, a block's width
    apart. A block that met an index outside ``[0, size)``, and read the last element instead, sets
    its flag to 1, else to 0. Parameters: x, index, out, flags (int64), words in all, step, size,
    what negative indices are counted from, then the words' block with the strides of x and index.
    """
    T, read, write = words(width)
    place, threads = offsets_of(dims, 2, 0, wide), bounds.threads

    @inline
    def gather(x, a1, out, flags, total, step, size, wrap, t):
        source, index, target = pointer(x, T), pointer(a1, np.int64), pointer(out, T)
        flag = _flag()
        if thread() == 0:
            flag[0] = np.int32(0)
        barrier()
        last = total - 1
        i = block() * (AHEAD * threads) + thread()
        while i < total:
            # past the end, the last word again: a harmless store instead of a branch
            i1, i2 = min(i + threads, last), min(i + 2 * threads, last)
            i3 = min(i + 3 * threads, last)
            p0, p1, p2, p3 = place(i, t), place(i1, t), place(i2, t), place(i3, t)
            j0, j1, j2, j3 = index[p0[1]], index[p1[1]], index[p2[1]], index[p3[1]]
            j0 += (j0 >> 63) & wrap
            j1 += (j1 >> 63) & wrap
            j2 += (j2 >> 63) & wrap
            j3 += (j3 >> 63) & wrap
            least, most = min(min(j0, j1), min(j2, j3)), max(max(j0, j1), max(j2, j3))
            if least < 0 or most >= size:
                flag[0] = np.int32(1)
                j0, j1 = min(max(j0, 0), size - 1), min(max(j1, 0), size - 1)
                j2, j3 = min(max(j2, 0), size - 1), min(max(j3, 0), size - 1)
            v, w = read(source, p0[0] + j0 * step), read(source, p1[0] + j1 * step)
            y, z = read(source, p2[0] + j2 * step), read(source, p3[0] + j3 * step)
            write(target, i, v)
            write(target, i1, w)
            write(target, i2, y)
            write(target, i3, z)
            i += blocks() * (AHEAD * threads)
        barrier()
        if thread() == 0:
            pointer(flags, np.int64)[block()] = np.int64(flag[0])

    return Source(unpack_params(gather, 8, 5 * dims), "i" * (8 + 5 * dims), *bounds)


def gather(
    itemsize: int, sizes: Sizes, x_strides: Sizes, index_strides: Sizes, step: int, size: int,
    wrap: int,
) -> tuple[Callable[..., None], int]:  # fmt: skip
    """A launch ``(x, index, out, flags)`` that reads through an index into row-major ``out``, and
    how many flags it sets; as :func:`tilegrad.kernels.cpu.index.gather`.
    """
    if math.prod(sizes) == 0:
        clear = add_up(0)
        return (lambda x, index, out, flags: clear(flags)), 1
    factors = [1]
    if index_strides[-1] == 0 and x_strides[-1] == 1:
        factors = word_factors(itemsize, sizes, x_strides, (step, 1))
    total, chosen = math.prod(sizes), grid("gather")
    where = blocks_for(total // factors[0], AHEAD * chosen.bounds.threads, chosen.blocks)

    def make(factor: int) -> Callable[..., None]:
        n, x = (*sizes[:-1], sizes[-1] // factor), x_strides
        if factor > 1:
            x = (*(s // factor for s in x_strides[:-1]), 1)
        words_in_all = total // factor
        bounds = chosen.of(len(n))
        function = gather_words.build(itemsize * factor, len(n), is_wide(words_in_all), bounds)
        tail = (step // factor, size, wrap, *index_params(n, x, index_strides))
        return bind(function, words_in_all, *tail, where, 1, 1)

    by_width = by_address(itemsize, factors, make)

    def launch(x: int, index: int, out: int, flags: int) -> None:
        by_width(x | out)(x, index, out, flags)

    return launch, where


# ------------------------------------------------------------------------------- the index itself


@kernel
def first_outside(threads: int) -> Source:
    """``found[chunk]``: the position of its first index outside ``[low, high)``, or -1.

    A block per chunk. Parameters: index, found, how many, indices of a chunk, low, high.
    """
    nowhere = 1 << 62
    first_of = block_reduce(smaller, "int64", threads)

    def find(a0, a1, total, chunk, low, high):
        index = pointer(a0, np.int64)
        i = block() * chunk + thread()
        end = min(total, block() * chunk + chunk)
        found = np.int64(nowhere)
        while i < end:
            j = index[i]
            if j < low or j >= high:
                found = min(found, np.int64(i))
            i += threads
        found = first_of(found)
        if thread() == 0:
            pointer(a1, np.int64)[block()] = found if found < nowhere else -1

    return Source(find, "iiiiii", threads)


def outside(total: int, low: int, high: int) -> Callable[..., None]:
    """A launch ``(index, found)`` over ``total`` consecutive indices: for each of the
    ``tasks_for(total)[0]`` parts the first position that is not in ``[low, high)``, or -1.
    """
    tasks, chunk = tasks_for(total)
    return bind(first_outside.build(prefix().threads), total, chunk, low, high, tasks, 1, 1)


@kernel
def join_indices(count: int, threads: int) -> Source:
    """``out = step * index + …`` over ``count`` indices, negative ones counted from their size; -1
    where one is outside its dimension, and the block's flag is then 1, else 0.

    Parameters: the indices, out, flags (int64), how many elements, the steps, then the sizes.
    """
    names = [f"a{k}" for k in range(count)]
    arguments = [*names, "out", "flags", "total", *(f"{c}{k}" for c in "sn" for k in range(count))]
    lines = [f"        j{k} = wrapped(pointer(a{k}, int64)[i], n{k})\n" for k in range(count)]
    sides = " | ".join(f"j{k} | (n{k} - 1 - j{k})" for k in range(count))
    terms = " + ".join(f"s{k} * j{k}" for k in range(count))
    source = (
        f"def join({', '.join(arguments)}):\n"
        f"    flag = shared_flag()\n"
        f"    if thread() == 0:\n"
        f"        flag[0] = int32(0)\n"
        f"    barrier()\n"
        f"    i = block() * {threads} + thread()\n"
        f"    while i < total:\n{''.join(lines)}"
        f"        offset = {terms}\n"
        f"        if {sides} < 0:\n"
        f"            flag[0] = int32(1)\n"
        f"            offset = -1\n"
        f"        pointer(out, int64)[i] = offset\n"
        f"        i += blocks() * {threads}\n"
        f"    barrier()\n"
        f"    if thread() == 0:\n"
        f"        pointer(flags, int64)[block()] = int64(flag[0])\n"
    )

    @inline
    def wrapped(j, size):
        return j + ((j >> 63) & size)

    scope = {
        "wrapped": wrapped, "pointer": pointer, "int32": np.int32, "int64": np.int64,
        "block": block, "blocks": blocks, "thread": thread, "barrier": barrier,
        "shared_flag": _flag,
    }  # fmt: skip
    body = function_from_source(source, "join", scope, __name__)
    return Source(body, "i" * len(arguments), threads)


def linear_index(total: int, steps: Sizes, sizes: Sizes) -> tuple[Callable[..., None], int]:
    """A launch ``(index, …, out, flags)`` and how many flags it sets; as
    :func:`tilegrad.kernels.cpu.index.linear_index`, but an offset is -1 where an index is wrong:
    what reads there reads the first element, what writes leaves it out.
    """
    if total == 0:
        return lambda *addresses: None, 0
    chosen = grid("index")
    where = blocks_for(total, chosen.bounds.threads, chosen.blocks)
    function = join_indices.build(len(steps), chosen.bounds.threads)
    return bind(function, total, *steps, *sizes, where, 1, 1), where


@kernel
def count_offsets(dims: int, wide: bool, threads: int) -> Source:
    """``out[p] = start + the offset that strides give position p``, row-major.

    Parameters: out, how many, start, then the region.
    """
    place = offset_of(dims, 0, wide)

    @inline
    def count(a0, total, start, t):
        out = pointer(a0, np.int64)
        i = block() * threads + thread()
        while i < total:
            out[i] = start + place(i, t)
            i += blocks() * threads

    params = PER_AXIS * dims
    return Source(unpack_params(count, 3, params), "i" * (3 + params), threads)


def strided_offsets(sizes: Sizes, strides: Sizes, start: int) -> Callable[[int], None]:
    """A launch ``(out,)``: the offset of every element of a strided region, row-major."""
    total = math.prod(sizes)
    if total == 0:
        return lambda out: None
    chosen = grid("index")
    function = count_offsets.build(len(sizes), is_wide(total), chosen.bounds.threads)
    where = blocks_for(total, chosen.bounds.threads, chosen.blocks)
    return bind(function, total, start, *index_params(sizes, strides), where, 1, 1)
