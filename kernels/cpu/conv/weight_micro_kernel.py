"""The micro-kernel of a convolution's weight gradient, with output channels in the lanes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.simd.emit import (
    emit_loop,
    fma_value,
    llvm_vector,
    load_value,
    splat_value,
    store_value,
)
from tilegrad.kernels.cpu.simd.vector import full_vector
from tilegrad.kernels.function import Intrinsic, intrinsic


class _Operands(NamedTuple):
    """LLVM values; see :func:`outer`."""

    y: Any
    x: Any
    bases: Any
    steps: Any
    pixels: Any
    columns: Any
    sums: Any
    overwrite: Any


@lru_cache(maxsize=None)
def outer_product(nr_vectors: int) -> Intrinsic:
    """The micro-kernel for a panel of ``nr_vectors`` vectors of output channels::

        outer_product(y, x, bases, steps, pixels, columns, sums, overwrite)

    ``sums[j, i] += sum over p < pixels of x[bases[j] + steps[p]] * y[p, i]`` for ``j < columns`` and
    all lanes ``i`` of the panel, in the order of ``p``; the old sums are not added where
    ``overwrite`` is not 0 (BLAS: beta = 0). A row of ``y`` and of ``sums`` is as long as the panel is wide.
    """

    def emitter(typing, y, x, bases, steps, pixels, columns, sums, overwrite):
        from numba import types

        n = types.intp

        def codegen(context, builder, sig, args):
            kind = llvm_vector(full_vector(sig.args[0].dtype))
            mr_tiles = tuning.micro_kernel(sig.args[0].dtype).conv_outer[nr_vectors - 1]
            _emit_outer_product(builder, kind, (nr_vectors, mr_tiles), _Operands(*args))
            return context.get_dummy_value()

        return types.void(y, x, bases, steps, n, n, sums, n), codegen

    emitter.__name__ = f"outer_{nr_vectors}"
    return intrinsic(emitter)


def _emit_outer_product(
    builder: Any, kind: Any, tile: tuple[int, tuple[int, ...]], given: _Operands
) -> None:
    size, (nr_vectors, mr_tiles) = given.columns.type, tile
    overwrite = builder.icmp_signed("!=", given.overwrite, size(0))
    state = [given.bases, given.sums, given.columns]
    for mr in mr_tiles:

        def more(state: list[Any], mr: int = mr) -> Any:
            return builder.icmp_signed(">=", state[2], size(mr))

        def body(state: list[Any], mr: int = mr) -> list[Any]:
            bases, sums, left = state
            products = _products(builder, kind, (mr, nr_vectors), given._replace(bases=bases))
            _add_up(builder, kind, products, sums, overwrite)
            bases = builder.gep(bases, [size(mr)])
            sums = builder.gep(sums, [size(mr * nr_vectors * kind.count)])
            return [bases, sums, builder.sub(left, size(mr))]

        state = emit_loop(builder, state, more, body)


def _products(builder: Any, kind: Any, shape: tuple[int, int], given: _Operands) -> list[Any]:
    """The sums of one tile, column by column."""
    from llvmlite import ir

    size, (mr, nr_vectors) = given.columns.type, shape
    columns = [
        builder.gep(given.x, [builder.load(builder.gep(given.bases, [size(j)]))]) for j in range(mr)
    ]

    def step(carried: list[Any]) -> list[Any]:
        y, steps, left, *sums = carried
        at = builder.load(steps)
        y_row = [
            load_value(builder, builder.gep(y, [size(v * kind.count)]), kind)
            for v in range(nr_vectors)
        ]
        new = []
        for j, column in enumerate(columns):
            factor = splat_value(builder, builder.load(builder.gep(column, [at])), kind.count)
            for v, values in enumerate(y_row):
                new.append(fma_value(builder, factor, values, sums[j * nr_vectors + v]))
        y = builder.gep(y, [size(nr_vectors * kind.count)])
        return [y, builder.gep(steps, [size(1)]), builder.sub(left, size(1)), *new]

    zeros = [ir.Constant(kind, None)] * (mr * nr_vectors)
    more = lambda carried: builder.icmp_signed(">", carried[2], size(0))  # noqa: E731
    return emit_loop(builder, [given.y, given.steps, given.pixels, *zeros], more, step)[3:]


def _add_up(builder: Any, kind: Any, products: list[Any], sums: Any, overwrite: Any) -> None:
    from llvmlite import ir

    size = ir.IntType(64)
    with builder.if_else(overwrite) as (first, later):
        for branch, adds in ((first, False), (later, True)):
            with branch:
                for number, value in enumerate(products):
                    at = builder.gep(sums, [size(number * kind.count)])
                    if adds:
                        value = builder.fadd(load_value(builder, at, kind), value)
                    store_value(builder, value, at)
