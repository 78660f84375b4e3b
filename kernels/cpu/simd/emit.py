"""LLVM IR for vectors: what the emitters of intrinsics are made of.

Functions take an LLVM builder and LLVM values, and give values. Pointers point to elements and need
no more than an element's alignment; counts and offsets are int64 values.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tilegrad.kernels import dtypes
from tilegrad.kernels.cpu.run import jit
from tilegrad.kernels.function import Intrinsic, intrinsic


def has_fma() -> bool:
    """Whether the target multiplies and adds in one instruction, with one rounding."""
    return "+fma" in jit.target()[1].split(",")


def llvm_vector(vector: Any) -> Any:
    """The LLVM type of a vector type."""
    from llvmlite import ir
    from numba import types

    lane = "mask" if vector.elem == types.boolean else vector.elem
    return ir.VectorType(llvm_scalar(lane), vector.count)


def llvm_scalar(dtype: Any) -> Any:
    """The LLVM type of an element of ``dtype`` (a name or numba's type)."""
    from llvmlite import ir

    text = dtypes.row(dtype).llvm
    if text[1:].isdigit():
        return ir.IntType(int(text[1:]))
    return getattr(ir, f"{text.capitalize()}Type")()


def is_float(value: Any) -> bool:
    """Whether an LLVM value, scalar or vector, is of floats."""
    return dtypes.of_llvm(getattr(value.type, "element", value.type)).kind == "f"


def suffix(kind: Any) -> str:
    """How LLVM spells a scalar or vector type in the names of its intrinsics: ``v16f32``."""
    count = getattr(kind, "count", None)
    if count is not None:
        return f"v{count}{suffix(kind.element)}"
    return dtypes.of_llvm(kind).suffix


def call_llvm(builder: Any, name: str, result: Any, arguments: Any) -> Any:
    """Call an LLVM intrinsic by its full name."""
    from llvmlite import ir
    from numba.core import cgutils

    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def fma_value(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``; without the instruction a call of libm per lane would cost a hundredfold."""
    name = "llvm.fma" if has_fma() else "llvm.fmuladd"
    return call_llvm(builder, f"{name}.{suffix(a.type)}", a.type, [a, b, c])


def splat_value(builder: Any, scalar: Any, count: int) -> Any:
    """A vector with ``scalar`` in each of ``count`` lanes."""
    from llvmlite import ir

    kind, word = ir.VectorType(scalar.type, count), ir.IntType(32)
    none = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(none, scalar, word(0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(word, count), [0] * count))


def head_value(builder: Any, number: Any, count: int) -> Any:
    """The mask of the first ``number`` (an int64 value) of ``count`` lanes."""
    from llvmlite import ir

    word = ir.IntType(32)
    order = ir.Constant(ir.VectorType(word, count), list(range(count)))
    return builder.icmp_signed("<", order, splat_value(builder, builder.trunc(number, word), count))


def load_value(builder: Any, at: Any, kind: Any, mask: Any = None, otherwise: Any = None) -> Any:
    """A vector of LLVM type ``kind`` from the element pointer ``at``, aligned as one element."""
    from llvmlite import ir

    at = builder.bitcast(at, kind.as_pointer())
    size = dtypes.of_llvm(kind.element).nbytes
    if mask is None:
        return builder.load(at, align=size)
    if otherwise is None:
        otherwise = ir.Constant(kind, None)
    arguments = [at, ir.IntType(32)(size), mask, otherwise]
    return call_llvm(builder, f"llvm.masked.load.{suffix(kind)}.p0", kind, arguments)


def store_value(builder: Any, vector: Any, at: Any, mask: Any = None) -> None:
    """Write a vector to the element pointer ``at``, aligned as one element."""
    from llvmlite import ir

    kind = vector.type
    at = builder.bitcast(at, kind.as_pointer())
    size = dtypes.of_llvm(kind.element).nbytes
    if mask is None:
        builder.store(vector, at, align=size)
    else:
        arguments = [vector, at, ir.IntType(32)(size), mask]
        call_llvm(builder, f"llvm.masked.store.{suffix(kind)}.p0", ir.VoidType(), arguments)


def store_head(builder: Any, vector: Any, at: Any, count: Any) -> None:
    """Write the first ``count`` lanes (an int64 value below their number) from ``at`` on.

    By halves, where a masked store is a slow sequence of many steps: before AVX-512.
    """
    lanes = vector.type.count
    if jit.simd_bits() == 512:
        store_value(builder, vector, at, head_value(builder, count, lanes))
        return
    size = count.type
    while lanes > 1:
        half = lanes // 2
        low = shuffle_value(builder, vector, vector, list(range(half)))
        high = shuffle_value(builder, vector, vector, list(range(half, lanes)))
        taken = builder.icmp_signed("!=", builder.and_(count, size(half)), size(0))
        with builder.if_then(taken):
            store_value(builder, low, at)
        vector = builder.select(taken, high, low)
        at = builder.select(taken, builder.gep(at, [size(half)]), at)
        lanes = half


def prefetch_value(builder: Any, at: Any) -> None:
    """Ask for the cache line of an element; any address is allowed."""
    from llvmlite import ir

    word = ir.IntType(32)
    at = builder.bitcast(at, ir.IntType(8).as_pointer())
    arguments = [at, word(0), word(3), word(1)]  # read, keep in every level, data
    call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), arguments)


def shuffle_value(builder: Any, a: Any, b: Any, order: list[int]) -> Any:
    """Lanes ``order`` of the concatenation of ``a`` and ``b``."""
    from llvmlite import ir

    kind = ir.VectorType(ir.IntType(32), len(order))
    return builder.shuffle_vector(a, b, ir.Constant(kind, order))


def fold_lanes(builder: Any, vector: Any, combine: Any) -> Any:
    """The lanes folded into one scalar by halves: the order does not depend on the compiler."""
    from llvmlite import ir

    count = vector.type.count
    while count > 1:
        count //= 2
        low = shuffle_value(builder, vector, vector, list(range(count)))
        high = shuffle_value(builder, vector, vector, list(range(count, 2 * count)))
        vector = combine(builder, low, high)
    return builder.extract_element(vector, ir.IntType(32)(0))


def transposed(builder: Any, block: list[Any]) -> list[Any]:
    """The columns of a square block of row vectors: log2(lanes) rounds of pairwise exchanges."""
    return _exchanged(builder, block, len(block))


def load_transposed(builder: Any, rows: list[Any], kind: Any) -> list[Any]:
    """The columns of the square block whose rows start at these element pointers.

    Halves of rows are loaded to where they belong, which saves a round of exchanges.
    """
    from llvmlite import ir

    half, order = kind.count // 2, list(range(kind.count))
    half_kind = ir.VectorType(kind.element, half)
    columns: list[list[Any]] = [[], []]
    for pair in zip(rows[:half], rows[half:], strict=True):
        for start, block in zip((0, half), columns, strict=True):
            places = [builder.gep(row, [ir.IntType(64)(start)]) for row in pair]
            a, b = (load_value(builder, place, half_kind) for place in places)
            block.append(shuffle_value(builder, a, b, order))
    return [line for block in columns for line in _exchanged(builder, block, half)]


def _exchanged(builder: Any, block: list[Any], size: int) -> list[Any]:
    """Bits of the row number exchanged with those of the lane number, below bit ``size``."""
    block, count = list(block), block[0].type.count
    bit = 1
    while bit < size:
        low = [lane if not lane & bit else (lane ^ bit) + count for lane in range(count)]
        high = [lane | bit if not lane & bit else lane + count for lane in range(count)]
        for row in range(len(block)):
            if not row & bit:
                a, b = block[row], block[row | bit]
                block[row] = shuffle_value(builder, a, b, low)
                block[row | bit] = shuffle_value(builder, a, b, high)
        bit *= 2
    return block


def emit_loop(
    builder: Any, start: list[Any], more: Any, body: Any, rolled: bool = False, interleave: int = 0
) -> list[Any]:
    """``while more(values): values = body(values)`` with the values carried in registers.

    LLVM does not unroll it if it is to stay ``rolled``; if it can turn it into a loop over vectors,
    it computes ``interleave`` of them at a time, a power of 2 (0: as it likes).
    """
    from llvmlite import ir

    before = builder.block
    inside = builder.append_basic_block("loop")
    after = builder.append_basic_block("loop.end")
    builder.cbranch(more(start), inside, after)
    builder.position_at_end(inside)
    carried = [builder.phi(value.type) for value in start]
    following = body(carried)
    last = builder.block
    back = builder.cbranch(more(following), inside, after)
    if rolled:
        back.set_metadata("llvm.loop", _loop_option(builder.module, "llvm.loop.unroll.disable"))
    elif interleave:
        count = ir.IntType(32)(interleave)
        option = _loop_option(builder.module, "llvm.loop.interleave.count", count)
        back.set_metadata("llvm.loop", option)
    for phi, first, value in zip(carried, start, following):
        phi.add_incoming(first, before)
        phi.add_incoming(value, last)
    builder.position_at_end(after)
    result = []
    for first, value in zip(start, following):
        phi = builder.phi(value.type)
        phi.add_incoming(first, before)
        phi.add_incoming(value, last)
        result.append(phi)
    return result


def _loop_option(module: Any, *option: Any) -> Any:
    """Metadata of a loop with this option; its first operand must be itself."""
    from llvmlite import ir

    made = module.add_metadata(list(option))
    node = ir.MDValue(module, [made], name=str(len(module.metadata)))
    node.operands = (node, made)
    return node


@cache
def interleaved(vectors: int) -> Intrinsic:
    """The intrinsic ``interleaved(function, count, args)``: ``function(i, *args)`` for ``i < count``.

    LLVM turns the loop into one over vectors, ``vectors`` of them at a time: where every step of
    ``function`` waits for the one before, others fill the wait. ``args`` is a tuple.
    """

    def emitter(typing, function, count, args):
        from numba import types

        call = function.get_call_type(typing, (types.intp, *args), {})

        def codegen(context, builder, sig, values):
            _, count, packed = values
            given = [builder.extract_value(packed, k) for k in range(len(args))]
            inner = context.get_function(function, call)

            def step(carried: list[Any]) -> list[Any]:
                inner(builder, [carried[0], *given])
                return [builder.add(carried[0], count.type(1))]

            def more(carried: list[Any]) -> Any:
                return builder.icmp_signed("<", carried[0], count)

            emit_loop(builder, [count.type(0)], more, step, interleave=vectors)
            return context.get_dummy_value()

        return types.void(function, types.intp, args), codegen

    emitter.__name__ = f"interleaved_{vectors}"
    return intrinsic(emitter)
