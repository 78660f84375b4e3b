"""Register tiles: the accumulators of a thread, as tuples that never touch memory.

A tuple of 64 numbers indexed by constants lives in registers; updating it by one intrinsic instead
of 64 statements keeps compilation to a second or two.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from tilegrad.kernels import dtypes
from tilegrad.kernels.function import Intrinsic, intrinsic


@lru_cache(maxsize=None)
def zeros(dtype: str, count: int) -> Intrinsic:
    """The intrinsic for a tuple of ``count`` zeros."""

    def emitter(typing: Any) -> Any:
        import numba
        from numba import types

        kind = types.UniTuple(numba.from_dtype(np.dtype(dtype)), count)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return context.get_constant_null(kind)

        return kind(), codegen

    emitter.__name__ = emitter.__qualname__ = f"zeros_{dtype}_{count}"
    mark = intrinsic(emitter)
    mark.in_python(lambda: np.zeros(count, dtype))
    return mark


@intrinsic
def outer_product(typing, accumulators, x, y):
    """``accumulators[i * len(y) + j] + x[i] * y[j]`` for all i and j, floats rounded once."""

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        element = args[0].type.elements[0]
        rows, columns = sig.args[1].count, sig.args[2].count
        xs = [builder.extract_value(args[1], i) for i in range(rows)]
        ys = [builder.extract_value(args[2], j) for j in range(columns)]
        row = dtypes.of_llvm(element)
        floating = row.kind == "f"
        if floating:
            name = f"llvm.fma.{row.suffix}"
            kind = ir.FunctionType(element, [element] * 3)
            fma = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        made = args[0]
        for i in range(rows):
            for j in range(columns):
                old = builder.extract_value(args[0], i * columns + j)
                if floating:
                    new = builder.call(fma, [xs[i], ys[j], old])
                else:
                    new = builder.add(old, builder.mul(xs[i], ys[j]))
                made = builder.insert_value(made, new, i * columns + j)
        return made

    return accumulators(accumulators, x, y), codegen


@outer_product.in_python
def _(accumulators: Any, x: Any, y: Any) -> Any:
    kind = accumulators.dtype
    wide = dtypes.row(kind.name).accumulator  # a float32 product is exact in float64
    products = np.multiply.outer(np.array(x, wide), np.array(y, wide))
    return (accumulators + products.ravel()).astype(kind)


@intrinsic
def scaled(typing, accumulators, factors):
    """``accumulators`` with every row, of as many as there are ``factors``, times its own."""

    def codegen(context, builder, sig, args):
        made, rows = args[0], sig.args[1].count
        columns = sig.args[0].count // rows
        for k in range(rows * columns):
            factor = builder.extract_value(args[1], k // columns)
            product = builder.fmul(builder.extract_value(args[0], k), factor)
            made = builder.insert_value(made, product, k)
        return made

    return accumulators(accumulators, factors), codegen


@scaled.in_python
def _(accumulators: Any, factors: Any) -> Any:
    return accumulators * np.repeat(
        np.array(factors, accumulators.dtype), len(accumulators) // len(factors)
    )


@intrinsic
def as_int32(typing, value):
    """An integer below 2^31 as int32: half the registers."""
    from numba import types

    def codegen(context, builder, sig, args):
        return context.cast(builder, args[0], sig.args[0], types.int32)

    return types.int32(value), codegen


as_int32.in_python(int)


@intrinsic
def opaque(typing, value):
    """An int32 that the optimiser knows nothing about: what depends on it stays where it stands."""

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        kind = ir.FunctionType(args[0].type, [args[0].type])
        code = ir.InlineAsm(kind, "mov.b32 $0, $1;", "=r,r", side_effect=True)
        return builder.call(code, [args[0]])

    return value(value), codegen


opaque.in_python(int)
