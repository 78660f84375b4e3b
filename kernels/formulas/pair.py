"""A complex number of its parts, on every device."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilegrad.kernels.function import inline, intrinsic


@intrinsic
def paired(typing, re, im):
    """The complex number ``re + i im``, of floats of one type."""
    from numba import types

    kind = types.complex64 if re == types.float32 else types.complex128

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        made = ir.Constant(context.get_value_type(kind), ir.Undefined)
        made = builder.insert_value(made, args[0], 0)
        return builder.insert_value(made, args[1], 1)

    return kind(re, re), codegen


@paired.in_python
def _(re: Any, im: Any) -> Any:
    made = np.empty(2, np.float32 if type(re) is np.float32 else np.float64)
    made[0], made[1] = re, im  # no arithmetic: i times infinity has a NaN
    return made.view(np.complex64 if made.dtype == np.float32 else np.complex128)[0]


@inline
def conj(z):
    """The conjugate: re - i im."""
    return paired(z.real, -z.imag)


@inline
def times_i(z):
    """i z"""
    return paired(-z.imag, z.real)


@inline
def over_i(z):
    """z / i"""
    return paired(z.imag, -z.real)


@inline
def scaled(z, factor):
    """z times a real number."""
    return paired(z.real * factor, z.imag * factor)
