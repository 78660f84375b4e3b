"""What the things a kernel refers to mean over lanes: intrinsics, device functions, built-ins.

An intrinsic means what its meaning for the simulated device says, with this block for the machine
and built-ins over lanes; those whose meaning takes single numbers only are defined here.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from dis import get_instructions
from types import CellType, FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from tests.emulator.block import Block
from tests.emulator.flow import Span
from tests.emulator.translate import Edit, translated
from tilegrad.kernels.cuda.device import ptx, registers
from tilegrad.kernels.cuda.device.simulator import Machine
from tilegrad.kernels.formulas import pair, primitives, quadrants
from tilegrad.kernels.function import DeviceFunction, Intrinsic, TypedFunction


def _is_lanes(*values: Any) -> bool:
    return any(type(v) is np.ndarray for v in values)


def _extreme(better: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """``min`` or ``max``: of two, the second where ``better(second, first)``."""

    def extreme(*values: Any) -> Any:
        items = values if len(values) > 1 else tuple(values[0])
        best = items[0]
        for item in items[1:]:
            if _is_lanes(best, item):
                best = np.where(better(item, best), item, best)
            elif better(item, best):
                best = item
        return best

    return extreme


def _range(*args: Any) -> Any:
    if not _is_lanes(*args):
        return range(*args)
    start, stop = args[:2] if len(args) > 1 else (0, args[0])
    return Span(start, stop, args[2] if len(args) > 2 else 1)


def _cast(kind: Any, dtype: Any) -> Callable[[Any], Any]:
    return lambda value: value.astype(dtype) if _is_lanes(value) else kind(value)


BUILTINS = {
    builtins.min: _extreme(lambda a, b: a < b),
    builtins.max: _extreme(lambda a, b: a > b),
    builtins.range: _range,
    builtins.int: _cast(int, np.int64),
    builtins.float: _cast(float, np.float64),
    builtins.bool: _cast(bool, np.bool_),
    builtins.type: lambda value: value.dtype.type if _is_lanes(value) else type(value),
}
_MATH = SimpleNamespace(
    **{name: getattr(math, name) for name in ("inf", "nan", "pi", "e", "tau")},
    **{name: getattr(np, name) for name in ("sqrt", "exp", "log", "log2", "sin", "cos", "floor")},
    isnan=np.isnan,
    isinf=np.isinf,
    fabs=np.abs,
    perm=math.perm,  # of numbers that are the same for all lanes: it takes no array
)


# ------------------------------------------------------------------------- intrinsics over lanes


def _outer_product(block: Block, accumulators: np.ndarray, x: Any, y: Any) -> np.ndarray:
    kind = accumulators.dtype
    wide = np.float64 if kind == np.float32 else kind  # a float32 product is exact in float64
    columns = [np.array([block.lanes(v) for v in side], wide) for side in (x, y)]
    products = (columns[0][:, None] * columns[1]).reshape(accumulators.shape)
    products += accumulators
    return products.astype(kind)


def _scaled(block: Block, accumulators: np.ndarray, factors: Any) -> np.ndarray:
    column = np.array([block.lanes(f) for f in factors], accumulators.dtype)
    return accumulators * np.repeat(column, len(accumulators) // len(factors), axis=0)


def _as_int32(block: Block, value: Any) -> Any:
    seen = value[block.at_work()] if _is_lanes(value) else np.array([value])
    if len(seen) and (seen.min() < -(1 << 31) or seen.max() >= 1 << 31):
        block.fault(f"a number beyond 32 bits is narrowed: {seen.min()} … {seen.max()}")
    return value


def _fma(block: Block, x: Any, y: Any, z: Any) -> Any:
    if not _is_lanes(x, y, z):
        return primitives._exact_fma(x, y, z)
    kind = np.result_type(x, y, z)
    if kind == np.float32:  # the product is exact in float64; the sum is rounded twice
        return (np.multiply(x, y, dtype=np.float64) + z).astype(kind)
    return block.one_by_one(primitives._exact_fma, x, y, z)


def _registers(block: Block, count: int, dtype: Any) -> np.ndarray:
    return np.zeros((count, block.threads), dtype)


def _paired(block: Block, re: Any, im: Any) -> Any:
    if not _is_lanes(re, im):
        return pair.paired(re, im)
    re, im = np.broadcast_arrays(re, im)
    made = np.empty(re.shape, np.complex64 if re.dtype == np.float32 else np.complex128)
    made.real, made.imag = re, im
    return made


SPECIAL: dict[Any, Callable[..., Any]] = {
    pair.paired: _paired,
    registers.outer_product: _outer_product,
    registers.scaled: _scaled,
    registers.as_int32: _as_int32,
    primitives._exact_fma: _fma,
    primitives._precision: lambda block, dtype: primitives._precision(dtype),
    ptx.count_bits: lambda block, word: np.bitwise_count(np.asarray(word) & 0xFFFFFFFF).astype(int),
    quadrants.large_single: lambda block, x: block.one_by_one(quadrants.large_single.python, x),
    quadrants._large_double: lambda block, x: block.one_by_one(quadrants._large_double.python, x),
}


class Meanings:
    """The meanings for one block. ``edits``: changes of the sources on their way."""

    def __init__(self, block: Block, edits: list[Edit]):
        self.block, self.edits = block, edits
        self._made: dict[int, tuple[Any, Any]] = {}  # the value is kept, and with it its id

    def of(self, value: Any) -> Any:
        """What stands for a value that a kernel refers to."""
        if isinstance(value, (int, float, str, np.generic)):
            return value
        if type(value) is tuple:
            return tuple(self.of(v) for v in value)
        if id(value) not in self._made:
            self._made[id(value)] = (value, self._meaning(value))
        return self._made[id(value)][1]

    def _meaning(self, value: Any) -> Any:
        block = self.block
        if isinstance(value, Intrinsic):
            return self._intrinsic(value)
        if isinstance(value, TypedFunction):
            return lambda *args: self.of(value.case(getattr(args[0], "dtype", "float64")))(*args)
        if isinstance(value, DeviceFunction):
            return self.of(value.function)
        if isinstance(value, Machine):
            return block
        if value is math:
            return _MATH
        if not callable(value):
            return value
        if value in SPECIAL:
            return self._special(value)
        if value in BUILTINS:
            return BUILTINS[value]
        return self._function(value) if isinstance(value, FunctionType) else value

    def _special(self, value: Any) -> Callable[..., Any]:
        function, block = SPECIAL[value], self.block
        return lambda *args: function(block, *args)

    def _function(self, function: FunctionType) -> Any:
        if function.__name__ != "<lambda>":
            return translated(function, self.block, self.of, self.edits)
        cells = tuple(CellType(self.of(c.cell_contents)) for c in function.__closure__ or ())
        names = {i.argval for i in get_instructions(function) if i.opname == "LOAD_GLOBAL"}
        scope = {n: self.of(v) for n, v in function.__globals__.items() if n in names}
        scope |= {f.__name__: meaning for f, meaning in BUILTINS.items() if f.__name__ in names}
        return FunctionType(function.__code__, scope, "lambda", function.__defaults__, cells)

    def _intrinsic(self, value: Intrinsic) -> Any:
        if value in SPECIAL:
            return self._special(value)
        if value.python is None:
            return value  # which says so when called
        if value.__name__.startswith("zeros_"):
            zeros = value.python()
            return lambda: _registers(self.block, len(zeros), zeros.dtype)
        if value.__name__.startswith("atomic_"):
            combine = dict(zip(value.python.__code__.co_freevars, value.python.__closure__))
            function = combine["meaning"].cell_contents
            return lambda target, index, new: target.update(index, new, function)
        return self.of(value.python)
