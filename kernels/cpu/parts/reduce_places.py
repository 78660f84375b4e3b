"""Where the elements of a strided block lie, in terms of a table of its sizes and strides."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tilegrad.kernels.accumulators import function, item, packed
from tilegrad.kernels.cpu.simd.memory import pointer, read
from tilegrad.kernels.function import DeviceFunction, inline

Sizes = tuple[int, ...]


@inline
def offset(index, ndim, sizes, strides):
    """Elements between the first element and number ``index`` of a strided block. (``read``: what is
    written meanwhile is elsewhere, so that sizes and strides are loaded once.)
    """
    total = 0
    for axis in range(ndim - 1, 0, -1):
        size = read(sizes, axis)
        above = index // size
        total += (index - above * size) * read(strides, axis)
        index = above
    return total + index * read(strides, 0) if ndim else 0


@lru_cache(maxsize=None)
def places(operands: int) -> tuple[DeviceFunction, DeviceFunction, DeviceFunction]:
    """What reads the table (see :func:`layout_table`), each a value for all operands: ``head(table)``, the
    dimensions kept and of runs, and the innermost strides of a row and between outputs; ``base(table, head,
    o, j)``, where output ``o`` and ``j`` more beside it begin; ``start(table, head, base, row, column)``, where
    a run begins. (The head is read once: within loops, its loads would wait for a branch.)
    """
    every, first = range(operands), 2 + 2 * operands
    scope = {"pointer": pointer, "read": read, "offset": offset, "int64": np.int64}

    def memory(place: str) -> str:
        return f"pointer(table + 8 * ({place}), int64)"

    def strides(since: int) -> str:
        return packed([f"read(t, {since + k})" for k in every])

    def found(terms: Sequence[str], index: str, dims: str, at: str) -> str:
        moves = [
            f"offset({index}, {dims}, sizes, {memory(f'{at} + {1 + k} * {dims}')})" for k in every
        ]
        return packed([f"{term} + {move}" for term, move in zip(terms, moves, strict=True)])

    beside = [f"j * {item('apart', k, operands)}" for k in every]
    run = [f"{item('base', k, operands)} + column * {item('s', k, operands)}" for k in every]
    after = f"{first} + {1 + operands} * kept"
    known = "kept, outer, s, apart = head"
    table = f"read(t, 0), read(t, 1), {strides(2)}, {strides(2 + operands)}"
    return (
        function("head_of", "table", table, scope, ["t = pointer(table, int64)"]),
        function(
            "base_of", "table, head, o, j", found(beside, "o", "kept", str(first)), scope,
            [known, f"sizes = {memory(str(first))}"],
        ),
        function(
            "start_of", "table, head, base, row, column", found(run, "row", "outer", after), scope,
            [known, f"sizes = {memory(after)}"],
        ),
    )  # fmt: skip


def rest_of(block: tuple[Sizes, ...]) -> tuple[Sizes, ...]:
    """Without the innermost dimension."""
    return tuple(row[:-1] for row in block)


def layout_table(
    kept: tuple[Sizes, ...], reduced: tuple[Sizes, ...], apart: Sequence[int] = ()
) -> np.ndarray:
    """[kept dims, outer reduced dims, innermost reduced strides…, ``apart`` (or zeros)…, kept sizes…,
    kept strides of each operand…, outer reduced sizes…, strides of each operand…].
    """
    outer, steps = rest_of(reduced), [strides[-1] for strides in reduced[1:]]
    flat = [len(kept[0]), len(outer[0]), *steps, *(apart or [0] * len(steps))]
    for row in (*kept, *outer):
        flat += row
    return np.array(flat, np.int64)
