"""Pointers that know how many elements they have, for debug builds of bodies that users write.

In such a build every access is compared with the bounds of its array. One that falls outside is not
made: it reads and writes spare memory instead, and the first of a launch is kept in the *report*,
whose address the launch is given: int64 words, named by :class:`Report`, then spare bytes.
"""

from __future__ import annotations

import ctypes
import operator
from functools import cache
from typing import Any, NamedTuple

from tilegrad.kernels.builtin import forever
from tilegrad.kernels.cpu.run import translate
from tilegrad.kernels.forking import DATA, fork_lock
from tilegrad.kernels.function import intrinsic

SPARE = 64  # the word where spare memory begins
WORDS = 128


class Report(NamedTuple):
    """The first access of a launch that fell outside; ``found`` is 0 where there is none."""

    found: int
    place: int  # of the array among the launch's; -1: scratch memory
    element: int
    low: int  # the valid indices: low … high - 1
    high: int
    task: int


watching = fork_lock(DATA)  # one launch at a time writes reports
_words: Any = forever((ctypes.c_int64 * WORDS)())
ADDRESS = ctypes.addressof(_words)


def read_report() -> Report:
    """What the last launch reported; the next one begins anew."""
    found = Report(*_words[: len(Report._fields)])
    ctypes.memset(ADDRESS, 0, 8 * WORDS)
    return found


@intrinsic
def checked_span(typing, address, dtype, count, place, task, report):
    """:func:`~tilegrad.kernels.cpu.simd.memory.span` of a task, checked."""
    kind = checked_type()(dtype.dtype)

    def codegen(context, builder, sig, args):
        from llvmlite import ir

        zero = ir.IntType(64)(0)
        parts = [args[0], zero, *args[2:]]
        return context.make_tuple(builder, _parts(), parts)

    return kind(address, dtype, count, place, task, report), codegen


def _parts() -> Any:
    from numba import types

    return types.UniTuple(types.int64, 6)  # address, low, high, place, task, report


@cache
def checked_type() -> Any:
    """The class of numba's types for checked pointers. Any use of one goes by ``element``."""
    from llvmlite import ir
    from numba import types
    from numba.core.imputils import lower_builtin
    from numba.extending import models, register_model

    word = ir.IntType(64)

    class Checked(types.CPointer):  # type: ignore[misc]
        def __init__(self, dtype: Any):
            super().__init__(dtype)
            self.name = f"checked {dtype}*"

        def element(self, context: Any, builder: Any, value: Any, index: Any, count: Any) -> Any:
            """The address of element ``index``, where ``count`` (an int64) may be accessed."""
            address, low, high, *rest = [builder.extract_value(value, k) for k in range(6)]
            kind = context.get_value_type(types.CPointer(self.dtype))
            size = word(context.get_abi_sizeof(kind.pointee))
            above = builder.icmp_signed(">=", index, low)
            below = builder.icmp_signed("<=", builder.add(index, count), high)
            inside = builder.or_(
                builder.and_(above, below), builder.icmp_signed("==", count, word(0))
            )
            with builder.if_then(builder.not_(inside), likely=False):
                self.tell(builder, rest[2], [rest[0], index, low, high, rest[1]])
            here = builder.add(address, builder.mul(index, size))
            spare = builder.add(rest[2], word(8 * SPARE))
            return builder.inttoptr(builder.select(inside, here, spare), kind)

        def tell(self, builder: Any, report: Any, values: list[Any]) -> None:
            """Keep the values, if they are the first."""
            words = builder.inttoptr(report, word.as_pointer())
            swapped = builder.cmpxchg(words, word(0), word(1), "monotonic", "monotonic")
            with builder.if_then(builder.extract_value(swapped, 1)):
                for place, value in enumerate(values, 1):
                    builder.store(value, builder.gep(words, [word(place)]))

        def moved(self, context: Any, builder: Any, value: Any, count: Any) -> Any:
            """The pointer ``count`` elements after this one."""
            size = context.get_abi_sizeof(
                context.get_value_type(types.CPointer(self.dtype)).pointee
            )
            step = builder.mul(count, word(size))
            for place, by in ((0, step), (1, builder.neg(count)), (2, builder.neg(count))):
                part = builder.add(builder.extract_value(value, place), by)
                value = builder.insert_value(value, part, place)
            return value

    @register_model(Checked)
    class CheckedModel(models.UniTupleModel):  # type: ignore[misc]
        def __init__(self, dmm: Any, fe_type: Any):
            super().__init__(dmm, _parts())

    def place(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = context.cast(builder, args[1], sig.args[1], types.int64)
        return sig.args[0].element(context, builder, args[0], index, word(1))

    @lower_builtin(operator.getitem, Checked, types.Integer)  # type: ignore[untyped-decorator]
    def read(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        model = context.data_model_manager[sig.args[0].dtype]
        return model.from_data(builder, builder.load(place(context, builder, sig, args)))

    @lower_builtin(operator.setitem, Checked, types.Integer, types.Any)  # type: ignore[untyped-decorator]
    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.args[0].dtype
        value = context.cast(builder, args[2], sig.args[2], kind)
        data = context.data_model_manager[kind].as_data(builder, value)
        builder.store(data, place(context, builder, sig, args))

    translate.refresh()
    return Checked


def element(context: Any, builder: Any, sig: Any, args: Any, count: Any = 1) -> Any:
    """The address of ``args[1]`` of the pointer ``args[0]``, from where ``count`` elements (a number,
    or a vector of truths, of which the first are set) are accessed.
    """
    from llvmlite import ir

    checked = getattr(sig.args[0], "element", None)
    if checked is None:
        return builder.gep(args[0], [args[1]])
    word = ir.IntType(64)
    if isinstance(count, int):
        return checked(context, builder, args[0], args[1], word(count))
    bits = ir.IntType(count.type.count)
    many = builder.ctpop(builder.bitcast(count, bits))
    return checked(context, builder, args[0], args[1], builder.zext(many, word))
