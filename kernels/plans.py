"""Planning that is the same on every device: dimensions, patterns, storage forms, absent operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from tilegrad.kernels.dtypes import is_float, part_of
from tilegrad.kernels.source import define

Sizes = tuple[int, ...]


def merge_dims(sizes: Sequence[int], strides: Sequence[Sizes]) -> tuple[Sizes, tuple[Sizes, ...]]:
    """Fewest dimensions that walk the operands in the same order: those of size 1 dropped, neighbours
    joined where every operand's strides allow. None may remain.
    """
    merged: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, size in enumerate(sizes):
        if size == 1:
            continue
        if merged and all(s[-1] == o[axis] * size for s, o in zip(steps, strides, strict=True)):
            merged[-1] *= size
            for s, o in zip(steps, strides, strict=True):
                s[-1] = o[axis]
        else:
            merged.append(size)
            for s, o in zip(steps, strides, strict=True):
                s.append(o[axis])
    return tuple(merged), tuple(tuple(s) for s in steps)


def merge_batch(batch: Sizes, *strides: Sizes) -> tuple[Sizes, tuple[Sizes, ...]]:
    """:func:`merge_dims` of the batch dimensions of products; ``strides`` end in those of rows and columns."""
    sizes, steps = merge_dims(batch, strides)
    return sizes, tuple((*s, *full[-2:]) for s, full in zip(steps, strides, strict=True))


def access_pattern(strides: Sequence[Sizes]) -> str:
    """A letter per operand, for its innermost stride: ``c`` (1, contiguous), ``s`` (0, one value), ``v``."""
    letters = ["c" if s[-1] == 1 else "s" if s[-1] == 0 else "v" for s in strides]
    if letters[-1] == "s":  # an output row of one element
        letters[-1] = "v"
    return "".join(letters)


def storage_form(dtype: str, combine: str) -> tuple[str, str]:
    """What a scatter of ``dtype`` is in memory: plain writing needs the width only, sums and products
    of truths are or and and.
    """
    if combine == "set":
        return f"u{np.dtype(dtype).itemsize}", "set"
    if dtype == "bool":
        return "u1", {"sum": "amax", "prod": "amin"}.get(combine, combine)
    return dtype, combine


def with_absent(run: Callable[..., None], given: Sequence[bool]) -> Callable[..., None]:
    """``run`` for callers that leave out the addresses of absent operands, which it takes as 0.

    Args:
        given: of each of ``run``'s first arguments whether callers hand it on.
    """
    return run if all(given) else _inserter(tuple(given))(run)


@cache
def _inserter(given: tuple[bool, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    names = [f"a{k}" for k, has in enumerate(given) if has]
    values = [f"a{k}" if has else "0" for k, has in enumerate(given)]
    lines = [
        "def insert(run):",
        f"    def launch({', '.join([*names, '*rest'])}):",
        f"        run({', '.join([*values, '*rest'])})",
        "    return launch",
    ]
    insert: Any = define("insert", lines, {}, __name__)
    return insert  # type: ignore[no-any-return]


# ------------------------------------------------------------------------- params of formulas


def parameters(dtype: str, count: int) -> tuple[str, list[str], list[str]]:
    """(letters, names, texts of the values) of ``count`` params of a formula over elements of ``dtype``, whose
    parts' type is ``T0``: a complex one comes as two.
    """
    if part_of(dtype) == dtype:
        names = [f"p{k}" for k in range(count)]
        return ("d" if is_float(dtype) else "i") * count, names, [f"T0({n})" for n in names]
    names = [f"p{k}{part}" for k in range(count) for part in ("r", "i")]
    values = [f"paired(T0(p{k}r), T0(p{k}i))" for k in range(count)]
    return "dd" * count, names, values


def in_parts(launch: Callable[..., None], params: int) -> Callable[..., None]:
    """``launch`` for callers whose last ``params`` arguments are complex numbers, which it takes by parts."""

    def launch_parts(*args: complex) -> None:
        numbers = [complex(p) for p in args[-params:]]
        launch(*args[:-params], *[part for p in numbers for part in (p.real, p.imag)])

    return launch_parts
