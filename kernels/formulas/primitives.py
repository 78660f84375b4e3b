"""The operations that scalar formulas are built of, for float32 and float64.

Each is a few compiler instructions without a branch or a call, so a loop over a formula made of
them is vectorised, and gives the same bits at every vector width. Integer steps stay inside the
intrinsics, at the width of the floating type: numba's own integer arithmetic is always 64 bits
wide, which would halve the lanes of a float32 loop.

Called from plain Python they take and return NumPy scalars. Those that the exponential needs also
take the CPU kernels' vectors, every lane a number.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from tilegrad.kernels import dtypes
from tilegrad.kernels.function import Intrinsic, inline, intrinsic

# -------------------------------------------------------------------------- single instructions


def _declare(module: Any, name: str, kind: Any, count: int) -> Any:
    """LLVM's intrinsic ``name`` over ``count`` values of type ``kind``, declared in ``module``."""
    from llvmlite import ir

    width = f"v{kind.count}" if isinstance(kind, ir.VectorType) else ""
    element = dtypes.of_llvm(getattr(kind, "element", kind)).suffix
    name = f"llvm.{name}.{width}{element}"
    known = module.globals.get(name)
    return known or ir.Function(module, ir.FunctionType(kind, [kind] * count), name)


def _constant(kind: Any, number: float) -> Any:
    """``number`` as a constant of an LLVM type, in every lane of a vector."""
    from llvmlite import ir

    lanes = isinstance(kind, ir.VectorType)
    return ir.Constant(kind, [kind.element(number)] * kind.count if lanes else number)


def _number(context: Any, builder: Any, value: Any, kind: Any, like: Any) -> Any:
    """The scalar ``value`` of numba type ``kind`` in the type of ``like``: in all of its lanes."""
    scalar = context.cast(builder, value, kind, getattr(like, "elem", like))
    if not hasattr(like, "elem"):
        return scalar
    from llvmlite import ir

    kind, word = ir.VectorType(scalar.type, like.count), ir.IntType(32)
    none = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(none, scalar, word(0))
    order = ir.Constant(ir.VectorType(word, like.count), [0] * like.count)
    return builder.shuffle_vector(first, none, order)


def _llvm(name: str, count: int, meaning: Callable[..., Any], summary: str) -> Intrinsic:
    """An LLVM intrinsic over ``count`` floats of one type."""

    def of(typing: Any, a: Any, *rest: Any) -> Any:
        def codegen(context, builder, sig, args):
            return builder.call(_declare(builder.module, name, args[0].type, count), args)

        return a(*[a] * count), codegen

    emitters: dict[int, Callable[..., Any]] = {
        1: lambda typing, x: of(typing, x),
        2: lambda typing, x, y: of(typing, x, y),
        3: lambda typing, x, y, z: of(typing, x, y, z),
    }
    return _named(emitters[count], name, summary, meaning)


def _named(emitter: Any, name: str, summary: str, meaning: Callable[..., Any]) -> Intrinsic:
    """The intrinsic of an emitter that was made inside a function."""
    emitter.__name__ = emitter.__qualname__ = name
    emitter.__doc__ = summary
    emitter.__module__ = __name__
    mark = Intrinsic(emitter)
    mark.in_python(meaning)
    return mark


_libm: Any = None


def _exact_fma(x: Any, y: Any, z: Any) -> Any:
    """``x * y + z`` rounded once, on NumPy scalars: by the C library."""
    global _libm
    if _libm is None:
        _libm = ctypes.CDLL(ctypes.util.find_library("m"))
        for name, kind in (("fma", ctypes.c_double), ("fmaf", ctypes.c_float)):
            function = getattr(_libm, name)
            function.restype, function.argtypes = kind, (kind, kind, kind)
    if type(x) is np.float32:
        return np.float32(_libm.fmaf(x, y, z))
    return np.float64(_libm.fma(x, y, z))


fma = _llvm("fma", 3, _exact_fma, "``x * y + z``, rounded once.")
rint = _llvm("rint", 1, np.rint, "The nearest integer, ties to even.")
floor = _llvm("floor", 1, np.floor, "The greatest integer not above x.")
ceil = _llvm("ceil", 1, np.ceil, "The least integer not below x.")
trunc = _llvm("trunc", 1, np.trunc, "The integer part.")
sqrt = _llvm("sqrt", 1, np.sqrt, "The square root, correctly rounded.")
fabs = _llvm("fabs", 1, np.fabs, "The absolute value: clears the sign bit, a NaN's too.")
copysign = _llvm("copysign", 2, np.copysign, "x with the sign of y.")


def _by_instruction(intrinsic: Intrinsic, code: str) -> None:
    """On CUDA: one instruction: NVVM promises few of LLVM's intrinsics, and 13.0 lacks trunc."""

    def emitter(typing: Any, x: Any) -> Any:
        def codegen(context, builder, sig, args):
            from llvmlite import ir

            kind = args[0].type
            row = dtypes.of_llvm(kind)
            width, register = row.suffix, row.register
            text = code.format(width=width) + " $0, $1;"
            function = ir.FunctionType(kind, [kind])
            return builder.call(ir.InlineAsm(function, text, f"={register},{register}"), args)

        return x(x), codegen

    intrinsic.on_cuda(emitter)


_by_instruction(rint, "cvt.rni.{width}.{width}")
_by_instruction(floor, "cvt.rmi.{width}.{width}")
_by_instruction(ceil, "cvt.rpi.{width}.{width}")
_by_instruction(trunc, "cvt.rzi.{width}.{width}")
_by_instruction(fabs, "abs.{width}")


@intrinsic
def select(typing, condition, a, b):
    """``a if condition else b`` with both sides computed: never a branch. a and b: one type."""
    if a != b:
        raise TypeError(f"select: both values must have one type; got {a} and {b}")

    def codegen(context, builder, sig, args):
        return builder.select(*args)

    return a(condition, a, b), codegen


@select.in_python
def _(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


# ---------------------------------------------------------------------------- constants, types


@intrinsic
def cast(typing, value, like):
    """``value`` as a number of the type of ``like``; a literal becomes a constant of that type."""

    def codegen(context, builder, sig, args):
        return _number(context, builder, args[0], sig.args[0], like)

    return like(value, like), codegen


@cast.in_python
def _(value: Any, like: Any) -> Any:
    return type(like)(value)


@intrinsic
def const(typing, x, pair):
    """The constant for the type of x: ``pair[0]`` where it is float32, ``pair[1]`` for float64."""
    chosen = _precision(str(getattr(x, "elem", x)))

    def codegen(context, builder, sig, args):
        value = builder.extract_value(args[1], chosen)
        return _number(context, builder, value, sig.args[1][chosen], x)

    return x(x, pair), codegen


@const.in_python
def _(x: Any, pair: Any) -> Any:
    return type(x)(pair[_precision("float64" if type(x) is float else type(x).__name__)])


def _precision(dtype: str) -> int:
    """Which of a pair of constants elements of ``dtype`` take."""
    if dtype not in dtypes.FLOATS:
        raise dtypes.DTypeError(dtype, "const")
    return dtypes.FLOATS.index(dtype)


def _horner(name: str, summary: str, order: int) -> Intrinsic:
    """A polynomial's value, or its derivative of an order, by Horner's rule in fused steps."""

    def emitter(typing: Any, x: Any, tables: Any) -> Any:
        chosen = _precision(str(getattr(x, "elem", x)))

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = args[0].type
            multiply_add = _declare(builder.module, "fma", kind, 3)
            table, types = builder.extract_value(args[1], chosen), sig.args[1][chosen]
            coefficients = [
                _number(context, builder, builder.extract_value(table, k), types[k], x)
                for k in range(len(types))
            ]
            if order:
                coefficients = [
                    builder.fmul(coefficients[k], _constant(kind, float(math.perm(k, order))))
                    for k in range(order, len(types))
                ]
            total = coefficients.pop() if coefficients else _constant(kind, 0.0)
            while coefficients:
                total = builder.call(multiply_add, [total, args[0], coefficients.pop()])
            return total

        return x(x, tables), codegen

    def meaning(x: Any, tables: Any) -> Any:
        coefficients = [type(x)(c) for c in tables[0 if type(x) is np.float32 else 1]]
        coefficients = [c * type(x)(math.perm(k, order)) for k, c in enumerate(coefficients)][
            order:
        ]
        total = coefficients.pop() if coefficients else type(x)(0)
        while coefficients:
            total = _exact_fma(total, x, coefficients.pop())
        return total

    return _named(emitter, name, summary, meaning)


polynomial = _horner(
    "polynomial",
    """``c[0] + c[1] x + c[2] x^2 + …`` by Horner's rule in fused steps.

    ``tables``: the coefficients for float32 and those for float64, as constant tuples.
    """,
    order=0,
)
polynomial_derivative, polynomial_derivative_2, polynomial_derivative_3, polynomial_derivative_4 = (
    _horner(name, f"The derivative of order {order} of :func:`polynomial` by x.", order)
    for order, name in enumerate(
        (
            "polynomial_derivative",
            "polynomial_derivative_2",
            "polynomial_derivative_3",
            "polynomial_derivative_4",
        ),
        1,
    )
)


def parts(digits: str, dtype: Any, count: int) -> tuple[float, ...]:
    """``count`` numbers of ``dtype`` whose sum is the decimal ``digits``, largest first.

    Each carries the bits that the ones before it left over.
    """
    rest, found = Fraction(digits), []
    for _ in range(count):
        found.append(float(dtype(float(rest))))
        rest -= Fraction(found[-1])
    return tuple(found)


# ------------------------------------------------------------------------------ bits and scale


def _layout(kind: Any) -> tuple[int, int, int]:
    """(bits, mantissa bits, exponent bias) of a floating type, by its name."""
    row = dtypes.row(getattr(kind, "elem", kind))
    if not row.mantissa:
        raise dtypes.DTypeError(str(kind), "bits")
    bits = 8 * row.nbytes
    return bits, row.mantissa, (1 << (bits - row.mantissa - 2)) - 1


_INTEGER: dict[Any, Any] = {np.float32: np.int32, np.float64: np.int64}
_FLOAT: dict[Any, Any] = {np.int32: np.float32, np.int64: np.float64}


@intrinsic
def bits(typing, x):
    """The bits of a float as the signed integer of its width."""
    from numba import types

    kind = types.int32 if x == types.float32 else types.int64

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(kind))

    return kind(x), codegen


@bits.in_python
def _(x: Any) -> Any:
    return x.view(_INTEGER[type(x)])


@intrinsic
def from_bits(typing, i):
    """The float whose bits are the int32 or int64 ``i``."""
    from numba import types

    kind = types.float32 if i == types.int32 else types.float64

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(kind))

    return kind(i), codegen


@from_bits.in_python
def _(i: Any) -> Any:
    return i.view(_FLOAT[type(i)])


def _exponent(builder: Any, n: Any, width: int, mantissa: int) -> Any:
    """The integer n << ``mantissa`` of an integer-valued float n.

    Adding 1.5 * 2^(mantissa bits) leaves n in the low bits, whose shift makes the exponent: no
    conversion, which AVX2 lacks for 64 bits.
    """
    from llvmlite import ir

    kind, whole = n.type, ir.IntType(width)
    if isinstance(kind, ir.VectorType):
        whole = ir.VectorType(whole, kind.count)
    shifted = builder.fadd(n, _constant(kind, 1.5 * 2.0**mantissa))
    return builder.shl(builder.bitcast(shifted, whole), _constant(whole, mantissa))


@intrinsic
def power2(typing, n):
    """2^n for an integer-valued float n with a normal result."""
    width, mantissa, bias = _layout(n)

    def codegen(context, builder, sig, args):
        low = _exponent(builder, args[0], width, mantissa)
        one = _constant(low.type, bias << mantissa)
        return builder.bitcast(builder.add(low, one), args[0].type)

    return n(n), codegen


@power2.in_python
def _(n: Any) -> Any:
    return np.ldexp(type(n)(1), int(n)) if np.isfinite(n) else n


@intrinsic
def scale_normal(typing, x, n):
    """``x * 2**n`` for an integer-valued n, where x and the result are normal; else any value."""
    width, mantissa, _ = _layout(x)

    def codegen(context, builder, sig, args):
        low = _exponent(builder, args[1], width, mantissa)
        high = builder.bitcast(args[0], low.type)
        return builder.bitcast(builder.add(high, low), args[0].type)

    return x(x, n), codegen


@scale_normal.in_python
def _(x: Any, n: Any) -> Any:
    return np.ldexp(x, int(n)) if np.isfinite(n) else n


@inline
def scale2(x, n):
    """``x * 2**n`` for an integer-valued n within twice the exponent range, rounded once.

    Two factors, so that 2^n may leave the range while the result does not, or is denormal. The
    first product is exact for x in [0.5, 2].
    """
    half = rint(n * cast(0.5, n))
    return x * power2(half) * power2(n - half)


@intrinsic
def turn_quarters(typing, n, s, c):
    """``(s, c, -s, -c)[n mod 4]``: the sine, n quarter turns on, of an angle with sine s, cosine c.

    n: an integer-valued float below 2^(mantissa bits - 1).
    """
    width, mantissa, _ = _layout(n)

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        kind, whole = args[0].type, ir.IntType(width)
        count = builder.fadd(args[0], ir.Constant(kind, 1.5 * 2.0**mantissa))
        count = builder.bitcast(count, whole)
        sign = builder.shl(
            builder.lshr(count, ir.Constant(whole, 1)), ir.Constant(whole, width - 1)
        )
        odd = builder.trunc(count, ir.IntType(1))
        value = builder.bitcast(builder.select(odd, args[2], args[1]), whole)
        return builder.bitcast(builder.xor(value, sign), kind)

    return n(n, s, c), codegen


@turn_quarters.in_python
def _(n: Any, s: Any, c: Any) -> Any:
    return (s, c, -s, -c)[int(n) % 4 if np.isfinite(n) else 0]


@intrinsic
def _split(typing, x, pivot):
    width, mantissa, bias = _layout(x)

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        value, whole = args[0], ir.IntType(width)
        kind = value.type
        top = ir.Constant(whole, bias << mantissa)
        offset = builder.sub(top, builder.bitcast(args[1], whole))
        integer = builder.bitcast(value, whole)
        biased = builder.lshr(builder.add(integer, offset), ir.Constant(whole, mantissa))
        back = builder.shl(biased, ir.Constant(whole, mantissa))
        part = builder.bitcast(builder.add(builder.sub(integer, back), top), kind)
        shift = 1.5 * 2.0**mantissa
        magic = ir.Constant(whole, int(np.array(shift, _NUMPY[width]).view(f"i{width // 8}")))
        exponent = builder.fsub(
            builder.bitcast(builder.add(biased, magic), kind), ir.Constant(kind, shift + bias)
        )
        return context.make_tuple(builder, sig.return_type, [part, exponent])

    from numba import types

    return types.UniTuple(x, 2)(x, x), codegen


_NUMPY = {32: np.float32, 64: np.float64}


@_split.in_python
def _(x: Any, pivot: Any) -> Any:
    kind = type(x)
    if not np.isfinite(x) or x <= 0:
        return kind(1), kind(0)
    part, exponent = np.frexp(x)
    while part >= 2 * pivot:
        part, exponent = part / kind(2), exponent + 1
    while part < pivot:
        part, exponent = part * kind(2), exponent - 1
    return kind(part), kind(exponent)


@inline
def split(x, pivot):
    """(m, e) with ``x == m * 2**e``, m in [pivot, 2 pivot), both floats of x's type.

    ``pivot`` in [0.5, 1]. Denormal x are handled; zero, negative, infinite and NaN x give
    anything.
    """
    tiny = x < const(x, (2.0**-126, 2.0**-1022))
    digits = const(x, (24.0, 53.0))
    part, exponent = _split(select(tiny, x * const(x, (2.0**24, 2.0**53)), x), cast(pivot, x))
    return part, exponent - select(tiny, digits, digits - digits)


# ----------------------------------------------------------------------------- comparisons


@inline
def isnan(x):
    """Whether x is not a number."""
    return x != x


@inline
def maximum(x, y):
    """The larger; NaN if either is NaN (IEEE 754-2019 maximum, but for the order of zeros)."""
    return select(x > y, x, select(x == x, y, x))


@inline
def minimum(x, y):
    """The smaller; NaN if either is NaN."""
    return select(x < y, x, select(x == x, y, x))


@inline
def clamp(x, low, high):
    """x kept within constants ``low <= high``; NaN stays NaN."""
    return select(x < low, low, select(x > high, high, x))
