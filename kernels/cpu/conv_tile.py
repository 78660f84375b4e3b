"""The inner loops of convolutions: sums of products held in registers, over runs of pixels.

Both intrinsics read the input from a padded copy in which every tap of the window is one offset, so
that pixels that follow each other in memory fill the lanes whatever the window. :func:`correlate`
has pixels in the lanes and sums over channels and taps; :func:`correlate_pixels` sums over the
pixels themselves, which is the gradient of the weights.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from tilegrad.kernels.cpu import jit
from tilegrad.kernels.cpu.emit import (
    emit_loop,
    fma_value,
    head_value,
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
    return (8, 4, 1) if jit.simd_bits() == 512 else (4, 1)


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
def correlate_pixels(  # type: ignore[no-untyped-def]
    typing, y, y_row, y_item, x, x_item, offsets, items, pixels, rows, out, out_column
):
    """``out[j, i] += sum over n, p of y[n, i, p] * x[n, offsets[j] + p]`` for ``j < WIDTH``.

    ``i`` runs over ``rows``, ``n`` over ``items`` and ``p`` over ``pixels`` that follow each other.
    Lanes are summed apart and added up at the end, in pairs. The strides are ``y_row``, ``y_item``,
    ``x_item`` and ``out_column``.
    """
    from numba import types

    n = types.intp

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        kind = llvm_vector(full_vector(sig.args[0].dtype))
        _emit_pixels(builder, kind, _Pixels(*args))
        return context.get_dummy_value()

    return types.void(y, n, n, x, n, offsets, n, n, n, out, n), codegen


class _Pixels(NamedTuple):
    """LLVM values; see :func:`correlate_pixels`."""

    y: Any
    y_row: Any
    y_item: Any
    x: Any
    x_item: Any
    offsets: Any
    items: Any
    pixels: Any
    rows: Any
    out: Any
    out_column: Any


def _emit_pixels(builder: Any, kind: Any, given: _Pixels) -> None:
    size = given.rows.type
    columns = [
        builder.gep(given.x, [builder.load(builder.gep(given.offsets, [size(j)]))])
        for j in range(WIDTH)
    ]
    state = [given.y, given.out, given.rows]
    for height in heights():

        def more(state: list[Any], height: int = height) -> Any:
            return builder.icmp_signed(">=", state[2], size(height))

        def body(state: list[Any], height: int = height) -> list[Any]:
            y, out, left = state
            lines = [builder.gep(y, [builder.mul(given.y_row, size(i))]) for i in range(height)]
            made = _pixel_sums(builder, kind, lines, columns, given)
            for j in range(WIDTH):
                column = builder.gep(out, [builder.mul(given.out_column, size(j))])
                _add_lanes(builder, made[j::WIDTH], column)
            y = builder.gep(y, [builder.mul(given.y_row, size(height))])
            return [y, builder.gep(out, [size(height)]), builder.sub(left, size(height))]

        state = emit_loop(builder, state, more, body)


def _pixel_sums(
    builder: Any, kind: Any, lines: list[Any], columns: list[Any], given: _Pixels
) -> list[Any]:
    """The sums over pixels of each of ``lines`` with each of ``columns``, lanes apart."""
    from llvmlite import ir

    size, width, W = given.rows.type, len(columns), kind.count

    def step(carried: list[Any]) -> list[Any]:
        of_y, of_x, left, *sums = carried
        inside = head_value(builder, left, W)
        line = [
            load_value(builder, builder.gep(column, [of_x]), kind, inside) for column in columns
        ]
        new = []
        for row, y in enumerate(lines):
            factor = load_value(builder, builder.gep(y, [of_y]), kind, inside)
            for j, values in enumerate(line):
                new.append(fma_value(builder, factor, values, sums[row * width + j]))
        of_y, of_x = (builder.add(at, size(W)) for at in (of_y, of_x))
        return [of_y, of_x, builder.sub(left, size(W)), *new]

    def item(carried: list[Any]) -> list[Any]:
        of_y, of_x, left, *sums = carried
        more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
        sums = emit_loop(builder, [of_y, of_x, given.pixels, *sums], more, step)[3:]
        of_y, of_x = builder.add(of_y, given.y_item), builder.add(of_x, given.x_item)
        return [of_y, of_x, builder.sub(left, size(1)), *sums]

    zeros = [ir.Constant(kind, None)] * (len(lines) * width)
    more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    return emit_loop(builder, [size(0), size(0), given.items, *zeros], more, item)[3:]


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
                builder.fadd(shuffle_value(builder, a, b, low), shuffle_value(builder, a, b, high))
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
