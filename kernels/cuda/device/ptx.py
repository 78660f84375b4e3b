"""The device language of CUDA kernels: places in the grid, memory, warps, barriers, copies.

Each is an intrinsic with two meanings: the instructions it compiles to, and what the simulated
device does (:mod:`tilegrad.kernels.cuda.device.simulator`). Integers are int64 throughout, addresses too;
an address in shared memory is an int64 that the instructions narrow to 32 bits.

Source: PTX ISA 8.3 for the instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tilegrad.kernels import dtypes
from tilegrad.kernels.cuda.device.packing import moved_as, pack, unpack
from tilegrad.kernels.cuda.device.simulator import machine
from tilegrad.kernels.function import Intrinsic, intrinsic

WARP = 32
CONVERGENT = ("convergent",)  # of calls that lanes make together: never moved into a branch

# --------------------------------------------------------------------------- inline instructions

# letter -> name of the numba type
_LETTERS = {"f": "float32", "d": "float64", "i": "int32", "u": "uint32", "l": "int64"}


def _arity(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """``function(typing, arguments)`` with ``count`` positional arguments, which numba wants."""
    spread: list[Callable[..., Any]] = [
        lambda typing: function(typing, ()),
        lambda typing, a: function(typing, (a,)),
        lambda typing, a, b: function(typing, (a, b)),
        lambda typing, a, b, c: function(typing, (a, b, c)),
        lambda typing, a, b, c, d: function(typing, (a, b, c, d)),
        lambda typing, a, b, c, d, e: function(typing, (a, b, c, d, e)),
    ]
    return spread[count]


def _named(emitter: Any, name: str, summary: str, meaning: Callable[..., Any] | None) -> Intrinsic:
    emitter.__name__ = emitter.__qualname__ = name
    emitter.__doc__ = summary
    emitter.__module__ = __name__
    mark = Intrinsic(emitter)
    if meaning is not None:
        mark.in_python(meaning)
    return mark


def instruction(
    name: str,
    text: str,
    result: str,
    operands: str,
    summary: str,
    meaning: Callable[..., Any] | None = None,
    *,
    effects: bool = True,
) -> Intrinsic:
    """An intrinsic made of PTX ``text`` with ``$0``, ``$1``, … for the registers.

    ``result`` and ``operands`` are letters of :data:`_LETTERS`, a letter per register; a result
    of several letters is a tuple. With ``effects`` the instruction is neither moved nor dropped.
    """

    def typed(typing: Any, given: tuple[Any, ...]) -> Any:
        from numba import types

        kinds = [getattr(types, _LETTERS[letter]) for letter in result]
        made = types.void if not kinds else kinds[0] if len(kinds) == 1 else types.Tuple(kinds)
        wanted = [getattr(types, _LETTERS[letter]) for letter in operands]
        constraints = [
            *("=" + dtypes.row(_LETTERS[c]).register for c in result),
            *(dtypes.row(_LETTERS[c]).register for c in operands),
        ]
        if effects:
            constraints.append("~{memory}")

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            from llvmlite import ir

            values = [
                context.cast(builder, value, have, want)
                for value, have, want in zip(args, sig.args, wanted, strict=True)
            ]
            outs = [context.get_value_type(kind) for kind in kinds]
            shape = ir.VoidType() if not outs else outs[0]
            if len(outs) > 1:
                shape = ir.LiteralStructType(outs)
            code = ir.InlineAsm(
                ir.FunctionType(shape, [v.type for v in values]),
                text,
                ",".join(constraints),
                side_effect=effects,
            )
            made_values = builder.call(code, values, attrs=CONVERGENT if effects else ())
            if not outs:
                return context.get_dummy_value()
            if len(outs) == 1:
                return made_values
            parts = [builder.extract_value(made_values, k) for k in range(len(outs))]
            return context.make_tuple(builder, sig.return_type, parts)

        return made(*given), codegen

    return _named(_arity(typed, len(operands)), name, summary, meaning)


# ------------------------------------------------------------------------------ place in the grid


def _special(name: str, register: str, summary: str, meaning: Callable[[], int]) -> Intrinsic:
    """A special register as an int64 that the optimiser knows to be below 2^31."""

    def emitter(typing: Any) -> Any:
        from numba import types

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            from llvmlite import ir

            word = ir.IntType(32)
            symbol = f"llvm.nvvm.read.ptx.sreg.{register}"
            known = builder.module.globals.get(symbol)
            function = known or ir.Function(builder.module, ir.FunctionType(word, []), symbol)
            return builder.zext(builder.call(function, []), ir.IntType(64))

        return types.int64(), codegen

    return _named(emitter, name, summary, meaning)


thread = _special("thread", "tid.x", "Number of this thread in its block.", lambda: machine.thread)
block = _special("block", "ctaid.x", "Number of this block in the grid.", lambda: machine.block[0])
block_y = _special("block_y", "ctaid.y", "The block's second index.", lambda: machine.block[1])
block_z = _special("block_z", "ctaid.z", "The block's third index.", lambda: machine.block[2])
blocks = _special("blocks", "nctaid.x", "Blocks in the grid.", lambda: machine.grid[0])


@intrinsic
def barrier(typing):
    """Wait for all threads of the block; what they wrote before, all read after."""
    from numba import types

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        symbol = "llvm.nvvm.barrier0"
        kind = ir.FunctionType(ir.VoidType(), [])
        known = builder.module.globals.get(symbol)
        builder.call(known or ir.Function(builder.module, kind, symbol), [])
        return context.get_dummy_value()

    return types.void(), codegen


barrier.in_python(lambda: machine.barrier())


# ---------------------------------------------------------------------------------------- memory


@intrinsic
def pointer(typing, address, dtype):
    """``pointer(address, np.float32)[i]`` is element ``i`` of global memory from ``address`` on."""
    from numba import types

    kind = types.CPointer(dtype.dtype)

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        generic = context.get_value_type(kind)
        there = builder.inttoptr(args[0], ir.PointerType(generic.pointee, addrspace=1))
        return builder.addrspacecast(there, generic)

    return kind(address, dtype), codegen


pointer.in_python(lambda address, dtype: machine.pointer(address, dtype))


@lru_cache(maxsize=None)
def shared(dtype: str, count: int, place: str = "") -> Intrinsic:
    """The intrinsic for a pointer to ``count`` elements that the threads of a block share.

    ``tile = shared("float32", 256)`` outside the body, ``s = tile()`` inside. Every place of equal
    dtype, count and ``place`` is the same memory. 16-byte aligned, contents undefined.
    """
    name = f"shared_{dtype}_{count}_{place}"

    def emitter(typing: Any) -> Any:
        import numba
        from numba import types

        scalar = numba.from_dtype(np.dtype(dtype))
        kind = types.CPointer(scalar)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            from llvmlite import ir

            array = ir.ArrayType(context.get_data_type(scalar), count)
            where = builder.module.globals.get(name)
            if where is None:
                where = ir.GlobalVariable(builder.module, array, name, addrspace=3)
                where.linkage = "internal"
                where.initializer = ir.Constant(array, ir.Undefined)
                where.align = 16
            return builder.addrspacecast(
                builder.bitcast(where, ir.PointerType(array.element, addrspace=3)),
                context.get_value_type(kind),
            )

        return kind(), codegen

    return _named(
        emitter, name, f"{count} shared {dtype}.", lambda: machine.shared(name, dtype, count)
    )


def _element(context: Any, builder: Any, sig: Any, args: Any, count: Any = 1) -> Any:
    """Where ``count`` elements (a number, or an int64 of the build) from number ``args[1]`` on of
    the pointer ``args[0]`` lie.
    """
    checked = getattr(sig.args[0], "element", None)  # in debug builds
    if checked is None:
        return builder.gep(args[0], [args[1]])
    from numba import types

    index = context.cast(builder, args[1], sig.args[1], types.int64)
    return checked(context, builder, args[0], index, count)


@lru_cache(maxsize=None)
def load_vector(count: int) -> Intrinsic:
    """The intrinsic ``load(p, i)``: elements ``i`` … ``i + count - 1`` as a tuple, in one access.

    The address must be a multiple of ``count`` elements' bytes, at most 16.
    """

    def emitter(typing: Any, source: Any, index: Any) -> Any:
        from numba import types

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            from llvmlite import ir

            where = _element(context, builder, sig, args, count)
            element = where.type.pointee
            vector = ir.VectorType(element, count)
            size = context.get_abi_sizeof(element)
            whole = moved_as(vector, size)
            loaded = builder.load(builder.bitcast(where, whole.as_pointer()))
            loaded.align = count * size
            lanes = unpack(builder, loaded, element, count, size)
            model = context.data_model_manager[sig.args[0].dtype]
            values = [model.from_data(builder, lane) for lane in lanes]
            return context.make_tuple(builder, sig.return_type, values)

        return types.UniTuple(source.dtype, count)(source, index), codegen

    return _named(
        emitter,
        f"load{count}",
        f"{count} consecutive elements in one access.",
        lambda source, index: source.load(index, count),
    )


@lru_cache(maxsize=None)
def store_vector(count: int) -> Intrinsic:
    """The intrinsic ``store(p, i, values)``, the counterpart of :func:`load_vector`."""

    def emitter(typing: Any, target: Any, index: Any, values: Any) -> Any:
        from numba import types

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            from llvmlite import ir

            kind = sig.args[0].dtype
            where = _element(context, builder, sig, args, count)
            element = where.type.pointee
            size = context.get_abi_sizeof(element)
            whole = moved_as(ir.VectorType(element, count), size)
            values = []
            for k in range(count):
                value = builder.extract_value(args[2], k)
                value = context.cast(builder, value, sig.args[2][k], kind)
                values.append(context.data_model_manager[kind].as_data(builder, value))
            made = pack(builder, values, whole, size)
            stored = builder.store(made, builder.bitcast(where, whole.as_pointer()))
            stored.align = count * context.get_abi_sizeof(element)
            return context.get_dummy_value()

        return types.void(target, index, values), codegen

    return _named(
        emitter,
        f"store{count}",
        f"{count} consecutive elements in one access.",
        lambda target, index, values: target.store(index, values),
    )


# ----------------------------------------------------------------------------------------- warps


def _shuffle(name: str, mode: str, clamp: int, summary: str) -> Intrinsic:
    def emitter(typing: Any, value: Any, lane: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            from llvmlite import ir

            word = ir.IntType(32)
            step = builder.trunc(args[1], word) if args[1].type.width > 32 else args[1]
            text = f"shfl.sync.{mode}.b32 $0, $1, $2, {clamp}, 0xffffffff;"
            code = ir.InlineAsm(
                ir.FunctionType(word, [word, word]), text, "=r,r,r", side_effect=True
            )
            bits = context.get_abi_sizeof(args[0].type) * 8
            whole = ir.IntType(bits)
            raw = args[0] if args[0].type == whole else builder.bitcast(args[0], whole)
            if bits < 32:
                raw = builder.zext(raw, word)
            moved = [
                builder.call(
                    code,
                    [builder.trunc(builder.lshr(raw, raw.type(32 * k)), word), step],
                    attrs=CONVERGENT,
                )
                if bits > 32
                else builder.call(code, [raw, step], attrs=CONVERGENT)
                for k in range(max(1, bits // 32))
            ]
            result = moved[0]
            if bits > 32:
                high = builder.shl(builder.zext(moved[1], whole), whole(32))
                result = builder.or_(builder.zext(moved[0], whole), high)
            elif bits < 32:
                result = builder.trunc(result, whole)
            return result if args[0].type == whole else builder.bitcast(result, args[0].type)

        return value(value, lane), codegen

    return _named(
        emitter, name, summary, lambda value, lane: machine.shuffle(mode, value, int(lane))
    )


shuffle_down = _shuffle(
    "shuffle_down", "down", 31, "The value of the lane ``lane`` places up, else one's own."
)
shuffle_up = _shuffle(
    "shuffle_up", "up", 0, "The value of the lane ``lane`` places down, else one's own."
)
shuffle_xor = _shuffle(
    "shuffle_xor", "bfly", 31, "The value of the lane whose number differs in the bits ``lane``."
)
shuffle = _shuffle("shuffle", "idx", 31, "The value of lane number ``lane``.")

warp_barrier = instruction(
    "warp_barrier",
    "bar.warp.sync 0xffffffff;",
    "",
    "",
    "Wait for the warp; what its lanes wrote before, all of them read after.",
    lambda: machine.warp_barrier(),
)


@intrinsic
def ballot(typing, condition):
    """The warp's conditions as the bits of a number, lane 0 lowest."""
    from numba import types

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        word = ir.IntType(32)
        text = "{ .reg .pred p; setp.ne.u32 p, $1, 0; vote.sync.ballot.b32 $0, p, 0xffffffff; }"
        code = ir.InlineAsm(ir.FunctionType(word, [word]), text, "=r,r", side_effect=True)
        flag = context.cast(builder, args[0], sig.args[0], types.boolean)
        votes = builder.call(code, [builder.zext(flag, word)], attrs=CONVERGENT)
        return builder.zext(votes, ir.IntType(64))

    return types.int64(condition), codegen


ballot.in_python(lambda condition: machine.ballot(bool(condition)))


@intrinsic
def count_bits(typing, word):
    """How many of the low 32 bits of a number are set."""
    from numba import types

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        kind = ir.IntType(32)
        symbol = "llvm.ctpop.i32"
        known = builder.module.globals.get(symbol)
        function = known or ir.Function(builder.module, ir.FunctionType(kind, [kind]), symbol)
        low = builder.trunc(args[0], kind)
        return builder.zext(builder.call(function, [low]), ir.IntType(64))

    return types.int64(word), codegen


count_bits.in_python(lambda word: (int(word) & 0xFFFFFFFF).bit_count())


# --------------------------------------------------------------------------------------- atomics


def _atomic(name: str, operation: str, summary: str, meaning: Callable[..., Any]) -> Intrinsic:
    def emitter(typing: Any, target: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            where = _element(context, builder, sig, args)
            new = context.cast(builder, args[2], sig.args[2], sig.args[0].dtype)
            return builder.atomic_rmw(operation, where, new, "monotonic")

        return target.dtype(target, index, value), codegen

    def simulated(target: Any, index: int, value: Any) -> Any:
        old = target[index]
        target[index] = meaning(old, value)
        return old

    return _named(emitter, name, summary, simulated)


atomic_add = _atomic(
    "atomic_add", "add", "Add an integer at ``p[i]``; gives what was there.", lambda a, b: a + b
)
atomic_max = _atomic(
    "atomic_max", "max", "The larger signed integer to ``p[i]``; gives what was there.", max
)
atomic_min = _atomic(
    "atomic_min", "min", "The smaller signed integer to ``p[i]``; gives what was there.", min
)


@intrinsic
def dynamic_shared(typing, offset, dtype):
    """A pointer to the block's dynamic shared memory from byte ``offset`` on."""
    from numba import types

    kind = types.CPointer(dtype.dtype)

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        name, byte = "dynamic_shared_memory", ir.IntType(8)
        where = builder.module.globals.get(name)
        if where is None:
            where = ir.GlobalVariable(builder.module, ir.ArrayType(byte, 0), name, addrspace=3)
            where.linkage = "external"
            where.align = 128
        start = builder.bitcast(where, ir.PointerType(byte, addrspace=3))
        generic = context.get_value_type(kind)
        here = builder.gep(start, [args[0]])
        here = builder.bitcast(here, ir.PointerType(generic.pointee, addrspace=3))
        return builder.addrspacecast(here, generic)

    return kind(offset, dtype), codegen


dynamic_shared.in_python(lambda offset, dtype: machine.dynamic(int(offset), dtype))


@intrinsic
def multiply_wide(typing, a, b):
    """The product of two numbers in [0, 2^32), by one instruction."""
    from numba import types

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        word, whole = ir.IntType(32), ir.IntType(64)
        halves = [v if v.type == word else builder.trunc(v, word) for v in args]
        return builder.mul(*[builder.zext(v, whole) for v in halves])

    return types.int64(a, b), codegen


multiply_wide.in_python(lambda a, b: int(a) * int(b))
