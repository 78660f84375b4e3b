"""Explicit SIMD vectors: a value type for kernel bodies, and the operations on it.

A body holds vectors in local variables like any number; they live in registers::

    x, out = pointer(x_address, np.float32), pointer(out_address, np.float32)
    total = splat(np.float32(0))
    for i in range(0, n - n % W, W):            # W = lanes("float32"), known outside the body
        total = fma(load(x, i), load(x, i), total)
    out[0] = hsum(total)

``load(p, i)`` takes its element type from the pointer and its width from the target: ``lanes``
elements fill one register. Elements are float32, float64, int32 or int64. A comparison gives a
mask, a vector of booleans with as many lanes. ``+ - * /``, unary ``-``, ``& | ^ ~ << >>`` and
comparisons work between vectors of one type; a scalar operand is written ``splat(T(2))``.

Nothing here imports numba until a kernel is compiled: the vector type and its operators are
registered when the first of these functions is met by the compiler.
"""

from __future__ import annotations

import operator
from functools import cache
from typing import Any

from tilegrad.kernels import dtypes
from tilegrad.kernels.cpu.run import jit, translate
from tilegrad.kernels.cpu.simd.checked import element
from tilegrad.kernels.cpu.simd.emit import (
    call_llvm,
    emit_loop,
    fma_value,
    fold_lanes,
    head_value,
    is_float,
    llvm_vector,
    load_transposed,
    load_value,
    prefetch_value,
    splat_value,
    store_value,
    suffix,
)
from tilegrad.kernels.function import Intrinsic, intrinsic


def lanes(dtype: Any) -> int:
    """Elements of ``dtype`` (a name or a NumPy type) in one vector register."""
    return jit.simd_bits() // (8 * dtypes.row(dtype).nbytes)


# ------------------------------------------------------------------------------------- the type


@cache
def vector_type(elem: Any, count: int) -> Any:
    """numba's type for ``count`` lanes of ``elem``, numba's scalar type."""
    return _vector_class()(elem, count)


def full_vector(elem: Any) -> Any:
    """The vector type of numba's scalar type ``elem`` that fills one register."""
    return vector_type(elem, jit.simd_bits() // elem.bitwidth)


def mask_type(vector: Any) -> Any:
    """The type of a comparison between two vectors of type ``vector``."""
    from numba import types

    return vector_type(types.boolean, vector.count)


@cache
def _vector_class() -> Any:
    from numba import types
    from numba.extending import models, register_model

    class Vector(types.Type):  # type: ignore[misc]
        def __init__(self, elem, count):
            self.elem, self.count = elem, count
            super().__init__(name=f"Vector({elem}, {count})")

    @register_model(Vector)
    class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
        def __init__(self, manager, kind):
            super().__init__(manager, kind, llvm_vector(kind))

    _register_operators(Vector)
    translate.refresh()  # registrations made during a compilation
    return Vector


# (operator, instruction for floats, for integers, for masks); None: not defined
_BINARY: tuple[tuple[Any, ...], ...] = (
    (operator.add, "fadd", "add", None),
    (operator.sub, "fsub", "sub", None),
    (operator.mul, "fmul", "mul", None),
    (operator.truediv, "fdiv", None, None),
    (operator.and_, None, "and_", "and_"),
    (operator.or_, None, "or_", "or_"),
    (operator.xor, None, "xor", "xor"),
    (operator.lshift, None, "shl", None),
    (operator.rshift, None, "ashr", None),
)
_UNARY: tuple[tuple[Any, ...], ...] = (
    (operator.neg, "fneg", "neg", None),
    (operator.invert, None, "not_", "not_"),
)
_COMPARE = (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
    (operator.ne, "!="),
)


def _register_operators(Vector: type) -> None:
    for symbol, *instructions in _BINARY:
        _register_arithmetic(Vector, symbol, instructions, 2)
    for symbol, *instructions in _UNARY:
        _register_arithmetic(Vector, symbol, instructions, 1)
    for symbol, condition in _COMPARE:
        _register_comparison(Vector, symbol, condition)


def _register_arithmetic(Vector: type, symbol: Any, instructions: list[Any], arity: int) -> None:
    from numba.core.typing.templates import AbstractTemplate, infer_global, signature
    from numba.extending import lower_builtin

    @infer_global(symbol)
    class _Typing(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args, kws):
            same = len(args) == arity and isinstance(args[0], Vector) and len(set(args)) == 1
            if same and instructions[_class_of(args[0])] is not None:
                return signature(args[0], *args)
            return None

    @lower_builtin(symbol, *[Vector] * arity)
    def _lower(context, builder, sig, args):
        return getattr(builder, instructions[_class_of(sig.args[0])])(*args)


def _register_comparison(Vector: type, symbol: Any, condition: str) -> None:
    from numba.core.typing.templates import AbstractTemplate, infer_global, signature
    from numba.extending import lower_builtin

    @infer_global(symbol)
    class _Typing(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args, kws):
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(mask_type(args[0]), *args)
            return None

    @lower_builtin(symbol, Vector, Vector)
    def _lower(context, builder, sig, args):
        if _class_of(sig.args[0]) != 0:
            return builder.icmp_signed(condition, *args)
        if condition == "!=":  # true for NaN, as in IEEE 754
            return builder.fcmp_unordered(condition, *args)
        return builder.fcmp_ordered(condition, *args)


def _class_of(vector: Any) -> int:
    """0 for floats, 1 for integers, 2 for masks: the columns of ``_BINARY``."""
    from numba import types

    if isinstance(vector.elem, types.Float):
        return 0
    return 2 if vector.elem == types.boolean else 1


# ---------------------------------------------------------------------------------- make, memory


@intrinsic
def splat(typing, scalar):
    """Every lane is ``scalar``; the scalar's type is the element type."""
    vector = full_vector(scalar)

    def codegen(context, builder, sig, args):
        return splat_value(builder, args[0], vector.count)

    return vector(scalar), codegen


@intrinsic
def iota(typing, dtype):
    """Lane numbers 0, 1, 2, … as elements of ``dtype``, a NumPy type."""
    vector = full_vector(dtype.dtype)

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        kind = llvm_vector(vector)
        return ir.Constant(kind, [kind.element(number) for number in range(vector.count)])

    return vector(dtype), codegen


@intrinsic
def head(typing, dtype, count):
    """The mask of the first ``count`` lanes of a vector of ``dtype``: none below 1."""
    from numba import types

    vector = full_vector(dtype.dtype)

    def codegen(context, builder, sig, args):
        return head_value(builder, args[1], vector.count)

    return mask_type(vector)(dtype, types.intp), codegen


@intrinsic
def load(typing, p, i):
    """Elements ``i, i + 1, …`` from pointer ``p``; no alignment is needed."""
    from numba import types

    vector = full_vector(p.dtype)

    def codegen(context, builder, sig, args):
        return load_value(
            builder, element(context, builder, sig, args, vector.count), llvm_vector(vector)
        )

    return vector(p, types.intp), codegen


@intrinsic
def broadcast(typing, p, i):
    """Every lane is element ``i`` from pointer ``p``."""
    from numba import types

    vector = full_vector(p.dtype)

    def codegen(context, builder, sig, args):
        scalar = builder.load(element(context, builder, sig, args))
        return splat_value(builder, scalar, vector.count)

    return vector(p, types.intp), codegen


@intrinsic
def store(typing, p, i, vector):
    """Write the lanes to elements ``i, i + 1, …`` of pointer ``p``."""
    from numba import types

    def codegen(context, builder, sig, args):
        store_value(builder, args[2], element(context, builder, sig, args, sig.args[2].count))
        return context.get_dummy_value()

    return types.void(p, types.intp, vector), codegen


@intrinsic
def load_masked(typing, p, i, mask, otherwise):
    """``load`` where the mask is set, ``otherwise``'s lanes elsewhere; reads no masked element."""
    from numba import types

    def codegen(context, builder, sig, args):
        where = element(context, builder, sig, args, args[2])
        return load_value(builder, where, args[3].type, *args[2:])

    return otherwise(p, types.intp, mask, otherwise), codegen


@intrinsic
def store_masked(typing, p, i, vector, mask):
    """``store`` where the mask is set; touches nothing elsewhere."""
    from numba import types

    def codegen(context, builder, sig, args):
        store_value(builder, args[2], element(context, builder, sig, args, args[3]), args[3])
        return context.get_dummy_value()

    return types.void(p, types.intp, vector, mask), codegen


@intrinsic
def prefetch(typing, p, i):
    """Ask for the cache line of element ``i`` of pointer ``p``; any address is allowed."""
    from numba import types

    def codegen(context, builder, sig, args):
        prefetch_value(builder, element(context, builder, sig, args, 0))
        return context.get_dummy_value()

    return types.void(p, types.intp), codegen


# ------------------------------------------------------------------------------------ arithmetic


@intrinsic
def fma(typing, a, b, c):
    """``a * b + c``, rounded once where the target can do so in one instruction."""

    def codegen(context, builder, sig, args):
        return fma_value(builder, *args)

    return a(a, b, c), codegen


@intrinsic
def select(typing, mask, a, b):
    """``a``'s lanes where the mask is set, ``b``'s elsewhere."""

    def codegen(context, builder, sig, args):
        return builder.select(*args)

    return a(mask, a, b), codegen


def _lanewise(name: str, llvm_name: str, arity: int, doc: str) -> Intrinsic:
    def emitter(typing, a, b):
        return a(a, b), codegen

    def unary_emitter(typing, a):
        return a(a), codegen

    def codegen(context, builder, sig, args):
        kind = args[0].type
        return call_llvm(builder, f"{llvm_name}.{suffix(kind)}", kind, args)

    chosen = emitter if arity == 2 else unary_emitter
    chosen.__name__, chosen.__doc__ = name, doc
    return intrinsic(chosen)


sqrt = _lanewise("sqrt", "llvm.sqrt", 1, "Square root, correctly rounded.")
fabs = _lanewise("fabs", "llvm.fabs", 1, "Absolute value of floats.")
rint = _lanewise("rint", "llvm.rint", 1, "Nearest integer as a float, ties to even.")
floor = _lanewise("floor", "llvm.floor", 1, "Largest integer not above, as a float.")
maximum = _lanewise("maximum", "llvm.maximum", 2, "The larger float; NaN if either is NaN.")
minimum = _lanewise("minimum", "llvm.minimum", 2, "The smaller float; NaN if either is NaN.")


@intrinsic
def convert(typing, vector, dtype):
    """Each lane as ``dtype``, a NumPy type of the same width: int to float and back (truncated)."""
    target = vector_type(dtype.dtype, vector.count)

    def codegen(context, builder, sig, args):
        kind = llvm_vector(target)
        if _class_of(target) == _class_of(vector):
            return args[0]
        return (builder.sitofp if _class_of(target) == 0 else builder.fptosi)(args[0], kind)

    return target(vector, dtype), codegen


@intrinsic
def reinterpret(typing, vector, dtype):
    """The same bits as ``dtype``, a NumPy type of the same width."""
    target = vector_type(dtype.dtype, vector.count)

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], llvm_vector(target))

    return target(vector, dtype), codegen


# ------------------------------------------------------------------------------- across the lanes


def _horizontal(name: str, combine: Any, doc: str) -> Intrinsic:
    def emitter(typing, vector):
        def codegen(context, builder, sig, args):
            return fold_lanes(builder, args[0], combine)

        return vector.elem(vector), codegen

    emitter.__name__, emitter.__doc__ = name, doc
    return intrinsic(emitter)


def _add(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b) if is_float(a) else builder.add(a, b)


def _larger(builder: Any, a: Any, b: Any) -> Any:
    name = "llvm.maximum" if is_float(a) else "llvm.smax"
    return call_llvm(builder, f"{name}.{suffix(a.type)}", a.type, [a, b])


def _smaller(builder: Any, a: Any, b: Any) -> Any:
    name = "llvm.minimum" if is_float(a) else "llvm.smin"
    return call_llvm(builder, f"{name}.{suffix(a.type)}", a.type, [a, b])


hsum = _horizontal("hsum", _add, "The sum of the lanes: halves are added until one is left.")
hmax = _horizontal("hmax", _larger, "The largest lane; NaN if a lane is NaN.")
hmin = _horizontal("hmin", _smaller, "The smallest lane; NaN if a lane is NaN.")


@intrinsic
def transpose(typing, p, i, stride, rows, q, j, q_stride):
    """Transpose a square block of ``lanes`` x ``lanes`` elements from ``p[i]`` to ``q[j]``.

    Row ``r`` is read at ``p[i + r * stride]``; column ``c`` is written at ``q[j + c * q_stride]``,
    in the order of ``c``. Only ``rows`` rows, at least 1, are read: the last stands for the others.
    """
    from numba import types

    vector = full_vector(p.dtype)

    def codegen(context, builder, sig, args):
        source, first, step, count, target, start, target_step = args
        kind, index = llvm_vector(vector), step.type
        source, target = builder.gep(source, [first]), builder.gep(target, [start])
        last = builder.sub(count, index(1))
        block = []
        for number in range(vector.count):
            inside = builder.icmp_signed("<", index(number), last)
            row = builder.select(inside, index(number), last)
            block.append(builder.gep(source, [builder.mul(row, step)]))
        for number, column in enumerate(load_transposed(builder, block, kind)):
            at = builder.gep(target, [builder.mul(index(number), target_step)])
            store_value(builder, column, at)
        return context.get_dummy_value()

    n = types.intp
    return types.void(p, n, n, n, q, n, n), codegen


@cache
def accumulate(vectors: int) -> Intrinsic:
    """The intrinsic ``accumulate(step, rows, sums, j, args)``: ``vectors`` accumulators, those from
    ``sums[j]`` on, go down ``rows`` rows as ``sum = step(sum, i, its j, *args)``, row ``i``.

    ``args`` is a tuple. The accumulators are in registers meanwhile: left to LLVM, a loop over vectors
    within the loop over rows keeps them in memory, where a step waits for the store of the last.
    """

    def emitter(typing, step, rows, sums, j, args):
        from numba import types

        vector = full_vector(sums.dtype)
        call = step.get_call_type(typing, (vector, types.intp, types.intp, *args), {})

        def codegen(context, builder, sig, values):
            _, rows, sums, j, packed = values
            given = [builder.extract_value(packed, k) for k in range(len(args))]
            inner, kind = context.get_function(step, call), llvm_vector(vector)
            places = [builder.add(j, j.type(v * vector.count)) for v in range(vectors)]
            addresses = [builder.gep(sums, [place]) for place in places]

            def body(carried: list[Any]) -> list[Any]:
                i, *held = carried
                made = [inner(builder, [s, i, place, *given]) for s, place in zip(held, places)]
                return [builder.add(i, i.type(1)), *made]

            def more(carried: list[Any]) -> Any:
                return builder.icmp_signed("<", carried[0], rows)

            start = [rows.type(0), *(load_value(builder, at, kind) for at in addresses)]
            for at, value in zip(addresses, emit_loop(builder, start, more, body)[1:]):
                store_value(builder, value, at)
            return context.get_dummy_value()

        return types.void(step, types.intp, sums, types.intp, args), codegen

    emitter.__name__ = f"accumulate_{vectors}"
    return intrinsic(emitter)
