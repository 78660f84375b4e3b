"""The micro-kernels of convolutions: tiles of sums held in registers, over runs of pixels.

Both intrinsics read a padded input, in which every tap of the window is one offset, so that
consecutive pixels fill the lanes whatever the window. :func:`correlate`
has pixels in the lanes and sums over channels and taps; :func:`correlate_pixels` sums over the
pixels themselves, which is the gradient of the weights.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from tilegrad.kernels.cpu import tuning
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
from tilegrad.kernels.cpu.tuning import NR_VECTORS
from tilegrad.kernels.function import Intrinsic, intrinsic


class Shape(NamedTuple):
    """A tile of sums: NR in vectors of pixels, and MR of the tiles to use, largest first, 1 at the end."""

    nr_vectors: int
    mr_tiles: tuple[int, ...]


def shape(dtype: str, rows: int) -> Shape:
    """The tiles for ``rows`` output channels.

    They fill most of the register file; a step loads into the rest. With few rows NR is larger: at
    least 8 sums hide the latency of a multiply-add.
    """
    row = tuning.micro_kernel(dtype)
    if rows == 1:
        return Shape(row.conv_one, (1,))
    if rows <= row.conv_few[0]:
        return Shape(4, row.conv_few)
    return Shape(NR_VECTORS, (row.mr[0], *row.conv_rest))


def even_rows(mr_tiles: tuple[int, ...]) -> int:
    """The number of rows that is cut into two tiles of the second MR instead of one of the first and a
    small one; 0 for none.
    """
    twice = 2 * mr_tiles[1] if len(mr_tiles) > 1 else 0
    return twice if twice > mr_tiles[0] else 0


class _Operands(NamedTuple):
    """LLVM values; see :func:`correlate`."""

    weight: Any
    x: Any
    in_offsets: Any
    offsets: Any
    depth: Any
    rows: Any
    bias: Any
    c_in: Any
    out: Any
    out_row: Any
    out_offsets: Any


@lru_cache(maxsize=None)
def correlate(tile: Shape) -> Intrinsic:
    """The micro-kernel of ``nr_vectors`` vectors of pixels, looped over any number of rows::

        correlate(weight, x, in_offsets, offsets, depth, rows, bias, c_in, out, out_row, out_offsets)

    ``sums[i, v, j] = c_in[i, v, j] + (bias[i] + sum over k < depth of
    weight[i, k] * x[in_offsets[v] + offsets[k] + j])`` in the order of ``k``. ``c_in`` is null for zeros, or
    holds whole tiles: row after row of ``nr_vectors`` nr_vectors. ``sums[i, v]`` goes to
    ``out[i * out_row + out_offsets[v]]``. ``weight`` is packed: tile after tile, ``depth`` by MR.
    """

    def emitter(
        typing, weight, x, in_offsets, offsets, depth, rows, bias, c_in, out, out_row, out_offsets
    ):
        from numba import types

        n = types.intp

        def codegen(context, builder, sig, args):
            kind = llvm_vector(full_vector(sig.args[0].dtype))
            _emit_correlate(builder, kind, tile, _Operands(*args))
            return context.get_dummy_value()

        return types.void(
            weight, x, in_offsets, offsets, n, n, bias, c_in, out, n, out_offsets
        ), codegen

    emitter.__name__ = f"correlate_{tile.nr_vectors}_{'_'.join(map(str, tile.mr_tiles))}"
    return intrinsic(emitter)


def _emit_correlate(builder: Any, kind: Any, tile: Shape, given: _Operands) -> None:
    size = given.rows.type
    nr_vectors = range(tile.nr_vectors)
    in_offsets, out_offsets = (
        [builder.load(builder.gep(table, [size(v)])) for v in nr_vectors]
        for table in (given.in_offsets, given.out_offsets)
    )
    x_rows = [builder.gep(given.x, [in_offset]) for in_offset in in_offsets]
    no_c_in = builder.icmp_unsigned("==", builder.ptrtoint(given.c_in, size), size(0))
    state = [given.weight, given.bias, given.c_in, given.out, given.rows]
    for mr in tile.mr_tiles:

        def more(state: list[Any], mr: int = mr) -> Any:
            enough = builder.icmp_signed(">=", state[4], size(mr))
            if mr < tile.mr_tiles[0]:
                return enough
            odd = builder.icmp_signed("!=", state[4], size(even_rows(tile.mr_tiles)))
            return builder.and_(enough, odd)

        def body(state: list[Any], mr: int = mr) -> list[Any]:
            weight, bias, c_in, out, left = state
            here = given._replace(weight=weight, bias=bias, c_in=c_in, out=out)
            sums = _products(builder, kind, mr, x_rows, here)
            _emit_epilogue(builder, kind, sums, here, out_offsets, no_c_in)
            weight = builder.gep(weight, [builder.mul(given.depth, size(mr))])
            bias = builder.gep(bias, [size(mr)])
            c_in = builder.gep(c_in, [size(mr * tile.nr_vectors * kind.count)])
            out = builder.gep(out, [builder.mul(given.out_row, size(mr))])
            return [weight, bias, c_in, out, builder.sub(left, size(mr))]

        state = emit_loop(builder, state, more, body)


def _products(builder: Any, kind: Any, mr: int, x_rows: list[Any], given: _Operands) -> list[Any]:
    """The sums of one tile over ``depth``, row by row.

    The side of the tile that is shorter is kept in registers for a step, the other is read as it is
    needed.
    """
    size, nr_vectors = given.depth.type, len(x_rows)

    def factor(weight: Any, row: int) -> Any:
        at = builder.gep(weight, [size(row)])
        return splat_value(builder, builder.load(at), kind.count)

    def step(carried: list[Any]) -> list[Any]:
        weight, offsets, left, *sums = carried
        offset = builder.load(offsets)

        def read(v: int) -> Any:
            return load_value(builder, builder.gep(x_rows[v], [offset]), kind)

        if mr < nr_vectors:
            factors = [factor(weight, row) for row in range(mr)]
            for v in range(nr_vectors):
                x_row = read(v)
                for row, value in enumerate(factors):
                    at = row * nr_vectors + v
                    sums[at] = fma_value(builder, value, x_row, sums[at])
        else:
            values = [read(v) for v in range(nr_vectors)]
            for row in range(mr):
                value = factor(weight, row)
                for v, x_row in enumerate(values):
                    at = row * nr_vectors + v
                    sums[at] = fma_value(builder, value, x_row, sums[at])
        weight = builder.gep(weight, [size(mr)])
        offsets = builder.gep(offsets, [size(1)])
        return [weight, offsets, builder.sub(left, size(1)), *sums]

    start = [factor(given.bias, row) for row in range(mr) for _ in range(nr_vectors)]
    more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    state = [given.weight, given.offsets, given.depth, *start]
    return emit_loop(builder, state, more, step)[3:]


def _emit_epilogue(
    builder: Any, kind: Any, sums: list[Any], given: _Operands, out_offsets: list[Any], no_c_in: Any
) -> None:
    """Store a tile: ``c_in + sums``, or the sums where ``no_c_in``."""
    size = given.rows.type
    with builder.if_else(no_c_in) as (first, later):
        for branch, adds in ((first, False), (later, True)):
            with branch:
                for number, value in enumerate(sums):
                    row, v = divmod(number, len(out_offsets))
                    if adds:
                        at = builder.gep(given.c_in, [size(number * kind.count)])
                        value = builder.fadd(load_value(builder, at, kind), value)
                    place = builder.add(builder.mul(given.out_row, size(row)), out_offsets[v])
                    store_value(builder, value, builder.gep(given.out, [place]))


@intrinsic
def correlate_pixels(
    typing, y, y_row, y_item, x, x_item, offsets, items, pixels, rows, out, out_column
):
    """``out[j, i] += sum over n, p of y[n, i, p] * x[n, offsets[j] + p]`` for
    ``j < conv_weight_columns`` of the tuning table.

    ``i`` runs over ``rows``, ``n`` over ``items`` and ``p`` over ``pixels`` that follow each other.
    Each lane has its own sum; the lanes are added in pairs at the end. The strides are ``y_row``, ``y_item``,
    ``x_item`` and ``out_column``.
    """
    from numba import types

    n = types.intp

    def codegen(context, builder, sig, args):
        dtype = sig.args[0].dtype
        kind, row = llvm_vector(full_vector(dtype)), tuning.micro_kernel(dtype)
        _emit_pixels(builder, kind, row, _Pixels(*args))
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


def _emit_pixels(builder: Any, kind: Any, row: tuning.MicroKernel, given: _Pixels) -> None:
    size, nr = given.rows.type, row.conv_weight_columns
    columns = [
        builder.gep(given.x, [builder.load(builder.gep(given.offsets, [size(j)]))])
        for j in range(nr)
    ]
    state = [given.y, given.out, given.rows]
    for mr in row.conv_weight:

        def more(state: list[Any], mr: int = mr) -> Any:
            return builder.icmp_signed(">=", state[2], size(mr))

        def body(state: list[Any], mr: int = mr) -> list[Any]:
            y, out, left = state
            y_rows = [builder.gep(y, [builder.mul(given.y_row, size(i))]) for i in range(mr)]
            sums = _pixel_sums(builder, kind, y_rows, columns, given)
            for j in range(nr):
                column = builder.gep(out, [builder.mul(given.out_column, size(j))])
                _add_lanes(builder, sums[j::nr], column)
            y = builder.gep(y, [builder.mul(given.y_row, size(mr))])
            return [y, builder.gep(out, [size(mr)]), builder.sub(left, size(mr))]

        state = emit_loop(builder, state, more, body)


def _pixel_sums(
    builder: Any, kind: Any, y_rows: list[Any], columns: list[Any], given: _Pixels
) -> list[Any]:
    """The sums over pixels of each of ``y_rows`` with each of ``columns``, one sum a lane."""
    from llvmlite import ir

    size, width, W = given.rows.type, len(columns), kind.count

    def step(carried: list[Any]) -> list[Any]:
        of_y, of_x, left, *sums = carried
        inside = head_value(builder, left, W)
        x_values = [
            load_value(builder, builder.gep(column, [of_x]), kind, inside) for column in columns
        ]
        new = []
        for row, y in enumerate(y_rows):
            factor = load_value(builder, builder.gep(y, [of_y]), kind, inside)
            for j, values in enumerate(x_values):
                new.append(fma_value(builder, factor, values, sums[row * width + j]))
        of_y, of_x = (builder.add(at, size(W)) for at in (of_y, of_x))
        return [of_y, of_x, builder.sub(left, size(W)), *new]

    def item(carried: list[Any]) -> list[Any]:
        of_y, of_x, left, *sums = carried
        more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
        sums = emit_loop(builder, [of_y, of_x, given.pixels, *sums], more, step)[3:]
        of_y, of_x = builder.add(of_y, given.y_item), builder.add(of_x, given.x_item)
        return [of_y, of_x, builder.sub(left, size(1)), *sums]

    zeros = [ir.Constant(kind, None)] * (len(y_rows) * width)
    more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    return emit_loop(builder, [size(0), size(0), given.items, *zeros], more, item)[3:]


def _add_lanes(builder: Any, nr_vectors: list[Any], out: Any) -> None:
    """Add the sum of the lanes of each vector to ``out``, element after element.

    Two vectors become one, each lane the sum of two of the lanes of one of them, until one is left;
    its halves are added until it has a lane for each vector.
    """
    from llvmlite import ir

    W = nr_vectors[0].type.count
    for start in range(0, len(nr_vectors), W):
        some = nr_vectors[start : start + W]
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
