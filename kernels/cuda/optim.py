"""Optimizer steps: one launch over all parameters of a group.

The elements of all parameters are cut into chunks, a block of threads each
(:func:`tilegrad.kernels.cuda.parts.pointer_table.cut`). Where a rule keeps scalars, a small launch before goes
through the parameters, moves the scalars on and works out what the elements share; the powers in
float64 are then computed once for each parameter, not by every block.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, load_vector, pointer, store_vector, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.pointer_table import PointerTables, cut
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.cuda.tuning import CHUNKS, row
from tilegrad.kernels.function import function_from_source
from tilegrad.kernels.source import indented, listed
from tilegrad.kernels.updates import UPDATES

BYTES = 16  # of a vector access

_STEP = """
def step_body({leading}table, spans):
    rows = pointer(table, int64)
    span = pointer(spans, int64)
    place = span[3 * block()]
    begin = span[3 * block() + 1]
    end = begin + span[3 * block() + 2]
    row = place * {width}
{addresses}
{pointers}
{constants}
    vector_end = end - (end - begin) % {V} if ({all}) & {mask} == 0 else begin
    i = begin + thread() * {V}
    while i < vector_end:
{loads}
{updates}
{stores}
        i += {threads} * {V}
    i = vector_end + thread()
    while i < end:
        {results} = update({elements}{values})
{writes}
        i += {threads}
"""

_ADVANCE = """
def advance_body({hypers}, table, shared, count):
    k = block() * {threads} + thread()
    if k < count:
        rows = pointer(table, int64)
        row = k * {width}
{reads}
        {advanced} = advance({scalars}{hypers})
{writes}
        {prepared} = prepare({new}{hypers})
        made = pointer(shared, T)
{stores}
"""


def _width(rule: str) -> int:
    """Addresses of a parameter: its own, the gradient's, the state arrays', the scalars'."""
    return 2 + len(UPDATES[rule].state) + len(UPDATES[rule].scalars)


@kernel
def step(rule: str, dtype: str, bounds: Bounds) -> Source:
    """New values of parameters and state, 16 bytes at a time where all addresses allow it.

    Parameters: what the elements of a parameter share, then the table and the chunks. The former is
    the address of what :func:`advance` made, or for rules without scalars the hyperparameters.
    """
    update = UPDATES[rule]
    arrays, count = 2 + len(update.state), update.prepared
    V = BYTES // np.dtype(dtype).itemsize
    kept = bool(update.scalars)
    leading = ["shared"] if kept else list(update.hypers)
    if kept:
        constants = ["made = pointer(shared, T)"]
        constants += [f"k{c} = made[place * {count} + {c}]" for c in range(count)]
    else:
        constants = [f"{listed(f'd{c}' for c in range(count))}= prepare({', '.join(leading)})"]
        constants += [f"k{c} = T(d{c})" for c in range(count)]
    values = ", ".join(f"k{c}" for c in range(count))
    written = [0, *range(2, arrays)]  # not the gradient
    results = [f"{listed(f'n{a}_{v}' for a in written)}" for v in range(V)]
    lanes = [listed(f"v{a}[{v}]" for a in range(arrays)) for v in range(V)]
    source = _STEP.format(
        leading=listed(leading),
        width=_width(rule),
        addresses=indented([f"a{a} = rows[row + {a}]" for a in range(arrays)], 4),
        pointers=indented([f"x{a} = pointer(a{a}, T)" for a in range(arrays)], 4),
        constants=indented(constants, 4),
        all=" | ".join(f"a{a}" for a in range(arrays)),
        mask=BYTES - 1,
        V=V,
        threads=bounds.threads,
        loads=indented([f"v{a} = load(x{a}, i)" for a in range(arrays)], 8),
        updates=indented([f"{results[v]} = update({lanes[v]}{values})" for v in range(V)], 8),
        stores=indented(
            [f"store(x{a}, i, ({', '.join(f'n{a}_{v}' for v in range(V))}))" for a in written], 8
        ),
        results=listed(f"n{a}" for a in written),
        elements=listed(f"x{a}[i]" for a in range(arrays)),
        values=values,
        writes=indented([f"x{a}[i] = n{a}" for a in written], 8),
    )
    scope = {
        "pointer": pointer, "thread": thread, "block": block, "load": load_vector(V),
        "store": store_vector(V), "prepare": update.prepare, "update": update.update,
        "T": np.dtype(dtype).type, "int64": np.int64,
    }  # fmt: skip
    body = function_from_source(source, "step_body", scope, __name__)
    return Source(body, ("i" if kept else "d" * len(leading)) + "ii", *bounds)


@kernel
def advance(rule: str, dtype: str, threads: int) -> Source:
    """New values of the scalars, and what the elements of each parameter share, as ``dtype``.

    A thread per parameter. Parameters: hyperparameters, table, where the shared values go, how
    many parameters.
    """
    update = UPDATES[rule]
    count, at = range(len(update.scalars)), 2 + len(update.state)
    reads = []
    for k in count:
        reads += [f"c{k} = pointer(rows[row + {at + k}], float32)", f"t{k} = float64(c{k}[0])"]
    source = _ADVANCE.format(
        hypers=", ".join(update.hypers),
        threads=threads,
        width=_width(rule),
        reads=indented(reads, 8),
        advanced=listed(f"n{k}" for k in count),
        scalars=listed(f"t{k}" for k in count),
        writes=indented([f"m{k} = float32(n{k})\n        c{k}[0] = m{k}" for k in count], 8),
        prepared=", ".join(f"d{c}" for c in range(update.prepared)),
        new=listed(f"t{k}" if update.late else f"float64(m{k})" for k in count),
        stores=indented(
            [f"made[k * {update.prepared} + {c}] = T(d{c})" for c in range(update.prepared)], 8
        ),
    )
    scope = {
        "pointer": pointer, "thread": thread, "block": block, "advance": update.advance,
        "prepare": update.prepare, "T": np.dtype(dtype).type, "int64": np.int64,
        "float32": np.float32, "float64": np.float64,
    }  # fmt: skip
    body = function_from_source(source, "advance_body", scope, __name__)
    return Source(body, "d" * len(update.hypers) + "iii", threads)


@lru_cache(maxsize=1024)
def optim_step(rule: str, dtype: str, sizes: tuple[int, ...]) -> Callable[..., None]:
    """A launch ``(table address, *hyperparameters)`` of one step over parameters of ``sizes``.

    The table is the host's; see :func:`tilegrad.kernels.cpu.optim.optim_step`.
    """
    update, rows = UPDATES[rule], len(sizes)
    spans, chosen = cut(sizes, dtype), row(CHUNKS, dtype, rule)
    shared = np.dtype(dtype).itemsize * update.prepared * rows if update.scalars else 0
    tables = PointerTables(_width(rule) * rows, spans, shared)
    elements = step.build(rule, dtype, chosen.bounds)
    chunks = len(spans)
    if not update.scalars:

        def plain(table: int, *hypers: float) -> None:
            if chunks:
                here = tables.on_device(table)
                elements(*hypers, here, here + tables.numbers, chunks, 1, 1)

        return plain
    count = advance.build(rule, dtype, chosen.scalars)
    groups = -(-rows // chosen.scalars)

    def launch(table: int, *hypers: float) -> None:
        here = tables.on_device(table)
        made = here + tables.scratch
        count(*hypers, here, made, rows, groups, 1, 1)
        if chunks:
            elements(made, here, here + tables.numbers, chunks, 1, 1)

    return launch
