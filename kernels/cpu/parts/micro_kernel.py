"""The inner loops of matrix products: strips of the result, held in registers a tile at a time.

A tile is ``height`` rows by ``vectors`` vectors. Each step over the inner dimension loads one row
of ``vectors`` vectors of ``y`` and, for each row of the tile, multiplies it by one number of ``x``.
The sums stay in registers from the first step to the last, which is why this is emitted as LLVM IR
and not written as a loop: it carries ``height * vectors`` vectors from step to step.

Source: K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from tilegrad.kernels.cpu.run import jit
from tilegrad.kernels.cpu.simd.emit import (
    emit_loop,
    fma_value,
    fold_lanes,
    head_value,
    llvm_vector,
    load_transposed,
    load_value,
    prefetch_value,
    splat_value,
    store_head,
    store_value,
)
from tilegrad.kernels.cpu.simd.vector import full_vector
from tilegrad.kernels.function import Intrinsic, intrinsic

LEAST = 4  # rows of a tile with enough sums to keep the multipliers busy: fewer wait for each other


def heights() -> tuple[int, ...]:
    """Rows of the tiles to use, largest first: any number of rows is a sum of them.

    The largest, with two vectors in a row, fills the register file: 28 of 32 registers with AVX-512
    and 12 of 16 otherwise, less a row of ``y`` and one number of ``x``.
    """
    return (14, 8, 4, 2, 1) if jit.simd_bits() == 512 else (6, 5, 4, 3, 2, 1)


def unroll() -> int:
    """Steps over the inner dimension written out in a row.

    A step of 256 bits has so little arithmetic that it pays to share the counting and the addresses.
    One of AVX-512 has time for them. More would cost: LLVM reads the numbers of ``x`` that are written
    out well before they are needed, and moves sums to memory to make room for them.
    """
    return 1 if jit.simd_bits() == 512 else 4


class _Operands(NamedTuple):
    """LLVM values: element pointers ``x, y, out, seed``, the rest int64 counts of elements."""

    x: Any
    x_row: Any
    x_step: Any
    y: Any
    y_step: Any
    out: Any
    out_row: Any
    seed: Any
    seed_row: Any
    rows: Any
    depth: Any
    tail: Any


class _Form(NamedTuple):
    """What of a strip is known when it is compiled."""

    kind: Any  # the LLVM vector type
    vectors: int
    tiles: tuple[int, ...]
    across: bool
    whole: bool  # all lanes of the last vector are in use


@cache
def strip(
    vectors: int, tiles: tuple[int, ...], across: bool = False, whole: bool = False
) -> Intrinsic:
    """The intrinsic for a strip of ``vectors`` vectors of columns and any number of rows::

        strip(x, x_row, x_step, y, y_step, out, out_row, seed, seed_row, rows, depth, tail)

    computes ``out[i, j] = seed[i, j] + sum over k < depth of x[i, k] * y[k, j]``, in the order of
    ``k``, for ``i < rows`` and all lanes ``j`` but those of the last vector from ``tail`` on, which
    are neither read nor written. ``x``, ``y``, ``out`` and ``seed`` are pointers, the others counts
    of elements: ``x[i, k]`` is at ``i * x_row + k * x_step``, ``y[k, j]`` at ``k * y_step + j``, and
    ``out`` and ``seed`` have adjacent columns too. A null ``seed`` stands for zeros.

    ``tiles`` are the heights of the tiles to use, largest first, 1 at the end; without any, the
    intrinsic emits nothing. With ``across``, ``y[k, j]`` is at ``k + j * y_step``: square blocks of
    it are transposed in registers. A ``whole`` strip uses all lanes, whatever ``tail`` says: half the
    code.
    """

    def emitter(
        typing, x, x_row, x_step, y, y_step, out, out_row, seed, seed_row, rows, depth, tail
    ):
        from numba import types

        n = types.intp

        def codegen(context, builder, sig, args):
            kind = llvm_vector(full_vector(sig.args[0].dtype))
            _emit_strip(builder, _Form(kind, vectors, tiles, across, whole), _Operands(*args))
            return context.get_dummy_value()

        return types.void(x, n, n, y, n, out, n, seed, n, n, n, n), codegen

    emitter.__name__ = f"strip_{vectors}"
    return intrinsic(emitter)


def _emit_strip(builder: Any, form: _Form, given: _Operands) -> None:
    """One loop over the rows for every height of tile; masks only where they are needed."""
    if not form.tiles:
        return
    size = given.rows.type
    seedless = builder.icmp_unsigned("==", builder.ptrtoint(given.seed, size), size(0))

    def tiles(whole: bool) -> None:
        state = [given.x, given.out, given.seed, given.rows]
        for height in form.tiles:
            chosen = form._replace(whole=whole)
            state = _emit_tiles(builder, chosen, given, height, seedless, state)

    if form.whole:
        tiles(True)
        return
    filled = builder.icmp_signed("==", given.tail, size(form.kind.count))
    with builder.if_else(filled) as (then, otherwise):
        for branch, whole in ((then, True), (otherwise, False)):
            with branch:
                tiles(whole)


def _emit_tiles(
    builder: Any, form: _Form, given: _Operands, height: int, seedless: Any, state: list[Any]
) -> list[Any]:
    """Tiles of ``height`` rows while that many are left, and not too few after them for a tile of
    their own; ``state`` is ``[x, out, seed, rows]``.
    """
    count = given.rows.type(height)
    strides = (given.x_row, given.out_row, given.seed_row)
    steps = [builder.mul(count, stride) for stride in strides]

    def more(state: list[Any]) -> Any:
        if height <= LEAST:
            return builder.icmp_signed(">=", state[3], count)
        enough = builder.icmp_signed(">=", state[3], given.rows.type(height + LEAST))
        return builder.or_(enough, builder.icmp_signed("==", state[3], count))

    def body(state: list[Any]) -> list[Any]:
        x, out, seed, left = state
        here = given._replace(x=x, out=out, seed=seed)
        sums = (_sums_across if form.across else _sums)(builder, form, here, height)
        _emit_results(builder, form, here, sums, seedless)
        moved = [builder.gep(p, [step]) for p, step in zip((x, out, seed), steps)]
        return [*moved, builder.sub(left, count)]

    return emit_loop(builder, state, more, body)


def _sums(builder: Any, form: _Form, given: _Operands, height: int) -> list[Any]:
    """The sums of one tile, row by row."""
    from llvmlite import ir

    kind, size = form.kind, given.rows.type
    masks = _masks(builder, form, given)
    rows = [builder.mul(given.x_row, size(row)) for row in range(height)]
    if height == max(form.tiles):  # the results are needed when the sums are ready
        for row in range(height):
            out = builder.gep(given.out, [builder.mul(given.out_row, size(row))])
            prefetch_value(builder, out)
            prefetch_value(builder, builder.gep(out, [size(form.vectors * kind.count - 1)]))

    def steps(count: int) -> Callable[[list[Any]], list[Any]]:
        def body(carried: list[Any]) -> list[Any]:
            x, y, left, *sums = carried
            starts = [builder.gep(x, [offset]) for offset in rows]
            for k in range(count):
                line = []
                for v, mask in enumerate(masks):
                    at = builder.gep(y, [size(v * kind.count)])
                    line.append(load_value(builder, at, kind, mask))
                for row, start in enumerate(starts):
                    factor = builder.load(builder.gep(start, [builder.mul(given.x_step, size(k))]))
                    factor = splat_value(builder, factor, kind.count)
                    for v, values in enumerate(line):
                        place = row * form.vectors + v
                        sums[place] = fma_value(builder, factor, values, sums[place])
                y = builder.gep(y, [given.y_step])
            x = builder.gep(x, [builder.mul(given.x_step, size(count))])
            return [x, y, builder.sub(left, size(count)), *sums]

        return body

    zeros = [ir.Constant(kind, None)] * (height * form.vectors)
    state = [given.x, given.y, given.depth, *zeros]
    for count in dict.fromkeys((unroll(), 1)):
        least = size(count)
        more = lambda carried, least=least: builder.icmp_signed(">=", carried[2], least)  # noqa: E731
        state = emit_loop(builder, state, more, steps(count), rolled=True)
    return state[3:]


def _sums_across(builder: Any, form: _Form, given: _Operands, height: int) -> list[Any]:
    """The sums of one tile where columns of ``y`` run along memory, a square block at a time."""
    from llvmlite import ir

    kind, size = form.kind, given.rows.type
    W = kind.count
    last = builder.sub(given.tail, size(1))
    offsets = []  # of the columns of each vector
    for v in range(form.vectors):
        columns = [size(v * W + j) for j in range(W)]
        if v == form.vectors - 1:  # columns beyond the last stand on it: read, never written
            last = builder.add(last, size(v * W))
            columns = [builder.select(builder.icmp_signed("<", j, last), j, last) for j in columns]
        offsets.append([builder.mul(column, given.y_step) for column in columns])

    def step(carried: list[Any]) -> list[Any]:
        x, y, left, *sums = carried
        for v, some in enumerate(offsets):
            columns = [builder.gep(y, [offset]) for offset in some]
            for k, line in enumerate(load_transposed(builder, columns, kind)):
                add(builder.gep(x, [builder.mul(given.x_step, size(k))]), line, v, sums)
        x = builder.gep(x, [builder.mul(given.x_step, size(W))])
        y = builder.gep(y, [size(W)])
        return [x, y, builder.sub(left, size(W)), *sums]

    def single(carried: list[Any]) -> list[Any]:
        x, y, left, *sums = carried
        for v, some in enumerate(offsets):
            line = ir.Constant(kind, ir.Undefined)
            for lane, offset in enumerate(some):
                value = builder.load(builder.gep(y, [offset]))
                line = builder.insert_element(line, value, ir.IntType(32)(lane))
            add(x, line, v, sums)
        x, y = builder.gep(x, [given.x_step]), builder.gep(y, [size(1)])
        return [x, y, builder.sub(left, size(1)), *sums]

    def add(x: Any, line: Any, v: int, sums: list[Any]) -> None:
        for row in range(height):
            at = builder.gep(x, [builder.mul(given.x_row, size(row))])
            factor, place = splat_value(builder, builder.load(at), W), row * form.vectors + v
            sums[place] = fma_value(builder, factor, line, sums[place])

    zeros = [ir.Constant(kind, None)] * (height * form.vectors)
    full = lambda carried: builder.icmp_signed(">=", carried[2], size(W))  # noqa: E731
    some = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    state = emit_loop(builder, [given.x, given.y, given.depth, *zeros], full, step)
    return emit_loop(builder, state, some, single)[3:]


def _masks(builder: Any, form: _Form, given: _Operands) -> list[Any]:
    """For every vector of a row the mask of the lanes in use, None for all of them."""
    last = None if form.whole else head_value(builder, given.tail, form.kind.count)
    return [None] * (form.vectors - 1) + [last]


def _emit_results(
    builder: Any, form: _Form, given: _Operands, sums: list[Any], seedless: Any
) -> None:
    """``out = sums``, or ``seed + sums``."""
    size, masks = given.rows.type, _masks(builder, form, given)

    def place(base: Any, stride: Any, number: int) -> Any:
        row, v = divmod(number, form.vectors)
        offset = builder.add(builder.mul(stride, size(row)), size(v * form.kind.count))
        return builder.gep(base, [offset])

    with builder.if_else(seedless) as (plain, seeded):
        for branch, adds in ((plain, False), (seeded, True)):
            with branch:
                for number, value in enumerate(sums):
                    mask = masks[number % form.vectors]
                    if adds:
                        at = place(given.seed, given.seed_row, number)
                        value = builder.fadd(load_value(builder, at, form.kind, mask), value)
                    at = place(given.out, given.out_row, number)
                    if mask is None:
                        store_value(builder, value, at)
                    else:
                        store_head(builder, value, at, given.tail)


@cache
def dots(tiles: tuple[int, ...]) -> Intrinsic:
    """The intrinsic for dot products of rows with one vector, both along memory::

        dots(x, x_row, y, out, rows, depth)

    adds ``sum over k < depth of x[i, k] * y[k]`` to ``out[i]`` for ``i < rows``, ``x[i, k]`` at
    ``i * x_row + k``. Lane ``l`` adds up the products of ``k = l`` modulo twice the lanes, and the
    lanes are added by halves: an order that depends on ``depth`` only.
    """

    def emitter(typing, x, x_row, y, out, rows, depth):
        from numba import types

        n = types.intp

        def codegen(context, builder, sig, args):
            x, x_row, y, out, rows, depth = args
            kind, state = llvm_vector(full_vector(sig.args[0].dtype)), [x, out, rows]
            for height in tiles:
                state = _emit_dots(builder, kind, height, state, x_row, y, depth)
            return context.get_dummy_value()

        return types.void(x, n, y, out, n, n), codegen

    emitter.__name__ = "dots"
    return intrinsic(emitter)


def _emit_dots(
    builder: Any, kind: Any, height: int, state: list[Any], x_row: Any, y: Any, depth: Any
) -> list[Any]:
    """Dot products of ``height`` rows at a time; ``state`` is ``[x, out, rows left]``."""
    from llvmlite import ir

    size, W = depth.type, kind.count
    offsets = [builder.mul(x_row, size(row)) for row in range(height)]
    zeros = [ir.Constant(kind, None)] * (2 * height)

    def add(x: Any, k: Any, sums: list[Any], mask: Any = None) -> list[Any]:
        other = load_value(builder, builder.gep(y, [k]), kind, mask)
        at = [builder.gep(x, [builder.add(offset, k)]) for offset in offsets]
        lines = [load_value(builder, place, kind, mask) for place in at]
        return [fma_value(builder, line, other, s) for line, s in zip(lines, sums)]

    def tile(state: list[Any]) -> list[Any]:
        x, out, left = state

        def step(carried: list[Any]) -> list[Any]:
            k, *sums = carried
            even = add(x, k, sums[:height])
            odd = add(x, builder.add(k, size(W)), sums[height:])
            return [builder.add(k, size(2 * W)), *even, *odd]

        def rest(carried: list[Any]) -> list[Any]:
            k, *sums = carried
            new = add(x, k, sums[:height], head_value(builder, builder.sub(depth, k), W))
            return [builder.add(k, size(W)), *sums[height:], *new]

        def within(reach: int) -> Any:
            last = builder.sub(depth, size(reach))
            return lambda carried: builder.icmp_signed("<=", carried[0], last)

        _, *sums = emit_loop(builder, [size(0), *zeros], within(2 * W), step)
        whole = builder.sub(depth, builder.srem(depth, size(2 * W)))
        _, *sums = emit_loop(builder, [whole, *sums], within(1), rest)
        for row, (a, b) in enumerate(zip(sums[:height], sums[height:])):
            total = fold_lanes(builder, builder.fadd(a, b), lambda b, x, y: b.fadd(x, y))
            at = builder.gep(out, [size(row)])
            builder.store(builder.fadd(builder.load(at), total), at)
        x = builder.gep(x, [builder.mul(x_row, size(height))])
        return [x, builder.gep(out, [size(height)]), builder.sub(left, size(height))]

    return emit_loop(
        builder, state, lambda state: builder.icmp_signed(">=", state[2], size(height)), tile
    )
