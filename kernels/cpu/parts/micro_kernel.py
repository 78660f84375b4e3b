"""The micro-kernel of matrix products: an MR x NR tile of C, held in registers over the K loop.

Each step over K loads one row of NR columns of ``b``, in ``nr_vectors`` vectors, and multiplies it by
one broadcast element of ``a`` for each of the MR rows. The loop carries ``mr * nr_vectors`` vectors
from step to step, which is why it is emitted as LLVM IR: the sums then stay in registers.

Source: K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008;
F. Van Zee and R. van de Geijn, "BLIS", 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from tilegrad.kernels import dtypes
from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.simd.emit import (
    emit_loop,
    fma_value,
    fold_lanes,
    head_value,
    llvm_scalar,
    load_transposed,
    load_value,
    prefetch_value,
    shuffle_value,
    splat_value,
    store_head,
    store_value,
)
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.function import Intrinsic, intrinsic


class _Operands(NamedTuple):
    """LLVM values: element pointers ``a, b, c, c_in``, the rest int64 counts of elements."""

    a: Any
    a_row: Any
    a_col: Any
    b: Any
    ldb: Any
    c: Any
    c_row: Any
    c_in: Any
    c_in_row: Any
    rows: Any
    depth: Any
    n_tail: Any


def register_of(dtype: str) -> Any:
    """The LLVM type of a vector register of elements, or of complex elements' parts."""
    from llvmlite import ir

    part = dtypes.part_of(dtype)
    return ir.VectorType(llvm_scalar(part), lanes(part))


class _Form(NamedTuple):
    """What is known of a micro-kernel when it is compiled."""

    kind: Any  # the LLVM vector type
    nr_vectors: int
    tiles: tuple[int, ...]
    col_major_b: bool
    unmasked: bool  # all lanes of the last vector are in use
    mr_min: int
    unroll: int  # of the loop over K
    parts: int = 1  # of an element of ``a``: 2 where elements are complex


@cache
def micro_kernel(
    nr_vectors: int,
    tiles: tuple[int, ...],
    col_major_b: bool = False,
    unmasked: bool = False,
    of: str = "",
) -> Intrinsic:
    """The micro-kernel of ``nr_vectors`` vectors of columns, looped over any number of rows::

        micro_kernel(a, a_row, a_col, b, ldb, c, c_row, c_in, c_in_row, rows, depth, n_tail)

    computes ``c[i, j] = c_in[i, j] + sum over k < depth of a[i, k] * b[k, j]``, in the order of
    ``k``, for ``i < rows`` and all lanes ``j`` but those of the last vector from ``n_tail`` on, which
    are neither read nor written. ``a``, ``b``, ``c`` and ``c_in`` are pointers, the others counts
    of elements: ``a[i, k]`` is at ``i * a_row + k * a_col``, ``b[k, j]`` at ``k * ldb + j``, and
    ``c`` and ``c_in`` have adjacent columns too. A null ``c_in`` stands for zeros.

    ``tiles`` are the rows (MR) of the tiles to use, largest first, 1 at the end; without any, the
    intrinsic emits nothing. With ``col_major_b``, ``b[k, j]`` is at ``k + j * ldb``: square blocks of
    it are transposed in registers. A ``unmasked`` micro-kernel uses all lanes and ignores ``n_tail``:
    half the code.

    ``of`` names the elements' dtype, where the pointers do not. Complex ones are pairs of lanes: rows of
    ``b`` are multiplied by the real and by the imaginary part of an element of ``a``, each product summed by
    itself, and a tile's two sums of an element are brought together at the end.
    """

    def emitter(typing, a, a_row, a_col, b, ldb, c, c_row, c_in, c_in_row, rows, depth, n_tail):
        from numba import types

        n = types.intp

        def codegen(context, builder, sig, args):
            dtype = of or dtypes.name_of(sig.args[0].dtype)
            row, kind, given = tuning.micro_kernel(dtype), register_of(dtype), _Operands(*args)
            form = _Form(kind, nr_vectors, tiles, col_major_b, unmasked, row.mr_min, row.unroll)
            if dtype in dtypes.COMPLEX:
                form, given = form._replace(parts=2), _in_parts(builder, given, kind.element)
            _emit_micro_kernel(builder, form, given)
            return context.get_dummy_value()

        return types.void(a, n, n, b, n, c, n, c_in, n, n, n, n), codegen

    emitter.__name__ = f"micro_kernel_{nr_vectors}"
    return intrinsic(emitter)


def _in_parts(builder: Any, given: _Operands, part: Any) -> _Operands:
    """Operands that are complex, as the parts they are: but the rows, of which each has two."""
    found = {}
    for name, value in given._asdict().items():
        if name in ("a", "b", "c", "c_in"):
            found[name] = builder.bitcast(value, part.as_pointer())
        else:
            found[name] = value if name in ("rows", "depth") else builder.mul(value, value.type(2))
    return _Operands(**found)


def _emit_micro_kernel(builder: Any, form: _Form, given: _Operands) -> None:
    """One loop over the rows for every MR in ``tiles``; masked loads only where they are needed."""
    if not form.tiles:
        return
    size = given.rows.type
    no_c_in = builder.icmp_unsigned("==", builder.ptrtoint(given.c_in, size), size(0))

    def tiles(unmasked: bool) -> None:
        state = [given.a, given.c, given.c_in, given.rows]
        for mr in form.tiles:
            chosen = form._replace(unmasked=unmasked)
            state = _emit_tiles(builder, chosen, given, mr, no_c_in, state)

    if form.unmasked:
        tiles(True)
        return
    filled = builder.icmp_signed("==", given.n_tail, size(form.kind.count))
    with builder.if_else(filled) as (then, otherwise):
        for branch, unmasked in ((then, True), (otherwise, False)):
            with branch:
                tiles(unmasked)


def _emit_tiles(
    builder: Any, form: _Form, given: _Operands, mr: int, no_c_in: Any, state: list[Any]
) -> list[Any]:
    """Loop over tiles of ``mr`` rows while that many are left, unless fewer than ``mr_min`` would
    stay behind; ``state`` is ``[a, c, c_in, rows left]``.
    """
    count = given.rows.type(mr)
    strides = (given.a_row, given.c_row, given.c_in_row)
    steps = [builder.mul(count, stride) for stride in strides]

    def more(state: list[Any]) -> Any:
        if mr <= form.mr_min:
            return builder.icmp_signed(">=", state[3], count)
        enough = builder.icmp_signed(">=", state[3], given.rows.type(mr + form.mr_min))
        return builder.or_(enough, builder.icmp_signed("==", state[3], count))

    def body(state: list[Any]) -> list[Any]:
        a, c, c_in, left = state
        here = given._replace(a=a, c=c, c_in=c_in)
        sums = (_sums_col_major_b if form.col_major_b else _sums)(builder, form, here, mr)
        _emit_epilogue(builder, form, here, sums, no_c_in)
        moved = [builder.gep(p, [step]) for p, step in zip((a, c, c_in), steps)]
        return [*moved, builder.sub(left, count)]

    return emit_loop(builder, state, more, body)


def _sums(builder: Any, form: _Form, given: _Operands, mr: int) -> list[Any]:
    """The sums of one tile, row by row, with a row-major ``b``."""
    from llvmlite import ir

    kind, size = form.kind, given.rows.type
    masks = _masks(builder, form, given)
    rows = [
        builder.add(builder.mul(given.a_row, size(row)), size(part))
        for row in range(mr)
        for part in range(form.parts)
    ]
    if mr == max(form.tiles):  # the results are needed when the sums are ready
        for row in range(mr):
            c = builder.gep(given.c, [builder.mul(given.c_row, size(row))])
            prefetch_value(builder, c)
            prefetch_value(builder, builder.gep(c, [size(form.nr_vectors * kind.count - 1)]))

    def steps(count: int) -> Callable[[list[Any]], list[Any]]:
        def body(carried: list[Any]) -> list[Any]:
            a, b, left, *sums = carried
            starts = [builder.gep(a, [offset]) for offset in rows]
            for k in range(count):
                b_row = []
                for v, mask in enumerate(masks):
                    at = builder.gep(b, [size(v * kind.count)])
                    b_row.append(load_value(builder, at, kind, mask))
                for row, start in enumerate(starts):
                    factor = builder.load(builder.gep(start, [builder.mul(given.a_col, size(k))]))
                    factor = splat_value(builder, factor, kind.count)
                    for v, values in enumerate(b_row):
                        place = row * form.nr_vectors + v
                        sums[place] = fma_value(builder, factor, values, sums[place])
                b = builder.gep(b, [given.ldb])
            a = builder.gep(a, [builder.mul(given.a_col, size(count))])
            return [a, b, builder.sub(left, size(count)), *sums]

        return body

    zeros = [ir.Constant(kind, None)] * (len(rows) * form.nr_vectors)
    state = [given.a, given.b, given.depth, *zeros]
    for count in dict.fromkeys((form.unroll, 1)):
        least = size(count)
        more = lambda carried, least=least: builder.icmp_signed(">=", carried[2], least)  # noqa: E731
        state = emit_loop(builder, state, more, steps(count), rolled=True)
    return state[3:] if form.parts == 1 else _joined(builder, state[3:], form.nr_vectors)


def _joined(builder: Any, sums: list[Any], nr_vectors: int) -> list[Any]:
    """Complex sums of a tile: those with the real parts of ``a``, and those with the imaginary ones times i."""
    found = []
    for first in range(0, len(sums), 2 * nr_vectors):
        for v in range(first, first + nr_vectors):
            real, turned = sums[v], _exchanged_parts(builder, sums[v + nr_vectors])
            less, more = builder.fsub(real, turned), builder.fadd(real, turned)
            count = real.type.count
            order = [lane + count * (lane % 2) for lane in range(count)]
            found.append(shuffle_value(builder, less, more, order))
    return found


def _exchanged_parts(builder: Any, value: Any) -> Any:
    """Neighbouring lanes in each other's place."""
    return shuffle_value(builder, value, value, [lane ^ 1 for lane in range(value.type.count)])


def _sums_col_major_b(builder: Any, form: _Form, given: _Operands, mr: int) -> list[Any]:
    """The sums of one tile with a column-major ``b``, transposed a square block at a time."""
    from llvmlite import ir

    kind, size = form.kind, given.rows.type
    W = kind.count
    last = builder.sub(given.n_tail, size(1))
    offsets = []  # of the columns of each vector
    for v in range(form.nr_vectors):
        columns = [size(v * W + j) for j in range(W)]
        if (
            v == form.nr_vectors - 1
        ):  # the last column stands for those beyond it, which are not written
            last = builder.add(last, size(v * W))
            columns = [builder.select(builder.icmp_signed("<", j, last), j, last) for j in columns]
        offsets.append([builder.mul(column, given.ldb) for column in columns])

    def step(carried: list[Any]) -> list[Any]:
        a, b, left, *sums = carried
        for v, some in enumerate(offsets):
            columns = [builder.gep(b, [offset]) for offset in some]
            for k, b_row in enumerate(load_transposed(builder, columns, kind)):
                add(builder.gep(a, [builder.mul(given.a_col, size(k))]), b_row, v, sums)
        a = builder.gep(a, [builder.mul(given.a_col, size(W))])
        b = builder.gep(b, [size(W)])
        return [a, b, builder.sub(left, size(W)), *sums]

    def single(carried: list[Any]) -> list[Any]:
        a, b, left, *sums = carried
        for v, some in enumerate(offsets):
            b_row = ir.Constant(kind, ir.Undefined)
            for lane, offset in enumerate(some):
                value = builder.load(builder.gep(b, [offset]))
                b_row = builder.insert_element(b_row, value, ir.IntType(32)(lane))
            add(a, b_row, v, sums)
        a, b = builder.gep(a, [given.a_col]), builder.gep(b, [size(1)])
        return [a, b, builder.sub(left, size(1)), *sums]

    def add(a: Any, b_row: Any, v: int, sums: list[Any]) -> None:
        for row in range(mr):
            at = builder.gep(a, [builder.mul(given.a_row, size(row))])
            factor, place = splat_value(builder, builder.load(at), W), row * form.nr_vectors + v
            sums[place] = fma_value(builder, factor, b_row, sums[place])

    zeros = [ir.Constant(kind, None)] * (mr * form.nr_vectors)
    full = lambda carried: builder.icmp_signed(">=", carried[2], size(W))  # noqa: E731
    some = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    state = emit_loop(builder, [given.a, given.b, given.depth, *zeros], full, step)
    return emit_loop(builder, state, some, single)[3:]


def _masks(builder: Any, form: _Form, given: _Operands) -> list[Any]:
    """For every vector of a row the mask of the lanes in use, None for all of them."""
    last = None if form.unmasked else head_value(builder, given.n_tail, form.kind.count)
    return [None] * (form.nr_vectors - 1) + [last]


def _emit_epilogue(
    builder: Any, form: _Form, given: _Operands, sums: list[Any], no_c_in: Any
) -> None:
    """Store the tile: ``c = sums``, or ``c_in + sums``."""
    size, masks = given.rows.type, _masks(builder, form, given)

    def place(base: Any, stride: Any, number: int) -> Any:
        row, v = divmod(number, form.nr_vectors)
        offset = builder.add(builder.mul(stride, size(row)), size(v * form.kind.count))
        return builder.gep(base, [offset])

    with builder.if_else(no_c_in) as (without, with_c_in):
        for branch, adds in ((without, False), (with_c_in, True)):
            with branch:
                for number, value in enumerate(sums):
                    mask = masks[number % form.nr_vectors]
                    if adds:
                        at = place(given.c_in, given.c_in_row, number)
                        value = builder.fadd(load_value(builder, at, form.kind, mask), value)
                    at = place(given.c, given.c_row, number)
                    if mask is None:
                        store_value(builder, value, at)
                    else:
                        store_head(builder, value, at, given.n_tail)


@cache
def dots(tiles: tuple[int, ...], of: str = "") -> Intrinsic:
    """The intrinsic for dot products of rows with one vector, both along memory::

        dots(x, x_row, y, out, rows, depth)

    adds ``sum over k < depth of x[i, k] * y[k]`` to ``out[i]`` for ``i < rows``, ``x[i, k]`` at
    ``i * x_row + k``. Lane ``l`` adds up the products of ``k = l`` modulo twice the lanes, and the
    lanes are added by halves: an order that depends on ``depth`` only. ``of`` names the elements' dtype,
    where the pointers do not; complex ones are pairs of lanes.
    """

    def emitter(typing, x, x_row, y, out, rows, depth):
        from numba import types

        n = types.intp

        def codegen(context, builder, sig, args):
            x, x_row, y, out, rows, depth = args
            dtype = of or dtypes.name_of(sig.args[0].dtype)
            kind, parts = register_of(dtype), 1
            if dtype in dtypes.COMPLEX:
                x, y, out = [builder.bitcast(p, kind.element.as_pointer()) for p in (x, y, out)]
                x_row, depth, parts = *[builder.mul(v, v.type(2)) for v in (x_row, depth)], 2
            state = [x, out, rows]
            for mr in tiles:
                state = _emit_dots(builder, kind, mr, state, x_row, y, depth, parts)
            return context.get_dummy_value()

        return types.void(x, n, y, out, n, n), codegen

    emitter.__name__ = "dots"
    return intrinsic(emitter)


def _emit_dots(
    builder: Any, kind: Any, mr: int, state: list[Any], x_row: Any, y: Any, depth: Any, parts: int
) -> list[Any]:
    """Dot products of ``mr`` rows at a time; ``state`` is ``[x, out, rows left]``. Where elements have two
    ``parts``, those of the same part are summed first, then those of another.
    """
    from llvmlite import ir

    size, W = depth.type, kind.count
    offsets = [builder.mul(x_row, size(row)) for row in range(mr)]
    held = parts * mr  # sums of a step
    zeros = [ir.Constant(kind, None)] * (2 * held)

    def add(x: Any, k: Any, sums: list[Any], mask: Any = None) -> list[Any]:
        others = [load_value(builder, builder.gep(y, [k]), kind, mask)]
        others += [_exchanged_parts(builder, others[0])] * (parts - 1)
        at = [builder.gep(x, [builder.add(offset, k)]) for offset in offsets]
        rows = [load_value(builder, place, kind, mask) for place in at] * parts
        given = [other for other in others for _ in range(mr)]
        return [fma_value(builder, row, other, s) for row, other, s in zip(rows, given, sums)]

    def total(value: Any) -> Any:
        return fold_lanes(builder, value, lambda b, x, y: b.fadd(x, y))

    def tile(state: list[Any]) -> list[Any]:
        x, out, left = state

        def pair(carried: list[Any]) -> list[Any]:
            k, *sums = carried
            even = add(x, k, sums[:held])
            odd = add(x, builder.add(k, size(W)), sums[held:])
            return [builder.add(k, size(2 * W)), *even, *odd]

        def rest(carried: list[Any]) -> list[Any]:
            k, *sums = carried
            new = add(x, k, sums[:held], head_value(builder, builder.sub(depth, k), W))
            return [builder.add(k, size(W)), *sums[held:], *new]

        def within(step: int) -> Any:
            last = builder.sub(depth, size(step))
            return lambda carried: builder.icmp_signed("<=", carried[0], last)

        _, *sums = emit_loop(builder, [size(0), *zeros], within(2 * W), pair)
        whole = builder.sub(depth, builder.srem(depth, size(2 * W)))
        _, *sums = emit_loop(builder, [whole, *sums], within(1), rest)
        sums = [builder.fadd(a, b) for a, b in zip(sums[:held], sums[held:])]
        if parts == 2:  # of the same parts the imaginary ones count less
            signs = ir.Constant(kind, [1.0, -1.0] * (W // 2))
            sums[:mr] = [builder.fmul(value, signs) for value in sums[:mr]]
        for number, value in enumerate(sums):
            place = builder.gep(out, [size(number % mr * parts + number // mr)])
            builder.store(builder.fadd(builder.load(place), total(value)), place)
        x = builder.gep(x, [builder.mul(x_row, size(mr))])
        return [x, builder.gep(out, [size(held)]), builder.sub(left, size(mr))]

    return emit_loop(
        builder, state, lambda state: builder.icmp_signed(">=", state[2], size(mr)), tile
    )
