"""Small elements in words: how vectors of bytes are moved in one access.

A compiler that is left with a vector of bytes moves four at a time, and it sees through a cast of
words; so words are what is moved, and shifts take them apart and put them together.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

WORD = 4  # bytes


def moved_as(vector: Any, size: int) -> Any:
    """The LLVM type to move ``vector`` as, whose elements have ``size`` bytes."""
    from llvmlite import ir

    nbytes = vector.count * size
    narrow = size < WORD and nbytes >= 2 * WORD
    return ir.VectorType(ir.IntType(32), nbytes // WORD) if narrow else vector


def unpack(builder: Any, loaded: Any, element: Any, count: int, size: int) -> list[Any]:
    """The ``count`` elements of what was loaded."""
    from llvmlite import ir

    half = ir.IntType(32)
    if loaded.type.count == count:
        return [builder.extract_element(loaded, half(k)) for k in range(count)]
    words = [builder.extract_element(loaded, half(k)) for k in range(loaded.type.count)]
    places = [divmod(k * size, WORD) for k in range(count)]
    return [builder.trunc(builder.lshr(words[w], half(8 * at)), element) for w, at in places]


def pack(builder: Any, values: list[Any], whole: Any, size: int) -> Any:
    """The vector of type ``whole`` that holds ``values``."""
    from llvmlite import ir

    half = ir.IntType(32)
    if whole.count != len(values):
        parts = [
            builder.shl(builder.zext(value, half), half(k * size % WORD * 8))
            for k, value in enumerate(values)
        ]
        per = WORD // size
        values = [reduce(builder.or_, parts[k : k + per]) for k in range(0, len(parts), per)]
    made = ir.Constant(whole, ir.Undefined)
    for k, value in enumerate(values):
        made = builder.insert_element(made, value, half(k))
    return made
