"""Pointers to arrays of known length, for bodies that users write: typed like ``pointer``, with numba's
atomics, and checked where accesses are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tilegrad.kernels.cuda.device.facade import Tile
from tilegrad.kernels.cuda.device.simulator import KernelFault, Pointer, machine
from tilegrad.kernels.function import intrinsic

ATOMICS = (
    "add",
    "sub",
    "max",
    "min",
    "nanmax",
    "nanmin",
    "and_",
    "or_",
    "xor",
    "exch",
    "inc",
    "dec",
)


@intrinsic
def span(typing, address, dtype, count, place):
    """A pointer to ``count`` elements from ``address`` on, the launch's array number ``place``."""
    kind = span_type()(dtype.dtype)

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        generic = context.get_value_type(kind)
        there = builder.inttoptr(args[0], ir.PointerType(generic.pointee, addrspace=1))
        return builder.addrspacecast(there, generic)

    return kind(address, dtype, count, place), codegen


@span.in_python
def _span(address: int, dtype: Any, count: int, place: int) -> Pointer:
    whole, kind = machine.pointer(address, dtype), np.dtype(dtype)
    if count and len(whole.items) - whole.first < count:
        raise KernelFault(f"array {place} has less than its {count} elements of {kind}")
    items = whole.items[whole.first : whole.first + count]
    return Pointer(items, 0, f"array {place}")


@intrinsic
def view(typing, address, dtype, shape, strides, place):
    """An array of this shape and these strides, in elements, from ``address`` on: the launch's array
    number ``place``.
    """
    from numba.cuda import types

    kind = types.Array(dtype.dtype, len(shape), "A")

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        word = ir.IntType(64)
        element = context.get_data_type(kind.dtype)
        size = context.get_abi_sizeof(element)
        there = builder.inttoptr(args[0], ir.PointerType(element, addrspace=1))
        array = context.make_array(kind)(context, builder)
        array.data = builder.addrspacecast(there, element.as_pointer())
        array.itemsize = word(size)
        sizes = [builder.extract_value(args[2], k) for k in range(kind.ndim)]
        steps = [builder.extract_value(args[3], k) for k in range(kind.ndim)]
        count = word(1)
        for n in sizes:
            count = builder.mul(count, n)
        array.nitems = count
        numbers = types.UniTuple(types.intp, kind.ndim)
        array.shape = context.make_tuple(builder, numbers, sizes)
        steps = [builder.mul(s, word(size)) for s in steps]
        array.strides = context.make_tuple(builder, numbers, steps)
        return array._getvalue()

    return kind(address, dtype, shape, strides, place), codegen


@view.in_python
def _view(address: int, dtype: Any, shape: Any, strides: Any, place: int) -> Tile:
    count = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    items = _span(address, dtype, 0 if 0 in shape else count, place).items
    steps = [s * items.itemsize for s in strides]
    return Tile(np.lib.stride_tricks.as_strided(items, shape, steps), f"array {place}")


def with_atomics(kind: Any) -> Any:
    """The class of pointer types ``kind``, of which numba's atomics take values too."""
    from llvmlite import ir
    from numba.cuda import stubs, types
    from numba.cuda.extending import lower_builtin

    def array_of(context: Any, builder: Any, sig: Any, args: Any) -> tuple[Any, Any]:
        """An array over the element that is meant, and its type."""
        pointed = sig.args[0]
        checked = getattr(pointed, "element", None)
        where = builder.gep(args[0], [args[1]]) if checked is None else (
            checked(context, builder, args[0], args[1], 1)
        )  # fmt: skip
        made = types.Array(pointed.dtype, 1, "C")
        array = context.make_array(made)(context, builder)
        word = ir.IntType(64)
        size = context.get_abi_sizeof(context.get_data_type(pointed.dtype))
        array.data = where
        array.shape = context.make_tuple(builder, types.UniTuple(types.intp, 1), [word(1)])
        array.strides = context.make_tuple(builder, types.UniTuple(types.intp, 1), [word(size)])
        return array._getvalue(), made

    def atomic(stub: Any) -> Any:
        def lowered(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            array, made = array_of(context, builder, sig, args)
            same = sig.return_type(made, types.intp, *sig.args[2:])
            function = context.get_function(stub, same)
            return function(builder, [array, ir.IntType(64)(0), *args[2:]])

        return lowered

    for name in ATOMICS:
        stub = getattr(stubs.atomic, name)
        lower_builtin(stub, kind, types.intp, types.Any)(atomic(stub))
    cas = stubs.atomic.cas
    lower_builtin(cas, kind, types.intp, types.Any, types.Any)(atomic(cas))
    kind.ndim = 1  # by which numba types them
    return kind


@cache
def span_type() -> Any:
    """The class of numba's types for what :func:`span` gives."""
    from numba.cuda import types
    from numba.cuda.descriptor import cuda_target
    from numba.cuda.extending import core_models, register_model

    class Span(types.CPointer):  # type: ignore[misc]
        pass

    register_model(Span)(core_models.PointerModel)
    with_atomics(Span)
    cuda_target.target_context.refresh()
    return Span
