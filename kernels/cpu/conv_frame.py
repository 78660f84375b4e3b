"""The copy of an input in which every tap of a window is one offset, whatever the padding and stride.

A *frame* holds rows of ``pitch`` elements. In a *dense* frame a row is as long as the output's, and
is kept once for each different tap along it, shifted by that tap: output pixels that follow each
other, across rows too, read elements that follow each other. In a *flat* frame a row is kept once
with its padding, and the zeros at its end double as those at the start of the next: less to copy,
but a few elements between the rows are computed in vain.

In the other two dimensions, input ``i`` of stride ``s`` is put at ``q`` of *phase* ``f``, where
``i + before = q * s + f``.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels.cpu.emit import (
    emit_loop,
    head_value,
    llvm_vector,
    load_value,
    shuffle_value,
    splat_value,
    store_value,
)
from tilegrad.kernels.cpu.memory import pointer
from tilegrad.kernels.cpu.vector import full_vector
from tilegrad.kernels.function import DeviceFunction, inline, intrinsic
from tilegrad.kernels.window import Triple

# Places in a frame's part of a plan, an array of int64.
SIZE, STRIDE, BEFORE, DEPTHS, ROWS, PITCH, COPIES, TABLE, PHASE, CHANNEL, ZEROS = (
    0, 3, 6, 9, 10, 11, 12, 13, 14, 15, 16,
)  # fmt: skip
FRAME = 17


class Frame(NamedTuple):
    """Where one channel's copy keeps its elements.

    Attributes:
        size, stride, before: of the input; see the module.
        shifts: per copy of a row, which (padded) input comes first.
        depths, rows, pitch: extent of an item in memory.
        items: how many of them a channel holds of each phase, one after the other.
        zeros: elements after the last that are set to zero.
        slack: elements after the last, at least a vector more, that a store may spill to.
        flat: whether there is one copy only, whose rows serve all shifts.
    """

    size: Triple
    stride: Triple
    before: Triple
    shifts: tuple[int, ...]
    depths: int
    rows: int
    pitch: int
    items: int
    zeros: int
    slack: int
    flat: bool = False

    @property
    def item(self) -> int:
        """Elements from an item to the next."""
        return self.depths * self.rows * self.pitch

    @property
    def phase(self) -> int:
        """Elements from a phase to the next."""
        return self.items * self.item + self.slack

    @property
    def channel(self) -> int:
        """Elements from a channel to the next."""
        return len(self.shifts) * self.stride[0] * self.stride[1] * self.phase

    def offset(self, reach: Triple) -> int:
        """Where output 0 finds what lies ``reach`` inputs after the first (padded) one."""
        (d, h, w), (sd, sh, _) = reach, self.stride
        copy, column = (0, w) if self.flat else (self.shifts.index(w), 0)
        phase = (copy * sd + d % sd) * sh + h % sh
        return phase * self.phase + (d // sd * self.rows + h // sh) * self.pitch + column

    def plan(self, table: np.ndarray) -> list[int]:
        """The frame's part of a plan."""
        return [
            *self.size, *self.stride, *self.before, self.depths, self.rows, self.pitch,
            len(self.shifts), table.ctypes.data, self.phase, self.channel, self.zeros,
        ]  # fmt: skip

    def table(self) -> np.ndarray:
        """Per copy: the column that is put first, the first and the last valid one as they are put;
        per phase of the rows: the first valid row and the end.
        """
        numbers = []
        for shift in self.shifts:
            column = shift - self.before[2]
            first, last = _valid(self.size[2], self.stride[2], -column)
            first = min(first, self.pitch)
            numbers += [column, first, max(first, min(last, self.pitch))]
        for phase in range(self.stride[1]):
            numbers += _valid(self.size[1], self.stride[1], self.before[1] - phase)
        return np.array(numbers, np.int64)


def _valid(size: int, stride: int, before: int) -> tuple[int, int]:
    """The ``q``, first and end, for which ``0 <= q * stride - before < size``; first is >= 0."""
    first = max(0, -(-before // stride))
    return first, max(first, (size - 1 + before) // stride + 1)


def shared_zeros(size: int, stride: int, before: int, extent: int) -> int:
    """Positions that are zero at the end of every phase and at the start of the next item."""
    shared = extent
    for phase in range(stride):
        first, last = _valid(size, stride, before - phase)
        shared = min(shared, first, max(0, extent - last))
    return shared


def taps(kernel: Triple, dilation: Triple) -> list[Triple]:
    """What each tap of a window lies after its first one, in the order of the weights."""
    return [
        (d * dilation[0], h * dilation[1], w * dilation[2])
        for d, h, w in product(*(range(k) for k in kernel))
    ]


@intrinsic
def clear(typing, frame, at, count):  # type: ignore[no-untyped-def]
    """Zeros from ``frame[at]`` on, whole vectors of them: ``count`` or a few more."""
    from numba import types

    n = types.intp

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        from llvmlite import ir

        frame, at, count = args
        kind = llvm_vector(full_vector(sig.args[0].dtype))
        size = count.type

        def body(carried: list[Any]) -> list[Any]:
            target, left = carried
            store_value(builder, ir.Constant(kind, None), target)
            return [
                builder.gep(target, [size(kind.count)]), builder.sub(left, size(kind.count))
            ]  # fmt: skip

        more = lambda carried: builder.icmp_signed(">", carried[1], size(0))  # noqa: E731
        emit_loop(builder, [builder.gep(frame, [at]), count], more, body, rolled=True)
        return context.get_dummy_value()

    return types.void(frame, n, n), codegen


@intrinsic
def copy_rows(typing, x, start, step, stride, first, last, frame, at, pitch, rows):  # type: ignore[no-untyped-def]
    """``frame[at + r * pitch + q] = x[start + r * step + q * stride]`` if ``first <= q < last``.

    The other ``q < pitch`` are set to zero, and so may be a few after the last row. The loops stay
    rolled: their counts are small, and preparing for large ones would cost more than it saves.
    """
    from numba import types

    n = types.intp

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        x, start, step, stride, first, last, frame, at, pitch, rows = args
        kind = llvm_vector(full_vector(sig.args[0].dtype))
        size = rows.type
        x, frame = builder.gep(x, [start]), builder.gep(frame, [at])
        source = _Rows(builder, kind, x, step, stride, first, last)
        one, two = (builder.icmp_signed("==", stride, size(s)) for s in (1, 2))

        def chunk(carried: list[Any]) -> list[Any]:
            """One vector of every row, from the right: a row's last may spill into the next row."""
            (q,) = carried
            target = builder.gep(frame, [q])
            with builder.if_else(one) as (near, far):
                with near:
                    source.copy(q, target, pitch, rows, source.adjacent)
                with far, builder.if_else(two) as (pairs, apart):
                    with pairs:
                        source.copy(q, target, pitch, rows, source.alternate)
                    with apart:
                        source.copy(q, target, pitch, rows, source.apart)
            return [builder.sub(q, size(kind.count))]

        with builder.if_else(source.is_one_row(pitch)) as (together, singly):
            with together:
                source.copy_together(frame, pitch, rows)
            with singly:
                more = lambda carried: builder.icmp_signed(">=", carried[0], size(0))  # noqa: E731
                right = builder.and_(builder.sub(pitch, size(1)), size(-kind.count))
                emit_loop(builder, [right], more, chunk, rolled=True)
        return context.get_dummy_value()

    return types.void(x, n, n, n, n, n, frame, n, n, n), codegen


class _Rows(NamedTuple):
    """Emits reads of vectors from rows; see :func:`copy_rows`."""

    builder: Any
    kind: Any
    x: Any
    step: Any
    stride: Any
    first: Any
    last: Any

    def copy(self, q: Any, target: Any, pitch: Any, rows: Any, read: Any) -> None:
        """The vector at column ``q`` of every row."""
        builder, size = self.builder, rows.type
        count = self.kind.count
        first, last = (builder.sub(end, q) for end in (self.first, self.last))
        inside = builder.not_(head_value(builder, first, count))
        inside = builder.and_(inside, head_value(builder, last, count))
        first = builder.select(builder.icmp_signed(">", first, size(0)), first, size(0))
        last = builder.select(builder.icmp_signed("<", last, size(count)), last, size(count))
        source = builder.gep(self.x, [builder.mul(q, self.stride)])

        def body(carried: list[Any]) -> list[Any]:
            source, target, left = carried
            store_value(builder, read(source, inside, first, last), target)
            source, target = builder.gep(source, [self.step]), builder.gep(target, [pitch])
            return [source, target, builder.sub(left, size(1))]

        more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
        emit_loop(builder, [source, target, rows], more, body, rolled=True)

    def is_one_row(self, pitch: Any) -> Any:
        """Whether rows follow each other without a gap, and a vector sees the same of each."""
        builder, size = self.builder, pitch.type
        near = builder.icmp_signed("==", self.stride, size(1))
        near = builder.and_(near, builder.icmp_signed("==", self.step, pitch))
        fits = builder.and_(
            builder.icmp_signed("<=", pitch, size(self.kind.count)),
            builder.icmp_signed("==", builder.and_(pitch, builder.sub(pitch, size(1))), size(0)),
        )
        return builder.and_(near, builder.or_(fits, self.is_whole(pitch)))

    def is_whole(self, pitch: Any) -> Any:
        """Whether nothing of a row is left out."""
        builder = self.builder
        return builder.and_(
            builder.icmp_signed("<=", self.first, pitch.type(0)),
            builder.icmp_signed(">=", self.last, pitch),
        )

    def copy_together(self, target: Any, pitch: Any, rows: Any) -> None:
        """All rows at once; see :meth:`is_one_row`."""
        from llvmlite import ir

        builder, size, count = self.builder, pitch.type, self.kind.count
        lane = ir.Constant(ir.VectorType(size, count), list(range(count)))
        column = builder.and_(lane, splat_value(builder, builder.sub(pitch, size(1)), count))
        inside = builder.icmp_signed(">=", column, splat_value(builder, self.first, count))
        last = builder.icmp_signed("<", column, splat_value(builder, self.last, count))
        whole = splat_value(builder, self.is_whole(pitch), count)
        inside = builder.or_(builder.and_(inside, last), whole)

        def body(carried: list[Any]) -> list[Any]:
            source, target, left = carried
            store_value(builder, load_value(builder, source, self.kind, inside), target)
            moved = [builder.gep(p, [size(count)]) for p in (source, target)]
            return [*moved, builder.sub(left, size(count))]

        start = [self.x, target, builder.mul(rows, pitch)]
        more = lambda carried: builder.icmp_signed(">=", carried[2], size(count))  # noqa: E731
        source, target, left = emit_loop(builder, start, more, body, rolled=True)
        inside = builder.and_(inside, head_value(builder, left, count))
        store_value(builder, load_value(builder, source, self.kind, inside), target)

    def adjacent(self, source: Any, inside: Any, first: Any, last: Any) -> Any:
        """Elements that follow each other."""
        return load_value(self.builder, source, self.kind, inside)

    def alternate(self, source: Any, inside: Any, first: Any, last: Any) -> Any:
        """Every other element."""
        from llvmlite import ir

        builder, count = self.builder, self.kind.count
        nowhere = ir.Constant(inside.type, None)
        halves = []
        for half in range(2):
            order = [(half * count + e) // 2 if e % 2 == 0 else count for e in range(count)]
            mask = shuffle_value(builder, inside, nowhere, order)
            at = builder.gep(source, [self.stride.type(half * count)])
            halves.append(load_value(builder, at, self.kind, mask))
        return shuffle_value(builder, *halves, list(range(0, 2 * count, 2)))

    def apart(self, source: Any, inside: Any, first: Any, last: Any) -> Any:
        """Elements ``stride`` apart, one after the other."""
        from llvmlite import ir

        builder = self.builder

        def body(carried: list[Any]) -> list[Any]:
            lane, values = carried
            at = builder.gep(source, [builder.mul(lane, self.stride)])
            values = builder.insert_element(values, builder.load(at), lane)
            return [builder.add(lane, lane.type(1)), values]

        more = lambda carried: builder.icmp_signed("<", carried[0], last)  # noqa: E731
        start = [first, ir.Constant(self.kind, None)]
        return emit_loop(builder, start, more, body, rolled=True)[1]


def copier(dtype: str) -> DeviceFunction:
    """``fill(x, x_channel, frame, plan, channels, row, fresh)``: copy ``channels`` channels of an item.

    ``x`` points to the first channel, whose channels are ``x_channel`` elements apart; ``frame`` to
    where the item goes in the first channel. ``row`` is the ``q`` of the first row.
    """

    def fill(x, x_channel, frame, p, channels, row, fresh):  # type: ignore[no-untyped-def]
        D, H, width = p[SIZE], p[SIZE + 1], p[SIZE + 2]
        sd, sh, sw = p[STRIDE], p[STRIDE + 1], p[STRIDE + 2]
        rows, pitch, copies = p[ROWS], p[PITCH], p[COPIES]
        table = pointer(p[TABLE], np.int64)
        for c in range(channels):
            at = c * p[CHANNEL]
            for copy in range(copies):
                column, first, last = table[3 * copy], table[3 * copy + 1], table[3 * copy + 2]
                for fd in range(sd):
                    for fh in range(sh):
                        valid = 3 * copies + 2 * fh
                        top = min(rows, max(0, table[valid] - row))
                        end = max(top, min(rows, table[valid + 1] - row))
                        start = c * x_channel + column
                        start += ((row + top) * sh + fh - p[BEFORE + 1]) * width
                        to, d = at, fd - p[BEFORE]
                        for _ in range(p[DEPTHS]):
                            if d < 0 or d >= D:
                                if fresh:
                                    clear(frame, to, rows * pitch + p[ZEROS])
                            else:
                                if fresh:
                                    clear(frame, to, top * pitch)
                                    clear(frame, to + end * pitch, (rows - end) * pitch + p[ZEROS])
                                copy_rows(
                                    x, start + d * H * width, sh * width, sw, first, last,
                                    frame, to + top * pitch, pitch, end - top,
                                )  # fmt: skip
                            to += rows * pitch
                            d += sd
                        at += p[PHASE]

    return inline(fill)
