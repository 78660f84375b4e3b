"""Interleaved complex numbers to vectors and back: real and imaginary parts apart, and in reverse."""

from __future__ import annotations

from typing import Any

from tilegrad.kernels.cpu.simd.emit import (
    head_value,
    llvm_vector,
    load_value,
    shuffle_value,
    store_value,
)
from tilegrad.kernels.cpu.simd.vector import full_vector
from tilegrad.kernels.function import Intrinsic, intrinsic


def _part(name: str, first: int, doc: str) -> Intrinsic:
    def emitter(typing, p, i):
        from numba import types

        vector = full_vector(p.dtype)

        def codegen(context, builder, sig, args):
            a, b = _both(builder, builder.gep(args[0], [args[1]]), llvm_vector(vector))
            return shuffle_value(builder, a, b, list(range(first, 2 * vector.count, 2)))

        return vector(p, types.intp), codegen

    emitter.__name__, emitter.__doc__ = name, doc
    return intrinsic(emitter)


def _both(builder: Any, at: Any, kind: Any) -> tuple[Any, Any]:
    from llvmlite import ir

    beyond = builder.gep(at, [ir.IntType(64)(kind.count)])
    return load_value(builder, at, kind), load_value(builder, beyond, kind)


load_re = _part("load_re", 0, "Reals ``i, i + 2, …`` from pointer ``p``: real parts.")
load_im = _part("load_im", 1, "Reals ``i + 1, i + 3, …`` from pointer ``p``: imaginary parts.")


def _joined(builder: Any, re: Any, im: Any) -> tuple[Any, Any]:
    count = re.type.count
    order = [lane // 2 + count * (lane % 2) for lane in range(2 * count)]
    low = shuffle_value(builder, re, im, order[:count])
    return low, shuffle_value(builder, re, im, order[count:])


@intrinsic
def store_pairs(typing, p, i, re, im):
    """Write the parts in turn to reals ``i, i + 1, …`` of pointer ``p``."""
    from numba import types

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        at = builder.gep(args[0], [args[1]])
        low, high = _joined(builder, args[2], args[3])
        store_value(builder, low, at)
        store_value(builder, high, builder.gep(at, [ir.IntType(64)(low.type.count)]))
        return context.get_dummy_value()

    return types.void(p, types.intp, re, im), codegen


@intrinsic
def backwards(typing, vector):
    """The lanes in reverse."""

    def codegen(context, builder, sig, args):
        order = list(range(vector.count))[::-1]
        return shuffle_value(builder, args[0], args[0], order)

    return vector(vector), codegen


def _heads(builder: Any, number: Any, count: int) -> tuple[Any, Any]:
    """Masks of the first ``number`` pairs in two vectors of ``count`` lanes."""
    reals = builder.add(number, number)
    rest = builder.sub(reals, reals.type(count))
    return head_value(builder, reals, count), head_value(builder, rest, count)


@intrinsic
def split_head(typing, p, i, q, j, number):
    """The first ``number`` pairs from ``p[i]``, and zeros, to ``q``: real parts from ``j`` on, then
    imaginary ones, a vector each.
    """
    from numba import types

    vector, n = full_vector(p.dtype), types.intp

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        kind, word = llvm_vector(vector), ir.IntType(64)
        at, to = builder.gep(args[0], [args[1]]), builder.gep(args[2], [args[3]])
        masks = _heads(builder, args[4], vector.count)
        places = at, builder.gep(at, [word(vector.count)])
        a, b = [load_value(builder, place, kind, mask) for place, mask in zip(places, masks)]
        for c in (0, 1):
            part = shuffle_value(builder, a, b, list(range(c, 2 * vector.count, 2)))
            store_value(builder, part, builder.gep(to, [word(c * vector.count)]))
        return context.get_dummy_value()

    return types.void(p, n, q, n, n), codegen


@intrinsic
def store_pairs_head(typing, p, i, re, im, number):
    """:func:`store_pairs` of the first ``number`` pairs."""
    from numba import types

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        at = builder.gep(args[0], [args[1]])
        low, high = _joined(builder, args[2], args[3])
        first, second = _heads(builder, args[4], low.type.count)
        store_value(builder, low, at, first)
        store_value(builder, high, builder.gep(at, [ir.IntType(64)(low.type.count)]), second)
        return context.get_dummy_value()

    return types.void(p, types.intp, re, im, types.intp), codegen
