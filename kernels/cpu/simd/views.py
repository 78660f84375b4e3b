"""Arrays of several dimensions for bodies that users write: a pointer, a shape and strides.

``x[i, j]`` is an element, ``x[i]`` of more than one dimension a row; indices below zero count from the
end, as on the GPU, where such bodies have numba's arrays. ``x.shape``, ``x.ndim``, ``x.size`` and ``len(x)`` are
what they are of an array. In debug builds each index is compared with its dimension.
"""

from __future__ import annotations

import operator
from functools import cache
from typing import Any

from tilegrad.kernels.cpu.run import translate
from tilegrad.kernels.cpu.simd.checked import checked_type
from tilegrad.kernels.function import intrinsic


@intrinsic
def view(typing, address, dtype, shape, strides, place):
    """An array of this shape and these strides, in elements, from ``address`` on: the launch's array
    number ``place``.
    """
    from numba import types

    kind = view_type()(types.CPointer(dtype.dtype), len(shape))

    def codegen(context, builder, sig, args):
        there = builder.inttoptr(args[0], context.get_value_type(kind.pointer))
        return made_of(context, builder, kind, there, args[2], args[3])

    return kind(address, dtype, shape, strides, place), codegen


@intrinsic
def checked_view(typing, address, dtype, count, shape, strides, place, task, report):
    """:func:`view` of a task, checked, over ``count`` elements."""
    kind = view_type()(checked_type()(dtype.dtype), len(shape))

    def codegen(context, builder, sig, args):
        from llvmlite import ir
        from numba import types

        parts = [args[0], ir.IntType(64)(0), args[2], *args[5:]]
        there = context.make_tuple(builder, types.UniTuple(types.int64, 6), parts)
        return made_of(context, builder, kind, there, args[3], args[4])

    return kind(address, dtype, count, shape, strides, place, task, report), codegen


def made_of(context: Any, builder: Any, kind: Any, data: Any, shape: Any, strides: Any) -> Any:
    """The value of a view that begins with the first element."""
    from llvmlite import ir
    from numba.core import cgutils

    made = cgutils.create_struct_proxy(kind)(context, builder)
    made.data, made.shape, made.strides = data, shape, strides
    made.first = ir.IntType(64)(0)
    return made._getvalue()


@cache
def view_type() -> Any:
    """The class of numba's types for views, with what can be done with one."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.core.imputils import lower_builtin, lower_getattr
    from numba.core.typing.templates import (
        AbstractTemplate,
        AttributeTemplate,
        infer_getattr,
        infer_global,
        signature,
    )
    from numba.extending import models, register_model

    word = ir.IntType(64)

    class View(types.Type):  # type: ignore[misc]
        def __init__(self, pointer: Any, ndim: int):
            self.pointer, self.ndim, self.dtype = pointer, ndim, pointer.dtype
            super().__init__(f"view({pointer}, {ndim})")

        @property
        def numbers(self) -> Any:
            return types.UniTuple(types.int64, self.ndim)

        def indexed(self, index: Any) -> tuple[Any, Any] | None:
            """(types of the indices, type of what they lead to), if they are indices."""
            given = tuple(index) if isinstance(index, types.BaseTuple) else (index,)
            if len(given) > self.ndim or not all(isinstance(k, types.Integer) for k in given):
                return None
            rest = self.ndim - len(given)
            taken = (
                types.UniTuple(types.int64, len(given)) if index is not given[0] else types.int64
            )
            return taken, View(self.pointer, rest) if rest else self.dtype

    @register_model(View)
    class ViewModel(models.StructModel):  # type: ignore[misc]
        def __init__(self, dmm: Any, fe_type: Any):
            members = [
                ("data", fe_type.pointer), ("first", types.int64), ("shape", fe_type.numbers),
                ("strides", fe_type.numbers),
            ]  # fmt: skip
            super().__init__(dmm, fe_type, members)

    @infer_global(operator.getitem)
    class Read(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            found = args[0].indexed(args[1]) if isinstance(args[0], View) else None
            return None if found is None else signature(found[1], args[0], found[0])

    @infer_global(operator.setitem)
    class Write(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            found = args[0].indexed(args[1]) if isinstance(args[0], View) else None
            if found is None or found[1] is not args[0].dtype:
                return None
            return signature(types.none, args[0], found[0], args[0].dtype)

    @infer_global(len)
    class Length(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            return signature(types.intp, args[0]) if isinstance(args[0], View) else None

    @infer_getattr
    class Attributes(AttributeTemplate):  # type: ignore[misc]
        key = View

        def resolve_shape(self, kind: Any) -> Any:
            return kind.numbers

        def resolve_ndim(self, kind: Any) -> Any:
            return types.intp

        resolve_size = resolve_ndim

    def proxy(context: Any, builder: Any, kind: Any, value: Any) -> Any:
        return cgutils.create_struct_proxy(kind)(context, builder, value)

    def reached(context: Any, builder: Any, sig: Any, args: Any) -> tuple[Any, int]:
        """The view's parts at what the indices lead to, and how many there are."""
        kind, index = sig.args[:2]
        parts = proxy(context, builder, kind, args[0])
        given = [args[1]]
        if isinstance(index, types.BaseTuple):
            given = cgutils.unpack_tuple(builder, args[1], len(index))
        flat, inside, below = word(0), ir.IntType(1)(1), ir.IntType(1)(0)
        for axis, one in enumerate(given):
            size = builder.extract_value(parts.shape, axis)
            step = builder.extract_value(parts.strides, axis)
            one = builder.select(
                builder.icmp_signed("<", one, word(0)), builder.add(one, size), one
            )
            low = builder.icmp_signed("<", one, word(0))
            below = builder.or_(below, low)
            within = builder.and_(builder.not_(low), builder.icmp_signed("<", one, size))
            inside = builder.and_(inside, within)
            flat = builder.add(flat, builder.mul(one, step))
        flat = builder.add(parts.first, flat)
        if hasattr(
            kind.pointer, "element"
        ):  # indices outside lead to a place that its check refuses
            high = builder.extract_value(parts.data, 2)
            above = builder.select(builder.icmp_signed("<", flat, high), high, flat)
            under = builder.select(builder.icmp_signed("<", flat, word(0)), flat, builder.neg(high))
            flat = builder.select(inside, flat, builder.select(below, under, above))
        parts.first = flat
        return parts, len(given)

    def address(context: Any, builder: Any, kind: Any, parts: Any) -> Any:
        if hasattr(kind.pointer, "element"):
            return kind.pointer.element(context, builder, parts.data, parts.first, word(1))
        return builder.gep(parts.data, [parts.first])

    @lower_builtin(operator.getitem, View, types.Any)  # type: ignore[untyped-decorator]
    def read(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.args[0]
        parts, count = reached(context, builder, sig, args)
        if count == kind.ndim:
            model = context.data_model_manager[kind.dtype]
            return model.from_data(builder, builder.load(address(context, builder, kind, parts)))
        row = cgutils.create_struct_proxy(sig.return_type)(context, builder)
        row.data, row.first = parts.data, parts.first
        row.shape, row.strides = [
            cgutils.pack_array(builder, cgutils.unpack_tuple(builder, t, kind.ndim)[count:])
            for t in (parts.shape, parts.strides)
        ]
        return row._getvalue()

    @lower_builtin(operator.setitem, View, types.Any, types.Any)  # type: ignore[untyped-decorator]
    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.args[0]
        parts, _ = reached(context, builder, sig, args)
        value = context.cast(builder, args[2], sig.args[2], kind.dtype)
        data = context.data_model_manager[kind.dtype].as_data(builder, value)
        builder.store(data, address(context, builder, kind, parts))
        return context.get_dummy_value()

    @lower_builtin(len, View)  # type: ignore[untyped-decorator]
    def length(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_value(proxy(context, builder, sig.args[0], args[0]).shape, 0)

    @lower_getattr(View, "shape")  # type: ignore[untyped-decorator]
    def shape(context: Any, builder: Any, kind: Any, value: Any) -> Any:
        return proxy(context, builder, kind, value).shape

    @lower_getattr(View, "ndim")  # type: ignore[untyped-decorator]
    def ndim(context: Any, builder: Any, kind: Any, value: Any) -> Any:
        return word(kind.ndim)

    @lower_getattr(View, "size")  # type: ignore[untyped-decorator]
    def size(context: Any, builder: Any, kind: Any, value: Any) -> Any:
        total = word(1)
        parts = proxy(context, builder, kind, value)
        for axis in range(kind.ndim):
            total = builder.mul(total, builder.extract_value(parts.shape, axis))
        return total

    translate.refresh()
    return View
