"""What kernels know of an element type: one row per dtype, and no other place that lists them.

A dtype without a row has no kernels: :func:`row` raises :class:`DTypeError`, which the dispatcher
completes to ``<op>: not implemented for '<dtype>'; got <operands>``. Numbers that were measured, tile
sizes among them, stand in the devices' ``tuning`` modules, by dtype too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np


class DTypeError(NotImplementedError):
    """Kernels lack something that they need for a dtype."""

    def __init__(self, dtype: str, what: str):
        super().__init__(f"{what}: not implemented for '{dtype}'; got no kernels for it")
        self.dtype = dtype


class Row(NamedTuple):
    """One dtype.

    Attributes:
        kind: ``f`` float, ``i`` signed, ``u`` unsigned integer, ``b`` bool,
            ``c`` complex.
        nbytes: of an element in memory.
        llvm: LLVM's type of an element in memory.
        suffix: how LLVM spells that in the names of its intrinsics: ``llvm.fma.f32``.
        short: dtype of short sums, those that a register holds.
        accumulator: dtype of long sums.
        words: 32-bit random words that an element of a continuous distribution takes; 0: none is
            drawn in this dtype.
        mantissa: bits of a float's mantissa that are stored; 0: not a float.
        register: constraint letter of the CUDA register that holds an element.
        part: of a complex dtype, that of the real and of the imaginary part, which lie side by side.
    """

    kind: str
    nbytes: int
    llvm: str
    suffix: str
    short: str
    accumulator: str
    words: int
    mantissa: int
    register: str
    part: str = ""


TABLE = {
    "bool": Row("b", 1, "i8", "i8", "int64", "int64", 0, 0, "r"),
    "uint8": Row("u", 1, "i8", "i8", "int64", "int64", 0, 0, "r"),
    "int8": Row("i", 1, "i8", "i8", "int64", "int64", 0, 0, "r"),
    "int16": Row("i", 2, "i16", "i16", "int64", "int64", 0, 0, "h"),
    "int32": Row("i", 4, "i32", "i32", "int64", "int64", 0, 0, "r"),
    "int64": Row("i", 8, "i64", "i64", "int64", "int64", 0, 0, "l"),
    "float32": Row("f", 4, "float", "f32", "float32", "float64", 1, 23, "f"),
    "float64": Row("f", 8, "double", "f64", "float64", "float64", 2, 52, "d"),
    "complex64": Row("c", 8, "{float, float}", "", "complex64", "complex128", 2, 0, "", "float32"),
    "complex128": Row(
        "c", 16, "{double, double}", "", "complex128", "complex128", 4, 0, "", "float64"
    ),
}

FLOATS = tuple(name for name, row in TABLE.items() if row.kind == "f")
COMPLEX = tuple(name for name, row in TABLE.items() if row.kind == "c")
VECTORS = tuple(  # what CPU vectors hold
    name for name, row in TABLE.items() if row.nbytes >= 4 and row.kind != "c"
)

# what kernels compute with besides, and no tensor holds: bits, places, a lane of a comparison
WORDS = {
    "mask": Row("b", 1, "i1", "i1", "int64", "int64", 0, 0, "r"),
    "uint16": Row("u", 2, "i16", "i16", "int64", "int64", 0, 0, "h"),
    "uint32": Row("u", 4, "i32", "i32", "int64", "int64", 0, 0, "r"),
    "uint64": Row("u", 8, "i64", "i64", "int64", "int64", 0, 0, "l"),
}

_OF_LLVM = {row.llvm: row for row in (*TABLE.values(), *WORDS.values())}

Found = TypeVar("Found")


def name_of(dtype: Any) -> str:
    """``float32`` for a name, a NumPy type or one of numba's."""
    return dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None) or str(dtype)


def row(dtype: Any) -> Row:
    """The row of a dtype, given as its name, its NumPy type or numba's.

    Raises:
        DTypeError: there is none.
    """
    name = name_of(dtype)
    found = TABLE.get(name) or WORDS.get(name)
    if found is None:
        raise DTypeError(name, "kernels")
    return found


def of_llvm(kind: Any) -> Row:
    """A row whose elements have this LLVM type, which tells size and suffix, no more."""
    found = _OF_LLVM.get(str(kind))
    if found is None:
        raise DTypeError(str(kind), "kernels")
    return found


def at(table: Mapping[str, Found], dtype: str, what: str) -> Found:
    """``table[dtype]`` of a table by dtype that not every dtype is in.

    Raises:
        DTypeError: ``what`` (for the message) has no row of it.
    """
    found = table.get(dtype)
    if found is None:
        raise DTypeError(dtype, what)
    return found


def is_float(dtype: Any) -> bool:
    """Whether numbers of this dtype are rounded."""
    return row(dtype).kind == "f"


def word(nbytes: int) -> Any:
    """The NumPy type of elements that are only moved: bits, or two numbers where they are 16 bytes."""
    return np.dtype(f"u{nbytes}" if nbytes <= 8 else "c16").type


def part_of(dtype: str) -> str:
    """The dtype of the parts of a complex one; any other is its own."""
    return row(dtype).part or dtype


def vanishing(dtype: str) -> float:
    """A length that reflections are scaled up under, a power of two: small, and its reciprocal a number."""
    info = np.finfo(dtype)
    return float(info.tiny) * 2.0 ** (info.nmant + 2)
