"""The inner loops of convolutions: sums of products held in registers, over runs of pixels.

Both intrinsics read the input from a padded copy in which every tap of the window is one offset, so
that pixels that follow each other in memory fill the lanes whatever the window. :func:`correlate`
has pixels in the lanes and sums over channels and taps; :func:`correlate_pixels` sums over the
pixels themselves, which is the gradient of the weights.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tilegrad.kernels.cpu import jit
from tilegrad.kernels.cpu.emit import (
    emit_loop,
    fma_value,
    llvm_vector,
    load_value,
    shuffle_value,
    splat_value,
    store_value,
)
from tilegrad.kernels.cpu.vector import full_vector
from tilegrad.kernels.function import Intrinsic, intrinsic

WIDTH = 3  # vectors of pixels, or columns of the weight gradient, in a tile


def heights() -> tuple[int, ...]:
    """Rows of the tiles in use, largest first: with ``WIDTH`` they fill most of the registers."""
    return (8, 4, 2, 1) if jit.simd_bits() == 512 else (4, 2, 1)


@lru_cache(maxsize=None)
def correlate(vectors: int) -> Intrinsic:
    """The intrinsic for ``vectors`` vectors of pixels and any number of rows (output channels)::

        correlate(weight, x, offsets, depth, rows, sums, fresh)

    ``sums[i, j] += sum over k < depth of weight[i, k] * x[offsets[k] + j]``, in the order of ``k``;
    it is set and not added to where ``fresh`` is not 0. ``weight`` holds the tiles one after the
    other, each ``depth`` by height; a row of ``sums`` is ``WIDTH`` vectors long.
    """

    def emitter(typing, weight, x, offsets, depth, rows, sums, fresh):  # type: ignore[no-untyped-def]
        from numba import types

        n = types.intp

        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            kind = llvm_vector(full_vector(sig.args[0].dtype))
            _emit_correlate(builder, kind, vectors, *args)
            return context.get_dummy_value()

        return types.void(weight, x, offsets, n, n, sums, n), codegen

    emitter.__name__ = f"correlate_{vectors}"
    return intrinsic(emitter)


def _emit_correlate(
    builder: Any, kind: Any, vectors: int, weight: Any, x: Any, offsets: Any, depth: Any,
    rows: Any, sums: Any, fresh: Any,
) -> None:  # fmt: skip
    size = rows.type
    fresh = builder.icmp_signed("!=", fresh, size(0))
    state = [weight, sums, rows]
    for height in heights():

        def more(state: list[Any], height: int = height) -> Any:
            return builder.icmp_signed(">=", state[2], size(height))

        def body(state: list[Any], height: int = height) -> list[Any]:
            weight, sums, left = state
            made = _products(builder, kind, (height, vectors), weight, x, offsets, depth)
            _add_up(builder, kind, (height, vectors), made, sums, fresh)
            weight = builder.gep(weight, [builder.mul(depth, size(height))])
            sums = builder.gep(sums, [size(height * WIDTH * kind.count)])
            return [weight, sums, builder.sub(left, size(height))]

        state = emit_loop(builder, state, more, body)


def _products(
    builder: Any, kind: Any, shape: tuple[int, int], weight: Any, x: Any, offsets: Any, depth: Any
) -> list[Any]:
    """The sums of one tile over ``depth``, row by row."""
    from llvmlite import ir

    size, (height, vectors) = depth.type, shape

    def step(carried: list[Any]) -> list[Any]:
        weight, offsets, left, *sums = carried
        at = builder.gep(x, [builder.load(offsets)])
        line = [
            load_value(builder, builder.gep(at, [size(v * kind.count)]), kind)
            for v in range(vectors)
        ]
        new = []
        for row in range(height):
            factor = builder.load(builder.gep(weight, [size(row)]))
            factor = splat_value(builder, factor, kind.count)
            for v, values in enumerate(line):
                new.append(fma_value(builder, factor, values, sums[row * vectors + v]))
        weight = builder.gep(weight, [size(height)])
        offsets = builder.gep(offsets, [size(1)])
        return [weight, offsets, builder.sub(left, size(1)), *new]

    zeros = [ir.Constant(kind, None)] * (height * vectors)
    more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    return emit_loop(builder, [weight, offsets, depth, *zeros], more, step)[3:]


def _add_up(
    builder: Any, kind: Any, shape: tuple[int, int], made: list[Any], sums: Any, fresh: Any
) -> None:
    from llvmlite import ir

    size, vectors = ir.IntType(64), shape[1]
    with builder.if_else(fresh) as (first, later):
        for branch, adds in ((first, False), (later, True)):
            with branch:
                for number, value in enumerate(made):
                    row, v = divmod(number, vectors)
                    at = builder.gep(sums, [size((row * WIDTH + v) * kind.count)])
                    if adds:
                        value = builder.fadd(load_value(builder, at, kind), value)
                    store_value(builder, value, at)


@intrinsic
def correlate_pixels(typing, y, y_row, x, offsets, steps, rows, out, out_column):  # type: ignore[no-untyped-def]
    """``out[j, i] += sum over p of y[i, p] * x[offsets[j] + p]`` for ``i < rows``, ``j < WIDTH``.

    ``p`` runs over ``steps`` vectors of pixels; lanes are summed apart and added up at the end, in
    pairs. Rows of ``y`` are ``y_row`` elements apart, columns of ``out`` are ``out_column`` apart.
    """
    from numba import types

    n = types.intp

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        kind = llvm_vector(full_vector(sig.args[0].dtype))
        _emit_pixels(builder, kind, *args)
        return context.get_dummy_value()

    return types.void(y, n, x, offsets, n, n, out, n), codegen


def _emit_pixels(
    builder: Any, kind: Any, y: Any, y_row: Any, x: Any, offsets: Any, steps: Any, rows: Any,
    out: Any, out_column: Any,
) -> None:  # fmt: skip
    size = rows.type
    columns = [
        builder.gep(x, [builder.load(builder.gep(offsets, [size(j)]))]) for j in range(WIDTH)
    ]
    state = [y, out, rows]
    for height in heights():

        def more(state: list[Any], height: int = height) -> Any:
            return builder.icmp_signed(">=", state[2], size(height))

        def body(state: list[Any], height: int = height) -> list[Any]:
            y, out, left = state
            lines = [builder.gep(y, [builder.mul(y_row, size(i))]) for i in range(height)]
            made = _pixel_sums(builder, kind, lines, columns, steps)
            for j in range(WIDTH):
                column = builder.gep(out, [builder.mul(out_column, size(j))])
                _add_lanes(builder, made[j::WIDTH], column)
            y = builder.gep(y, [builder.mul(y_row, size(height))])
            return [y, builder.gep(out, [size(height)]), builder.sub(left, size(height))]

        state = emit_loop(builder, state, more, body)


def _pixel_sums(
    builder: Any, kind: Any, lines: list[Any], columns: list[Any], steps: Any
) -> list[Any]:
    """The sums over pixels of each of ``lines`` with each of ``columns``, lanes apart."""
    from llvmlite import ir

    size, width = steps.type, len(columns)

    def step(carried: list[Any]) -> list[Any]:
        at, left, *sums = carried
        line = [load_value(builder, builder.gep(column, [at]), kind) for column in columns]
        new = []
        for row, y in enumerate(lines):
            factor = load_value(builder, builder.gep(y, [at]), kind)
            for j, values in enumerate(line):
                new.append(fma_value(builder, factor, values, sums[row * width + j]))
        return [builder.add(at, size(kind.count)), builder.sub(left, size(1)), *new]

    zeros = [ir.Constant(kind, None)] * (len(lines) * width)
    more = lambda carried: builder.icmp_signed(">", carried[1], size(0))  # noqa: E731
    return emit_loop(builder, [size(0), steps, *zeros], more, step)[2:]


def _add_lanes(builder: Any, vectors: list[Any], out: Any) -> None:
    """Add the sum of the lanes of each vector to ``out``, element after element.

    Two vectors become one, each lane the sum of two of the lanes of one of them, until one is left;
    its halves are added until it has a lane for each vector.
    """
    from llvmlite import ir

    W = vectors[0].type.count
    for start in range(0, len(vectors), W):
        some = vectors[start : start + W]
        bit = 1
        while len(some) > 1:
            low = [lane if not lane & bit else (lane ^ bit) + W for lane in range(W)]
            high = [lane | bit if not lane & bit else lane + W for lane in range(W)]
            some = [
                builder.fadd(
                    shuffle_value(builder, a, b, low), shuffle_value(builder, a, b, high)
                )
                for a, b in zip(some[::2], some[1::2], strict=True)
            ]
            bit *= 2
        total, count = some[0], W
        while count > bit:
            count //= 2
            low, high = list(range(count)), list(range(count, 2 * count))
            total = builder.fadd(
                shuffle_value(builder, total, total, low),
                shuffle_value(builder, total, total, high),
            )
        at = builder.gep(out, [ir.IntType(64)(start)])
        store_value(builder, builder.fadd(load_value(builder, at, total.type), total), at)
