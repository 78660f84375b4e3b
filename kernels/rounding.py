"""Products that are rounded by themselves, so that all devices compute the same bits.

The CUDA compiler joins a product and the sum it goes into, which then is rounded once; the CPU's
does not.
"""

from __future__ import annotations

from typing import Any

from tilegrad.kernels.function import intrinsic


@intrinsic
def product(typing, x, y):  # type: ignore[no-untyped-def]
    """``x * y`` of two floats of one type, rounded, whatever is done with it."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.fmul(*args)

    return x(x, y), codegen


@product.in_python
def _(x: Any, y: Any) -> Any:
    return x * y


@product.on_cuda
def _(typing, x, y):  # type: ignore[no-untyped-def]
    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        from llvmlite import ir

        kind = args[0].type
        name = f"llvm.nvvm.mul.rn.{'f' if str(kind) == 'float' else 'd'}"
        known = builder.module.globals.get(name)
        function = known or ir.Function(builder.module, ir.FunctionType(kind, [kind, kind]), name)
        return builder.call(function, args)

    return x(x, y), codegen
