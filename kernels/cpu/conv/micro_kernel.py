"""The inner loops of convolutions: sums of products held in registers, over runs of pixels.

Both intrinsics read the input from a padded copy in which every tap of the window is one offset, so
that pixels that follow each other in memory fill the lanes whatever the window. :func:`correlate`
has pixels in the lanes and sums over channels and taps; :func:`correlate_pixels` sums over the
pixels themselves, which is the gradient of the weights.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from tilegrad.kernels.cpu.run import jit
from tilegrad.kernels.cpu.simd.emit import (
    emit_loop,
    fma_value,
    head_value,
    llvm_vector,
    load_value,
    shuffle_value,
    splat_value,
    store_value,
)
from tilegrad.kernels.cpu.simd.vector import full_vector
from tilegrad.kernels.function import Intrinsic, intrinsic

WIDTH = 3  # columns of the weight gradient in a tile


def heights() -> tuple[int, ...]:
    """Rows of the tiles of :func:`correlate_pixels`, largest first."""
    return (8, 4, 1) if jit.simd_bits() == 512 else (4, 1)


class Shape(NamedTuple):
    """A tile of sums: how many vectors of pixels, and the numbers of rows, largest first, 1 at the end."""

    vectors: int
    heights: tuple[int, ...]


def shape(rows: int) -> Shape:
    """The tiles for ``rows`` output channels.

    They fill most of the 32 registers of AVX-512 or of the 16 of others, less what a step loads: few
    rows are made up for by more pixels, as there must be 8 sums to hide the time that each takes.
    """
    wide = jit.simd_bits() == 512
    if rows == 1:
        return Shape(8, (1,))
    if rows <= (6 if wide else 3):
        return Shape(4, (6, 3, 2, 1) if wide else (3, 2, 1))
    return Shape(2, (14, 8, 4, 2, 1) if wide else (6, 4, 2, 1))


def even_rows(heights: tuple[int, ...]) -> int:
    """So many rows are two tiles of the second height, not one of the first and a lone small one."""
    twice = 2 * heights[1] if len(heights) > 1 else 0
    return twice if twice > heights[0] else 0


class _Operands(NamedTuple):
    """LLVM values; see :func:`correlate`."""

    weight: Any
    x: Any
    spots: Any
    offsets: Any
    depth: Any
    rows: Any
    bias: Any
    seed: Any
    out: Any
    out_row: Any
    places: Any


@lru_cache(maxsize=None)
def correlate(tile: Shape) -> Intrinsic:
    """The intrinsic for tiles of ``vectors`` vectors of pixels and any number of rows::

        correlate(weight, x, spots, offsets, depth, rows, bias, seed, out, out_row, places)

    ``sums[i, v, j] = seed[i, v, j] + (bias[i] + sum over k < depth of
    weight[i, k] * x[spots[v] + offsets[k] + j])`` in the order of ``k``. ``seed`` is null for zeros, or
    holds whole tiles: row after row of ``vectors`` vectors. ``sums[i, v]`` goes to
    ``out[i * out_row + places[v]]``. ``weight`` holds tiles one after the other, ``depth`` by height.
    """

    def emitter(typing, weight, x, spots, offsets, depth, rows, bias, seed, out, out_row, places):
        from numba import types

        n = types.intp

        def codegen(context, builder, sig, args):
            kind = llvm_vector(full_vector(sig.args[0].dtype))
            _emit_correlate(builder, kind, tile, _Operands(*args))
            return context.get_dummy_value()

        return types.void(weight, x, spots, offsets, n, n, bias, seed, out, n, places), codegen

    emitter.__name__ = f"correlate_{tile.vectors}_{'_'.join(map(str, tile.heights))}"
    return intrinsic(emitter)


def _emit_correlate(builder: Any, kind: Any, tile: Shape, given: _Operands) -> None:
    size = given.rows.type
    vectors = range(tile.vectors)
    spots, places = (
        [builder.load(builder.gep(table, [size(v)])) for v in vectors]
        for table in (given.spots, given.places)
    )
    lines = [builder.gep(given.x, [spot]) for spot in spots]
    fresh = builder.icmp_unsigned("==", builder.ptrtoint(given.seed, size), size(0))
    state = [given.weight, given.bias, given.seed, given.out, given.rows]
    for height in tile.heights:

        def more(state: list[Any], height: int = height) -> Any:
            enough = builder.icmp_signed(">=", state[4], size(height))
            if height < tile.heights[0]:
                return enough
            odd = builder.icmp_signed("!=", state[4], size(even_rows(tile.heights)))
            return builder.and_(enough, odd)

        def body(state: list[Any], height: int = height) -> list[Any]:
            weight, bias, seed, out, left = state
            here = given._replace(weight=weight, bias=bias, seed=seed, out=out)
            made = _products(builder, kind, height, lines, here)
            _put_down(builder, kind, made, here, places, fresh)
            weight = builder.gep(weight, [builder.mul(given.depth, size(height))])
            bias = builder.gep(bias, [size(height)])
            seed = builder.gep(seed, [size(height * tile.vectors * kind.count)])
            out = builder.gep(out, [builder.mul(given.out_row, size(height))])
            return [weight, bias, seed, out, builder.sub(left, size(height))]

        state = emit_loop(builder, state, more, body)


def _products(
    builder: Any, kind: Any, height: int, lines: list[Any], given: _Operands
) -> list[Any]:
    """The sums of one tile over ``depth``, row by row.

    The side of the tile that is shorter is kept in registers for a step, the other is read as it is
    needed.
    """
    size, vectors = given.depth.type, len(lines)

    def factor(weight: Any, row: int) -> Any:
        at = builder.gep(weight, [size(row)])
        return splat_value(builder, builder.load(at), kind.count)

    def step(carried: list[Any]) -> list[Any]:
        weight, offsets, left, *sums = carried
        offset = builder.load(offsets)

        def read(v: int) -> Any:
            return load_value(builder, builder.gep(lines[v], [offset]), kind)

        if height < vectors:
            factors = [factor(weight, row) for row in range(height)]
            for v in range(vectors):
                line = read(v)
                for row, value in enumerate(factors):
                    at = row * vectors + v
                    sums[at] = fma_value(builder, value, line, sums[at])
        else:
            values = [read(v) for v in range(vectors)]
            for row in range(height):
                value = factor(weight, row)
                for v, line in enumerate(values):
                    at = row * vectors + v
                    sums[at] = fma_value(builder, value, line, sums[at])
        weight = builder.gep(weight, [size(height)])
        offsets = builder.gep(offsets, [size(1)])
        return [weight, offsets, builder.sub(left, size(1)), *sums]

    start = [factor(given.bias, row) for row in range(height) for _ in range(vectors)]
    more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    state = [given.weight, given.offsets, given.depth, *start]
    return emit_loop(builder, state, more, step)[3:]


def _put_down(
    builder: Any, kind: Any, made: list[Any], given: _Operands, places: list[Any], fresh: Any
) -> None:
    """Add the seed to the sums of a tile, unless ``fresh``, and write them out."""
    size = given.rows.type
    with builder.if_else(fresh) as (first, later):
        for branch, adds in ((first, False), (later, True)):
            with branch:
                for number, value in enumerate(made):
                    row, v = divmod(number, len(places))
                    if adds:
                        at = builder.gep(given.seed, [size(number * kind.count)])
                        value = builder.fadd(load_value(builder, at, kind), value)
                    place = builder.add(builder.mul(given.out_row, size(row)), places[v])
                    store_value(builder, value, builder.gep(given.out, [place]))


@intrinsic
def correlate_pixels(
    typing, y, y_row, y_item, x, x_item, offsets, items, pixels, rows, out, out_column
):
    """``out[j, i] += sum over n, p of y[n, i, p] * x[n, offsets[j] + p]`` for ``j < WIDTH``.

    ``i`` runs over ``rows``, ``n`` over ``items`` and ``p`` over ``pixels`` that follow each other.
    Lanes are summed apart and added up at the end, in pairs. The strides are ``y_row``, ``y_item``,
    ``x_item`` and ``out_column``.
    """
    from numba import types

    n = types.intp

    def codegen(context, builder, sig, args):
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
