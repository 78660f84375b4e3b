"""The inner loops of matrix products: strips of the result, held in registers a tile at a time.

A tile is ``height`` rows by ``vectors`` vectors. Each step over the inner dimension loads one row
of ``vectors`` vectors of ``y`` and, for each row of the tile, multiplies it by one number of ``x``.
The sums stay in registers from the first step to the last, which is why this is emitted as LLVM IR
and not written as a loop: it carries ``height * vectors`` vectors from step to step.

Source: K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from tilegrad.kernels.cpu import jit
from tilegrad.kernels.cpu.vector import (
    fma_value,
    full_vector,
    head_value,
    llvm_vector,
    load_value,
    splat_value,
    store_value,
    transposed,
)
from tilegrad.kernels.function import Intrinsic, intrinsic

VECTORS = 2  # vectors in a row of the widest tile


def heights(across: bool = False) -> tuple[int, ...]:
    """Rows of the tiles in use, largest first: any number of rows is a sum of them.

    The largest fills the register file, 28 of 32 registers with AVX-512 and 12 of 16 otherwise,
    less a row of ``y`` and one number of ``x``; ``across`` needs most of it for a block of ``y``.
    """
    if across:
        return (4, 1)
    return (14, 8, 4, 2, 1) if jit.simd_bits() == 512 else (6, 4, 2, 1)


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
    packed: bool
    across: bool


@lru_cache(maxsize=None)
def strip(vectors: int, packed: bool = False, across: bool = False) -> Intrinsic:
    """The intrinsic for a strip of ``vectors`` vectors of columns and any number of rows::

        strip(x, x_row, x_step, y, y_step, out, out_row, seed, seed_row, rows, depth, tail)

    computes ``out[i, j] = seed[i, j] + sum over k < depth of x[i, k] * y[k, j]``, in the order of
    ``k``, for ``i < rows`` and all lanes ``j`` but those of the last vector from ``tail`` on, which
    are neither read nor written. ``x``, ``y``, ``out`` and ``seed`` are pointers, the others counts
    of elements: ``x[i, k]`` is at ``i * x_row + k * x_step``, ``y[k, j]`` at ``k * y_step + j``,
    and ``out`` and ``seed`` have adjacent columns too. A null ``seed`` stands for zeros.

    With ``packed``, ``x`` holds the tiles one after the other, each ``depth`` by ``height``. With
    ``across``, ``y[k, j]`` is at ``k + j * y_step``: blocks of it are transposed in registers.
    """

    def emitter(
        typing, x, x_row, x_step, y, y_step, out, out_row, seed, seed_row, rows, depth, tail
    ):  # type: ignore[no-untyped-def]
        from numba import types

        n = types.intp

        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            kind = llvm_vector(full_vector(sig.args[0].dtype))
            _emit_strip(builder, _Form(kind, vectors, packed, across), _Operands(*args))
            return context.get_dummy_value()

        return types.void(x, n, n, y, n, out, n, seed, n, n, n, n), codegen

    emitter.__name__ = f"strip_{vectors}"
    return intrinsic(emitter)


def _emit_strip(builder: Any, form: _Form, given: _Operands) -> None:
    """One loop over the rows for every height of tile."""
    size = given.rows.type
    seedless = builder.icmp_unsigned("==", builder.ptrtoint(given.seed, size), size(0))
    state = [given.x, given.out, given.seed, given.rows]
    for height in heights(form.across):
        state = _emit_tiles(builder, form, given, height, seedless, state)


def _emit_tiles(
    builder: Any, form: _Form, given: _Operands, height: int, seedless: Any, state: list[Any]
) -> list[Any]:
    """Tiles of ``height`` rows while there are as many; ``state`` is ``[x, out, seed, rows left]``."""
    count = given.rows.type(height)
    strides = (given.depth if form.packed else given.x_row, given.out_row, given.seed_row)
    steps = [builder.mul(count, stride) for stride in strides]

    def more(state: list[Any]) -> Any:
        return builder.icmp_signed(">=", state[3], count)

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
    x_step = size(height) if form.packed else given.x_step
    x_row = size(1) if form.packed else given.x_row
    offsets = [builder.mul(x_row, size(row)) for row in range(height)]

    def step(carried: list[Any]) -> list[Any]:
        x, y, left, *sums = carried
        line = []
        for v, mask in enumerate(masks):
            line.append(load_value(builder, builder.gep(y, [size(v * kind.count)]), kind, mask))
        new = []
        for row, offset in enumerate(offsets):
            factor = splat_value(builder, builder.load(builder.gep(x, [offset])), kind.count)
            for v, values in enumerate(line):
                new.append(fma_value(builder, factor, values, sums[row * form.vectors + v]))
        x, y = builder.gep(x, [x_step]), builder.gep(y, [given.y_step])
        return [x, y, builder.sub(left, size(1)), *new]

    zeros = [ir.Constant(kind, None)] * (height * form.vectors)
    more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    return emit_loop(builder, [given.x, given.y, given.depth, *zeros], more, step)[3:]


def _sums_across(builder: Any, form: _Form, given: _Operands, height: int) -> list[Any]:
    """The sums of one tile from columns of ``y`` that run along memory, a square block at a time."""
    from llvmlite import ir

    kind, size = form.kind, given.rows.type
    W = kind.count
    last = builder.sub(builder.add(given.tail, size((form.vectors - 1) * W)), size(1))
    offsets = []
    for j in range(form.vectors * W):  # columns beyond the last stand on it: read, never written
        column = builder.select(builder.icmp_signed("<", size(j), last), size(j), last)
        offsets.append(builder.mul(column, given.y_step))

    def block(x: Any, y: Any, sums: list[Any], count: Any) -> list[Any]:
        """Adds ``count`` products, all lanes' worth where it is None."""
        sums, mask = list(sums), None if count is None else head_value(builder, count, W)
        for v in range(form.vectors):
            columns = [builder.gep(y, [offset]) for offset in offsets[v * W : (v + 1) * W]]
            square = [load_value(builder, column, kind, mask) for column in columns]
            for k, line in enumerate(transposed(builder, square)):
                inside = None if count is None else builder.icmp_signed("<", size(k), count)
                place = size(k) if inside is None else builder.select(inside, size(k), size(0))
                for row in range(height):
                    at = builder.add(
                        builder.mul(given.x_row, size(row)), builder.mul(given.x_step, place)
                    )
                    factor = splat_value(builder, builder.load(builder.gep(x, [at])), W)
                    old = sums[row * form.vectors + v]
                    new = fma_value(builder, factor, line, old)
                    new = new if inside is None else builder.select(inside, new, old)
                    sums[row * form.vectors + v] = new
        return sums

    def step(carried: list[Any]) -> list[Any]:
        x, y, left, *sums = carried
        sums = block(x, y, sums, None)
        x, y = builder.gep(x, [builder.mul(given.x_step, size(W))]), builder.gep(y, [size(W)])
        return [x, y, builder.sub(left, size(W)), *sums]

    def rest(carried: list[Any]) -> list[Any]:
        x, y, left, *sums = carried
        return [x, y, size(0), *block(x, y, sums, left)]

    zeros = [ir.Constant(kind, None)] * (height * form.vectors)
    start = [given.x, given.y, given.depth, *zeros]
    full = lambda carried: builder.icmp_signed(">=", carried[2], size(W))  # noqa: E731
    some = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    return emit_loop(builder, emit_loop(builder, start, full, step), some, rest)[3:]


def _masks(builder: Any, form: _Form, given: _Operands) -> list[Any]:
    """For every vector of a row the mask of the lanes in use, None for all of them."""
    return [None] * (form.vectors - 1) + [head_value(builder, given.tail, form.kind.count)]


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
                    store_value(builder, value, place(given.out, given.out_row, number), mask)


def emit_loop(builder: Any, start: list[Any], more: Any, body: Any) -> list[Any]:
    """``while more(values): values = body(values)`` with the values carried in registers."""
    before = builder.block
    inside = builder.append_basic_block("loop")
    after = builder.append_basic_block("loop.end")
    builder.cbranch(more(start), inside, after)
    builder.position_at_end(inside)
    carried = [builder.phi(value.type) for value in start]
    following = body(carried)
    last = builder.block
    builder.cbranch(more(following), inside, after)
    for phi, first, value in zip(carried, start, following):
        phi.add_incoming(first, before)
        phi.add_incoming(value, last)
    builder.position_at_end(after)
    result = []
    for first, value in zip(start, following):
        phi = builder.phi(value.type)
        phi.add_incoming(first, before)
        phi.add_incoming(value, last)
        result.append(phi)
    return result
