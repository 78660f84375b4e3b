"""Asynchronous copies from global to shared memory, which pass no registers.

A thread begins copies, closes a group of them and waits until all but its newest groups have
landed; what other threads copied is there after a barrier besides. From compute capability 8.0 on.

Source: PTX ISA 8.3, ``cp.async``.
"""

from __future__ import annotations

from functools import lru_cache

from tilegrad.kernels.cuda.device.ptx import _element, instruction
from tilegrad.kernels.cuda.device.simulator import machine
from tilegrad.kernels.function import Intrinsic, intrinsic


@intrinsic
def copy_async16(typing, target, at, source, start, have):
    """Begin to copy 16 bytes, from element ``start`` of global ``source`` to element ``at`` of
    shared ``target``: ``have`` elements, then zeros.

    Both places must be multiples of 16 bytes; elements from number ``have`` on are not read.
    """
    from numba import types

    def codegen(context, builder, sig, args):
        from llvmlite import ir
        from numba.core.typing import signature

        word, whole, byte = ir.IntType(32), ir.IntType(64), ir.IntType(8)
        size = context.get_abi_sizeof(context.get_value_type(sig.args[0]).pointee)
        have = context.cast(builder, args[4], sig.args[4], types.int64)
        places = []
        for first, space, kind, used in ((0, 3, word, 16 // size), (2, 1, whole, have)):
            pair = signature(types.void, *sig.args[first : first + 2])
            where = _element(context, builder, pair, args[first : first + 2], used)
            where = builder.addrspacecast(
                builder.bitcast(where, byte.as_pointer()), ir.PointerType(byte, addrspace=space)
            )
            places.append(builder.ptrtoint(where, kind))
        count = context.cast(builder, args[4], sig.args[4], types.int32)
        operands = [*places, builder.mul(count, word(size))]
        code = ir.InlineAsm(
            ir.FunctionType(ir.VoidType(), [v.type for v in operands]),
            "cp.async.cg.shared.global [$0], [$1], 16, $2;",
            "r,l,r,~{memory}",
            side_effect=True,
        )
        builder.call(code, operands)
        return context.get_dummy_value()

    return types.void(target, at, source, start, have), codegen


copy_async16.in_python(
    lambda target, at, source, start, have: machine.copy_async(target, at, source, start, have)
)

commit_copies = instruction(
    "commit_copies",
    "cp.async.commit_group;",
    "",
    "",
    "The copies that this thread has begun since the last time become a group.",
    lambda: machine.commit_copies(),
)


@lru_cache(maxsize=None)
def wait_copies(count: int) -> Intrinsic:
    """The intrinsic ``wait()``: at most ``count`` of this thread's groups are still under way."""
    return instruction(
        f"wait_copies{count}",
        f"cp.async.wait_group {count};",
        "",
        "",
        f"Wait for all but the newest {count} groups of this thread.",
        lambda: machine.wait_copies(count),
    )
