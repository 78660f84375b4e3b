"""Runs of elements of a reduction: the innermost loops, by what is known of the monoid and the strides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.accumulators import (
    casting,
    function,
    item,
    packed,
    reading,
    writing,
)
from tilegrad.kernels.cpu.simd.emit import fold_lanes
from tilegrad.kernels.cpu.simd.memory import local, read, write
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
    store,
    store_masked,
)
from tilegrad.kernels.cpu.tuning import Reduce
from tilegrad.kernels.function import DeviceFunction, inline, intrinsic
from tilegrad.kernels.monoids import MONOIDS, add, larger, multiply, smaller


@intrinsic
def hproduct(typing, vector):
    """The product of the lanes: halves are multiplied until one is left."""

    def codegen(context, builder, sig, args):
        return fold_lanes(builder, args[0], lambda b, x, y: b.fmul(x, y))

    return vector.elem(vector), codegen


_ACROSS = {add: hsum, larger: hmax, smaller: hmin, multiply: hproduct}


def elements(pattern: str, at: str) -> DeviceFunction:
    """``element(x, at, i, s, j, apart)``: an element of each operand, as one value. ``pattern`` has a
    letter per operand for steps of the index ``at`` (``i`` or ``j``): ``c`` consecutive, ``s`` one value,
    ``v`` any stride.
    """
    count, values = len(pattern), []
    for k, letter in enumerate(pattern):
        terms = [item("at", k, count)]
        if at == "j":
            terms.append(f"i * {item('s', k, count)}")
        stride = item("s" if at == "i" else "apart", k, count)
        terms += {"c": [at], "s": [], "v": [f"{at} * {stride}"]}[letter]
        values.append(f"read({item('x', k, count)}, {' + '.join(terms)})")
    return function("element", "x, at, i, s, j, apart", packed(values), {"read": read})


def plain_run(name: str, dtype: str, way: str, pattern: str) -> DeviceFunction:
    """``run(x, at, count, s, c, p)``: one after the other."""
    monoid = MONOIDS[name]
    block_dtype = monoid.block_dtype(dtype)
    lift, join = monoid.lifting(block_dtype), monoid.joining(block_dtype)
    first, element = monoid.identity(block_dtype), elements(pattern, "i")

    @inline
    def run(x, at, count, s, c, p):
        a = first
        for i in range(count):
            a = join(a, lift(element(x, at, i, s, 0, 0), c, p))
        return a

    return run


def spread_run(name: str, dtype: str, way: str, pattern: str) -> DeviceFunction:
    """``run(x, at, count, s, c, p)``: a row of accumulators takes ``spread`` elements at a time, in a
    loop that the compiler makes vectors of, and is folded at the end of each block.
    """
    monoid = MONOIDS[name]
    block_dtype, total_dtype = monoid.block_dtype(dtype), monoid.total_dtype(dtype)
    lift, join = monoid.lifting(block_dtype), monoid.joining(block_dtype)
    wide, join_wide = casting(monoid.width, total_dtype), monoid.joining(total_dtype)
    get, put = reading(monoid.width), writing(monoid.width, write)
    element, start = elements(pattern, "i"), monoid.identity(total_dtype)
    buffer, row, block = (
        local(block_dtype, Reduce.spread * monoid.width),
        Reduce.spread,
        Reduce.spread * Reduce.flush,
    )

    @inline
    def fold(x, at, first, end, s, c, p):
        held = buffer()
        live = min(row, end - first)
        for j in range(live):
            put(held, j, row, lift(element(x, at, first + j, s, 0, 0), c, p))
        i = first + row
        while i + row <= end:
            for j in range(row):
                part = lift(element(x, at, i + j, s, 0, 0), c, p)
                put(held, j, row, join(get(held, j, row), part))
            i += row
        for j in range(end - i):
            part = lift(element(x, at, i + j, s, 0, 0), c, p)
            put(held, j, row, join(get(held, j, row), part))
        while live > 1:
            half = (live + 1) // 2
            for j in range(live - half):
                put(held, j, row, join(get(held, j, row), get(held, j + half, row)))
            live = half
        return get(held, 0, row)

    @inline
    def run(x, at, count, s, c, p):
        total = start
        for i in range(0, count, block):
            total = join_wide(total, wide(fold(x, at, i, min(count, i + block), s, c, p)))
        return total

    return run


def _lanes_fold(name: str, dtype: str, lifting: bool) -> DeviceFunction:
    """``fold(x, at, count, c)``: a vector of what ``count`` adjacent elements come to, each ``lanes`` apart
    from the next of its lane; of lifted elements, or ``lifting`` them.
    """
    monoid = MONOIDS[name]
    combine, first = monoid.combine, monoid.identity(dtype)
    assert combine is not None
    T, W = np.dtype(dtype).type, lanes(dtype)

    @inline
    def keep(v, c):
        return v

    taken = monoid.lift if lifting else keep

    @inline
    def fold(x, at, count, c):
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
        return combine(combine(a0, a1), combine(a2, a3))

    return fold


def float_run(name: str, dtype: str, way: str, pattern: str) -> DeviceFunction:
    """``run(x, at, count, s, c, p)``: a run of floats combined in four vectors of lanes."""
    monoid = MONOIDS[name]
    combine = monoid.combine
    assert combine is not None
    across, element = _ACROSS[combine], elements(pattern, "i")
    lifted, fold = monoid.lifting(dtype), _lanes_fold(name, dtype, way == "lanes")
    total_dtype = monoid.total_dtype(dtype)
    D, start = np.dtype(total_dtype).type, monoid.identity(total_dtype)
    block = 256 * lanes(dtype) if way == "lanes" else 512
    buffer = local(dtype, 512)

    @inline
    def run(x, at, count, s, c, p):
        total = start
        i = 0
        while i < count:
            size = min(block, count - i)
            if way == "lanes":
                total = D(combine(total, D(across(fold(x, at + i, size, c)))))
            else:
                held = buffer()
                for j in range(size):
                    write(held, j, lifted(element(x, at, i + j, s, 0, 0), c, p))
                total = D(combine(total, D(across(fold(held, 0, size, c)))))
            i += size
        return total

    return run


def pair_run(name: str, dtype: str) -> DeviceFunction:
    """``run(x, at, count, c, totals)``: a run of floats (``count`` of them), those at even places combined
    into the first of two totals, the others into the second.
    """
    monoid = MONOIDS[name]
    combine = monoid.combine
    assert combine is not None
    fold, D, W = (
        _lanes_fold(name, dtype, True),
        np.dtype(monoid.total_dtype(dtype)).type,
        lanes(dtype),
    )
    block, buffer = 256 * W, local(dtype, W)

    @inline
    def run(x, at, count, c, totals):
        held = buffer()
        for i in range(0, count, block):
            store(held, 0, fold(x, at + i, min(block, count - i), c))
            for j in range(0, W, 2):
                write(totals, 0, D(combine(read(totals, 0), D(read(held, j)))))
                write(totals, 1, D(combine(read(totals, 1), D(read(held, j + 1)))))

    return run


def rows_of_lanes(name: str, dtype: str) -> DeviceFunction:
    """``fold(part, size, x, at, count, s, c, apart, p)``: ``count`` rows of ``size`` adjacent floats, combined
    into the row of parts in vectors: four rows, then the part with them, and two fours while it is in a register.
    """
    monoid = MONOIDS[name]
    lift, combine, centred = monoid.lift, monoid.combine, monoid.centred
    assert combine is not None
    first, T, W = monoid.identity(dtype), np.dtype(dtype).type, lanes(dtype)

    @inline
    def row(x, at, mask, center):
        return lift(load_masked(x, at, mask, splat(first)), center)

    @inline
    def one(held, x, at, s, mask, center):
        return combine(row(x, at, mask, center), held)

    @inline
    def four(held, x, at, s, mask, center):
        v = combine(row(x, at, mask, center), row(x, at + s, mask, center))
        w = combine(row(x, at + 2 * s, mask, center), row(x, at + 3 * s, mask, center))
        return combine(combine(v, w), held)

    @inline
    def eight(held, x, at, s, mask, center):
        return four(four(held, x, at, s, mask, center), x, at + 4 * s, s, mask, center)

    def sweeping(take: DeviceFunction) -> DeviceFunction:
        @inline
        def part_of(part, x, at, s, c, j, mask):
            none = splat(first)
            center = load_masked(c, j, mask, none) if centred else none
            held = load_masked(part, j, mask, none)
            store_masked(part, j, take(held, x, at + j, s, mask, center), mask)

        @inline
        def sweep(part, size, x, at, s, c):
            whole = size - size % W
            for j in range(0, whole, W):
                part_of(part, x, at, s, c, j, head(T, W))
            if whole < size:
                part_of(part, x, at, s, c, whole, head(T, size - whole))

        return sweep

    by_eight, by_four, by_one = sweeping(eight), sweeping(four), sweeping(one)

    @inline
    def fold(part, size, x, at, count, s, c, apart, p):
        for i in range(0, count - 7, 8):
            by_eight(part, size, x, at + i * s, s, c)
        if count & 4:
            by_four(part, size, x, at + count // 8 * 8 * s, s, c)
        for i in range(count - count % 4, count):
            by_one(part, size, x, at + i * s, s, c)

    return fold


def run_of(way: str) -> Callable[[str, str, str, str], DeviceFunction]:
    """What makes the run of a way: ``lanes``, ``buffer``, ``plain`` or ``spread``."""
    return {"plain": plain_run, "spread": spread_run}.get(way, float_run)
