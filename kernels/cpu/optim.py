"""Optimizer steps: one launch over all parameters of a group.

The parameters lie anywhere: a table holds one row of addresses per parameter. The elements of all
of them, end to end, are cut into tasks of equal size, each a list of *spans* (row, start, count).
How they are cut depends on the sizes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, get_num_threads, kernel
from tilegrad.kernels.cpu.simd.memory import pointer, read, write
from tilegrad.kernels.cpu.tuning import Optim
from tilegrad.kernels.function import function_from_source
from tilegrad.kernels.source import indented, listed
from tilegrad.kernels.updates import UPDATES

_STEP = """
def step_body(task, {hypers}, table, spans, starts):
    rows = pointer(table, int64)
    span = pointer(spans, int64)
    first = pointer(starts, int64)
    for k in range(first[task], first[task + 1]):
        row = span[3 * k] * {width}
        begin = span[3 * k + 1]
        end = begin + span[3 * k + 2]
{scalars}
        {prepared} = prepare({scalar_values}{hypers})
{constants}
        p = pointer(rows[row], T)
        g = pointer(rows[row + 1], T)
{pointers}
        for i in range(begin, end):
            {results} = update(read(p, i), read(g, i), {state_values}{constant_values})
            write(p, i, n0)
{writes}
"""

_ADVANCE = """
def advance_body(task, {hypers}, table, rows_count):
    rows = pointer(table, int64)
    for k in range(rows_count):
        row = k * {width}
{scalars}
        {results} = advance({scalar_values}{hypers})
{writes}
"""


def _scalar_lines(rule: str) -> list[str]:
    """Read the scalar state of a row, which stands behind its arrays, as float64."""
    update = UPDATES[rule]
    at = 2 + len(update.state)
    return [
        line
        for k in range(len(update.scalars))
        for line in (
            f"c{k} = pointer(rows[row + {at + k}], float32)",
            f"t{k} = float64(c{k}[0])",
        )
    ]


def _width(rule: str) -> int:
    return 2 + len(UPDATES[rule].state) + len(UPDATES[rule].scalars)


@kernel
def step(rule: str, dtype: str) -> Kernel:
    """New values of parameters and state. Arguments: hyperparameters, table, spans, starts."""
    update = UPDATES[rule]
    hypers, arrays, constants = update.hypers, len(update.state), update.prepared
    source = _STEP.format(
        hypers=", ".join(hypers),
        width=_width(rule),
        scalars=indented(_scalar_lines(rule), 8),
        prepared=", ".join(f"d{k}" for k in range(constants)),
        scalar_values=listed(f"t{k}" for k in range(len(update.scalars))),
        constants=indented([f"k{k} = T(d{k})" for k in range(constants)], 8),
        pointers=indented([f"s{k} = pointer(rows[row + {2 + k}], T)" for k in range(arrays)], 8),
        results=listed(f"n{k}" for k in range(arrays + 1)),
        state_values=listed(f"read(s{k}, i)" for k in range(arrays)),
        constant_values=", ".join(f"k{k}" for k in range(constants)),
        writes=indented([f"write(s{k}, i, n{k + 1})" for k in range(arrays)], 12),
    )
    scope = {
        "pointer": pointer, "read": read, "write": write, "prepare": update.prepare,
        "update": update.update, "T": np.dtype(dtype).type, "int64": np.int64,
        "float32": np.float32, "float64": np.float64,
    }  # fmt: skip
    return function_from_source(source, "step_body", scope), "d" * len(hypers) + "iii"


@kernel
def advance(rule: str) -> Kernel:
    """New values of the scalar state. Arguments: hyperparameters, table, number of rows."""
    update = UPDATES[rule]
    count = range(len(update.scalars))
    source = _ADVANCE.format(
        hypers=", ".join(update.hypers),
        width=_width(rule),
        scalars=indented(_scalar_lines(rule), 8),
        results=listed(f"n{k}" for k in count),
        scalar_values=listed(f"t{k}" for k in count),
        writes=indented([f"c{k}[0] = float32(n{k})" for k in count], 8),
    )
    scope = {
        "pointer": pointer, "advance": update.advance, "int64": np.int64,
        "float32": np.float32, "float64": np.float64,
    }  # fmt: skip
    return function_from_source(source, "advance_body", scope), "d" * len(update.hypers) + "ii"


def cut(sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Spans of all tasks, (n, 3), and where in it each task starts, (tasks + 1,)."""
    total = sum(sizes)
    chunk, _ = splitting.share(total, 1, Optim.grain, Optim.tasks)
    chunk = -(-chunk // Optim.multiple) * Optim.multiple
    spans: list[tuple[int, int, int]] = []
    starts = [0]
    room = chunk
    for row, size in enumerate(sizes):
        begin = 0
        while begin < size:
            if room == 0:
                starts.append(len(spans))
                room = chunk
            count = min(size - begin, room)
            if count < size - begin and count >= Optim.multiple:
                count -= count % Optim.multiple
            spans.append((row, begin, count))
            begin += count
            room = room - count if begin == size else 0
    starts.append(len(spans))
    return np.array(spans, np.int64).reshape(-1, 3), np.array(starts, np.int64)


@lru_cache(maxsize=1024)
def optim_step(rule: str, dtype: str, sizes: tuple[int, ...]) -> Callable[..., None]:
    """A launch ``(table address, *hyperparameters)`` of one step over parameters of ``sizes``.

    The table has one row of int64 addresses per parameter: the parameter, its gradient, the state
    arrays, the scalar state (float32), as the rule in :data:`~tilegrad.kernels.updates.UPDATES`
    names them. All arrays are dense and of ``dtype``.
    """
    if UPDATES[rule].advance:
        advance.begin(rule)
    update = step.build(rule, dtype)
    count = advance.build(rule) if UPDATES[rule].advance else None
    spans, starts = cut(sizes)
    where, order = spans.ctypes.data, starts.ctypes.data
    tasks, rows = len(starts) - 1, len(sizes)

    late = UPDATES[rule].late

    def launch(table: int, *hypers: float) -> None:
        if count is not None and not late:
            count(*hypers, table, rows, 1, 0)
        update(*hypers, table, where, order, tasks, get_num_threads() if tasks > 1 else 0)
        if count is not None and late:
            count(*hypers, table, rows, 1, 0)

    # their memory must live as long as the launch
    launch.tables = (spans, starts)  # type: ignore[attr-defined]
    return launch
