"""Copies of rows into the padded inputs of convolutions, as loops that stay as small as their counts."""

from __future__ import annotations

from typing import Any, NamedTuple

from tilegrad.kernels.cpu.simd.emit import (
    emit_loop,
    head_value,
    llvm_vector,
    load_value,
    shuffle_value,
    splat_value,
    store_value,
)
from tilegrad.kernels.cpu.simd.vector import full_vector
from tilegrad.kernels.function import intrinsic


@intrinsic
def store_zeros(typing, padded, at, count):
    """Zeros from ``padded[at]`` on, whole vectors of them: ``count`` or a few more."""
    from numba import types

    n = types.intp

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        padded, at, count = args
        kind = llvm_vector(full_vector(sig.args[0].dtype))
        size = count.type

        def body(carried: list[Any]) -> list[Any]:
            target, left = carried
            store_value(builder, ir.Constant(kind, None), target)
            return [
                builder.gep(target, [size(kind.count)]), builder.sub(left, size(kind.count))
            ]  # fmt: skip

        more = lambda carried: builder.icmp_signed(">", carried[1], size(0))  # noqa: E731
        emit_loop(builder, [builder.gep(padded, [at]), count], more, body, rolled=True)
        return context.get_dummy_value()

    return types.void(padded, n, n), codegen


@intrinsic
def copy_rows(
    typing, x, x_channel, step, stride, first, last, padded, channel, pitch, rows, channels
):
    """``padded[c, r, q] = x[c, r, q]`` for ``first <= q < last``, zero for the other ``q < pitch``.

    The strides of ``x`` are ``x_channel``, ``step`` and ``stride``, those of ``padded`` are
    ``channel``, ``pitch`` and 1; a few zeros may follow the last row. The loops stay rolled: their
    counts are small, and preparing for large ones would cost more than it saves.
    """
    from numba import types

    n = types.intp

    def codegen(context, builder, sig, args):
        kind = llvm_vector(full_vector(sig.args[0].dtype))
        _emit_copy(_Rows(builder, kind, *args))
        return context.get_dummy_value()

    return types.void(x, n, n, n, n, n, padded, n, n, n, n), codegen


class _Rows(NamedTuple):
    """LLVM values; see :func:`copy_rows`."""

    builder: Any
    kind: Any
    x: Any
    x_channel: Any
    step: Any
    stride: Any
    first: Any
    last: Any
    padded: Any
    channel: Any
    pitch: Any
    rows: Any
    channels: Any


def _emit_copy(given: _Rows) -> None:
    """Chooses between all rows at once and row by row, and by the stride."""
    builder, size, count = given.builder, given.rows.type, given.kind.count
    one, two = (builder.icmp_signed("==", given.stride, size(s)) for s in (1, 2))

    def chunks(read: Any) -> None:
        """One vector of every row, from the right: a row's last may spill into the next row."""
        right = builder.and_(builder.sub(given.pitch, size(1)), size(-count))
        more = lambda carried: builder.icmp_signed(">=", carried[0], size(0))  # noqa: E731

        def channel(source: Any, target: Any) -> None:
            def chunk(carried: list[Any]) -> list[Any]:
                (q,) = carried
                _copy_chunk(given, source, target, q, read)
                return [builder.sub(q, size(count))]

            emit_loop(builder, [right], more, chunk, rolled=True)

        _each_channel(given, given.x, given.padded, channel)

    with builder.if_else(_is_one_row(given)) as (together, singly):
        with together:
            _copy_together(given)
        with singly, builder.if_else(one) as (near, far):
            with near:
                chunks(_adjacent)
            with far, builder.if_else(two) as (pairs, apart):
                with pairs:
                    chunks(_stride_two)
                with apart:
                    chunks(_strided)


def _each_channel(given: _Rows, source: Any, target: Any, body: Any) -> None:
    """``body(source, target)`` for each channel."""
    builder, size = given.builder, given.rows.type

    def step(carried: list[Any]) -> list[Any]:
        source, target, left = carried
        body(source, target)
        source = builder.gep(source, [given.x_channel])
        return [source, builder.gep(target, [given.channel]), builder.sub(left, size(1))]

    more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    emit_loop(builder, [source, target, given.channels], more, step, rolled=True)


def _is_whole(given: _Rows) -> Any:
    """Whether nothing of a row is left out."""
    builder = given.builder
    starts = builder.icmp_signed("<=", given.first, given.rows.type(0))
    return builder.and_(starts, builder.icmp_signed(">=", given.last, given.pitch))


def _is_one_row(given: _Rows) -> Any:
    """Whether rows follow each other without a gap, and a vector sees the same of each."""
    builder, size, pitch = given.builder, given.rows.type, given.pitch
    near = builder.icmp_signed("==", given.stride, size(1))
    near = builder.and_(near, builder.icmp_signed("==", given.step, pitch))
    short = builder.icmp_signed("<=", pitch, size(given.kind.count))
    rest = builder.and_(pitch, builder.sub(pitch, size(1)))  # 0 for a power of two
    fits = builder.and_(short, builder.icmp_signed("==", rest, size(0)))
    return builder.and_(near, builder.or_(fits, _is_whole(given)))


def _copy_together(given: _Rows) -> None:
    """All rows of a channel at once; see :func:`_is_one_row`."""
    from llvmlite import ir

    builder, size, kind = given.builder, given.rows.type, given.kind
    count, word = kind.count, ir.IntType(32)

    def spread(value: Any) -> Any:
        return splat_value(builder, builder.trunc(value, word), count)

    lane = ir.Constant(ir.VectorType(word, count), list(range(count)))
    column = builder.and_(lane, spread(builder.sub(given.pitch, size(1))))
    inside = builder.and_(
        builder.icmp_signed(">=", column, spread(given.first)),
        builder.icmp_signed("<", column, spread(given.last)),
    )
    inside = builder.or_(inside, splat_value(builder, _is_whole(given), count))
    total = builder.mul(given.rows, given.pitch)
    rest = builder.and_(total, size(count - 1))
    inside_rest = builder.and_(inside, head_value(builder, rest, count))

    def vector(carried: list[Any]) -> list[Any]:
        source, target, left = carried
        store_value(builder, load_value(builder, source, kind, inside), target)
        moved = [builder.gep(p, [size(count)]) for p in (source, target)]
        return [*moved, builder.sub(left, size(count))]

    def copy(source: Any, target: Any) -> None:
        more = lambda carried: builder.icmp_signed(">=", carried[2], size(count))  # noqa: E731
        start = [source, target, total]
        source, target, _ = emit_loop(builder, start, more, vector, rolled=True)
        with builder.if_then(builder.icmp_signed(">", rest, size(0))):
            store_value(builder, load_value(builder, source, kind, inside_rest), target)

    _each_channel(given, given.x, given.padded, copy)


def _copy_chunk(given: _Rows, source: Any, target: Any, q: Any, read: Any) -> None:
    """The vector at column ``q`` of every row of a channel, from ``source`` to ``target``."""
    builder, size, count = given.builder, given.rows.type, given.kind.count
    first, last = (builder.sub(end, q) for end in (given.first, given.last))
    inside = builder.not_(head_value(builder, first, count))
    inside = builder.and_(inside, head_value(builder, last, count))
    first = builder.select(builder.icmp_signed(">", first, size(0)), first, size(0))
    last = builder.select(builder.icmp_signed("<", last, size(count)), last, size(count))

    def row(carried: list[Any]) -> list[Any]:
        source, target, left = carried
        store_value(builder, read(given, source, inside, first, last), target)
        source, target = builder.gep(source, [given.step]), builder.gep(target, [given.pitch])
        return [source, target, builder.sub(left, size(1))]

    source = builder.gep(source, [builder.mul(q, given.stride)])
    more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    emit_loop(builder, [source, builder.gep(target, [q]), given.rows], more, row, rolled=True)


def _adjacent(given: _Rows, source: Any, inside: Any, first: Any, last: Any) -> Any:
    """A vector of elements that follow each other."""
    return load_value(given.builder, source, given.kind, inside)


def _stride_two(given: _Rows, source: Any, inside: Any, first: Any, last: Any) -> Any:
    """A vector of every other element."""
    from llvmlite import ir

    builder, count = given.builder, given.kind.count
    nowhere = ir.Constant(inside.type, None)
    halves = []
    for half in range(2):
        order = [(half * count + e) // 2 if e % 2 == 0 else count for e in range(count)]
        mask = shuffle_value(builder, inside, nowhere, order)
        at = builder.gep(source, [given.rows.type(half * count)])
        halves.append(load_value(builder, at, given.kind, mask))
    return shuffle_value(builder, halves[0], halves[1], list(range(0, 2 * count, 2)))


def _strided(given: _Rows, source: Any, inside: Any, first: Any, last: Any) -> Any:
    """A vector of elements ``stride`` apart, read one after the other."""
    from llvmlite import ir

    builder = given.builder

    def body(carried: list[Any]) -> list[Any]:
        lane, values = carried
        at = builder.gep(source, [builder.mul(lane, given.stride)])
        values = builder.insert_element(values, builder.load(at), lane)
        return [builder.add(lane, lane.type(1)), values]

    more = lambda carried: builder.icmp_signed("<", carried[0], last)  # noqa: E731
    start = [first, ir.Constant(given.kind, None)]
    return emit_loop(builder, start, more, body, rolled=True)[1]
