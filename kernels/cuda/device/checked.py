"""Pointers that know the memory they point into, for debug builds of kernels.

In such a build ``pointer(address, dtype)`` looks the address up in a table of live allocations, and
every access is compared with the bounds found there. One that falls outside is not made: it reads
and writes spare memory instead, and the first of a launch is reported.

Table and report lie in one block of device memory, the *guard*, whose address is a constant of the
build. In 64-bit words: :data:`REPORT`, :data:`SPARE`, :data:`COUNT`, then the sorted starts of
:data:`ROOM` allocations and their ends.
"""

from __future__ import annotations

import operator
from functools import lru_cache
from typing import Any

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, block_y, block_z, instruction, thread
from tilegrad.kernels.cuda.device.simulator import machine
from tilegrad.kernels.function import DeviceFunction, inline, intrinsic

REPORT = 0  # whether there is one; block x, y, z; thread; index; first and last valid index
SPARE = 8  # 4 words
COUNT = 12  # allocations in the table
STARTS = 16
ROOM = 1 << 16
ENDS = STARTS + ROOM
WORDS = ENDS + ROOM

_load = instruction(
    "load_word", "ld.global.s64 $0, [$1];", "l", "l", "A word of global memory.",
    lambda address: int(_word(address)[0]),
)  # fmt: skip
_store = instruction(
    "store_word", "st.global.s64 [$0], $1;", "", "ll", "A word to global memory.",
    lambda address, value: _word(address).__setitem__(0, value),
)  # fmt: skip
_exchange = instruction(
    "exchange_word", "atom.global.exch.b64 $0, [$1], $2;", "l", "ll", "A word for another.",
    lambda address, value: (_load(address), _store(address, value))[0],
)  # fmt: skip


def _word(address: int) -> Any:
    return machine.pointer(address, np.int64)


@intrinsic
def _bounded(typing, address, low, high, dtype):
    """A pointer to ``address`` for accesses from byte address ``low`` to ``high``."""
    kind = _checked_type()(dtype.dtype)

    def codegen(context, builder, sig, args):
        return context.make_tuple(builder, _parts(), args[:3])

    return kind(address, low, high, dtype), codegen


_bounded.in_python(lambda address, low, high, dtype: (address, low, high))


@lru_cache(maxsize=None)
def pointer_to(guard: int) -> DeviceFunction:
    """What ``pointer`` is in a build whose guard lies at ``guard``."""

    @inline
    def pointer(address, dtype):
        first, last = 0, _load(guard + 8 * COUNT)
        while first < last:  # the last allocation that starts at or before the address
            middle = (first + last) // 2
            if _load(guard + 8 * STARTS + 8 * middle) <= address:
                first = middle + 1
            else:
                last = middle
        low = _load(guard + 8 * STARTS + 8 * first - 8) if first > 0 else 0
        high = _load(guard + 8 * ENDS + 8 * first - 8) if first > 0 else 0
        return _bounded(address, low, high if address <= high else low, dtype)

    return pointer


@lru_cache(maxsize=None)
def span_to(guard: int) -> DeviceFunction:
    """What ``span`` is in a build whose guard lies at ``guard``."""

    @inline
    def span(address, dtype, count, place):
        return _bounded(address, address, address + count * _size(dtype), dtype)

    return span


@intrinsic
def _size(typing, dtype):
    """Bytes of an element."""
    from numba.cuda import types

    def codegen(context, builder, sig, args):
        return context.get_constant(
            types.int64, context.get_abi_sizeof(context.get_data_type(dtype.dtype))
        )

    return types.int64(dtype), codegen


_size.in_python(lambda dtype: np.dtype(dtype).itemsize)


@lru_cache(maxsize=None)
def locate_from(guard: int) -> Any:
    """The function ``locate(address, low, high, index, size, count)``: where ``count`` elements of
    ``size`` bytes from ``index`` on may be accessed.
    """

    def locate(address, low, high, index, size, count):
        here = address + index * size
        if count == 0 or (here >= low and here + count * size <= high):
            return here
        if _exchange(guard + 8 * REPORT, 1) == 0:
            _store(guard + 8 * REPORT + 8, block())
            _store(guard + 8 * REPORT + 16, block_y())
            _store(guard + 8 * REPORT + 24, block_z())
            _store(guard + 8 * REPORT + 32, thread())
            _store(guard + 8 * REPORT + 40, index)
            _store(guard + 8 * REPORT + 48, -((address - low) // size))
            _store(guard + 8 * REPORT + 56, (high - address) // size - 1)
        return guard + 8 * SPARE

    return locate


# -------------------------------------------------------------------------------- numba's side

guard_of_build = 0  # of the kernel that is being compiled


def _parts() -> Any:
    from numba.cuda import types

    return types.UniTuple(types.int64, 3)


@lru_cache(maxsize=None)
def _checked_type() -> Any:
    """The type of checked pointers, with its accesses. Any use of a pointer goes by ``element``."""
    from numba.cuda import types
    from numba.cuda.descriptor import cuda_target
    from numba.cuda.extending import core_models, lower_builtin, register_model

    from tilegrad.kernels.cuda.device.spans import with_atomics

    class Checked(types.CPointer):  # type: ignore[misc]
        def __init__(self, dtype: Any):
            super().__init__(dtype)
            self.name = f"checked {dtype}*"

        def element(self, context: Any, builder: Any, value: Any, index: Any, count: Any) -> Any:
            """The address of element ``index``, where ``count`` (a number or a word of the build)
            may be accessed.
            """
            from llvmlite import ir

            word = types.int64
            kind = context.get_value_type(types.CPointer(self.dtype))
            size = word_of(context.get_abi_sizeof(kind.pointee))
            parts = [builder.extract_value(value, k) for k in range(3)]
            where = context.compile_internal(
                builder, locate_from(guard_of_build), word(*[word] * 6),
                [*parts, index, size, word_of(count) if isinstance(count, int) else count],
            )  # fmt: skip
            there = builder.inttoptr(where, ir.PointerType(kind.pointee, addrspace=1))
            return builder.addrspacecast(there, kind)

    def word_of(number: int) -> Any:
        from llvmlite import ir

        return ir.Constant(ir.IntType(64), number)

    @register_model(Checked)
    class CheckedModel(core_models.UniTupleModel):  # type: ignore[misc]
        def __init__(self, dmm: Any, fe_type: Any):
            super().__init__(dmm, _parts())

    @lower_builtin(operator.getitem, Checked, types.Integer)  # type: ignore[untyped-decorator]
    def read(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(sig.args[0].element(context, builder, *args, 1))

    @lower_builtin(operator.setitem, Checked, types.Integer, types.Any)  # type: ignore[untyped-decorator]
    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], sig.args[0].element(context, builder, args[0], args[1], 1))

    with_atomics(Checked)
    cuda_target.target_context.refresh()
    return Checked


def table(ranges: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Sorted starts and ends of allocations (address, bytes).

    Raises:
        RuntimeError: there are too many.
    """
    if len(ranges) > ROOM:
        raise RuntimeError(f"debug: at most {ROOM} allocations can be checked; got {len(ranges)}")
    both = np.array(sorted(ranges), np.int64).reshape(-1, 2)
    return np.ascontiguousarray(both[:, 0]), both.sum(1)
