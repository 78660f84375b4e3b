"""Reading tables of constants, without a load: for formulas of float32 and float64."""

from __future__ import annotations

from typing import Any

from tilegrad.kernels.formulas.primitives import fma
from tilegrad.kernels.function import intrinsic


@intrinsic
def polynomial_slope(typing, x, y, table):
    """``(p(x) - p(y)) / (x - y)`` of the polynomial p with the coefficients ``table``, also where x is y, in float64."""

    def codegen(context, builder, sig, args):
        coefficients = [builder.extract_value(args[2], k) for k in range(len(sig.args[2]))]
        inner = total = coefficients.pop()
        while len(coefficients) > 1:
            inner = builder.fma(inner, args[1], coefficients.pop())
            total = builder.fma(total, args[0], inner)
        return total

    return x(x, x, table), codegen


@polynomial_slope.in_python
def _(x: Any, y: Any, table: Any) -> Any:
    coefficients = [type(x)(c) for c in table]
    inner = total = coefficients.pop()
    while len(coefficients) > 1:
        inner = fma(inner, y, coefficients.pop())
        total = fma(total, x, inner)
    return total


@intrinsic
def entry(typing, n, table):
    """``table[n]`` of a tuple of numbers of n's type, for a whole-valued float n; its last beyond its ends."""

    def codegen(context, builder, sig, args):
        *rows, chosen = (builder.extract_value(args[1], k) for k in range(len(sig.args[1])))
        for k, row in enumerate(rows):
            here = builder.fcmp_ordered("==", args[0], context.get_constant(sig.args[0], float(k)))
            chosen = builder.select(here, row, chosen)
        return chosen

    return n(n, table), codegen


@entry.in_python
def _(n: Any, table: Any) -> Any:
    return type(n)(table[int(n) if 0 <= n < len(table) else -1])
