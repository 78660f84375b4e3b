"""Scans along one dimension: every element becomes the combination of those up to it.

``rows`` walks one row after the other; ``columns`` takes adjacent rows together, with a row of
running totals. Totals of float32 are kept in double precision, so the order of walking is the only
order there is: results depend on the input alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels import dtypes
from tilegrad.kernels.cpu.parts.reduce_places import offset
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import local, pointer, read, write
from tilegrad.kernels.cpu.tuning import Scan
from tilegrad.kernels.monoids import SCANS

Sizes = tuple[int, ...]


@kernel
def rows(name: str, dtype: str, exclusive: bool, interleave: int) -> Kernel:
    """``n`` elements a row, one row a unit; ``first`` and ``step`` tell where to start and go.

    ``interleave`` units are walked together, so that their chains of sums overlap; where fewer are left,
    the last one stands for the others.
    """
    combine, start = SCANS[name]
    T = np.dtype(dtype).type
    wide = dtypes.row(dtype).accumulator
    D = np.dtype(wide).type
    zero = D(start)
    totals, places = local(wide, interleave), local("int64", interleave)

    def body(task, x, out, table, units, per, inner, n, s, first, step):
        t = pointer(table, np.int64)
        before, after = t[0], t[1]
        b = table + 16
        a = b + 16 * before
        source, target = pointer(x, T), pointer(out, T)
        total, ats, tos = totals(), places(), places()
        end = min(units, (task + 1) * per)
        for unit in range(task * per, end, interleave):
            for c in range(interleave):
                row = min(unit + c, end - 1)
                o = row // inner
                i = row - o * inner
                at = offset(o, before, pointer(b, np.int64), pointer(b + 8 * before, np.int64))
                at += offset(i, after, pointer(a, np.int64), pointer(a + 8 * after, np.int64))
                ats[c] = at + first * s
                tos[c] = (o * n + first) * inner + i
                total[c] = zero
            for _ in range(n):
                for c in range(interleave):
                    old = total[c]
                    new = combine(old, D(read(source, ats[c])))
                    write(target, tos[c], T(old if exclusive else new))
                    total[c] = new
                    ats[c] += step * s
                    tos[c] += step * inner

    return body, "iiiiiiiiii"


@kernel
def columns(name: str, dtype: str, exclusive: bool) -> Kernel:
    """``width`` adjacent rows, a block of them a unit; arguments as for :func:`rows`."""
    combine, start = SCANS[name]
    T = np.dtype(dtype).type
    wide = dtypes.row(dtype).accumulator
    D = np.dtype(wide).type
    zero, block = D(start), Scan.columns
    totals = local(wide, Scan.columns)

    def body(task, x, out, table, units, per, width, n, s, first, step):
        before = pointer(table, np.int64)[0]
        sizes, strides = pointer(table + 16, np.int64), pointer(table + 16 + 8 * before, np.int64)
        source, target = pointer(x, T), pointer(out, T)
        held = totals()
        blocks = (width + block - 1) // block
        for unit in range(task * per, min(units, (task + 1) * per)):
            o = unit // blocks
            column = (unit - o * blocks) * block
            size = min(block, width - column)
            at = offset(o, before, sizes, strides) + column
            to = o * n * width + column
            for j in range(size):
                held[j] = zero
            k = first
            for _ in range(n):
                for j in range(size):
                    total = combine(held[j], D(read(source, at + k * s + j)))
                    write(target, to + k * width + j, T(held[j] if exclusive else total))
                    held[j] = total
                k += step

    return body, "iiiiiiiiii"


@kernel
def extreme_rows(largest: bool, dtype: str) -> Kernel:
    """Running extreme and its position, the latest of equal ones; NaN stays once it is met."""
    T = np.dtype(dtype).type

    def body(task, x, out, where, table, units, per, inner, n, s):
        t = pointer(table, np.int64)
        before, after = t[0], t[1]
        b = table + 16
        a = b + 16 * before
        source, target, places = pointer(x, T), pointer(out, T), pointer(where, np.int64)
        for unit in range(task * per, min(units, (task + 1) * per)):
            o = unit // inner
            i = unit - o * inner
            at = offset(o, before, pointer(b, np.int64), pointer(b + 8 * before, np.int64))
            at += offset(i, after, pointer(a, np.int64), pointer(a + 8 * after, np.int64))
            to = o * n * inner + i
            best, place = source[at], 0
            for k in range(n):
                v = source[at + k * s]
                if v != v or (best == best and (v >= best if largest else v <= best)):
                    best, place = v, k
                target[to + k * inner] = best
                places[to + k * inner] = place

    return body, "iiiiiiiii"


def _tables(before: tuple[Sizes, Sizes], after: tuple[Sizes, Sizes]) -> np.ndarray:
    """[dims before, dims after, their sizes…, strides…]."""
    flat = [len(before[0]), len(after[0]), *before[0], *before[1], *after[0], *after[1]]
    return np.array(flat, np.int64)


def scan(
    name: str,
    dtype: str,
    before: tuple[Sizes, Sizes],
    scanned: tuple[int, int],
    after: tuple[Sizes, Sizes],
    reverse: bool = False,
    exclusive: bool = False,
) -> Callable[..., None]:
    """A launch ``(x, out)`` for "cumsum", "cumprod" or "logcumsumexp" along one dimension.

    Args:
        dtype: of ``x`` and ``out``; ``out`` is row-major.
        before, after: sizes and strides of the merged dimensions of ``x`` on either side.
        scanned: size and stride of the dimension itself.
        reverse: from its end to its beginning.
        exclusive: leave out the element itself.
    """
    outer, inner, (n, s) = int(np.prod(before[0])), int(np.prod(after[0])), scanned
    if outer * inner * n == 0:
        return lambda x, out: None
    table = _tables(before, after)
    if len(after[0]) == 1 and after[1][0] == 1 and inner >= 8:
        function = columns.build(name, dtype, exclusive)
        units, work = outer * -(-inner // Scan.columns), n * min(inner, Scan.columns)
    else:
        units, work = outer * inner, n
        together = Scan.interleave if units >= Scan.interleave else 1
        function = rows.build(name, dtype, exclusive, together)
    per, tasks = splitting.share(units, work, Scan.grain, Scan.tasks)
    if units >= Scan.interleave:
        per = -(-per // Scan.interleave) * Scan.interleave
        tasks = -(-units // per)
    first, step = (n - 1, -1) if reverse else (0, 1)
    call = (table.ctypes.data, units, per, inner, n, s, first, step, tasks)
    return _launch(function, call, table)


def scan_extreme(
    largest: bool,
    dtype: str,
    before: tuple[Sizes, Sizes],
    scanned: tuple[int, int],
    after: tuple[Sizes, Sizes],
) -> Callable[..., None]:
    """A launch ``(x, values, positions)`` of the running maximum or minimum; see :func:`scan`."""
    outer, inner, (n, s) = int(np.prod(before[0])), int(np.prod(after[0])), scanned
    if outer * inner * n == 0:
        return lambda x, values, positions: None
    table = _tables(before, after)
    function = extreme_rows.build(largest, dtype)
    units = outer * inner
    per, tasks = splitting.share(units, n, Scan.grain, Scan.tasks)
    call = (table.ctypes.data, units, per, inner, n, s, tasks)
    return _launch(function, call, table)


def _launch(
    function: Callable[..., None], call: tuple[int, ...], table: np.ndarray
) -> Callable[..., None]:
    """``function(*addresses, *call)``, which ends in the number of tasks."""
    return bind(function, *call, TEAM if call[-1] > 1 else 0, keep=table)
