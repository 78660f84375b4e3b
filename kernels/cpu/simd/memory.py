"""Typed pointers over the addresses that kernels receive."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from tilegrad.kernels.cpu.simd.checked import element
from tilegrad.kernels.function import Intrinsic, intrinsic


@intrinsic
def pointer(typing, address, dtype):
    """``pointer(address, np.float32)[i]`` reads and writes element ``i`` from ``address`` on."""
    from numba import types

    kind = types.CPointer(dtype.dtype)

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(address, dtype), codegen


@intrinsic
def span(typing, address, dtype, count, place):
    """:func:`pointer` to what has ``count`` elements, the launch's array number ``place``."""
    from numba import types

    kind = types.CPointer(dtype.dtype)

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(address, dtype, count, place), codegen


@intrinsic
def offset(typing, p, count):
    """The pointer ``count`` elements after ``p``."""
    from numba import types

    def codegen(context, builder, sig, args):
        moved = getattr(sig.args[0], "moved", None)
        return moved(context, builder, *args) if moved else builder.gep(args[0], [args[1]])

    return p(p, types.intp), codegen


@intrinsic
def read(typing, source, index):
    """``source[index]``, promised not to be what :func:`write` wrote at another index.

    That promise lets the loop vectoriser skip its overlap checks, which an in-place op would fail:
    an op that writes over its input reads each element before it writes the same element.
    """

    def codegen(context, builder, sig, args):
        loaded = builder.load(element(context, builder, sig, args))
        loaded.set_metadata("noalias", _output_scope(builder.module))
        model = context.data_model_manager[sig.args[0].dtype]
        return model.from_data(builder, loaded)

    return source.dtype(source, index), codegen


@intrinsic
def write(typing, target, index, value):
    """``target[index] = value``, under the promise of :func:`read`."""
    from numba import types

    def codegen(context, builder, sig, args):
        kind = sig.args[0].dtype
        cast = context.cast(builder, args[2], sig.args[2], kind)
        data = context.data_model_manager[kind].as_data(builder, cast)
        stored = builder.store(data, element(context, builder, sig, args))
        stored.set_metadata("alias.scope", _output_scope(builder.module))
        return context.get_dummy_value()

    return types.void(target, index, value), codegen


def _output_scope(module: Any) -> Any:
    """Metadata: the list of the one alias scope that outputs live in."""
    domain = module.add_metadata(["tilegrad"])
    return module.add_metadata([module.add_metadata(["outputs", domain])])


@lru_cache(maxsize=None)
def local(dtype: str, count: int) -> Intrinsic:
    """The intrinsic for a pointer to ``count`` elements of the task's own, on the stack.

    ``buffer = local("float32", 256)`` outside the body, ``p = buffer()`` inside: each such place has
    memory of its own, the same on every pass. Contents are undefined.
    """

    def emitter(typing):
        import numba
        from numba import types
        from numba.core import cgutils

        scalar = numba.from_dtype(np.dtype(dtype))
        kind = types.CPointer(scalar)

        def codegen(context, builder, sig, args):
            element = context.get_data_type(scalar)
            where = cgutils.alloca_once(builder, element, size=count)
            where.align = 64
            return where

        return kind(), codegen

    emitter.__name__ = f"local_{dtype}_{count}"
    return intrinsic(emitter)
